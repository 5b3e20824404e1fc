//! Statistics: pure functions on slices. Each cites its source; all are checked against NumPy and SciPy.

pub mod bootstrap;
pub mod change_points;
pub mod describe;
pub mod false_discovery;
mod level_scan;
pub mod mann_whitney;
pub mod median_interval;
pub mod power;
pub mod prediction;
pub mod quantile;
pub mod shift;
mod spikes;
mod student_t;
pub mod trend;

pub use bootstrap::{PairedGroups, RatioEstimate, Replicate, geometric_mean, geometric_mean_ratio};
pub use change_points::{ChangePointOptions, Drift, History, Step, find_changes};
pub use describe::{mean, outlier_count, standard_deviation};
pub use false_discovery::benjamini_hochberg;
pub use mann_whitney::{MannWhitney, mann_whitney};
pub use median_interval::{median_interval, median_interval_ranks};
pub use power::{pooled_deviation, runs_for_shift, smallest_shift};
pub use prediction::{Interval, mean_difference_interval, prediction_interval, prediction_p_value};
pub use quantile::{median, quantile, smallest_sample_for_quantile, sorted};
pub use shift::{Shift, hodges_lehmann};
pub use trend::{mann_kendall, theil_sen};
