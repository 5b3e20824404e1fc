//! Versioned JSON of a whole report: what `--output-ci` writes.

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::domain::{Table, VerdictReport};
use crate::report::json::rows;

/// Writes the report, with the tables that stand beside it.
///
/// # Errors
/// What the writer refuses.
pub fn write_ci_json(report: &VerdictReport, more: &[Table], out: &mut dyn Write) -> std::io::Result<()> {
    let mut document = Map::new();
    document.insert("schema".into(), "benchdb/1".into());
    document.insert("kind".into(), "verdicts".into());
    let counts: Map<String, Value> = <crate::domain::Verdict as clap::ValueEnum>::value_variants()
        .iter()
        .map(|verdict| (verdict.to_string(), json!(report.count(*verdict))))
        .collect();
    document.insert("counts".into(), counts.into());
    document.insert("judged".into(), json!(report.judged()));
    if let Value::Object(fields) = serde_json::to_value(report)? {
        document.extend(fields);
    }
    for table in more {
        document.insert(table.title.to_lowercase().replace(' ', "_"), rows(table));
    }
    serde_json::to_writer_pretty(&mut *out, &Value::Object(document))?;
    writeln!(out)
}
