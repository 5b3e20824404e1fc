//! The elements of small tensors: those from which graphs compute the shapes of others.

use super::file::Node;
use super::infer::Known;

/// More elements than this are no shape.
const MOST: usize = 256;

/// The elements of an operator's only result, where they follow from its operands. The result has its type and shape.
pub(super) fn fold(node: &Node, operands: &[Known], result: &Known) -> Option<Vec<f64>> {
    let operand = |at: usize| operands.get(at).filter(|_| node.input(at).is_some());
    let list = |at: usize| operand(at)?.constant.as_ref();
    let shape = result.shape.as_ref()?;
    let count = usize::try_from(result.len()?).ok().filter(|count| *count <= MOST)?;
    let folded = match node.operator.as_str() {
        "Shape" => {
            let whole: Vec<f64> = operand(0)?.shape.as_ref()?.iter().map(|extent| *extent as f64).collect();
            let (start, end) = part(node, whole.len());
            whole.get(start..end)?.to_vec()
        }
        "Size" => vec![operand(0)?.len()? as f64],
        "Identity" | "Unsqueeze" | "Squeeze" | "Reshape" | "Flatten" => list(0)?.clone(),
        // Floats become integers by cutting.
        "Cast" => match result.element? {
            1 | 10 | 11 | 16 => list(0)?.clone(),
            9 => list(0)?.iter().map(|value| f64::from(u8::from(*value != 0.0))).collect(),
            _ => list(0)?.iter().map(|value| value.trunc()).collect(),
        },
        "Neg" => list(0)?.iter().map(|value| -value).collect(),
        "Floor" => list(0)?.iter().map(|value| value.floor()).collect(),
        "Ceil" => list(0)?.iter().map(|value| value.ceil()).collect(),
        "Sqrt" => list(0)?.iter().map(|value| value.sqrt()).collect(),
        "Not" => list(0)?.iter().map(|value| f64::from(u8::from(*value == 0.0))).collect(),
        "Concat" => {
            let lists: Option<Vec<&Vec<f64>>> = (0..operands.len()).map(list).collect();
            lists.filter(|_| shape.len() == 1)?.into_iter().flatten().copied().collect()
        }
        "Gather" => {
            let (data, places) = (list(0)?, list(1)?);
            if operand(0)?.shape.as_ref()?.len() != 1 {
                return None;
            }
            let at = |place: &f64| {
                let place = if *place < 0.0 { *place + data.len() as f64 } else { *place };
                data.get(place as usize).copied()
            };
            places.iter().map(at).collect::<Option<_>>()?
        }
        "Slice" => slice(node, operands)?,
        "ConstantOfShape" => {
            let value = match node.attributes.get("value") {
                Some(super::file::Attribute::Tensor(tensor)) => match (&tensor.integers, &tensor.floats) {
                    (Some(integers), _) => *integers.first()? as f64,
                    (None, Some(floats)) => f64::from(*floats.first()?),
                    (None, None) => return None,
                },
                _ => 0.0,
            };
            vec![value; count]
        }
        "Range" => {
            let (start, step) = (*list(0)?.first()?, *list(2)?.first()?);
            (0..count).map(|at| start + step * at as f64).collect()
        }
        "Expand" => spread(list(0)?, operand(0)?.shape.as_ref()?, shape)?,
        "Where" => {
            let spread = |at| spread(list(at)?, operand(at)?.shape.as_ref()?, shape);
            let (which, yes, no) = (spread(0)?, spread(1)?, spread(2)?);
            which
                .iter()
                .zip(yes.iter().zip(no))
                .map(|(which, (yes, no))| if *which != 0.0 { *yes } else { no })
                .collect()
        }
        "ReduceProd" if count == 1 => vec![list(0)?.iter().product()],
        "ReduceSum" if count == 1 => vec![list(0)?.iter().sum()],
        "ReduceMax" if count == 1 => vec![list(0)?.iter().copied().reduce(f64::max)?],
        "ReduceMin" if count == 1 => vec![list(0)?.iter().copied().reduce(f64::min)?],
        operator => {
            let integers = !matches!(result.element, Some(1 | 10 | 11 | 16));
            let apply = arithmetic(operator, integers)?;
            let spread = |at| spread(list(at)?, operand(at)?.shape.as_ref()?, shape);
            spread(0)?.into_iter().zip(spread(1)?).map(|(left, right)| apply(left, right)).collect()
        }
    };
    Some(folded).filter(|list| list.len() == count && list.iter().all(|value| value.is_finite()))
}

/// What an operator of two numbers does.
fn arithmetic(operator: &str, integers: bool) -> Option<fn(f64, f64) -> f64> {
    Some(match operator {
        "Add" => |left, right| left + right,
        "Sub" => |left, right| left - right,
        "Mul" => |left, right| left * right,
        "Div" if integers => |left, right| (left / right).trunc(),
        "Div" => |left, right| left / right,
        "Mod" => |left, right| left - right * (left / right).floor(),
        "Min" => f64::min,
        "Max" => f64::max,
        "Equal" => |left, right| f64::from(u8::from(left == right)),
        "Less" => |left, right| f64::from(u8::from(left < right)),
        "Greater" => |left, right| f64::from(u8::from(left > right)),
        "And" => |left, right| f64::from(u8::from(left != 0.0 && right != 0.0)),
        "Or" => |left, right| f64::from(u8::from(left != 0.0 || right != 0.0)),
        _ => return None,
    })
}

/// The elements of a tensor that is repeated to a larger shape.
fn spread(list: &[f64], from: &[i64], to: &[i64]) -> Option<Vec<f64>> {
    let count = usize::try_from(to.iter().product::<i64>()).ok().filter(|count| *count <= MOST)?;
    let missing = to.len().checked_sub(from.len())?;
    let place = |mut index: i64| {
        let (mut place, mut stride) = (0, 1);
        for at in (0..to.len()).rev() {
            let own = index % to[at];
            index /= to[at];
            if let Some(extent) = at.checked_sub(missing).map(|at| from[at]) {
                place += if extent == 1 { 0 } else { own * stride };
                stride *= extent;
            }
        }
        usize::try_from(place).ok()
    };
    (0..count as i64).map(|index| list.get(place(index)?).copied()).collect()
}

/// The part that `Shape` takes of a shape of this many extents.
pub(super) fn part(node: &Node, rank: usize) -> (usize, usize) {
    let place = |at: i64| {
        let rank = rank as i64;
        (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize
    };
    let start = place(node.integer("start").unwrap_or(0));
    (start, node.integer("end").map_or(rank, place).max(start))
}

/// A part of a list.
fn slice(node: &Node, operands: &[Known]) -> Option<Vec<f64>> {
    let data =
        operands.first()?.constant.as_ref().filter(|_| operands[0].shape.as_ref().is_some_and(|s| s.len() == 1))?;
    let given = |at: usize, name: &str| match operands.get(at) {
        Some(operand) => operand.integers()?.first().copied(),
        None => node.integers(name)?.first().copied(),
    };
    let length = data.len() as i64;
    let step = if operands.len() > 4 { given(4, "steps")? } else { 1 };
    if step != 1 {
        return None;
    }
    let place = |at: i64| (if at < 0 { at + length } else { at }).clamp(0, length) as usize;
    let (start, end) = (place(given(1, "starts")?), place(given(2, "ends")?));
    Some(data.get(start..end.max(start))?.to_vec())
}
