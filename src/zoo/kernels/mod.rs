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
#[cfg(feature = "flex")]
mod rectifying;

use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::Tensor;

use super::activation::Activation;

#[cfg(feature = "flex")]
mod operations;

/// Which gradients a rectifier passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rectifier {
    /// Those of inputs that it passed.
    Gradient,
    /// Of these, the positive ones.
    Guided,
    /// The positive ones, whatever the input was.
    Deconvolution,
}

/// The function by its kernel, its gradients by the rule; the input back where there is none.
#[cfg(feature = "flex")]
pub(crate) fn rectified(function: Activation, x: Tensor<2>, rule: Rectifier) -> Result<Tensor<2>, Tensor<2>> {
    if function == Activation::Relu { operations::rectified(x, rule) } else { Err(x) }
}

/// The input: there is no kernel.
#[cfg(not(feature = "flex"))]
pub(crate) fn rectified(_: Activation, x: Tensor<2>, _: Rectifier) -> Result<Tensor<2>, Tensor<2>> {
    Err(x)
}

/// What the function does.
pub(crate) fn activated(function: Activation, x: Tensor<2>) -> Tensor<2> {
    rectified(function, x, Rectifier::Gradient).unwrap_or_else(|x| function.apply(x))
}

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
