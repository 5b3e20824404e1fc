//! The operation that stands before and behind every operator of a training step that is observed.
//!
//! Forward it is the identity, and costs no kernel. Backward it passes the gradient on, and tells the observer that it did.
//!
//! Burn computes gradients level by level: an operation is one level above the highest of its inputs, and the highest level
//! comes first. Operators beside each other, as the projections of an attention are, would so be computed in turns,
//! step by step, and no time would belong to one of them. Each operator is therefore lifted to levels of its own, as far
//! above those before it as it began after them: an input without gradients counts for the level and for nothing else.
//! So the backward pass goes through the operators in exactly the reverse of their order.

#![cfg_attr(
    feature = "ndarray",
    expect(deprecated, reason = "burn-ndarray is an engine for as long as this Burn is in use")
)]

use std::sync::Arc;

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
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Device, Tensor};

use super::observe::Observer;

/// Levels of an operator with all that follows it before the next one begins.
const LEVELS: usize = 64;

/// A side of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where it reads.
    Input,
    /// What it writes.
    Output,
}

/// Whom a boundary tells what: the observer, the operator's number and the side.
pub(super) type Place = (Arc<dyn Observer>, usize, Side);

/// Backends that know the operations.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))
)]
pub(super) trait BoundaryBackend: Backend {
    /// `x`, at least one level above `rung`.
    fn boundary(x: FloatTensor<Self>, rung: FloatTensor<Self>, place: Place) -> FloatTensor<Self>;

    /// `rung`, one level higher.
    fn higher(rung: FloatTensor<Self>) -> FloatTensor<Self>;
}

macro_rules! identity {
    ($($backend:ident if $condition:meta;)*) => {$(
        #[cfg($condition)]
        impl BoundaryBackend for $backend {
            fn boundary(x: FloatTensor<Self>, _rung: FloatTensor<Self>, _place: Place) -> FloatTensor<Self> {
                x
            }

            fn higher(rung: FloatTensor<Self>) -> FloatTensor<Self> {
                rung
            }
        }
    )*};
}

identity! {
    Flex if feature = "flex";
    NdArray if feature = "ndarray";
    Cube if any(feature = "wgpu", feature = "cuda", feature = "rocm");
}

/// The backward pass of a boundary.
#[derive(Debug)]
struct Told;

impl<B: Backend> Backward<B, 2> for Told {
    type State = Place;

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent, _] = ops.parents;
        let (observer, operator, side) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        observer.backward(operator, side, &|| {
            // A device that failed shows at the end of the step.
            let _ = B::sync(&gradient.device());
        });
        if let Some(parent) = parent {
            gradients.register::<B>(parent.id, gradient);
        }
    }
}

/// The backward pass of a rung, which has none.
#[derive(Debug)]
struct Untracked;

impl<B: Backend> Backward<B, 1> for Untracked {
    type State = ();

    fn backward(self, _: Ops<Self::State, 1>, _: &mut Gradients, _: &mut Checkpointer) {}
}

impl<B: BoundaryBackend, C: CheckpointStrategy> BoundaryBackend for Autodiff<B, C> {
    fn boundary(x: FloatTensor<Self>, rung: FloatTensor<Self>, place: Place) -> FloatTensor<Self> {
        let preparation = Told.prepare::<C>([x.node(), rung.node()]).compute_bound().stateful();
        let output = x.into_primitive();
        match preparation {
            OpsKind::Tracked(preparation) => preparation.finish(place, output),
            OpsKind::UnTracked(preparation) => preparation.finish(output),
        }
    }

    fn higher(rung: FloatTensor<Self>) -> FloatTensor<Self> {
        let preparation = Untracked.prepare::<C>([rung.node()]).compute_bound();
        preparation.stateless(rung.into_primitive())
    }
}

/// `x` with a boundary in its backward pass, above a rung.
pub(super) fn boundary<const D: usize>(x: Tensor<D>, rung: Tensor<1>, place: Place) -> Tensor<D> {
    let (x, rung) = (x.into_dispatch(), rung.into_dispatch());
    Tensor::from_dispatch(<Dispatch as BoundaryBackend>::boundary(x, rung, place))
}

/// Tensors without gradients, each [`LEVELS`] above the one before it. They are made once, when they are first needed.
#[derive(Debug)]
pub(super) struct Ladder {
    /// `None` on a device without gradients, which needs no boundaries.
    device: Option<Device>,
    rungs: Vec<Tensor<1>>,
}

impl Ladder {
    /// For a device.
    pub fn new(device: &Device) -> Self {
        Self { device: device.is_autodiff().then(|| device.clone()), rungs: Vec::new() }
    }

    /// The rung below an operator's levels, by its number; `None` on a device without gradients.
    pub fn rung(&mut self, number: usize) -> Option<Tensor<1>> {
        let device = self.device.as_ref()?;
        while self.rungs.len() <= number {
            let next = match self.rungs.last() {
                None => Tensor::zeros([1], device),
                Some(last) => (0..LEVELS).fold(last.clone(), |rung, _| {
                    Tensor::from_dispatch(<Dispatch as BoundaryBackend>::higher(rung.into_dispatch()))
                }),
            };
            self.rungs.push(next);
        }
        self.rungs.get(number).cloned()
    }
}
