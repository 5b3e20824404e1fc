//! Forecasts of what was not measured: features, models, intervals. The only layer that sees linfa; it knows no database,
//! no command and no clock.

pub mod anchors;
mod baselines;
pub mod boosting;
mod calibrate;
mod conformal;
pub mod devices;
mod encoder;
mod error;
pub mod evaluate;
mod facts;
pub mod forecaster;
mod gaussian_process;
mod memory;
mod neighbours;
mod outside;
mod ridge;
mod roofline;
mod stretch;
pub mod time_model;
mod transfer;
mod words;

pub use anchors::{Anchor, suggest_anchors};
pub use baselines::Answerer;
pub use calibrate::Plain;
pub use devices::{DeviceSpec, DeviceTable};
pub use error::PredictError;
pub use facts::{FactBook, Facts};
pub use forecaster::{FitOptions, Forecaster, Provenance};
pub use memory::{Memory, MemoryScore, score_memory};
pub use time_model::{TimeModel, TimeOptions};

/// Usable rows below which nothing is learned.
pub const LEAST_ROWS: usize = 8;
