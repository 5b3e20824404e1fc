//! What this command asks of attribution methods. It says it in plain values, so that the work around them (cache,
//! batches, pictures, files) is tested without a network.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::HostTensor;

/// What is explained of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Explained {
    /// The class.
    pub(super) class: usize,
    /// The position of the output whose class it is, where the output has positions.
    pub(super) position: Option<usize>,
}

/// Samples that are explained together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// What the network reads; the first dimension of each is the batch.
    pub(super) inputs: &'a [HostTensor],
    /// One for every sample, or none for the network's own answers.
    pub(super) targets: &'a [Explained],
    /// Of the shape of a batch of inputs.
    pub(super) baselines: Option<&'a HostTensor>,
    /// The most rows of one pass, unless the explainer has other orders.
    pub(super) inner_batch: usize,
}

/// The answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// `[samples, ...]`: `[channels, height, width]`, `[bins, frames]` or `[tokens]` for each sample.
    pub(super) attribution: HostTensor,
    /// What was explained of every sample.
    pub(super) targets: Vec<Explained>,
    /// Forward and backward passes for each sample.
    pub(super) passes: [f64; 2],
    /// The most rows of one pass, where there are passes.
    pub(super) inner_batch: Option<usize>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The method does not fit the network: the reason.
    Unsupported(String),
    /// Something is wrong with the inputs, the targets, or the device.
    Error(anyhow::Error),
}

/// A network that can be explained.
pub(super) trait Explainer {
    /// All methods, in the order in which they are run.
    fn method_names(&self) -> Vec<&'static str>;

    /// Whether a method compares the input with something.
    fn compares(&self, name: &str) -> bool;

    /// The software that computes, with the precision: `burn-flex fp32`.
    fn engine(&self) -> &str;

    /// What whoever asked should know of how it was done.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// A method with these parameters and its own defaults; with baselines that are given, where it takes any.
    ///
    /// # Errors
    /// No such method or parameter.
    fn job<'e>(
        &'e self,
        name: &str,
        parameters: &Map<String, Value>,
        given_baselines: bool,
    ) -> anyhow::Result<Box<dyn Job + 'e>>;
}

/// A method, ready to explain what a network answers.
pub(super) trait Job {
    /// The method's name.
    fn name(&self) -> &'static str;

    /// All of its parameters.
    fn parameters(&self) -> Value;

    /// Explains a batch.
    ///
    /// # Errors
    /// See [`Failure`].
    fn explain(&self, request: &Request<'_>) -> Result<Answer, Failure>;
}
