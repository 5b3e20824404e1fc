//! Residual networks (He et al., "Deep residual learning for image recognition", 2016).
//!
//! Reference: torchvision's `resnet18` and `resnet50`, the latter in version 1.5: the stride of a bottleneck is
//! in its 3x3 convolution, not in the first 1x1.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use super::activation::relu;
use super::batch::{Batch, Output};
use super::blocks::{ConvBn, batch_norm, classification_loss, conv2d, dense, global_average_pool};
use super::channels::{ChannelGroup, Flexible, Widths};
use super::cost::{ConvShape, CostCounter, image_size, window_output};
use super::error::ZooError;
use super::layers::Layer;
use super::network::{Architecture, Network, boxed};
use super::observe::module;
use super::targets::Targets;
use super::weights::{Checkpoint, Pattern};
use crate::domain::model::{InputSpec, ModelCost};

/// The stem: 7x7, stride 2.
pub(super) const STEM: ConvShape =
    ConvShape { channels_in: 3, channels_out: 64, kernel: 7, stride: 2, padding: 3, groups: 1, bias: false };

/// Channels of the 3x3 convolutions in the four stages.
const STAGE_WIDTHS: [usize; 4] = [64, 128, 256, 512];

/// Which block the stages are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 and 1x1 convolutions; four times as many channels leave as the 3x3 has.
    Bottleneck,
}

impl BlockKind {
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }

    /// How many inner widths a block has: the convolutions but the last.
    fn inner(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 2,
        }
    }
}

/// Sizes of a [`ResNet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResNetConfig {
    /// The block of all stages.
    pub kind: BlockKind,
    /// Blocks in each of the four stages.
    pub blocks: [usize; 4],
    /// Number of classes.
    pub classes: usize,
}

/// One block's place in the network.
#[derive(Clone, Copy)]
pub(super) struct BlockShape {
    kind: BlockKind,
    channels_in: usize,
    /// Channels that the convolutions but the last write; a basic block has the first alone.
    inner: [usize; 2],
    channels_out: usize,
    stride: usize,
}

impl BlockShape {
    /// The two convolutions that both kinds have.
    pub(super) fn main_path(self) -> [ConvShape; 2] {
        let Self { channels_in, inner: [first, second], channels_out, stride, .. } = self;
        match self.kind {
            BlockKind::Basic => {
                [ConvShape::new(channels_in, first, 3, stride), ConvShape::new(first, channels_out, 3, 1)]
            }
            BlockKind::Bottleneck => {
                [ConvShape::new(channels_in, first, 1, 1), ConvShape::new(first, second, 3, stride)]
            }
        }
    }

    /// The third convolution, of a bottleneck.
    pub(super) fn expand(self) -> Option<ConvShape> {
        (self.kind == BlockKind::Bottleneck).then(|| ConvShape::new(self.inner[1], self.channels_out, 1, 1))
    }

    /// The projection of the shortcut, where the shape changes.
    pub(super) fn downsample(self) -> Option<ConvShape> {
        (self.stride != 1 || self.channels_in != self.channels_out)
            .then(|| ConvShape::new(self.channels_in, self.channels_out, 1, self.stride))
    }
}

impl ResNetConfig {
    /// torchvision's `resnet18`.
    pub fn resnet18() -> Self {
        Self { kind: BlockKind::Basic, blocks: [2, 2, 2, 2], classes: 1000 }
    }

    /// torchvision's `resnet50`.
    pub fn resnet50() -> Self {
        Self { kind: BlockKind::Bottleneck, blocks: [3, 4, 6, 3], classes: 1000 }
    }

    /// The channels that leave the last stage.
    pub(super) fn features(&self) -> usize {
        STAGE_WIDTHS[3] * self.kind.expansion()
    }

    /// The blocks of the four stages.
    pub(super) fn stages(&self, widths: Widths<'_>) -> [Vec<BlockShape>; 4] {
        let mut channels_in = STEM.channels_out;
        let mut group = 0;
        [0, 1, 2, 3].map(|stage| {
            let full = STAGE_WIDTHS[stage];
            (0..self.blocks[stage])
                .map(|index| {
                    let shape = BlockShape {
                        kind: self.kind,
                        channels_in,
                        inner: [widths.of(group, full), widths.of(group + 1, full)],
                        channels_out: full * self.kind.expansion(),
                        stride: if stage > 0 && index == 0 { 2 } else { 1 },
                    };
                    group += self.kind.inner();
                    channels_in = shape.channels_out;
                    shape
                })
                .collect()
        })
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> ResNet {
        self.init_with(Widths::default(), device)
    }

    fn init_with(&self, widths: Widths<'_>, device: &Device) -> ResNet {
        let [layer1, layer2, layer3, layer4] =
            self.stages(widths).map(|stage| stage.into_iter().map(|shape| Block::new(shape, device)).collect());
        ResNet {
            conv1: conv2d(STEM, device),
            bn1: batch_norm(STEM.channels_out, device),
            maxpool: stem_pool(),
            layer1,
            layer2,
            layer3,
            layer4,
            fc: dense(self.features(), self.classes, device),
        }
    }

    /// The cost for an image of `[height, width]`.
    pub fn cost(&self, image: [usize; 2]) -> ModelCost {
        self.cost_with(Widths::default(), image)
    }

    fn cost_with(&self, widths: Widths<'_>, image: [usize; 2]) -> ModelCost {
        let mut counter = CostCounter::new();
        self.walk(widths, image, |conv, size| counter.conv_bn(conv, size));
        counter.linear(1, self.features(), self.classes);
        counter.finish()
    }

    /// Shows every convolution before the classifier, with the `[height, width]` it reads, to `visit`, which answers
    /// the size it writes; answers the size that the last stage writes.
    pub(super) fn walk(
        &self,
        widths: Widths<'_>,
        image: [usize; 2],
        mut visit: impl FnMut(ConvShape, [usize; 2]) -> [usize; 2],
    ) -> [usize; 2] {
        let mut size = window_output(visit(STEM, image), 3, 2, 1);
        for shape in self.stages(widths).into_iter().flatten() {
            if let Some(shortcut) = shape.downsample() {
                visit(shortcut, size);
            }
            for conv in shape.main_path().into_iter().chain(shape.expand()) {
                size = visit(conv, size);
            }
        }
        size
    }
}

/// The pooling behind the stem: 3x3, stride 2.
pub(super) fn stem_pool() -> MaxPool2d {
    MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init()
}

impl Flexible for ResNetConfig {
    /// What the convolutions of a block but the last write; what leaves a block is added to its shortcut.
    fn groups(&self) -> Vec<ChannelGroup> {
        let mut groups = Vec::new();
        for (stage, full) in STAGE_WIDTHS.into_iter().enumerate() {
            for block in 0..self.blocks[stage] {
                for inner in 1..=self.kind.inner() {
                    let layer = |name: &str, number| format!("layer{}.{block}.{name}{number}", stage + 1);
                    let group = ChannelGroup::new(full, &layer("conv", inner), &layer("conv", inner + 1));
                    groups.push(group.with_norm(&layer("bn", inner)));
                }
            }
        }
        groups
    }

    fn narrowed(&self, widths: Widths<'_>, device: &Device) -> Box<dyn Network> {
        boxed(self.init_with(widths, device), device)
    }

    fn narrowed_cost(&self, widths: Widths<'_>, inputs: &[InputSpec]) -> ModelCost {
        self.cost_with(widths, image_size(inputs))
    }
}

/// Two or three convolutions around a shortcut. In a basic block the first two are 3x3; in a bottleneck the
/// first narrows by 1x1, the second is 3x3, and `expand` widens by 1x1.
#[derive(Module, Debug)]
pub struct Block {
    /// Of a basic block it carries the stride.
    pub conv1: Conv2d,
    /// Of `conv1`.
    pub bn1: BatchNorm,
    /// 3x3; of a bottleneck it carries the stride.
    pub conv2: Conv2d,
    /// Of `conv2`.
    pub bn2: BatchNorm,
    /// The third pair of a bottleneck.
    pub expand: Option<ConvBn>,
    /// The shortcut's projection, where the shape changes.
    pub downsample: Option<ConvBn>,
}

impl Block {
    fn new(shape: BlockShape, device: &Device) -> Self {
        let [first, second] = shape.main_path();
        let pair = |conv| ConvBn::new(conv, device);
        Self {
            conv1: conv2d(first, device),
            bn1: batch_norm(first.channels_out, device),
            conv2: conv2d(second, device),
            bn2: batch_norm(second.channels_out, device),
            expand: shape.expand().map(pair),
            downsample: shape.downsample().map(pair),
        }
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some(projection) => projection.forward(x.clone()),
            None => x.clone(),
        };
        let x = relu(self.bn1.run(self.conv1.run(x)));
        let x = self.bn2.run(self.conv2.run(x));
        let x = match &self.expand {
            Some(expand) => expand.forward(relu(x)),
            None => x,
        };
        relu(x + shortcut)
    }
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct ResNet {
    /// 7x7, stride 2.
    pub conv1: Conv2d,
    /// Of `conv1`.
    pub bn1: BatchNorm,
    /// 3x3, stride 2.
    pub maxpool: MaxPool2d,
    /// Stage 1, a quarter of the image's height.
    pub layer1: Vec<Block>,
    /// Stage 2, an eighth.
    pub layer2: Vec<Block>,
    /// Stage 3, a sixteenth.
    pub layer3: Vec<Block>,
    /// Stage 4, a thirty-second.
    pub layer4: Vec<Block>,
    /// The classifier.
    pub fc: Linear,
}

impl ResNet {
    /// `[batch, 3, height, width]` to logits `[batch, classes]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = relu(self.bn1.run(self.conv1.run(x))); // [batch, 64, height / 2, width / 2]
        let mut x = self.maxpool.run(x); // [batch, 64, height / 4, width / 4]
        let stages = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        for block in stages.into_iter().flatten() {
            x = module(block, || block.forward(x));
        }
        self.fc.run(global_average_pool(x)) // [batch, features] to [batch, classes]
    }
}

impl Architecture for ResNet {
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

    fn reference_name(path: &str) -> String {
        path.replace(".expand.conv.", ".conv3.")
            .replace(".expand.bn.", ".bn3.")
            .replace(".downsample.conv.", ".downsample.0.")
            .replace(".downsample.bn.", ".downsample.1.")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { ignored: &[Pattern::End(".num_batches_tracked")], ..Checkpoint::default() }
    }
}
