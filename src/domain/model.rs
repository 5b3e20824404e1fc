//! What a network is, apart from any software that runs it: its name, what it takes, what it costs.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::configuration::Precision;

/// The kind of data a model works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Category {
    /// Images in.
    Vision,
    /// Tokens in.
    Text,
    /// Sound (spectrograms) in.
    Audio,
    /// More than one of them.
    Multimodal,
}

/// What a model is for; decides the loss of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Task {
    /// Logits over classes; cross-entropy.
    ImageClassification,
    /// Hidden states; cross-entropy of masked tokens through the tied input embedding.
    MaskedLanguageModelling,
    /// Logits of the next token; cross-entropy of the shifted input.
    CausalLanguageModelling,
    /// Logits of a decoder that reads an encoder of text; cross-entropy of the shifted decoder input.
    SequenceToSequence,
    /// Logits of a decoder that reads an encoder of sound; cross-entropy of the shifted decoder input.
    SpeechRecognition,
    /// Embeddings of images and texts; symmetric cross-entropy of their similarities, the i-th text being the i-th
    /// image's.
    ImageTextMatching,
    /// Boxes and classes of the objects in an image; the set prediction loss.
    ObjectDetection,
}

impl Task {
    /// Whether such a model writes tokens one after another.
    pub fn writes(self) -> bool {
        matches!(self, Self::CausalLanguageModelling | Self::SequenceToSequence | Self::SpeechRecognition)
    }
}

/// How the elements of an input are made when no real data is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// Floats in [-1, 1).
    Float,
    /// Token ids in [0, vocabulary).
    Tokens {
        /// The number of distinct tokens.
        vocabulary: usize,
    },
    /// Token ids of a vocabulary that has special tokens too: made of `words`, closed by `end`.
    Words {
        /// The number of distinct tokens, special ones included.
        vocabulary: usize,
        /// The ids in [0, words) are ordinary ones; made inputs hold these alone.
        words: usize,
        /// The id that closes every made sample, where the model needs one.
        end: Option<usize>,
    },
    /// The same integer everywhere: a mask that hides nothing, the first of several kinds.
    Constant(i64),
}

impl InputKind {
    /// The number of distinct tokens; `None` for what is no text.
    pub fn vocabulary(self) -> Option<usize> {
        match self {
            Self::Float | Self::Constant(_) => None,
            Self::Tokens { vocabulary } | Self::Words { vocabulary, .. } => Some(vocabulary),
        }
    }
}

/// One input of a model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputSpec {
    /// The name by which `infer` and .npz files know it: `image`, `ids`, `decoder_ids`, `mel`.
    pub name: String,
    /// What its elements are.
    pub kind: InputKind,
    /// The shape of one sample, without the batch dimension: `[3, 224, 224]`, `[128]`.
    pub shape: Vec<usize>,
}

impl fmt::Display for InputSpec {
    /// `image 3x224x224`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, shape_text(&self.shape))
    }
}

/// The type of a tensor's elements, in a file that says so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// IEEE double precision.
    F64,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Signed integers of 64 bits.
    I64,
    /// Signed integers of 32 bits.
    I32,
    /// Signed integers of 16 bits.
    I16,
    /// Signed integers of 8 bits.
    I8,
    /// Unsigned integers of 64 bits.
    U64,
    /// Unsigned integers of 32 bits.
    U32,
    /// Unsigned integers of 16 bits.
    U16,
    /// Unsigned integers of 8 bits.
    U8,
    /// Truth values.
    Bool,
}

impl ElementType {
    /// Whether its elements are floats.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }
}

/// An extent of an input whose batch size is not chosen yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// The samples of a batch.
    Batch,
    /// This many.
    Fixed(usize),
}

/// An input of a network that comes as a file, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GraphInput {
    /// Its name in the file.
    pub name: String,
    /// The type of its elements.
    pub element: ElementType,
    /// Its whole shape.
    pub extents: Vec<Extent>,
}

impl GraphInput {
    /// The shape of a batch of this size.
    pub fn shape(&self, batch_size: usize) -> Vec<usize> {
        let extent = |extent: &Extent| match extent {
            Extent::Batch => batch_size,
            Extent::Fixed(extent) => *extent,
        };
        self.extents.iter().map(extent).collect()
    }

    /// The shape of one sample: what is left without the batch.
    pub fn sample_shape(&self) -> Vec<usize> {
        let extent = |extent: &Extent| match extent {
            Extent::Batch => None,
            Extent::Fixed(extent) => Some(*extent),
        };
        self.extents.iter().filter_map(extent).collect()
    }
}

/// A network that comes as a file, as the file describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// What it reads, in the file's order.
    pub inputs: Vec<GraphInput>,
    /// The arithmetic that most of its products are done in, as the file has them.
    pub precision: Precision,
    /// The samples that the file fixes a batch at; `None` where they can be chosen.
    pub fixed_batch: Option<usize>,
}

/// A shape as people write it: `3x224x224`; empty for a scalar.
pub fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// The work of one forward pass over one sample, computed from the architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCost {
    /// Parameters, those included that training leaves alone; shared ones count once.
    pub parameter_count: u64,
    /// Multiply-adds of convolutions, linear layers and both attention products.
    pub multiply_adds: u64,
    /// Elements that convolutions, linear layers and both attention products write.
    pub activation_count: u64,
}

/// A tensor in host memory, with the name of the model's input or output that it is.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// `image`, `ids`, `logits`, ...
    pub name: String,
    /// The full shape, batch dimension included.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub data: HostData,
}

impl HostTensor {
    /// Some samples of it, from `begin` to before `end`; the first dimension is the batch.
    ///
    /// # Panics
    ///
    /// There are not as many.
    pub fn samples(&self, begin: usize, end: usize) -> Self {
        let count = self.shape.first().copied().unwrap_or(0).max(1);
        let size = self.data.len() / count;
        let range = begin * size..end * size;
        let data = match &self.data {
            HostData::F32(values) => HostData::F32(values[range].to_vec()),
            HostData::I64(values) => HostData::I64(values[range].to_vec()),
        };
        let shape = std::iter::once(end - begin).chain(self.shape.iter().skip(1).copied()).collect();
        Self { name: self.name.clone(), shape, data }
    }

    /// Whether every element is a number; integers are.
    pub fn is_finite(&self) -> bool {
        match &self.data {
            HostData::F32(values) => values.iter().all(|value| value.is_finite()),
            HostData::I64(_) => true,
        }
    }
}

/// Pictures with their right answers.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledBatch {
    /// The input `image`: `[batch, 3, height, width]`, pre-processed.
    pub image: HostTensor,
    /// The class of every picture, from 0 on.
    pub labels: Vec<usize>,
}

/// The elements of a [`HostTensor`].
#[derive(Clone, Debug, PartialEq)]
pub enum HostData {
    /// Single-precision floats.
    F32(Vec<f32>),
    /// Integers (token ids, classes).
    I64(Vec<i64>),
}

impl HostData {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
