//! The kernels as operations of Burn, with gradients.

#![cfg_attr(
    feature = "ndarray",
    expect(deprecated, reason = "burn-ndarray is an engine for as long as this Burn is in use")
)]

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
use burn::backend::Cube;
use burn::backend::Flex;
#[cfg(feature = "ndarray")]
use burn::backend::NdArray;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::{ActivationOps, ModuleOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Tensor};

use super::Rectifier;
use super::convolution::{Geometry, HostTensor, contiguous, convolve, convolve_back, tensor, values};
use super::pooling::{Windows, maxima, maxima_back};
use super::rectifying::{rectify, rectify_back};

/// Backends that know the operations. All have them, because Burn asks for it; those but burn-flex by their own ones.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))
)]
pub(super) trait HostKernels: Backend {
    /// A convolution of stride 1.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        padding: [usize; 2],
    ) -> FloatTensor<Self>;

    /// `max(x, 0)`.
    fn rectification(x: FloatTensor<Self>, rule: Rectifier) -> FloatTensor<Self>;

    /// Maxima over windows that do not overlap.
    fn pooling(x: FloatTensor<Self>, window: [usize; 2]) -> FloatTensor<Self>;
}

fn options(padding: [usize; 2]) -> ConvOptions<2> {
    ConvOptions::new([1, 1], padding, [1, 1], 1)
}

/// Their gradients: by Burn's primitives, where a backend has nothing of its own. They are of first order.
trait HostGradients: Backend {
    /// The gradient of a convolution's input.
    fn convolution_back(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        padding: [usize; 2],
    ) -> FloatTensor<Self> {
        Self::conv2d_x_backward(x, weight, gradient, options(padding))
    }

    /// What goes back to a rectifier's input.
    fn rectification_back(
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        rule: Rectifier,
    ) -> FloatTensor<Self> {
        match rule {
            Rectifier::Gradient => Self::relu_backward(output, gradient),
            Rectifier::Guided => Self::relu_backward(output, Self::relu(gradient)),
            Rectifier::Deconvolution => Self::relu(gradient),
        }
    }

    /// The gradient of a pooling's input.
    fn pooling_back(
        x: FloatTensor<Self>,
        _output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        window: [usize; 2],
    ) -> FloatTensor<Self> {
        let (padding, dilation) = ([0, 0], [1, 1]);
        let integers = burn::tensor::IntDType::I64;
        let found = Self::max_pool2d_with_indices(x.clone(), window, window, padding, dilation, false, integers);
        let winners = found.indices;
        Self::max_pool2d_with_indices_backward(x, window, window, padding, dilation, false, gradient, winners).x_grad
    }
}

macro_rules! by_their_own {
    ($($backend:ident if $condition:meta;)*) => {$(
        #[cfg($condition)]
        impl HostKernels for $backend {
            fn convolution(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                padding: [usize; 2],
            ) -> FloatTensor<Self> {
                <Self as ModuleOps<Self>>::conv2d(x, weight, Some(bias), options(padding))
            }

            fn rectification(x: FloatTensor<Self>, _rule: Rectifier) -> FloatTensor<Self> {
                <Self as ActivationOps<Self>>::relu(x)
            }

            fn pooling(x: FloatTensor<Self>, window: [usize; 2]) -> FloatTensor<Self> {
                <Self as ModuleOps<Self>>::max_pool2d(x, window, window, [0, 0], [1, 1], false)
            }
        }

        #[cfg($condition)]
        impl HostGradients for $backend {}
    )*};
}

by_their_own! {
    NdArray if feature = "ndarray";
    Cube if any(feature = "wgpu", feature = "cuda", feature = "rocm");
}

fn geometry(x: &HostTensor, weight: &HostTensor, padding: [usize; 2]) -> Geometry {
    let [samples, channels_in, height, width] = x.shape().dims();
    let [channels_out, _, kernel_height, kernel_width] = weight.shape().dims();
    let (kernel, size) = ([kernel_height, kernel_width], [height, width]);
    Geometry { samples, channels_in, channels_out, kernel, padding, size }
}

fn windows(x: &HostTensor, window: [usize; 2]) -> Windows {
    let [_, _, height, width] = x.shape().dims();
    Windows { size: [height, width], window }
}

impl HostKernels for Flex {
    fn convolution(x: HostTensor, weight: HostTensor, bias: HostTensor, padding: [usize; 2]) -> HostTensor {
        let (x, weight, bias) = (contiguous(&x), contiguous(&weight), contiguous(&bias));
        let geometry = geometry(&x, &weight, padding);
        let [height, width] = geometry.size_out();
        let output = convolve(values(&x), &weight, Some(values(&bias)), geometry);
        tensor(output, [geometry.samples, geometry.channels_out, height, width])
    }

    fn rectification(x: HostTensor, _rule: Rectifier) -> HostTensor {
        rectify(x)
    }

    fn pooling(x: HostTensor, window: [usize; 2]) -> HostTensor {
        let x = contiguous(&x);
        let [samples, channels, height, width] = x.shape().dims();
        let shape = [samples, channels, height / window[0], width / window[1]];
        tensor(maxima(values(&x), windows(&x, window)), shape)
    }
}

impl HostGradients for Flex {
    fn convolution_back(x: HostTensor, weight: HostTensor, gradient: HostTensor, padding: [usize; 2]) -> HostTensor {
        let (weight, gradient) = (contiguous(&weight), contiguous(&gradient));
        let geometry = geometry(&x, &weight, padding);
        tensor(convolve_back(&gradient, &weight, geometry), x.shape().dims::<4>())
    }

    fn rectification_back(output: HostTensor, gradient: HostTensor, rule: Rectifier) -> HostTensor {
        rectify_back(&contiguous(&output), gradient, rule)
    }

    fn pooling_back(x: HostTensor, output: HostTensor, gradient: HostTensor, window: [usize; 2]) -> HostTensor {
        let (x, output, gradient) = (contiguous(&x), contiguous(&output), contiguous(&gradient));
        let back = maxima_back(values(&x), values(&output), values(&gradient), windows(&x, window));
        tensor(back, x.shape().dims::<4>())
    }
}

#[derive(Debug)]
struct Convolution;

impl<B: HostGradients> Backward<B, 1> for Convolution {
    /// The input, whose shape alone counts, the weights and the padding.
    type State = (FloatTensor<B>, FloatTensor<B>, [usize; 2]);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let (x, weight, padding) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        if let Some(parent) = parent {
            gradients.register::<B>(parent.id, B::convolution_back(x, weight, gradient, padding));
        }
    }
}

#[derive(Debug)]
struct Rectification;

impl<B: HostGradients> Backward<B, 1> for Rectification {
    /// The output and the rule.
    type State = (FloatTensor<B>, Rectifier);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let (output, rule) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        if let Some(parent) = parent {
            gradients.register::<B>(parent.id, B::rectification_back(output, gradient, rule));
        }
    }
}

#[derive(Debug)]
struct Pooling;

impl<B: HostGradients> Backward<B, 1> for Pooling {
    /// The input, the output and the window.
    type State = (FloatTensor<B>, FloatTensor<B>, [usize; 2]);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let (x, output, window) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        if let Some(parent) = parent {
            gradients.register::<B>(parent.id, B::pooling_back(x, output, gradient, window));
        }
    }
}

impl<B: HostKernels + HostGradients, C: CheckpointStrategy> HostKernels for Autodiff<B, C> {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        padding: [usize; 2],
    ) -> FloatTensor<Self> {
        let (weight, bias) = (weight.into_primitive(), bias.into_primitive());
        let preparation = Convolution.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = x.into_primitive();
        let output = B::convolution(x.clone(), weight.clone(), bias, padding);
        match preparation {
            OpsKind::Tracked(preparation) => preparation.finish((x, weight, padding), output),
            OpsKind::UnTracked(preparation) => preparation.finish(output),
        }
    }

    fn rectification(x: FloatTensor<Self>, rule: Rectifier) -> FloatTensor<Self> {
        let preparation = Rectification.prepare::<C>([x.node()]).compute_bound().stateful();
        let output = B::rectification(x.into_primitive(), rule);
        match preparation {
            OpsKind::Tracked(preparation) => preparation.finish((output.clone(), rule), output),
            OpsKind::UnTracked(preparation) => preparation.finish(output),
        }
    }

    fn pooling(x: FloatTensor<Self>, window: [usize; 2]) -> FloatTensor<Self> {
        let preparation = Pooling.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = x.into_primitive();
        let output = B::pooling(x.clone(), window);
        match preparation {
            OpsKind::Tracked(preparation) => preparation.finish((x, output.clone(), window), output),
            OpsKind::UnTracked(preparation) => preparation.finish(output),
        }
    }
}

/// Whether the kernels are for this tensor.
pub(super) fn fits<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device().inner() == Device::flex()
}

/// What the layer does, where the kernels are for it.
pub(super) fn convolved(layer: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let kernel = layer.kernel_size;
    let padding = match &layer.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) if top == bottom && left == right => [*top, *left],
        PaddingConfig2d::Valid => [0, 0],
        _ => return None,
    };
    let [_, channels, height, width] = x.dims();
    let weight = layer.weight.val();
    let [channels_out, channels_in, ..] = weight.dims();
    let inside = (0..2).all(|axis| padding[axis] < kernel[axis] && kernel[axis] <= [height, width][axis]);
    // Of a kernel of one pixel Burn makes a product, too.
    let plain = layer.stride == [1, 1] && layer.dilation == [1, 1] && layer.groups == 1 && kernel != [1, 1];
    if !plain || !inside || channels != channels_in || weight.dtype() != DType::F32 || !fits(x) {
        return None;
    }
    let bias = match &layer.bias {
        Some(bias) => bias.val(),
        None => Tensor::zeros([channels_out], &weight.device()),
    };
    let (x, weight, bias) = (x.clone().into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Some(Tensor::from_dispatch(<Dispatch as HostKernels>::convolution(x, weight, bias, padding)))
}

/// `max(x, 0)`, whose gradients follow the rule.
pub(super) fn rectified<const D: usize>(x: Tensor<D>, rule: Rectifier) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as HostKernels>::rectification(x.into_dispatch(), rule))
}

/// What the layer does, where the kernels are for it.
pub(super) fn pooled(layer: &MaxPool2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let unpadded = match &layer.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) => {
            [top, left, bottom, right].iter().all(|&&side| side == 0)
        }
        PaddingConfig2d::Valid => true,
        PaddingConfig2d::Same => false,
    };
    let window = layer.kernel_size;
    let [_, _, height, width] = x.dims();
    let covers = height > 0 && width > 0 && height % window[0] == 0 && width % window[1] == 0;
    if !unpadded || !covers || layer.stride != window || layer.dilation != [1, 1] || !fits(x) {
        return None;
    }
    Some(Tensor::from_dispatch(<Dispatch as HostKernels>::pooling(x.clone().into_dispatch(), window)))
}
