//! What can go wrong while a variant is made.

use thiserror::Error;

use crate::zoo::error::Cause;
use crate::zoo::{WeightError, ZooError};

/// Options, weights or data of which no variant can be made.
#[derive(Debug, Error)]
pub enum OptimizeError {
    /// An option outside of its range.
    #[error("the {option} {value} is not {expected}")]
    Option {
        /// What it is called: `share`, `temperature`, ...
        option: &'static str,
        /// What was given.
        value: f64,
        /// The range.
        expected: &'static str,
    },
    /// A network in which every channel is joined to others.
    #[error("no channels of this network can be taken out")]
    FixedChannels,
    /// A tensor that the network's layers need is not there, or has another shape.
    #[error("the weights hold no tensor `{name}` of {expected}")]
    Tensor {
        /// The tensor's reference name.
        name: String,
        /// What would fit.
        expected: String,
    },
    /// Weights that cannot be compared or counted in steps.
    #[error("the tensor `{name}` holds values that are not finite numbers")]
    NotFinite {
        /// The tensor's reference name.
        name: String,
    },
    /// The format of weight files cannot hold the tensors.
    #[error("the weights cannot be written as safetensors")]
    Serialize {
        /// What the writer of the format says.
        #[source]
        source: Cause,
    },
    /// Pictures that could not be had.
    #[error("cannot read the pictures to learn from")]
    Data {
        /// What their reader says.
        #[source]
        source: Cause,
    },
    /// Nothing to learn from.
    #[error("there are no pictures to learn from")]
    NoData,
    /// A batch that is not what was asked for.
    #[error("a batch of {asked} pictures came with {pictures} pictures and {labels} labels")]
    BatchSize {
        /// How many were asked for.
        asked: usize,
        /// Pictures that came.
        pictures: usize,
        /// Labels that came.
        labels: usize,
    },
    /// A label that the student cannot give.
    #[error("a picture has the label {label}, and the student tells {classes} classes apart")]
    Label {
        /// The label, from 0 on.
        label: usize,
        /// The student's classes.
        classes: usize,
    },
    /// Teacher and student sort into different classes.
    #[error("the teacher tells {teacher} classes apart, the student {student}")]
    TeacherClasses {
        /// The teacher's classes.
        teacher: usize,
        /// The student's.
        student: usize,
    },
    /// The teacher does not work on pictures of the student's size.
    #[error("the teacher cannot take the student's pictures")]
    TeacherInput {
        /// What the teacher says.
        #[source]
        source: ZooError,
    },
    /// The teacher does not classify.
    #[error("the teacher gives no logits of classes")]
    TeacherOutput,
    /// A teacher that would learn itself.
    #[error("the teacher was built on a device with gradients")]
    TeacherGradients,
    /// A training that left the numbers.
    #[error("the loss of step {step} in epoch {epoch} is not a finite number")]
    Diverged {
        /// From 1 on.
        epoch: usize,
        /// From 1 on.
        step: usize,
    },
    /// Whoever follows the progress asked to stop.
    #[error("the training was stopped")]
    Stopped,
    /// A network refused its inputs or targets.
    #[error(transparent)]
    Network(#[from] ZooError),
    /// Weights could not be loaded or read.
    #[error(transparent)]
    Weights(#[from] WeightError),
}

impl OptimizeError {
    /// The way out, where there is one.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::FixedChannels => "prune single weights by magnitude instead: the file gets no faster, but sparser",
            Self::Tensor { .. } => "take the weights from a network that loaded them",
            Self::NotFinite { .. } => "the file is damaged, or its training diverged",
            Self::NoData => "the folder or file of pictures is empty, or holds none that could be read",
            Self::Label { .. } => "the pictures must be sorted into the classes of the student, in its order",
            Self::TeacherClasses { .. } => "take a teacher that was trained on the same classes",
            Self::TeacherInput { .. } => {
                "teacher and student see the same pictures, at the size of the student: take a teacher of that size, \
                 or one that takes any (`resnet18`, `resnet50`, `mobilenet_v2`)"
            }
            Self::TeacherOutput => "only image classifiers can teach",
            Self::TeacherGradients => "build the teacher on the plain device",
            Self::Diverged { .. } => "lower the learning rate",
            Self::Network(error) => return error.hint(),
            Self::Weights(error) => return error.hint(),
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// An option, if it is in its range.
///
/// # Errors
///
/// [`OptimizeError::Option`] where it is not; NaN is in no range.
pub(super) fn checked(
    option: &'static str,
    value: f64,
    in_range: bool,
    expected: &'static str,
) -> Result<f64, OptimizeError> {
    if in_range { Ok(value) } else { Err(OptimizeError::Option { option, value, expected }) }
}

/// A share of 0 to 1.
///
/// # Errors
///
/// [`OptimizeError::Option`] where it is not.
pub(super) fn checked_share(option: &'static str, value: f64) -> Result<f64, OptimizeError> {
    checked(option, value, (0.0..=1.0).contains(&value), "between 0 and 1")
}
