//! Convolutions and poolings of explanations on the host's processor.
//!
//! Burn 0.22's own convolution on burn-flex copies its input into another layout element by element, and computes the
//! gradient of the input by scattering; a pooling keeps an index of 64 bits for every window. Explanations call these
//! operations tens to hundreds of times with gradients to the input alone, so they have kernels of their own: copies of
//! whole rows, Burn's matrix product, and backward the same convolution with turned weights. See docs/explanations.md for
//! what they bring.
//!
//! They are reached through [`hooks`](super::hooks) alone. Inference and training run Burn's operations: those are what is
//! measured there.

#[cfg(feature = "flex")]
mod convolution;
#[cfg(feature = "flex")]
mod pooling;

use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::Tensor;

#[cfg(feature = "flex")]
mod operations;

/// What the layer does. Gradients go to `x` alone.
#[cfg(feature = "flex")]
pub(super) fn convolved(layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    operations::convolved(layer, &x).unwrap_or_else(|| layer.forward(x))
}

/// What the layer does.
#[cfg(feature = "flex")]
pub(super) fn pooled(layer: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
    operations::pooled(layer, &x).unwrap_or_else(|| layer.forward(x))
}

/// What the layer does.
#[cfg(not(feature = "flex"))]
pub(super) fn convolved(layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    layer.forward(x)
}

/// What the layer does.
#[cfg(not(feature = "flex"))]
pub(super) fn pooled(layer: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
    layer.forward(x)
}
