//! What was measured: the result of a worker, and the whole record of a run.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::configuration::Configuration;
use super::environment::Environment;
use super::label::display_as_label;
use super::metric::{Better, MetricSet};
use super::model::{Category, ModelCost, Task};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum RunStatus {
    /// It was measured.
    Ok,
    /// It broke.
    Failed,
    /// There was not enough memory.
    OutOfMemory,
    /// The engine cannot really do this.
    Unsupported,
    /// It was stopped from outside.
    Interrupted,
}

/// Whether the numbers of a run may be judged, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Validity {
    /// They may.
    Valid,
    /// Fewer than ten samples.
    TooFewSamples,
    /// The device throttled while sampling.
    Throttled,
    /// There are no numbers.
    NotMeasured,
}

/// Why sampling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum StopReason {
    /// Enough samples over enough time.
    Completed,
    /// The interval of the median became narrow enough.
    PrecisionReached,
    /// The time limit.
    MaxTime,
    /// An error.
    Error,
    /// A signal.
    Interrupted,
}

display_as_label!(RunStatus, Validity, StopReason);

/// All samples of one phase of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleSeries {
    /// `iteration`, `warmup`, `forward`, `loss`, `backward`, `optimizer_step`.
    pub phase: String,
    /// Durations in nanoseconds, in the order in which they were taken.
    pub nanoseconds: Vec<u64>,
}

/// The readings of one sensor during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TelemetrySeries {
    /// The sensor: `power`, `temperature`, ...
    pub sensor: String,
    /// Its unit.
    pub unit: String,
    /// Milliseconds since sampling started; negative before.
    pub offsets_ms: Vec<f64>,
    /// The readings.
    pub values: Vec<f64>,
}

/// The time that one operator of a model took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorTime {
    /// Where the operator stands in the model.
    pub path: String,
    /// How often it was called.
    pub calls: u64,
    /// Time with what it calls.
    pub total_nanoseconds: u64,
    /// Time without.
    pub own_nanoseconds: u64,
}

/// A run's own metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtraMetric {
    /// Its name.
    pub name: String,
    /// Its unit; empty where it has none.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// The value.
    pub value: f64,
}

/// What a worker found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// How it ended.
    pub status: RunStatus,
    /// Whether the numbers may be judged.
    pub validity: Validity,
    /// Why sampling ended.
    pub stop_reason: Option<StopReason>,
    /// Timed iterations.
    pub iterations: u64,
    /// Untimed iterations before them, the first call not counted.
    pub warmup_iterations: u64,
    /// Timed iterations outside Tukey's outer fences (three interquartile ranges); none was dropped.
    pub outlier_count: Option<u64>,
    /// What went wrong.
    pub error: Option<String>,
    /// The way out.
    pub hint: Option<String>,
    /// The standard metrics.
    pub metrics: MetricSet,
    /// The run's own metrics.
    pub extra_metrics: Vec<ExtraMetric>,
    /// All samples.
    pub samples: Vec<SampleSeries>,
    /// All telemetry.
    pub telemetry: Vec<TelemetrySeries>,
    /// All operator times.
    pub operator_times: Vec<OperatorTime>,
    /// The engine's version.
    pub engine_version: Option<String>,
    /// The framework below it, with version.
    pub framework_version: Option<String>,
}

impl Measurement {
    /// A run without numbers.
    pub fn without_numbers(status: RunStatus, error: String, hint: Option<String>) -> Self {
        Self {
            status,
            validity: Validity::NotMeasured,
            stop_reason: match status {
                RunStatus::Interrupted => Some(StopReason::Interrupted),
                RunStatus::Unsupported => None,
                _ => Some(StopReason::Error),
            },
            iterations: 0,
            warmup_iterations: 0,
            outlier_count: None,
            error: Some(error),
            hint,
            metrics: MetricSet::default(),
            extra_metrics: Vec::new(),
            samples: Vec::new(),
            telemetry: Vec::new(),
            operator_times: Vec::new(),
            engine_version: None,
            framework_version: None,
        }
    }
}

/// Where a model comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum ModelSource {
    /// The networks of benchdb.
    Zoo,
    /// An ONNX file.
    Onnx,
    /// Another program.
    External,
    /// A file of somebody's results.
    Imported,
}

display_as_label!(ModelSource);

/// What the database knows of a model. What is not known is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// The canonical name.
    pub name: String,
    /// Related models: `resnet`.
    #[serde(default)]
    pub family: Option<String>,
    /// The kind of data.
    #[serde(default)]
    pub category: Option<Category>,
    /// What it is for.
    #[serde(default)]
    pub task: Option<Task>,
    /// Where it comes from.
    pub source: ModelSource,
    /// Parameters, those included that training leaves alone.
    #[serde(default)]
    pub parameter_count: Option<u64>,
    /// Multiply-adds per sample.
    #[serde(default)]
    pub multiply_adds: Option<u64>,
    /// Activations per sample.
    #[serde(default)]
    pub activation_count: Option<u64>,
}

impl ModelRecord {
    /// The same record with the work of one sample.
    pub fn with_cost(mut self, cost: ModelCost) -> Self {
        self.parameter_count = Some(cost.parameter_count);
        self.multiply_adds = Some(cost.multiply_adds);
        self.activation_count = Some(cost.activation_count);
        self
    }
}

/// A weight or ONNX file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// SHA-256 (hex) of its bytes.
    pub sha256: String,
    /// `safetensors`, `pytorch`, `onnx`.
    pub format: String,
    /// Its size.
    pub size_bytes: u64,
    /// Where it was when it was first seen.
    pub path: Option<String>,
}

/// One invocation of `benchdb run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Its UUID (version 7).
    pub uuid: String,
    /// When it started, ISO-8601 UTC.
    pub started_at: String,
    /// How it was started.
    pub command_line: String,
    /// The user's label.
    pub label: Option<String>,
    /// The seed of inputs, and of weights where no file was given.
    pub seed: Option<u64>,
}

/// A run with all that belongs to it: what is stored, exported and imported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its UUID (version 7).
    pub uuid: String,
    /// The campaign it belongs to.
    pub campaign: Option<Campaign>,
    /// The model.
    pub model: ModelRecord,
    /// What was measured.
    pub configuration: Configuration,
    /// Where.
    pub environment: Environment,
    /// The weight file.
    pub artifact: Option<Artifact>,
    /// The seed of its weights, where there was no file.
    pub weight_seed: Option<u64>,
    /// Which repetition of the configuration this is, from 1.
    pub repetition: u32,
    /// When it started, ISO-8601 UTC; unknown for some imports.
    pub started_at: Option<String>,
    /// How long it took, start-up and warm-up included.
    pub duration_s: Option<f64>,
    /// What came out.
    #[serde(flatten)]
    pub measurement: Measurement,
}

impl RunRecord {
    /// What keeps the record from being stored, in one line; the database has the same rules as checks.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), String> {
        let measurement = &self.measurement;
        uuid_shape(&self.uuid)?;
        if let Some(campaign) = &self.campaign {
            uuid_shape(&campaign.uuid)?;
        }
        let rules = [
            (self.configuration.model.is_empty(), "the model has no name"),
            (self.model.name != self.configuration.model, "model and configuration name different models"),
            (self.configuration.engine.is_empty(), "the engine has no name"),
            (self.configuration.device.name.is_empty(), "the device has no name"),
            (self.configuration.device.compute_units == Some(0), "the device has 0 compute units"),
            (self.configuration.device.memory_bytes == Some(0), "the device has no memory"),
            (self.configuration.batch_size == 0, "the batch size is 0"),
            (self.repetition == 0, "repetitions count from 1"),
            (self.duration_s.is_some_and(|seconds| seconds < 0.0 || seconds.is_nan()), "the duration is negative"),
            (measurement.status != RunStatus::Ok && measurement.error.is_none(), "a run that is not ok has no error"),
            (
                measurement.status != RunStatus::Ok && measurement.validity != Validity::NotMeasured,
                "a run that is not ok cannot be valid",
            ),
        ];
        if let Some((_, reason)) = rules.iter().find(|(broken, _)| *broken) {
            return Err((*reason).to_owned());
        }
        let counts = [
            Some(measurement.iterations),
            Some(measurement.warmup_iterations),
            measurement.outlier_count,
            self.weight_seed,
            self.campaign.as_ref().and_then(|campaign| campaign.seed),
            self.configuration.device.memory_bytes,
            self.environment.host_memory_bytes,
            self.model.parameter_count,
            self.model.multiply_adds,
            self.model.activation_count,
            self.artifact.as_ref().map(|artifact| artifact.size_bytes),
        ];
        let operators = measurement.operator_times.iter();
        let times =
            operators.flat_map(|operator| [operator.calls, operator.total_nanoseconds, operator.own_nanoseconds]);
        if let Some(count) = counts.into_iter().flatten().chain(times).find(|count| i64::try_from(*count).is_err()) {
            return Err(format!("{count} is more than a database can hold (9223372036854775807)"));
        }
        if let Some(time) = &self.started_at
            && time.parse::<jiff::Timestamp>().is_err()
        {
            return Err(format!("`started_at` is `{time}`, not a time like 2026-11-21T08:00:00Z"));
        }
        for (name, value, metric) in measurement.metrics.described() {
            let Some(metric) = metric else {
                return Err(format!("there is no standard metric `{name}`"));
            };
            // Rounding may bring a cosine just above 1; a relative error has no upper end.
            let allowed = match name {
                "fidelity_cosine" => -1.000_001..=1.000_001,
                "fidelity_relative_error" => 0.0..=f64::INFINITY,
                _ if metric.kind == super::MetricKind::Proportion => 0.0..=1.0,
                _ if metric.kind == super::MetricKind::Temperature => f64::NEG_INFINITY..=f64::INFINITY,
                _ => 0.0..=f64::INFINITY,
            };
            if !allowed.contains(&value) {
                return Err(format!("`{name}` is {value}, not between {} and {}", allowed.start(), allowed.end()));
            }
        }
        for series in &measurement.telemetry {
            if series.offsets_ms.len() != series.values.len() {
                return Err(format!("sensor `{}` has more offsets than values, or fewer", series.sensor));
            }
        }
        names_are_unique("phase of samples", measurement.samples.iter().map(|series| &series.phase))?;
        names_are_unique("sensor", measurement.telemetry.iter().map(|series| &series.sensor))?;
        names_are_unique("own metric", measurement.extra_metrics.iter().map(|metric| &metric.name))?;
        names_are_unique("operator", measurement.operator_times.iter().map(|operator| &operator.path))?;
        if let Some(artifact) = &self.artifact
            && (artifact.sha256.len() != 64 || artifact.format.is_empty())
        {
            return Err("the artifact has no SHA-256 of 64 characters, or no format".to_owned());
        }
        Ok(())
    }
}

fn names_are_unique<'n>(what: &str, names: impl Iterator<Item = &'n String>) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(format!("a {what} has no name"));
        }
        if !seen.insert(name) {
            return Err(format!("the {what} `{name}` is there twice"));
        }
    }
    Ok(())
}

fn uuid_shape(text: &str) -> Result<(), String> {
    // One spelling alone, or the same run would come in twice.
    match uuid::Uuid::parse_str(text) {
        Ok(uuid) if uuid.to_string() == text => Ok(()),
        _ => Err(format!("`{text}` is not a UUID in lower-case letters")),
    }
}
