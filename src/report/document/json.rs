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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chart::{Axis, Chart, Content, Panel, Plane, PlaneSeries, Point, Value as Shown};
    use crate::domain::document::{Gives, Statement};
    use crate::domain::{Cell, Table};

    #[test]
    fn numbers_are_exact_and_what_is_no_number_is_null() {
        let awkward = [0.1 + 0.2, 1.0 / 3.0, 5e-324, f64::MAX, -0.0, f64::NAN, f64::INFINITY];
        let mut table = Table::new("T", &["value"]);
        awkward.iter().for_each(|value| table.push([Cell::from(*value)]));
        let points = awkward.iter().map(|y| Point { x: 1.5, y: Shown::plain(*y), ..Point::default() }).collect();
        let plane = Plane {
            x: Axis::new("x", ""),
            series: vec![PlaneSeries { points, ..PlaneSeries::default() }],
            ..Plane::default()
        };
        let chart = Chart {
            name: "one".to_owned(),
            panels: vec![Panel { title: String::new(), content: Content::Plane(plane) }],
            statement: Some(Statement { sql: "SELECT 1".to_owned(), gives: Gives::Runs }),
            ..Chart::default()
        };
        let nothing = Sheet::Nothing { name: "two".to_owned(), reason: "no run is selected".to_owned() };
        let blocks =
            vec![Block::Table(TableBlock::whole(table)), Block::Sheet(Sheet::Chart(chart)), Block::Sheet(nothing)];
        let sections = vec![Section { blocks, ..Section::new("s", "S") }];
        let text = json_text(&Document { sections, ..Document::default() }).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        let section = &read["sections"][0];
        let points = &section["charts"][0]["panels"][0]["content"]["series"][0]["points"];
        for (index, number) in awkward.iter().enumerate() {
            for found in [&section["tables"][0]["rows"][index]["value"], &points[index]["y"]["value"]] {
                match number.is_finite() {
                    true => assert_eq!(found.to_string().parse::<f64>().unwrap().to_bits(), number.to_bits()),
                    false => assert!(found.is_null(), "{found}"),
                }
            }
        }
        assert_eq!(section["charts"][0]["statement"], json!({ "sql": "SELECT 1", "gives": "runs" }));
        assert_eq!(section["charts_with_nothing_to_show"], json!([{ "name": "two", "reason": "no run is selected" }]));
    }
}
