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
//! | `one_by_one` | whether the samples of a batch are explained one after the other | false |
//! | `cached` | whether what was explained before is read from a cache on disk, as all but the first call does | false |
//! | `optimized` | whether the parameters are constants; `false` measures what their gradients would cost | true |
//! | `memory_limit_bytes` | what may be in use; lowers the rows of a pass | none |

use std::time::{Duration, Instant};

use burn::tensor::Device as BurnDevice;
use serde_json::{Map, Value};

use super::super::{DeviceMemory, EngineError, MethodChoice, Workload};
use super::cached::CachedBatch;
use super::tuning::{Settled, settle};
use super::workloads::{forward_on_host, memory_of, precision_of, wait};
use super::{host_device, zoo_entry};
use crate::domain::explanation::{
    BACKWARD_PASSES, COST_IN_INFERENCES, FORWARD_PASSES, INFERENCE_MS, INNER_BATCH_ROWS, MEMORY_PER_EXPLANATION,
};
use crate::domain::metric::Better;
use crate::domain::run::ExtraMetric;
use crate::domain::{Configuration, HostTensor, Platform, Precision};
use crate::explain::subject::DEFAULT_INNER_BATCH;
use crate::explain::{
    self, Attribution, Crew, ExplainError, Fit, InnerBatch, Method, Prepared, Target, Work, optimize_for_inference,
    registry,
};
use crate::hardware::{logical_cpus, procfs};
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
    crew: Crew,
    method: Box<dyn Method>,
    /// One for each worker.
    /// What is explained one after the other: the whole batch at once, or each sample; each in parts for the workers.
    turns: Vec<Vec<Prepared>>,
    device: BurnDevice,
    batch_size: u32,
    /// The most rows of a pass.
    inner_batch: usize,
    /// Kept until the device is done: what nobody holds, a lazy backend need not compute.
    attribution: Option<Attribution>,
    precision: Option<Precision>,
    /// Forward and backward passes for one sample.
    passes: Option<[f64; 2]>,
    /// What a plain forward pass reads, to compare with.
    batch: Batch,
    /// What was in use before the first explanation, in bytes: on the device where it tells, of the process otherwise.
    memory_before: Option<u64>,
    /// What was explained before, where that is read.
    cached: Option<CachedBatch>,
}

/// How long plain forward passes are timed, to compare with.
const YARDSTICK: Duration = Duration::from_secs(1);

/// How many of them at least, and at most.
const YARDSTICK_PASSES: [usize; 2] = [5, 50];

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
        let flag = |name: &str| parameters.get(name) == Some(&Value::Bool(true));
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
        let device = crew.network().device();
        // Before the first pass: what it leaves behind would be missing from the growth.
        let before = memory_of(&device).map_or_else(procfs::restart_peak, |memory| Some(memory.reserved));
        let Settled { parts, rows, tuned } = settle(&mut crew, method.as_ref(), &work, rows, memory)?;
        // Of what a search has tried nothing tells what the explanation alone takes.
        let memory_before = before.filter(|_| tuned.is_none());
        let turns = if flag("one_by_one") {
            let of = |sample: usize| -> Vec<HostTensor> {
                inputs.iter().map(|tensor| tensor.samples(sample, sample + 1)).collect()
            };
            let alone = |sample| crew.prepare(&Work { inputs: &of(sample), inner_batch: rows, ..work });
            (0..configuration.batch_size as usize).map(alone).collect::<Result<Vec<_>, _>>()?
        } else {
            vec![parts]
        };
        // A prediction is no part of an explanation, so that methods compare.
        let turns = turns.iter().map(|parts| crew.resolve(parts)).collect::<Result<Vec<_>, _>>()?;
        let cached = match flag("cached") {
            true => Some(CachedBatch::new(configuration, method.as_ref(), inputs)?),
            false => None,
        };
        let batch = Batch::from_host(inputs, &device)?;
        wait(&device)?;
        Ok(Self {
            batch,
            memory_before,
            cached,
            method,
            turns,
            device,
            crew,
            batch_size: configuration.batch_size,
            inner_batch: rows,
            attribution: None,
            precision: None,
            passes: None,
        })
    }

    /// The median time of a plain forward pass over the same batch.
    fn inference_time(&self) -> Result<Duration, EngineError> {
        let pass = || {
            let start = Instant::now();
            let outputs = self.crew.network().forward(&self.batch)?;
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

    fn explain(&mut self) -> Result<Attribution, ExplainError> {
        let mut done = Vec::with_capacity(self.turns.len());
        for parts in &self.turns {
            done.push(self.crew.explain(self.method.as_ref(), parts)?);
        }
        Ok(Attribution::joined(done))
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
        if self.cached.as_ref().is_some_and(CachedBatch::is_served) {
            return Ok(());
        }
        let attribution = self.explain()?;
        if let Some(cached) = &self.cached {
            cached.keep(&attribution)?;
        }
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
        let attribution = self.explain()?;
        let passes = attribution.passes_per_sample();
        match attribution.to_host()?.is_finite() {
            true => {
                // What comes from a cache ran nothing.
                self.passes = Some(if self.cached.is_some() { [0.0; 2] } else { passes });
                Ok(())
            }
            false => Err(ExplainError::NotFinite { method: self.method.name() }.into()),
        }
    }

    fn outputs(&mut self, inputs: &[HostTensor]) -> Result<Option<Vec<HostTensor>>, EngineError> {
        forward_on_host(self.crew.network(), inputs).map(Some)
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
            (INNER_BATCH_ROWS, "rows", Some(self.inner_batch as f64)),
            (INFERENCE_MS, "ms", Some(inference.as_secs_f64() * 1e3)),
            (COST_IN_INFERENCES, "1", median.map(|median| median.as_secs_f64() / inference.as_secs_f64())),
        ];
        let known = metrics.into_iter().filter_map(|(name, unit, value)| {
            let value = value.filter(|value| value.is_finite())?;
            let better = if name == INNER_BATCH_ROWS { Better::None } else { Better::Lower };
            Some(ExtraMetric { name: name.to_owned(), unit: unit.to_owned(), better, value })
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
        let metrics = workload.own_metrics(Some(Duration::from_millis(5))).unwrap();
        let metric = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap().value;
        assert_eq!([metric(FORWARD_PASSES), metric(BACKWARD_PASSES), metric(INNER_BATCH_ROWS)], [5.0, 5.0, 3.0]);
        let (inference, cost) = (metric(INFERENCE_MS), metric(COST_IN_INFERENCES));
        assert!(inference > 0.0 && (inference * cost - 5.0).abs() < 1e-6, "{inference} {cost}");
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
            ("one_by_one", json!(true)),
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
            let metrics = workload.own_metrics(None).unwrap();
            let of = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap().value;
            assert_eq!([of(FORWARD_PASSES), of(BACKWARD_PASSES)], [6.0, 6.0], "{name}: tuning is no part of it");
            assert!(of(INNER_BATCH_ROWS) >= 1.0);
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
    fn what_is_in_the_cache_is_not_computed_again() {
        let mut workload = workload(json!({ "method": "saliency", "cached": true })).unwrap();
        workload.iterate(&mut || {}).unwrap();
        assert!(workload.attribution.is_some());
        workload.between();
        workload.iterate(&mut || {}).unwrap();
        assert!(workload.attribution.is_none());
        workload.verify().unwrap();
        assert_eq!(workload.passes, Some([0.0, 0.0]));
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
