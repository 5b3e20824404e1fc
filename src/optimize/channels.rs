//! Pruning of whole channels (Li et al., "Pruning filters for efficient ConvNets", 2017): what is left is a smaller
//! dense network, which is less work for any device.

use std::collections::HashMap;

use super::error::{OptimizeError, checked_share};
use crate::domain::model::{HostData, HostTensor};
use crate::zoo::blocks::BATCH_NORM_EPSILON;
use crate::zoo::{ChannelGroup, Slice};

/// How channels are pruned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelPruning {
    /// The share of the channels of every group that goes, from 0 to 1; one channel is always left.
    pub share: f64,
    /// What is left of a group is rounded up to a multiple of this, or to the whole group: kernels like whole vector
    /// registers. 1 leaves the number as it is.
    pub multiple: usize,
}

/// What became of a group of channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWidth {
    /// The weight that writes the channels.
    pub producer: String,
    /// Channels before.
    pub before: usize,
    /// Channels left.
    pub after: usize,
}

/// Takes the least important channels out of every group, with all that belongs to them: filters, biases,
/// normalisations, and the weights that read them. The groups are those of the network that the weights are of, full
/// or narrowed already ([`ModelEntry::channel_groups`](crate::zoo::ModelEntry::channel_groups)).
///
/// A channel's importance is the L1 norm of the filter that writes it. Where a batch normalisation follows, the norm is
/// that of the filter which the two make together at inference, `|gamma| / sqrt(variance + epsilon)` times larger:
/// behind a normalisation the scale of a filter by itself means nothing. Groups are pruned in order, so what a filter
/// read of channels that are gone counts no more (the greedy way of Li et al.). Of equals the first is kept.
///
/// # Errors
///
/// Options out of range, no groups, weights that lack what the groups name, or are not finite numbers. The weights are
/// half-way done then.
pub fn prune_channels(
    weights: &mut [HostTensor],
    groups: &[ChannelGroup],
    options: &ChannelPruning,
) -> Result<Vec<GroupWidth>, OptimizeError> {
    let share = checked_share("share", options.share)?;
    if options.multiple == 0 {
        return Err(OptimizeError::Option { option: "multiple", value: 0.0, expected: "at least 1" });
    }
    if groups.is_empty() {
        return Err(OptimizeError::FixedChannels);
    }
    let mut weights = Weights::new(weights);
    groups
        .iter()
        .map(|group| {
            let importance = weights.importance(group)?;
            let kept = most_important(&importance, left(importance.len(), share, options.multiple));
            for slice in group.slices() {
                weights.keep(slice, importance.len(), &kept)?;
            }
            Ok(GroupWidth { producer: group.producer.tensor.clone(), before: importance.len(), after: kept.len() })
        })
        .collect()
}

/// How many of `channels` are left.
fn left(channels: usize, share: f64, multiple: usize) -> usize {
    let wanted = (channels as f64 * (1.0 - share)).round() as usize;
    wanted.max(1).next_multiple_of(multiple).min(channels)
}

/// The indices of the `count` largest, in ascending order; of equals the first.
fn most_important(importance: &[f64], count: usize) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..importance.len()).collect();
    // The sort is stable.
    ranked.sort_by(|&a, &b| importance[b].total_cmp(&importance[a]));
    ranked.truncate(count);
    ranked.sort_unstable();
    ranked
}

/// The weights by their names.
struct Weights<'a> {
    tensors: &'a mut [HostTensor],
    places: HashMap<String, usize>,
}

/// A tensor cut along one axis: `outer` rows of `extent` blocks of `inner` elements.
struct Cut<'a> {
    values: &'a mut Vec<f32>,
    shape: &'a mut [usize],
    extent: usize,
    inner: usize,
}

impl<'a> Weights<'a> {
    fn new(tensors: &'a mut [HostTensor]) -> Self {
        let places = tensors.iter().enumerate().map(|(place, tensor)| (tensor.name.clone(), place)).collect();
        Self { tensors, places }
    }

    /// The tensor of this name along this axis; none of its extents is 0.
    fn cut(&mut self, name: &str, axis: usize) -> Result<Cut<'_>, OptimizeError> {
        let refused = || {
            let expected = format!("floats with at least {} dimensions, none of them empty", axis + 1);
            OptimizeError::Tensor { name: name.to_owned(), expected }
        };
        let place = *self.places.get(name).ok_or_else(refused)?;
        let HostTensor { shape, data: HostData::F32(values), .. } = &mut self.tensors[place] else {
            return Err(refused());
        };
        let fits = axis < shape.len() && !values.is_empty() && values.len() == shape.iter().product::<usize>();
        if !fits {
            return Err(refused());
        }
        let inner = shape[axis + 1..].iter().product();
        Ok(Cut { values, extent: shape[axis], inner, shape })
    }

    /// The importance of every channel that the group has.
    fn importance(&mut self, group: &ChannelGroup) -> Result<Vec<f64>, OptimizeError> {
        let producer = &group.producer;
        let cut = self.cut(&producer.tensor, producer.axis)?;
        let mut importance = vec![0.0; cut.extent];
        for (block, values) in cut.values.chunks(cut.inner).enumerate() {
            importance[block % cut.extent] += values.iter().map(|value| f64::from(value.abs())).sum::<f64>();
        }
        if let Some(norm) = &group.norm {
            let gamma = self.channel_values(&format!("{norm}.weight"), importance.len())?;
            let variance = self.channel_values(&format!("{norm}.running_var"), importance.len())?;
            for ((importance, gamma), variance) in importance.iter_mut().zip(gamma).zip(variance) {
                *importance *= gamma.abs() / (variance + BATCH_NORM_EPSILON).sqrt();
            }
        }
        if importance.iter().all(|value| value.is_finite()) {
            Ok(importance)
        } else {
            Err(OptimizeError::NotFinite { name: producer.tensor.clone() })
        }
    }

    /// The values of a tensor that has one for each of the channels.
    fn channel_values(&mut self, name: &str, channels: usize) -> Result<Vec<f64>, OptimizeError> {
        let cut = self.cut(name, 0)?;
        if cut.values.len() != channels {
            return Err(OptimizeError::Tensor { name: name.to_owned(), expected: format!("{channels} elements") });
        }
        Ok(cut.values.iter().map(|value| f64::from(*value)).collect())
    }

    /// Leaves the channels `kept` of `channels` in a slice.
    fn keep(&mut self, slice: &Slice, channels: usize, kept: &[usize]) -> Result<(), OptimizeError> {
        let cut = self.cut(&slice.tensor, slice.axis)?;
        if cut.extent != channels * slice.extent {
            let expected = format!("{} elements along dimension {}", channels * slice.extent, slice.axis);
            return Err(OptimizeError::Tensor { name: slice.tensor.clone(), expected });
        }
        let width = slice.extent * cut.inner;
        let rows = cut.values.chunks(cut.extent * cut.inner);
        let left = rows.flat_map(|row| kept.iter().flat_map(move |&channel| &row[channel * width..][..width])).copied();
        let left: Vec<f32> = left.collect();
        *cut.values = left;
        cut.shape[slice.axis] = kept.len() * slice.extent;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_channel_is_left_and_multiples_are_rounded_up() {
        assert_eq!(left(64, 0.5, 1), 32);
        assert_eq!(left(64, 0.0, 1), 64);
        assert_eq!(left(64, 1.0, 1), 1);
        assert_eq!(left(64, 0.7, 8), 24);
        assert_eq!(left(64, 1.0, 8), 8);
        assert_eq!(left(12, 0.1, 8), 12);
        assert_eq!(left(5, 0.9, 8), 5);
    }

    #[test]
    fn of_equals_the_first_is_kept() {
        assert_eq!(most_important(&[1.0, 3.0, 1.0, 1.0, 2.0], 3), [0, 1, 4]);
        assert_eq!(most_important(&[0.0, -0.0], 2), [0, 1]);
    }

    fn tensor(name: &str, shape: &[usize], values: &[f32]) -> HostTensor {
        HostTensor { name: name.into(), shape: shape.to_vec(), data: HostData::F32(values.to_vec()) }
    }

    fn slice(tensor: &str, axis: usize, extent: usize) -> Slice {
        Slice { tensor: tensor.into(), axis, extent }
    }

    #[test]
    fn a_channel_goes_from_every_tensor_that_has_it() {
        let group = ChannelGroup {
            channels: 2,
            producer: slice("a.weight", 0, 1),
            norm: None,
            followers: vec![slice("a.bias", 0, 1)],
            consumer: slice("b.weight", 1, 2),
        };
        let mut weights = [
            tensor("a.weight", &[2, 3], &[1.0, -1.0, 1.0, 0.5, 2.0, 1.0]),
            tensor("a.bias", &[2], &[7.0, 8.0]),
            tensor("b.weight", &[2, 4], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
        ];
        let options = ChannelPruning { share: 0.5, multiple: 1 };
        let widths = prune_channels(&mut weights, &[group], &options).unwrap();
        assert_eq!(widths, [GroupWidth { producer: "a.weight".into(), before: 2, after: 1 }]);
        assert_eq!(weights[0], tensor("a.weight", &[1, 3], &[0.5, 2.0, 1.0]));
        assert_eq!(weights[1], tensor("a.bias", &[1], &[8.0]));
        assert_eq!(weights[2], tensor("b.weight", &[2, 2], &[3.0, 4.0, 7.0, 8.0]));
    }

    // Filters of 1 and 2; the normalisation makes them 1 * 6 / sqrt(4) = 3 and 2 * 1 / sqrt(1) = 2.
    #[test]
    fn a_normalisation_counts_as_part_of_the_filter() {
        let group = ChannelGroup {
            channels: 2,
            producer: slice("a.weight", 0, 1),
            norm: Some("n".into()),
            followers: vec![slice("n.weight", 0, 1), slice("n.running_var", 0, 1)],
            consumer: slice("b.weight", 1, 1),
        };
        let mut weights = [
            tensor("a.weight", &[2, 1], &[1.0, 2.0]),
            tensor("n.weight", &[2], &[-6.0, 1.0]),
            tensor("n.running_var", &[2], &[4.0, 1.0]),
            tensor("b.weight", &[1, 2], &[1.0, 1.0]),
        ];
        prune_channels(&mut weights, &[group], &ChannelPruning { share: 0.5, multiple: 1 }).unwrap();
        assert_eq!(weights[0], tensor("a.weight", &[1, 1], &[1.0]));
        assert_eq!(weights[2], tensor("n.running_var", &[1], &[4.0]));
    }

    #[test]
    fn weights_that_do_not_fit_the_groups_are_refused() {
        let group = ChannelGroup {
            channels: 2,
            producer: slice("a.weight", 0, 1),
            norm: None,
            followers: vec![],
            consumer: slice("b.weight", 1, 1),
        };
        let options = ChannelPruning { share: 0.5, multiple: 1 };
        let refused = |weights: &mut [HostTensor], groups: &[ChannelGroup]| {
            prune_channels(weights, groups, &options).unwrap_err().to_string()
        };
        let producer = || tensor("a.weight", &[2, 1], &[1.0, 2.0]);
        assert_eq!(refused(&mut [], &[]), "no channels of this network can be taken out");
        assert!(refused(&mut [], std::slice::from_ref(&group)).contains("`a.weight`"));
        let consumer = tensor("b.weight", &[1, 3], &[1.0; 3]);
        let text = refused(&mut [producer(), consumer], std::slice::from_ref(&group));
        assert_eq!(text, "the weights hold no tensor `b.weight` of 2 elements along dimension 1");
        let broken = tensor("a.weight", &[2, 1], &[1.0, f32::INFINITY]);
        assert!(refused(&mut [broken], &[group]).contains("finite"));
    }
}
