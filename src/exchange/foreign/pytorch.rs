//! Records of PyTorch's benchmark database (schema v3), as a JSON array or as JSON lines: one record a metric.
//!
//! Records that agree in all but the metric are one run. The engine is `pytorch`, and the `backend` of the model
//! (inductor, eager, ...) a parameter. Platform and device stand in `extra_info` of the benchmark (`device`, `arch`), or
//! with the runner. A metric becomes a standard one where name and unit say which; any other is kept as it is. Several
//! values of a metric become their mean. What a file does not have (most often the batch size) is the user's to say.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde_json::Value;

use super::draft::{self, Draft, Part, item};
use super::json;
use crate::domain::metric::{Better, find_metric};
use crate::domain::{DeviceKind, Environment, ImportItem, Platform, Refusal, RunRecord};
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};
use crate::stats;

/// Reads PyTorch's benchmark records.
#[derive(Clone, Debug, Default)]
pub struct PytorchBenchmark {
    map: ColumnMap,
}

impl PytorchBenchmark {
    /// An importer that takes the user's word where the file is silent.
    pub fn new(map: ColumnMap) -> Self {
        Self { map }
    }
}

impl<E: From<ExchangeError>> Importer<E> for PytorchBenchmark {
    fn format(&self) -> &'static str {
        "pytorch-benchmark"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        let outline = head.outline();
        let names = ["benchmark", "metric"];
        outline.first == b'[' && outline.has_all(2, &names) && outline.has(3, "benchmark_values")
            || outline.first == b'{' && outline.has_all(1, &names) && outline.has(2, "benchmark_values")
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let text = json::text(path, content)?;
        // The run of each identity, in the order of its first record; and the line of that.
        let mut groups: Vec<(u64, Vec<Value>)> = Vec::new();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        json::records(path, &text, sink, |line, record: Value, sink| {
            if !record.is_object() {
                return sink(ImportItem::Refused(Refusal { line, reason: "it is no record".to_owned() }));
            }
            let identity = ["benchmark", "model", "runners", "dependencies", "inputs", "workflow_id", "run_attempt"]
                .map(|key| record.get(key).map(Value::to_string).unwrap_or_default())
                .join("\u{0}");
            let at = *known.entry(identity).or_insert_with(|| {
                groups.push((line, Vec::new()));
                groups.len() - 1
            });
            groups[at].1.push(record);
            Ok(())
        })?;
        for (line, records) in groups {
            sink(item(line, self.run(&records)))?;
        }
        Ok(Vec::new())
    }
}

impl PytorchBenchmark {
    fn run(&self, records: &[Value]) -> Result<RunRecord, String> {
        let first = records.first().unwrap_or(&Value::Null);
        let text = |path: &[&str]| json::string(first, path);
        let small = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok());
        let mut draft = Draft {
            model: text(&["model", "name"]).unwrap_or_default().to_owned(),
            engine: "pytorch".to_owned(),
            batch_size: small(json::whole(first, &["benchmark", "extra_info", "batch_size"])),
            environment: Environment {
                host: runner(first, "name").map(str::to_owned),
                cpu_name: runner(first, "cpu_info").map(str::to_owned),
                engine_version: dependency(first).map(str::to_owned),
                ..Environment::default()
            },
            ..Draft::default()
        };
        if let Some(mode) = text(&["benchmark", "mode"]).filter(|_| !self.map.sets(Part::Mode)) {
            draft.mode = Some(draft::mode(mode)?);
        }
        if let Some(dtype) = text(&["benchmark", "dtype"]).filter(|_| !self.map.sets(Part::Precision)) {
            draft.precision = Some(draft::precision(dtype)?);
        }
        if !self.map.sets(Part::Platform) {
            place(&mut draft, first)?;
        }
        for (name, path) in [("backend", ["model", "backend"]), ("benchmark", ["benchmark", "name"])] {
            if let Some(value) = text(&path) {
                draft.parameters.insert(name.to_owned(), value.into());
            }
        }
        let extra = json::at(first, &["benchmark", "extra_info"]).and_then(Value::as_object);
        let placed = ["device", "arch", "batch_size"];
        for (name, value) in extra.into_iter().flatten().filter(|(name, _)| !placed.contains(&name.as_str())) {
            draft.parameters.insert(name.clone(), value.clone());
        }
        for record in records {
            metric(&mut draft, record)?;
        }
        draft.finish(&self.map)
    }
}

fn runner<'r>(record: &'r Value, key: &str) -> Option<&'r str> {
    json::string(record.get("runners")?.as_array()?.first()?, &[key])
}

fn dependency(record: &Value) -> Option<&str> {
    let dependencies = record.get("dependencies")?;
    ["pytorch", "pytorch/pytorch", "torch"]
        .into_iter()
        .find_map(|name| json::string(dependencies, &[name, "version"]).or_else(|| json::string(dependencies, &[name])))
}

/// `device` is a platform or the name of a card; `arch` is then the name of the card, or the processor's instruction set.
fn place(draft: &mut Draft, record: &Value) -> Result<(), String> {
    let extra = |key: &str| json::string(record, &["benchmark", "extra_info", key]);
    let card = runner(record, "gpu_info").unwrap_or_default();
    let nvidia = |name: &str| name.to_lowercase().contains("nvidia") || name.to_lowercase().contains("tesla");
    match extra("device") {
        Some(device) if nvidia(device) => {
            draft.platform = Some(Platform::Cuda);
            draft.name_device(device, DeviceKind::Gpu);
        }
        Some(device) => {
            let platform = draft::platform(device)?;
            draft.platform = Some(platform);
            if platform == Platform::Cpu {
                draft.name_device(runner(record, "cpu_info").unwrap_or_default(), DeviceKind::Cpu);
                draft.environment.architecture = extra("arch").map(str::to_owned);
            } else {
                let name =
                    extra("arch").filter(|arch| !matches!(*arch, "x86_64" | "arm64" | "aarch64")).unwrap_or(card);
                draft.name_device(name, DeviceKind::Gpu);
            }
        }
        None if nvidia(card) => {
            draft.platform = Some(Platform::Cuda);
            draft.name_device(card, DeviceKind::Gpu);
        }
        None => {}
    }
    Ok(())
}

/// Stores the metric of a record.
fn metric(draft: &mut Draft, record: &Value) -> Result<(), String> {
    let name = json::string(record, &["metric", "name"]).ok_or("a metric has no name")?;
    let values = json::at(record, &["metric", "benchmark_values"]).and_then(Value::as_array);
    let values: Vec<f64> = values
        .into_iter()
        .flatten()
        .map(|value| value.as_f64().ok_or_else(|| format!("`{name}` holds {value}, no number")))
        .collect::<Result<_, _>>()?;
    let value = stats::mean(&values).ok_or_else(|| format!("`{name}` has no values"))?;
    let unit = json::string(record, &["metric", "unit"]).unwrap_or_default();
    if find_metric(name).is_some() {
        return draft.measured(name, value);
    }
    // The unit stands beside the name, in brackets behind it, or as its last word.
    let lower = name.to_lowercase();
    let (stem, unit) = match lower.split_once('(') {
        Some((stem, behind)) => (stem.trim_end(), behind.trim_end_matches(')').to_owned()),
        None => match lower.rsplit_once('_') {
            Some((stem, last @ ("s" | "ms" | "us" | "ns"))) => (stem, last.to_owned()),
            _ => (lower.as_str(), unit.to_lowercase()),
        },
    };
    let to_ms = match unit.as_str() {
        "s" | "seconds" => Some((1e3, 1.0)),
        "ms" | "milliseconds" => Some((1.0, 1.0)),
        "us" | "microseconds" => Some((1.0, 1e3)),
        "ns" | "nanoseconds" => Some((1.0, 1e6)),
        _ => None,
    };
    let standard = match stem {
        "latency" | "avg_latency" | "mean_latency" | "avg_inference_latency" | "latency_mean" => "latency_mean_ms",
        "median_latency" | "latency_median" | "latency_p50" | "p50_latency" => "latency_p50_ms",
        "compilation_time" | "compile_time" => "compile_ms",
        "tokens_per_second" | "token_per_sec" | "tokens_per_sec" => {
            return draft.measured("throughput_tokens_per_second", value);
        }
        "samples_per_second" | "samples_per_sec" => return draft.measured("throughput_samples_per_second", value),
        _ => {
            return draft.extra(
                name,
                json::string(record, &["metric", "unit"]).unwrap_or_default(),
                Better::None,
                value,
            );
        }
    };
    match to_ms {
        Some((multiply, divide)) => draft.measured(standard, value * multiply / divide),
        None => draft.extra(name, &unit, Better::None, value),
    }
}
