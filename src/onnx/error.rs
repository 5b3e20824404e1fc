//! What keeps a file from being a network that can be measured.

use std::path::PathBuf;

/// An error of an ONNX file.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is something else.
    #[error("`{}` is no ONNX file", path.display())]
    NotOnnx {
        /// The file.
        path: PathBuf,
    },
    /// Its end is missing.
    #[error("`{}` is cut off: it ends before what it announces", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// A part of it is broken.
    #[error("`{}` is broken: {what}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: String,
    },
    /// Its weights lie in a file that is not there.
    #[error("`{}` keeps its weights in `{}`, which cannot be read", path.display(), missing.display())]
    ExternalData {
        /// The file.
        path: PathBuf,
        /// The other one.
        missing: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// An input that no number can be made for.
    #[error("`{}` has the input `{input}` of {kind}, which cannot be made", path.display())]
    InputType {
        /// The file.
        path: PathBuf,
        /// The input.
        input: String,
        /// What it is.
        kind: String,
    },
    /// Numbers of a kind that no precision stands for.
    #[error("`{}` computes in a type that benchdb has no precision for", path.display())]
    Arithmetic {
        /// The file.
        path: PathBuf,
    },
    /// Extents that nobody named.
    #[error("`{}` leaves the shape of `{input}` open: {shape}", path.display())]
    OpenShape {
        /// The file.
        path: PathBuf,
        /// The input.
        input: String,
        /// Its shape as the file has it.
        shape: String,
        /// The option that closes it.
        example: String,
    },
    /// A shape that the file does not take.
    #[error("`{}` does not take the shape {asked} for `{input}`, which is {shape}", path.display())]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// The input.
        input: String,
        /// What was asked for.
        asked: String,
        /// Its shape as the file has it.
        shape: String,
    },
    /// A shape for something else.
    #[error("no ONNX file of this plan has an input `{input}`")]
    NoSuchInput {
        /// What was named.
        input: String,
        /// The inputs that there are.
        known: Vec<String>,
    },
    /// Two shapes that differ where the file has one name.
    #[error("`{}` calls two extents `{name}`, and the shapes make one {} and the other {}", path.display(), extents[0], extents[1])]
    OneNameTwoExtents {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// What was asked for.
        extents: [usize; 2],
    },
    /// A batch in a shape that is not among those that were asked for.
    #[error("the shape {asked} for `{input}` has a batch of {batch}, which is not among the batch sizes")]
    OtherBatch {
        /// The input.
        input: String,
        /// The shape.
        asked: String,
        /// Its batch.
        batch: usize,
    },
    /// A file that is said to be a model of the zoo and is of another size.
    #[error("`{}` has {found} parameters, and {model} has {expected}", path.display())]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The model.
        model: String,
        /// The file's parameters.
        found: u64,
        /// The model's.
        expected: u64,
    },
    /// A file that is said to be a model of the zoo and reads something else.
    #[error("`{}` does not read what {model} reads: {difference}", path.display())]
    OtherInputs {
        /// The file.
        path: PathBuf,
        /// The model.
        model: String,
        /// What differs.
        difference: String,
    },
}

impl GraphError {
    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => "check the path and its permissions".to_owned(),
            Self::NotOnnx { .. } => "export the network with torch.onnx.export, or by tools/export_onnx.py".to_owned(),
            Self::Truncated { .. } | Self::Broken { .. } => "copy or export it again".to_owned(),
            Self::ExternalData { .. } => "keep the files of the export together, under their own names".to_owned(),
            Self::InputType { .. } => "inputs of numbers and truth values can be made".to_owned(),
            Self::Arithmetic { .. } => "export it in fp32, fp16 or bf16, or quantise it to 8 bits".to_owned(),
            Self::OpenShape { example, .. } => format!("name its extents: `{example}`"),
            Self::WrongShape { .. } => {
                "`--shape NAME=1,3,224,224` names all extents; that of the batch comes from `--batch-sizes`".to_owned()
            }
            Self::NoSuchInput { known, .. } if known.is_empty() => {
                "`--shape` is for ONNX files: `--model FILE.onnx`".to_owned()
            }
            Self::NoSuchInput { known, .. } => format!("there are {}", known.join(", ")),
            Self::OneNameTwoExtents { .. } => {
                "name one extent in both: `--shape`, or the tensors of `--input`".to_owned()
            }
            Self::OtherBatch { batch, .. } => format!("`--batch-sizes {batch}`, or 1 in its place in `--shape`"),
            Self::OtherModel { .. } => {
                "give it a name of its own: `--model NAME=FILE.onnx`; a version of the model that was made smaller or \
                 larger is a variant: `--model VARIANT=MODEL:FILE.onnx`"
                    .to_owned()
            }
            Self::OtherInputs { .. } => "give it a name of its own: `--model NAME=FILE.onnx`".to_owned(),
        })
    }
}
