//! The networks that are measured: real architectures on Burn, their weights, inputs, costs and training steps.
//!
//! This layer owns everything that knows what a network *is*: one file for each architecture (an `XConfig`
//! beside an `X`), [`blocks`] for the pieces they share, [`registry`] with one row for each model, [`weights`]
//! for loading by the reference's names, and [`rule`] for weights and inputs that need no file.
//! It must not know engines, clocks or databases: whoever measures holds a [`Network`] or a [`Trainer`] and
//! nothing else.
//!
//! Dropout is left out of every network: its rate is 0 at inference, and training steps run without it.

pub mod batch;
pub mod bert;
pub mod blocks;
pub mod cifar_cnn;
pub mod cost;
pub mod distilbert;
pub mod error;
pub mod generation;
pub mod gpt2;
mod inventory;
pub mod mobilenet_v2;
pub mod network;
pub mod registry;
pub mod resnet;
pub mod rule;
pub mod targets;
pub mod trainer;
pub mod vit;
pub mod weights;

pub use batch::{Batch, Output, OutputTensor, check_inputs, host_inputs};
pub use error::{Misshapen, Mistyped, WeightError, WeightMismatch, ZooError};
pub use generation::{Generation, Writer};
pub use network::{Architecture, Network, ParameterInfo, ParameterKind};
pub use registry::{ModelEntry, find, models};
pub use targets::{MaskedTokens, Targets, host_targets};
pub use trainer::{Trainer, learning_rate};
pub use weights::{WeightSource, weight_format};
