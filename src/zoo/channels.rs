//! Inner channels: the widths that a weight file may choose for itself.
//!
//! A channel that one layer writes and one other reads can be taken out without changing what the layers around
//! them see; its file then has smaller tensors than the reference. A [`ChannelGroup`] says where the channels of
//! such a pair of layers lie. From the groups follow both the widths of a file and the places where pruning cuts, so
//! that what is cut can always be built again.
//!
//! What residual connections join (the width of a transformer, what a residual block writes) is no group: there a
//! channel belongs to many layers at once.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::network::Network;
use crate::domain::model::{InputSpec, ModelCost};

/// The shapes of tensors, by reference names and in the reference's layout.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// A network whose inner widths are free.
pub trait Flexible {
    /// Its inner channels at full width, in the order of the layers.
    fn groups(&self) -> Vec<ChannelGroup>;

    /// The width of every group in these shapes. A group has the width that its tensors agree on, at least 1 and at most
    /// the full one; tensors that are missing agree with anything. Where two of the others differ it is the full one.
    fn widths_in(&self, shapes: &Shapes) -> Vec<usize> {
        self.groups().iter().map(|group| group.width(shapes)).collect()
    }

    /// The network with these widths, its weights not initialised yet.
    fn narrowed(&self, widths: Widths<'_>, device: &Device) -> Box<dyn Network>;

    /// The cost of one sample with these widths; an input that is missing costs nothing.
    fn narrowed_cost(&self, widths: Widths<'_>, inputs: &[InputSpec]) -> ModelCost;
}

/// Inner widths in the order of [`Flexible::groups`]; the default has all of them full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Widths<'a>(pub &'a [usize]);

impl Widths<'_> {
    /// The width of a group; `full` where the list ends before it.
    pub fn of(self, group: usize, full: usize) -> usize {
        self.0.get(group).copied().unwrap_or(full)
    }
}

/// Channels that one layer writes, one other reads, and some work on one by one in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelGroup {
    /// The number of channels at full width.
    pub channels: usize,
    /// The weight that writes them.
    pub producer: Slice,
    /// The batch normalisation right behind, as the prefix of its tensors' names; [`followers`](Self::followers)
    /// has them too.
    pub norm: Option<String>,
    /// Biases, normalisations and depthwise convolutions that work on each channel by itself.
    pub followers: Vec<Slice>,
    /// The weight that reads them.
    pub consumer: Slice,
}

/// Where a tensor keeps something of every channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The tensor's reference name.
    pub tensor: String,
    /// The dimension along which the channels lie.
    pub axis: usize,
    /// How many neighbours along the dimension belong to one channel: more than one where pixels were flattened.
    pub extent: usize,
}

impl Slice {
    fn new(tensor: String, axis: usize) -> Self {
        Self { tensor, axis, extent: 1 }
    }
}

impl ChannelGroup {
    /// The channels between two layers by their names, the weights of which are `[out, in, ...]`.
    pub(super) fn new(channels: usize, producer: &str, consumer: &str) -> Self {
        Self {
            channels,
            producer: Slice::new(format!("{producer}.weight"), 0),
            norm: None,
            followers: Vec::new(),
            consumer: Slice::new(format!("{consumer}.weight"), 1),
        }
    }

    /// The inside of a feed-forward part: two linear layers, the first with a bias.
    pub(super) fn feed_forward(channels: usize, first: &str, second: &str) -> Self {
        Self::new(channels, first, second).with_bias(first)
    }

    /// The same, for weights that the reference stores as `[in, out]`.
    pub(super) fn transposed(mut self) -> Self {
        self.producer.axis = 1;
        self.consumer.axis = 0;
        self
    }

    /// The same, where every channel reaches the consumer as `extent` features.
    pub(super) fn flattened(mut self, extent: usize) -> Self {
        self.consumer.extent = extent;
        self
    }

    /// The same, with the bias of this layer.
    pub(super) fn with_bias(mut self, layer: &str) -> Self {
        self.followers.push(Slice::new(format!("{layer}.bias"), 0));
        self
    }

    /// The same, with the batch normalisation of this name right behind the producer.
    pub(super) fn with_norm(mut self, norm: &str) -> Self {
        self.norm = Some(norm.to_owned());
        self.with_norm_of(norm)
    }

    /// The same, with a depthwise convolution and its batch normalisation on the way.
    pub(super) fn with_depthwise(mut self, conv: &str, norm: &str) -> Self {
        self.followers.push(Slice::new(format!("{conv}.weight"), 0));
        self.with_norm_of(norm)
    }

    fn with_norm_of(mut self, norm: &str) -> Self {
        let tensors = ["weight", "bias", "running_mean", "running_var"];
        self.followers.extend(tensors.map(|tensor| Slice::new(format!("{norm}.{tensor}"), 0)));
        self
    }

    /// Every place that holds something of the channels, the producer first and the consumer last.
    pub fn slices(&self) -> impl Iterator<Item = &Slice> {
        std::iter::once(&self.producer).chain(&self.followers).chain(std::iter::once(&self.consumer))
    }

    /// See [`Flexible::widths_in`].
    fn width(&self, shapes: &Shapes) -> usize {
        let extent = |slice: &Slice| shapes.get(&slice.tensor).map(|shape| shape.get(slice.axis).copied());
        let Some(Some(width)) = extent(&self.producer) else { return self.channels };
        let agreed = self.slices().all(|slice| extent(slice).is_none_or(|found| found == Some(width * slice.extent)));
        if agreed && (1..=self.channels).contains(&width) { width } else { self.channels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(list: &[(&str, &[usize])]) -> Shapes {
        list.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()
    }

    #[test]
    fn a_width_is_what_all_tensors_of_the_group_agree_on() {
        let group = ChannelGroup::new(8, "a", "b").with_bias("a").flattened(4);
        let width = |list: &[(&str, &[usize])]| group.width(&shapes(list));
        assert_eq!(width(&[("a.weight", &[5, 3]), ("a.bias", &[5]), ("b.weight", &[2, 20])]), 5);
        assert_eq!(width(&[("a.weight", &[5, 3]), ("b.weight", &[2, 20])]), 5);
        // A bias or a consumer of another width, no producer, wider than full, empty, of another rank.
        assert_eq!(width(&[("a.weight", &[5, 3]), ("a.bias", &[6]), ("b.weight", &[2, 20])]), 8);
        assert_eq!(width(&[("a.weight", &[5, 3]), ("a.bias", &[5]), ("b.weight", &[2, 5])]), 8);
        assert_eq!(width(&[("a.bias", &[5]), ("b.weight", &[2, 20])]), 8);
        assert_eq!(width(&[("a.weight", &[9, 3])]), 8);
        assert_eq!(width(&[("a.weight", &[0, 3])]), 8);
        assert_eq!(width(&[("a.weight", &[5, 3]), ("b.weight", &[20])]), 8);
    }

    #[test]
    fn transposed_layers_swap_their_dimensions() {
        let group = ChannelGroup::feed_forward(8, "a", "b").transposed();
        let found = group.width(&shapes(&[("a.weight", &[3, 5]), ("a.bias", &[5]), ("b.weight", &[5, 2])]));
        assert_eq!(found, 5);
    }
}
