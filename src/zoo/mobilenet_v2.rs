//! MobileNetV2 (Sandler et al., "Inverted residuals and linear bottlenecks", 2018), width 1.
//!
//! Reference: torchvision's `mobilenet_v2`. The dropout before the classifier is left out.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::activation::relu6;
use super::batch::{Batch, Output};
use super::blocks::{ConvBn, classification_loss, dense, global_average_pool};
use super::channels::{ChannelGroup, Flexible, Widths};
use super::cost::{ConvShape, CostCounter, image_size};
use super::error::ZooError;
use super::layers::Layer;
use super::network::{Architecture, Network, boxed};
use super::observe::module;
use super::targets::Targets;
use super::weights::{Checkpoint, Pattern};
use crate::domain::model::{InputSpec, ModelCost};

/// Channels that the stem writes.
const STEM_CHANNELS: usize = 32;
/// Channels before the classifier.
const HEAD_CHANNELS: usize = 1280;

/// A run of inverted residuals, one row of table 2 of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How many times wider the depthwise convolution is than what comes in.
    pub expansion: usize,
    /// Channels that leave.
    pub channels: usize,
    /// Blocks.
    pub blocks: usize,
    /// Stride of the first block; the others have 1.
    pub stride: usize,
}

/// Sizes of a [`MobileNetV2`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobileNetV2Config {
    /// The stages in order; only the first may have expansion 1, and it must have a single block.
    pub stages: Vec<Stage>,
    /// Number of classes.
    pub classes: usize,
}

impl Default for MobileNetV2Config {
    fn default() -> Self {
        let stages =
            [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
                .map(|(expansion, channels, blocks, stride)| Stage { expansion, channels, blocks, stride });
        Self { stages: stages.to_vec(), classes: 1000 }
    }
}

/// One inverted residual's place in the network.
#[derive(Clone, Copy)]
struct BlockShape {
    channels_in: usize,
    channels_out: usize,
    /// Whether a convolution makes the hidden channels; otherwise they are those that come in.
    expands: bool,
    hidden: usize,
    stride: usize,
}

impl BlockShape {
    fn expand(self) -> Option<ConvShape> {
        self.expands.then(|| ConvShape::new(self.channels_in, self.hidden, 1, 1))
    }

    fn depthwise(self) -> ConvShape {
        ConvShape::depthwise(self.hidden, 3, self.stride)
    }

    fn project(self) -> ConvShape {
        ConvShape::new(self.hidden, self.channels_out, 1, 1)
    }
}

impl MobileNetV2Config {
    fn stem(&self) -> ConvShape {
        ConvShape::new(3, STEM_CHANNELS, 3, 2)
    }

    fn blocks(&self, widths: Widths<'_>) -> Vec<BlockShape> {
        let mut channels_in = STEM_CHANNELS;
        let mut shapes = Vec::new();
        let mut group = 0;
        for stage in &self.stages {
            for index in 0..stage.blocks {
                let full = channels_in * stage.expansion;
                let expands = stage.expansion != 1;
                shapes.push(BlockShape {
                    channels_in,
                    channels_out: stage.channels,
                    expands,
                    hidden: if expands { widths.of(group, full) } else { full },
                    stride: if index == 0 { stage.stride } else { 1 },
                });
                group += usize::from(expands);
                channels_in = stage.channels;
            }
        }
        shapes
    }

    fn head(&self) -> ConvShape {
        let last = self.stages.last().map_or(STEM_CHANNELS, |stage| stage.channels);
        ConvShape::new(last, HEAD_CHANNELS, 1, 1)
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> MobileNetV2 {
        self.init_with(Widths::default(), device)
    }

    fn init_with(&self, widths: Widths<'_>, device: &Device) -> MobileNetV2 {
        MobileNetV2 {
            stem: ConvBn::new(self.stem(), device),
            blocks: self.blocks(widths).into_iter().map(|shape| InvertedResidual::new(shape, device)).collect(),
            head: ConvBn::new(self.head(), device),
            classifier: dense(HEAD_CHANNELS, self.classes, device),
        }
    }

    /// The cost for an image of `[height, width]`.
    pub fn cost(&self, image: [usize; 2]) -> ModelCost {
        self.cost_with(Widths::default(), image)
    }

    fn cost_with(&self, widths: Widths<'_>, image: [usize; 2]) -> ModelCost {
        let mut counter = CostCounter::new();
        let mut size = counter.conv_bn(self.stem(), image);
        for shape in self.blocks(widths) {
            if let Some(expand) = shape.expand() {
                size = counter.conv_bn(expand, size);
            }
            size = counter.conv_bn(shape.depthwise(), size);
            size = counter.conv_bn(shape.project(), size);
        }
        counter.conv_bn(self.head(), size);
        counter.linear(1, HEAD_CHANNELS, self.classes);
        counter.finish()
    }
}

impl Flexible for MobileNetV2Config {
    /// The hidden channels of every inverted residual that makes its own; what leaves a block stays, as most are
    /// added to a shortcut.
    fn groups(&self) -> Vec<ChannelGroup> {
        let blocks = self.blocks(Widths::default()).into_iter().zip(1..);
        blocks
            .filter(|(shape, _)| shape.expands)
            .map(|(shape, number)| {
                let layer = |place: &str| format!("features.{number}.conv.{place}");
                ChannelGroup::new(shape.hidden, &layer("0.0"), &layer("2"))
                    .with_norm(&layer("0.1"))
                    .with_depthwise(&layer("1.0"), &layer("1.1"))
            })
            .collect()
    }

    fn narrowed(&self, widths: Widths<'_>, device: &Device) -> Box<dyn Network> {
        boxed(self.init_with(widths, device), device)
    }

    fn narrowed_cost(&self, widths: Widths<'_>, inputs: &[InputSpec]) -> ModelCost {
        self.cost_with(widths, image_size(inputs))
    }
}

/// Widen, filter each channel by itself, narrow without activation; a shortcut where the shape stays.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    /// 1x1; none where the expansion is 1.
    pub expand: Option<ConvBn>,
    /// 3x3, one group a channel.
    pub depthwise: ConvBn,
    /// 1x1.
    pub project: ConvBn,
    /// Whether the input is added.
    pub residual: bool,
}

impl InvertedResidual {
    fn new(shape: BlockShape, device: &Device) -> Self {
        Self {
            expand: shape.expand().map(|conv| ConvBn::new(conv, device)),
            depthwise: ConvBn::new(shape.depthwise(), device),
            project: ConvBn::new(shape.project(), device),
            residual: shape.stride == 1 && shape.channels_in == shape.channels_out,
        }
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let wide = match &self.expand {
            Some(expand) => relu6(expand.forward(x.clone())),
            None => x.clone(),
        };
        let filtered = relu6(self.depthwise.forward(wide));
        let narrow = self.project.forward(filtered);
        if self.residual { x + narrow } else { narrow }
    }
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct MobileNetV2 {
    /// 3x3, stride 2.
    pub stem: ConvBn,
    /// The inverted residuals of all stages.
    pub blocks: Vec<InvertedResidual>,
    /// 1x1, to 1280 channels.
    pub head: ConvBn,
    /// The classifier.
    pub classifier: Linear,
}

impl MobileNetV2 {
    /// `[batch, 3, height, width]` to logits `[batch, classes]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = relu6(self.stem.forward(x)); // [batch, 32, height / 2, width / 2]
        for block in &self.blocks {
            x = module(block, || block.forward(x));
        }
        let x = relu6(self.head.forward(x)); // [batch, 1280, height / 32, width / 32]
        self.classifier.run(global_average_pool(x))
    }
}

impl Architecture for MobileNetV2 {
    type Features = Tensor<2>;

    fn features(&self, batch: &Batch) -> Result<Tensor<2>, ZooError> {
        Ok(self.forward(batch.image(1)?))
    }

    fn outputs(&self, logits: Tensor<2>) -> Vec<Output> {
        vec![Output::d2("logits", logits)]
    }

    fn loss(&self, logits: Tensor<2>, _batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError> {
        classification_loss(logits, targets)
    }

    /// torchvision numbers everything: the stem is `features.0`, block i is `features.{i+1}.conv`, the head
    /// follows the blocks, the convolution and norm of a pair are 0 and 1, and in a block the projection's
    /// pair is not nested: `conv.2` and `conv.3` (`conv.1` and `conv.2` in the first, which does not expand).
    fn reference_name(path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let of_pair = |layer: &str| if layer == "conv" { 0 } else { 1 };
        match parts[..] {
            ["stem", layer, name] => format!("features.0.{}.{name}", of_pair(layer)),
            ["head", layer, name] => format!("features.18.{}.{name}", of_pair(layer)),
            ["classifier", name] => format!("classifier.1.{name}"),
            ["blocks", index, part, layer, name] => {
                let first = index == "0";
                let block = index.parse::<usize>().map_or(0, |index| index + 1);
                match part {
                    "expand" => format!("features.{block}.conv.0.{}.{name}", of_pair(layer)),
                    "depthwise" => {
                        let place = if first { 0 } else { 1 };
                        format!("features.{block}.conv.{place}.{}.{name}", of_pair(layer))
                    }
                    _ => {
                        let place = if first { 1 } else { 2 };
                        format!("features.{block}.conv.{}.{name}", place + of_pair(layer))
                    }
                }
            }
            _ => path.to_owned(),
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { ignored: &[Pattern::End(".num_batches_tracked")], ..Checkpoint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_torchvision() {
        let name = MobileNetV2::reference_name;
        assert_eq!(name("stem.conv.weight"), "features.0.0.weight");
        assert_eq!(name("blocks.0.depthwise.bn.bias"), "features.1.conv.0.1.bias");
        assert_eq!(name("blocks.0.project.conv.weight"), "features.1.conv.1.weight");
        assert_eq!(name("blocks.0.project.bn.bias"), "features.1.conv.2.bias");
        assert_eq!(name("blocks.16.expand.conv.weight"), "features.17.conv.0.0.weight");
        assert_eq!(name("blocks.16.project.bn.weight"), "features.17.conv.3.weight");
        assert_eq!(name("head.bn.running_var"), "features.18.1.running_var");
    }
}
