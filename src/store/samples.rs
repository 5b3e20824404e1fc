//! Runs for the tests of this layer: made up, small, and different in what a test says.

use std::path::Path;

use super::{Access, Store};
use crate::domain::run::{ModelRecord, ModelSource};
use crate::domain::{
    Configuration, Device, DeviceKind, Environment, Measurement, Mode, Platform, Precision, RunRecord, RunStatus,
    Validity,
};

/// A new database in a folder that goes when it is dropped.
pub(super) fn new_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("test.sqlite"));
    (folder, store)
}

/// The database at `path`, which is made where there is none.
pub(super) fn open(path: &Path) -> Store {
    Store::open(path, Access::Create).unwrap().0
}

/// A valid run on a CPU at batch 1, in fp32, by `burn-flex`, with a throughput of 100 samples a second.
pub(super) fn run(number: u32) -> RunRecord {
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

/// The same run of another model.
pub(super) fn of_model(mut run: RunRecord, model: &str) -> RunRecord {
    model.clone_into(&mut run.model.name);
    model.clone_into(&mut run.configuration.model);
    run
}

/// The same run on a graphics processor.
pub(super) fn on_gpu(mut run: RunRecord) -> RunRecord {
    run.configuration.platform = Platform::Cuda;
    run.configuration.device.kind = DeviceKind::Gpu;
    run.configuration.device.name = "Graphics".into();
    run.configuration.engine = "burn-cuda".into();
    run
}

/// The same run, broken.
pub(super) fn broken(mut run: RunRecord, status: RunStatus) -> RunRecord {
    run.measurement = Measurement::without_numbers(status, "it broke".into(), None);
    run
}

/// The same run with other metrics.
pub(super) fn with(mut run: RunRecord, metrics: &[(&str, f64)]) -> RunRecord {
    for (name, value) in metrics {
        run.measurement.metrics.set(name, *value);
    }
    run
}
