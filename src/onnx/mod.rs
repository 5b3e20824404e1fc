//! ONNX files, read for what they are: what they take, how big they are, how much they compute and in which arithmetic.
//!
//! This layer reads the messages of a file and never its weights; it runs nothing and knows no engine. Its own reader of
//! protocol buffers keeps it independent of the libraries that execute: a build without tract describes files, too, and a
//! description takes no memory, however many gigabytes of weights there are.

mod batch;
mod constants;
mod error;
mod file;
mod infer;
mod inputs;
mod operators;
mod shapes;
mod types;
mod wire;
mod work;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::domain::run::{ModelRecord, ModelSource};
use crate::domain::{ElementType, Graph, GraphInput, InputSpec, Precision};
use file::{Dimension, ModelFile};
use infer::Known;
use work::{Products, Sources, Work};

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

    /// The bytes of its weights, wherever they lie.
    pub fn weight_bytes(&self) -> u64 {
        work::weight_bytes(&self.model)
    }

    /// The arithmetic in which most of its products are done, each counting alike; `None` where there are none.
    pub fn arithmetic(&self) -> Option<Precision> {
        self.work(None, 1).precision
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
        let found = inputs::resolve(&self.path, graph, shapes, like.map(|specs| (name, specs)), &self.tables())?;
        let batch = found.fixed_batch.unwrap_or(1).max(1);
        let work = self.work(Some(&found.of_file), batch);
        let each = |of_batch: u64| of_batch / batch as u64;
        let precision = match work.precision {
            Some(precision) => precision,
            None => self.precision_of_inputs().ok_or_else(|| GraphError::Arithmetic { path: self.path.clone() })?,
        };
        Ok(Described {
            graph: Graph { inputs: found.of_file, precision, fixed_batch: found.fixed_batch },
            inputs: found.made,
            record: ModelRecord {
                name: name.to_owned(),
                family: None,
                category: None,
                task: None,
                source: ModelSource::Onnx,
                parameter_count: Some(work::parameter_count(&self.model)),
                multiply_adds: work.multiply_adds.map(each),
                activation_count: work.activation_count.map(each),
            },
        })
    }

    /// What the graph computes over a batch of this size; with inputs of any shape where none are given.
    fn work(&self, given: Option<&[GraphInput]>, batch: usize) -> Work {
        let mut extents = HashMap::new();
        let mut inputs = Vec::new();
        for (at, info) in inputs::given(&self.model.graph).into_iter().enumerate() {
            let input = given.and_then(|given| given.get(at));
            let shape: Option<Vec<i64>> =
                input.map(|input| input.shape(batch).into_iter().map(|extent| extent as i64).collect());
            for (dimension, extent) in info.dimensions.iter().flatten().zip(shape.iter().flatten()) {
                if let Dimension::Named(name) = dimension {
                    extents.insert(name.clone(), *extent);
                }
            }
            inputs.push((info.name.clone(), Known { element: Some(info.element), shape, ..Known::default() }));
        }
        let (mut products, mut sources) = (Products::default(), Sources::default());
        infer::walk(&self.model, &inputs, &extents, &mut |node, operands, results| {
            sources.visit(node, operands);
            products.visit(node, operands, results, &sources);
        });
        products.total()
    }

    /// The arithmetic of a graph without products: that of its first input of floats.
    fn precision_of_inputs(&self) -> Option<Precision> {
        let elements = inputs::given(&self.model.graph).into_iter().map(|input| file::element_type(input.element));
        match elements.flatten().find(|element| element.is_float()) {
            Some(ElementType::F64) => None,
            Some(ElementType::F16) => Some(Precision::Fp16),
            Some(ElementType::Bf16) => Some(Precision::Bf16),
            _ => Some(Precision::Fp32),
        }
    }

    /// The rows of the table that an input of integers looks up.
    fn tables(&self) -> HashMap<String, usize> {
        let tensors: HashMap<&str, &[i64]> =
            self.model.graph.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
        // The input behind a value that holds its elements unchanged.
        let mut origins: HashMap<&str, &str> =
            self.model.graph.inputs.iter().map(|input| (input.name.as_str(), input.name.as_str())).collect();
        // The tensor behind a table that is restored from integers.
        let mut restored: HashMap<&str, &str> = HashMap::new();
        let mut tables: HashMap<String, usize> = HashMap::new();
        for node in &self.model.graph.nodes {
            let mut look_up = |table: usize, places: usize| {
                let (Some(table), Some(places)) = (node.input(table), node.input(places)) else { return };
                let shape = tensors.get(restored.get(table).unwrap_or(&table));
                let rows = shape.filter(|shape| shape.len() == 2).and_then(|shape| usize::try_from(shape[0]).ok());
                if let (Some(rows), Some(input)) = (rows, origins.get(places)) {
                    let known = tables.entry((*input).to_owned()).or_insert(rows);
                    *known = rows.min(*known);
                }
            };
            match (node.operator.as_str(), node.input(0), node.outputs.first()) {
                ("Gather", ..) if node.integer("axis").unwrap_or(0) == 0 => look_up(0, 1),
                ("EmbedLayerNormalization", ..) => {
                    look_up(2, 0);
                    look_up(4, 1);
                }
                ("Identity" | "Cast" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten", Some(from), Some(to)) => {
                    if let Some(input) = origins.get(from).copied() {
                        origins.insert(to, input);
                    }
                }
                ("DequantizeLinear", Some(from), Some(to)) => drop(restored.insert(to, from)),
                _ => {}
            }
        }
        tables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> OnnxFile {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/onnx").join(name);
        OnnxFile::read(&path).unwrap()
    }

    #[test]
    fn the_work_of_a_graph_is_counted_for_one_sample() {
        for name in ["cnn.onnx", "cnn-int8.onnx", "cnn-fp16.onnx", "fixed.onnx", "external.onnx"] {
            let record = fixture(name).describe("cnn", &[], None).unwrap().record;
            assert_eq!(record.parameter_count, Some(108 + 4 + 20 + 5), "{name}");
            assert_eq!(record.multiply_adds, Some(64 * 4 * 27 + 20), "{name}");
            assert_eq!(record.activation_count, Some(64 * 4 + 5), "{name}");
        }
    }

    #[test]
    fn an_operator_that_may_compute_anything_leaves_the_counts_open() {
        let record = fixture("custom.onnx").describe("custom", &[], None).unwrap().record;
        assert_eq!((record.multiply_adds, record.activation_count), (None, None));
    }

    #[test]
    fn arithmetic_is_that_of_the_products() {
        for (name, precision) in [
            ("cnn.onnx", Precision::Fp32),
            ("cnn-fp16.onnx", Precision::Fp16),
            ("cnn-int8.onnx", Precision::Int8),
            ("cnn-int8w.onnx", Precision::Int8w),
        ] {
            let file = fixture(name);
            assert_eq!(file.describe("cnn", &[], None).unwrap().graph.precision, precision, "{name}");
            assert_eq!(file.arithmetic(), Some(precision), "{name}, whatever its shapes");
        }
    }

    #[test]
    fn an_input_that_looks_up_a_table_stays_below_its_rows() {
        let shape = ShapeChoice { input: Some("tokens".to_owned()), extents: vec![1, 7] };
        let described = fixture("embedding.onnx").describe("embedding", &[shape], None).unwrap();
        let kinds: Vec<_> = described.inputs.iter().map(|spec| spec.kind).collect();
        assert_eq!(kinds[0], crate::domain::InputKind::Tokens { vocabulary: 11 });
        // Seven tokens of six numbers, projected to four.
        assert_eq!(described.record.multiply_adds, Some(7 * 6 * 4));
    }

    #[test]
    fn an_extent_in_front_is_the_batch_only_where_nothing_says_otherwise() {
        let choice =
            |input: &str, extents: &[usize]| ShapeChoice { input: Some(input.to_owned()), extents: extents.to_vec() };
        let shapes = |name: &str, choices: &[ShapeChoice], batch| {
            let graph = fixture(name).describe("x", choices, None).unwrap().graph;
            graph.inputs.iter().map(|input| input.shape(batch)).collect::<Vec<_>>()
        };
        // K stands behind N, too.
        let asked = [choice("a", &[1, 5]), choice("b", &[5, 7])];
        assert_eq!(shapes("product.onnx", &asked, 3), [[3, 5], [5, 7]]);
        // Nothing is known of M but that it is not the batch that was asked for.
        let asked = [choice("a", &[2, 4]), choice("b", &[5, 4])];
        assert_eq!(shapes("sides.onnx", &asked, 2), [[2, 4], [5, 4]]);
        assert_eq!(shapes("sides.onnx", &[], 3), [[3, 4], [3, 4]]);
        let contrary = [choice("a", &[1, 5]), choice("b", &[6, 7])];
        let refused = fixture("product.onnx").describe("x", &contrary, None).unwrap_err();
        assert!(refused.to_string().contains("calls two extents `K`"), "{refused}");
    }

    #[test]
    fn weights_count_wherever_they_lie() {
        assert_eq!(fixture("cnn.onnx").weight_bytes(), 137 * 4);
        assert_eq!(fixture("external.onnx").weight_bytes(), 137 * 4);
        assert_eq!(fixture("cnn-fp16.onnx").weight_bytes(), 137 * 2);
        assert_eq!(fixture("external.onnx").external_files().len(), 1);
    }
}
