//! Explanations as work that is repeated and timed.
//!
//! What is explained stands in the configuration's parameters: `method` is its name, `method_parameters` an object of
//! those parameters that are not the method's defaults, `inner_batch` the most rows of one pass, and `target` the class;
//! without it every sample is explained for the class that the network answers, which is found before anything is timed.

use burn::tensor::Device as BurnDevice;
use serde_json::{Map, Value};

use super::super::{DeviceMemory, EngineError, Workload};
use super::workloads::{forward_on_host, memory_of, precision_of, wait};
use crate::domain::metric::Better;
use crate::domain::run::ExtraMetric;
use crate::domain::{Configuration, HostTensor, Precision};
use crate::explain::{Attribution, ExplainError, Method, Prepared, Subject, Target, explain, registry};
use crate::zoo::Network;

/// One explanation of a batch by one method.
pub(super) struct ExplanationWorkload {
    network: Box<dyn Network>,
    method: Box<dyn Method>,
    prepared: Prepared,
    device: BurnDevice,
    batch_size: u32,
    /// Kept until the device is done: what nobody holds, a lazy backend need not compute.
    attribution: Option<Attribution>,
    precision: Option<Precision>,
    /// Forward and backward passes for one sample.
    passes: Option<[f64; 2]>,
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
        device: &BurnDevice,
    ) -> Result<Self, EngineError> {
        let parameters = &configuration.parameters;
        let none = Map::new();
        let own = parameters.get("method_parameters").and_then(Value::as_object).unwrap_or(&none);
        let method = registry::find(configuration.method())?.build(own)?;
        let number = |name: &str| parameters.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let mut subject = Subject::new(network.as_ref(), inputs)?;
        if let Some(rows) = number("inner_batch") {
            subject = subject.with_inner_batch(rows);
        }
        if let Some(class) = number("target") {
            subject = subject.with_targets(&[Target::class(class)])?;
        }
        // A prediction is no part of an explanation, so that methods compare.
        subject.targets()?;
        let prepared = subject.prepared();
        Ok(Self {
            method,
            prepared,
            device: device.clone(),
            batch_size: configuration.batch_size,
            attribution: None,
            precision: None,
            passes: None,
            network,
        })
    }

    fn explain(&self) -> Result<Attribution, ExplainError> {
        explain(self.method.as_ref(), &self.prepared.clone().of(self.network.as_ref()))
    }
}

impl Workload for ExplanationWorkload {
    fn iterate(&mut self, _: &mut dyn FnMut()) -> Result<(), EngineError> {
        self.attribution = Some(self.explain()?);
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
        forward_on_host(self.network.as_ref(), inputs).map(Some)
    }

    fn own_metrics(&self) -> Vec<ExtraMetric> {
        let Some([forward, backward]) = self.passes else { return Vec::new() };
        [("forward_passes", forward), ("backward_passes", backward)]
            .map(|(name, value)| ExtraMetric {
                name: name.to_owned(),
                unit: "passes per sample".to_owned(),
                better: Better::Lower,
                value,
            })
            .into()
    }
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::domain::{Device, DeviceKind, Mode, Platform, RunStatus};
    use crate::zoo::{WeightSource, find, host_inputs};

    fn workload(parameters: Value) -> Result<ExplanationWorkload, EngineError> {
        let device = BurnDevice::flex();
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
        ExplanationWorkload::new(network, &configuration, &host_inputs(&entry.inputs(), 2, 0), &device)
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
        assert_eq!(metrics, [("forward_passes".to_owned(), 5.0), ("backward_passes".to_owned(), 5.0)]);
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
