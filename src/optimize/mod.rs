//! Variants of a model to compare: smaller, narrower or newly trained ones.
//!
//! This layer owns what changes weights: [`prune_magnitudes`] and [`prune_channels`], [`int8_file`] and [`train`]
//! (fine-tuning and distillation). It works on host tensors by reference names, as [`Network::weights`] gives them,
//! and on networks behind their traits; it must not know engines, files or databases. What it makes is loaded by
//! [`ModelEntry::build_loaded`] like any other weight file. `docs/optimize.md` has the methods and their sources.
//!
//! [`Network::weights`]: crate::zoo::Network::weights
//! [`ModelEntry::build_loaded`]: crate::zoo::ModelEntry::build_loaded

mod channels;
mod error;
mod int8;
mod magnitude;
mod training;
mod weight_file;

pub use channels::{ChannelPruning, GroupWidth, prune_channels};
pub use error::OptimizeError;
pub use int8::int8_file;
pub use magnitude::{MagnitudePruning, PruningScope, Sparsity, TensorSparsity, prune_magnitudes, sparsity};
pub use training::{LabelledImages, Progress, Schedule, Teaching, train};
pub use weight_file::weight_file;

use crate::domain::model::{HostTensor, InputSpec};
use crate::zoo::ModelEntry;

/// What weights make of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightFacts {
    /// Parameters, as the widths of the weights have it.
    pub parameter_count: u64,
    /// Multiply-adds of one sample.
    pub multiply_adds: u64,
    /// The share of all elements that is not zero.
    pub nonzero_share: f64,
}

impl WeightFacts {
    /// What these weights make of a model that reads such inputs.
    pub fn of(entry: &ModelEntry, inputs: &[InputSpec], weights: &[HostTensor]) -> Self {
        let shapes = weights.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
        let cost = entry.cost_like(&shapes, inputs);
        Self {
            parameter_count: cost.parameter_count,
            multiply_adds: cost.multiply_adds,
            nonzero_share: sparsity(weights).nonzero_share(),
        }
    }
}
