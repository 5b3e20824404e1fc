//! Every foreign format on files of its own: exact values, what stays empty, what is refused and where.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::domain::{
    Category, DeviceKind, ImportItem, Mode, Platform, Precision, Refusal, RunRecord, RunStatus, Task, Validity,
};
use crate::exchange::{ColumnMap, ExchangeError, HEAD_BYTES, Head, importer_for, importers};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/foreign").join(name)
}

/// What a file holds.
#[derive(Debug, Default)]
struct Found {
    format: &'static str,
    runs: Vec<RunRecord>,
    refused: Vec<Refusal>,
    notes: Vec<String>,
}

impl Found {
    fn refusals(&self) -> Vec<(u64, &str)> {
        self.refused.iter().map(|refusal| (refusal.line, refusal.reason.as_str())).collect()
    }
}

fn read_as(path: &str, bytes: &[u8], map: &[&str]) -> Result<Found, ExchangeError> {
    let map = ColumnMap::new(map.iter().copied()).unwrap();
    let importer = importer_for::<ExchangeError>(&Head::new(path, bytes), &map)?;
    let mut found = Found { format: importer.format(), ..Found::default() };
    let mut content = bytes;
    found.notes = importer.read(path, &mut content, &mut |item| {
        match item {
            ImportItem::Run(run) => {
                run.validate().unwrap();
                found.runs.push(*run);
            }
            ImportItem::Refused(refusal) => found.refused.push(refusal),
        }
        Ok(())
    })?;
    Ok(found)
}

fn read(name: &str, map: &[&str]) -> Found {
    let path = fixture(name);
    read_as(&path.to_string_lossy(), &std::fs::read(&path).unwrap(), map).unwrap()
}

fn metric(run: &RunRecord, name: &str) -> Option<f64> {
    run.measurement.metrics.get(name)
}

fn extra(run: &RunRecord, name: &str) -> Option<(f64, String)> {
    let metrics = &run.measurement.extra_metrics;
    metrics.iter().find(|metric| metric.name == name).map(|metric| (metric.value, metric.unit.clone()))
}

fn fixtures() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, into) } else { into.push(path) }
        }
    }
    let mut files = Vec::new();
    walk(&fixture(""), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(fixture("")).unwrap();
            let folder = relative.iter().next().unwrap().to_string_lossy().into_owned();
            (path, folder)
        })
        .collect()
}

#[test]
fn each_file_is_recognised_by_one_importer() {
    let map = ColumnMap::default();
    let mut seen = std::collections::BTreeSet::new();
    for (path, folder) in fixtures() {
        let bytes = std::fs::read(&path).unwrap();
        let text = path.to_string_lossy();
        let head = Head::new(&text, &bytes);
        let by: Vec<_> = importers::<ExchangeError>(&map)
            .iter()
            .filter(|importer| importer.recognises(&head))
            .map(|importer| importer.format())
            .collect();
        let expected: &[&str] = match folder.as_str() {
            "timm" => &["timm-csv"],
            "mlperf" => &["mlperf-inference"],
            // The user has to say what its columns are.
            "csv" if text.ends_with("mapped.csv") => &[],
            folder => &[folder],
        };
        assert_eq!(by, expected, "{text}");
        seen.extend(by);
    }
    let foreign = importers::<ExchangeError>(&map).len() - 2;
    assert_eq!(seen.len(), foreign, "every foreign format has a file: {seen:?}");
}

#[test]
fn other_content_is_in_no_format_or_malformed() {
    let long = [b"{\"results\": [".as_slice(), &[b' '; HEAD_BYTES]].concat();
    for bytes in [
        b"".as_slice(),
        b"\n\n",
        b"\xEF\xBB\xBF",
        b"<!DOCTYPE html><html><body>model,latency_p50_ms</body></html>",
        b"\x7fELF\x02\x01\x01\0\0\0model,latency_p50_ms\n",
        b"\xff\xfe\x00\x01",
        b"name,age\nada,36\n",
        b"model,price\nT,1\n",
        b"{}",
        b"[]",
        b"[1, 2, 3]",
        b"{\"results\": []}",
        b"{\"a\": {\"b\": {\"c\": 1}}}",
        b"\"text\"",
        &long,
    ] {
        let found = read_as("file", bytes, &[]);
        assert!(matches!(found, Err(ExchangeError::UnknownFormat { .. })), "{:?}: {found:?}", bytes.get(..40));
    }
    let hint = read_as("file", b"", &[]).unwrap_err().hint().unwrap();
    for format in ["benchdb export", "timm", "llama-bench", "hyperfine", "Criterion", "Bencher", "MLPerf", "--map"] {
        assert!(hint.contains(format), "{hint}");
    }
    // Cut in the middle: known, and broken.
    for name in [
        "llama-bench/cuda.json",
        "optimum-benchmark/benchmark.json",
        "google-benchmark/result.json",
        "hyperfine/result.json",
        "criterion/resnet50/forward/new/estimates.json",
        "bencher/bmf.json",
        "pytorch-benchmark/gpt_fast.json",
    ] {
        let path = fixture(name);
        let bytes = std::fs::read(&path).unwrap();
        let error = read_as(name, &bytes[..bytes.len() - 5], &[]).unwrap_err();
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        assert!(
            matches!(&error, ExchangeError::Malformed { line, .. } if *line + 3 >= lines && *line > 0),
            "{name}: {error}"
        );
    }
}

#[test]
fn timm_rows_become_runs() {
    let found = read("timm/benchmark-infer-amp-nchw-pt210-cu121-rtx3090.csv", &[]);
    assert_eq!(found.format, "timm-csv");
    assert_eq!((found.runs.len(), found.refused.len()), (5, 2));
    assert_eq!(found.refusals(), [(7, "`batch_size` is missing"), (8, "`batch_size` is missing")]);
    let run = &found.runs[0];
    let configuration = &run.configuration;
    assert_eq!(configuration.model, "tinynet_e");
    assert_eq!((configuration.engine.as_str(), configuration.batch_size), ("pytorch", 1024));
    assert_eq!((configuration.platform, configuration.precision), (Platform::Cuda, Precision::Amp));
    assert_eq!(configuration.mode, Mode::Inference);
    assert_eq!(configuration.input_shape, "3x106x106");
    assert_eq!(configuration.parameters_json(), r#"{"memory_layout":"nchw"}"#);
    assert_eq!(configuration.device.name, "NVIDIA GeForce RTX 3090");
    assert_eq!((configuration.device.vendor.as_str(), configuration.device.kind), ("NVIDIA", DeviceKind::Gpu));
    assert_eq!(configuration.device.compute_units, None);
    assert_eq!(metric(run, "throughput_samples_per_second"), Some(50604.03));
    assert_eq!(metric(run, "latency_mean_ms"), Some(20.225));
    assert_eq!(run.measurement.metrics.iter().count(), 2);
    assert_eq!(run.model.family.as_deref(), Some("tinynet"));
    assert_eq!(run.model.category, Some(Category::Vision));
    assert_eq!(run.model.parameter_count, Some(2_040_000));
    assert_eq!(run.model.multiply_adds, Some(30_000_000));
    assert_eq!(run.model.activation_count, Some(690_000));
    assert_eq!(extra(run, "multiply_adds_per_sample"), Some((30_000_000.0, "1".to_owned())));
    assert_eq!(run.environment.host, None);
    assert_eq!(run.started_at, None);
    assert_eq!((run.measurement.iterations, run.measurement.validity), (0, Validity::Valid));

    let found = read("timm/benchmark-infer-fp32-nchw-pt221-cpu-i9_10940x-dynamo.csv", &[]);
    let run = &found.runs[0];
    assert_eq!(run.configuration.device.vendor, "GenuineIntel");
    assert_eq!(run.configuration.parameters_json(), r#"{"compiled":true,"memory_layout":"nchw"}"#);
    assert_eq!((run.model.multiply_adds, run.model.activation_count), (None, None));
    let found = read("timm/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv", &[]);
    assert_eq!(found.runs[0].configuration.mode, Mode::Training);
    assert_eq!(found.runs[0].configuration.batch_size, 512);
}

#[test]
fn a_renamed_timm_file_is_refused() {
    let bytes = std::fs::read(fixture("timm/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv")).unwrap();
    let error = read_as("results.csv", &bytes, &[]).unwrap_err();
    assert!(error.to_string().contains("the name of `results.csv` does not say"), "{error}");
    let error = read_as("benchmark-infer-amp-nhwc-pt112-cu113-rtx3090.csv", &bytes, &[]).unwrap_err();
    assert!(error.to_string().contains("the columns are those of `train`"), "{error}");
}

#[test]
fn all_of_timm_is_taken_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/timm");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED all_of_timm_is_taken_or_refused: {} is not there", folder.display());
        return;
    };
    let (mut files, mut taken, mut refused) = (0, 0, 0);
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "csv") {
            continue;
        }
        let found = read_as(&path.to_string_lossy(), &std::fs::read(&path).unwrap(), &[]).unwrap();
        files += 1;
        taken += found.runs.len();
        refused += found.refused.len();
    }
    assert_eq!((files, taken + refused), (16, 20_679));
    assert_eq!(refused, 2, "the rows without a batch size");
}

#[test]
fn llama_bench_tests_become_runs() {
    let found = read("llama-bench/cuda.json", &[]);
    assert_eq!((found.runs.len(), found.refused.len(), found.notes.len()), (2, 0, 0));
    let [prompt, generation] = found.runs.as_slice() else { panic!("{found:?}") };
    assert_eq!(prompt.configuration.model, "qwen2 7B");
    assert_eq!(prompt.configuration.engine, "llama.cpp");
    assert_eq!(prompt.environment.engine_version.as_deref(), Some("b5163 (8cf427ff)"));
    assert_eq!(prompt.environment.cpu_name.as_deref(), Some("AMD Ryzen 7 7800X3D 8-Core Processor"));
    assert_eq!(prompt.configuration.precision, Precision::Int8w);
    assert_eq!(prompt.configuration.platform, Platform::Cuda);
    assert_eq!(prompt.configuration.device.name, "NVIDIA GeForce RTX 4080");
    assert_eq!((prompt.configuration.threads, prompt.configuration.batch_size), (8, 1));
    assert_eq!(prompt.configuration.parameters["n_prompt"], 512);
    assert_eq!(generation.configuration.parameters["n_gen"], 128);
    assert_eq!(generation.configuration.parameters["weight_format"], "Q8_0");
    assert_ne!(prompt.configuration.fingerprint(), generation.configuration.fingerprint());
    assert_eq!(prompt.started_at.as_deref(), Some("2025-04-24T11:58:50Z"));
    assert_eq!(prompt.model.parameter_count, Some(7_615_616_512));
    assert_eq!(metric(prompt, "throughput_tokens_per_second"), Some(7100.002165));
    assert_eq!(metric(prompt, "latency_mean_ms"), Some(72.13564));
    assert_eq!(metric(prompt, "latency_p50_ms"), Some(71.7452));
    assert_eq!(metric(prompt, "model_size_mb"), Some(8098.525184));
    assert_eq!(prompt.measurement.samples[0].phase, "iteration");
    assert_eq!(prompt.measurement.samples[0].nanoseconds[0], 74_601_900);
    assert_eq!((prompt.measurement.iterations, prompt.measurement.validity), (5, Validity::TooFewSamples));
}

#[test]
fn llama_bench_lines_are_read_and_unknown_weights_are_refused() {
    let found = read("llama-bench/mixed.jsonl", &[]);
    assert_eq!(found.runs.len(), 1);
    let run = &found.runs[0];
    assert_eq!((run.configuration.platform, run.configuration.precision), (Platform::Cpu, Precision::Fp16));
    assert_eq!(run.configuration.device.vendor, "AuthenticAMD");
    assert_eq!(found.refused[0].line, 2);
    assert!(found.refused[0].reason.contains("the weights are Q4_K - Medium"), "{:?}", found.refused);
    let found = read("llama-bench/mixed.jsonl", &["precision==fp16"]);
    assert_eq!(found.runs[1].configuration.parameters["weight_format"], "Q4_K - Medium");
    // A line that was cut is a refusal of its own.
    let bytes = std::fs::read(fixture("llama-bench/mixed.jsonl")).unwrap();
    let found = read_as("x", &bytes[..bytes.len() - 9], &[]).unwrap();
    assert_eq!((found.runs.len(), found.refused[0].line), (1, 2));
    assert!(found.refused[0].reason.contains("EOF"), "{:?}", found.refused);
}

#[test]
fn llama_bench_without_layers_on_the_gpu_ran_on_the_processor() {
    let text = std::fs::read_to_string(fixture("llama-bench/cuda.json")).unwrap();
    let found = read_as("x", text.replace("\"n_gpu_layers\": 99", "\"n_gpu_layers\": 0").as_bytes(), &[]).unwrap();
    assert_eq!(found.runs[0].configuration.platform, Platform::Cpu);
    assert_eq!(found.refused[0].line, 2);
    assert!(found.refused[0].reason.contains("may have processed the prompt there"), "{:?}", found.refused);
    let found = read_as("x", text.replace("\"CUDA\"", "\"SYCL\"").as_bytes(), &[]).unwrap();
    assert!(found.refused[0].reason.contains("`--map platform==cuda`"), "{:?}", found.refused);
}

#[test]
fn optimum_reports_become_runs() {
    let found = read("optimum-benchmark/benchmark.json", &[]);
    assert_eq!(found.refusals(), []);
    let run = &found.runs[0];
    assert_eq!(run.configuration.model, "google/vit-base-patch16-224");
    assert_eq!((run.model.family.as_deref(), run.model.task), (Some("vit"), Some(Task::ImageClassification)));
    assert_eq!((run.configuration.engine.as_str(), run.configuration.batch_size), ("pytorch", 2));
    assert_eq!((run.configuration.platform, run.configuration.precision), (Platform::Cuda, Precision::Fp16));
    assert_eq!(run.configuration.device.name, "NVIDIA A10G");
    assert_eq!(run.environment.cpu_name.as_deref(), Some("AMD EPYC 7R32"));
    assert_eq!(run.environment.engine_version.as_deref(), Some("2.4.1"));
    assert_eq!(run.environment.host_memory_bytes, Some(66_697_261_056));
    assert_eq!(run.environment.host, None);
    assert_eq!(metric(run, "latency_p50_ms"), Some(6.9));
    assert_eq!(metric(run, "throughput_samples_per_second"), Some(289.8550724637681));
    assert_eq!(metric(run, "startup_ms"), Some(7500.0));
    assert_eq!(metric(run, "memory_host_peak_mb"), Some(1056.772096));
    assert_eq!(metric(run, "memory_device_peak_mb"), None, "0 was not measured");
    assert_eq!(metric(run, "energy_per_sample_j"), None);
    assert_eq!(extra(run, "memory_device_allocated_peak"), Some((346.271232, "MB".to_owned())));
    assert_eq!(extra(run, "energy_total"), Some((4.005e-7, "kWh".to_owned())));
    assert_eq!((run.measurement.iterations, run.measurement.validity), (10, Validity::Valid));
    assert_eq!(run.measurement.samples[0].nanoseconds[0], 7_100_000);
}

#[test]
fn an_optimum_report_alone_needs_the_users_word() {
    let found = read("optimum-benchmark/benchmark_report.json", &[]);
    let reason = &found.refused[0].reason;
    for part in ["the model", "the platform", "the engine", "the precision", "the batch size", "--map batch_size==1"] {
        assert!(reason.contains(part), "{reason}");
    }
    let map = ["model==llama-2-13b", "platform==cuda", "engine==pytorch", "precision==fp16", "batch_size==1"];
    let found = read("optimum-benchmark/benchmark_report.json", &map);
    let run = &found.runs[0];
    assert_eq!(metric(run, "time_to_first_token_ms").map(|ms| (ms * 1e9).round() / 1e9), Some(83.6));
    assert_eq!(metric(run, "time_per_output_token_ms").map(|ms| (ms * 1e9).round() / 1e9), Some(43.9));
    assert_eq!(metric(run, "throughput_tokens_per_second"), Some(22.77));
    assert_eq!(metric(run, "latency_mean_ms"), None);
    assert_eq!(run.configuration.device.name, "unknown");
    assert_eq!(run.configuration.device.kind, DeviceKind::Gpu);
    let phases: Vec<_> = run.measurement.samples.iter().map(|series| series.phase.as_str()).collect();
    assert_eq!(phases, ["prefill", "decode"]);
    assert_eq!(run.measurement.validity, Validity::TooFewSamples);
}

#[test]
fn an_optimum_precision_is_not_guessed() {
    let text = std::fs::read_to_string(fixture("optimum-benchmark/benchmark.json")).unwrap();
    let with = |dtype: &str, version: &str| {
        let text = text.replace("\"torch_dtype\": \"float16\"", dtype).replace("4.47.0", version);
        read_as("x", text.as_bytes(), &[]).unwrap()
    };
    let found = with("\"torch_dtype\": null", "4.47.0");
    assert_eq!(found.runs[0].configuration.precision, Precision::Fp32);
    assert!(found.notes[0].contains("fp32"), "{:?}", found.notes);
    assert!(with("\"torch_dtype\": null", "5.0.0").refused[0].reason.contains("the precision"));
    assert!(with("\"torch_dtype\": \"auto\"", "4.47.0").refused[0].reason.contains("`auto`"));
    let amp = with("\"autocast_dtype\": null", "4.47.0");
    assert_eq!(amp.runs[0].configuration.precision, Precision::Fp32);
    let text = text.replace("\"quantization_scheme\": null", "\"quantization_scheme\": \"bnb\"");
    assert!(read_as("x", text.as_bytes(), &[]).unwrap().refused[0].reason.contains("quantised with `bnb`"));
}

#[test]
fn google_benchmark_repetitions_become_runs() {
    let found = read("google-benchmark/result.json", &[]);
    assert_eq!((found.runs.len(), found.refused.len()), (4, 0));
    let run = &found.runs[0];
    assert_eq!((run.configuration.model.as_str(), run.repetition), ("BM_Softmax/1024", 1));
    assert_eq!(found.runs[1].repetition, 2);
    assert_eq!((run.configuration.platform, run.configuration.threads), (Platform::Cpu, 1));
    assert_eq!(run.configuration.device.name, "unknown");
    assert_eq!(run.environment.host.as_deref(), Some("builder"));
    assert_eq!(run.environment.cpu_logical, Some(8));
    assert_eq!(run.started_at.as_deref(), Some("2022-01-26T14:44:19Z"));
    assert_eq!(metric(run, "latency_mean_ms"), Some(1.6392272438353568));
    assert_eq!(metric(run, "throughput_samples_per_second"), Some(624.5));
    assert_eq!(extra(run, "hits"), Some((3.0, String::new())));
    assert_eq!((run.measurement.iterations, run.measurement.validity), (402, Validity::Valid));
    let failed = &found.runs[2].measurement;
    assert_eq!((failed.status, failed.error.as_deref()), (RunStatus::Failed, Some("no such file")));
    let slow = &found.runs[3];
    assert_eq!(metric(slow, "latency_mean_ms"), Some(2500.0));
    assert_eq!(slow.measurement.validity, Validity::TooFewSamples);
    assert!(found.notes[0].contains("platform==cpu, device==unknown, precision==fp32"), "{:?}", found.notes);
    assert!(found.notes[1].contains("1 rows of aggregates"), "{:?}", found.notes);
}

#[test]
fn google_benchmark_aggregates_alone_are_refused() {
    let text = r#"{"context": {"num_cpus": 1}, "benchmarks": [
        {"name": "a_mean", "iterations": 2, "real_time": 1, "time_unit": "ns"}]}"#;
    let found = read_as("x", text.as_bytes(), &[]).unwrap();
    assert_eq!(found.refused[0].line, 2);
    assert!(found.refused[0].reason.contains("aggregates alone"), "{:?}", found.refused);
    let text = text.replace("a_mean", "a").replace("\"ns\"", "\"min\"");
    let found = read_as("x", text.as_bytes(), &[]).unwrap();
    assert!(found.refused[0].reason.contains("`time_unit` is `min`"), "{:?}", found.refused);
}

#[test]
fn hyperfine_commands_become_runs() {
    let found = read("hyperfine/result.json", &[]);
    let run = &found.runs[0];
    assert_eq!(
        (run.configuration.model.as_str(), run.configuration.engine.as_str()),
        ("python infer.py --batch 8", "command")
    );
    assert_eq!(run.configuration.parameters["batch"], "8");
    assert_eq!((metric(run, "latency_mean_ms"), metric(run, "latency_std_ms")), (Some(500.0), Some(100.0)));
    assert_eq!((metric(run, "latency_min_ms"), metric(run, "latency_max_ms")), (Some(400.0), Some(600.0)));
    assert_eq!(metric(run, "memory_host_peak_mb"), Some(104.857602));
    assert_eq!(metric(run, "success_rate"), Some(2.0 / 3.0));
    assert_eq!(extra(run, "user_time"), Some((0.4, "s".to_owned())));
    assert_eq!(run.measurement.samples[0].nanoseconds, [400_000_000, 500_000_000, 600_000_000]);
    assert_eq!(run.measurement.validity, Validity::TooFewSamples);
    let failed = &found.runs[1].measurement;
    assert_eq!(failed.status, RunStatus::Failed);
    assert!(failed.metrics.is_empty());
    let map = ["platform==cuda", "device==NVIDIA H200", "precision==bf16", "batch_size==8"];
    let found = read("hyperfine/result.json", &map);
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    let device = &found.runs[0].configuration.device;
    assert_eq!((device.name.as_str(), device.vendor.as_str(), device.kind), ("NVIDIA H200", "NVIDIA", DeviceKind::Gpu));
}

#[test]
fn criterion_estimates_become_a_run() {
    let found = read("criterion/resnet50/forward/new/estimates.json", &[]);
    let run = &found.runs[0];
    assert_eq!(run.configuration.model, "resnet50/forward");
    assert_eq!(metric(run, "latency_mean_ms"), Some(20.40411485730159));
    assert_eq!(metric(run, "latency_p50_ms"), Some(20.262504083333333));
    assert_eq!(metric(run, "latency_std_ms"), Some(500_470.085_948_633_26 / 1e6));
    assert_eq!((run.measurement.iterations, run.measurement.validity), (0, Validity::Valid));
    let bytes = std::fs::read(fixture("criterion/resnet50/forward/new/estimates.json")).unwrap();
    let reason = |path: &str| read_as(path, &bytes, &[]).unwrap().refused[0].reason.clone();
    assert!(reason("estimates.json").contains("`--map model==NAME`"));
    assert!(reason("target/criterion/a/change/estimates.json").contains("changes, no times"));
    let named = |path: &str, map: &[&str]| read_as(path, &bytes, map).unwrap().runs[0].configuration.model.clone();
    assert_eq!(named("estimates.json", &["model==a"]), "a");
    assert_eq!(named("bench/new/estimates.json", &[]), "bench");
}

#[test]
fn bencher_metrics_become_runs() {
    let found = read("bencher/bmf.json", &[]);
    assert_eq!(found.runs.len(), 3);
    assert_eq!(found.refused[0].line, 24);
    assert_eq!(found.refused[0].reason, "`latency` has no `value`");
    let run = &found.runs[0];
    assert_eq!(run.configuration.model, "resnet50 forward");
    assert_eq!(metric(run, "latency_mean_ms"), Some(8.8));
    assert_eq!(metric(run, "throughput_samples_per_second"), Some(113.63));
    assert_eq!(extra(&found.runs[1], "file-size"), Some((42.0, "bytes".to_owned())));
    assert_eq!(extra(&found.runs[2], "build-time"), Some((87.0, "s".to_owned())));
    assert!(found.notes[1].contains("`lower_value`"), "{:?}", found.notes);
}

#[test]
fn pytorch_records_of_one_identity_are_one_run() {
    let found = read("pytorch-benchmark/gpt_fast.json", &[]);
    assert_eq!((found.runs.len(), found.refused.len()), (1, 1));
    let run = &found.runs[0];
    assert_eq!(run.configuration.model, "Llama-2-7b-chat-hf");
    assert_eq!((run.configuration.platform, run.configuration.precision), (Platform::Cuda, Precision::Bf16));
    assert_eq!(run.configuration.device.name, "NVIDIA A100-SXM4-40GB");
    assert_eq!(run.configuration.parameters["backend"], "inductor");
    assert_eq!(metric(run, "throughput_tokens_per_second"), Some(94.5));
    assert_eq!(metric(run, "compile_ms"), Some(137_000.0));
    assert_eq!(extra(run, "memory_bandwidth(GB/s)"), Some((1253.0, String::new())));
    assert!(found.refused[0].reason.contains("the precision `int4`"), "{:?}", found.refused);
    assert!(found.refused[0].line > 60, "{:?}", found.refused);
}

#[test]
fn pytorch_lines_are_read() {
    let found = read("pytorch-benchmark/cpu.jsonl", &[]);
    assert!(found.refused[0].reason.contains("`--map batch_size==1`"), "{:?}", found.refused);
    let run = &read("pytorch-benchmark/cpu.jsonl", &["batch_size==1"]).runs[0];
    assert_eq!(run.configuration.platform, Platform::Cpu);
    assert_eq!(run.configuration.device.name, "Intel(R) Xeon(R) Platinum 8275CL CPU @ 3.00GHz");
    assert_eq!(run.environment.architecture.as_deref(), Some("x86_64"));
    assert_eq!(metric(run, "latency_mean_ms"), Some(0.512));
}

#[test]
fn mlperf_summaries_become_runs() {
    let single = "mlperf/resnet50/SingleStream/performance/run_1/mlperf_log_summary.txt";
    let found = read(single, &[]);
    let reason = &found.refused[0].reason;
    assert!(reason.contains("the platform, the precision"), "{reason}");
    assert_eq!(found.refused[0].line, 2);
    let found = read(single, &["platform==cuda", "precision==int8"]);
    let run = &found.runs[0];
    assert_eq!((run.configuration.model.as_str(), run.configuration.batch_size), ("resnet50", 1));
    assert_eq!(run.configuration.parameters["scenario"], "SingleStream");
    assert_eq!(metric(run, "latency_p90_ms"), Some(7.428935));
    assert_eq!(metric(run, "latency_min_ms"), Some(5.979319));
    assert_eq!(metric(run, "throughput_samples_per_second"), Some(145.57));
    assert!(found.notes[0].contains("`mlperf`"), "{:?}", found.notes);
}

#[test]
fn mlperf_results_that_are_not_valid_are_refused() {
    let offline = "mlperf/resnet50/Offline/performance/run_1/mlperf_log_summary.txt";
    let map = ["platform==cpu", "precision==fp32", "batch_size==1", "engine==onnxruntime"];
    let found = read(offline, &map);
    let reason = &found.refused[0].reason;
    assert!(reason.contains("INVALID: Min duration satisfied : NO; * Increase expected QPS"), "{reason}");
    let text = std::fs::read_to_string(fixture(offline)).unwrap();
    let valid = text.replace("INVALID", "VALID").replace(": NO", ": Yes");
    let found = read_as("resnet50/Offline/x.txt", valid.as_bytes(), &map).unwrap();
    assert_eq!(metric(&found.runs[0], "throughput_samples_per_second"), Some(1.21305));
    assert_eq!(found.runs[0].measurement.metrics.iter().count(), 1);
    let accuracy = valid.replace("PerformanceOnly", "AccuracyOnly");
    let found = read_as("resnet50/Offline/x.txt", accuracy.as_bytes(), &map).unwrap();
    assert!(found.refused[0].reason.contains("`AccuracyOnly`"), "{:?}", found.refused);
}

#[test]
fn a_table_with_common_names_needs_no_map() {
    let found = read("csv/preset.csv", &[]);
    assert_eq!(found.format, "csv");
    let [gpu, cpu, jax] = found.runs.as_slice() else { panic!("{found:?}") };
    assert_eq!((gpu.configuration.platform, gpu.configuration.device.kind), (Platform::Cuda, DeviceKind::Gpu));
    assert_eq!((gpu.configuration.engine.as_str(), gpu.configuration.precision), ("pytorch", Precision::Fp16));
    assert_eq!(gpu.configuration.device.name, "unknown");
    assert_eq!(metric(gpu, "memory_device_peak_mb"), Some(812.5));
    assert_eq!(metric(gpu, "throughput_samples_per_second"), Some(1777.7));
    assert_eq!((metric(gpu, "latency_p50_ms"), metric(gpu, "latency_p95_ms")), (Some(4.5), Some(5.1)));
    assert_eq!(metric(gpu, "compile_ms"), None);
    assert_eq!((cpu.configuration.platform, metric(cpu, "memory_host_peak_mb")), (Platform::Cpu, Some(350.0)));
    assert_eq!((metric(jax, "compile_ms"), jax.configuration.precision), (Some(1250.5), Precision::Bf16));
    assert!(found.notes[0].contains("passed over: notes"), "{:?}", found.notes);
    let expected = [
        (5, "it does not say the platform"),
        (6, "column `dtype`: the precision `float64`"),
        (7, "nothing tells it from line 4"),
        (8, "column `latency_p50_ms`: `NaN`"),
        (9, "`latency_p50_ms` is -1"),
        (10, "the batch size"),
        (11, "it has 6 fields"),
    ];
    assert_eq!(found.refused.len(), expected.len(), "{:?}", found.refused);
    for ((line, reason), (expected_line, part)) in found.refusals().into_iter().zip(expected) {
        assert_eq!(line, expected_line, "{reason}");
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn a_table_is_read_as_the_user_says() {
    let map = [
        "model=net",
        "latency_p50_ms=lat s*1000",
        "throughput_samples_per_second=fps",
        "engine==tensorrt",
        "platform==cuda",
        "device==NVIDIA L4",
        "precision==fp16",
        "batch_size==1",
    ];
    let found = read("csv/mapped.csv", &map);
    assert_eq!((found.runs.len(), found.refused.len()), (1, 2));
    let run = &found.runs[0];
    assert_eq!((metric(run, "latency_p50_ms"), metric(run, "throughput_samples_per_second")), (Some(12.5), Some(80.0)));
    assert_eq!((run.configuration.engine.as_str(), run.configuration.device.vendor.as_str()), ("tensorrt", "NVIDIA"));
    assert!(found.notes[0].contains("passed over: split"), "{:?}", found.notes);
    let found = read("csv/mapped.csv", &[&map[..], &["parameters.split=split"]].concat());
    assert_eq!((found.runs.len(), found.refused.len()), (2, 1));
    assert_eq!(found.runs[1].configuration.parameters["split"], "b");
    assert!(found.refused[0].reason.contains("line 3"), "{:?}", found.refused);
}

#[test]
fn units_of_other_tables_are_converted_exactly() {
    let run = &read("csv/units.csv", &[]).runs[0];
    for (name, value) in [
        ("latency_p50_ms", 1.5),
        ("latency_mean_ms", 1.6),
        ("memory_host_peak_mb", 500.0),
        ("model_size_mb", 1.048576),
        ("accuracy_top1", 0.765),
        ("throughput_samples_per_second", 1000.0),
    ] {
        assert_eq!(metric(run, name), Some(value), "{name}");
    }
}

#[test]
fn what_a_table_does_not_say_clearly_is_asked_for() {
    let head = "model,engine,platform,precision,batch_size";
    let error = |header: &str, map: &[&str]| {
        let error = read_as("t.csv", format!("{header}\n").as_bytes(), map).unwrap_err();
        format!("{error}; {}", error.hint().unwrap())
    };
    for (column, option) in [
        ("latency_p50", "--map latency_p50_ms=latency_p50*FACTOR"),
        ("memory_host_peak", "--map memory_host_peak_mb=memory_host_peak*FACTOR"),
        ("temperature_mean_f", "--map temperature_mean_c=temperature_mean_f*FACTOR"),
        ("memory", "--map memory_device_peak_mb=memory*FACTOR"),
        ("compilation_time", "--map compile_ms=compilation_time*FACTOR"),
    ] {
        let said = error(&format!("{head},latency_mean_ms,{column}"), &[]);
        assert!(said.contains(option), "{said}");
    }
    let said = error("model,latency_p50_ms", &[]);
    for part in ["the engine, the platform, the precision, the batch size", "`--map batch_size==1`"] {
        assert!(said.contains(part), "{said}");
    }
    let said = error(&format!("{head},latency_p50_ms,latency_p50_us"), &[]);
    assert!(said.contains("are both `latency_p50_ms`"), "{said}");
    let said = error(&format!("{head},latency_p50_ms,memory_mb,peak_memory_gb"), &[]);
    assert!(said.contains("are both `memory_device_peak_mb`"), "{said}");
    let said = error(&format!("{head},a"), &["latency_p50_ms=a", "latency_p95_ms=b"]);
    assert!(said.contains("no column `b`"), "{said}");
}

#[test]
fn a_table_of_results_without_uuids_is_read() {
    let text = "model,platform,device,device_kind,engine,precision,mode,batch_size,parameters,latency_p50_ms,repetition\n\
                a,vulkan,Some GPU,gpu,burn-wgpu,fp32,training,4,\"{\"\"optimizer\"\":\"\"adam\"\"}\",1.5,1\n\
                a,vulkan,Some GPU,gpu,burn-wgpu,fp32,training,4,\"{\"\"optimizer\"\":\"\"adam\"\"}\",1.6,2\n";
    let found = read_as("analysis.csv", text.as_bytes(), &[]).unwrap();
    assert_eq!(found.refusals(), []);
    let run = &found.runs[1];
    assert_eq!((run.configuration.device.name.as_str(), run.repetition), ("Some GPU", 2));
    assert_eq!(run.configuration.parameters["optimizer"], "adam");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_an_importer_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400), which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(), length in 0_usize..40,
    ) {
        // Noise alone, and noise in the middle of a file that was fine.
        let files = fixtures();
        let (path, _) = &files[which.index(files.len())];
        let mut broken = std::fs::read(path).unwrap();
        let at = at.index(broken.len());
        broken.splice(at..(at + length).min(broken.len()), bytes.iter().copied());
        let map = ColumnMap::new(["platform==cpu", "precision==fp32", "batch_size==1"]).unwrap();
        for content in [&bytes, &broken] {
            for map in [&map, &ColumnMap::default()] {
                for importer in importers::<ExchangeError>(map) {
                    let head = Head::new("benchmark-infer-amp-nchw-pt210-cu121-rtx3090.csv", content);
                    let _ = importer.recognises(&head);
                    // Whatever it answers.
                    let _ = importer.read(head.path, &mut content.as_slice(), &mut |_| Ok(()));
                }
            }
        }
    }
}
