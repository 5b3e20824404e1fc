//! What keeps a run from being measured.

use std::path::PathBuf;
use std::sync::Arc;

use super::Form;
use super::command::ExecutionError;
use super::external::ExternalError;
use crate::cache::CacheError;
use crate::dataset::DatasetError;
use crate::domain::{Platform, Precision, RunStatus};
use crate::explain::ExplainError;
use crate::onnx::GraphError;
use crate::zoo::{self, WeightError, ZooError};

/// An error of the engines.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no engine of that name.
    #[error("there is no engine `{name}`")]
    UnknownEngine {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// There is no model of that name.
    #[error("there is no model `{name}`")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// The engine was left out of the build.
    #[error("engine {engine} is not in this build")]
    NotCompiled {
        /// The engine.
        engine: &'static str,
        /// The feature that brings it.
        feature: &'static str,
    },
    /// No engine of this program serves the platform.
    #[error("no engine of benchdb {version} serves the platform `{platform}`", version = env!("CARGO_PKG_VERSION"))]
    NoEngine {
        /// The platform.
        platform: Platform,
    },
    /// The engine does not serve the platform.
    #[error("engine {engine} does not serve the platform `{platform}`")]
    WrongPlatform {
        /// The engine.
        engine: &'static str,
        /// The platform.
        platform: Platform,
        /// The platforms that it serves.
        serves: String,
    },
    /// The platform has no device here.
    #[error("no device for the platform `{platform}` was found on this machine")]
    NoDevice {
        /// The platform.
        platform: Platform,
    },
    /// Only software pretends to be such a device.
    #[error("the platform `{platform}` has only a software device here (`{device}`)")]
    OnlySoftware {
        /// The platform.
        platform: Platform,
        /// The adapter.
        device: String,
    },
    /// It has another one than was meant.
    #[error("the platform `{platform}` has no device `{wanted}` here, but `{found}`")]
    OtherDevice {
        /// The platform.
        platform: Platform,
        /// The whole name that was asked for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// There are fewer devices.
    #[error("the platform `{platform}` has no device {index} here, only {found}")]
    DeviceIndex {
        /// The platform.
        platform: Platform,
        /// What was asked for, from 0.
        index: u32,
        /// How many there are.
        found: usize,
    },
    /// The engine cannot really do this.
    #[error("{engine} does not support {what}: {reason}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// What was asked for.
        what: String,
        /// Why not.
        reason: &'static str,
        /// The nearest thing that works.
        nearest: Option<&'static str>,
    },
    /// The model does not do such work, on whatever engine.
    #[error("{model} does not {what}")]
    Unsuited {
        /// The model.
        model: String,
        /// What was asked for.
        what: &'static str,
        /// Who does.
        hint: &'static str,
    },
    /// A text longer than the model's positions.
    #[error("{model} has {positions} positions: after a prompt of {prompt} tokens it cannot write {wanted}")]
    TooManyTokens {
        /// The model.
        model: String,
        /// The longest text that it can have.
        positions: usize,
        /// What it reads first.
        prompt: usize,
        /// What it was asked to write.
        wanted: u32,
        /// The most that it can write.
        most: usize,
    },
    /// The network refused.
    #[error(transparent)]
    Zoo(#[from] ZooError),
    /// A network could not be explained.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// The cache of explanations cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No folder for a cache of a run's own.
    #[error("cannot make a folder for the cache of explanations")]
    CacheFolder {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// The pictures do not fit, or cannot be read.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// A program of others did something wrong, or cannot do this.
    #[error(transparent)]
    External(Arc<ExternalError>),
    /// A command that is measured went wrong.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// The ONNX file cannot be measured.
    #[error(transparent)]
    Graph(Arc<GraphError>),
    /// An engine that reads ONNX files was asked for a network of the zoo, or the reverse.
    #[error("{engines} cannot run {}", match form { Form::Onnx => "ONNX files", Form::Zoo => "networks that are no ONNX files" })]
    WrongForm {
        /// The engine, or several.
        engines: String,
        /// The form that it was asked for.
        form: Form,
        /// The model.
        model: String,
    },
    /// An ONNX file is in another arithmetic than was asked for.
    #[error(
        "{engine} does not support {asked} for {model}: its ONNX file computes in {real}, and files are run as they are"
    )]
    FilePrecision {
        /// The engine.
        engine: String,
        /// The model.
        model: String,
        /// What was asked for.
        asked: Precision,
        /// What the file does.
        real: Precision,
    },
    /// An ONNX file takes batches of one size.
    #[error("the ONNX file of {model} fixes its batch at {fixed}, it does not take {asked}")]
    FixedBatch {
        /// The model.
        model: String,
        /// Its batch.
        fixed: usize,
        /// What was asked for.
        asked: u32,
    },
    /// A file that outputs cannot be compared with.
    #[error("`{}` is no reference for {model}: {reason}", path.display())]
    UnfitReference {
        /// The file.
        path: PathBuf,
        /// The model.
        model: String,
        /// Why not.
        reason: &'static str,
    },
    /// Tensors of a file that do not fit the model.
    #[error("the input `{input}` in `{}` {reason}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// The model's input.
        input: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A library does not take a file or its inputs.
    #[error("{engine} cannot {doing}: {message}")]
    Refused {
        /// The engine.
        engine: String,
        /// What it was told to do.
        doing: String,
        /// What it says.
        message: String,
    },
    /// A library computes in another arithmetic than it was asked for.
    #[error("{engine} does not compute {model} in {asked}: its products are done in {real}")]
    OtherPrecision {
        /// The engine.
        engine: &'static str,
        /// The model.
        model: String,
        /// What was asked for.
        asked: Precision,
        /// What it does.
        real: Precision,
    },
    /// What another process says of an engine that is not here, or of what it could not do.
    #[error("{message}")]
    NotHere {
        /// What it says.
        message: String,
        /// The way out.
        hint: Option<String>,
    },
    /// The device failed.
    #[error("the device failed: {message}")]
    Device {
        /// What it says.
        message: String,
    },
    /// The worker process could not be started.
    #[error("cannot start the worker process `{}`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The worker ended without an answer.
    #[error("{message}")]
    Worker {
        /// How it ended.
        message: String,
        /// Whether for want of memory.
        out_of_memory: bool,
    },
    /// The outputs that a run is compared with could not be kept.
    #[error("cannot keep the reference outputs in `{}`", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A training step in a precision that does not hold its numbers.
    #[error("{engine} does not train {model} in {precision}: the loss is not a number any more")]
    LossDiverged {
        /// The engine.
        engine: &'static str,
        /// The model.
        model: String,
        /// The precision.
        precision: Precision,
    },
    /// A test script that cannot be used.
    #[error("the script `{path}` cannot be used: {reason}")]
    Script {
        /// Its path.
        path: String,
        /// Why not.
        reason: String,
    },
}

impl EngineError {
    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownEngine { hint, .. } | Self::UnknownModel { hint, .. } => Some(hint.clone()),
            Self::NotCompiled { feature, .. } => Some(format!("cargo install --path . --features {feature}")),
            Self::NoEngine { platform: Platform::Mps } => {
                Some("`mps` is Apple's Metal: build benchdb on macOS, where burn-wgpu serves it".into())
            }
            Self::NoEngine { platform } => Some(format!(
                "`benchdb hardware` lists what can be measured; import results of others for `{platform}`"
            )),
            Self::WrongPlatform { serves, .. } => Some(format!("it serves {serves}")),
            Self::NoDevice { platform } => Some(match platform {
                Platform::Cuda => "install NVIDIA's driver and CUDA toolkit; `nvidia-smi` must list the GPU".into(),
                Platform::Rocm => "install ROCm; `rocminfo` must list the GPU".into(),
                Platform::Vulkan => "install the GPU's Vulkan driver (Debian: mesa-vulkan-drivers); `vulkaninfo \
                                     --summary` must list it"
                    .into(),
                Platform::Mps => "`mps` needs macOS on a machine with Metal".into(),
                _ => "`benchdb hardware` lists what can be measured here".into(),
            }),
            Self::OnlySoftware { .. } => {
                Some("`--include-software` measures it all the same, marked as software".into())
            }
            Self::OtherDevice { .. } => Some("measure it where that device is".into()),
            Self::DeviceIndex { .. } => Some("`benchdb hardware` lists the devices with their index".into()),
            Self::Unsupported { nearest, .. } => {
                nearest.map(|nearest| format!("the nearest thing that works is {nearest}"))
            }
            Self::Unsuited { hint, .. } => Some((*hint).to_owned()),
            Self::LossDiverged { precision: Precision::Fp16, .. } => {
                Some("the nearest thing that works is `--precision bf16` or fp32".into())
            }
            Self::LossDiverged { .. } => Some("the nearest thing that works is `--precision fp32`".into()),
            Self::TooManyTokens { most, .. } => Some(format!("`--generate {most}` is the most after this prompt")),
            Self::Graph(error) => error.hint(),
            Self::WrongForm { form: Form::Onnx, model, .. } => Some(match zoo::find(model) {
                Some(_) => format!("give it the network of benchdb: `--model {model} --weights {model}.safetensors`"),
                None => "`--engine tract`, onnxruntime and openvino run ONNX files".to_owned(),
            }),
            Self::WrongForm { form: Form::Zoo, model, .. } => Some(format!(
                "give the network as a file: `--model {model}=FILE.onnx`; tools/export_onnx.py writes one"
            )),
            Self::FilePrecision { real, .. } => Some(format!("`--precision {real}`, or leave it out")),
            Self::FixedBatch { fixed, .. } => Some(format!(
                "`--batch-sizes {fixed}`, or export it with a batch dimension that has a name instead of a size"
            )),
            Self::NotHere { hint, .. } => hint.clone(),
            Self::OtherPrecision { .. } => Some("the nearest thing that works is a file in fp32".to_owned()),
            Self::Refused { message, .. } if is_unknown_operator(message) => {
                Some("another engine may have the operator: `benchdb hardware` lists those that are here".to_owned())
            }
            Self::UnfitReference { .. } => {
                Some("`--reference` takes an ONNX file in fp32, or weights for a model of benchdb".to_owned())
            }
            Self::Input { .. } => Some("an .npz has one tensor for every input, by its name".to_owned()),
            Self::Zoo(error) => error.hint(),
            Self::Explain(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::CacheFolder { .. } => Some("point TMPDIR at a folder that can be written".to_owned()),
            Self::Weights(error) => error.hint(),
            Self::Data(error) => error.hint(),
            Self::External(error) => error.hint(),
            Self::Execution(error) => error.hint(),
            _ if self.status() == RunStatus::OutOfMemory => {
                Some("take a smaller batch (`--batch-sizes`) or a smaller model".into())
            }
            _ => None,
        }
    }

    /// Whether whoever says this cannot be trusted with what it said before.
    pub fn breaks_trust(&self) -> bool {
        matches!(self, Self::External(error) if error.breaks_trust())
    }

    /// The status of a run that ends with this error.
    pub fn status(&self) -> RunStatus {
        match self {
            Self::Unsupported { .. }
            | Self::Unsuited { .. }
            | Self::TooManyTokens { .. }
            | Self::WrongForm { .. }
            | Self::FilePrecision { .. }
            | Self::FixedBatch { .. }
            | Self::OtherPrecision { .. }
            | Self::NotHere { .. }
            | Self::LossDiverged { .. }
            | Self::Explain(ExplainError::Unsupported { .. }) => RunStatus::Unsupported,
            Self::External(error) => error.status(),
            Self::Execution(error) => error.status(),
            Self::Worker { out_of_memory: true, .. } => RunStatus::OutOfMemory,
            Self::Device { message }
            | Self::Refused { message, .. }
            | Self::Explain(ExplainError::Stopped { message })
                if is_out_of_memory(message) =>
            {
                RunStatus::OutOfMemory
            }
            Self::Explain(ExplainError::Memory { .. }) => RunStatus::OutOfMemory,
            Self::Refused { message, .. } if is_unknown_operator(message) => RunStatus::Unsupported,
            _ => RunStatus::Failed,
        }
    }
}

impl From<ExternalError> for EngineError {
    fn from(error: ExternalError) -> Self {
        Self::External(Arc::new(error))
    }
}

/// Whether a library says that it lacks an operator, or one of its versions.
fn is_unknown_operator(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "unimplementedop",
        "unimplemented",
        "not a registered function/op",
        "could not find an implementation",
        "not_implemented",
        "no conversion rule found",
        "is under development and support for this is limited",
        "is the newest that it knows",
    ]
    .iter()
    .any(|sign| message.contains(sign))
}

impl From<GraphError> for EngineError {
    fn from(error: GraphError) -> Self {
        Self::Graph(Arc::new(error))
    }
}

/// Whether a message of an allocator or a driver says that memory ran out.
pub(super) fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "memory allocation of",
        "out of memory",
        "outofmemory",
        "out_of_memory",
        "cannot allocate memory",
        "os error 12",
        "not enough memory",
        "failed to allocate",
        "bad_alloc",
    ]
    .iter()
    .any(|sign| message.contains(sign))
}
