//! Bencher Metric Format (BMF): `{"benchmark": {"measure": {"value": ..., "lower_value": ..., "upper_value": ...}}}`.
//!
//! Of Bencher's built-in measures, `latency` is in nanoseconds, `throughput` in operations per second, `build-time` in
//! seconds and `file-size` in bytes; any other measure has no unit in the file and is kept as a metric of its own. What
//! the two bounds mean is up to whoever wrote them, so they are passed over. Taken as measured on the host.

use std::io::BufRead;

use serde::Deserialize as _;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::draft::{Draft, host_note, item};
use super::json;
use crate::domain::RunRecord;
use crate::domain::metric::Better;
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};

/// Reads Bencher's metrics.
#[derive(Clone, Debug, Default)]
pub struct Bencher {
    map: ColumnMap,
}

impl Bencher {
    /// An importer that takes the user's word where the file is silent.
    pub fn new(map: ColumnMap) -> Self {
        Self { map }
    }
}

impl<E: From<ExchangeError>> Importer<E> for Bencher {
    fn format(&self) -> &'static str {
        "bencher"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        let outline = head.outline();
        let bounds = ["value", "lower_value", "upper_value"];
        outline.first == b'{'
            && outline.has(3, "value")
            && outline.keys().all(|(depth, name)| depth < 3 || depth == 3 && bounds.contains(&name))
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let text = json::text(path, content)?;
        let benchmarks: std::collections::BTreeMap<String, &RawValue> = json::document(path, &text)?;
        let mut benchmarks: Vec<_> = benchmarks.into_iter().collect();
        benchmarks.sort_by_key(|(_, measures)| measures.get().as_ptr());
        let mut bounds = false;
        for (name, measures) in benchmarks {
            let run = Map::deserialize(&mut serde_json::Deserializer::from_str(measures.get()))
                .map_err(|error| error.to_string())
                .and_then(|measures| self.run(&name, &measures));
            bounds |= measures.get().contains("er_value\"");
            sink(item(json::line_of(&text, measures), run))?;
        }
        let passed =
            bounds.then(|| "`lower_value` and `upper_value` were passed over: what they mean is not said".to_owned());
        Ok(host_note("Bencher", &self.map).into_iter().chain(passed).collect())
    }
}

impl Bencher {
    fn run(&self, name: &str, measures: &Map<String, Value>) -> Result<RunRecord, String> {
        let mut draft = Draft { model: name.trim().to_owned(), ..Draft::of_host("bencher") };
        for (measure, metric) in measures {
            let value = json::number(metric, &["value"]).ok_or_else(|| format!("`{measure}` has no `value`"))?;
            match measure.as_str() {
                "latency" => draft.measured("latency_mean_ms", value / 1e6)?,
                "throughput" => draft.measured("throughput_samples_per_second", value)?,
                "build-time" => draft.extra(measure, "s", Better::Lower, value)?,
                "file-size" => draft.extra(measure, "bytes", Better::Lower, value)?,
                _ => draft.extra(measure, "", Better::None, value)?,
            }
        }
        draft.finish(&self.map)
    }
}
