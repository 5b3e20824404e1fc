//! What a network is, apart from any software that runs it: its name, what it takes, what it costs.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

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
}

impl InputKind {
    /// The number of distinct tokens; `None` for floats.
    pub fn vocabulary(self) -> Option<usize> {
        match self {
            Self::Float => None,
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

/// A shape as people write it: `3x224x224`; empty for a scalar.
pub fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// The work of one forward pass over one sample, computed from the architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCost {
    /// Trainable parameters; shared ones count once.
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
