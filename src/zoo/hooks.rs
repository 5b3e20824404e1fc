//! Hooks: what an explanation may note or change while a network runs forward.
//!
//! The networks call their layers through [`layers`](super::layers) and [`activation`](super::activation), which look
//! here whether anybody watches the thread. Nobody does in inference and training: they pay for one look at a variable
//! of the thread at each layer, and compute what they always did.
//!
//! While hooks are on, normalisations use their running statistics whatever the device, and no gradient is kept away
//! from the input: an explanation is of the network that infers.

use std::cell::RefCell;
use std::rc::Rc;

use burn::module::ParamId;
use burn::nn::Linear;
use burn::nn::conv::{Conv1d, Conv2d};
use burn::nn::pool::MaxPool2d;
use burn::tensor::activation::softmax;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Tensor};

use super::activation::Activation;
use super::kernels;

/// What is called in place of a layer. Every method does by default what the layer does.
///
/// The hooks are borrowed while a method runs: it must not run a network.
pub trait Hooks {
    /// An elementwise function of `[batch, features]`.
    fn activation(&mut self, function: Activation, x: Tensor<2>) -> Tensor<2> {
        kernels::activated(function, x)
    }

    /// A convolution or a linear layer; see [`Weighted`] for the layout of `x`.
    fn weighted(&mut self, layer: Weighted<'_>, x: Tensor<4>) -> Tensor<4> {
        layer.forward(x)
    }

    /// A pooling by maxima, `[batch, channels, height, width]`.
    fn max_pool(&mut self, layer: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
        kernels::pooled(layer, x)
    }

    /// Scaled dot-product attention.
    fn attention(&mut self, call: AttentionCall) -> Tensor<4> {
        call.forward()
    }
}

/// Hooks that change nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}

/// A convolution or a linear layer that maps `[batch, channels, height, width]` (of one dimension: width 1), or, where it
/// is linear, `[batch, 1, rows, features]`.
#[derive(Clone, Copy, Debug)]
pub enum Weighted<'a> {
    /// Over one dimension.
    Conv1d(&'a Conv1d),
    /// Over two dimensions.
    Conv2d(&'a Conv2d),
    /// Over the last dimension.
    Linear(&'a Linear),
}

impl Weighted<'_> {
    /// Whether it is a convolution.
    pub fn is_convolution(self) -> bool {
        !matches!(self, Self::Linear(_))
    }

    /// Which parameter its weight is; [`Network::name_of`](super::Network::name_of) knows its name.
    pub fn weight_id(self) -> ParamId {
        match self {
            Self::Conv1d(layer) => layer.weight.id,
            Self::Conv2d(layer) => layer.weight.id,
            Self::Linear(layer) => layer.weight.id,
        }
    }

    /// What the layer does.
    pub fn forward(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv1d(layer) => layer.forward(x.squeeze_dim::<3>(3)).unsqueeze_dim(3),
            Self::Conv2d(layer) => kernels::convolved(layer, x),
            Self::Linear(layer) => layer.forward(x),
        }
    }

    /// What the layer would do with other weights: `change` gets the weight as `[outer, inner]`, in any layout, and must
    /// work on each element by itself. The bias stays or, without `keeps_bias`, is left out.
    pub fn forward_changed(self, x: Tensor<4>, change: impl Fn(Tensor<2>) -> Tensor<2>, keeps_bias: bool) -> Tensor<4> {
        match self {
            Self::Conv1d(layer) => {
                let mut layer = layer.clone();
                layer.weight = layer.weight.map(|weight| elementwise(weight, change));
                layer.bias = layer.bias.filter(|_| keeps_bias);
                Weighted::Conv1d(&layer).forward(x)
            }
            Self::Conv2d(layer) => {
                let mut layer = layer.clone();
                layer.weight = layer.weight.map(|weight| elementwise(weight, change));
                layer.bias = layer.bias.filter(|_| keeps_bias);
                Weighted::Conv2d(&layer).forward(x)
            }
            Self::Linear(layer) => {
                let mut layer = layer.clone();
                layer.weight = layer.weight.map(change);
                layer.bias = layer.bias.filter(|_| keeps_bias);
                Weighted::Linear(&layer).forward(x)
            }
        }
    }
}

/// `change` on a weight of any rank.
fn elementwise<const D: usize>(weight: Tensor<D>, change: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<D> {
    let shape = weight.dims();
    change(weight.reshape([shape[0], shape[1..].iter().product()])).reshape(shape)
}

/// What attends to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionKind {
    /// A sequence to itself.
    Own,
    /// A sequence to another one.
    Cross,
}

/// One attention of several heads: `softmax(scale * query key^T + bias) value` (Vaswani et al. 2017).
#[derive(Clone, Debug)]
pub struct AttentionCall {
    /// What attends to what.
    pub kind: AttentionKind,
    /// `[batch, heads, queries, head_width]`.
    pub query: Tensor<4>,
    /// `[batch, heads, keys, head_width]`.
    pub key: Tensor<4>,
    /// `[batch, heads, keys, head_width]`.
    pub value: Tensor<4>,
    /// Added to the scores, `[1 or batch, heads, queries, keys]`.
    pub bias: Option<Tensor<4>>,
    /// Of the scores; `1 / sqrt(head_width)` where it is not given.
    pub scale: Option<f64>,
    /// Whether a query sees no keys behind its own position.
    pub causal: bool,
}

impl AttentionCall {
    /// `[batch, heads, queries, head_width]`, by Burn's fused kernel where the device has one.
    pub fn forward(self) -> Tensor<4> {
        let options =
            AttentionModuleOptions { scale: self.scale, is_causal: self.causal, ..AttentionModuleOptions::default() };
        attention(self.query, self.key, self.value, None, self.bias, options)
    }

    /// How much every query attends to every key: `[batch, heads, queries, keys]`, each row sums to 1.
    pub fn probabilities(&self) -> Tensor<4> {
        let [batch, heads, queries, head_width] = self.query.dims();
        let [_, _, keys, _] = self.key.dims();
        let scale = self.scale.unwrap_or(1.0 / (head_width as f64).sqrt());
        let mut scores = self.query.clone().matmul(self.key.clone().transpose()) * scale;
        if let Some(bias) = &self.bias {
            scores = scores + bias.clone();
        }
        if self.causal {
            // The last query is at the last key's position.
            let later = Tensor::<2, Bool>::tril_mask([queries, keys], (keys - queries) as i64, &scores.device())
                .unsqueeze::<4>()
                .expand([batch, heads, queries, keys]);
            scores = scores.mask_fill(later, f32::NEG_INFINITY);
        }
        softmax(scores, 3)
    }
}

/// Vectors that stand in for the words of an input.
#[derive(Clone, Debug)]
pub struct Words {
    /// The input whose tokens they are: `ids` or `decoder_ids`.
    pub input: &'static str,
    /// `[batch, sequence, width]`.
    pub vectors: Tensor<3>,
}

/// Who watches this thread.
#[derive(Clone)]
struct Watch {
    hooks: Rc<RefCell<dyn Hooks>>,
    words: Option<Words>,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Ends a watch, also where a network panics.
struct Restore(Option<Watch>);

impl Drop for Restore {
    fn drop(&mut self) {
        WATCH.set(self.0.take());
    }
}

/// Runs `forward` with these hooks on, on this thread; `words` stand in for the words of an input.
pub fn watched<R>(hooks: Rc<RefCell<dyn Hooks>>, words: Option<Words>, forward: impl FnOnce() -> R) -> R {
    let before = WATCH.replace(Some(Watch { hooks, words }));
    let _restore = Restore(before);
    forward()
}

/// The hooks that are on.
pub(super) fn current() -> Option<Rc<RefCell<dyn Hooks>>> {
    WATCH.with_borrow(|watch| watch.as_ref().map(|watch| watch.hooks.clone()))
}

/// Whether hooks are on.
pub(super) fn is_watched() -> bool {
    WATCH.with_borrow(Option::is_some)
}

/// What stands in for the words of an input.
pub(super) fn words_of(input: &str) -> Option<Tensor<3>> {
    WATCH.with_borrow(|watch| {
        let words = watch.as_ref()?.words.as_ref()?;
        (words.input == input).then(|| words.vectors.clone())
    })
}
