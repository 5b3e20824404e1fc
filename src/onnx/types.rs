//! The element types of the results of operators, by ONNX's numbers.

use super::file::{Attribute, Node};
use super::infer::Known;

const FLOAT: i64 = 1;
const UINT8: i64 = 2;
const INT32: i64 = 6;
const INT64: i64 = 7;
const BOOL: i64 = 9;

/// The element types of an operator's results; `None` where it is not known.
pub(super) fn elements(node: &Node, operands: &[Known]) -> Vec<Option<i64>> {
    let of = |at: usize| operands.get(at).filter(|_| node.input(at).is_some()).and_then(|operand| operand.element);
    let first = of(0);
    match node.operator.as_str() {
        "Cast" => vec![node.integer("to")],
        "Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" => vec![Some(INT64)],
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Not" | "IsNaN"
        | "IsInf" => vec![Some(BOOL)],
        "ConstantOfShape" => match node.attributes.get("value") {
            Some(Attribute::Tensor(tensor)) => vec![Some(tensor.element)],
            _ => vec![Some(FLOAT)],
        },
        "DequantizeLinear" | "CastLike" | "Where" => vec![of(1)],
        "QuantizeLinear" => {
            let named = node.integer("output_dtype").filter(|element| *element > 0);
            vec![of(2).or(named).or(Some(UINT8))]
        }
        "DynamicQuantizeLinear" => vec![Some(UINT8), Some(FLOAT), Some(UINT8)],
        "ConvInteger" | "MatMulInteger" => vec![Some(INT32)],
        "MatMulIntegerToFloat" | "DynamicQuantizeMatMul" => vec![of(2)],
        "QLinearConv" => vec![of(7).or(first)],
        "QLinearMatMul" => vec![of(7).or(first)],
        "OneHot" => vec![of(2)],
        "TopK" => vec![first, Some(INT64)],
        "Dropout" => vec![first, Some(BOOL)],
        "EmbedLayerNormalization" => vec![of(2), Some(INT32)],
        _ => vec![first; node.outputs.len()],
    }
}
