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
#[cfg(feature = "flex")]
mod weights;

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

/// Whether [`rectified`] is for this function of this input.
#[cfg(feature = "flex")]
pub(crate) fn rectifies(function: Activation, x: &Tensor<2>) -> bool {
    function == Activation::Relu && operations::fits(x)
}

/// There is no kernel.
#[cfg(not(feature = "flex"))]
pub(crate) fn rectifies(_: Activation, _: &Tensor<2>) -> bool {
    false
}

/// `max(x, 0)`, whose gradients follow the rule.
#[cfg(feature = "flex")]
pub(crate) fn rectified(x: Tensor<2>, rule: Rectifier) -> Tensor<2> {
    operations::rectified(x, rule)
}

/// The input: nothing is rectified here where there is no kernel, see [`rectifies`].
#[cfg(not(feature = "flex"))]
pub(crate) fn rectified(x: Tensor<2>, _: Rectifier) -> Tensor<2> {
    x
}

/// What the function does.
pub(crate) fn activated(function: Activation, x: Tensor<2>) -> Tensor<2> {
    if rectifies(function, &x) { rectified(x, Rectifier::Gradient) } else { function.apply(x) }
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
