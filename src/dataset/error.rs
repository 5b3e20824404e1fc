//! What can go wrong with a test set.

use crate::domain::model::shape_text;
use crate::exchange::tensors::TensorFileError;

use super::picture::PictureError;

/// An error of the dataset layer.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The model sorts no pictures into classes, as far as benchdb knows.
    #[error("there is no published pre-processing of pictures for the model `{model}`")]
    NoPreprocessing {
        /// The model.
        model: String,
    },
    /// The model is to see other pictures than those it was published with.
    #[error("`{model}` takes {} here, its published pre-processing makes {}", shape_text(found), shape_text(expected))]
    InputShape {
        /// The model.
        model: String,
        /// The shape of one sample as it is to be measured.
        found: Vec<usize>,
        /// The shape that comes out of the pre-processing.
        expected: Vec<usize>,
    },
    /// A file or folder cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file or folder.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// None of the formats.
    #[error("`{path}` is no test set: neither class folders with pictures, nor CIFAR-10's binary files, nor an .npz")]
    Unknown {
        /// The path.
        path: String,
    },
    /// Pictures without folders that say their classes.
    #[error("`{path}` holds pictures but no class folders")]
    NoClassFolders {
        /// The folder.
        path: String,
    },
    /// Nothing to evaluate.
    #[error("`{path}` holds no sample")]
    Empty {
        /// The folder or file.
        path: String,
    },
    /// A set in parts, and the one that is needed is missing.
    #[error("`{path}` has no {wanted} part, it has {found}")]
    NoSplit {
        /// The folder.
        path: String,
        /// `test` or `train`.
        wanted: &'static str,
        /// What there is.
        found: String,
    },
    /// A folder that holds itself.
    #[error("`{path}` links back to a folder that it lies in")]
    Loop {
        /// The link.
        path: String,
    },
    /// As many classes as the model does not have.
    #[error("`{path}` has {found} classes ({names}), the model has {expected}")]
    ClassCount {
        /// The set.
        path: String,
        /// Its classes.
        found: usize,
        /// The first of their names.
        names: String,
        /// The classes of the model.
        expected: usize,
    },
    /// Two folders of one class.
    #[error("the folders `{first}` and `{second}` in `{path}` are both class {class}")]
    TwiceClass {
        /// The set.
        path: String,
        /// The one folder.
        first: String,
        /// The other.
        second: String,
        /// Their class.
        class: usize,
    },
    /// A class that the model does not have.
    #[error("{what} in `{path}` has the class {label}, the model has the classes 0 to {}", labels.saturating_sub(1))]
    Label {
        /// The set.
        path: String,
        /// Which sample or folder.
        what: String,
        /// Its class.
        label: i64,
        /// The number of classes that there are.
        labels: usize,
    },
    /// A picture that cannot be used.
    #[error("the picture `{path}` cannot be used")]
    Picture {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: PictureError,
    },
    /// A CIFAR-10 file of an impossible size.
    #[error("`{path}` has {bytes} bytes, which is no whole number of CIFAR-10's records of 3073 bytes")]
    Records {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// The archive is broken.
    #[error("cannot read the archive `{path}`")]
    Archive {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: zip::result::ZipError,
    },
    /// An archive without pictures or classes.
    #[error("`{path}` has no array `{name}`, it has {found}")]
    MissingArray {
        /// The file.
        path: String,
        /// What is missing.
        name: &'static str,
        /// What there is.
        found: String,
    },
    /// An array that cannot be used.
    #[error("the array `{name}` in `{path}` {problem}")]
    Array {
        /// The file.
        path: String,
        /// The array.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
        /// The way out.
        hint: &'static str,
    },
    /// An array that cannot be read.
    #[error(transparent)]
    Tensor(#[from] TensorFileError),
    /// Floats that no pre-processing makes.
    #[error("sample {sample} of `{path}` holds the value {value}, which the pre-processing of the model cannot make")]
    Value {
        /// The file.
        path: String,
        /// The sample, from 0.
        sample: usize,
        /// The value.
        value: f32,
    },
    /// Nothing that a network could read.
    #[error("`{path}` holds no picture and no tensor")]
    NoInputs {
        /// The folder.
        path: String,
    },
    /// NaN or infinity where a network is to read.
    #[error("the tensor `{name}` of `{path}` holds values that are not finite")]
    NotFinite {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
    },
    /// Tensors of one file that do not belong together.
    #[error("the tensors of `{path}` are not of the same samples: `{first}` has {ours}, `{name}` {theirs}")]
    SampleCount {
        /// The file.
        path: String,
        /// The first tensor.
        first: String,
        /// Its samples.
        ours: usize,
        /// Another tensor.
        name: String,
        /// Its samples.
        theirs: usize,
    },
    /// Outputs that are no logits of these samples.
    #[error("logits of the shape {} for {samples} samples of {classes} classes", shape_text(found))]
    Logits {
        /// The shape that the model gave.
        found: Vec<usize>,
        /// The samples.
        samples: usize,
        /// The classes of the model.
        classes: usize,
    },
}

impl DatasetError {
    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoPreprocessing { .. } => {
                "`--data` and pictures are for the image classifiers cifar_cnn, mobilenet_v2, resnet18, resnet50 and vit_b_16"
            }
            Self::InputShape { .. } => "leave out the other input shape, or leave out `--data`",
            Self::Read { .. } => "check the path, its permissions and that it can be read to its end",
            Self::Unknown { .. } => {
                "docs/datasets.md shows the layouts; CIFAR-10 is read in its binary version, not as Python pickles"
            }
            Self::NoClassFolders { .. } => "put the pictures into one folder a class: `cat/1.png`, `dog/2.png`",
            Self::Empty { .. } => "pictures end in .png, .jpg or .jpeg and lie in the folder of their class",
            Self::NoSplit { .. } => "give the folder or file of the part that you mean",
            Self::Loop { .. } => "remove the link",
            Self::ClassCount { .. } => {
                "take a set of the model's classes; for a part of them, name the folders by class number: `0`, `207`"
            }
            Self::TwiceClass { .. } => "keep one of them",
            Self::Label { .. } => "take a set of the model's classes; they are counted from 0",
            Self::Picture { source: PictureError::DeepGrey, .. } => "save it with 8 bits a channel",
            Self::Picture { .. } => "remove or replace it",
            Self::Records { .. } => "it is truncated or no CIFAR-10 file: copy it again",
            Self::Archive { .. } => "write it with numpy.savez(images=..., labels=...)",
            Self::MissingArray { .. } => "write it with numpy.savez(images=..., labels=...)",
            Self::Array { hint, .. } => hint,
            Self::Tensor(error) => return error.hint(),
            Self::Value { .. } => {
                "floats are taken as pre-processed already; give uint8 pictures to have it done as published"
            }
            Self::NoInputs { .. } => "files end in .png, .jpg, .jpeg, .npy or .npz",
            Self::NotFinite { .. } => "look for NaN and infinity in what wrote the file: `numpy.isfinite(x).all()`",
            Self::SampleCount { .. } => "the first dimension is the batch: give one of each for every sample",
            Self::Logits { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
