//! What is known of every value of a graph: its element type, its shape, and its elements where they are few. Operators that are
//! not known here leave their outputs to what the file says of them.

use std::collections::HashMap;

use super::constants;
use super::file::{Attribute, Dimension, GraphMessage, ModelFile, Node, Tensor, ValueInfo};
use super::operators;
use super::shapes::{MOST_EXTENT, Shape, is_possible};

/// What is known of a value. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// ONNX's number of the element type.
    pub element: Option<i64>,
    pub shape: Option<Vec<i64>>,
    /// Its elements; integers are exact below 2^53.
    pub constant: Option<Vec<f64>>,
    /// Whether it comes from tensors of the file alone.
    pub fixed: bool,
}

impl Known {
    /// How many elements it has.
    pub fn len(&self) -> Option<u64> {
        self.shape.as_ref()?.iter().try_fold(1_u64, |all, &extent| all.checked_mul(u64::try_from(extent).ok()?))
    }

    /// Its elements as integers; what is beyond all extents is cut to the largest.
    pub fn integers(&self) -> Option<Vec<i64>> {
        let integer = |value: &f64| (*value as i64).clamp(-MOST_EXTENT, MOST_EXTENT);
        self.constant.as_ref().map(|list| list.iter().map(integer).collect())
    }

    fn of(tensor: &Tensor) -> Self {
        let integers = tensor.integers.as_ref().map(|list| list.iter().map(|value| *value as f64).collect());
        let floats = tensor.floats.as_ref().map(|list| list.iter().map(|value| f64::from(*value)).collect());
        Self {
            element: Some(tensor.element),
            shape: Some(tensor.shape.clone()).filter(|shape| is_possible(shape)),
            constant: integers.or(floats),
            fixed: true,
        }
    }
}

/// What is called with every operator, and with what is known of its operands and results.
pub(super) type Visit<'v> = dyn FnMut(&Node, &[Known], &[Known]) + 'v;

/// The values of a graph or a function, by name.
pub(super) type Values = HashMap<String, Known>;

/// Walks through the graph with inputs of these shapes, and hands every operator to `visit` with what is known of its
/// operands and results. `extents` has the extents whose names the file uses.
pub(super) fn walk(
    model: &ModelFile,
    inputs: &[(String, Known)],
    extents: &HashMap<String, i64>,
    visit: &mut Visit<'_>,
) -> Values {
    let graph = &model.graph;
    let mut values: Values = graph.tensors.iter().map(|tensor| (tensor.name.clone(), Known::of(tensor))).collect();
    values.extend(inputs.iter().cloned().map(|(name, known)| {
        let shape = known.shape.filter(|shape| is_possible(shape));
        (name, Known { shape, ..known })
    }));
    let said = said(graph, extents);
    let scope = Scope { model, said: &said, depth: 0 };
    scope.run(&graph.nodes, &mut values, visit);
    values
}

/// What the file says of its values.
fn said<'g>(graph: &'g GraphMessage, extents: &HashMap<String, i64>) -> HashMap<&'g str, Known> {
    let known = |info: &ValueInfo| {
        let extent = |dimension: &Dimension| match dimension {
            Dimension::Fixed(extent) => Some(*extent),
            Dimension::Named(name) => extents.get(name).copied(),
            Dimension::Unknown => None,
        };
        let shape: Option<Shape> = info.dimensions.as_ref().and_then(|known| known.iter().map(extent).collect());
        let shape = shape.filter(|shape| is_possible(shape));
        Known { element: Some(info.element).filter(|element| *element > 0), shape, ..Known::default() }
    };
    graph.values.iter().chain(&graph.outputs).map(|info| (info.name.as_str(), known(info))).collect()
}

/// The operators that are walked through.
struct Scope<'m> {
    model: &'m ModelFile,
    said: &'m HashMap<&'m str, Known>,
    depth: u32,
}

/// How deep functions may call each other.
const DEEPEST: u32 = 8;

impl Scope<'_> {
    fn run(&self, nodes: &[Node], values: &mut Values, visit: &mut Visit<'_>) {
        for node in nodes {
            let operands: Vec<Known> =
                node.inputs.iter().map(|name| values.get(name).cloned().unwrap_or_default()).collect();
            let called = self.call(node, &operands, visit);
            let is_function = called.is_some();
            let mut results = called.unwrap_or_else(|| self.apply(node, &operands));
            results.resize_with(node.outputs.len(), Known::default);
            for (name, result) in node.outputs.iter().zip(&mut results) {
                if let Some(said) = self.said.get(name.as_str()) {
                    result.element = result.element.or(said.element);
                    result.shape = result.shape.take().or_else(|| said.shape.clone());
                }
                values.insert(name.clone(), result.clone());
            }
            // What a function does was visited inside of it.
            if !is_function {
                visit(node, &operands, &results);
            }
        }
    }

    /// The results of a function that the file defines; `None` for an operator.
    fn call(&self, node: &Node, operands: &[Known], visit: &mut Visit<'_>) -> Option<Vec<Known>> {
        let function = self.model.functions.get(&(node.domain.clone(), node.operator.clone()))?;
        if self.depth >= DEEPEST {
            return Some(Vec::new());
        }
        let mut values: Values = function.inputs.iter().cloned().zip(operands.iter().cloned()).collect();
        let nothing = HashMap::new();
        Scope { model: self.model, said: &nothing, depth: self.depth + 1 }.run(&function.nodes, &mut values, visit);
        Some(function.outputs.iter().map(|name| values.remove(name).unwrap_or_default()).collect())
    }

    fn apply(&self, node: &Node, operands: &[Known]) -> Vec<Known> {
        if node.operator == "Constant" {
            return vec![constant(node)];
        }
        let version = self.model.operator_sets.get(&node.domain).copied().unwrap_or(1);
        let mut results = operators::results(node, operands, version);
        let fixed = operators::reads(node, operands).all(|operand| operand.fixed);
        for result in &mut results {
            result.fixed = fixed;
            result.shape = result.shape.take().filter(|shape| is_possible(shape));
        }
        if let ([single], true) = (&mut results[..], operators::is_standard(node)) {
            single.constant = constants::fold(node, operands, single);
        }
        results
    }
}

/// What a `Constant` holds.
fn constant(node: &Node) -> Known {
    const FLOAT: i64 = 1;
    const INTEGER: i64 = 7;
    let scalar = |element, value| Known {
        element: Some(element),
        shape: Some(Vec::new()),
        constant: Some(vec![value]),
        fixed: true,
    };
    match node.attributes.iter().next() {
        Some((_, Attribute::Tensor(tensor))) => Known::of(tensor),
        Some((_, Attribute::Float(value))) => scalar(FLOAT, f64::from(*value)),
        Some((_, Attribute::Integer(value))) => scalar(INTEGER, *value as f64),
        Some((_, Attribute::Integers(list))) => Known {
            element: Some(INTEGER),
            shape: Some(vec![list.len() as i64]),
            constant: Some(list.iter().map(|value| *value as f64).collect()),
            fixed: true,
        },
        _ => Known { fixed: true, ..Known::default() },
    }
}
