//! Explanations as work that is repeated and timed.
//!
//! What is explained stands in the configuration's parameters: `method` is its name, `method_parameters` an object of
//! those parameters that are not the method's defaults, `inner_batch` the most rows of one pass, and `target` the class;
//! without it every sample is explained for the class that the network answers, which is found before anything is timed.

use std::time::{Duration, Instant};

use burn::tensor::Device as BurnDevice;
use serde_json::{Map, Value};

use super::super::{DeviceMemory, EngineError, MethodChoice, Workload};
use super::workloads::{forward_on_host, memory_of, precision_of, wait};
use super::{host_device, zoo_entry};
use crate::domain::explanation::{
    BACKWARD_PASSES, COST_IN_INFERENCES, FORWARD_PASSES, INFERENCE_MS, MEMORY_PER_EXPLANATION,
};
use crate::domain::metric::Better;
use crate::domain::run::ExtraMetric;
use crate::domain::{Configuration, HostTensor, Precision};
use crate::explain::{self, Attribution, ExplainError, Fit, Method, Prepared, Subject, Target, registry};
use crate::hardware::procfs;
use crate::stats;
use crate::zoo::{Batch, Network};

/// What methods make of a model, tried on the host's processor with made weights and a small input.
///
/// # Errors
///
/// No such model or method; no engine for the processor in this build.
pub fn fits(model: &str, methods: &[MethodChoice]) -> Result<Vec<Fit>, EngineError> {
    let methods = methods
        .iter()
        .map(|MethodChoice { method, parameters }| Ok((registry::find(method)?, parameters.clone())))
        .collect::<Result<Vec<_>, ExplainError>>()?;
    Ok(explain::fits(zoo_entry(model)?, &methods, &host_device()?)?)
}

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
    /// What a plain forward pass reads, to compare with.
    batch: Batch,
    /// What was in use before the first explanation, in bytes: on the device where it tells, of the process otherwise.
    memory_before: Option<u64>,
}

/// How long plain forward passes are timed, to compare with.
const YARDSTICK: Duration = Duration::from_secs(1);

/// How many of them at least, and at most.
const YARDSTICK_PASSES: [usize; 2] = [5, 50];

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
        let batch = Batch::from_host(inputs, device)?;
        wait(device)?;
        let memory_before = memory_of(device).map_or_else(procfs::restart_peak, |memory| Some(memory.reserved));
        Ok(Self {
            batch,
            memory_before,
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

    /// The median time of a plain forward pass over the same batch.
    fn inference_time(&self) -> Result<Duration, EngineError> {
        let pass = || {
            let start = Instant::now();
            let outputs = self.network.forward(&self.batch)?;
            wait(&self.device)?;
            let time = start.elapsed();
            drop(outputs);
            Ok::<_, EngineError>(time)
        };
        let [least, most] = YARDSTICK_PASSES;
        for _ in 0..least {
            pass()?;
        }
        let start = Instant::now();
        let mut times = Vec::new();
        while times.len() < least || (times.len() < most && start.elapsed() < YARDSTICK) {
            times.push(pass()?.as_secs_f64());
        }
        Ok(Duration::from_secs_f64(stats::median(&times).unwrap_or_default()))
    }

    fn explain(&self) -> Result<Attribution, ExplainError> {
        explain::explain(self.method.as_ref(), &self.prepared.clone().of(self.network.as_ref()))
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
        let attribution = self.explain()?.to_host()?;
        match attribution.is_finite() {
            true => Ok(()),
            false => Err(ExplainError::NotFinite { method: self.method.name() }.into()),
        }
    }

    fn outputs(&mut self, inputs: &[HostTensor]) -> Result<Option<Vec<HostTensor>>, EngineError> {
        forward_on_host(self.network.as_ref(), inputs).map(Some)
    }

    fn own_metrics(&mut self, median: Option<Duration>) -> Result<Vec<ExtraMetric>, EngineError> {
        let memory = memory_of(&self.device).map_or_else(procfs::peak_since_restart, |memory| Some(memory.reserved));
        let growth = memory.zip(self.memory_before).map(|(after, before)| after.saturating_sub(before));
        let inference = self.inference_time()?;
        let [forward, backward] = self.passes.map_or([None; 2], |passes| passes.map(Some));
        let metrics = [
            (FORWARD_PASSES, "passes per sample", forward),
            (BACKWARD_PASSES, "passes per sample", backward),
            (MEMORY_PER_EXPLANATION, "MB", growth.map(|bytes| bytes as f64 / 1e6 / f64::from(self.batch_size))),
            (INFERENCE_MS, "ms", Some(inference.as_secs_f64() * 1e3)),
            (COST_IN_INFERENCES, "1", median.map(|median| median.as_secs_f64() / inference.as_secs_f64())),
        ];
        let known = metrics.into_iter().filter_map(|(name, unit, value)| {
            let value = value.filter(|value| value.is_finite())?;
            Some(ExtraMetric { name: name.to_owned(), unit: unit.to_owned(), better: Better::Lower, value })
        });
        Ok(known.collect())
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
        let metrics = workload.own_metrics(Some(Duration::from_millis(5))).unwrap();
        let metric = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap().value;
        assert_eq!((metric(FORWARD_PASSES), metric(BACKWARD_PASSES)), (5.0, 5.0));
        let (inference, cost) = (metric(INFERENCE_MS), metric(COST_IN_INFERENCES));
        assert!(inference > 0.0 && (inference * cost - 5.0).abs() < 1e-6, "{inference} {cost}");
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
