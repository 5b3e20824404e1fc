//! Statistics: pure functions on slices. Each cites its source; all are checked against NumPy and SciPy.

pub mod describe;
pub mod median_interval;
pub mod quantile;

pub use describe::{mean, outlier_count, standard_deviation};
pub use median_interval::{median_interval, median_interval_ranks};
pub use quantile::{median, quantile, smallest_sample_for_quantile, sorted};
