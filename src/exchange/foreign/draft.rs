//! A run while it is put together from a foreign file: every part may still be missing.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde_json::Value;

use crate::domain::label::{label, parse_label};
use crate::domain::metric::Better;
use crate::domain::run::{ExtraMetric, ModelRecord, ModelSource};
use crate::domain::{
    Category, Configuration, Device, DeviceKind, Environment, ImportItem, Measurement, MetricSet, Mode, Platform,
    Precision, Refusal, RunRecord, RunStatus, SampleSeries, Task, Validity,
};
use crate::exchange::ColumnMap;
use crate::exchange::column_map::{Scale, Target};
use crate::stats;

/// Fewer samples than this are too few to judge.
const ENOUGH_SAMPLES: u64 = 10;

/// The name of a device that a file does not name.
pub(in crate::exchange) const UNKNOWN_DEVICE: &str = "unknown";

/// A part of a run that a file or the user may give, by its name in the view `results`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(in crate::exchange) enum Part {
    RunUuid,
    Model,
    Family,
    Category,
    Task,
    Variant,
    Platform,
    Device,
    DeviceKind,
    DeviceVendor,
    Software,
    Engine,
    EngineVersion,
    FrameworkVersion,
    DriverVersion,
    Precision,
    Mode,
    BatchSize,
    InputShape,
    Threads,
    Parameters,
    Repetition,
    StartedAt,
    Host,
    GitCommit,
    ToolVersion,
    Iterations,
    Status,
    Validity,
    Error,
}

/// A run in the making.
#[derive(Clone, Debug, Default)]
pub(in crate::exchange) struct Draft {
    pub(in crate::exchange) uuid: Option<String>,
    pub(in crate::exchange) model: String,
    pub(in crate::exchange) family: Option<String>,
    pub(in crate::exchange) category: Option<Category>,
    pub(in crate::exchange) task: Option<Task>,
    pub(in crate::exchange) parameter_count: Option<u64>,
    pub(in crate::exchange) multiply_adds: Option<u64>,
    pub(in crate::exchange) activation_count: Option<u64>,
    pub(in crate::exchange) variant: String,
    pub(in crate::exchange) platform: Option<Platform>,
    /// Empty where unknown.
    pub(in crate::exchange) device: String,
    pub(in crate::exchange) vendor: String,
    /// Follows from the platform where it is not said.
    pub(in crate::exchange) kind: Option<DeviceKind>,
    pub(in crate::exchange) software: bool,
    pub(in crate::exchange) engine: String,
    pub(in crate::exchange) precision: Option<Precision>,
    /// Inference where it is not said.
    pub(in crate::exchange) mode: Option<Mode>,
    pub(in crate::exchange) batch_size: Option<u32>,
    pub(in crate::exchange) input_shape: String,
    pub(in crate::exchange) threads: u32,
    pub(in crate::exchange) parameters: BTreeMap<String, Value>,
    pub(in crate::exchange) environment: Environment,
    pub(in crate::exchange) repetition: Option<u32>,
    pub(in crate::exchange) started_at: Option<String>,
    /// 0 where unknown.
    pub(in crate::exchange) iterations: u64,
    pub(in crate::exchange) outlier_count: Option<u64>,
    pub(in crate::exchange) status: Option<RunStatus>,
    pub(in crate::exchange) validity: Option<Validity>,
    pub(in crate::exchange) error: Option<String>,
    pub(in crate::exchange) metrics: MetricSet,
    pub(in crate::exchange) extra_metrics: Vec<ExtraMetric>,
    pub(in crate::exchange) samples: Vec<SampleSeries>,
}

impl Draft {
    /// A run of a tool that times code on the processor of its host and knows nothing of networks: precision and batch
    /// size mean nothing to it, and are benchdb's defaults. [`host_note`] says so.
    pub(in crate::exchange) fn of_host(engine: &str) -> Self {
        Self {
            platform: Some(Platform::Cpu),
            engine: engine.to_owned(),
            precision: Some(Precision::Fp32),
            batch_size: Some(1),
            ..Self::default()
        }
    }

    /// Takes a text as a part of the run.
    ///
    /// # Errors
    /// What is wrong with the text, in one line that quotes it.
    pub(in crate::exchange) fn assign(&mut self, target: &Target, text: &str, scale: Scale) -> Result<(), String> {
        match target {
            Target::Part(part) => self.assign_part(*part, text),
            Target::Metric(name) => self.measured(name, scale.apply(decimal(text)?)),
            Target::Extra(name) => self.extra(name, "", Better::None, scale.apply(decimal(text)?)),
            Target::Parameter(name) => {
                // A number stays one, so that `8` and `8.0` of two tables are what they look like.
                let value =
                    serde_json::from_str(text).ok().filter(|value: &Value| value.is_number() || value.is_boolean());
                self.parameters.insert(name.clone(), value.unwrap_or_else(|| text.into()));
                Ok(())
            }
        }
    }

    fn assign_part(&mut self, part: Part, text: &str) -> Result<(), String> {
        let owned = || text.to_owned();
        match part {
            Part::RunUuid => self.uuid = Some(owned()),
            Part::Model => self.model = owned(),
            Part::Family => self.family = Some(owned()),
            Part::Category => self.category = Some(labelled(text)?),
            Part::Task => self.task = Some(labelled(text)?),
            Part::Variant => self.variant = owned(),
            Part::Platform => self.platform = Some(platform(text)?),
            Part::Device => self.device = owned(),
            Part::DeviceKind => self.kind = Some(labelled(text)?),
            Part::DeviceVendor => self.vendor = owned(),
            Part::Software => self.software = flag(text)?,
            Part::Engine => self.engine = owned(),
            Part::EngineVersion => self.environment.engine_version = Some(owned()),
            Part::FrameworkVersion => self.environment.framework_version = Some(owned()),
            Part::DriverVersion => self.environment.driver_version = Some(owned()),
            Part::Precision => self.precision = Some(precision(text)?),
            Part::Mode => self.mode = Some(mode(text)?),
            Part::BatchSize => self.batch_size = Some(count(text)?),
            Part::InputShape => self.input_shape = owned(),
            Part::Threads => self.threads = count(text)?,
            Part::Parameters => {
                let object: BTreeMap<String, Value> =
                    serde_json::from_str(text).map_err(|_| format!("`{text}` is no JSON object"))?;
                self.parameters.extend(object);
            }
            Part::Repetition => self.repetition = Some(count(text)?),
            Part::StartedAt => self.started_at = Some(utc(text).ok_or_else(|| format!("`{text}` is no time"))?),
            Part::Host => self.environment.host = Some(owned()),
            Part::GitCommit => self.environment.git_commit = Some(owned()),
            Part::ToolVersion => self.environment.tool_version = Some(owned()),
            Part::Iterations => self.iterations = count(text)?.into(),
            Part::Status => self.status = Some(labelled(text)?),
            Part::Validity => self.validity = Some(labelled(text)?),
            Part::Error => self.error = Some(owned()),
        }
        Ok(())
    }

    /// Stores a standard metric.
    ///
    /// # Errors
    /// A value that cannot have been measured.
    pub(in crate::exchange) fn measured(&mut self, name: &str, value: f64) -> Result<(), String> {
        if !value.is_finite() {
            return Err(format!("`{name}` is {value}, not a number that was measured"));
        }
        self.metrics.set(name, value);
        Ok(())
    }

    /// Stores a metric of the tool's own; one that is there already stays.
    ///
    /// # Errors
    /// A value that cannot have been measured.
    pub(in crate::exchange) fn extra(
        &mut self,
        name: &str,
        unit: &str,
        better: Better,
        value: f64,
    ) -> Result<(), String> {
        if !value.is_finite() {
            return Err(format!("`{name}` is {value}, not a number that was measured"));
        }
        if !self.extra_metrics.iter().any(|metric| metric.name == name) {
            self.extra_metrics.push(ExtraMetric { name: name.to_owned(), unit: unit.to_owned(), better, value });
        }
        Ok(())
    }

    /// Takes the durations of all iterations, and the latencies that follow from them.
    pub(in crate::exchange) fn take_iterations(&mut self, nanoseconds: Vec<u64>) {
        let ms: Vec<f64> = nanoseconds.iter().map(|&ns| ns as f64 / 1e6).collect();
        let ascending = stats::sorted(&ms);
        self.metrics.set_optional("latency_mean_ms", stats::mean(&ms));
        self.metrics.set_optional("latency_std_ms", stats::standard_deviation(&ms));
        for (name, q) in [
            ("latency_min_ms", 0.0),
            ("latency_p50_ms", 0.5),
            ("latency_p90_ms", 0.9),
            ("latency_p95_ms", 0.95),
            ("latency_p99_ms", 0.99),
            ("latency_p999_ms", 0.999),
            ("latency_max_ms", 1.0),
        ] {
            self.metrics.set_optional(name, stats::quantile(&ascending, q));
        }
        self.iterations = nanoseconds.len() as u64;
        self.outlier_count = Some(stats::outlier_count(&ascending) as u64);
        self.samples = vec![SampleSeries { phase: "iteration".to_owned(), nanoseconds }];
    }

    /// The device that a file names; its maker follows from the name.
    pub(in crate::exchange) fn name_device(&mut self, name: &str, kind: DeviceKind) {
        name.trim().clone_into(&mut self.device);
        vendor_of(name, kind).clone_into(&mut self.vendor);
        self.kind = Some(kind);
    }

    /// The run; what the user says holds against what the file says.
    ///
    /// # Errors
    /// Everything that is still missing, with the options that say it; or the first rule of a run that is broken.
    pub(in crate::exchange) fn finish(mut self, map: &ColumnMap) -> Result<RunRecord, String> {
        self.correct(map)?;
        let kind = self.kind.or_else(|| self.platform.and_then(kind_of));
        self.nothing_missing(kind)?;
        let (Some(platform), Some(kind), Some(precision), Some(batch_size)) =
            (self.platform, kind, self.precision, self.batch_size)
        else {
            return Err("it does not say what was measured".to_owned());
        };
        let status = self.status.unwrap_or(RunStatus::Ok);
        let measured = !(self.metrics.is_empty() && self.extra_metrics.is_empty() && self.samples.is_empty());
        if status == RunStatus::Ok && !measured {
            return Err("there is no number in it that benchdb knows".to_owned());
        }
        let few = (1..ENOUGH_SAMPLES).contains(&self.iterations);
        let numbers = match status {
            RunStatus::Ok => Validity::Valid,
            _ => Validity::NotMeasured,
        };
        let error = (status != RunStatus::Ok)
            .then(|| self.error.take().unwrap_or_else(|| "the file does not say why".to_owned()));
        let record = RunRecord {
            uuid: self.uuid.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            campaign: None,
            model: ModelRecord {
                name: self.model.clone(),
                family: self.family,
                category: self.category,
                task: self.task,
                source: ModelSource::Imported,
                parameter_count: self.parameter_count,
                multiply_adds: self.multiply_adds,
                activation_count: self.activation_count,
            },
            configuration: Configuration {
                model: self.model,
                variant: self.variant,
                platform,
                device: Device {
                    kind,
                    vendor: self.vendor,
                    name: if self.device.is_empty() { UNKNOWN_DEVICE.to_owned() } else { self.device },
                    compute_units: None,
                    memory_bytes: None,
                    software: self.software,
                },
                engine: self.engine,
                precision,
                mode: self.mode.unwrap_or(Mode::Inference),
                batch_size,
                input_shape: self.input_shape,
                threads: self.threads,
                parameters: self.parameters,
            },
            environment: self.environment,
            artifact: None,
            weight_seed: None,
            repetition: self.repetition.unwrap_or(1),
            started_at: self.started_at,
            duration_s: None,
            measurement: Measurement {
                validity: self.validity.unwrap_or(if few && status == RunStatus::Ok {
                    Validity::TooFewSamples
                } else {
                    numbers
                }),
                stop_reason: None,
                iterations: self.iterations,
                outlier_count: self.outlier_count,
                error,
                metrics: self.metrics,
                extra_metrics: self.extra_metrics,
                samples: self.samples,
                ..Measurement::without_numbers(status, String::new(), None)
            },
        };
        record.validate()?;
        Ok(record)
    }

    /// Takes the user's word.
    fn correct(&mut self, map: &ColumnMap) -> Result<(), String> {
        let given = |part| map.constants().iter().find(move |(target, _)| *target == Target::Part(part));
        if let Some((_, text)) = given(Part::Platform) {
            let said = Some(platform(text)?);
            if self.platform.is_some() && self.platform != said {
                // The file's device belongs to the file's platform.
                (self.device, self.vendor, self.kind) = (String::new(), String::new(), None);
            }
            self.platform = said;
        }
        for (target, text) in map.constants() {
            self.assign(target, text, Scale::ONE).map_err(|reason| format!("`--map`: {reason}"))?;
        }
        if given(Part::Device).is_some() && given(Part::DeviceVendor).is_none() {
            let kind = self.kind.or_else(|| self.platform.and_then(kind_of));
            self.vendor = kind.map(|kind| vendor_of(&self.device, kind).to_owned()).unwrap_or_default();
        }
        Ok(())
    }

    fn nothing_missing(&self, kind: Option<DeviceKind>) -> Result<(), String> {
        let parts = [
            (self.model.is_empty(), "the model", "model==NAME"),
            (self.platform.is_none(), "the platform", "platform==cuda"),
            (self.platform.is_some() && kind.is_none(), "the kind of device", "device_kind==gpu"),
            (self.engine.is_empty(), "the engine", "engine==pytorch"),
            (self.precision.is_none(), "the precision", "precision==fp32"),
            (self.batch_size.is_none(), "the batch size", "batch_size==1"),
        ];
        let missing: Vec<_> = parts.into_iter().filter(|(missing, ..)| *missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let what: Vec<&str> = missing.iter().map(|(_, what, _)| *what).collect();
        let options: Vec<String> = missing.iter().map(|(.., option)| format!("`--map {option}`")).collect();
        Err(format!("it does not say {}; say it, for example with {}", what.join(", "), options.join(" ")))
    }
}

/// What [`Draft::of_host`] takes for granted, unless the user says it.
pub(in crate::exchange) fn host_note(tool: &str, map: &ColumnMap) -> Option<String> {
    let taken = [
        (Part::Platform, "platform==cpu"),
        (Part::Device, "device==unknown"),
        (Part::Precision, "precision==fp32"),
        (Part::BatchSize, "batch_size==1"),
    ];
    let taken: Vec<&str> = taken.into_iter().filter(|(part, _)| !map.sets(*part)).map(|(_, entry)| entry).collect();
    (!taken.is_empty()).then(|| {
        format!(
            "{tool} does not say where and in what it ran; taken for granted: {} (`--map` says otherwise)",
            taken.join(", ")
        )
    })
}

/// A finished draft as an item of the file.
pub(in crate::exchange) fn item(line: u64, run: Result<RunRecord, String>) -> ImportItem {
    match run {
        Ok(run) => ImportItem::Run(Box::new(run)),
        Err(reason) => ImportItem::Refused(Refusal { line, reason }),
    }
}

/// The kind of device behind a platform, where there is one kind alone.
fn kind_of(platform: Platform) -> Option<DeviceKind> {
    match platform {
        Platform::Cpu => Some(DeviceKind::Cpu),
        Platform::Cuda | Platform::Rocm | Platform::Mps | Platform::Vulkan | Platform::Webgpu => Some(DeviceKind::Gpu),
        Platform::Webnn => Some(DeviceKind::Npu),
        Platform::Tpu => Some(DeviceKind::Tpu),
        // It drives processors, GPUs and NPUs.
        Platform::Openvino => None,
    }
}

/// The maker that a device's name begins with; empty for any other name.
fn vendor_of(name: &str, kind: DeviceKind) -> &'static str {
    let name = name.trim().to_lowercase();
    let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
    match kind {
        DeviceKind::Cpu if begins(&["intel"]) => "GenuineIntel",
        DeviceKind::Cpu if begins(&["amd"]) => "AuthenticAMD",
        _ if begins(&["nvidia", "geforce", "tesla"]) => "NVIDIA",
        _ if begins(&["amd", "radeon"]) => "AMD",
        _ if begins(&["intel"]) => "Intel",
        _ if begins(&["apple"]) => "Apple",
        _ => "",
    }
}

fn labelled<T: ValueEnum>(text: &str) -> Result<T, String> {
    parse_label(text).ok_or_else(|| {
        let known: Vec<String> = T::value_variants().iter().map(label).collect();
        format!("`{text}` is not one of {}", known.join(", "))
    })
}

/// A platform by benchdb's name or by one that frameworks use; an index (`cuda:0`) is passed over.
///
/// # Errors
/// Any other name; `gpu` alone does not say which.
pub(in crate::exchange) fn platform(text: &str) -> Result<Platform, String> {
    let lower = text.trim().to_lowercase();
    let name = match lower.split_once(':') {
        Some((name, index)) if index.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => &lower,
    };
    match name {
        "hip" => Ok(Platform::Rocm),
        "metal" => Ok(Platform::Mps),
        _ => labelled(name).map_err(|reason| format!("the platform {reason}")),
    }
}

/// A precision by benchdb's name or by one that frameworks use.
///
/// # Errors
/// Any other name.
pub(in crate::exchange) fn precision(text: &str) -> Result<Precision, String> {
    let lower = text.trim().to_lowercase();
    match lower.strip_prefix("torch.").unwrap_or(&lower) {
        "float32" | "float" | "f32" => Ok(Precision::Fp32),
        "float16" | "half" | "f16" => Ok(Precision::Fp16),
        "bfloat16" => Ok(Precision::Bf16),
        name => labelled(name).map_err(|reason| format!("the precision {reason}")),
    }
}

pub(in crate::exchange) fn mode(text: &str) -> Result<Mode, String> {
    match text.trim().to_lowercase().as_str() {
        "train" => Ok(Mode::Training),
        "infer" | "eval" => Ok(Mode::Inference),
        name => labelled(name).map_err(|reason| format!("the mode {reason}")),
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        _ => Err(format!("`{text}` is not 0 or 1")),
    }
}

/// A finite number.
fn decimal(text: &str) -> Result<f64, String> {
    let value: f64 = text.trim().parse().map_err(|_| format!("`{text}` is no number"))?;
    if value.is_finite() { Ok(value) } else { Err(format!("`{text}` is not a number that was measured")) }
}

/// A whole number; tables often write it as `8.0`.
pub(in crate::exchange) fn count(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !whole.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    whole.parse().map_err(|_| format!("`{text}` is no whole number"))
}

/// A time in UTC as benchdb writes it; `None` for a text that does not say its zone.
pub(in crate::exchange) fn utc(text: &str) -> Option<String> {
    text.trim().parse::<jiff::Timestamp>().ok().map(|time| time.to_string())
}
