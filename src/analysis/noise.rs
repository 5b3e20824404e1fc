//! The run-to-run noise of series, from runs that were made together: in one campaign, or one import.

use std::collections::BTreeMap;

use super::metrics::Cost;
use crate::domain::{Series, SeriesSet};
use crate::stats::standard_deviation;

/// The noise of one metric of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// The series, in its set.
    pub series: usize,
    /// The metric, in the set.
    pub metric: usize,
    /// Standard deviation of the logarithms of runs that were made together, pooled over the groups.
    pub deviation: f64,
    /// The runs behind it.
    pub runs: usize,
}

/// The noise of everything that was measured twice or more within one group. Metrics whose differences are absolute
/// have none.
pub fn noise(set: &SeriesSet) -> Vec<Noise> {
    let mut found = Vec::new();
    for (index, series) in set.series.iter().enumerate() {
        for (column, metric) in set.metrics.iter().enumerate() {
            let cost = Cost::of(metric);
            if cost.is_absolute() {
                continue;
            }
            if let Some((deviation, runs)) = pooled(series, column, cost) {
                found.push(Noise { series: index, metric: column, deviation, runs });
            }
        }
    }
    found
}

fn pooled(series: &Series, column: usize, cost: Cost) -> Option<(f64, usize)> {
    let mut groups: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for (run, value) in series.measured(column) {
        // Runs that belong to nothing were not made together.
        if run.group != crate::domain::RunGroup::Alone {
            groups.entry(run.group).or_default().push(cost.scale(value)?);
        }
    }
    let (mut squares, mut freedom, mut runs) = (0.0, 0, 0);
    for values in groups.values() {
        if let Some(deviation) = standard_deviation(values) {
            freedom += values.len() - 1;
            squares += deviation.powi(2) * (values.len() - 1) as f64;
            runs += values.len();
        }
    }
    (freedom > 0).then(|| ((squares / freedom as f64).sqrt(), runs))
}
