//! DeepLIFT's rules inside a network: what functions and pools pass back, by how they changed from the baseline.

use std::rc::Rc;

use burn::nn::PaddingConfig2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::kind::Basic;
use burn::tensor::module::max_pool2d_with_indices;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use super::super::ruled::ruled;
use crate::zoo::activation::Activation;
use crate::zoo::hooks::{AttentionCall, Hooks};

/// Changes below this have no ratio: the derivative takes its place (as in Captum).
const SMALLEST: f64 = 1e-10;

const ATTENTION: &str =
    "it multiplies activations with each other in its attention, which the rescale rule does not cover";
const PADDING: &str = "it pools with a padding that depends on the input's size";

/// What poolings by maxima pass back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxPoolRule {
    /// What comes to a window goes to its winner, as gradients do. This is what Captum computes where a pool follows a
    /// ReLU: the ReLU's hook reads the gradient before the pool's own rule has changed it. Contributions do not sum to the
    /// change of the score then.
    #[default]
    Winner,
    /// Captum's written rule: the winner for the input and the winner for the baseline share what comes, by how far
    /// each moved the maximum, so that contributions sum to the change of the score.
    Rescale,
}

/// What a network computed for baselines at one place.
#[derive(Clone, Debug)]
pub(super) enum Reference {
    /// An elementwise function.
    Function(Box<Computed>),
    /// A pooling.
    Pool(Box<Pooled>),
}

/// An elementwise function, `[baselines, features]`.
#[derive(Clone, Debug)]
pub(super) struct Computed {
    input: Tensor<2>,
    output: Tensor<2>,
}

/// A pooling `[baselines, channels, height, width]`, and which pixel of the plane won every window.
#[derive(Clone, Debug)]
pub(super) struct Pooled {
    input: Tensor<4>,
    output: Tensor<4>,
    winners: Tensor<4, Int>,
}

/// Notes what a network computes for baselines.
#[derive(Debug)]
pub(super) struct Recorder {
    max_pool: MaxPoolRule,
    /// In the order in which the network runs.
    pub references: Vec<Reference>,
    /// Why its changes cannot be shared out.
    pub refused: Option<&'static str>,
}

impl Recorder {
    /// For networks whose poolings follow this rule.
    pub fn new(max_pool: MaxPoolRule) -> Self {
        Self { max_pool, references: Vec::new(), refused: None }
    }
}

impl Hooks for Recorder {
    fn activation(&mut self, function: Activation, x: Tensor<2>) -> Tensor<2> {
        let output = function.apply(x.clone());
        self.references.push(Reference::Function(Box::new(Computed { input: x, output: output.clone() })));
        output
    }

    fn max_pool(&mut self, layer: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
        if self.max_pool == MaxPoolRule::Winner {
            return layer.forward(x);
        }
        let Some(options) = options(layer) else {
            self.refused = Some(PADDING);
            return layer.forward(x);
        };
        let (output, winners) = max_pool2d_with_indices(x.clone(), options);
        self.references.push(Reference::Pool(Box::new(Pooled { input: x, output: output.clone(), winners })));
        output
    }

    fn attention(&mut self, call: AttentionCall) -> Tensor<4> {
        self.refused = Some(ATTENTION);
        call.forward()
    }
}

/// The options of a pooling as its own forward pass has them, where they do not depend on the input.
fn options(layer: &MaxPool2d) -> Option<MaxPoolOptions<2>> {
    let padding = match &layer.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) => [(*top, *bottom), (*left, *right)],
        PaddingConfig2d::Valid => [(0, 0), (0, 0)],
        PaddingConfig2d::Same => return None,
    };
    let options = MaxPoolOptions::new(layer.kernel_size).with_stride(layer.stride).with_padding_pairs(padding);
    Some(options.with_dilation(layer.dilation).with_ceil_mode(layer.ceil_mode))
}

/// Shares out changes from baselines.
#[derive(Debug)]
pub(super) struct Rescale {
    max_pool: MaxPoolRule,
    references: Rc<Vec<Reference>>,
    /// The baseline of every row; without it there is one for all rows, or one for each in their order.
    rows: Option<Tensor<1, Int>>,
    next: usize,
}

impl Rescale {
    /// For the rows of one pass.
    pub fn new(max_pool: MaxPoolRule, references: Rc<Vec<Reference>>, rows: Option<Tensor<1, Int>>) -> Self {
        Self { max_pool, references, rows, next: 0 }
    }

    fn next(&mut self) -> Option<Reference> {
        let reference = self.references.get(self.next).cloned();
        self.next += 1;
        reference
    }

    fn of_rows<const D: usize, K: Basic>(&self, values: Tensor<D, K>) -> Tensor<D, K> {
        match &self.rows {
            Some(rows) => values.select(0, rows.clone()),
            None => values,
        }
    }
}

impl Hooks for Rescale {
    /// The rescale rule (Shrikumar et al. 2017, section 3.5.1): change of the output / change of the input.
    fn activation(&mut self, function: Activation, x: Tensor<2>) -> Tensor<2> {
        // The network takes the same way for every input, so there always is a reference.
        let Some(Reference::Function(before)) = self.next() else {
            return function.apply(x);
        };
        let input = x.clone().inner();
        let output = function.apply(input.clone());
        let change = input.clone() - self.of_rows(before.input);
        let small = change.clone().abs().lower_elem(SMALLEST);
        let ratio = (output.clone() - self.of_rows(before.output)) / change;
        ruled(x, output, ratio.mask_where(small, function.slope(input)), false)
    }

    /// [`MaxPoolRule::Rescale`]: with `m` the larger of both outputs of a window, its winner for the input answers for
    /// `m - output before`, its winner for the baseline for `output - m`; each by the ratio to its own change.
    fn max_pool(&mut self, layer: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
        if self.max_pool == MaxPoolRule::Winner {
            return layer.forward(x);
        }
        let reference = self.next();
        let (Some(Reference::Pool(before)), Some(options)) = (reference, options(layer)) else {
            return layer.forward(x);
        };
        let input = x.clone().inner();
        let (output, winners) = max_pool2d_with_indices(input.clone(), options);
        let shape = output.dims();
        let [rows, channels, height, width] = shape;
        let output_before = self.of_rows(before.output).expand(shape);
        let winners_before = self.of_rows(before.winners).expand(shape);
        let change = input.clone() - self.of_rows(before.input);
        let small = change.clone().abs().lower_elem(SMALLEST);

        let [_, _, full_height, full_width] = x.dims();
        let won = |x: Tensor<4>, winners: Tensor<4, Int>| {
            let winners = winners.reshape([rows, channels, height * width]);
            x.reshape([rows, channels, full_height * full_width]).gather(2, winners).reshape(shape)
        };
        let larger = output.clone().max_pair(output_before.clone());
        // Only the gradients of these count: what the pool writes is known.
        let shared = ruled(x.clone(), input.clone(), change.recip().mask_fill(small.clone(), 0.0), false);
        let nothing = output.zeros_like();
        let by_input =
            ruled(won(shared.clone(), winners.clone()), output.clone(), larger.clone() - output_before, false);
        let by_baseline = ruled(won(shared, winners_before), nothing.clone(), output - larger, false);
        let unchanged = ruled(x, input, small.float(), false);
        let one = nothing.ones_like();
        by_input + by_baseline + ruled(won(unchanged, winners), nothing, one, false)
    }
}
