//! hyperfine's `--export-json`: one result a command, times in seconds, one sample a run of the command.
//!
//! The command is the model, and `command` the engine. Executions that failed (`--ignore-failure`) lower the success
//! rate; a command that never succeeded is a failed run. hyperfine measures on the host.

use std::io::BufRead;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::draft::{Draft, host_note, item};
use super::json;
use crate::domain::metric::Better;
use crate::domain::{RunRecord, RunStatus};
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};

/// Reads hyperfine's results.
#[derive(Clone, Debug, Default)]
pub struct Hyperfine {
    map: ColumnMap,
}

impl Hyperfine {
    /// An importer that takes the user's word where the file is silent.
    pub fn new(map: ColumnMap) -> Self {
        Self { map }
    }
}

#[derive(Deserialize)]
struct Document<'t> {
    #[serde(borrow)]
    results: Vec<&'t RawValue>,
}

impl<E: From<ExchangeError>> Importer<E> for Hyperfine {
    fn format(&self) -> &'static str {
        "hyperfine"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        let outline = head.outline();
        outline.first == b'{' && outline.has(1, "results") && outline.has_all(3, &["command", "mean", "stddev", "user"])
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let text = json::text(path, content)?;
        for result in json::document::<Document<'_>>(path, &text)?.results {
            let run = serde_json::from_str(result.get())
                .map_err(|error| error.to_string())
                .and_then(|result: Value| self.run(&result));
            sink(item(json::line_of(&text, result), run))?;
        }
        Ok(host_note("hyperfine", &self.map).into_iter().collect())
    }
}

impl Hyperfine {
    fn run(&self, result: &Value) -> Result<RunRecord, String> {
        let mut draft = Draft {
            model: json::string(result, &["command"]).unwrap_or_default().to_owned(),
            ..Draft::of_host("command")
        };
        if let Some(parameters) = result.get("parameters").and_then(Value::as_object) {
            draft.parameters = parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        let empty = Vec::new();
        let list = |key: &str| result.get(key).and_then(Value::as_array).unwrap_or(&empty);
        let codes = list("exit_codes");
        let succeeded = codes.iter().filter(|code| code.as_i64() == Some(0)).count();
        if !codes.is_empty() && succeeded == 0 {
            draft.status = Some(RunStatus::Failed);
            draft.error =
                Some(format!("none of {} executions succeeded; the first ended with {}", codes.len(), codes[0]));
            return draft.finish(&self.map);
        }
        if !codes.is_empty() {
            draft.measured("success_rate", succeeded as f64 / codes.len() as f64)?;
        }
        let times = list("times")
            .iter()
            .map(|time| {
                let seconds = time.as_f64().and_then(|seconds| json::nanoseconds(seconds, 1e9));
                seconds.ok_or_else(|| format!("`times` holds {time}, no duration"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if !times.is_empty() {
            draft.take_iterations(times);
        }
        for (key, metric) in [
            ("mean", "latency_mean_ms"),
            ("stddev", "latency_std_ms"),
            ("median", "latency_p50_ms"),
            ("min", "latency_min_ms"),
            ("max", "latency_max_ms"),
        ] {
            if let Some(seconds) = json::number(result, &[key]) {
                draft.measured(metric, seconds * 1e3)?;
            }
        }
        for (key, metric) in [("user", "user_time"), ("system", "system_time")] {
            if let Some(seconds) = json::number(result, &[key]) {
                draft.extra(metric, "s", Better::Lower, seconds)?;
            }
        }
        // The highest of the peaks of all executions.
        let memory = list("memory_usage_byte").iter().filter_map(Value::as_f64).fold(0.0, f64::max);
        if memory > 0.0 {
            draft.measured("memory_host_peak_mb", memory / 1e6)?;
        }
        draft.finish(&self.map)
    }
}
