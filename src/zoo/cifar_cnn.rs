//! The small CIFAR-10 network: three blocks of conv-ReLU-conv-ReLU-maxpool and two linear layers.
//!
//! Reference: `CifarCnn` of the golden files (`make_golden.py`).

use burn::module::Module;
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};

use super::activation::relu;
use super::batch::{Batch, Output};
use super::blocks::{classification_loss, conv2d, dense};
use super::channels::{ChannelGroup, Flexible, Widths};
use super::cost::{ConvShape, CostCounter, image_size, window_output};
use super::error::ZooError;
use super::layers::Layer;
use super::network::{Architecture, Network, boxed};
use super::targets::Targets;
use super::weights::Checkpoint;
use crate::domain::model::{InputSpec, ModelCost};

/// Height and width of the images; the first linear layer fixes them.
const IMAGE: usize = 32;
/// Pixels that the convolutions leave: three poolings halve height and width.
const PIXELS_LEFT: usize = (IMAGE / 8) * (IMAGE / 8);

/// Sizes of a [`CifarCnn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CifarCnnConfig {
    /// Channels of the three blocks.
    pub channels: [usize; 3],
    /// Width of the hidden linear layer.
    pub hidden: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Default for CifarCnnConfig {
    fn default() -> Self {
        Self { channels: [32, 64, 128], hidden: 256, classes: 10 }
    }
}

impl CifarCnnConfig {
    /// Channels that each convolution writes.
    fn written(&self) -> [usize; 6] {
        let [a, b, c] = self.channels;
        [a, a, b, b, c, c]
    }

    fn convolutions(&self, widths: Widths<'_>) -> [ConvShape; 6] {
        let full = self.written();
        let mut channels_in = 3;
        [0, 1, 2, 3, 4, 5].map(|index| {
            let channels_out = widths.of(index, full[index]);
            let shape = ConvShape::new(channels_in, channels_out, 3, 1).with_bias();
            channels_in = channels_out;
            shape
        })
    }

    /// The two linear layers, `[in, out]` each.
    fn linears(&self, widths: Widths<'_>) -> [[usize; 2]; 2] {
        let flat = widths.of(5, self.channels[2]) * PIXELS_LEFT;
        let hidden = widths.of(6, self.hidden);
        [[flat, hidden], [hidden, self.classes]]
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> CifarCnn {
        self.init_with(Widths::default(), device)
    }

    fn init_with(&self, widths: Widths<'_>, device: &Device) -> CifarCnn {
        let [conv1, conv2, conv3, conv4, conv5, conv6] = self.convolutions(widths).map(|shape| conv2d(shape, device));
        let [fc1, fc2] = self.linears(widths).map(|[from, to]| dense(from, to, device));
        CifarCnn {
            conv1,
            conv2,
            conv3,
            conv4,
            conv5,
            conv6,
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            fc1,
            fc2,
        }
    }

    /// The cost for an image of `[height, width]`; only 32 x 32 can be run.
    pub fn cost(&self, image: [usize; 2]) -> ModelCost {
        self.cost_with(Widths::default(), image)
    }

    fn cost_with(&self, widths: Widths<'_>, image: [usize; 2]) -> ModelCost {
        let mut counter = CostCounter::new();
        let mut size = image;
        for pair in self.convolutions(widths).chunks(2) {
            for &conv in pair {
                size = counter.conv2d(conv, size);
            }
            size = window_output(size, 2, 2, 0);
        }
        for [from, to] in self.linears(widths) {
            counter.linear(1, from, to);
        }
        counter.finish()
    }
}

impl Flexible for CifarCnnConfig {
    /// What every convolution writes, and the features between the linear layers.
    fn groups(&self) -> Vec<ChannelGroup> {
        let full = self.written();
        let group = |index: usize| {
            let (layer, next) = (format!("conv{}", index + 1), format!("conv{}", index + 2));
            match full.get(index + 1) {
                Some(_) => ChannelGroup::new(full[index], &layer, &next).with_bias(&layer),
                None => ChannelGroup::new(full[index], &layer, "fc1").with_bias(&layer).flattened(PIXELS_LEFT),
            }
        };
        let hidden = ChannelGroup::feed_forward(self.hidden, "fc1", "fc2");
        (0..full.len()).map(group).chain([hidden]).collect()
    }

    fn narrowed(&self, widths: Widths<'_>, device: &Device) -> Box<dyn Network> {
        boxed(self.init_with(widths, device), device)
    }

    fn narrowed_cost(&self, widths: Widths<'_>, inputs: &[InputSpec]) -> ModelCost {
        self.cost_with(widths, image_size(inputs))
    }
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct CifarCnn {
    /// 3 to 32 channels.
    pub conv1: Conv2d,
    /// 32 to 32 channels.
    pub conv2: Conv2d,
    /// 32 to 64 channels.
    pub conv3: Conv2d,
    /// 64 to 64 channels.
    pub conv4: Conv2d,
    /// 64 to 128 channels.
    pub conv5: Conv2d,
    /// 128 to 128 channels.
    pub conv6: Conv2d,
    /// Halves height and width.
    pub pool: MaxPool2d,
    /// 2048 to 256 features.
    pub fc1: Linear,
    /// 256 features to the classes.
    pub fc2: Linear,
}

impl CifarCnn {
    /// `[batch, 3, 32, 32]` to logits `[batch, classes]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = relu(self.conv2.run(relu(self.conv1.run(x))));
        let x = self.pool.run(x); // [batch, 32, 16, 16]
        let x = relu(self.conv4.run(relu(self.conv3.run(x))));
        let x = self.pool.run(x); // [batch, 64, 8, 8]
        let x = relu(self.conv6.run(relu(self.conv5.run(x))));
        let x = self.pool.run(x); // [batch, 128, 4, 4]
        let x = x.flatten::<2>(1, 3); // [batch, 2048]
        self.fc2.run(relu(self.fc1.run(x)))
    }
}

impl Architecture for CifarCnn {
    type Features = Tensor<2>;

    fn features(&self, batch: &Batch) -> Result<Tensor<2>, ZooError> {
        Ok(self.forward(batch.image_of(IMAGE)?))
    }

    fn outputs(&self, logits: Tensor<2>) -> Vec<Output> {
        vec![Output::d2("logits", logits)]
    }

    fn loss(&self, logits: Tensor<2>, _batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError> {
        classification_loss(logits, targets)
    }

    fn reference_name(path: &str) -> String {
        path.to_owned()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint::default()
    }
}
