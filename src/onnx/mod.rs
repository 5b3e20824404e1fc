//! ONNX files, read for what they are: what they take, how big they are, how much they compute and in which arithmetic.
//!
//! This layer reads the messages of a file and never its weights; it runs nothing and knows no engine. Its own reader of
//! protocol buffers keeps it independent of the libraries that execute: a build without tract describes files, too, and a
//! description takes no memory, however many gigabytes of weights there are.

mod error;
mod file;
mod inputs;
mod wire;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::domain::run::{ModelRecord, ModelSource};
use crate::domain::{Graph, InputSpec, Precision};
use file::ModelFile;

pub use error::GraphError;
pub use inputs::ShapeChoice;

/// The ending of ONNX files.
const ENDING: &str = "onnx";

/// Whether a file is ONNX by its ending.
pub fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING))
}

/// A file that was read.
#[derive(Debug)]
pub struct OnnxFile {
    path: PathBuf,
    model: ModelFile,
}

/// A network in a file, ready to be planned.
#[derive(Clone, Debug)]
pub struct Described {
    /// What it reads and computes in.
    pub graph: Graph,
    /// What is made for its inputs, in the same order.
    pub inputs: Vec<InputSpec>,
    /// What the database keeps of it, under this name.
    pub record: ModelRecord,
}

impl OnnxFile {
    /// Reads what a file says of itself.
    ///
    /// # Errors
    /// A file that cannot be read, is no ONNX, is cut off or broken, or keeps its weights in a file that is not there.
    pub fn read(path: &Path) -> Result<Self, GraphError> {
        Ok(Self { path: path.to_owned(), model: file::read(path)? })
    }

    /// The names of its inputs.
    pub fn input_names(&self) -> Vec<String> {
        inputs::given(&self.model.graph).iter().map(|input| input.name.clone()).collect()
    }

    /// The version of the standard operators that it is written in; 1 where it does not say.
    pub fn operator_set(&self) -> i64 {
        self.model.operator_sets.get("").copied().unwrap_or(1)
    }

    /// The files that hold its weights besides.
    pub fn external_files(&self) -> Vec<PathBuf> {
        file::external_paths(&self.path, &self.model)
    }

    /// What it is with these shapes, under the name `name`. What they leave open is taken from `like`, the inputs of the
    /// zoo's model of that name, where it is said to be one.
    ///
    /// # Errors
    /// Shapes that stay open or do not fit, inputs that cannot be made, or that are not those of the zoo's model.
    pub fn describe(
        &self,
        name: &str,
        shapes: &[ShapeChoice],
        like: Option<&[InputSpec]>,
    ) -> Result<Described, GraphError> {
        let graph = &self.model.graph;
        let tables = HashMap::new();
        let found = inputs::resolve(&self.path, graph, shapes, like.map(|specs| (name, specs)), &tables)?;
        Ok(Described {
            graph: Graph { inputs: found.of_file, precision: Precision::Fp32, fixed_batch: found.fixed_batch },
            inputs: found.made,
            record: ModelRecord {
                name: name.to_owned(),
                family: None,
                category: None,
                task: None,
                source: ModelSource::Onnx,
                parameter_count: None,
                multiply_adds: None,
                activation_count: None,
            },
        })
    }
}
