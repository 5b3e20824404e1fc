//! The types and shapes of the results of operators.
//!
//! Source: the operator reference of the ONNX project, <https://onnx.ai/onnx/operators/>, and for the domain
//! `com.microsoft` that of ONNX Runtime (docs/ContribOperators.md there).

use super::constants::part;
use super::file::Node;
use super::infer::Known;
use super::shapes::{Shape, broadcast, einsum_extents, matrix, product, slide, transposed_convolution};
use super::types::elements;

/// Whether an operator is ONNX's own.
pub(super) fn is_standard(node: &Node) -> bool {
    node.domain.is_empty()
}

/// The operands that an operator reads; those that are left out are none.
pub(super) fn reads<'k>(node: &'k Node, operands: &'k [Known]) -> impl Iterator<Item = &'k Known> {
    operands.iter().enumerate().filter(|(at, _)| node.input(*at).is_some()).map(|(_, operand)| operand)
}

/// What is known of the results of an operator of version `version`; nothing where it is not known here.
pub(super) fn results(node: &Node, operands: &[Known], version: i64) -> Vec<Known> {
    let call = Call { node, operands, version };
    let mut shapes = call.shapes().unwrap_or_default();
    shapes.resize(node.outputs.len(), None);
    let elements = elements(node, operands);
    let element = |at: usize| elements.get(at).copied().flatten();
    shapes
        .into_iter()
        .enumerate()
        .map(|(at, shape)| Known { element: element(at), shape, constant: None, fixed: false })
        .collect()
}

/// An operator with what is known of its operands.
struct Call<'k> {
    node: &'k Node,
    operands: &'k [Known],
    version: i64,
}

impl Call<'_> {
    fn operand(&self, at: usize) -> Option<&Known> {
        self.operands.get(at).filter(|_| self.node.input(at).is_some())
    }

    fn shape(&self, at: usize) -> Option<&Shape> {
        self.operand(at)?.shape.as_ref()
    }

    fn list(&self, at: usize) -> Option<Vec<i64>> {
        self.operand(at)?.integers()
    }

    /// Integers that were an attribute in old versions and are an operand since.
    fn given(&self, name: &str, at: usize) -> Option<Vec<i64>> {
        match self.node.integers(name) {
            Some(list) => Some(list.to_vec()),
            None => self.list(at),
        }
    }

    /// A place among `rank` axes, from 0.
    fn axis(&self, axis: i64, rank: usize) -> Option<usize> {
        let rank = rank as i64;
        usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|axis| (*axis as i64) < rank)
    }

    /// The shapes of the results.
    fn shapes(&self) -> Option<Vec<Option<Shape>>> {
        let one = |shape: Option<Shape>| shape.map(|shape| vec![Some(shape)]);
        let node = self.node;
        match node.operator.as_str() {
            // One tensor in, as large out.
            "Abs"
            | "Acos"
            | "Acosh"
            | "Asin"
            | "Asinh"
            | "Atan"
            | "Atanh"
            | "BiasGelu"
            | "BiasAdd"
            | "Cast"
            | "CastLike"
            | "Ceil"
            | "Celu"
            | "Clip"
            | "Cos"
            | "Cosh"
            | "CumSum"
            | "DequantizeLinear"
            | "Elu"
            | "Erf"
            | "Exp"
            | "FastGelu"
            | "Floor"
            | "Gelu"
            | "GroupNormalization"
            | "HardSigmoid"
            | "HardSwish"
            | "Hardmax"
            | "Identity"
            | "InstanceNormalization"
            | "IsInf"
            | "IsNaN"
            | "LRN"
            | "LeakyRelu"
            | "Log"
            | "LogSoftmax"
            | "LpNormalization"
            | "MeanVarianceNormalization"
            | "Mish"
            | "Neg"
            | "Not"
            | "PRelu"
            | "QLinearLeakyRelu"
            | "QLinearSigmoid"
            | "QLinearSoftmax"
            | "QuantizeLinear"
            | "QuickGelu"
            | "Reciprocal"
            | "Relu"
            | "Round"
            | "ScatterElements"
            | "ScatterND"
            | "Selu"
            | "Shrink"
            | "Sigmoid"
            | "Sign"
            | "Sin"
            | "Sinh"
            | "Softmax"
            | "Softplus"
            | "Softsign"
            | "Sqrt"
            | "Swish"
            | "Tan"
            | "Tanh"
            | "ThresholdedRelu"
            | "Trilu"
            | "RMSNormalization"
            | "RotaryEmbedding"
            | "SimplifiedLayerNormalization" => one(self.shape(0).cloned()),
            "LayerNormalization"
            | "BatchNormalization"
            | "SkipLayerNormalization"
            | "SkipSimplifiedLayerNormalization" => one(self.shape(0).cloned()),
            "Dropout" => Some(vec![self.shape(0).cloned(); 2]),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "And" | "Or" | "Xor" | "Equal" | "Less" | "LessOrEqual"
            | "Greater" | "GreaterOrEqual" | "BitShift" | "BitwiseAnd" | "BitwiseOr" => {
                one(broadcast(&[self.shape(0)?, self.shape(1)?]))
            }
            "Where" => one(broadcast(&[self.shape(0)?, self.shape(1)?, self.shape(2)?])),
            "Sum" | "Min" | "Max" | "Mean" => {
                let shapes: Option<Vec<&Shape>> = (0..self.operands.len()).map(|at| self.shape(at)).collect();
                one(broadcast(&shapes?))
            }
            "QLinearAdd" | "QLinearMul" => one(broadcast(&[self.shape(0)?, self.shape(3)?])),
            "Conv" | "FusedConv" | "ConvInteger" => one(self.convolution(0, 1)),
            "QLinearConv" => one(self.convolution(0, 3)),
            "ConvTranspose" => one(transposed_convolution(node, self.shape(0)?, self.shape(1)?)),
            "MaxPool" | "AveragePool" | "LpPool" | "QLinearAveragePool" => {
                let shape = slide(node, self.shape(0)?, node.integers("kernel_shape")?);
                Some(vec![shape; node.outputs.len()])
            }
            "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" | "QLinearGlobalAveragePool" => {
                let shape = self.shape(0)?;
                let extent = |(at, &extent): (usize, &i64)| if at < 2 { extent } else { 1 };
                one(Some(shape.iter().enumerate().map(extent).collect()))
            }
            "Gemm" => {
                let (rows, _) = matrix(self.shape(0)?, node.integer("transA"))?;
                let (_, columns) = matrix(self.shape(1)?, node.integer("transB"))?;
                one(Some(vec![rows, columns]))
            }
            "MatMul" | "MatMulInteger" | "MatMulIntegerToFloat" | "DynamicQuantizeMatMul" | "FusedMatMul" => {
                let flip = |name: &str| node.integer(name) == Some(1);
                one(product(self.shape(0)?, self.shape(1)?, flip("transA"), flip("transB")))
            }
            "QLinearMatMul" => one(product(self.shape(0)?, self.shape(3)?, false, false)),
            "MatMulNBits" => {
                let mut shape = self.shape(0)?.clone();
                *shape.last_mut()? = node.integer("N")?;
                one(Some(shape))
            }
            "Einsum" => one(self.einsum()),
            "Attention" if !is_standard(node) => {
                let mut shape = self.shape(0)?.clone();
                *shape.last_mut()? = self.shape(1)?.last()? / 3;
                one(Some(shape))
            }
            "QAttention" => {
                let mut shape = self.shape(0)?.clone();
                *shape.last_mut()? = self.shape(1)?.last()? / 3;
                one(Some(shape))
            }
            "Attention" | "MultiHeadAttention" => {
                let (query, value) = (self.shape(0)?, self.shape(2)?);
                let mut shape = query.clone();
                // Of rank 3 the last extent is heads times size, and heads of the query may be more.
                if query.len() == 4 || node.operator == "MultiHeadAttention" {
                    *shape.last_mut()? = *value.last()?;
                } else if let (Some(q), Some(kv)) = (node.integer("q_num_heads"), node.integer("kv_num_heads")) {
                    *shape.last_mut()? = value.last()?.checked_div(kv)? * q;
                }
                one(Some(shape))
            }
            "EmbedLayerNormalization" => {
                let width = *self.shape(2)?.last()?;
                one(Some([self.shape(0)?.as_slice(), &[width]].concat()))
            }
            "LSTM" | "GRU" | "RNN" => self.recurrent(),
            "Shape" => {
                let (start, end) = part(node, self.shape(0)?.len());
                one(Some(vec![(end - start) as i64]))
            }
            "Size" => one(Some(Vec::new())),
            "Reshape" => one(self.reshape()),
            "Flatten" => {
                let shape = self.shape(0)?;
                let axis = node.integer("axis").unwrap_or(1);
                let axis = if axis == shape.len() as i64 { shape.len() } else { self.axis(axis, shape.len())? };
                one(Some(vec![shape[..axis].iter().product(), shape[axis..].iter().product()]))
            }
            "Transpose" => {
                let shape = self.shape(0)?;
                let reversed: Vec<i64> = (0..shape.len() as i64).rev().collect();
                let order = node.integers("perm").unwrap_or(&reversed);
                one(order.iter().map(|at| shape.get(usize::try_from(*at).ok()?).copied()).collect())
            }
            "Squeeze" => {
                let shape = self.shape(0)?;
                let axes = match self.given("axes", 1) {
                    Some(axes) => axes.iter().map(|axis| self.axis(*axis, shape.len())).collect::<Option<Vec<_>>>()?,
                    None if self.operands.len() > 1 => return None,
                    None => (0..shape.len()).filter(|at| shape[*at] == 1).collect(),
                };
                let kept = (0..shape.len()).filter(|at| !axes.contains(at));
                one(Some(kept.map(|at| shape[at]).collect()))
            }
            "Unsqueeze" => {
                let (shape, axes) = (self.shape(0)?, self.given("axes", 1)?);
                let rank = shape.len() + axes.len();
                let axes = axes.iter().map(|axis| self.axis(*axis, rank)).collect::<Option<Vec<_>>>()?;
                let mut rest = shape.iter();
                one((0..rank).map(|at| if axes.contains(&at) { Some(1) } else { rest.next().copied() }).collect())
            }
            "Concat" | "QLinearConcat" => one(self.concat()),
            "Split" => self.split(),
            "Slice" => one(self.slice()),
            "Gather" => {
                let (data, places) = (self.shape(0)?, self.shape(1)?);
                let axis = self.axis(node.integer("axis").unwrap_or(0), data.len())?;
                one(Some([&data[..axis], places, &data[axis + 1..]].concat()))
            }
            "GatherElements" => one(self.shape(1).cloned()),
            "GatherND" => {
                let (data, places) = (self.shape(0)?, self.shape(1)?);
                let batch = usize::try_from(node.integer("batch_dims").unwrap_or(0)).ok()?;
                let depth = usize::try_from(*places.last()?).ok()?;
                one(Some([&places[..places.len() - 1], data.get(batch + depth..)?].concat()))
            }
            "ConstantOfShape" => one(self.list(0)),
            "Expand" => one(broadcast(&[self.shape(0)?, &self.list(1)?])),
            "Tile" => {
                let times = self.list(1)?;
                one(Some(self.shape(0)?.iter().zip(times).map(|(extent, times)| extent * times).collect()))
            }
            "Range" => {
                let value = |at: usize| self.operand(at)?.constant.as_ref()?.first().copied();
                let count = ((value(1)? - value(0)?) / value(2)?).ceil().max(0.0);
                one(Some(vec![count as i64]))
            }
            "ArgMax" | "ArgMin" => one(self.reduced(Some(vec![node.integer("axis").unwrap_or(0)]))),
            operator if operator.starts_with("Reduce") => {
                // Axes that are an operand and not known are not all axes.
                let axes = self.given("axes", 1);
                if axes.is_none() && self.operand(1).is_some() {
                    return None;
                }
                one(self.reduced(axes))
            }
            "Pad" => {
                let pads = self.given("pads", 1)?;
                let shape = self.shape(0)?;
                let rank = shape.len();
                if pads.len() != 2 * rank {
                    return None;
                }
                one(Some((0..rank).map(|at| shape[at] + pads[at] + pads[at + rank]).collect()))
            }
            "Resize" | "Upsample" => one(self.resize()),
            "DepthToSpace" => {
                let (shape, block) = (self.shape(0)?, node.integer("blocksize")?);
                let [batch, channels, height, width] = shape[..] else { return None };
                one(Some(vec![batch, channels.checked_div(block.checked_mul(block)?)?, height * block, width * block]))
            }
            "SpaceToDepth" => {
                let (shape, block) = (self.shape(0)?, node.integer("blocksize")?);
                let [batch, channels, height, width] = shape[..] else { return None };
                one(Some(vec![
                    batch,
                    channels.checked_mul(block.checked_mul(block)?)?,
                    height.checked_div(block)?,
                    width.checked_div(block)?,
                ]))
            }
            "TopK" => {
                let mut shape = self.shape(0)?.clone();
                let axis = self.axis(node.integer("axis").unwrap_or(-1), shape.len())?;
                shape[axis] = match node.integer("k") {
                    Some(count) => count,
                    None => *self.list(1)?.first()?,
                };
                Some(vec![Some(shape); 2])
            }
            "OneHot" => {
                let mut shape = self.shape(0)?.clone();
                let axis = node.integer("axis").unwrap_or(-1);
                let at = if axis < 0 { axis + shape.len() as i64 + 1 } else { axis };
                let depth = *self.list(1)?.first()?;
                let at = usize::try_from(at).ok().filter(|at| *at <= shape.len())?;
                shape.insert(at, depth);
                one(Some(shape))
            }
            "DynamicQuantizeLinear" => Some(vec![self.shape(0).cloned(), Some(Vec::new()), Some(Vec::new())]),
            _ => None,
        }
    }

    fn convolution(&self, data: usize, weights: usize) -> Option<Shape> {
        let (data, weights) = (self.shape(data)?, self.shape(weights)?);
        let mut shape = slide(self.node, data, weights.get(2..)?)?;
        *shape.get_mut(1)? = *weights.first()?;
        Some(shape)
    }

    fn reshape(&self) -> Option<Shape> {
        let data = self.shape(0)?;
        let asked = self.given("shape", 1)?;
        let keeps_zero = self.node.integer("allowzero") == Some(1);
        let mut shape = Vec::with_capacity(asked.len());
        for (at, &extent) in asked.iter().enumerate() {
            shape.push(if extent == 0 && !keeps_zero { *data.get(at)? } else { extent });
        }
        let all: i64 = data.iter().product();
        if let Some(open) = shape.iter().position(|extent| *extent == -1) {
            shape[open] = 1;
            let named = shape.iter().try_fold(1_i64, |all, extent| all.checked_mul(*extent))?;
            shape[open] = all.checked_div(named)?;
        }
        Some(shape)
    }

    fn concat(&self) -> Option<Shape> {
        // QLinearConcat has a scale and a zero point before all, and three operands for each tensor.
        let places: Vec<usize> = match self.node.operator.as_str() {
            "Concat" => (0..self.operands.len()).collect(),
            _ => (2..self.operands.len()).step_by(3).collect(),
        };
        let shapes: Vec<&Shape> = places.into_iter().map(|at| self.shape(at)).collect::<Option<_>>()?;
        let mut shape = (*shapes.first()?).clone();
        let axis = self.axis(self.node.integer("axis")?, shape.len())?;
        shape[axis] = shapes.iter().map(|shape| shape.get(axis).copied()).sum::<Option<i64>>()?;
        Some(shape)
    }

    fn split(&self) -> Option<Vec<Option<Shape>>> {
        let shape = self.shape(0)?;
        let axis = self.axis(self.node.integer("axis").unwrap_or(0), shape.len())?;
        let count = self.node.outputs.len() as i64;
        let sizes = match self.given("split", 1) {
            Some(sizes) => sizes,
            None if self.operand(1).is_some() => return None,
            None => {
                let size = (shape[axis] + count - 1).checked_div(count)?;
                (0..count).map(|at| size.min(shape[axis] - at * size)).collect()
            }
        };
        let part = |size: i64| {
            let mut part = shape.clone();
            part[axis] = size;
            Some(part)
        };
        Some(sizes.into_iter().map(part).collect())
    }

    fn slice(&self) -> Option<Shape> {
        let mut shape = self.shape(0)?.clone();
        let by_operand = self.version >= 10;
        let list = |name: &str, at: usize| {
            if by_operand { self.list(at) } else { self.node.integers(name).map(<[i64]>::to_vec) }
        };
        let (starts, ends) = (list("starts", 1)?, list("ends", 2)?);
        let axes = match list("axes", 3) {
            Some(axes) => axes,
            None if by_operand && self.operand(3).is_some() => return None,
            None => (0..starts.len() as i64).collect(),
        };
        let steps = match list("steps", 4) {
            Some(steps) => steps,
            None if by_operand && self.operand(4).is_some() => return None,
            None => vec![1; starts.len()],
        };
        for (at, &first) in starts.iter().enumerate() {
            let axis = self.axis(*axes.get(at)?, shape.len())?;
            let (extent, step) = (shape[axis], *steps.get(at)?);
            let place =
                |at: i64, low: i64, high: i64| (if at < 0 { at.saturating_add(extent) } else { at }).clamp(low, high);
            let count = if step > 0 {
                let (start, end) = (place(first, 0, extent), place(*ends.get(at)?, 0, extent));
                (end - start + step - 1) / step
            } else if step < 0 {
                let (start, end) = (place(first, 0, extent - 1), place(*ends.get(at)?, -1, extent - 1));
                (start - end - step - 1) / -step
            } else {
                return None;
            };
            shape[axis] = count.max(0);
        }
        Some(shape)
    }

    fn reduced(&self, axes: Option<Vec<i64>>) -> Option<Shape> {
        let shape = self.shape(0)?;
        let keeps = self.node.integer("keepdims").unwrap_or(1) == 1;
        let axes: Vec<usize> = match axes {
            Some(axes) if !axes.is_empty() => {
                axes.iter().map(|axis| self.axis(*axis, shape.len())).collect::<Option<_>>()?
            }
            _ if self.node.integer("noop_with_empty_axes") == Some(1) => Vec::new(),
            _ => (0..shape.len()).collect(),
        };
        let extent = |at: usize| match (axes.contains(&at), keeps) {
            (false, _) => Some(shape[at]),
            (true, true) => Some(1),
            (true, false) => None,
        };
        Some((0..shape.len()).filter_map(extent).collect())
    }

    fn resize(&self) -> Option<Shape> {
        let shape = self.shape(0)?;
        let (scales, sizes) = if self.version >= 11 { (2, Some(3)) } else { (1, None) };
        if let Some(sizes) = sizes.and_then(|at| self.list(at)).filter(|sizes| sizes.len() == shape.len()) {
            return Some(sizes);
        }
        let scales = self.operand(scales)?.constant.as_ref().filter(|scales| scales.len() == shape.len())?;
        Some(shape.iter().zip(scales).map(|(extent, scale)| (*extent as f64 * scale).floor() as i64).collect())
    }

    /// Without `...`.
    fn einsum(&self) -> Option<Shape> {
        let extents = einsum_extents(self.node, self.operands)?;
        let equation: String = self.node.text("equation")?.split_whitespace().collect();
        let (_, output) = equation.split_once("->")?;
        output.chars().map(|label| extents.get(&label).copied()).collect()
    }

    /// The sequence of states, and the last one: `[length, directions, batch, size]`.
    fn recurrent(&self) -> Option<Vec<Option<Shape>>> {
        let [length, batch, _] = self.shape(0)?[..] else { return None };
        let [directions, _, size] = self.shape(2)?[..] else { return None };
        let last = Some(vec![directions, batch, size]);
        Some(vec![Some(vec![length, directions, batch, size]), last.clone(), last])
    }
}
