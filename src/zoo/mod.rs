//! The networks that are measured: real architectures on Burn, their weights, inputs, costs and training steps.
//!
//! This layer owns everything that knows what a network *is*: one file for each architecture (an `XConfig`
//! beside an `X`), [`blocks`] and [`decoder`] for the pieces they share, [`layers`] and [`activation`] through which all
//! run, [`hooks`] watch and [`observe`] times, [`registry`] with one row for each model, [`weights`] for loading by the reference's names, and [`rule`] for weights and inputs that need no file.
//! It must not know engines, clocks or databases: whoever measures holds a [`Network`] or a [`Trainer`] and
//! nothing else.
//!
//! Dropout is left out of every network: its rate is 0 at inference, and training steps run without it.

pub mod activation;
mod assignment;
pub mod batch;
pub mod bert;
pub mod blocks;
mod boundary;
pub mod channels;
pub mod cifar_cnn;
pub mod clip;
pub mod cost;
pub mod decoder;
pub mod detr;
pub mod detr_backbone;
pub mod distilbert;
pub mod error;
pub mod generation;
pub mod gpt2;
pub mod hooks;
pub mod int8;
mod inventory;
pub(crate) mod kernels;
pub mod layers;
pub mod llama;
pub mod mobilenet_v2;
pub mod network;
pub mod observe;
pub mod quantize;
pub mod registry;
pub mod resnet;
pub mod rule;
mod set_prediction;
pub mod t5;
pub mod t5_positions;
pub mod targets;
pub mod trainer;
pub mod vit;
pub mod weights;
pub mod whisper;

pub use batch::{Batch, Output, OutputTensor, check_inputs, host_inputs};
pub use channels::{ChannelGroup, Flexible, Shapes, Slice, Widths};
pub use error::{Misshapen, Mistyped, WeightError, WeightMismatch, ZooError};
pub use generation::{Generation, Writer};
pub use network::{Architecture, Network, ParameterInfo, ParameterKind};
pub use observe::{Observation, Observer};
pub use registry::{ModelEntry, find, models};
pub use targets::{Distilled, MaskedTokens, Object, Targets, host_targets};
pub use trainer::{Trainer, learning_rate};
pub use weights::{WeightSource, weight_format};
