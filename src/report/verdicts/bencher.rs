//! Bencher's metric format: benchmark, measure, value and bounds.

use std::io::Write;

use serde_json::{Map, Value, json};

/// One measure of a benchmark.
#[derive(Clone, Debug, PartialEq)]
pub struct BencherMeasure {
    /// Its name: the metric's, unit included.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
}

/// Writes measures under the names of their benchmarks.
///
/// # Errors
/// What the writer refuses.
pub fn write_bencher(
    measures: impl Iterator<Item = (String, BencherMeasure)>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let mut document: Map<String, Value> = Map::new();
    for (benchmark, measure) in measures {
        let mut content = json!({ "value": measure.value });
        if let (Some(low), Some(high)) = (measure.low, measure.high) {
            content["lower_value"] = json!(low);
            content["upper_value"] = json!(high);
        }
        let benchmark = document.entry(benchmark).or_insert_with(|| json!({}));
        benchmark[measure.name] = content;
    }
    serde_json::to_writer_pretty(&mut *out, &Value::Object(document))?;
    writeln!(out)
}
