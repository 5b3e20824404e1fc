//! From what somebody asked for to the list of runs that does it, with a reason for everything that is left out.

mod forms;
mod models;
mod programs;
mod targets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::evaluation::introduce;
use super::{Engine, EngineError, ExternalEngine, Form, Runner, find_engine};
use crate::dataset;
use crate::domain::model::shape_text;
use crate::domain::{
    Configuration, DataChoice, Device, Extent, ExternalProgram, GraphInput, HostTensor, InputSpec, Mode, PlannedRun,
    Platform, Precision, ReferenceChoice, Sampling, Task, TrainingOptimizer, WeightChoice,
};
use crate::hardware::logical_cpus;
use crate::measure::DEFAULT_TELEMETRY_INTERVAL;
use crate::onnx::{GraphError, ShapeChoice, is_onnx};
use crate::zoo::ModelEntry;
use forms::Pairing;
use models::{Chosen, describe, resolve_models};
pub use models::{ModelChoice, NamedModel, find_model};
use programs::Programs;
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
    /// The engines, by forgiving names; empty for the default engine of each platform, or for the programs of others alone.
    pub engines: Vec<String>,
    /// Programs of others that are engines, too.
    pub externals: Vec<ExternalProgram>,
    /// Ends the questions to them.
    pub stop: Arc<AtomicBool>,
    /// Batch sizes; where there is none, that of an ONNX file which fixes one, else 1.
    pub batch_sizes: Vec<u32>,
    /// Precisions; where there is none, fp32 for networks of the zoo and the arithmetic of an ONNX file for it.
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
    /// A weight file, or an ONNX file, for a single model.
    pub weights: Option<PathBuf>,
    /// Shapes of the inputs of ONNX files.
    pub shapes: Vec<ShapeChoice>,
    /// Tensors to measure with instead of made-up ones: an .npz or .npy.
    pub input: Option<PathBuf>,
    /// What the outputs of ONNX files are compared with: a weight file of the zoo's model, or another ONNX file.
    pub reference: Option<PathBuf>,
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
            externals: Vec::new(),
            stop: Arc::default(),
            batch_sizes: Vec::new(),
            precisions: Vec::new(),
            mode: Mode::Inference,
            optimizer: TrainingOptimizer::Adam,
            sampling: Sampling::default(),
            repeat: 1,
            threads: None,
            seed: 0,
            weights: None,
            shapes: Vec::new(),
            input: None,
            reference: None,
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
            };
            let precisions = request.precisions_of(model);
            let batch_sizes = request.batch_sizes_of(model);
            // Told once, not for every precision and batch size.
            let (first_precision, first_batch) = (precisions[0], batch_sizes[0]);
            for program in &programs.silent {
                let reason = EngineError::External(Arc::clone(&program.reason));
                match program.target(&request.hardware) {
                    Some(target) => {
                        let planned = request.planned_run(model, &target, first_precision, first_batch, &common);
                        plan.unsupported.push((planned, reason));
                    }
                    None => plan.left_out.push(LeftOut { what: model.name.clone(), reason }),
                }
            }
            for target in pairing.targets(model) {
                if model.entry.is_none() && model.file.is_none() && target.engine.external().is_none() {
                    let hint = format!("`{}` is a model of the program that `--external` starts", model.name);
                    let reason = EngineError::UnknownModel { name: model.name.clone(), hint };
                    plan.left_out.push(LeftOut { what: format!("{} by {}", model.name, target.engine.name()), reason });
                    continue;
                }
                if let Some(Err(reason)) = &model.file {
                    let planned = request.planned_run(model, target, first_precision, first_batch, &common);
                    plan.unsupported.push((planned, EngineError::Graph(Arc::clone(reason))));
                    continue;
                }
                for &precision in &precisions {
                    for &batch_size in &batch_sizes {
                        let planned = request.planned_run(model, target, precision, batch_size, &common);
                        match request
                            .suits(model)
                            .and_then(|()| fits(&planned))
                            .and_then(|()| target.supports(&planned))
                        {
                            Ok(()) => once.push(planned),
                            Err(reason) => plan.unsupported.push((planned, reason)),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the batch in the shapes that were asked for is 1, which stands for any, or one of the batch sizes.
    fn agrees(&self, model: &Chosen) -> Result<(), EngineError> {
        let Some(described) = model.described() else { return Ok(()) };
        let inputs = &described.graph.inputs;
        for shape in &self.shapes {
            let means =
                |input: &&GraphInput| shape.input.as_ref().map_or(inputs.len() == 1, |wanted| *wanted == input.name);
            let Some(input) = inputs.iter().find(means) else { continue };
            let at = input.extents.iter().position(|extent| *extent == Extent::Batch);
            let batch = at.and_then(|at| shape.extents.get(at)).copied().unwrap_or(1);
            if batch != 1 && !self.batch_sizes_of(model).iter().any(|size| *size as usize == batch) {
                return Err(GraphError::OtherBatch {
                    input: input.name.clone(),
                    asked: shape_text(&shape.extents),
                    batch,
                }
                .into());
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

    /// Whether a model can do what is asked for, on whatever engine.
    fn suits(&self, model: &Chosen) -> Result<(), EngineError> {
        let cannot = |what: &'static str, hint: &'static str| {
            Err(EngineError::Unsuited { model: model.name.clone(), what, hint })
        };
        let task = model.entry.map(|entry| entry.task);
        if self.generate.is_some() && !task.is_some_and(Task::writes) {
            return cannot(
                "write tokens",
                "`--generate` is for models that write: gpt2, smollm2-135m, t5-small, whisper-tiny",
            );
        }
        if let (Some(wanted), Some(positions)) = (self.generate, model.entry.and_then(ModelEntry::positions)) {
            let inputs = model.inputs();
            // The last input of tokens is the decoder's.
            let prompt = inputs.iter().rev().find(|input| input.kind.vocabulary().is_some());
            let prompt = prompt.and_then(|input| input.shape.first()).copied().unwrap_or(0);
            // The last token that is written is not read again.
            let most = (positions + 1).saturating_sub(prompt);
            if wanted as usize > most {
                return Err(EngineError::TooManyTokens { model: model.name.clone(), positions, prompt, wanted, most });
            }
        }
        if self.data.is_some() && task != Some(Task::ImageClassification) {
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
        common: &Common,
    ) -> PlannedRun {
        let described = model.described();
        let program = target.engine.external();
        let parameters = common.parameters.clone().into_iter();
        PlannedRun {
            position: 0,
            repetition: 1,
            configuration: Configuration {
                model: model.name.clone(),
                variant: model.variant.clone(),
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

    /// The batch sizes that a model is measured with.
    fn batch_sizes_of(&self, model: &Chosen) -> Vec<u32> {
        let fixed = model.described().and_then(|described| described.graph.fixed_batch);
        match (&self.batch_sizes[..], fixed) {
            ([], fixed) => vec![fixed.and_then(|fixed| u32::try_from(fixed).ok()).unwrap_or(1)],
            (named, _) => named.to_vec(),
        }
    }

    /// The precisions that a model is measured in.
    fn precisions_of(&self, model: &Chosen) -> Vec<Precision> {
        match (&self.precisions[..], model.described()) {
            ([], Some(described)) => vec![described.graph.precision],
            ([], None) => vec![Precision::Fp32],
            (named, _) => named.to_vec(),
        }
    }

    /// The same request, the shapes of ONNX files closed by the tensors that they are going to read.
    fn with_shapes_of(&self, given: &[HostTensor]) -> Self {
        let shapes = given.iter().map(|tensor| ShapeChoice {
            input: Some(tensor.name.clone()).filter(|name| !name.is_empty()),
            extents: tensor.shape.clone(),
        });
        Self { shapes: shapes.chain(self.shapes.iter().cloned()).collect(), ..self.clone() }
    }

    /// What the outputs of a model that comes as an ONNX file are compared with: the file that was named, or weights of
    /// the same model that are measured in the same plan.
    fn reference_of(&self, model: &Chosen, all: &[Chosen]) -> Result<Option<ReferenceChoice>, EngineError> {
        if model.form() != Form::Onnx {
            return Ok(None);
        }
        if let Some(path) = &self.reference {
            let unfit = |reason| EngineError::UnfitReference { path: path.clone(), model: model.name.clone(), reason };
            let graph = match (is_onnx(path), model.entry) {
                (true, entry) => Some(describe(path, &model.name, entry, self)?.graph),
                (false, Some(_)) => None,
                (false, None) => return Err(unfit("weights alone are a network for models of benchdb only")),
            };
            if graph.as_ref().is_some_and(|graph| graph.precision != Precision::Fp32) {
                return Err(unfit("it does not compute in fp32"));
            }
            return Ok(Some(ReferenceChoice { path: path.clone(), graph }));
        }
        let of_same = |other: &&Chosen| other.form() == Form::Zoo && other.name == model.name;
        let weights = |variant: &str| {
            all.iter().filter(of_same).find(|other| other.variant == variant).and_then(|other| other.weights.clone())
        };
        let path = weights(&model.variant).or_else(|| weights(""));
        Ok(path.map(|path| ReferenceChoice { path, graph: None }))
    }

    /// What changes the work and has no field of its own in a configuration.
    fn parameters(&self, model: Option<&ModelEntry>, notes: &mut Vec<String>) -> BTreeMap<String, serde_json::Value> {
        let mut parameters = BTreeMap::new();
        if self.mode == Mode::Training {
            parameters.insert("optimizer".to_owned(), self.optimizer.to_string().into());
        }
        if let Some(path) = &self.input {
            // What a network does may depend on what it reads.
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            let digest = dataset::file_digest(path).map(|digest| format!("{name}@{}", &digest[..12]));
            parameters.insert("input".to_owned(), digest.unwrap_or_else(|_| name.into_owned()).into());
        }
        if let (Some(data), Some(model)) = (&self.data, model) {
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

/// What all runs of a model share.
struct Common {
    inputs: Vec<InputSpec>,
    parameters: BTreeMap<String, serde_json::Value>,
    reference: Option<ReferenceChoice>,
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
