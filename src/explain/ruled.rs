//! The one operation behind every rule that changes the backward pass.
//!
//! Forward it is a constant: the value that it is given. Backward it multiplies what comes back with a factor that was
//! known in the forward pass, after taking the positive part where that is asked for:
//!
//! | rule | factor | positive part |
//! | --- | --- | --- |
//! | guided backpropagation | 1 where the rectifier passes | yes |
//! | deconvolution | 1 | yes |
//! | DeepLIFT's rescale | change of the output / change of the input | no |
//! | LRP | output / stabilised output of the changed layer | no |
//!
//! It needs no kernel of its own, so it runs on every backend of Burn.

#![cfg_attr(
    feature = "ndarray",
    expect(deprecated, reason = "burn-ndarray is an engine for as long as this Burn is in use")
)]

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
use burn::backend::Cube;
#[cfg(feature = "flex")]
use burn::backend::Flex;
#[cfg(feature = "ndarray")]
use burn::backend::NdArray;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::{ActivationOps, FloatTensorOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

/// Backends that know the operation.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))
)]
pub trait RuledBackend: Backend {
    /// `output`; see [`ruled`].
    fn ruled(
        x: FloatTensor<Self>,
        output: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        positive: bool,
    ) -> FloatTensor<Self>;
}

macro_rules! forward_only {
    ($($backend:ident if $condition:meta;)*) => {$(
        #[cfg($condition)]
        impl RuledBackend for $backend {
            fn ruled(
                _x: FloatTensor<Self>,
                output: FloatTensor<Self>,
                _factor: FloatTensor<Self>,
                _positive: bool,
            ) -> FloatTensor<Self> {
                output
            }
        }
    )*};
}

forward_only! {
    Flex if feature = "flex";
    NdArray if feature = "ndarray";
    Cube if any(feature = "wgpu", feature = "cuda", feature = "rocm");
}

/// The backward pass.
#[derive(Debug)]
struct Rule;

impl<B: Backend> Backward<B, 1> for Rule {
    /// The factor, and whether the positive part is taken first.
    type State = (FloatTensor<B>, bool);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let (factor, positive) = ops.state;
        let mut gradient = gradients.consume::<B>(&ops.node);
        if let Some(parent) = parent {
            if positive {
                gradient = <B as ActivationOps<B>>::relu(gradient);
            }
            gradients.register::<B>(parent.id, <B as FloatTensorOps<B>>::float_mul(gradient, factor));
        }
    }
}

impl<B: RuledBackend, C: CheckpointStrategy> RuledBackend for Autodiff<B, C> {
    fn ruled(
        x: FloatTensor<Self>,
        output: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        positive: bool,
    ) -> FloatTensor<Self> {
        let output = output.into_primitive();
        match Rule.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(preparation) => preparation.finish((factor.into_primitive(), positive), output),
            OpsKind::UnTracked(preparation) => preparation.finish(output),
        }
    }
}

/// `output`, from which the gradient `g` goes back to `x` as `factor * g`, or as `factor * max(g, 0)` where `positive`.
/// All three tensors are of one shape; no gradient reaches `output` and `factor`.
pub fn ruled<const D: usize>(x: Tensor<D>, output: Tensor<D>, factor: Tensor<D>, positive: bool) -> Tensor<D> {
    let (output, factor) = (output.inner().into_dispatch(), factor.inner().into_dispatch());
    Tensor::from_dispatch(<Dispatch as RuledBackend>::ruled(x.into_dispatch(), output, factor, positive))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[cfg(feature = "ndarray")]
    fn ndarray() -> Option<Device> {
        Some(Device::ndarray())
    }

    #[cfg(not(feature = "ndarray"))]
    fn ndarray() -> Option<Device> {
        None
    }

    #[cfg(feature = "wgpu")]
    fn wgpu() -> Option<Device> {
        Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec().into_iter().next()
    }

    #[cfg(not(feature = "wgpu"))]
    fn wgpu() -> Option<Device> {
        None
    }

    fn devices() -> impl Iterator<Item = Device> {
        std::iter::once(Device::flex()).chain(ndarray()).chain(wgpu())
    }

    #[test]
    fn the_rule_is_all_that_goes_back() {
        for device in devices() {
            let x = Tensor::<1>::from_floats([1.0, -2.0, 3.0], &device).autodiff().require_grad();
            let constant = |values: [f32; 3]| Tensor::<1>::from_floats(values, &device);
            for (positive, expected) in [(false, [2.0, -2.5, 0.0]), (true, [2.0, 0.0, 0.0])] {
                let y = ruled(x.clone() * 1.0, constant([7.0, 8.0, 9.0]), constant([2.0, 0.5, 0.0]), positive);
                assert_eq!(y.clone().inner().try_to_vec_as::<f32>().unwrap(), [7.0, 8.0, 9.0]);
                let gradients = (y * constant([1.0, -5.0, 4.0])).sum().backward();
                assert_eq!(x.grad(&gradients).unwrap().try_to_vec_as::<f32>().unwrap(), expected);
            }
            // Without gradients it is its value.
            let plain = ruled(constant([1.0; 3]), constant([4.0; 3]), constant([1.0; 3]), true);
            assert_eq!(plain.try_to_vec_as::<f32>().unwrap(), [4.0; 3]);
        }
    }
}
