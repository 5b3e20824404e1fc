//! What a graph computes: its multiply-adds, what its products write, and the arithmetic they are done in.

use std::collections::HashMap;

use super::file::{Attribute, ModelFile, Node, Tensor, element_type};
use super::infer::Known;
use super::operators::is_standard;
use super::shapes::einsum_extents;
use crate::domain::{ElementType, Precision};

/// The work of one forward pass.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Multiply-adds of convolutions, linear layers, recurrent layers and attention products; `None` where the shape of one
    /// is not known.
    pub multiply_adds: Option<u64>,
    /// Elements that these write.
    pub activation_count: Option<u64>,
    /// The arithmetic in which most of them are done; `None` where it has no name here, or there are none.
    pub precision: Option<Precision>,
}

/// Gathers the products of a graph.
#[derive(Debug, Default)]
pub(super) struct Products {
    found: Vec<Product>,
    /// Whether there is an operator that may hide products.
    hidden: bool,
}

#[derive(Debug)]
struct Product {
    multiply_adds: Option<u64>,
    written: Option<u64>,
    precision: Option<Precision>,
}

impl Products {
    /// Counts an operator, if it is a product. `sources` tells where operands come from.
    pub fn visit(&mut self, node: &Node, operands: &[Known], results: &[Known], sources: &Sources) {
        let Some((multiply_adds, written)) = counted(node, operands, results) else {
            self.hidden |= hides_products(node);
            return;
        };
        let precision = precision(node, operands, sources);
        self.found.push(Product { multiply_adds, written, precision });
    }

    /// The sums.
    pub fn total(&self) -> Work {
        let sum = |of: fn(&Product) -> Option<u64>| {
            let sum = self.found.iter().map(of).try_fold(0_u64, |all, one| all.checked_add(one?));
            sum.filter(|_| !self.hidden)
        };
        let multiply_adds = sum(|product| product.multiply_adds);
        let mut shares: Vec<(Option<Precision>, u64)> = Vec::new();
        for product in &self.found {
            // Where one is not known, each product counts alike.
            let share = multiply_adds.and(product.multiply_adds).unwrap_or(1);
            match shares.iter_mut().find(|(precision, _)| *precision == product.precision) {
                Some((_, all)) => *all = all.saturating_add(share),
                None => shares.push((product.precision, share)),
            }
        }
        let most = shares.iter().max_by_key(|(_, share)| *share);
        Work {
            multiply_adds,
            activation_count: sum(|product| product.written),
            precision: most.and_then(|(precision, _)| *precision),
        }
    }
}

/// Whether an operator may compute anything: it holds a graph of its own, or is of a domain that is not known here.
fn hides_products(node: &Node) -> bool {
    let known =
        node.domain.is_empty() || node.domain.starts_with("com.microsoft") || node.domain.starts_with("ai.onnx");
    !known || matches!(node.operator.as_str(), "If" | "Loop" | "Scan" | "SequenceMap")
}

type Count = Option<u64>;

/// Multiply-adds of a product and the elements that it writes; `None` for other operators.
fn counted(node: &Node, operands: &[Known], results: &[Known]) -> Option<(Count, Count)> {
    let shape = |at: usize| operands.get(at).and_then(|operand| operand.shape.as_deref());
    let extent = |at: usize, axis: usize| shape(at).and_then(|shape| shape.get(axis)).copied();
    let last = |at: usize| shape(at).and_then(<[i64]>::last).copied();
    let written = results.first().and_then(Known::len);
    // What each written element takes.
    let each = |terms: Option<i64>| {
        let terms = terms.and_then(|terms| u64::try_from(terms).ok());
        (written.zip(terms).and_then(|(written, terms)| written.checked_mul(terms)), written)
    };
    let window = |weights: usize| shape(weights).and_then(|shape| Some(shape.get(1..)?.iter().product()));
    Some(match node.operator.as_str() {
        "Conv" | "FusedConv" | "NhwcFusedConv" | "ConvInteger" => each(window(1)),
        "QLinearConv" => each(window(3)),
        "ConvTranspose" => {
            let terms: Option<i64> = window(1);
            let read = operands.first().and_then(Known::len);
            let terms = terms.and_then(|terms| u64::try_from(terms).ok());
            (read.zip(terms).and_then(|(read, terms)| read.checked_mul(terms)), written)
        }
        "Gemm" | "QGemm" => {
            let flipped = node.integer("transA") == Some(1);
            each(extent(0, usize::from(!flipped)))
        }
        "MatMul" | "MatMulInteger" | "QLinearMatMul" | "MatMulIntegerToFloat" | "DynamicQuantizeMatMul" => {
            each(last(0))
        }
        "FusedMatMul" if node.integer("transA") == Some(1) => {
            each(shape(0).and_then(|shape| shape.get(shape.len().checked_sub(2)?)).copied())
        }
        "FusedMatMul" | "MatMulNBits" => each(last(0)),
        "Einsum" if operands.len() == 2 => {
            let extents = einsum_extents(node, operands);
            let all = extents.and_then(|extents| {
                extents.values().try_fold(1_u64, |all, extent| all.checked_mul(u64::try_from(*extent).ok()?))
            });
            (all, written)
        }
        "Attention" | "QAttention" if !is_standard(node) => (fused_attention(shape(0), shape(1)), None),
        "Attention" | "MultiHeadAttention" | "GroupQueryAttention" => {
            (attention(node, [shape(0), shape(1), shape(2)]), None)
        }
        "LSTM" | "GRU" | "RNN" => {
            let steps = extent(0, 0).zip(extent(0, 1)).map(|(length, batch)| length * batch);
            let of_input: Option<i64> = shape(1).map(|shape| shape.iter().product());
            let of_state: Option<i64> = shape(2).map(|shape| shape.iter().product());
            let all =
                steps.zip(of_input.zip(of_state)).and_then(|(steps, (input, state))| steps.checked_mul(input + state));
            (all.and_then(|all| u64::try_from(all).ok()), written)
        }
        _ => return None,
    })
}

/// Both products of attention: queries `[.., length, size]`, keys and values of another length. Those of rank 3 hold all heads
/// in their last extent.
fn attention(node: &Node, shapes: [Option<&[i64]>; 3]) -> Count {
    let [Some(query), Some(key), Some(value)] = shapes else { return None };
    let length = |shape: &[i64]| shape.len().checked_sub(2).and_then(|at| shape.get(at)).copied();
    let elements: i64 = query.iter().product();
    let of_scores = elements.checked_mul(length(key)?)?;
    // As many values as queries have heads, where several of those share one.
    let width = value.last()?;
    let sum = match (query.len(), node.integer("q_num_heads"), node.integer("kv_num_heads")) {
        (3, Some(q), Some(kv)) => width.checked_mul(q)?.checked_div(kv)?,
        _ => *width,
    };
    let others: i64 = query[..query.len() - 1].iter().product();
    let of_sums = others.checked_mul(length(key)?)?.checked_mul(sum)?;
    u64::try_from(of_scores.checked_add(of_sums)?).ok()
}

/// Attention with its own projection: `[batch, length, width]` by `[width, 3 * size]`.
fn fused_attention(input: Option<&[i64]>, weights: Option<&[i64]>) -> Count {
    let ([batch, length, width], [_, all]) = (input?, weights?) else { return None };
    let projection = batch.checked_mul(*length)?.checked_mul(*width)?.checked_mul(*all)?;
    let scores = batch.checked_mul(*length)?.checked_mul(*length)?.checked_mul(all / 3)?;
    u64::try_from(scores.checked_mul(2)?.checked_add(projection)?).ok()
}

/// Where values come from, as far as arithmetic cares.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Values that were integers before they became floats, with the number of that type.
    restored: HashMap<String, i64>,
}

impl Sources {
    /// Follows an operator.
    pub fn visit(&mut self, node: &Node, operands: &[Known]) {
        let from = match node.operator.as_str() {
            "DequantizeLinear" => operands.first().and_then(|operand| operand.element),
            // These move elements and change none.
            "Identity" | "Transpose" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Slice" | "Split" | "Cast" => {
                node.input(0).and_then(|name| self.restored.get(name)).copied()
            }
            _ => None,
        };
        if let Some(element) = from {
            self.restored.extend(node.outputs.iter().map(|name| (name.clone(), element)));
        }
    }

    fn of(&self, node: &Node, at: usize) -> Option<i64> {
        node.input(at).and_then(|name| self.restored.get(name)).copied()
    }
}

/// The arithmetic of a product.
fn precision(node: &Node, operands: &[Known], sources: &Sources) -> Option<Precision> {
    match node.operator.as_str() {
        "ConvInteger"
        | "MatMulInteger"
        | "QLinearConv"
        | "QLinearMatMul"
        | "MatMulIntegerToFloat"
        | "DynamicQuantizeMatMul"
        | "QGemm"
        | "QAttention" => return Some(Precision::Int8),
        "MatMulNBits" => return Some(Precision::Int8w),
        _ => {}
    }
    let is_byte = |element: i64| matches!(element_type(element), Some(ElementType::I8 | ElementType::U8));
    match (sources.of(node, 0), sources.of(node, 1)) {
        // Engines multiply the integers themselves where both factors come from bytes.
        (Some(left), Some(right)) if is_byte(left) && is_byte(right) => return Some(Precision::Int8),
        (_, Some(_)) if operands.get(1).is_some_and(|weights| weights.fixed) => return Some(Precision::Int8w),
        (Some(_), _) if operands.first().is_some_and(|weights| weights.fixed) => return Some(Precision::Int8w),
        _ => {}
    }
    let element = operands.iter().take(2).find_map(|operand| operand.element)?;
    match element_type(element)? {
        ElementType::F32 => Some(Precision::Fp32),
        ElementType::F16 => Some(Precision::Fp16),
        ElementType::Bf16 => Some(Precision::Bf16),
        _ => None,
    }
}

/// The bytes of all tensors in a file.
pub(super) fn weight_bytes(model: &ModelFile) -> u64 {
    let constants = model
        .graph
        .nodes
        .iter()
        .flat_map(|node| node.attributes.values())
        .filter_map(|attribute| if let Attribute::Tensor(tensor) = attribute { Some(tensor) } else { None });
    let bytes = |tensor: &Tensor| tensor.len().saturating_mul(bits(tensor.element)).div_ceil(8);
    model.graph.tensors.iter().chain(constants).map(bytes).fold(0, u64::saturating_add)
}

/// The bits of one element of ONNX's type of this number.
fn bits(element: i64) -> u64 {
    match element_type(element) {
        Some(ElementType::F64 | ElementType::I64 | ElementType::U64) => 64,
        Some(ElementType::F32 | ElementType::I32 | ElementType::U32) => 32,
        Some(ElementType::F16 | ElementType::Bf16 | ElementType::I16 | ElementType::U16) => 16,
        Some(ElementType::I8 | ElementType::U8 | ElementType::Bool) => 8,
        // Numbers of eight and of four bits, and those of 64 and 128 that are complex.
        None => match element {
            17..=20 => 8,
            21..=23 => 4,
            14 => 64,
            15 => 128,
            _ => 0,
        },
    }
}

/// Parameters: the elements of all floats that are more than one number and are not restored from integers, and those of the
/// integers that weights are restored from. Running means and variances are none, nor are scales and zero points.
pub(super) fn parameter_count(model: &ModelFile) -> u64 {
    let mut kept: HashMap<&str, (i64, u64)> =
        model.graph.tensors.iter().map(|tensor| (tensor.name.as_str(), (tensor.element, tensor.len()))).collect();
    for node in &model.graph.nodes {
        for attribute in node.attributes.values() {
            if let ("Constant", Attribute::Tensor(tensor), Some(name)) =
                (node.operator.as_str(), attribute, node.outputs.first())
            {
                kept.insert(name, (tensor.element, tensor.len()));
            }
        }
    }
    let mut weights: HashMap<&str, u64> = kept
        .iter()
        .filter(|(_, (element, count))| element_type(*element).is_some_and(ElementType::is_float) && *count > 1)
        .map(|(name, (_, count))| (*name, *count))
        .collect();
    for node in &model.graph.nodes {
        let is_not: &[usize] = match node.operator.as_str() {
            "BatchNormalization" => &[3, 4],
            "QuantizeLinear" | "DequantizeLinear" => &[1, 2],
            "QLinearConv" | "QLinearMatMul" => &[1, 2, 4, 5, 6, 7],
            "MatMulIntegerToFloat" => &[2, 3, 4, 5],
            "DynamicQuantizeMatMul" | "MatMulNBits" => &[2, 3],
            "Resize" => &[1, 2],
            "Upsample" => &[1],
            _ => &[],
        };
        for name in is_not.iter().filter_map(|at| node.input(*at)) {
            weights.remove(name);
        }
    }
    for node in &model.graph.nodes {
        let integers: &[usize] = match node.operator.as_str() {
            "DequantizeLinear" => &[0],
            "ConvInteger" | "MatMulInteger" | "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" | "QAttention" => &[1],
            "QLinearConv" => &[3, 8],
            "QLinearMatMul" => &[3],
            _ => &[],
        };
        for name in integers.iter().filter_map(|at| node.input(*at)) {
            if let Some((_, count)) = kept.get(name) {
                weights.insert(name, *count);
            }
        }
        // Two or more of these stand in one byte.
        if let ("MatMulNBits", Some(columns), Some(rows), Some(name)) =
            (node.operator.as_str(), node.integer("N"), node.integer("K"), node.input(1))
        {
            weights.insert(name, u64::try_from(columns.saturating_mul(rows)).unwrap_or(0));
        }
    }
    weights.values().copied().fold(0, u64::saturating_add)
}
