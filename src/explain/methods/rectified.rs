//! Gradients that rectifiers let pass by other rules. What rectifies is ReLU, and ReLU6, which Captum leaves alone.

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
use crate::zoo::hooks::Hooks;
use crate::zoo::kernels::{self, Rectifier};

/// Rectifiers pass gradients that are positive, where they passed their input (Springenberg et al., "Striving for
/// simplicity", 2015).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuidedBackpropagation {}

/// Rectifiers pass gradients that are positive, whatever their input was (Zeiler and Fergus, "Visualizing and
/// understanding convolutional networks", 2014).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deconvolution {}

/// Which gradients a rectifier passes, among the positive ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// Those of inputs that it passed.
    WhereActive,
    /// All.
    Everywhere,
}

struct Rectified {
    passing: Passing,
    /// Whether there was any rectifier.
    found: bool,
}

impl Hooks for Rectified {
    fn activation(&mut self, function: Activation, x: Tensor<2>) -> Tensor<2> {
        if !function.rectifies() {
            return function.apply(x);
        }
        self.found = true;
        if kernels::rectifies(function, &x) {
            let rule = match self.passing {
                Passing::WhereActive => Rectifier::Guided,
                Passing::Everywhere => Rectifier::Deconvolution,
            };
            return kernels::rectified(x, rule);
        }
        let input = x.clone().inner();
        let factor = match self.passing {
            Passing::WhereActive => function.slope(input.clone()),
            Passing::Everywhere => input.ones_like(),
        };
        ruled(x, function.apply(input), factor, true)
    }
}

/// The gradients of all samples under the rule.
pub(super) fn rectified(
    method: &'static str,
    subject: &Subject<'_>,
    passing: Passing,
) -> Result<Tensor<2>, ExplainError> {
    let mut parts = Vec::new();
    for chunk in subject.every_sample().chunks(subject.inner_batch()) {
        let hooks = Rc::new(RefCell::new(Rectified { passing, found: false }));
        let gradients = subject.gradients(method, hooks.clone(), subject.input_of(chunk), chunk)?;
        if !hooks.borrow().found {
            let reason = "it has no ReLU between the input and its output".to_owned();
            return Err(ExplainError::Unsupported { method, reason });
        }
        parts.push(gradients);
    }
    Ok(Tensor::cat(parts, 0))
}

impl Method for GuidedBackpropagation {
    named!("guided_backpropagation");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        Ok(Relevance::Features(rectified(self.name(), subject, Passing::WhereActive)?))
    }
}

impl Method for Deconvolution {
    named!("deconvolution");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        Ok(Relevance::Features(rectified(self.name(), subject, Passing::Everywhere)?))
    }
}
