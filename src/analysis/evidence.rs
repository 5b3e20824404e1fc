//! What two sides of run medians prove: tests, intervals, the noise, and how many runs more would tell.

use statrs::distribution::{ContinuousCDF as _, Normal};

use crate::domain::Evidence;
use crate::stats::{
    hodges_lehmann, mann_whitney, mean, mean_difference_interval, pooled_deviation, prediction_interval,
    prediction_p_value, runs_for_shift, smallest_shift,
};

/// A test is significant at this probability of a false alarm, and a prediction interval leaves this much outside.
pub(super) const SIGNIFICANCE: f64 = 0.01;
/// Confidence of the interval of an effect.
pub(super) const CONFIDENCE: f64 = 0.95;
/// The probability with which the smallest effect would have been found.
pub(super) const POWER: f64 = 0.8;
/// Runs a side from which the two sides are tested against each other.
pub(super) const RUNS_FOR_TEST: usize = 5;
/// Baseline runs from which fewer new runs than that are held against a prediction interval.
pub(super) const RUNS_FOR_PREDICTION: usize = 10;
/// More runs than this nobody will make.
const MOST_RUNS: u64 = 1_000;
/// What so many runs of the baseline and of the candidate allow.
pub(super) fn evidence_for(old: usize, new: usize) -> Evidence {
    if old >= RUNS_FOR_TEST && new >= RUNS_FOR_TEST {
        Evidence::TwoSamples
    } else if old >= RUNS_FOR_PREDICTION && new < RUNS_FOR_TEST {
        Evidence::Prediction
    } else {
        Evidence::ThresholdOnly
    }
}

/// What the evidence found.
pub(super) struct Found {
    pub(super) significant: bool,
    pub(super) p_value: Option<f64>,
    /// 95 % interval of the effect.
    pub(super) interval: Option<(f64, f64)>,
    /// Run-to-run standard deviation on the scale of the effect.
    pub(super) deviation: Option<f64>,
}

impl Found {
    pub(super) fn by(evidence: Evidence, before: &[f64], after: &[f64], effect: f64) -> Self {
        match evidence {
            Evidence::TwoSamples => {
                let p_value = mann_whitney(before, after).map(|test| test.p_value);
                Self {
                    significant: p_value.is_some_and(|p_value| p_value <= SIGNIFICANCE),
                    p_value,
                    interval: hodges_lehmann(before, after, CONFIDENCE).map(|shift| (shift.low, shift.high)),
                    deviation: pooled_deviation(before, after),
                }
            }
            Evidence::Prediction => {
                let interval = prediction_interval(before, 1.0 - SIGNIFICANCE);
                let outside = |value: f64| {
                    interval
                        .as_ref()
                        .is_some_and(|interval| if effect > 0.0 { value > interval.high } else { value < interval.low })
                };
                Self {
                    significant: after.iter().all(|value| outside(*value)),
                    // Runs on both sides of the old ones are no evidence of a change.
                    p_value: if one_sided(before, after, effect) {
                        prediction_p_value(before, after)
                    } else {
                        Some(1.0)
                    },
                    interval: mean_difference_interval(before, after, CONFIDENCE)
                        .map(|interval| (interval.low, interval.high)),
                    deviation: pooled_deviation(before, &[]),
                }
            }
            Evidence::ThresholdOnly | Evidence::ChangePoints => {
                Self { significant: true, p_value: None, interval: None, deviation: None }
            }
        }
    }
}

/// Whether all new values lie on the side of the old ones' mean to which the effect points.
fn one_sided(before: &[f64], after: &[f64], effect: f64) -> bool {
    mean(before).is_some_and(|centre| after.iter().all(|value| (value - centre) * effect > 0.0))
}

/// The smallest effect that such data would have found with probability [`POWER`], on the scale of the values.
pub(super) fn smallest_effect(evidence: Evidence, noise: f64, before: &[f64], new: usize) -> Option<f64> {
    match evidence {
        Evidence::Prediction => smallest_predicted_shift(noise, before, new),
        Evidence::ThresholdOnly => Some(smallest_shift_by_noise(noise, before.len(), new)),
        Evidence::TwoSamples | Evidence::ChangePoints => smallest_shift(noise, before.len(), new, SIGNIFICANCE, POWER),
    }
}

/// The smallest shift with which all of `new` runs lie outside the prediction interval, with probability [`POWER`]: the
/// half-width of the interval and what normal noise of that many runs adds.
fn smallest_predicted_shift(deviation: f64, before: &[f64], new: usize) -> Option<f64> {
    let interval = prediction_interval(before, 1.0 - SIGNIFICANCE)?;
    let each = POWER.powf(1.0 / new.max(1) as f64);
    Some((interval.high - interval.low) / 2.0 + Normal::standard().inverse_cdf(each) * deviation)
}

/// The smallest shift that stands out of a known noise with probability [`POWER`], by the normal test of two means: what
/// a threshold alone should not be below.
fn smallest_shift_by_noise(deviation: f64, before: usize, after: usize) -> f64 {
    let normal = Normal::standard();
    let reach = normal.inverse_cdf(1.0 - SIGNIFICANCE / 2.0) + normal.inverse_cdf(POWER);
    reach * deviation * (1.0 / before.max(1) as f64 + 1.0 / after.max(1) as f64).sqrt()
}

/// How many more runs a side would decide: enough to make out the gap between the effect and what it is held against.
pub(super) fn more_runs(effect: f64, threshold: f64, deviation: Option<f64>, have: usize, past: bool) -> Option<u64> {
    let few = (RUNS_FOR_TEST.saturating_sub(have)) as u64;
    // Past the threshold the question is whether it is chance; before it, on which side of the threshold the truth is.
    let gap = if past { effect.abs() } else { threshold - effect.abs() };
    let needed = match deviation {
        Some(deviation) if deviation > 0.0 => runs_for_shift(deviation, gap, SIGNIFICANCE, POWER)? as u64,
        _ => RUNS_FOR_TEST as u64,
    };
    Some(needed.saturating_sub(have as u64).max(few).clamp(1, MOST_RUNS))
}
