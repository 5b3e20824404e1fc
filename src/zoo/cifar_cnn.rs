//! The small CIFAR-10 network: three blocks of conv-ReLU-conv-ReLU-maxpool and two linear layers.
//!
//! Reference: `CifarCnn` of the golden files (`make_golden.py`).

use burn::module::Module;
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::batch::{Batch, Output};
use super::blocks::{classification_loss, conv2d, dense};
use super::cost::{ConvShape, CostCounter, window_output};
use super::error::ZooError;
use super::network::Architecture;
use super::targets::Targets;
use super::weights::Checkpoint;
use crate::domain::model::ModelCost;

/// Height and width of the images; the first linear layer fixes them.
const IMAGE: usize = 32;

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
    fn convolutions(&self) -> [ConvShape; 6] {
        let [a, b, c] = self.channels;
        [(3, a), (a, a), (a, b), (b, b), (b, c), (c, c)].map(|(from, to)| ConvShape::new(from, to, 3, 1).with_bias())
    }

    /// Elements that the convolutions leave: three poolings halve the image.
    fn flat(&self) -> usize {
        self.channels[2] * (IMAGE / 8) * (IMAGE / 8)
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> CifarCnn {
        let [conv1, conv2, conv3, conv4, conv5, conv6] = self.convolutions().map(|shape| conv2d(shape, device));
        CifarCnn {
            conv1,
            conv2,
            conv3,
            conv4,
            conv5,
            conv6,
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            fc1: dense(self.flat(), self.hidden, device),
            fc2: dense(self.hidden, self.classes, device),
        }
    }

    /// The cost for an image of `[height, width]`; only 32 x 32 can be run.
    pub fn cost(&self, image: [usize; 2]) -> ModelCost {
        let mut counter = CostCounter::new();
        let mut size = image;
        for pair in self.convolutions().chunks(2) {
            for &conv in pair {
                size = counter.conv2d(conv, size);
            }
            size = window_output(size, 2, 2, 0);
        }
        counter.linear(1, self.flat(), self.hidden);
        counter.linear(1, self.hidden, self.classes);
        counter.finish()
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
        let x = relu(self.conv2.forward(relu(self.conv1.forward(x))));
        let x = self.pool.forward(x); // [batch, 32, 16, 16]
        let x = relu(self.conv4.forward(relu(self.conv3.forward(x))));
        let x = self.pool.forward(x); // [batch, 64, 8, 8]
        let x = relu(self.conv6.forward(relu(self.conv5.forward(x))));
        let x = self.pool.forward(x); // [batch, 128, 4, 4]
        let x = x.flatten::<2>(1, 3); // [batch, 2048]
        self.fc2.forward(relu(self.fc1.forward(x)))
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
