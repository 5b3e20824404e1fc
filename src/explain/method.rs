//! What an attribution method is, and what it answers.

use burn::tensor::Tensor;
use serde_json::Value;

use super::error::ExplainError;
use super::subject::{Passes, Subject};
use super::target::Target;
use crate::domain::model::{HostData, HostTensor};

/// An attribution method with its parameters. One of your own is one implementation of this trait, and one row of
/// [`registry`](super::registry) where it is to be known by name.
pub trait Method: Send + Sync {
    /// Its name in the registry.
    fn name(&self) -> &'static str;

    /// All parameters, defaults included, as a JSON object: what a configuration and the key of a cache hold.
    fn parameters(&self) -> Value;

    /// How much every part of the input adds to the score of every sample.
    ///
    /// # Errors
    ///
    /// [`ExplainError::Unsupported`] where the method does not fit the network, and whatever keeps the network from
    /// running.
    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError>;
}

/// What a method finds, on the device.
#[derive(Clone, Debug)]
pub enum Relevance {
    /// One number for every feature of the input, `[samples, features]`; of texts they are summed over each word's
    /// vector.
    Features(Tensor<2>),
    /// One number for every place of a map of its own (a layer's pixels, patches, tokens): `[samples, places]`, with the
    /// shape of one sample.
    Map(Tensor<2>, Vec<usize>),
}

/// An explanation of a batch.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// `[samples, the product of the shape]`, on the device.
    pub values: Tensor<2>,
    /// Of one sample: `[channels, height, width]`, `[bins, frames]`, `[tokens]`, or that of a layer's map
    /// `[1, height, width]`.
    pub shape: Vec<usize>,
    /// What was explained of every sample.
    pub targets: Vec<Target>,
    /// How often the network ran for all samples together, from the start of this explanation on.
    pub passes: Passes,
}

impl Attribution {
    /// How often the network ran forward and backward for one sample.
    pub fn passes_per_sample(&self) -> [f64; 2] {
        let samples = self.targets.len().max(1) as f64;
        [self.passes.forward as f64 / samples, self.passes.backward as f64 / samples]
    }

    /// Several explanations by one method as one, their samples in this order.
    ///
    /// # Panics
    ///
    /// There is no part.
    pub fn joined(mut parts: Vec<Self>) -> Self {
        let mut whole = parts.remove(0);
        if parts.is_empty() {
            return whole;
        }
        let mut values = vec![whole.values];
        for part in parts {
            whole.passes.forward += part.passes.forward;
            whole.passes.backward += part.passes.backward;
            whole.targets.extend(part.targets);
            values.push(part.values);
        }
        whole.values = Tensor::cat(values, 0);
        whole
    }

    /// Copies it to the host, `[samples, ...shape]`, as `attribution`. Waits for the device.
    ///
    /// # Errors
    ///
    /// The device failed to compute or to hand over the values.
    pub fn to_host(&self) -> Result<HostTensor, ExplainError> {
        let values = self.values.try_to_vec_as::<f32>();
        let values = values.map_err(|source| ExplainError::Read { source: Box::new(source) })?;
        let shape = std::iter::once(self.values.dims()[0]).chain(self.shape.iter().copied()).collect();
        Ok(HostTensor { name: "attribution".to_owned(), shape, data: HostData::F32(values) })
    }
}

/// Explains all samples of a subject by a method.
///
/// # Errors
///
/// See [`Method::attribute`].
pub fn explain(method: &dyn Method, subject: &Subject<'_>) -> Result<Attribution, ExplainError> {
    let before = subject.passes();
    let (values, shape) = match method.attribute(subject)? {
        Relevance::Map(values, shape) => (values, shape),
        Relevance::Features(values) if subject.is_text() => {
            let (samples, width) = (subject.samples(), subject.shape()[1]);
            let tokens = subject.shape()[0];
            let summed = values.reshape([samples, tokens, width]).sum_dim(2).reshape([samples, tokens]);
            (summed, vec![tokens])
        }
        Relevance::Features(values) => (values, subject.shape().to_vec()),
    };
    let targets = subject.targets()?;
    let after = subject.passes();
    let passes = Passes { forward: after.forward - before.forward, backward: after.backward - before.backward };
    Ok(Attribution { values, shape, targets, passes })
}
