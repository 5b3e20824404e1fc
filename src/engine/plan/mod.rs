//! From what somebody asked for to the list of runs that does it, with a reason for everything that is left out.

mod models;
mod targets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::evaluation::introduce;
use super::{EngineError, Runner, find_engine};
use crate::domain::model::shape_text;
use crate::domain::{
    Configuration, DataChoice, Device, InputSpec, Mode, PlannedRun, Platform, Precision, Sampling, Task,
    TrainingOptimizer, WeightChoice,
};
use crate::hardware::logical_cpus;
use crate::measure::DEFAULT_TELEMETRY_INTERVAL;
use crate::zoo::ModelEntry;
use models::{Chosen, resolve_models};
pub use models::{ModelChoice, NamedModel, find_model};
use targets::{Probes, Target, resolve_targets};

/// Which hardware is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardwareChoice {
    /// The first platform that works, of [`Platform::AUTO_ORDER`].
    Auto,
    /// Every platform that works.
    All,
    /// This one.
    Platform(Platform),
}

/// What somebody asked for.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// The models.
    pub models: ModelChoice,
    /// The hardware.
    pub hardware: Vec<HardwareChoice>,
    /// The engines, by forgiving names; empty for the default engine of each platform.
    pub engines: Vec<String>,
    /// Batch sizes.
    pub batch_sizes: Vec<u32>,
    /// Precisions.
    pub precisions: Vec<Precision>,
    /// What to time.
    pub mode: Mode,
    /// The optimizer of training steps.
    pub optimizer: TrainingOptimizer,
    /// How long to sample.
    pub sampling: Sampling,
    /// Runs of each configuration.
    pub repeat: u32,
    /// Threads on the host; all processors without.
    pub threads: Option<u32>,
    /// Seed of inputs, and of weights where there is no file.
    pub seed: u64,
    /// A weight file, for a single model.
    pub weights: Option<PathBuf>,
    /// Which device of a platform, from 0; the first real one without.
    pub device_index: Option<u32>,
    /// The device by its whole name; any without.
    pub device: Option<String>,
    /// Whether `auto` and `all` may take software adapters.
    pub include_software: bool,
    /// At most this many runs.
    pub limit: Option<usize>,
    /// Tokens to write after the prompt.
    pub generate: Option<u32>,
    /// The test set of image classifiers.
    pub data: Option<DataChoice>,
    /// The time between two readings of the sensors; they are not read without.
    pub telemetry_interval: Option<Duration>,
}

impl Default for PlanRequest {
    fn default() -> Self {
        Self {
            models: ModelChoice::Named(Vec::new()),
            hardware: vec![HardwareChoice::Auto],
            engines: Vec::new(),
            batch_sizes: vec![1],
            precisions: vec![Precision::Fp32],
            mode: Mode::Inference,
            optimizer: TrainingOptimizer::Adam,
            sampling: Sampling::default(),
            repeat: 1,
            threads: None,
            seed: 0,
            weights: None,
            device_index: None,
            device: None,
            include_software: false,
            limit: None,
            generate: None,
            data: None,
            telemetry_interval: Some(DEFAULT_TELEMETRY_INTERVAL),
        }
    }
}

/// What is going to happen.
#[derive(Debug, Default)]
pub struct Plan {
    /// The runs, in order; repetitions are interleaved, so that drift hits all configurations alike.
    pub runs: Vec<PlannedRun>,
    /// Runs that an engine cannot really do, with the reason: recorded as `unsupported`.
    pub unsupported: Vec<(PlannedRun, EngineError)>,
    /// What was asked for and has no device or engine here.
    pub left_out: Vec<LeftOut>,
    /// What was decided on the user's behalf.
    pub notes: Vec<String>,
}

/// Something that was asked for and is not in the plan.
#[derive(Debug)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why.
    pub reason: EngineError,
}

/// Makes the plan. Devices are looked for in worker processes.
///
/// # Errors
/// A name that means nothing or more than one thing. What has no device here is left out, not an error.
pub fn plan(request: &PlanRequest, runner: &Runner) -> Result<Plan, EngineError> {
    plan_all(std::slice::from_ref(request), runner)
}

/// Makes one plan of several requests; how often and at most how much is measured says the first of them.
///
/// # Errors
/// As [`plan`].
pub fn plan_all(requests: &[PlanRequest], runner: &Runner) -> Result<Plan, EngineError> {
    let mut plan = Plan::default();
    let mut probes = Probes::new(runner);
    let mut once = Vec::new();
    for request in requests {
        request.add_to(&mut plan, &mut once, &mut probes)?;
    }
    let Some(first) = requests.first() else { return Ok(plan) };
    let wanted = once.len() * first.repeat.max(1) as usize;
    let kept = first.limit.unwrap_or(wanted).min(wanted);
    if kept < wanted {
        plan.notes.push(format!("{} of {wanted} runs are left out by `--limit {kept}`", wanted - kept));
    }
    let in_turns = (1..=first.repeat.max(1)).flat_map(|repetition| once.iter().map(move |run| (repetition, run)));
    plan.runs = in_turns
        .take(kept)
        .zip(0..)
        .map(|((repetition, run), position)| {
            // The accuracy of the same weights on the same pictures does not change; timed batches stay the same.
            let data = run.data.clone().filter(|data| repetition == 1 || data.feeds_batches);
            PlannedRun { position, repetition, data, ..run.clone() }
        })
        .collect();
    Ok(plan)
}

/// What of this machine a choice of hardware means: platform, engine and device of each. Devices are looked for in
/// worker processes.
pub fn devices_here(hardware: &[HardwareChoice], runner: &Runner) -> Vec<(Platform, &'static str, Device)> {
    let request = PlanRequest { hardware: hardware.to_vec(), ..PlanRequest::default() };
    let found = resolve_targets(&request, &[], &mut Probes::new(runner), &mut Plan::default());
    found.into_iter().map(|target| (target.platform, target.engine.name(), target.probed.device)).collect()
}

impl PlanRequest {
    /// Adds what is asked for to a plan: the first repetition of each run that can be done to `once`.
    fn add_to(&self, plan: &mut Plan, once: &mut Vec<PlannedRun>, probes: &mut Probes<'_>) -> Result<(), EngineError> {
        let models = self.compatible(resolve_models(&self.models)?, plan);
        let chosen = self.engines.iter().map(|name| find_engine(name)).collect::<Result<Vec<_>, _>>()?;
        let targets = resolve_targets(self, &chosen, probes, plan);
        for model in &models {
            let parameters = self.parameters(model.entry, &mut plan.notes);
            for target in &targets {
                for &precision in &self.precisions {
                    for &batch_size in &self.batch_sizes {
                        let planned = self.planned_run(model, target, precision, batch_size, &parameters);
                        match self.suits(model.entry).and_then(|()| target.supports(&planned)) {
                            Ok(()) => once.push(planned),
                            Err(reason) => plan.unsupported.push((planned, reason)),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The models that can do what is asked for. Who names a group asks for those of it that can; the others are left
    /// out. Who names a model hears from the run itself.
    fn compatible(&self, models: Vec<Chosen>, plan: &mut Plan) -> Vec<Chosen> {
        if matches!(self.models, ModelChoice::Named(_)) {
            return models;
        }
        let (able, unable): (Vec<_>, Vec<_>) = models
            .into_iter()
            .map(|model| {
                let suits = self.suits(model.entry);
                (model, suits)
            })
            .partition(|(_, suits)| suits.is_ok());
        plan.left_out.extend(unable.into_iter().filter_map(|(model, suits)| {
            suits.err().map(|reason| LeftOut { what: model.entry.name.to_owned(), reason })
        }));
        able.into_iter().map(|(model, _)| model).collect()
    }

    /// Whether a model can do what is asked for, on whatever engine.
    fn suits(&self, model: &ModelEntry) -> Result<(), EngineError> {
        let cannot = |what: &'static str, hint: &'static str| {
            Err(EngineError::Unsuited { model: model.name.to_owned(), what, hint })
        };
        if self.generate.is_some() && !model.task.writes() {
            return cannot(
                "write tokens",
                "`--generate` is for models that write: gpt2, smollm2-135m, t5-small, whisper-tiny",
            );
        }
        if let (Some(wanted), Some(positions)) = (self.generate, model.positions()) {
            let inputs = model.inputs();
            // The last input of tokens is the decoder's.
            let prompt = inputs.iter().rev().find(|input| input.kind.vocabulary().is_some());
            let prompt = prompt.and_then(|input| input.shape.first()).copied().unwrap_or(0);
            // The last token that is written is not read again.
            let most = (positions + 1).saturating_sub(prompt);
            if wanted as usize > most {
                return Err(EngineError::TooManyTokens {
                    model: model.name.to_owned(),
                    positions,
                    prompt,
                    wanted,
                    most,
                });
            }
        }
        if self.data.is_some() && model.task != Task::ImageClassification {
            return cannot(
                "sort pictures into classes",
                "`--data` is for image classifiers: `benchdb models --category vision`",
            );
        }
        Ok(())
    }

    /// The first repetition of one combination; its place in the plan is not known yet.
    fn planned_run(
        &self,
        model: &Chosen,
        target: &Target,
        precision: Precision,
        batch_size: u32,
        parameters: &BTreeMap<String, serde_json::Value>,
    ) -> PlannedRun {
        let inputs = model.entry.inputs();
        PlannedRun {
            position: 0,
            repetition: 1,
            configuration: Configuration {
                model: model.entry.name.to_owned(),
                variant: model.variant.clone(),
                platform: target.platform,
                device: target.probed.device.clone(),
                engine: target.engine.name().to_owned(),
                precision,
                mode: self.mode,
                batch_size,
                input_shape: input_shape(&inputs),
                threads: self.threads.unwrap_or_else(logical_cpus),
                parameters: parameters.clone(),
            },
            device_index: target.device_index,
            inputs,
            weights: match model.weights.as_ref().or(self.weights.as_ref()) {
                Some(path) => WeightChoice::File(path.clone()),
                None => WeightChoice::Seeded(self.seed),
            },
            seed: self.seed,
            optimizer: self.optimizer,
            sampling: self.sampling.clone(),
            generate: self.generate,
            data: self.data.clone(),
            telemetry_interval: self.telemetry_interval,
        }
    }

    /// What changes the work and has no field of its own in a configuration.
    fn parameters(&self, model: &ModelEntry, notes: &mut Vec<String>) -> BTreeMap<String, serde_json::Value> {
        let mut parameters = BTreeMap::new();
        if self.mode == Mode::Training {
            parameters.insert("optimizer".to_owned(), self.optimizer.to_string().into());
        }
        if let Some(data) = &self.data {
            // Two accuracies can be compared on the same pictures alone, and pictures are other input than noise.
            let (name, of_the_set) = introduce(model, &data.path);
            parameters.insert("data".to_owned(), name.into());
            for note in of_the_set {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
            if data.feeds_batches {
                parameters.insert("input".to_owned(), "data".into());
            }
        }
        if let Some(tokens) = self.generate {
            parameters.insert("generate".to_owned(), tokens.into());
        }
        if self.sampling.batches_in_flight > 1 {
            parameters.insert("batches_in_flight".to_owned(), self.sampling.batches_in_flight.into());
        }
        parameters
    }
}

/// The shapes of a model's inputs, without names where there is one: `3x224x224`, `image=3x224x224,ids=16`.
pub fn input_shape(inputs: &[InputSpec]) -> String {
    match inputs {
        [single] => shape_text(&single.shape),
        several => several
            .iter()
            .map(|input| format!("{}={}", input.name, shape_text(&input.shape)))
            .collect::<Vec<_>>()
            .join(","),
    }
}
