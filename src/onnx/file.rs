//! The messages of an ONNX file: what its graph says, without the weights.
//!
//! Source of the field numbers: `onnx.proto3` of the ONNX project, <https://github.com/onnx/onnx>.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::GraphError;
use super::shapes::MOST_EXTENT;
use super::wire::{Span, Value, Wire, WireError};
use crate::domain::ElementType;

/// The most elements of a tensor that are read: shapes, axes and the like have few.
const MOST_ELEMENTS: u64 = 256;

/// The longest blob that is read, in bytes, behind [`MOST_ELEMENTS`] elements.
const LONGEST_BLOB: u64 = 8 * MOST_ELEMENTS;

/// How deep messages of graphs may lie in each other.
const DEEPEST: u32 = 32;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct ModelFile {
    /// The version of each operator set, by its domain; the standard one is ``.
    pub operator_sets: HashMap<String, i64>,
    /// The graph.
    pub graph: GraphMessage,
    /// Functions that the file defines, by domain and name.
    pub functions: HashMap<(String, String), FunctionMessage>,
    /// The files that hold weights besides, relative to the file's folder.
    pub external: BTreeSet<String>,
}

/// A graph.
#[derive(Debug, Default)]
pub(super) struct GraphMessage {
    pub nodes: Vec<Node>,
    pub inputs: Vec<ValueInfo>,
    pub outputs: Vec<ValueInfo>,
    pub values: Vec<ValueInfo>,
    pub tensors: Vec<Tensor>,
}

/// A function that the file defines.
#[derive(Debug, Default)]
pub(super) struct FunctionMessage {
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub nodes: Vec<Node>,
}

/// An operator with its operands.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub operator: String,
    /// `` for the standard operators, and for `ai.onnx`, which is the same.
    pub domain: String,
    pub attributes: HashMap<String, Attribute>,
}

/// An attribute of an operator.
#[derive(Debug)]
pub(super) enum Attribute {
    Integer(i64),
    Integers(Vec<i64>),
    Float(f32),
    Text(String),
    Tensor(Tensor),
    /// Anything else, graphs among it.
    Other,
}

impl Node {
    /// The operand at this place; `None` where it is left out.
    pub fn input(&self, at: usize) -> Option<&str> {
        self.inputs.get(at).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// An integer attribute.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.attributes.get(name) {
            Some(Attribute::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// A list of integers.
    pub fn integers(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name) {
            Some(Attribute::Integers(values)) => Some(values),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attributes.get(name) {
            Some(Attribute::Text(value)) => Some(value),
            _ => None,
        }
    }
}

/// A value that has a type.
#[derive(Clone, Debug, Default)]
pub(super) struct ValueInfo {
    pub name: String,
    /// ONNX's number of the element type; 0 for what is no tensor.
    pub element: i64,
    /// `None` where not even the rank is known.
    pub dimensions: Option<Vec<Dimension>>,
}

/// An extent in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dimension {
    Fixed(i64),
    Named(String),
    Unknown,
}

/// A tensor that the file holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Tensor {
    pub name: String,
    pub element: i64,
    pub shape: Vec<i64>,
    /// Its elements, where they are few integers.
    pub integers: Option<Vec<i64>>,
    /// Its elements, where they are few floats of single precision.
    pub floats: Option<Vec<f32>>,
}

impl Tensor {
    /// How many elements it has.
    pub fn len(&self) -> u64 {
        self.shape.iter().fold(1_u64, |all, &extent| all.saturating_mul(u64::try_from(extent).unwrap_or(0)))
    }
}

/// The element type of ONNX's number; `None` for texts, complex numbers, and floats of eight bits and fewer.
pub(super) fn element_type(number: i64) -> Option<ElementType> {
    Some(match number {
        1 => ElementType::F32,
        2 => ElementType::U8,
        3 => ElementType::I8,
        4 => ElementType::U16,
        5 => ElementType::I16,
        6 => ElementType::I32,
        7 => ElementType::I64,
        9 => ElementType::Bool,
        10 => ElementType::F16,
        11 => ElementType::F64,
        12 => ElementType::U32,
        13 => ElementType::U64,
        16 => ElementType::Bf16,
        _ => return None,
    })
}

/// What a person calls an element type.
pub(super) fn element_name(number: i64) -> String {
    match (element_type(number), number) {
        (Some(known), _) => format!("{known:?}").to_lowercase(),
        (None, 0) => "no tensor".to_owned(),
        (None, 8) => "texts".to_owned(),
        (None, 14 | 15) => "complex numbers".to_owned(),
        (None, number) => format!("element type {number}"),
    }
}

/// Reads the file at `path`.
///
/// # Errors
/// What [`GraphError`] says of a file that is none, is broken or lacks a part.
pub(super) fn read(path: &Path) -> Result<ModelFile, GraphError> {
    let unreadable = |source| GraphError::Unreadable { path: path.to_owned(), source };
    // Opening a pipe would wait for somebody who writes to it.
    let kind = std::fs::metadata(path).map_err(unreadable)?;
    if kind.is_dir() {
        return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
    }
    if !kind.is_file() {
        return Err(unreadable(std::io::Error::other("it is no regular file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut seen = Seen::default();
    let outcome = Wire::new(file).and_then(|mut wire| {
        if wire.is_empty()? {
            return Err(WireError::Malformed);
        }
        model(&mut wire, &mut seen)
    });
    let model = outcome.map_err(|error| match error {
        WireError::Io(source) => unreadable(source),
        // Whatever begins with a version goes on as ONNX.
        WireError::Truncated if seen.version => GraphError::Truncated { path: path.to_owned() },
        WireError::Malformed if seen.graph => {
            GraphError::Broken { path: path.to_owned(), what: "a part of its graph cannot be read".to_owned() }
        }
        _ => GraphError::NotOnnx { path: path.to_owned() },
    })?;
    if !seen.version || !seen.graph {
        return Err(GraphError::NotOnnx { path: path.to_owned() });
    }
    if model.graph.nodes.is_empty() || model.graph.outputs.is_empty() {
        return Err(GraphError::Broken { path: path.to_owned(), what: "its graph computes nothing".to_owned() });
    }
    for file in external_paths(path, &model) {
        File::open(&file).map_err(|source| GraphError::ExternalData {
            path: path.to_owned(),
            missing: file,
            source,
        })?;
    }
    Ok(model)
}

/// Where the files with weights are.
pub(super) fn external_paths(path: &Path, model: &ModelFile) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(""));
    model.external.iter().map(|name| folder.join(name)).collect()
}

/// What came by before an error.
#[derive(Debug, Default)]
struct Seen {
    version: bool,
    graph: bool,
}

type Parsed<T> = Result<T, WireError>;

fn model(wire: &mut Wire<File>, seen: &mut Seen) -> Parsed<ModelFile> {
    let mut model = ModelFile::default();
    let mut external = BTreeSet::new();
    let whole = wire.whole();
    wire.message::<WireError>(whole, |wire, number, value| {
        match (number, value) {
            (1, Value::Integer(version)) => seen.version = version > 0,
            (7, Value::Bytes(span)) => {
                seen.graph = seen.version;
                model.graph = graph(wire, span, &mut external, 0)?;
            }
            (8, Value::Bytes(span)) => {
                let (mut domain, mut version) = (String::new(), 0);
                wire.message::<WireError>(span, |wire, number, value| {
                    match (number, value) {
                        (1, Value::Bytes(span)) => domain = plain_domain(wire.text(span)?),
                        (2, Value::Integer(value)) => version = value.cast_signed(),
                        _ => {}
                    }
                    Ok(())
                })?;
                model.operator_sets.insert(domain, version);
            }
            (25, Value::Bytes(span)) => {
                let (key, message) = function(wire, span, &mut external)?;
                model.functions.insert(key, message);
            }
            _ => {}
        }
        Ok(())
    })?;
    model.external = external;
    Ok(model)
}

/// The standard domain has two names.
fn plain_domain(domain: String) -> String {
    if domain == "ai.onnx" { String::new() } else { domain }
}

fn graph(wire: &mut Wire<File>, span: Span, external: &mut BTreeSet<String>, depth: u32) -> Parsed<GraphMessage> {
    if depth > DEEPEST {
        return Err(WireError::Malformed);
    }
    let mut graph = GraphMessage::default();
    wire.message::<WireError>(span, |wire, number, value| {
        match (number, value) {
            (1, Value::Bytes(span)) => graph.nodes.push(node(wire, span, external, depth)?),
            (5, Value::Bytes(span)) => graph.tensors.push(tensor(wire, span, external)?),
            (11, Value::Bytes(span)) => graph.inputs.push(value_info(wire, span)?),
            (12, Value::Bytes(span)) => graph.outputs.push(value_info(wire, span)?),
            (13, Value::Bytes(span)) => graph.values.push(value_info(wire, span)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(graph)
}

fn function(
    wire: &mut Wire<File>,
    span: Span,
    external: &mut BTreeSet<String>,
) -> Parsed<((String, String), FunctionMessage)> {
    let (mut name, mut domain) = (String::new(), String::new());
    let mut function = FunctionMessage::default();
    wire.message::<WireError>(span, |wire, number, value| {
        match (number, value) {
            (1, Value::Bytes(span)) => name = wire.text(span)?,
            (4, Value::Bytes(span)) => function.inputs.push(wire.text(span)?),
            (5, Value::Bytes(span)) => function.outputs.push(wire.text(span)?),
            (7, Value::Bytes(span)) => function.nodes.push(node(wire, span, external, 0)?),
            (10, Value::Bytes(span)) => domain = plain_domain(wire.text(span)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(((domain, name), function))
}

fn node(wire: &mut Wire<File>, span: Span, external: &mut BTreeSet<String>, depth: u32) -> Parsed<Node> {
    let mut node = Node::default();
    wire.message::<WireError>(span, |wire, number, value| {
        match (number, value) {
            (1, Value::Bytes(span)) => node.inputs.push(wire.text(span)?),
            (2, Value::Bytes(span)) => node.outputs.push(wire.text(span)?),
            (4, Value::Bytes(span)) => node.operator = wire.text(span)?,
            (5, Value::Bytes(span)) => {
                let (name, value) = attribute(wire, span, external, depth)?;
                node.attributes.insert(name, value);
            }
            (7, Value::Bytes(span)) => node.domain = plain_domain(wire.text(span)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(node)
}

fn attribute(
    wire: &mut Wire<File>,
    span: Span,
    external: &mut BTreeSet<String>,
    depth: u32,
) -> Parsed<(String, Attribute)> {
    let mut name = String::new();
    let mut found = Attribute::Other;
    let mut integers = Vec::new();
    let mut kind = 0;
    wire.message::<WireError>(span, |wire, number, value| {
        match (number, value) {
            (1, Value::Bytes(span)) => name = wire.text(span)?,
            (2, Value::Four(bytes)) => found = Attribute::Float(f32::from_le_bytes(bytes)),
            (3, Value::Integer(value)) => found = Attribute::Integer(believed(value.cast_signed())),
            (4, Value::Bytes(span)) => found = Attribute::Text(wire.text(span)?),
            (5, Value::Bytes(span)) => found = Attribute::Tensor(tensor(wire, span, external)?),
            // The weights inside of a branch may lie in another file, too.
            (6, Value::Bytes(span)) => drop(graph(wire, span, external, depth + 1)?),
            (8, value) => wire.integers(value, &mut integers)?,
            (20, Value::Integer(value)) => kind = value,
            _ => {}
        }
        Ok(())
    })?;
    const INTEGERS: u64 = 7;
    if kind == INTEGERS || !integers.is_empty() {
        found = Attribute::Integers(integers.into_iter().map(believed).collect());
    }
    Ok((name, found))
}

/// A number among attributes; those that mean no end are cut to the largest extent.
fn believed(value: i64) -> i64 {
    value.clamp(-MOST_EXTENT, MOST_EXTENT)
}

fn value_info(wire: &mut Wire<File>, span: Span) -> Parsed<ValueInfo> {
    let mut info = ValueInfo::default();
    wire.message::<WireError>(span, |wire, number, value| {
        match (number, value) {
            (1, Value::Bytes(span)) => info.name = wire.text(span)?,
            (2, Value::Bytes(span)) => wire.message::<WireError>(span, |wire, number, value| {
                if let (1, Value::Bytes(span)) = (number, value) {
                    tensor_type(wire, span, &mut info)?;
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(info)
}

fn tensor_type(wire: &mut Wire<File>, span: Span, info: &mut ValueInfo) -> Parsed<()> {
    wire.message(span, |wire, number, value| {
        match (number, value) {
            (1, Value::Integer(element)) => info.element = element.cast_signed(),
            (2, Value::Bytes(span)) => {
                let mut dimensions = Vec::new();
                wire.message::<WireError>(span, |wire, number, value| {
                    if let (1, Value::Bytes(span)) = (number, value) {
                        dimensions.push(dimension(wire, span)?);
                    }
                    Ok(())
                })?;
                info.dimensions = Some(dimensions);
            }
            _ => {}
        }
        Ok(())
    })
}

fn dimension(wire: &mut Wire<File>, span: Span) -> Parsed<Dimension> {
    let mut found = Dimension::Unknown;
    wire.message::<WireError>(span, |wire, number, value| {
        match (number, value) {
            // Some exporters write -1 or 0 for what is open.
            (1, Value::Integer(extent)) if extent.cast_signed() > 0 => found = Dimension::Fixed(extent.cast_signed()),
            (2, Value::Bytes(span)) => {
                let name = wire.text(span)?;
                found = if name.is_empty() || name == "?" { Dimension::Unknown } else { Dimension::Named(name) };
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn tensor(wire: &mut Wire<File>, span: Span, external: &mut BTreeSet<String>) -> Parsed<Tensor> {
    let mut tensor = Tensor::default();
    let mut integers = Vec::new();
    let mut floats: Vec<f32> = Vec::new();
    let mut raw = None;
    wire.message::<WireError>(span, |wire, number, value| {
        match (number, value) {
            (1, value) => wire.integers(value, &mut tensor.shape)?,
            (2, Value::Integer(element)) => tensor.element = element.cast_signed(),
            (4, Value::Four(bytes)) => floats.push(f32::from_le_bytes(bytes)),
            (4, Value::Bytes(span)) if span.len() <= LONGEST_BLOB => {
                floats.extend(wire.bytes(span)?.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            (5 | 7, Value::Bytes(span)) if span.len() > 10 * MOST_ELEMENTS => {}
            (5 | 7, value) => wire.integers(value, &mut integers)?,
            (8, Value::Bytes(span)) => tensor.name = wire.text(span)?,
            (9, Value::Bytes(span)) if span.len() <= LONGEST_BLOB => raw = Some(wire.bytes(span)?),
            (13, Value::Bytes(span)) => {
                let (key, value) = text_pair(wire, span)?;
                if key == "location" {
                    external.insert(value);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    let raw = raw.unwrap_or_default();
    let raw_integers = || match element_type(tensor.element) {
        Some(ElementType::I64) => raw.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        Some(ElementType::I32) => {
            raw.as_chunks::<4>().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect()
        }
        Some(ElementType::Bool | ElementType::U8) => raw.iter().map(|byte| i64::from(*byte)).collect(),
        _ => Vec::new(),
    };
    let raw_floats = || match element_type(tensor.element) {
        Some(ElementType::F32) => raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        _ => Vec::new(),
    };
    // Elements that lie elsewhere, or were too many, are not known.
    let length = tensor.len();
    let all = |count: usize| count as u64 == length && count as u64 <= MOST_ELEMENTS;
    let integers = if integers.is_empty() { raw_integers() } else { integers };
    let floats = if floats.is_empty() { raw_floats() } else { floats };
    let is_float = element_type(tensor.element).is_some_and(ElementType::is_float);
    tensor.integers = Some(integers).filter(|list| !is_float && all(list.len()));
    tensor.floats = Some(floats).filter(|list| is_float && all(list.len()));
    Ok(tensor)
}

fn text_pair(wire: &mut Wire<File>, span: Span) -> Parsed<(String, String)> {
    let (mut key, mut text) = (String::new(), String::new());
    wire.message::<WireError>(span, |wire, number, value| {
        match (number, value) {
            (1, Value::Bytes(span)) => key = wire.text(span)?,
            (2, Value::Bytes(span)) => text = wire.text(span)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, text))
}
