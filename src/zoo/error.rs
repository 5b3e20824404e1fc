//! What can go wrong between a host's tensors, a weight file and a network.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::domain::model::shape_text;

/// The most names of one kind that a [`WeightMismatch`] prints.
const LISTED: usize = 10;

/// An error whose concrete type belongs to a library.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Inputs, targets or calls that a network cannot work with.
#[derive(Debug, Error)]
pub enum ZooError {
    /// The model needs an input that the batch does not hold.
    #[error("the input `{name}` is missing")]
    MissingInput {
        /// The input's name.
        name: String,
    },
    /// No model takes an input of this name.
    #[error("unknown input `{name}`")]
    UnknownInput {
        /// The name that was given.
        name: String,
    },
    /// The same input was given more than once.
    #[error("the input `{name}` is given twice")]
    RepeatedInput {
        /// The input's name.
        name: String,
    },
    /// An input's shape does not fit the model.
    #[error("the input `{name}` has the shape {found}, expected {expected}")]
    InputShape {
        /// The input's name.
        name: String,
        /// What would fit, as people write it; free dimensions are named.
        expected: String,
        /// The shape that was given.
        found: String,
    },
    /// An input holds more or fewer elements than its shape says.
    #[error("the input `{name}` holds {found} elements, its shape asks for {expected}")]
    InputLength {
        /// The input's name.
        name: String,
        /// The product of the dimensions.
        expected: usize,
        /// The number of elements given.
        found: usize,
    },
    /// An input holds floats where integers are needed, or the reverse.
    #[error("the input `{name}` must hold {expected}")]
    InputKind {
        /// The input's name.
        name: String,
        /// `floats` or `integers`.
        expected: &'static str,
    },
    /// A token id that the vocabulary does not have.
    #[error("token {token} of the input `{name}` is outside of the vocabulary of {vocabulary}")]
    TokenRange {
        /// The input's name.
        name: String,
        /// The first id that is out of range.
        token: i64,
        /// The number of distinct tokens.
        vocabulary: usize,
    },
    /// Targets of another task, or of another batch size.
    #[error("the targets do not fit the model: expected {expected}")]
    Targets {
        /// What the model's loss needs.
        expected: &'static str,
    },
    /// A forward pass before any weights were loaded.
    #[error("the network has no weights yet")]
    NoWeights,
    /// A training step on a device that records no gradients.
    #[error("the network was built on a device without gradients")]
    NoGradients,
    /// A network that classifies or embeds was asked to write.
    #[error("the network does not write tokens")]
    NoWriter,
    /// A phase of a training step was called before the one it needs.
    #[error("`{phase}` was called before `{needed}`")]
    PhaseOrder {
        /// The phase that was called.
        phase: &'static str,
        /// The phase that must come before it.
        needed: &'static str,
    },
    /// The device did not hand a tensor over.
    #[error("cannot read `{name}` from the device")]
    Read {
        /// The tensor's name.
        name: String,
        /// What Burn says.
        #[source]
        source: Cause,
    },
}

impl ZooError {
    /// The way out, where there is one.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::UnknownInput { .. } => {
                "the inputs are called `image`, `ids`, `decoder_ids` or `mel`; `benchdb models` lists them".to_owned()
            }
            Self::InputShape { .. } => {
                "the first dimension is the batch; images are channels, height, width".to_owned()
            }
            Self::TokenRange { .. } => {
                "the ids come from the tokenizer of another model; use the one of this model".to_owned()
            }
            Self::NoWeights => "load a weight file or seeded weights first".to_owned(),
            Self::NoGradients => "build the network on `device.autodiff()` to train it".to_owned(),
            _ => return None,
        };
        Some(text)
    }
}

/// Weights that could not be read, or do not fit the network.
#[derive(Debug, Error)]
pub enum WeightError {
    /// The file cannot be opened.
    #[error("cannot read the weights `{path}`", path = path.display())]
    Unreadable {
        /// The weight file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The file's extension names no format that is known.
    #[error("the weights `{path}` are in no known format", path = path.display())]
    Extension {
        /// The weight file.
        path: PathBuf,
    },
    /// The file is not what its extension says, or is damaged.
    #[error("the weights `{path}` cannot be understood", path = path.display())]
    Malformed {
        /// The weight file.
        path: PathBuf,
        /// What the reader of the format says.
        #[source]
        source: Cause,
    },
    /// Names, shapes or element types differ from the network's.
    #[error("the weights do not fit the network: {0}")]
    Mismatch(Box<WeightMismatch>),
    /// A tensor that fits by name and shape could not be put into the network.
    #[error("cannot load the tensor `{name}`")]
    Apply {
        /// The tensor's reference name.
        name: String,
        /// What Burn says.
        #[source]
        source: Cause,
    },
    /// The network took fewer tensors than it has.
    #[error("the tensor `{name}` did not reach the network")]
    NotApplied {
        /// The tensor's reference name.
        name: String,
    },
    /// The device did not hand a parameter over.
    #[error("cannot read the parameter `{name}` from the device")]
    Read {
        /// The tensor's reference name.
        name: String,
        /// What Burn says.
        #[source]
        source: Cause,
    },
}

impl WeightError {
    /// The way out, where there is one.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Extension { .. } => "name the file `.safetensors`, `.pt`, `.pth` or `.bin`, after what it holds",
            Self::Malformed { .. } => "a file of a few hundred bytes is often a Git LFS pointer: fetch the real one",
            Self::Mismatch(found) if found.missing.is_empty() && found.misshapen.is_empty() => {
                "the file holds more than the network: is it of another variant?"
            }
            Self::Mismatch(_) => {
                "the names are those of the reference (torchvision, transformers); \
                 is the file of this model?"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// Every way in which a set of weights differs from what a network needs, by reference names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightMismatch {
    /// Tensors of the network that the source lacks.
    pub missing: Vec<String>,
    /// Tensors of the source that the network does not have, as the source names them.
    pub unused: Vec<String>,
    /// Tensors of another shape.
    pub misshapen: Vec<Misshapen>,
    /// Tensors that hold no floats.
    pub mistyped: Vec<Mistyped>,
}

/// A tensor whose shape is not the network's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// The reference name.
    pub name: String,
    /// The network's shape, in the reference's layout.
    pub expected: Vec<usize>,
    /// The source's shape.
    pub found: Vec<usize>,
}

/// A tensor whose element type cannot be a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistyped {
    /// The reference name.
    pub name: String,
    /// The source's element type.
    pub found: String,
}

impl WeightMismatch {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.misshapen.is_empty() && self.mistyped.is_empty()
    }
}

impl fmt::Display for WeightMismatch {
    /// `2 missing (`a`, `b`); 1 misshapen (`c`: expected 3x3, found 5x5)`; at most ten names of a kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &String| format!("`{name}`");
        let kinds = [
            listed("missing", self.missing.iter().map(quoted).collect()),
            listed("unused", self.unused.iter().map(quoted).collect()),
            listed("misshapen", self.misshapen.iter().map(Misshapen::to_string).collect()),
            listed("mistyped", self.mistyped.iter().map(Mistyped::to_string).collect()),
        ];
        let text: Vec<String> = kinds.into_iter().flatten().collect();
        f.write_str(&text.join("; "))
    }
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected {}, found {}", self.name, readable_shape(&self.expected), readable_shape(&self.found))
    }
}

impl fmt::Display for Mistyped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected floats, found {}", self.name, self.found)
    }
}

/// A shape for a message; a scalar has no dimensions to print.
pub(super) fn readable_shape(shape: &[usize]) -> String {
    if shape.is_empty() { "a scalar".to_owned() } else { shape_text(shape) }
}

/// `3 missing (a, b, c)`, cut after [`LISTED`] items; `None` where there are none.
fn listed(kind: &str, items: Vec<String>) -> Option<String> {
    if items.is_empty() {
        return None;
    }
    let shown = items.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    let rest = items.len().saturating_sub(LISTED);
    let more = if rest > 0 { format!(", and {rest} more") } else { String::new() };
    Some(format!("{} {kind} ({shown}{more})", items.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatch_lists_ten_names_and_the_count() {
        let mismatch = WeightMismatch {
            missing: (0..12).map(|i| format!("m{i}")).collect(),
            misshapen: vec![Misshapen { name: "fc.weight".into(), expected: vec![10, 256], found: vec![] }],
            ..WeightMismatch::default()
        };
        let text = mismatch.to_string();
        assert!(text.starts_with("12 missing (`m0`, `m1`"), "{text}");
        assert!(text.contains("`m9`, and 2 more)"), "{text}");
        assert!(text.ends_with("1 misshapen (`fc.weight`: expected 10x256, found a scalar)"), "{text}");
        assert!(!text.contains("unused"));
    }

    #[test]
    fn mismatch_has_a_hint() {
        let error = WeightError::Mismatch(Box::new(WeightMismatch {
            missing: vec!["fc.bias".into()],
            ..WeightMismatch::default()
        }));
        assert!(error.hint().unwrap().contains("reference"));
    }
}
