//! What somebody asks for, and what it means for one model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::explanations::ExplanationChoice;
use super::models::{Chosen, ModelChoice, describe};
use crate::dataset;
use crate::domain::model::shape_text;
use crate::domain::{
    DataChoice, Extent, ExternalProgram, HostTensor, Mode, Platform, Precision, ReferenceChoice, Sampling, Task,
    TrainingOptimizer,
};
use crate::engine::evaluation::introduce;
use crate::engine::{EngineError, Form};
use crate::measure::DEFAULT_TELEMETRY_INTERVAL;
use crate::onnx::{GraphError, ShapeChoice, is_onnx};
use crate::zoo::ModelEntry;

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
    /// What is explained, and how, where the mode is explanation.
    pub explanation: ExplanationChoice,
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
            explanation: ExplanationChoice::default(),
            data: None,
            telemetry_interval: Some(DEFAULT_TELEMETRY_INTERVAL),
        }
    }
}

impl PlanRequest {
    /// Whether the batch in the shapes that were asked for is 1, which stands for any, or one of the batch sizes.
    pub(super) fn agrees(&self, model: &Chosen) -> Result<(), EngineError> {
        let Some(described) = model.described() else { return Ok(()) };
        let inputs = &described.graph.inputs;
        for shape in &self.shapes {
            let Some(input) = inputs.iter().find(|input| shape.means(&input.name, inputs.len())) else { continue };
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

    /// Whether a model can do what is asked for, on whatever engine.
    pub(super) fn suits(&self, model: &Chosen) -> Result<(), EngineError> {
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

    /// The batch sizes that a model is measured with.
    pub(super) fn batch_sizes_of(&self, model: &Chosen) -> Vec<u32> {
        let fixed = model.described().and_then(|described| described.graph.fixed_batch);
        match (&self.batch_sizes[..], fixed) {
            ([], fixed) => vec![fixed.and_then(|fixed| u32::try_from(fixed).ok()).unwrap_or(1)],
            (named, _) => named.to_vec(),
        }
    }

    /// The precisions that a model is measured in.
    pub(super) fn precisions_of(&self, model: &Chosen) -> Vec<Precision> {
        match (&self.precisions[..], model.described()) {
            ([], Some(described)) => vec![described.graph.precision],
            ([], None) => vec![Precision::Fp32],
            (named, _) => named.to_vec(),
        }
    }

    /// The same request, the shapes of ONNX files closed by the tensors that they are going to read.
    pub(super) fn with_shapes_of(&self, given: &[HostTensor]) -> Self {
        let shapes = given.iter().map(|tensor| ShapeChoice {
            input: Some(tensor.name.clone()).filter(|name| !name.is_empty()),
            extents: tensor.shape.clone(),
        });
        Self { shapes: shapes.chain(self.shapes.iter().cloned()).collect(), ..self.clone() }
    }

    /// What the outputs of a model that comes as an ONNX file are compared with: the file that was named, or weights of
    /// the same model that are measured in the same plan.
    pub(super) fn reference_of(&self, model: &Chosen, all: &[Chosen]) -> Result<Option<ReferenceChoice>, EngineError> {
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
    pub(super) fn parameters(
        &self,
        model: Option<&ModelEntry>,
        notes: &mut Vec<String>,
    ) -> BTreeMap<String, serde_json::Value> {
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
