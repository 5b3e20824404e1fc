//! google-benchmark's `--benchmark_format=json`: one row a repetition, each the mean of many iterations.
//!
//! Rows of aggregates (mean, median, ...) are passed over: they follow from the repetitions. A file with aggregates
//! alone has no runs, and says how to get some. An item (`SetItemsProcessed`) is a sample; counters of the benchmark's
//! own are kept as metrics of its own. google-benchmark measures on the host.

use std::io::BufRead;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::draft::{Draft, host_note, item, utc};
use super::json;
use crate::domain::metric::Better;
use crate::domain::{Environment, ImportItem, Refusal, RunRecord, RunStatus};
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};

/// Numbers of a row that are no counters.
const KNOWN: [&str; 12] = [
    "family_index",
    "per_family_instance_index",
    "repetitions",
    "repetition_index",
    "threads",
    "iterations",
    "real_time",
    "cpu_time",
    "items_per_second",
    "bytes_per_second",
    "allocs_per_iter",
    "max_bytes_used",
];

/// Reads google-benchmark's results.
#[derive(Clone, Debug, Default)]
pub struct GoogleBenchmark {
    map: ColumnMap,
}

impl GoogleBenchmark {
    /// An importer that takes the user's word where the file is silent.
    pub fn new(map: ColumnMap) -> Self {
        Self { map }
    }
}

#[derive(Deserialize)]
struct Document<'t> {
    #[serde(default)]
    context: Value,
    #[serde(borrow)]
    benchmarks: Vec<&'t RawValue>,
}

impl<E: From<ExchangeError>> Importer<E> for GoogleBenchmark {
    fn format(&self) -> &'static str {
        "google-benchmark"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        let outline = head.outline();
        outline.first == b'{'
            && outline.has_all(1, &["context", "benchmarks"])
            && (outline.has_all(3, &["name", "iterations"]) || outline.has(2, "num_cpus"))
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let text = json::text(path, content)?;
        let document: Document<'_> = json::document(path, &text)?;
        let (mut aggregates, mut repetitions, mut last) = (0_u64, 0_u64, 1);
        for row in document.benchmarks {
            last = json::line_of(&text, row);
            let row: Result<Value, String> = serde_json::from_str(row.get()).map_err(|error| error.to_string());
            if row.as_ref().is_ok_and(is_aggregate) {
                aggregates += 1;
                continue;
            }
            repetitions += 1;
            sink(item(last, row.and_then(|row| self.run(&row, &document.context))))?;
        }
        if repetitions == 0 && aggregates > 0 {
            sink(ImportItem::Refused(Refusal {
                line: last,
                reason: "it holds aggregates alone; run without `--benchmark_report_aggregates_only`".to_owned(),
            }))?;
        }
        let passed = (aggregates > 0 && repetitions > 0)
            .then(|| format!("{aggregates} rows of aggregates were passed over: they follow from the repetitions"));
        Ok(host_note("google-benchmark", &self.map).into_iter().chain(passed).collect())
    }
}

/// Rows of old releases have no `run_type`; aggregates end in their kind.
fn is_aggregate(row: &Value) -> bool {
    match json::string(row, &["run_type"]) {
        Some(kind) => kind == "aggregate",
        None => json::string(row, &["name"]).is_some_and(|name| {
            ["_mean", "_median", "_stddev", "_cv", "_BigO", "_RMS"].iter().any(|end| name.ends_with(end))
        }),
    }
}

impl GoogleBenchmark {
    fn run(&self, row: &Value, context: &Value) -> Result<RunRecord, String> {
        let text = |key: &str| json::string(row, &[key]);
        let small = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok());
        let mut draft = Draft {
            model: text("run_name").or_else(|| text("name")).unwrap_or_default().to_owned(),
            threads: small(json::whole(row, &["threads"])).unwrap_or(0),
            repetition: small(json::whole(row, &["repetition_index"])).map(|index| index.saturating_add(1)),
            iterations: json::whole(row, &["iterations"]).unwrap_or(0),
            started_at: json::string(context, &["date"]).and_then(utc),
            environment: Environment {
                host: json::string(context, &["host_name"]).map(str::to_owned),
                cpu_logical: small(json::whole(context, &["num_cpus"])),
                engine_version: json::string(context, &["library_version"]).map(str::to_owned),
                ..Environment::default()
            },
            ..Draft::of_host("google-benchmark")
        };
        let failed = json::at(row, &["error_occurred"]) == Some(&Value::Bool(true));
        if failed || json::at(row, &["skipped"]).is_some_and(|skipped| skipped != &Value::Bool(false)) {
            let message = text("error_message").or_else(|| text("skip_message")).unwrap_or("it does not say why");
            if !failed {
                return Err(format!("it was skipped: {message}"));
            }
            draft.status = Some(RunStatus::Failed);
            draft.error = Some(message.to_owned());
            return draft.finish(&self.map);
        }
        let unit = text("time_unit").unwrap_or("ns");
        let divide = match unit {
            "ns" => 1e6,
            "us" => 1e3,
            "ms" => 1.0,
            "s" => 1e-3,
            other => return Err(format!("`time_unit` is `{other}`, none of ns, us, ms, s")),
        };
        let time = json::number(row, &["real_time"]).ok_or("`real_time` is missing")?;
        draft.measured("latency_mean_ms", if unit == "s" { time * 1e3 } else { time / divide })?;
        if let Some(time) = json::number(row, &["cpu_time"]) {
            draft.extra("cpu_time", unit, Better::Lower, time)?;
        }
        if let Some(rate) = json::number(row, &["items_per_second"]) {
            draft.measured("throughput_samples_per_second", rate)?;
        }
        if let Some(rate) = json::number(row, &["bytes_per_second"]) {
            draft.extra("bytes_per_second", "bytes/s", Better::Higher, rate)?;
        }
        let counters = row.as_object().into_iter().flatten().filter(|(name, _)| !KNOWN.contains(&name.as_str()));
        for (name, value) in counters {
            if let Some(value) = value.as_f64() {
                draft.extra(name, "", Better::None, value)?;
            }
        }
        draft.finish(&self.map)
    }
}
