//! Runs that nobody measured: an export with numbers that a test chose, brought in by `benchdb import`, and tables that
//! are written by hand.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::support::{Expect as _, Sandbox, rows};

/// Five run medians in ms around 10.2, as five runs of one thing spread.
pub const FIVE: [f64; 5] = [10.0, 10.1, 10.2, 10.3, 10.4];

/// The later a run is made, the later it started and the higher its UUID.
static MADE: AtomicU64 = AtomicU64::new(1);

/// A run of an export.
#[derive(Clone)]
pub struct Made(Value);

impl Made {
    /// A valid inference run of `resnet18` at batch size 1, whose iterations took this long.
    pub fn taking(milliseconds: f64) -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let started = format!("2026-03-{:02}T{:02}:{:02}:00.000Z", 1 + number / 1440, number / 60 % 24, number % 60);
        Self(json!({
            "uuid": format!("01a1fd58-6bf7-706f-bcc0-{number:012x}"),
            "campaign": null,
            "model": {
                "name": "resnet18", "family": "resnet", "category": "vision", "task": "image_classification",
                "source": "imported", "parameter_count": null, "multiply_adds": null, "activation_count": null,
            },
            "configuration": {
                "model": "resnet18", "variant": "", "platform": "cuda",
                "device": {
                    "kind": "gpu", "vendor": "NVIDIA", "name": "RTX Made", "compute_units": 10,
                    "memory_bytes": null, "software": false,
                },
                "engine": "pytorch", "precision": "fp32", "mode": "inference", "batch_size": 1,
                "input_shape": "3x224x224", "threads": 0, "parameters": {},
            },
            "environment": {
                "host": "bench", "os": "Linux", "kernel": "6.1", "architecture": "x86_64", "cpu_name": "CPU",
                "cpu_logical": 8, "host_memory_bytes": 8_000_000_000_u64, "cpu_governor": null,
                "driver_version": "550.1", "engine_version": "2.4.0", "framework_version": "PyTorch 2.4.0",
                "tool_version": "0.1.0", "tool_build": null, "git_commit": null, "git_dirty": null,
            },
            "artifact": null, "weight_seed": null, "repetition": 1, "started_at": started, "duration_s": 1.0,
            "status": "ok", "validity": "valid", "stop_reason": "completed", "iterations": 50,
            "warmup_iterations": 3, "outlier_count": 0, "error": null, "hint": null,
            "metrics": {
                "latency_p50_ms": milliseconds, "latency_mean_ms": milliseconds,
                "throughput_samples_per_second": 1e3 / milliseconds,
            },
            "extra_metrics": [], "samples": [], "telemetry": [], "operator_times": [],
        }))
    }

    /// The same with another value there.
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        self.0.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"))[name] = value.into();
        self
    }

    /// Of another model.
    pub fn model(self, name: &str) -> Self {
        self.with("/model/name", name).with("/configuration/model", name)
    }

    /// Of another device, reached over a platform.
    pub fn device(self, platform: &str, name: &str) -> Self {
        let kind = if platform == "cpu" { "cpu" } else { "gpu" };
        self.with("/configuration/platform", platform)
            .with("/configuration/device/kind", kind)
            .with("/configuration/device/name", name)
    }

    /// At another batch size, at the same time a batch.
    pub fn batch(self, size: u32) -> Self {
        let milliseconds = self.0["metrics"]["latency_p50_ms"].as_f64().unwrap();
        self.with("/configuration/batch_size", size)
            .with("/metrics/throughput_samples_per_second", f64::from(size) * 1e3 / milliseconds)
    }

    /// Of the campaign with this number, under its label.
    pub fn campaign(self, number: u32, label: &str) -> Self {
        let campaign = json!({
            "uuid": campaign_uuid(number), "started_at": "2026-03-01T00:00:00.000Z", "command_line": "benchdb run",
            "label": label, "seed": 0,
        });
        self.with("/campaign", campaign)
    }

    /// One that broke.
    pub fn failed(self) -> Self {
        self.with("/status", "failed")
            .with("/validity", "not_measured")
            .with("/stop_reason", Value::Null)
            .with("/iterations", 0)
            .with("/error", "the device was lost")
            .with("/metrics", json!({}))
    }

    /// With another metric.
    pub fn metric(self, name: &str, value: f64) -> Self {
        self.with(&format!("/metrics/{name}"), value)
    }

    /// Of this commit.
    pub fn commit(self, hash: &str) -> Self {
        self.with("/environment/git_commit", hash).with("/environment/git_dirty", false)
    }
}

/// The UUID of a campaign that was made up.
pub fn campaign_uuid(number: u32) -> String {
    format!("{number:08x}-0000-7000-8000-000000000000")
}

/// Runs with these medians.
pub fn all_taking(milliseconds: &[f64]) -> Vec<Made> {
    milliseconds.iter().map(|time| Made::taking(*time)).collect()
}

/// Numbers, each times a factor.
pub fn times(numbers: &[f64], factor: f64) -> Vec<f64> {
    numbers.iter().map(|number| number * factor).collect()
}

/// Runs of one campaign.
pub fn of_campaign(runs: Vec<Made>, number: u32, label: &str) -> Vec<Made> {
    runs.into_iter().map(|run| run.campaign(number, label)).collect()
}

/// The export that holds these runs.
pub fn export_of(runs: &[Made]) -> String {
    let lines: Vec<String> = runs.iter().map(|run| run.0.to_string()).collect();
    format!("{{\"schema\":\"benchdb/1\",\"kind\":\"runs\",\"runs\":[\n{}\n]}}\n", lines.join(",\n"))
}

impl Sandbox {
    /// Takes these runs into the database, in this order.
    #[track_caller]
    pub fn take(&self, runs: &[Made]) {
        let name = format!("made-{}.json", MADE.fetch_add(1, Ordering::Relaxed));
        self.write(&name, export_of(runs));
        self.benchdb().args(["import", &name]).succeeds();
        std::fs::remove_file(self.path(&name)).unwrap();
    }

    /// A folder whose database has the campaigns `before` and `after`, with these run medians.
    #[track_caller]
    pub fn with_two_sides(before: &[f64], after: &[f64]) -> Self {
        let sandbox = Self::new();
        sandbox.take(&of_campaign(all_taking(before), 1, "before"));
        sandbox.take(&of_campaign(all_taking(after), 2, "after"));
        sandbox
    }
}

/// The verdicts of a document.
#[track_caller]
pub fn verdicts(document: &Value) -> Vec<Value> {
    assert_eq!(document["kind"], "verdicts");
    document["verdicts"].as_array().unwrap_or_else(|| panic!("no verdicts in {document}")).clone()
}

/// The only verdict of a document.
#[track_caller]
pub fn only_verdict(document: &Value) -> Value {
    let verdicts = verdicts(document);
    assert_eq!(verdicts.len(), 1, "{document}");
    verdicts[0].clone()
}

/// A table of a document: under its name, or the only one.
#[track_caller]
pub fn table(document: &Value, name: &str) -> Vec<Value> {
    match document.get(name) {
        Some(table) => table.as_array().unwrap().clone(),
        None => rows(document),
    }
}

/// Whether two numbers are the same but for rounding.
#[track_caller]
pub fn close(left: &Value, right: f64) {
    let left = left.as_f64().unwrap_or_else(|| panic!("{left} is no number, {right} was expected"));
    assert!((left - right).abs() <= 1e-9 * right.abs().max(1.0), "{left} is not {right}");
}
