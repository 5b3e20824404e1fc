//! Magnitude pruning of single weights (Han et al., "Learning both weights and connections for efficient neural
//! networks", 2015): the smallest weights become zero, wherever they are.

use clap::ValueEnum;

use super::error::{OptimizeError, checked_share};
use crate::domain::model::{HostData, HostTensor};

/// How weights are pruned one by one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MagnitudePruning {
    /// The share of the weights that is zero afterwards, from 0 to 1.
    pub share: f64,
    /// Among which weights the smallest are sought.
    pub scope: PruningScope,
}

/// Among which weights the smallest are sought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum PruningScope {
    /// Among all of the network: layers with small weights lose more.
    #[default]
    Global,
    /// Within each tensor: every layer loses the same share.
    Tensor,
}

/// How much of a set of weights is not zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparsity {
    /// Every tensor, in the order of the weights.
    pub tensors: Vec<TensorSparsity>,
}

/// How much of one tensor is not zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSparsity {
    /// The reference name.
    pub name: String,
    /// All elements.
    pub elements: u64,
    /// Those that are neither 0 nor -0.
    pub nonzero: u64,
}

impl TensorSparsity {
    /// The share of the elements that is not zero; 1 for an empty tensor.
    pub fn nonzero_share(&self) -> f64 {
        share(self.nonzero, self.elements)
    }
}

impl Sparsity {
    /// The share of all elements that is not zero, biases and buffers included; 1 where there are none.
    pub fn nonzero_share(&self) -> f64 {
        let sum = |count: fn(&TensorSparsity) -> u64| self.tensors.iter().map(count).sum::<u64>();
        share(sum(|tensor| tensor.nonzero), sum(|tensor| tensor.elements))
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// Counts the elements that are not zero.
pub fn sparsity(weights: &[HostTensor]) -> Sparsity {
    let count = |tensor: &HostTensor| match &tensor.data {
        HostData::F32(values) => values.iter().filter(|value| **value != 0.0).count(),
        HostData::I64(values) => values.iter().filter(|value| **value != 0).count(),
    };
    let tensors = weights
        .iter()
        .map(|tensor| TensorSparsity {
            name: tensor.name.clone(),
            elements: tensor.data.len() as u64,
            nonzero: count(tensor) as u64,
        })
        .collect();
    Sparsity { tensors }
}

/// Sets the smallest weights to zero, by their absolute values: of every scope `share` of the elements, rounded to the
/// nearest whole number. Weights are the tensors of two or more dimensions; biases, normalisations and running
/// statistics stay. Of weights that are equally small, those that come first (tensor by tensor, row-major) go first.
/// Weights that are zero already are among the smallest, so pruning twice does no more than once.
///
/// # Errors
///
/// A share outside of 0 to 1, weights that are not finite numbers. The weights are untouched by both.
pub fn prune_magnitudes(weights: &mut [HostTensor], options: &MagnitudePruning) -> Result<(), OptimizeError> {
    let share = checked_share("share", options.share)?;
    let mut tensors: Vec<&mut [f32]> = Vec::new();
    for tensor in weights.iter_mut().filter(|tensor| tensor.shape.len() >= 2) {
        if let HostData::F32(values) = &mut tensor.data {
            if !values.iter().all(|value| value.is_finite()) {
                return Err(OptimizeError::NotFinite { name: tensor.name.clone() });
            }
            tensors.push(values);
        }
    }
    match options.scope {
        PruningScope::Global => zero_smallest(&mut tensors, share),
        PruningScope::Tensor => tensors.chunks_mut(1).for_each(|tensor| zero_smallest(tensor, share)),
    }
    Ok(())
}

/// The absolute value as an integer that sorts like it: IEEE 754 without the sign.
fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7FFF_FFFF
}

/// Finds the magnitude below which weights go by counting, first the upper halves of all magnitudes, then the lower
/// halves of those that share the decisive upper one: no copy of the weights is sorted.
fn zero_smallest(tensors: &mut [&mut [f32]], share: f64) {
    let elements: usize = tensors.iter().map(|values| values.len()).sum();
    let count = (elements as f64 * share).round() as usize;
    if count == 0 {
        return;
    }
    let magnitudes = || tensors.iter().flat_map(|values| values.iter().map(|value| magnitude(*value)));
    let (upper, left) = decisive(magnitudes().map(|found| found >> 16), count);
    let (lower, ties) = decisive(magnitudes().filter(|found| found >> 16 == upper).map(|found| found & 0xFFFF), left);
    let threshold = (upper << 16) | lower;
    let mut ties = ties;
    for value in tensors.iter_mut().flat_map(|values| values.iter_mut()) {
        let found = magnitude(*value);
        let tied = found == threshold && ties > 0;
        ties -= usize::from(tied);
        if found < threshold || tied {
            *value = 0.0;
        }
    }
}

/// The `count`-th smallest of these numbers below 2^16 (from 1 on), and how many of its equals are among the `count`
/// smallest.
fn decisive(numbers: impl Iterator<Item = u32>, count: usize) -> (u32, usize) {
    let mut histogram = vec![0_usize; 1 << 16];
    for number in numbers {
        histogram[number as usize] += 1;
    }
    let mut left = count;
    for (number, &found) in (0..).zip(&histogram) {
        if found >= left {
            return (number, left);
        }
        left -= found;
    }
    (u32::from(u16::MAX), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize], values: &[f32]) -> HostTensor {
        HostTensor { name: name.into(), shape: shape.to_vec(), data: HostData::F32(values.to_vec()) }
    }

    fn pruned(weights: &[HostTensor], share: f64, scope: PruningScope) -> Vec<HostTensor> {
        let mut weights = weights.to_vec();
        prune_magnitudes(&mut weights, &MagnitudePruning { share, scope }).unwrap();
        weights
    }

    fn example() -> [HostTensor; 3] {
        [
            tensor("a.weight", &[2, 2], &[0.5, -0.1, 3.0, -2.0]),
            tensor("a.bias", &[2], &[0.001, 0.0]),
            tensor("b.weight", &[1, 4], &[0.2, 0.3, -0.05, 10.0]),
        ]
    }

    #[test]
    fn the_smallest_of_all_go_and_biases_stay() {
        let found = pruned(&example(), 0.5, PruningScope::Global);
        assert_eq!(found[0].data, HostData::F32(vec![0.5, 0.0, 3.0, -2.0]));
        assert_eq!(found[1], example()[1]);
        assert_eq!(found[2].data, HostData::F32(vec![0.0, 0.0, 0.0, 10.0]));
    }

    #[test]
    fn the_smallest_of_each_tensor_go() {
        let found = pruned(&example(), 0.5, PruningScope::Tensor);
        assert_eq!(found[0].data, HostData::F32(vec![0.0, 0.0, 3.0, -2.0]));
        assert_eq!(found[2].data, HostData::F32(vec![0.0, 0.3, 0.0, 10.0]));
        let counted = sparsity(&found);
        assert_eq!(counted.tensors[0].nonzero_share(), 0.5);
        assert_eq!(counted.tensors[1].nonzero, 1);
        assert_eq!(counted.nonzero_share(), 0.5);
    }

    #[test]
    fn of_equals_the_first_go() {
        let equal = [tensor("a.weight", &[2, 2], &[1.0, -1.0, 1.0, 1.0]), tensor("b.weight", &[1, 2], &[-1.0, 1.0])];
        let found = pruned(&equal, 0.5, PruningScope::Global);
        assert_eq!(found[0].data, HostData::F32(vec![0.0, 0.0, 0.0, 1.0]));
        assert_eq!(found[1], equal[1]);
    }

    #[test]
    fn a_sorted_copy_agrees_whatever_the_share() {
        let values = crate::zoo::rule::floats("weights", 5000, 0);
        let weights = [tensor("w", &[50, 100], &values)];
        for share in [0.0, 0.0001, 0.1, 0.333, 0.9, 0.9999, 1.0] {
            let found = pruned(&weights, share, PruningScope::Global);
            let mut sorted: Vec<f32> = values.iter().map(|value| value.abs()).collect();
            sorted.sort_by(f32::total_cmp);
            let gone = (5000.0 * share).round() as usize;
            let HostData::F32(found) = &found[0].data else { panic!("weights are floats") };
            assert_eq!(found.iter().filter(|value| **value == 0.0).count(), gone);
            let smallest = found.iter().filter(|value| **value != 0.0).map(|value| value.abs()).fold(2.0, f32::min);
            assert!(gone == 0 || gone == 5000 || smallest >= sorted[gone - 1]);
            assert!(found.iter().zip(&values).all(|(found, value)| *found == 0.0 || found == value));
        }
        let once = pruned(&weights, 0.4, PruningScope::Global);
        assert_eq!(pruned(&once, 0.4, PruningScope::Global), once);
    }

    #[test]
    fn what_cannot_be_pruned_is_refused_untouched() {
        for share in [-0.1, 1.1, f64::NAN] {
            let options = MagnitudePruning { share, scope: PruningScope::Global };
            assert!(matches!(prune_magnitudes(&mut example(), &options), Err(OptimizeError::Option { .. })));
        }
        let mut broken = [tensor("a.weight", &[1, 2], &[1.0, 0.1]), tensor("b.weight", &[1, 2], &[1.0, f32::NAN])];
        let options = MagnitudePruning { share: 0.5, scope: PruningScope::Tensor };
        assert!(matches!(prune_magnitudes(&mut broken, &options), Err(OptimizeError::NotFinite { .. })));
        assert_eq!(broken[0].data, HostData::F32(vec![1.0, 0.1]));
    }
}
