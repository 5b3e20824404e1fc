//! A record for tests.

use super::run::{Measurement, ModelRecord, ModelSource, RunRecord, RunStatus, Validity};
use super::{Configuration, Device, DeviceKind, Environment, Mode, Platform, Precision};

/// A valid run on a CPU at batch 1, in fp32, by `burn-flex`, with a throughput of 100 samples a second.
pub fn run(number: u32) -> RunRecord {
    let model = "resnet18".to_owned();
    let mut measurement = Measurement::without_numbers(RunStatus::Ok, String::new(), None);
    measurement.error = None;
    measurement.validity = Validity::Valid;
    measurement.iterations = 50;
    measurement.metrics.set("throughput_samples_per_second", 100.0);
    RunRecord {
        uuid: format!("01937f84-5800-7000-8000-{number:012}"),
        campaign: None,
        model: ModelRecord {
            name: model.clone(),
            family: None,
            category: None,
            task: None,
            source: ModelSource::Imported,
            parameter_count: None,
            multiply_adds: None,
            activation_count: None,
        },
        configuration: Configuration {
            model,
            variant: String::new(),
            platform: Platform::Cpu,
            device: Device {
                kind: DeviceKind::Cpu,
                vendor: String::new(),
                name: "Processor".into(),
                compute_units: None,
                memory_bytes: None,
                software: false,
            },
            engine: "burn-flex".into(),
            precision: Precision::Fp32,
            mode: Mode::Inference,
            batch_size: 1,
            input_shape: "3x224x224".into(),
            threads: 0,
            parameters: Default::default(),
        },
        environment: Environment { host: Some("host".into()), ..Environment::default() },
        artifact: None,
        weight_seed: None,
        repetition: 1,
        started_at: Some(format!("2026-11-21T08:00:{:02}.000Z", number % 60)),
        duration_s: None,
        measurement,
    }
}
