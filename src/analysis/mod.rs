//! Answers from the record: comparisons, verdicts, recommendations. Pure functions over series; no database, no clock.

pub mod charts;
pub mod compare;
mod differences;
mod evidence;
pub mod explanations;
pub mod facts;
pub mod history;
pub mod judge;
pub mod metrics;
pub mod noise;
pub mod prices;
pub mod profile;
pub mod recommend;
#[cfg(test)]
mod samples;
pub mod scaling;

pub use metrics::{Cost, MetricChoice};
