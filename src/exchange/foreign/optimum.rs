//! optimum-benchmark's `benchmark.json` (configuration and report), and its `benchmark_report.json` (the report alone,
//! which does not say what was measured: the user has to).
//!
//! A report has phases. `forward`, `call` and `train` are iterations of a batch. A generation is one run: `prefill`
//! gives the time to the first token, `per_token` that of each further one, `decode` the tokens per second. `load` is
//! the start-up. Memory is in MB of 1e6 bytes. The highest allocation and reservation of PyTorch's allocator are no
//! standard metrics (those are of the end of a run) and stay metrics of their own, as does the energy, which CodeCarbon
//! estimates where it cannot measure. The tool's throughput of a training step counts what it counts.

use std::io::BufRead;

use serde_json::Value;

use super::draft::{self, Draft, Part, item};
use super::json;
use crate::domain::metric::Better;
use crate::domain::{Category, DeviceKind, Environment, Mode, Platform, Precision, RunRecord, Task};
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};

/// Phases that are iterations of one batch, the first that is there counts.
const BATCHES: [&str; 3] = ["forward", "call", "train"];

/// All phases that tell a report.
const PHASES: [&str; 8] = ["load", "load_model", "forward", "call", "train", "prefill", "decode", "per_token"];

/// Reads optimum-benchmark's reports.
#[derive(Clone, Debug, Default)]
pub struct OptimumBenchmark {
    map: ColumnMap,
}

impl OptimumBenchmark {
    /// An importer that takes the user's word where the file is silent.
    pub fn new(map: ColumnMap) -> Self {
        Self { map }
    }
}

impl<E: From<ExchangeError>> Importer<E> for OptimumBenchmark {
    fn format(&self) -> &'static str {
        "optimum-benchmark"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        let outline = head.outline();
        let whole = outline.has(1, "config") && outline.has_all(2, &["backend", "scenario"]);
        let report = PHASES.iter().any(|phase| outline.has(1, phase))
            && outline.has(2, "latency")
            && outline.has_all(3, &["unit", "values"]);
        outline.first == b'{' && (whole || report)
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let text = json::text(path, content)?;
        let document: Value = json::document(path, &text)?;
        let mut notes = Vec::new();
        let run = match document.get("config") {
            Some(config) => self.run(config, document.get("report").unwrap_or(&Value::Null), &mut notes),
            None => self.run(&Value::Null, &document, &mut notes),
        };
        sink(item(1, run))?;
        Ok(notes)
    }
}

impl OptimumBenchmark {
    fn run(&self, config: &Value, report: &Value, notes: &mut Vec<String>) -> Result<RunRecord, String> {
        let text = |path: &[&str]| json::string(config, path);
        let small = |path: &[&str]| json::whole(config, path).and_then(|value| u32::try_from(value).ok());
        let training = text(&["scenario", "name"]) == Some("training") || report.get("train").is_some();
        let task = text(&["backend", "task"]);
        let library = text(&["environment", "transformers_version"]).map(|version| format!("transformers {version}"));
        let mut draft = Draft {
            model: text(&["backend", "model"]).unwrap_or_default().to_owned(),
            family: text(&["backend", "model_type"]).map(str::to_owned),
            category: task.and_then(category),
            task: task.and_then(domain_task),
            engine: text(&["backend", "name"]).unwrap_or_default().to_owned(),
            mode: Some(if training { Mode::Training } else { Mode::Inference }),
            batch_size: small(&["scenario", "input_shapes", "batch_size"])
                .filter(|_| !training)
                .or_else(|| small(&["scenario", "training_arguments", "per_device_train_batch_size"])),
            threads: small(&["backend", "intra_op_num_threads"]).unwrap_or(0),
            environment: Environment {
                os: text(&["environment", "system"]).map(str::to_owned),
                architecture: text(&["environment", "machine"]).map(str::to_owned),
                cpu_name: text(&["environment", "cpu"]).map(str::to_owned),
                cpu_logical: small(&["environment", "cpu_count"]),
                host_memory_bytes: json::number(config, &["environment", "cpu_ram_mb"])
                    .filter(|mb| (1.0..1e12).contains(mb))
                    .map(|mb| (mb * 1e6).round() as u64),
                engine_version: text(&["backend", "version"]).map(str::to_owned),
                framework_version: library,
                ..Environment::default()
            },
            ..Draft::default()
        };
        place(&mut draft, config)?;
        parameters(&mut draft, config, training);
        if !self.map.sets(Part::Precision) {
            draft.precision = precision(config, notes)?;
        }
        phases(&mut draft, report)?;
        draft.finish(&self.map)
    }
}

/// The device of the backend, with the name that the environment has for it.
fn place(draft: &mut Draft, config: &Value) -> Result<(), String> {
    let Some(device) = json::string(config, &["backend", "device"]) else { return Ok(()) };
    let environment = |key: &str| json::at(config, &["environment", key]);
    if device == "cpu" {
        draft.platform = Some(Platform::Cpu);
        draft.name_device(environment("cpu").and_then(Value::as_str).unwrap_or_default(), DeviceKind::Cpu);
        return Ok(());
    }
    let gpus = environment("gpu").and_then(Value::as_array);
    let name = gpus.and_then(|gpus| gpus.first()).and_then(Value::as_str).unwrap_or_default();
    // PyTorch calls AMD's cards `cuda` too.
    let amd = ["amd", "radeon", "instinct"].iter().any(|maker| name.to_lowercase().contains(maker));
    draft.platform = match draft::platform(device)? {
        Platform::Cuda if amd => Some(Platform::Rocm),
        platform => Some(platform),
    };
    draft.name_device(name, DeviceKind::Gpu);
    Ok(())
}

/// All else that changes the work.
fn parameters(draft: &mut Draft, config: &Value, training: bool) {
    let shapes = if training { "dataset_shapes" } else { "input_shapes" };
    let shapes = json::at(config, &["scenario", shapes]).and_then(Value::as_object);
    for (name, value) in shapes.into_iter().flatten().filter(|(name, _)| *name != "batch_size") {
        draft.parameters.insert(name.clone(), value.clone());
    }
    let generation = json::at(config, &["scenario", "generate_kwargs"]).and_then(Value::as_object);
    for (name, value) in generation.into_iter().flatten() {
        draft.parameters.insert(name.clone(), value.clone());
    }
    for (key, name) in [
        ("torch_compile", "compiled"),
        ("attn_implementation", "attention"),
        ("quantization_scheme", "quantization"),
        ("peft_type", "peft"),
        ("export", "export"),
        ("half", "half"),
        ("task", "task"),
    ] {
        if let Some(value) = json::at(config, &["backend", key]).filter(|value| **value != Value::Bool(false)) {
            draft.parameters.insert(name.to_owned(), value.clone());
        }
    }
}

/// The arithmetic that the backend was told to do.
fn precision(config: &Value, notes: &mut Vec<String>) -> Result<Option<Precision>, String> {
    let text = |key: &str| json::string(config, &["backend", key]);
    if let Some(scheme) = text("quantization_scheme") {
        return Err(format!(
            "the model is quantised with `{scheme}`, which does not say its arithmetic; `--map precision==int8w` does"
        ));
    }
    if json::at(config, &["backend", "autocast_enabled"]) == Some(&Value::Bool(true)) {
        return Ok(Some(Precision::Amp));
    }
    match text("torch_dtype").or_else(|| text("dtype")) {
        Some("auto") => {
            Err("`torch_dtype` is `auto`: that of the weights; `--map precision==fp16` says which".to_owned())
        }
        Some(dtype) => draft::precision(dtype).map(Some),
        // What `from_pretrained` of transformers 4 does when it is told nothing.
        None if text("name") == Some("pytorch")
            && json::string(config, &["environment", "transformers_version"])
                .is_some_and(|version| version.starts_with("4.")) =>
        {
            notes.push("no `torch_dtype` was asked for: transformers 4 then loads in fp32".to_owned());
            Ok(Some(Precision::Fp32))
        }
        None => Ok(None),
    }
}

fn category(task: &str) -> Option<Category> {
    match task {
        "image-classification" | "object-detection" | "semantic-segmentation" | "image-segmentation" => {
            Some(Category::Vision)
        }
        "text-generation"
        | "text2text-generation"
        | "text-classification"
        | "token-classification"
        | "fill-mask"
        | "question-answering"
        | "multiple-choice" => Some(Category::Text),
        "audio-classification" | "automatic-speech-recognition" => Some(Category::Audio),
        "image-to-text" | "text-to-image" | "image-text-to-text" => Some(Category::Multimodal),
        _ => None,
    }
}

fn domain_task(task: &str) -> Option<Task> {
    match task {
        "image-classification" => Some(Task::ImageClassification),
        "fill-mask" => Some(Task::MaskedLanguageModelling),
        "text-generation" => Some(Task::CausalLanguageModelling),
        _ => None,
    }
}

/// The numbers of a report.
fn phases(draft: &mut Draft, report: &Value) -> Result<(), String> {
    if let Some(phase) = BATCHES.into_iter().find_map(|name| report.get(name)) {
        let values = durations(phase)?;
        if !values.is_empty() {
            draft.take_iterations(values);
        }
        // Without the values, what the tool made of them stands.
        for (key, metric) in [("mean", "latency_mean_ms"), ("stdev", "latency_std_ms"), ("p50", "latency_p50_ms")] {
            if let Some(ms) = milliseconds(phase, key)?
                && draft.metrics.get(metric).is_none()
            {
                draft.measured(metric, ms)?;
            }
        }
        rate(draft, phase, "throughput_samples_per_second", "samples/s")?;
        resources(draft, phase)?;
    } else if let Some(prefill) = report.get("prefill") {
        let decode = report.get("decode").unwrap_or(&Value::Null);
        if let Some(ms) = milliseconds(prefill, "mean")? {
            draft.measured("time_to_first_token_ms", ms)?;
        }
        if let Some(ms) = milliseconds(report.get("per_token").unwrap_or(&Value::Null), "mean")? {
            draft.measured("time_per_output_token_ms", ms)?;
        }
        rate(draft, decode, "throughput_tokens_per_second", "tokens/s")?;
        draft.iterations = durations(prefill)?.len() as u64;
        for (name, phase) in [("prefill", prefill), ("decode", decode)] {
            let nanoseconds = durations(phase)?;
            if !nanoseconds.is_empty() {
                draft.samples.push(crate::domain::SampleSeries { phase: name.to_owned(), nanoseconds });
            }
        }
        resources(draft, if decode.is_null() { prefill } else { decode })?;
    }
    let load = report.get("load").or_else(|| report.get("load_model"));
    if let Some(ms) = load.map(|phase| milliseconds(phase, "mean")).transpose()?.flatten() {
        draft.measured("startup_ms", ms)?;
    }
    Ok(())
}

/// One unit of a phase's latency in nanoseconds.
fn latency_unit(phase: &Value) -> Result<f64, String> {
    match json::string(phase, &["latency", "unit"]) {
        Some("s") | None => Ok(1e9),
        Some("ms") => Ok(1e6),
        Some(other) => Err(format!("the latency is in `{other}`, neither s nor ms")),
    }
}

fn durations(phase: &Value) -> Result<Vec<u64>, String> {
    let unit = latency_unit(phase)?;
    let values = json::at(phase, &["latency", "values"]).and_then(Value::as_array);
    let duration = |value: &Value| {
        let duration = value.as_f64().and_then(|value| json::nanoseconds(value, unit));
        duration.ok_or_else(|| format!("the latencies hold {value}, no duration"))
    };
    values.into_iter().flatten().map(duration).collect()
}

/// A number of a phase's latency; older reports hold the values alone.
fn milliseconds(phase: &Value, key: &str) -> Result<Option<f64>, String> {
    let unit = latency_unit(phase)? / 1e6;
    let said = json::number(phase, &["latency", key]).map(|value| value * unit);
    if said.is_some() || key != "mean" {
        return Ok(said);
    }
    let values: Vec<f64> = durations(phase)?.into_iter().map(|nanoseconds| nanoseconds as f64 / 1e6).collect();
    Ok(crate::stats::mean(&values))
}

fn rate(draft: &mut Draft, phase: &Value, metric: &str, unit: &str) -> Result<(), String> {
    let Some(value) = json::number(phase, &["throughput", "value"]) else { return Ok(()) };
    match json::string(phase, &["throughput", "unit"]) {
        Some(said) if said == unit => draft.measured(metric, value),
        said => draft.extra("throughput", said.unwrap_or_default(), Better::Higher, value),
    }
}

fn resources(draft: &mut Draft, phase: &Value) -> Result<(), String> {
    let memory = |key: &str| json::number(phase, &["memory", key]).filter(|value| *value > 0.0);
    if let Some(unit) = json::string(phase, &["memory", "unit"]).filter(|unit| *unit != "MB") {
        return Err(format!("the memory is in `{unit}`, not MB"));
    }
    if let Some(mb) = memory("max_ram") {
        draft.measured("memory_host_peak_mb", mb)?;
    }
    // That of the process alone, where it is known; the card's as a whole may be others' too.
    if let Some(mb) = memory("max_process_vram") {
        draft.measured("memory_device_peak_mb", mb)?;
    }
    for (key, name) in [
        ("max_global_vram", "memory_device_global_peak"),
        ("max_vram", "memory_device_global_peak"),
        ("max_allocated", "memory_device_allocated_peak"),
        ("max_reserved", "memory_device_reserved_peak"),
    ] {
        if let Some(mb) = memory(key) {
            draft.extra(name, "MB", Better::Lower, mb)?;
        }
    }
    if let Some(total) = json::number(phase, &["energy", "total"]).filter(|total| *total > 0.0) {
        let unit = json::string(phase, &["energy", "unit"]).unwrap_or_default();
        draft.extra("energy_total", unit, Better::Lower, total)?;
    }
    Ok(())
}
