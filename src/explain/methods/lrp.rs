//! Layer-wise relevance propagation (Bach et al., "On pixel-wise explanations for non-linear classifier decisions by
//! layer-wise relevance propagation", 2015), with the rules of Montavon et al., "Layer-wise relevance propagation: an
//! overview", 2019, as Captum computes them.
//!
//! What goes back here is not relevance but relevance divided by the value that has it. In these terms a layer `z = W x + b`
//! under the epsilon rule passes `W^T (c z / (z + epsilon sign z))`, sums and pools pass what gradients pass, and an
//! elementwise function passes `c f(x) / x`; the relevance of the input is `x c`. The gamma and the alpha1-beta0 rule do the
//! same through other weights: `c = W'^T (c z / z')` with `z' = W' x + b`.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::super::error::ExplainError;
use super::super::method::{Method, Relevance};
use super::super::ruled::ruled;
use super::super::subject::Subject;
use super::named;
use crate::zoo::activation::Activation;
use crate::zoo::hooks::{AttentionCall, Hooks, Weighted};
use crate::zoo::kernels;

/// How convolutions and linear layers share out relevance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrpRule {
    /// In proportion to what each input adds.
    #[default]
    Epsilon,
    /// As [`Epsilon`](Self::Epsilon), positive weights counted `1 + gamma` times.
    Gamma,
    /// By positive weights alone.
    Alpha1Beta0,
}

/// Its rules stand at the head of its file. All convolutions and linear layers follow one rule; everything else passes relevance on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lrp {
    /// Of convolutions and linear layers.
    pub rule: LrpRule,
    /// Added to what relevance is divided by, away from zero. Large ones take up relevance that rests on little.
    pub epsilon: f64,
    /// Of the gamma rule.
    pub gamma: f64,
    /// Leaves out the biases of the gamma and the alpha1-beta0 rule, so that they take up no relevance.
    pub set_bias_to_zero: bool,
}

impl Default for Lrp {
    fn default() -> Self {
        Self { rule: LrpRule::Epsilon, epsilon: 1e-9, gamma: 0.25, set_bias_to_zero: false }
    }
}

/// Values that are nearer to zero have no ratio.
const SMALLEST: f64 = 1e-10;

struct Propagation {
    lrp: Lrp,
    /// Why the network's relevance cannot be propagated.
    refused: Option<&'static str>,
}

impl Propagation {
    /// `z / (z' + epsilon sign z')`, with the sign of zero as 1.
    fn share(&self, written: &Tensor<4>, divisor: Tensor<4>) -> Tensor<4> {
        let sign = divisor.clone().greater_equal_elem(0.0).float() * 2.0 - 1.0;
        written.clone() / (divisor + sign * self.lrp.epsilon)
    }
}

impl Hooks for Propagation {
    fn activation(&mut self, function: Activation, x: Tensor<2>) -> Tensor<2> {
        if function == Activation::Relu {
            return kernels::activated(function, x); // f(x) / x is its derivative
        }
        let input = x.clone().inner();
        let output = function.apply(input.clone());
        let small = input.clone().abs().lower_elem(SMALLEST);
        let ratio = (output.clone() / input.clone()).mask_where(small, function.slope(input));
        ruled(x, output, ratio, false)
    }

    fn weighted(&mut self, layer: Weighted<'_>, x: Tensor<4>) -> Tensor<4> {
        let gamma = self.lrp.gamma;
        let keeps_bias = !self.lrp.set_bias_to_zero;
        let changed = match self.lrp.rule {
            LrpRule::Epsilon => {
                let written = layer.forward(x);
                let value = written.clone().inner();
                let share = self.share(&value, value.clone());
                return ruled(written, value, share, false);
            }
            LrpRule::Gamma => {
                let change = |weight: Tensor<2>| weight.clone() + weight.clamp_min(0.0) * gamma;
                layer.forward_changed(x.clone(), change, keeps_bias)
            }
            LrpRule::Alpha1Beta0 => layer.forward_changed(x.clone(), |weight| weight.clamp_min(0.0), keeps_bias),
        };
        let value = layer.forward(x.inner());
        let share = self.share(&value, changed.clone().inner());
        ruled(changed, value, share, false)
    }

    fn attention(&mut self, call: AttentionCall) -> Tensor<4> {
        self.refused = Some("it multiplies activations with each other in its attention, for which it has no rule");
        call.forward()
    }
}

impl Method for Lrp {
    named!("lrp");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        let numbers = [self.epsilon, self.gamma];
        if numbers.iter().any(|number| !number.is_finite() || *number < 0.0) {
            let reason = "epsilon and gamma are 0 or more".to_owned();
            return Err(ExplainError::Parameters { method: self.name(), reason });
        }
        let mut parts = Vec::new();
        for chunk in subject.every_sample().chunks(subject.inner_batch()) {
            let hooks = Rc::new(RefCell::new(Propagation { lrp: self.clone(), refused: None }));
            let input = subject.input_of(chunk);
            let shares = subject.gradients(self.name(), hooks.clone(), input.clone(), chunk);
            if let Some(reason) = hooks.borrow().refused {
                return Err(ExplainError::Unsupported { method: self.name(), reason: reason.to_owned() });
            }
            if self.rule != LrpRule::Epsilon {
                // Every layer ran with its own weights, too.
                subject.count_forward(chunk.len());
            }
            parts.push(input * shares?);
        }
        Ok(Relevance::Features(Tensor::cat(parts, 0)))
    }
}
