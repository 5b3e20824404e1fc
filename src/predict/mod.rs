//! Forecasts of what was not measured: features, models, intervals. The only layer that sees linfa; it knows no database,
//! no command and no clock.

pub mod boosting;
pub mod devices;
mod encoder;
mod error;
mod facts;
mod gaussian_process;
mod ridge;
mod roofline;
pub mod time_model;
mod transfer;

pub use devices::{DeviceSpec, DeviceTable};
pub use error::PredictError;
pub use time_model::{TimeModel, TimeOptions};

/// Usable rows below which nothing is learned.
pub const LEAST_ROWS: usize = 8;
