//! The rules by which shapes follow from shapes: repetition, products, windows.

use std::collections::HashMap;

use super::file::Node;
use super::infer::Known;

/// All extents of a tensor.
pub(super) type Shape = Vec<i64>;

/// The largest extent, and the largest number among attributes, that a file is believed: products of two of them fit 64 bits.
pub(super) const MOST_EXTENT: i64 = (1 << 31) - 1;

/// More elements than this has no tensor that anybody could run.
const MOST_ELEMENTS: i64 = 1 << 50;

/// Whether a tensor may have this shape; the rules here count on it.
pub(super) fn is_possible(shape: &[i64]) -> bool {
    let in_range = shape.iter().all(|extent| (0..=MOST_EXTENT).contains(extent));
    let elements = shape.iter().try_fold(1_i64, |all, extent| all.checked_mul((*extent).max(1)));
    in_range && elements.is_some_and(|elements| elements <= MOST_ELEMENTS)
}

/// A window that slides over all axes behind the first two.
pub(super) fn slide(node: &Node, data: &[i64], kernel: &[i64]) -> Option<Shape> {
    let axes = data.len().checked_sub(2).filter(|axes| *axes == kernel.len())?;
    let ones = vec![1; axes];
    let strides = node.integers("strides").unwrap_or(&ones);
    let dilations = node.integers("dilations").unwrap_or(&ones);
    let zeros = vec![0; 2 * axes];
    let pads = node.integers("pads").unwrap_or(&zeros);
    let same = node.text("auto_pad").is_some_and(|pad| pad.starts_with("SAME"));
    let mut shape = data[..2].to_vec();
    for at in 0..axes {
        let (extent, stride) = (data[at + 2], *strides.get(at)?);
        let reach = (kernel[at] - 1) * dilations.get(at)? + 1;
        let room = extent + pads.get(at)? + pads.get(at + axes)? - reach;
        let up = node.integer("ceil_mode") == Some(1);
        shape.push(match (same, up) {
            (true, _) => (extent + stride - 1).checked_div(stride)?,
            (false, true) => {
                let windows = (room + stride - 1).checked_div(stride)? + 1;
                // A window that starts in the padding behind is none.
                if (windows - 1) * stride >= extent + pads.get(at)? { windows - 1 } else { windows }
            }
            (false, false) => room.checked_div(stride)? + 1,
        });
    }
    Some(shape)
}

/// The shape of a transposed convolution.
pub(super) fn transposed_convolution(node: &Node, data: &[i64], weights: &[i64]) -> Option<Shape> {
    let axes = data.len().checked_sub(2).filter(|axes| weights.len() == axes + 2)?;
    let (ones, zeros) = (vec![1; axes], vec![0; 2 * axes]);
    let strides = node.integers("strides").unwrap_or(&ones);
    let dilations = node.integers("dilations").unwrap_or(&ones);
    let pads = node.integers("pads").unwrap_or(&zeros);
    let more = node.integers("output_padding").unwrap_or(&zeros);
    let mut shape = vec![data[0], weights[1] * node.integer("group").unwrap_or(1)];
    for at in 0..axes {
        let reach = (weights[at + 2] - 1) * dilations.get(at)? + 1;
        let whole = (data[at + 2] - 1) * strides.get(at)? + reach + more.get(at)?;
        shape.push(match (node.integers("output_shape"), node.text("auto_pad")) {
            (Some(wanted), _) => *wanted.get(at)?,
            (None, Some(pad)) if pad.starts_with("SAME") => data[at + 2] * strides.get(at)?,
            (None, _) => whole - pads.get(at)? - pads.get(at + axes)?,
        });
    }
    Some(shape)
}

/// The extent behind each letter of an `Einsum` whose equation has no `...`.
pub(super) fn einsum_extents(node: &Node, operands: &[Known]) -> Option<HashMap<char, i64>> {
    let equation: String = node.text("equation")?.split_whitespace().collect();
    let (inputs, _) = equation.split_once("->").filter(|_| !equation.contains('.'))?;
    let mut extents = HashMap::new();
    for (labels, operand) in inputs.split(',').zip(operands) {
        let shape = operand.shape.as_ref().filter(|shape| shape.len() == labels.chars().count())?;
        extents.extend(labels.chars().zip(shape.iter().copied()));
    }
    Some(extents)
}

/// The shape of an operator on tensors of several shapes, by NumPy's rule.
pub(super) fn broadcast(shapes: &[&Shape]) -> Option<Shape> {
    let rank = shapes.iter().map(|shape| shape.len()).max()?;
    let extent = |at: usize| {
        let own = |shape: &&Shape| (at + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
        let mut largest = 1;
        for extent in shapes.iter().map(own) {
            match (extent, largest) {
                (1, _) => {}
                (_, 1) => largest = extent,
                _ if extent == largest => {}
                _ => return None,
            }
        }
        Some(largest)
    };
    (0..rank).map(extent).collect()
}

/// Rows and columns of a matrix that may be transposed.
pub(super) fn matrix(shape: &[i64], transposed: Option<i64>) -> Option<(i64, i64)> {
    let [rows, columns] = shape[..] else { return None };
    Some(if transposed == Some(1) { (columns, rows) } else { (rows, columns) })
}

/// The shape of a product of (stacks of) matrices, by NumPy's rule.
pub(super) fn product(left: &[i64], right: &[i64], flip_left: bool, flip_right: bool) -> Option<Shape> {
    let stacked = |shape: &[i64], flip: bool, as_row: bool| {
        let mut whole = match (shape.len(), as_row) {
            (0, _) => return None,
            (1, true) => vec![1, shape[0]],
            (1, false) => vec![shape[0], 1],
            _ => shape.to_vec(),
        };
        let rank = whole.len();
        if flip && shape.len() > 1 {
            whole.swap(rank - 1, rank - 2);
        }
        Some(whole)
    };
    let (first, second) = (stacked(left, flip_left, true)?, stacked(right, flip_right, false)?);
    let (rows, inner) = (first[first.len() - 2], first[first.len() - 1]);
    let (other, columns) = (second[second.len() - 2], second[second.len() - 1]);
    if inner != other {
        return None;
    }
    let stack = |shape: &Shape| shape[..shape.len() - 2].to_vec();
    let mut shape = broadcast(&[&stack(&first), &stack(&second)])?;
    if left.len() > 1 {
        shape.push(rows);
    }
    if right.len() > 1 {
        shape.push(columns);
    }
    Some(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::file::Attribute;

    fn node(attributes: &[(&str, &[i64])]) -> Node {
        let attribute = |(name, list): &(&str, &[i64])| ((*name).to_owned(), Attribute::Integers(list.to_vec()));
        Node { attributes: attributes.iter().map(attribute).collect(), ..Node::default() }
    }

    #[test]
    fn shapes_are_repeated_by_the_rule_of_numpy() {
        assert_eq!(broadcast(&[&vec![8, 1, 6], &vec![7, 1]]), Some(vec![8, 7, 6]));
        assert_eq!(broadcast(&[&vec![], &vec![3]]), Some(vec![3]));
        assert_eq!(broadcast(&[&vec![2], &vec![3]]), None);
    }

    #[test]
    fn products_stack_matrices() {
        assert_eq!(product(&[2, 12, 128, 64], &[2, 12, 64, 128], false, false), Some(vec![2, 12, 128, 128]));
        assert_eq!(product(&[4], &[4, 5], false, false), Some(vec![5]));
        assert_eq!(product(&[3, 4], &[4], false, false), Some(vec![3]));
        assert_eq!(product(&[4], &[4], false, false), Some(vec![]));
        assert_eq!(product(&[3, 4], &[5, 4], false, true), Some(vec![3, 5]));
        assert_eq!(product(&[3, 4], &[5, 4], false, false), None);
    }

    #[test]
    fn windows_slide_as_far_as_they_fit() {
        let resnet = node(&[("strides", &[2, 2]), ("pads", &[3, 3, 3, 3])]);
        assert_eq!(slide(&resnet, &[1, 3, 224, 224], &[7, 7]), Some(vec![1, 3, 112, 112]));
        let dilated = node(&[("dilations", &[2])]);
        assert_eq!(slide(&dilated, &[1, 3, 10], &[3]), Some(vec![1, 3, 6]));
        assert_eq!(slide(&dilated, &[1, 3, 10, 10], &[3]), None, "a kernel of another rank");
        let doubling = node(&[("strides", &[2, 2])]);
        assert_eq!(transposed_convolution(&doubling, &[1, 8, 7, 7], &[8, 4, 2, 2]), Some(vec![1, 4, 14, 14]));
    }
}
