//! From what somebody asked for to the list of runs that does it, with a reason for everything that is left out.

mod explanations;
mod forms;
mod models;
mod programs;
mod request;
mod targets;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Engine, EngineError, ExternalEngine, Form, Runner, find_engine};
use crate::dataset;
use crate::domain::model::shape_text;
use crate::domain::{
    Configuration, Device, HostTensor, InputSpec, PlannedRun, Platform, Precision, ReferenceChoice, WeightChoice,
};
use crate::hardware::logical_cpus;
pub use explanations::ExplanationChoice;
use explanations::Work;
use forms::Pairing;
use models::{Chosen, resolve_models};
pub use models::{ModelChoice, NamedModel, find_model};
use programs::Programs;
pub use request::{HardwareChoice, PlanRequest};
use targets::{Probes, Target, resolve_targets};

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
/// A name that means nothing or more than one thing, a file of inputs that cannot be read. What has no device here is left
/// out, not an error; an ONNX file that cannot be measured is an outcome.
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
    let found = resolve_targets(&request, Form::Zoo, &[], &mut Probes::new(runner), &mut Plan::default());
    found.into_iter().map(|target| (target.platform, target.engine.name(), target.probed.device)).collect()
}

impl PlanRequest {
    /// Adds what is asked for to a plan: the first repetition of each run that can be done to `once`.
    fn add_to(&self, plan: &mut Plan, once: &mut Vec<PlannedRun>, probes: &mut Probes<'_>) -> Result<(), EngineError> {
        let given = self.input.as_deref().map(dataset::read_inputs).transpose()?.unwrap_or_default();
        let request = &self.with_shapes_of(&given);
        let mut chosen = request.engines.iter().map(|name| find_engine(name)).collect::<Result<Vec<_>, _>>()?;
        let programs = Programs::meet(&request.externals, &request.stop);
        chosen.extend(programs.speaking.iter().map(|engine| *engine as &dyn Engine));
        let models = resolve_models(request, &programs)?;
        let models = request.compatible(models, plan);
        models.iter().try_for_each(|model| self.agrees(model))?;
        // Whoever names programs alone does not mean our own engines where those say nothing.
        let pairing = if chosen.is_empty() && !programs.silent.is_empty() {
            Pairing::default()
        } else {
            Pairing::new(request, &models, &chosen, probes, plan)
        };
        for model in &models {
            let parameters = request.parameters(model.entry, &mut plan.notes);
            let common = Common {
                inputs: with_given_shapes(model, &given),
                reference: request.reference_of(model, &models)?,
                parameters,
                precisions: request.precisions_of(model),
                batch_sizes: request.batch_sizes_of(model),
                works: explanations::works(request.mode, &request.explanation, model, probes.runner, plan)?,
            };
            for program in &programs.silent {
                let reason = EngineError::External(Arc::clone(&program.reason));
                match program.target(&request.hardware) {
                    Some(target) => plan.unsupported.push((request.first_run(model, &target, &common), reason)),
                    None => plan.left_out.push(LeftOut { what: model.name.clone(), reason }),
                }
            }
            for target in pairing.targets(model) {
                request.add_target(model, target, &common, plan, once);
            }
        }
        Ok(())
    }

    /// Adds what is measured of one model on one target.
    fn add_target(
        &self,
        model: &Chosen,
        target: &Target,
        common: &Common,
        plan: &mut Plan,
        once: &mut Vec<PlannedRun>,
    ) {
        if model.entry.is_none() && model.file.is_none() && target.engine.external().is_none() {
            let hint = format!("`{}` is a model of the program that `--external` starts", model.name);
            let reason = EngineError::UnknownModel { name: model.name.clone(), hint };
            plan.left_out.push(LeftOut { what: format!("{} by {}", model.name, target.engine.name()), reason });
            return;
        }
        if let Some(Err(reason)) = &model.file {
            let reason = EngineError::Graph(Arc::clone(reason));
            plan.unsupported.push((self.first_run(model, target, common), reason));
            return;
        }
        for work in &common.works {
            if let Some(reason) = work.misfit() {
                plan.unsupported.push((self.first_run_of(work, model, target, common), reason));
            }
        }
        for &precision in &common.precisions {
            // What an engine does by no method is told once, not for each.
            if let (Err(reason), [work, _, ..]) = (target.engine.supports(self.mode, precision), &common.works[..]) {
                let batch_size = common.batch_sizes.first().copied().unwrap_or(1);
                plan.unsupported.push((self.planned_run(model, target, precision, batch_size, work, common), reason));
                continue;
            }
            for &batch_size in &common.batch_sizes {
                for work in common.works.iter().filter(|work| work.misfit().is_none()) {
                    let planned = self.planned_run(model, target, precision, batch_size, work, common);
                    let Some(planned) = work.on(target, planned) else { continue };
                    match self.suits(model).and_then(|()| fits(&planned)).and_then(|()| target.supports(&planned)) {
                        Ok(()) => once.push(planned),
                        Err(reason) => plan.unsupported.push((planned, reason)),
                    }
                }
            }
        }
    }

    /// One run that stands for all precisions, batch sizes and methods: what is wrong with them all is told once.
    fn first_run(&self, model: &Chosen, target: &Target, common: &Common) -> PlannedRun {
        let any = Work::default();
        self.first_run_of(common.works.first().unwrap_or(&any), model, target, common)
    }

    fn first_run_of(&self, work: &Work, model: &Chosen, target: &Target, common: &Common) -> PlannedRun {
        let precision = common.precisions.first().copied().unwrap_or(Precision::Fp32);
        let batch_size = common.batch_sizes.first().copied().unwrap_or(1);
        self.planned_run(model, target, precision, batch_size, work, common)
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
                let suits = self.suits(&model);
                (model, suits)
            })
            .partition(|(_, suits)| suits.is_ok());
        plan.left_out.extend(
            unable
                .into_iter()
                .filter_map(|(model, suits)| suits.err().map(|reason| LeftOut { what: model.name.clone(), reason })),
        );
        able.into_iter().map(|(model, _)| model).collect()
    }

    /// The first repetition of one combination; its place in the plan is not known yet.
    fn planned_run(
        &self,
        model: &Chosen,
        target: &Target,
        precision: Precision,
        batch_size: u32,
        work: &Work,
        common: &Common,
    ) -> PlannedRun {
        let described = model.described();
        let program = target.engine.external();
        let parameters = common.parameters.clone().into_iter().chain(work.parameters.clone());
        PlannedRun {
            position: 0,
            repetition: 1,
            configuration: Configuration {
                model: model.name.clone(),
                variant: format!("{} {}", model.variant, work.variant).trim().to_owned(),
                platform: target.platform,
                device: target.probed.device.clone(),
                engine: target.engine.name().to_owned(),
                precision,
                mode: self.mode,
                batch_size,
                input_shape: input_shape(&common.inputs),
                threads: self.threads.unwrap_or_else(logical_cpus),
                parameters: parameters.chain(program.into_iter().flat_map(ExternalEngine::parameters)).collect(),
            },
            device_index: target.device_index,
            inputs: common.inputs.clone(),
            weights: match &model.weights {
                Some(path) => WeightChoice::File(path.clone()),
                None => WeightChoice::Seeded(self.seed),
            },
            seed: self.seed,
            optimizer: self.optimizer,
            sampling: self.sampling.clone(),
            generate: self.generate,
            data: self.data.clone(),
            telemetry_interval: self.telemetry_interval,
            graph: described.map(|described| described.graph.clone()),
            described: described.map(|described| described.record.clone()),
            input: self.input.clone(),
            reference: common.reference.clone(),
            external: program.map(|engine| engine.program().clone()),
            command: None,
        }
    }
}

/// What all runs of a model share.
struct Common {
    inputs: Vec<InputSpec>,
    parameters: BTreeMap<String, serde_json::Value>,
    reference: Option<ReferenceChoice>,
    precisions: Vec<Precision>,
    batch_sizes: Vec<u32>,
    works: Vec<Work>,
}

/// The inputs of a model; those of the zoo's networks are as long and wide as the tensors that they are going to read.
fn with_given_shapes(model: &Chosen, given: &[HostTensor]) -> Vec<InputSpec> {
    let mut inputs = model.inputs();
    if model.form() == Form::Zoo {
        let single = inputs.len() == 1;
        for spec in &mut inputs {
            let tensor = given.iter().find(|tensor| tensor.name == spec.name || (single && tensor.name.is_empty()));
            if let Some([_, sample @ ..]) = tensor.map(|tensor| tensor.shape.as_slice())
                && sample.len() == spec.shape.len()
            {
                spec.shape = sample.to_vec();
            }
        }
    }
    inputs
}

/// Whether the file of a run takes its batch.
fn fits(planned: &PlannedRun) -> Result<(), EngineError> {
    let asked = planned.configuration.batch_size;
    match planned.graph.as_ref().and_then(|graph| graph.fixed_batch) {
        Some(fixed) if fixed != asked as usize => {
            Err(EngineError::FixedBatch { model: planned.configuration.model.clone(), fixed, asked })
        }
        _ => Ok(()),
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
