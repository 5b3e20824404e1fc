//! The layers as networks call them: what Burn's layers do, or what [hooks](super::hooks::Hooks) make of it.

use burn::nn::conv::{Conv1d, Conv2d};
use burn::nn::pool::MaxPool2d;
use burn::nn::{BatchNorm, Embedding, LayerNorm, Linear, RmsNorm};
use burn::tensor::{Int, Tensor};

use super::hooks::{self, AttentionCall, Weighted};
use super::observe::{self, Operator, Shape, Work};

/// A layer that hooks can see, and observers.
pub trait Layer<const D: usize> {
    /// The forward pass.
    fn run(&self, x: Tensor<D>) -> Tensor<D>;
}

/// A layer that observers can see, and hooks cannot.
pub trait Plain<const D: usize> {
    /// The forward pass.
    fn call(&self, x: Tensor<D>) -> Tensor<D>;
}

impl Layer<3> for Conv1d {
    fn run(&self, x: Tensor<3>) -> Tensor<3> {
        match hooks::current() {
            Some(hooks) => hooks.borrow_mut().weighted(Weighted::Conv1d(self), x.unsqueeze_dim(3)).squeeze_dim(3),
            None => observe::operator(
                Operator::Layer(self.weight.id),
                || convolution(&self.weight.val(), self.bias.is_some()),
                x,
                |x| self.forward(x),
            ),
        }
    }
}

impl Layer<4> for Conv2d {
    fn run(&self, x: Tensor<4>) -> Tensor<4> {
        match hooks::current() {
            Some(hooks) => hooks.borrow_mut().weighted(Weighted::Conv2d(self), x),
            None => observe::operator(
                Operator::Layer(self.weight.id),
                || convolution(&self.weight.val(), self.bias.is_some()),
                x,
                |x| self.forward(x),
            ),
        }
    }
}

/// Of weights `[channels_out, channels_in / groups, kernel ...]`.
fn convolution<const D: usize>(weight: &Tensor<D>, has_bias: bool) -> Shape {
    let dims = weight.dims();
    let depth: usize = dims[1..].iter().product();
    Shape { depth, weights: dims[0] * (depth + usize::from(has_bias)), integer_bytes: 0 }.of_weight(weight)
}

impl Layer<2> for Linear {
    fn run(&self, x: Tensor<2>) -> Tensor<2> {
        match hooks::current() {
            Some(hooks) => {
                let [rows, features] = x.dims();
                let written = hooks.borrow_mut().weighted(Weighted::Linear(self), x.reshape([1, 1, rows, features]));
                let [.., features] = written.dims();
                written.reshape([rows, features])
            }
            None => self.call(x),
        }
    }
}

impl<const D: usize> Plain<D> for Linear {
    fn call(&self, x: Tensor<D>) -> Tensor<D> {
        let shape = || product(self.weight.dims(), self.bias.is_some()).of_weight(&self.weight.val());
        observe::operator(Operator::Layer(self.weight.id), shape, x, |x| self.forward(x))
    }
}

/// Of weights `[in, out]`.
pub(super) fn product([features_in, features_out]: [usize; 2], has_bias: bool) -> Shape {
    Shape { depth: features_in, weights: features_out * (features_in + usize::from(has_bias)), integer_bytes: 0 }
}

impl Layer<4> for MaxPool2d {
    fn run(&self, x: Tensor<4>) -> Tensor<4> {
        match hooks::current() {
            Some(hooks) => hooks.borrow_mut().max_pool(self, x),
            None => observe::function("max_pool", x, |x| self.forward(x)),
        }
    }
}

impl Layer<4> for BatchNorm {
    fn run(&self, x: Tensor<4>) -> Tensor<4> {
        if !hooks::is_watched() {
            // Scale, shift and the two statistics.
            let shape = || Shape { weights: 4 * self.gamma.dims()[0], ..Shape::default() };
            return observe::operator(Operator::Layer(self.gamma.id), shape, x, |x| self.forward(x));
        }
        // On a tensor with gradients Burn's own would take, and move, the statistics of the batch.
        let (mean, variance) = (self.running_mean.value(), self.running_var.value());
        let scale = self.gamma.val() / (variance + self.epsilon).sqrt();
        let shift = self.beta.val() - mean * scale.clone();
        scale_channels(x, scale, shift)
    }
}

impl<const D: usize> Plain<D> for LayerNorm {
    fn call(&self, x: Tensor<D>) -> Tensor<D> {
        let shape = || Shape { weights: 2 * self.gamma.dims()[0], ..Shape::default() };
        observe::operator(Operator::Layer(self.gamma.id), shape, x, |x| self.forward(x))
    }
}

impl<const D: usize> Plain<D> for RmsNorm {
    fn call(&self, x: Tensor<D>) -> Tensor<D> {
        let shape = || Shape { weights: self.gamma.dims()[0], ..Shape::default() };
        observe::operator(Operator::Layer(self.gamma.id), shape, x, |x| self.forward(x))
    }
}

/// `x * scale + shift` of `[batch, channels, height, width]`, with `[channels]` each.
pub(super) fn scale_channels(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<4> {
    let by_channel = |values: Tensor<1>| {
        let [channels] = values.dims();
        values.reshape([1, channels, 1, 1])
    };
    x * by_channel(scale) + by_channel(shift)
}

/// The words of an input (`ids`, `decoder_ids`): `[batch, sequence]` to `[batch, sequence, width]`, or what stands in
/// for them.
pub(super) fn embed(input: &str, table: &Embedding, ids: Tensor<2, Int>) -> Tensor<3> {
    hooks::words_of(input).unwrap_or_else(|| look_up(table, ids))
}

/// The rows of a table: `[batch, sequence]` to `[batch, sequence, width]`.
pub(super) fn look_up(table: &Embedding, ids: Tensor<2, Int>) -> Tensor<3> {
    let rows = table.weight.dims();
    // Each row is read and written; backward there is a gradient for the whole table.
    let work = |sizes: observe::Sizes| Work {
        bytes: (2 * sizes.outputs * sizes.element) as u64,
        backward_bytes: ((sizes.outputs + rows[0] * rows[1]) * sizes.element) as u64,
        ..Work::default()
    };
    observe::operator_of(Operator::Layer(table.weight.id), work, [], |[]: [Tensor<1>; 0]| table.forward(ids))
}

/// Attention, `[batch, heads, queries, head_width]`.
pub(super) fn attend(call: AttentionCall) -> Tensor<4> {
    match hooks::current() {
        Some(hooks) => hooks.borrow_mut().attention(call),
        None => {
            let AttentionCall { kind, query, key, value, bias, scale, causal } = call;
            let [_, _, keys, _] = key.dims();
            let weights = bias.as_ref().map_or(0, |bias| bias.shape().num_elements());
            // Each value that is written takes all keys, and each of its scores the width of a head.
            let work = move |sizes| Shape { depth: 2 * keys, weights, integer_bytes: 0 }.work(sizes);
            observe::operator_of(Operator::Function("attention"), work, [query, key, value], |[query, key, value]| {
                AttentionCall { kind, query, key, value, bias, scale, causal }.forward()
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::zoo::activation::Activation;
    use crate::zoo::hooks::{AttentionKind, Hooks, NoHooks, watched};
    use crate::zoo::{Batch, OutputTensor, WeightSource, find, host_inputs};

    /// Counts what it sees.
    #[derive(Default)]
    struct Counter {
        activations: usize,
        weighted: usize,
        pools: usize,
        attentions: usize,
    }

    impl Hooks for Counter {
        fn activation(&mut self, function: Activation, x: Tensor<2>) -> Tensor<2> {
            self.activations += 1;
            function.apply(x)
        }

        fn weighted(&mut self, layer: Weighted<'_>, x: Tensor<4>) -> Tensor<4> {
            self.weighted += 1;
            layer.forward(x)
        }

        fn max_pool(&mut self, layer: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
            self.pools += 1;
            layer.forward(x)
        }

        fn attention(&mut self, call: AttentionCall) -> Tensor<4> {
            self.attentions += 1;
            call.forward()
        }
    }

    fn seen(model: &str) -> [usize; 4] {
        let device = Device::flex();
        let entry = find(model).unwrap();
        let mut network = entry.build(&device);
        network.load(&WeightSource::Seeded(0)).unwrap();
        let mut specs = entry.inputs();
        if entry.name == "resnet18" || entry.name == "mobilenet_v2" {
            specs[0].shape = vec![3, 64, 64];
        }
        let batch = Batch::from_host(&host_inputs(&specs, 1, 0), &device).unwrap();
        let first = |outputs: Vec<crate::zoo::Output>| match &outputs[0].tensor {
            OutputTensor::D2(tensor) => tensor.clone().flatten::<1>(0, 1),
            OutputTensor::D3(tensor) => tensor.clone().flatten::<1>(0, 2),
        };
        let plain = first(network.forward(&batch).unwrap());
        let counter = Rc::new(RefCell::new(Counter::default()));
        let watched = first(watched(counter.clone(), None, || network.forward(&batch)).unwrap());
        let scale = plain.clone().abs().max().into_scalar::<f32>();
        let error = (plain - watched).abs().max().into_scalar::<f32>() / scale;
        assert!(error < 1e-5, "{model}: {error}");
        let counter = counter.borrow();
        [counter.activations, counter.weighted, counter.pools, counter.attentions]
    }

    #[test]
    fn hooks_see_every_layer_and_change_nothing_by_themselves() {
        assert_eq!(seen("cifar_cnn"), [7, 8, 3, 0]);
        assert_eq!(seen("resnet18"), [17, 21, 1, 0]);
        assert_eq!(seen("mobilenet_v2"), [35, 53, 0, 0]);
        assert_eq!(seen("vit_b_16"), [12, 1, 0, 12]);
    }

    #[test]
    fn a_watch_ends_with_its_forward_pass_and_with_a_panic() {
        assert!(!hooks::is_watched());
        let panicked = std::panic::catch_unwind(|| watched(Rc::new(RefCell::new(NoHooks)), None, || panic!("stop")));
        assert!(panicked.is_err());
        assert!(!hooks::is_watched());
    }

    #[test]
    fn probabilities_are_those_of_the_attention() {
        let device = Device::flex();
        let random = || Tensor::<4>::random([2, 3, 5, 4], Distribution::Normal(0.0, 2.0), &device);
        for causal in [false, true] {
            let call = AttentionCall {
                kind: AttentionKind::Own,
                query: random(),
                key: random(),
                value: random(),
                bias: None,
                scale: None,
                causal,
            };
            let probabilities = call.probabilities();
            let expected = probabilities.clone().matmul(call.value.clone());
            let error = (call.clone().forward() - expected).abs().max().into_scalar::<f32>();
            assert!(error < 1e-5, "causal {causal}: {error}");
            if !causal {
                let scores = call.query.matmul(call.key.transpose()) / 2.0;
                assert!((probabilities - softmax(scores, 3)).abs().max().into_scalar::<f32>() < 1e-6);
            }
        }
    }
}
