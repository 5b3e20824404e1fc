//! From a planned run and its measurement to the record that is stored, exported and compared.

use crate::domain::run::{ModelRecord, ModelSource};
use crate::domain::{Environment, Measurement, PlannedRun, RunRecord, WeightChoice};
use crate::onnx::is_onnx;
use crate::zoo;

/// The record of a planned run, with a new UUID, the model's description and the engine's versions. It starts now and
/// belongs to no campaign; whoever knows better sets those fields.
pub fn record(plan: &PlannedRun, environment: &Environment, measurement: Measurement) -> RunRecord {
    let mut environment = environment.clone();
    // A run that broke says nothing; the versions are known all the same.
    let versions = match &plan.external {
        Some(program) => {
            Some(super::Versions { engine: program.version.clone(), framework: program.framework.clone() })
        }
        None => super::registry::engine_of(plan).ok().map(super::Engine::versions),
    };
    let known = |said: &Option<String>, version: fn(super::Versions) -> String| {
        // A library that this process has not loaded has no version here.
        said.clone().or_else(|| versions.clone().map(version).filter(|version| !version.is_empty()))
    };
    environment.engine_version = known(&measurement.engine_version, |versions| versions.engine);
    environment.framework_version = known(&measurement.framework_version, |versions| versions.framework);
    // The driver that is read is NVIDIA's.
    if plan.configuration.device.vendor != "NVIDIA" {
        environment.driver_version = None;
    }
    RunRecord {
        uuid: uuid::Uuid::now_v7().to_string(),
        campaign: None,
        model: model(plan),
        configuration: plan.configuration.clone(),
        environment,
        artifact: None,
        weight_seed: match &plan.weights {
            // A command has no weights that benchdb knows of.
            WeightChoice::Seeded(seed) => Some(*seed).filter(|_| plan.command.is_none()),
            WeightChoice::File(_) => None,
        },
        repetition: plan.repetition,
        started_at: Some(format!("{:.3}", jiff::Timestamp::now())),
        duration_s: None,
        measurement,
    }
}

/// What is known of the model of a run: by the zoo, else by its own file.
fn model(plan: &PlannedRun) -> ModelRecord {
    let name = plan.configuration.model.as_str();
    if let (None, Some(described)) = (zoo::find(name), &plan.described) {
        return described.clone();
    }
    let mut model = ModelRecord {
        name: name.to_owned(),
        family: None,
        category: None,
        task: None,
        source: match &plan.weights {
            WeightChoice::File(path) if is_onnx(path) => ModelSource::Onnx,
            _ if plan.external.is_some() || plan.command.is_some() => ModelSource::External,
            _ => ModelSource::Zoo,
        },
        parameter_count: None,
        multiply_adds: None,
        activation_count: None,
    };
    if let Some(entry) = zoo::find(name) {
        model.source = ModelSource::Zoo;
        model.family = Some(entry.family.to_owned());
        model.category = Some(entry.category);
        model.task = Some(entry.task);
        model = model.with_cost(entry.cost(&entry.inputs()));
    }
    model
}
