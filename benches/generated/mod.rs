//! A large database that looks like a real one: 100 models on ten devices, each device measured again and again over
//! two years. Everything in it is made up by a rule, for benches alone; no number of it means anything.

use std::collections::BTreeMap;

use benchdb::domain::run::{ModelRecord, ModelSource};
use benchdb::domain::{
    Campaign, Category, Configuration, Device, DeviceKind, Environment, Measurement, MetricSet, Mode, Platform,
    Precision, RunRecord, RunStatus, StopReason, Validity,
};

/// Runs of each configuration, once a database is so large that it has all models.
const ROUNDS: u64 = 50;

/// Runs that bring one more model.
const RUNS_A_MODEL: u64 = 10_000;

/// How many models there are at most.
const MODELS: u64 = 100;

/// 2024-12-01T00:00:00Z and two years, in milliseconds.
const FIRST_START: u64 = 1_733_011_200_000;
const TWO_YEARS: u64 = 2 * 365 * 86_400_000;

/// Batch sizes of inference and of training.
const BATCHES: [u32; 4] = [1, 8, 32, 128];
const TRAINING_BATCHES: [u32; 2] = [8, 32];

/// One way to run a model: engine, precision, whether it trains, and its speed.
struct Way {
    platform: Platform,
    engine: &'static str,
    precision: Precision,
    trains: bool,
    speed: f64,
}

/// A made-up device and what runs on it.
struct Machine {
    name: String,
    kind: DeviceKind,
    units: u32,
    software: bool,
    watts: f64,
    speed: f64,
    ways: Vec<Way>,
}

fn machines() -> Vec<Machine> {
    let way = |platform, engine, precision, trains, speed| Way { platform, engine, precision, trains, speed };
    let cpu_ways = || {
        vec![
            way(Platform::Cpu, "burn-flex", Precision::Fp32, true, 1.0),
            way(Platform::Cpu, "burn-ndarray", Precision::Fp32, false, 0.6),
            way(Platform::Cpu, "onnxruntime", Precision::Fp32, false, 1.5),
            way(Platform::Cpu, "onnxruntime", Precision::Int8, false, 3.0),
        ]
    };
    let cuda_ways = || {
        vec![
            way(Platform::Vulkan, "burn-wgpu", Precision::Fp32, false, 0.7),
            way(Platform::Cuda, "burn-cuda", Precision::Fp32, true, 1.0),
            way(Platform::Cuda, "onnxruntime-cuda", Precision::Fp32, false, 1.1),
            way(Platform::Cuda, "onnxruntime-cuda", Precision::Fp16, false, 2.1),
            way(Platform::Cuda, "pytorch", Precision::Fp32, true, 0.95),
            way(Platform::Cuda, "pytorch", Precision::Amp, true, 1.8),
        ]
    };
    let vulkan_ways = || {
        vec![
            way(Platform::Vulkan, "burn-wgpu", Precision::Fp32, false, 1.0),
            way(Platform::Vulkan, "burn-wgpu", Precision::Fp16, false, 1.7),
        ]
    };
    let mut machines = Vec::new();
    for (letter, units, watts) in [('A', 8, 65.0), ('B', 16, 105.0), ('C', 32, 180.0), ('D', 64, 280.0)] {
        let name = format!("Synthetic CPU {letter}");
        let speed = f64::from(units) * 40.0;
        machines.push(Machine { name, kind: DeviceKind::Cpu, units, software: false, watts, speed, ways: cpu_ways() });
    }
    for (letter, units, watts) in [('A', 40, 70.0), ('B', 108, 300.0), ('C', 132, 700.0)] {
        let name = format!("Synthetic GPU {letter}");
        let speed = f64::from(units) * 150.0;
        machines.push(Machine { name, kind: DeviceKind::Gpu, units, software: false, watts, speed, ways: cuda_ways() });
    }
    for (letter, units, watts, software) in [('D', 36, 120.0, false), ('E', 60, 190.0, false), ('X', 2, 30.0, true)] {
        let name = format!("Synthetic GPU {letter}");
        let speed = f64::from(units) * if software { 5.0 } else { 110.0 };
        machines.push(Machine { name, kind: DeviceKind::Gpu, units, software, watts, speed, ways: vulkan_ways() });
    }
    machines
}

/// One configuration with what its numbers come from.
struct Series {
    machine: usize,
    model: u64,
    configuration: Configuration,
    /// Milliseconds of an iteration.
    latency_ms: f64,
}

/// The runs of one database: the same for the same number of runs.
pub struct Generated {
    machines: Vec<Machine>,
    /// One machine's after the other's.
    series: Vec<Series>,
    count: u64,
}

impl Generated {
    /// A database of `count` runs; a small one has fewer models, not fewer runs of each configuration.
    pub fn new(count: u64) -> Self {
        let machines = machines();
        let models = (count / RUNS_A_MODEL).clamp(1, MODELS);
        let mut series = Vec::new();
        for (index, machine) in machines.iter().enumerate() {
            for model in 0..models {
                for (which, way) in machine.ways.iter().enumerate() {
                    // Nobody measures everything: a tenth is left out here and there, and every seventh model was
                    // never tried on Vulkan.
                    if number(&[model, index as u64, which as u64]).is_multiple_of(10)
                        || (model % 7 == 3 && way.platform == Platform::Vulkan)
                    {
                        continue;
                    }
                    for batch_size in BATCHES {
                        series.push(Series::new(machine, index, model, way, Mode::Inference, batch_size));
                    }
                    for batch_size in TRAINING_BATCHES.into_iter().filter(|_| way.trains) {
                        series.push(Series::new(machine, index, model, way, Mode::Training, batch_size));
                    }
                }
            }
        }
        Self { machines, series, count }
    }

    /// All runs, in the order in which they were made.
    pub fn runs(&self) -> impl Iterator<Item = RunRecord> + '_ {
        (0..self.count).map(|index| self.run(index))
    }

    /// The run at `index`, counted from 0 in the order of time.
    pub fn run(&self, index: u64) -> RunRecord {
        let (round, place) = (index / self.series.len() as u64, index % self.series.len() as u64);
        let series = &self.series[place as usize];
        let machine = &self.machines[series.machine];
        // Whole rounds even where the last one is cut short.
        let rounds = self.count.div_ceil(self.series.len() as u64).max(ROUNDS);
        let started = FIRST_START
            + (index as u128 * u128::from(TWO_YEARS) / (u128::from(rounds) * self.series.len() as u128)) as u64;
        let configuration = series.configuration.clone();
        RunRecord {
            uuid: uuid_at(started, index),
            campaign: Some(Campaign {
                uuid: uuid_at(FIRST_START + round, series.machine as u64),
                started_at: time_text(started),
                command_line: format!("benchdb run --all --label round-{round}"),
                label: Some(format!("round-{round}")),
                seed: Some(0),
            }),
            model: ModelRecord {
                name: configuration.model.clone(),
                family: Some(format!("family_{}", series.model / 10)),
                category: Some([Category::Vision, Category::Text, Category::Audio][series.model as usize % 3]),
                task: None,
                source: ModelSource::Imported,
                parameter_count: Some(1_000_000 * (series.model + 1)),
                multiply_adds: Some((multiply_adds(series.model)) as u64),
                activation_count: None,
            },
            environment: Environment {
                host: Some(format!("host-{:02}", series.machine)),
                os: Some("Synthetic OS 1".into()),
                cpu_name: Some("Synthetic CPU".into()),
                driver_version: (machine.kind == DeviceKind::Gpu).then(|| format!("{}.0", 500 + round / 10)),
                engine_version: Some(format!("0.{}.0", 10 + round / 8)),
                framework_version: Some(format!("1.{}", round / 12)),
                tool_version: Some(format!("0.{}.0", round / 5)),
                git_commit: Some(format!("{:040x}", u128::from(number(&[round])) << 64 | u128::from(round))),
                ..Environment::default()
            },
            artifact: None,
            weight_seed: Some(0),
            repetition: 1,
            started_at: Some(time_text(started)),
            duration_s: Some(2.0),
            measurement: measurement(series, machine, round, index),
            configuration,
        }
    }
}

impl Series {
    fn new(machine: &Machine, index: usize, model: u64, way: &Way, mode: Mode, batch_size: u32) -> Self {
        let training = mode == Mode::Training;
        let work = multiply_adds(model) * f64::from(batch_size) * if training { 3.0 } else { 1.0 };
        // A batch of one leaves most of a wide device idle.
        let busy = f64::from(batch_size) / (f64::from(batch_size) + f64::from(machine.units) / 16.0);
        let taste = 0.7 + 0.6 * share(&[model, index as u64, way.engine.len() as u64]);
        let latency_ms = 0.05 + work / (machine.speed * way.speed * busy * taste * 1e6);
        let parameters = if training { BTreeMap::from([("optimizer".into(), "adam".into())]) } else { BTreeMap::new() };
        let configuration = Configuration {
            model: format!("model_{model:02}"),
            variant: String::new(),
            platform: way.platform,
            device: Device {
                kind: machine.kind,
                vendor: String::new(),
                name: machine.name.clone(),
                compute_units: None,
                memory_bytes: None,
                software: machine.software,
            },
            engine: way.engine.into(),
            precision: way.precision,
            mode,
            batch_size,
            input_shape: "3x224x224".into(),
            threads: if machine.kind == DeviceKind::Cpu { machine.units } else { 0 },
            parameters,
        };
        Self { machine: index, model, configuration, latency_ms }
    }
}

/// Of one sample: 10 million for the smallest model, 20 thousand million for the largest.
fn multiply_adds(model: u64) -> f64 {
    1e7 * 1.08_f64.powf(model as f64)
}

fn measurement(series: &Series, machine: &Machine, round: u64, index: u64) -> Measurement {
    let fate = number(&[index, 1]) % 1000;
    let broken = match fate {
        0..=14 => Some((RunStatus::Failed, "the driver gave up")),
        15..=24 => Some((RunStatus::OutOfMemory, "there was no room for 1 GB on the device")),
        25..=29 => Some((RunStatus::Unsupported, "the engine has no such kernel")),
        _ => None,
    };
    if let Some((status, error)) = broken {
        return Measurement::without_numbers(status, error.to_owned(), None);
    }
    let mut measurement = Measurement::without_numbers(RunStatus::Ok, String::new(), None);
    measurement.error = None;
    measurement.validity = match fate {
        30..=34 => Validity::Throttled,
        35..=39 => Validity::TooFewSamples,
        _ => Validity::Valid,
    };
    measurement.stop_reason = Some(StopReason::Completed);
    measurement.iterations = if measurement.validity == Validity::TooFewSamples { 5 } else { 50 + fate };
    measurement.warmup_iterations = 3;
    measurement.outlier_count = Some(fate % 4);
    measurement.metrics = metrics(series, machine, round, index);
    measurement
}

fn metrics(series: &Series, machine: &Machine, round: u64, index: u64) -> MetricSet {
    let Configuration { batch_size, mode, precision, .. } = series.configuration;
    // Two per cent from run to run, and a third of the models got five per cent faster half-way.
    let noise = 1.0 + 0.02 * (share(&[index, 2]) + share(&[index, 3]) + share(&[index, 4]) - 1.5) * 2.0;
    let step = if series.model.is_multiple_of(3) && round >= ROUNDS / 2 { 0.95 } else { 1.0 };
    let median = series.latency_ms * noise * step;
    let throughput = f64::from(batch_size) * 1e3 / (median * 1.01);
    let watts = machine.watts * (0.6 + 0.3 * share(&[index, 5]));
    let bytes_a_parameter = match precision {
        Precision::Fp16 | Precision::Bf16 => 2.0,
        Precision::Int8 | Precision::Int8w => 1.0,
        _ => 4.0,
    };
    let model_mb = (series.model + 1) as f64 * bytes_a_parameter;
    let memory = model_mb * if mode == Mode::Training { 4.0 } else { 1.2 } + f64::from(batch_size) * 6.0;
    let mut metrics = MetricSet::default();
    for (name, value) in [
        ("latency_mean_ms", median * 1.01),
        ("latency_std_ms", median * 0.03),
        ("latency_min_ms", median * 0.96),
        ("latency_max_ms", median * 1.3),
        ("latency_p50_ms", median),
        ("latency_p90_ms", median * 1.04),
        ("latency_p95_ms", median * 1.07),
        ("latency_p99_ms", median * 1.2),
        ("throughput_samples_per_second", throughput),
        ("startup_ms", 20.0 + model_mb * 1.5 * noise),
        ("first_inference_ms", median * 2.5 + 3.0),
        ("memory_host_peak_mb", 60.0 + memory * 1.1),
        ("model_size_mb", model_mb),
        ("power_mean_w", watts),
        ("power_peak_w", watts * 1.1),
        ("energy_per_sample_j", watts / throughput),
        ("cpu_utilization_percent", 100.0 * share(&[index, 6])),
        ("temperature_max_c", 50.0 + 35.0 * share(&[index, 7])),
        ("success_rate", 1.0),
    ] {
        metrics.set(name, value);
    }
    if machine.kind == DeviceKind::Gpu {
        metrics.set("memory_device_peak_mb", memory);
        metrics.set("gpu_utilization_percent", 40.0 + 60.0 * share(&[index, 8]));
    }
    if mode == Mode::Training {
        for (name, part) in [("forward_ms", 0.3), ("loss_ms", 0.02), ("backward_ms", 0.58), ("optimizer_step_ms", 0.1)]
        {
            metrics.set(name, median * 1.01 * part);
        }
    }
    metrics
}

/// A number that is always the same for the same parts, and looks random (SplitMix64; Steele, Lea and Flood 2014).
fn number(parts: &[u64]) -> u64 {
    parts.iter().fold(0x5eed, |state, part| {
        let mut mixed = (state ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Between 0 and 1.
fn share(parts: &[u64]) -> f64 {
    (number(parts) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A UUID of version 7.
fn uuid_at(milliseconds: u64, index: u64) -> String {
    let bytes = (u128::from(number(&[index, 9])) << 64 | u128::from(index)).to_be_bytes();
    let random: [u8; 10] = std::array::from_fn(|place| bytes[place + 6]);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid().to_string()
}

fn time_text(milliseconds: u64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds as i64).map(|time| format!("{time:.3}")).unwrap_or_default()
}
