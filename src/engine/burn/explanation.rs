//! Explanations as work that is repeated and timed.
//!
//! What is explained stands in the configuration's parameters:
//!
//! | parameter | meaning | without it |
//! | --- | --- | --- |
//! | `method` | its name | |
//! | `method_parameters` | an object of those that are not the method's defaults | none |
//! | `target` | the class | for every sample the one that the network answers, found before anything is timed |
//! | `inner_batch` | the most rows of one pass; `"auto"` finds what is fastest, before anything is timed | 16 |
//! | `workers` | networks that share the samples of a batch and the threads, on the host's processor | 1 |
//! | `optimized` | whether the parameters are constants; `false` measures what their gradients would cost | true |
//! | `memory_limit_bytes` | what may be in use; lowers the rows of a pass | none |

use burn::tensor::Device as BurnDevice;
use serde_json::{Map, Value};

use super::super::{DeviceMemory, EngineError, Workload};
use super::tuning::{Settled, settle};
use super::workloads::{forward_on_host, memory_of, precision_of, wait};
use crate::domain::metric::Better;
use crate::domain::run::ExtraMetric;
use crate::domain::{Configuration, HostTensor, Platform, Precision};
use crate::explain::subject::DEFAULT_INNER_BATCH;
use crate::explain::{
    Attribution, Crew, ExplainError, InnerBatch, Method, Prepared, Target, Work, optimize_for_inference, registry,
};
use crate::hardware::logical_cpus;
use crate::zoo::Network;

/// One explanation of a batch by one method.
pub(super) struct ExplanationWorkload {
    crew: Crew,
    method: Box<dyn Method>,
    /// One for each worker.
    parts: Vec<Prepared>,
    device: BurnDevice,
    batch_size: u32,
    /// The most rows of a pass.
    inner_batch: usize,
    /// Kept until the device is done: what nobody holds, a lazy backend need not compute.
    attribution: Option<Attribution>,
    precision: Option<Precision>,
    /// Forward and backward passes for one sample.
    passes: Option<[f64; 2]>,
}

/// Whether the network is to be explained as fast as the engine can; a network that is not is built with gradients.
pub(super) fn is_optimized(configuration: &Configuration) -> bool {
    configuration.parameters.get("optimized") != Some(&Value::Bool(false))
}

impl ExplanationWorkload {
    /// Prepares the method and the samples of a configuration.
    ///
    /// # Errors
    ///
    /// No such method, parameters or targets; inputs that do not fit.
    pub(super) fn new(
        network: Box<dyn Network>,
        configuration: &Configuration,
        inputs: &[HostTensor],
    ) -> Result<Self, EngineError> {
        let parameters = &configuration.parameters;
        let none = Map::new();
        let own = parameters.get("method_parameters").and_then(Value::as_object).unwrap_or(&none);
        let method = registry::find(configuration.method())?.build(own)?;
        let number = |name: &str| parameters.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let network = if is_optimized(configuration) { optimize_for_inference(network).0 } else { network };
        let mut crew = match number("workers").unwrap_or(1) {
            0 | 1 => Crew::alone(network),
            workers if configuration.platform == Platform::Cpu => {
                let threads = if configuration.threads > 0 { configuration.threads } else { logical_cpus() };
                Crew::new(network, workers, threads as usize)?
            }
            _ => return Err(workers_on_a_device()),
        };
        let rows = match parameters.get("inner_batch").and_then(Value::as_str) {
            Some("auto") => InnerBatch::Auto,
            _ => InnerBatch::Rows(number("inner_batch").unwrap_or(DEFAULT_INNER_BATCH).max(1)),
        };
        let memory = parameters.get("memory_limit_bytes").and_then(Value::as_u64);
        let target = number("target").map(Target::class);
        let work = Work { inputs, targets: target.as_slice(), baselines: None, inner_batch: DEFAULT_INNER_BATCH };
        let Settled { parts, rows, .. } = settle(&mut crew, method.as_ref(), &work, rows, memory)?;
        // A prediction is no part of an explanation, so that methods compare.
        let parts = crew.resolve(&parts)?;
        Ok(Self {
            method,
            parts,
            device: crew.network().device(),
            crew,
            batch_size: configuration.batch_size,
            inner_batch: rows,
            attribution: None,
            precision: None,
            passes: None,
        })
    }

    fn explain(&mut self) -> Result<Attribution, ExplainError> {
        self.crew.explain(self.method.as_ref(), &self.parts)
    }
}

/// Workers are for the host's processor.
fn workers_on_a_device() -> EngineError {
    EngineError::Unsupported {
        engine: "benchdb",
        what: "parallel workers on a GPU".to_owned(),
        reason: "what they ask for waits in one queue of the device",
        nearest: Some("a larger inner batch"),
    }
}

impl Workload for ExplanationWorkload {
    fn iterate(&mut self, _: &mut dyn FnMut()) -> Result<(), EngineError> {
        let attribution = self.explain()?;
        self.attribution = Some(attribution);
        wait(&self.device)
    }

    fn between(&mut self) {
        if let Some(attribution) = self.attribution.take() {
            self.precision = precision_of(attribution.values.dtype());
            self.passes = Some(attribution.passes_per_sample());
        }
    }

    fn samples_per_iteration(&self) -> u64 {
        u64::from(self.batch_size)
    }

    fn result_precision(&self) -> Option<Precision> {
        self.precision
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        memory_of(&self.device)
    }

    fn verify(&mut self) -> Result<(), EngineError> {
        self.explain()?.to_host()?;
        Ok(())
    }

    fn outputs(&mut self, inputs: &[HostTensor]) -> Result<Option<Vec<HostTensor>>, EngineError> {
        forward_on_host(self.crew.network(), inputs).map(Some)
    }

    fn own_metrics(&self) -> Vec<ExtraMetric> {
        let metric = |name: &str, unit: &str, better, value| ExtraMetric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            better,
            value,
        };
        let rows = metric("inner_batch_rows", "rows", Better::None, self.inner_batch as f64);
        let passes = self.passes.map(|[forward, backward]| {
            [("forward_passes", forward), ("backward_passes", backward)]
                .map(|(name, value)| metric(name, "passes per sample", Better::Lower, value))
        });
        passes.into_iter().flatten().chain([rows]).collect()
    }
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::domain::{Device, DeviceKind, HostData, Mode, RunStatus};
    use crate::zoo::{WeightSource, find, host_inputs};

    fn workload(parameters: Value) -> Result<ExplanationWorkload, EngineError> {
        let device = BurnDevice::flex();
        let device = if parameters["optimized"] == false { device.autodiff() } else { device };
        let entry = find("cifar_cnn").unwrap();
        let network = entry.build_loaded(&WeightSource::Seeded(0), &device).unwrap();
        let configuration = Configuration {
            model: entry.name.into(),
            variant: String::new(),
            platform: Platform::Cpu,
            device: Device {
                kind: DeviceKind::Cpu,
                vendor: String::new(),
                name: String::new(),
                compute_units: None,
                memory_bytes: None,
                software: false,
            },
            engine: "burn-flex".into(),
            precision: Precision::Fp32,
            mode: Mode::Explanation,
            batch_size: 2,
            input_shape: String::new(),
            threads: 0,
            parameters: parameters.as_object().unwrap().clone().into_iter().collect::<BTreeMap<_, _>>(),
        };
        ExplanationWorkload::new(network, &configuration, &host_inputs(&entry.inputs(), 2, 0))
    }

    #[test]
    fn an_iteration_is_an_explanation_and_its_passes_are_counted() {
        let parameters = json!({
            "method": "integrated_gradients",
            "method_parameters": { "steps": 5 },
            "inner_batch": 3,
            "target": 7,
        });
        let mut workload = workload(parameters).unwrap();
        for _ in 0..2 {
            workload.iterate(&mut || {}).unwrap();
            workload.between();
        }
        workload.verify().unwrap();
        assert_eq!(workload.result_precision(), Some(Precision::Fp32));
        let metrics: Vec<(String, f64)> =
            workload.own_metrics().into_iter().map(|metric| (metric.name, metric.value)).collect();
        let expected = [("forward_passes", 5.0), ("backward_passes", 5.0), ("inner_batch_rows", 3.0)];
        assert_eq!(metrics, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    fn values(workload: &mut ExplanationWorkload) -> Vec<f32> {
        let HostData::F32(values) = workload.explain().unwrap().to_host().unwrap().data else { panic!("integers") };
        values
    }

    #[test]
    fn workers_gradients_of_parameters_and_tuning_change_no_answer() {
        let base = json!({ "method": "integrated_gradients", "method_parameters": { "steps": 6 }, "target": 1 });
        let expected = values(&mut workload(base.clone()).unwrap());
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (name, value) in [
            ("workers", json!(2)),
            ("optimized", json!(false)),
            ("inner_batch", json!("auto")),
            ("inner_batch", json!(1)),
        ] {
            let mut parameters = base.clone();
            parameters[name] = value;
            let mut workload = workload(parameters).unwrap();
            let found = values(&mut workload);
            assert!(found.iter().zip(&expected).all(|(one, other)| (one - other).abs() < 1e-4 * largest), "{name}");
            workload.iterate(&mut || {}).unwrap();
            workload.between();
            let metrics = workload.own_metrics();
            let of = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap().value;
            assert_eq!([of("forward_passes"), of("backward_passes")], [6.0, 6.0], "{name}: tuning is no part of it");
            assert!(of("inner_batch_rows") >= 1.0);
        }
    }

    #[test]
    fn what_does_not_fit_into_the_memory_is_refused_before_it_is_tried() {
        let limit = |bytes: u64| {
            workload(json!({ "method": "saliency", "memory_limit_bytes": bytes })).map(|workload| workload.inner_batch)
        };
        assert_eq!(limit(1 << 40).unwrap(), DEFAULT_INNER_BATCH);
        let error = limit(1 << 20).unwrap_err();
        assert_eq!(error.status(), RunStatus::OutOfMemory);
        assert!(error.to_string().starts_with("one row of saliency alone takes about"), "{error}");
    }

    #[test]
    fn a_prediction_is_not_part_of_the_work() {
        let mut workload = workload(json!({ "method": "saliency" })).unwrap();
        workload.iterate(&mut || {}).unwrap();
        workload.between();
        assert_eq!(workload.passes, Some([1.0, 1.0]));
    }

    #[test]
    fn what_does_not_fit_is_unsupported_and_what_is_unknown_fails() {
        let refused =
            |parameters| workload(parameters).and_then(|mut workload| workload.iterate(&mut || {})).unwrap_err();
        let error = refused(json!({ "method": "attention_rollout" }));
        assert_eq!(error.status(), RunStatus::Unsupported);
        assert_eq!(error.to_string(), "attention_rollout does not fit this network: it has no attention");
        assert_eq!(refused(json!({ "method": "magic" })).status(), RunStatus::Failed);
    }
}
