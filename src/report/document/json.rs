//! A report as versioned JSON: the same content for programs, with the charts as data.

use serde_json::{Map, Value, json};

use crate::domain::chart::Sheet;
use crate::domain::document::{Block, Document, Section, TableBlock};
use crate::report::json::rows;

/// The report as one JSON object.
///
/// # Errors
/// A chart that JSON cannot say.
pub fn json_text(document: &Document) -> Result<String, serde_json::Error> {
    let sections = document.sections.iter().map(section).collect::<Result<Vec<_>, _>>()?;
    let value = json!({
        "schema": "benchdb/1",
        "kind": "report",
        "title": document.title,
        "about": document.about,
        "sections": sections,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

fn section(section: &Section) -> Result<Value, serde_json::Error> {
    let (mut tables, mut charts, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for block in &section.blocks {
        match block {
            Block::Table(block) => tables.push(table(block)),
            Block::Sheet(Sheet::Chart(chart)) => charts.push(serde_json::to_value(chart)?),
            Block::Sheet(Sheet::Nothing { name, reason }) => missing.push(json!({ "name": name, "reason": reason })),
        }
    }
    let mut value = Map::new();
    value.insert("name".into(), json!(section.name));
    value.insert("title".into(), json!(section.title));
    value.insert("notes".into(), json!(section.notes));
    for (name, list) in [("tables", tables), ("charts", charts), ("charts_with_nothing_to_show", missing)] {
        if !list.is_empty() {
            value.insert(name.into(), list.into());
        }
    }
    Ok(value.into())
}

fn table(block: &TableBlock) -> Value {
    json!({
        "title": block.table.title,
        "columns": block.table.columns,
        "rows": rows(&block.table),
        "rows_left_out": block.left_out(),
        "notes": block.notes,
        "statement": block.statement,
    })
}
