//! The convolutions of DETR: a ResNet whose batch normalisations are frozen.
//!
//! Reference: `ResNetBackbone` of transformers with `DetrFrozenBatchNorm2d` in place of every normalisation.

use burn::module::{Module, RunningState};
use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::{Device, Tensor};

use super::activation::relu;
use super::blocks::conv2d;
use super::channels::Widths;
use super::cost::ConvShape;
use super::hooks::is_watched;
use super::layers::{Layer, scale_channels};
use super::observe::{self, Shape, module};
use super::resnet::{BlockShape, ResNetConfig, STEM, stem_pool};

/// Of all normalisations.
const EPSILON: f64 = 1e-5;

/// A batch normalisation whose statistics, scale and shift are all fixed: buffers, no parameters.
#[derive(Module, Debug)]
pub struct FrozenBatchNorm {
    /// The scale, `[channels]`.
    pub weight: RunningState<Tensor<1>>,
    /// The shift, `[channels]`.
    pub bias: RunningState<Tensor<1>>,
    /// `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
}

impl FrozenBatchNorm {
    fn new(channels: usize, device: &Device) -> Self {
        let zeros = || RunningState::new(Tensor::zeros([channels], device));
        let ones = || RunningState::new(Tensor::ones([channels], device));
        Self { weight: ones(), bias: zeros(), running_mean: zeros(), running_var: ones() }
    }

    /// `[batch, channels, height, width]` to the same.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let scale = self.weight.value() / (self.running_var.value() + EPSILON).sqrt();
        let shift = self.bias.value() - self.running_mean.value() * scale.clone();
        scale_channels(x, scale, shift)
    }
}

/// A convolution without bias and the frozen normalisation behind it.
#[derive(Module, Debug)]
pub struct FrozenConvBn {
    /// The convolution.
    pub convolution: Conv2d,
    /// The normalisation of what it writes.
    pub normalization: FrozenBatchNorm,
}

impl FrozenConvBn {
    fn new(shape: ConvShape, device: &Device) -> Self {
        Self { convolution: conv2d(shape, device), normalization: FrozenBatchNorm::new(shape.channels_out, device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.convolution.run(x);
        let shape = || Shape { weights: 4 * self.normalization.weight.value().dims()[0], ..Shape::default() };
        observe::operator(observe::layer(&self.normalization), shape, x, |x| self.normalization.forward(x))
    }
}

/// Two or three convolutions around a shortcut.
#[derive(Module, Debug)]
pub struct BackboneBlock {
    /// The shortcut's projection, where the shape changes.
    pub shortcut: Option<FrozenConvBn>,
    /// The main path.
    pub layer: Vec<FrozenConvBn>,
}

impl BackboneBlock {
    fn new(shape: BlockShape, device: &Device) -> Self {
        let pair = |conv| FrozenConvBn::new(conv, device);
        Self {
            shortcut: shape.downsample().map(pair),
            layer: shape.main_path().into_iter().chain(shape.expand()).map(pair).collect(),
        }
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(projection) => projection.forward(x.clone()),
            None => x.clone(),
        };
        let mut x = x;
        for (index, conv) in self.layer.iter().enumerate() {
            let input = if index == 0 { x } else { relu(x) };
            x = conv.forward(input);
        }
        relu(x + shortcut)
    }
}

/// The blocks of one resolution.
#[derive(Module, Debug)]
pub struct BackboneStage {
    /// The blocks.
    pub layers: Vec<BackboneBlock>,
}

impl BackboneStage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(x, |x, block| module(block, || block.forward(x)))
    }
}

/// A ResNet without its classifier.
#[derive(Module, Debug)]
pub struct Backbone {
    /// 7x7, stride 2.
    pub stem: FrozenConvBn,
    /// 3x3, stride 2.
    pub pool: MaxPool2d,
    /// A quarter of the image's height; never trained.
    pub first_stage: BackboneStage,
    /// An eighth, a sixteenth and a thirty-second.
    pub later_stages: Vec<BackboneStage>,
}

impl Backbone {
    pub(super) fn new(config: &ResNetConfig, device: &Device) -> Self {
        let [first_stage, second, third, fourth] = config.stages(Widths::default()).map(|blocks| BackboneStage {
            layers: blocks.into_iter().map(|shape| BackboneBlock::new(shape, device)).collect(),
        });
        Self {
            stem: FrozenConvBn::new(STEM, device),
            pool: stem_pool(),
            first_stage,
            later_stages: vec![second, third, fourth],
        }
    }

    /// `[batch, 3, height, width]` to `[batch, channels, height / 32, width / 32]`, every halving rounded up.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.pool.run(relu(self.stem.forward(x)));
        let x = module(&self.first_stage, || self.first_stage.forward(x));
        // No gradient goes further back: what comes before is frozen. An explanation asks for that of the image.
        let x = if is_watched() { x } else { x.detach() };
        self.later_stages.iter().fold(x, |x, stage| module(stage, || stage.forward(x)))
    }
}
