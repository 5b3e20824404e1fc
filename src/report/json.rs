//! Versioned JSON: one object with the rows of each table as objects.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::Render;
use crate::domain::{Cell, Table};

pub(super) struct Json;

impl Render for Json {
    fn render(&self, kind: &str, tables: &[Table], out: &mut dyn Write) -> std::io::Result<()> {
        let mut document = Map::new();
        document.insert("schema".into(), "benchdb/1".into());
        document.insert("kind".into(), kind.into());
        match tables {
            [table] if table.title.is_empty() => {
                document.insert("rows".into(), rows(table));
            }
            several => {
                for table in several {
                    document.insert(table.title.to_lowercase().replace(' ', "_"), rows(table));
                }
            }
        }
        serde_json::to_writer_pretty(&mut *out, &Value::Object(document))?;
        writeln!(out)
    }
}

pub(super) fn rows(table: &Table) -> Value {
    let names = unique(&table.columns);
    table
        .rows
        .iter()
        .map(|row| names.iter().zip(row).map(|(name, cell)| (name.clone(), value(cell))).collect::<Map<_, _>>())
        .map(Value::Object)
        .collect()
}

/// Column names, numbered where one comes again: `a`, `a_2`.
fn unique(columns: &[String]) -> Vec<String> {
    columns
        .iter()
        .enumerate()
        .map(|(index, name)| match columns[..index].iter().filter(|earlier| *earlier == name).count() {
            0 => name.clone(),
            earlier => format!("{name}_{}", earlier + 1),
        })
        .collect()
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => json!(number),
        Cell::Real(number) => json!(number),
        Cell::Text(text) => json!(text),
    }
}
