//! Change points and drifts in a history.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::level_scan::{LEAST_AUTOCORRELATION, LevelScan, autocorrelation, segments_between};
use super::spikes::without_spikes;
use super::trend::{KendallScore, median_of};
use super::{median, theil_sen};

/// The share of the false-alarm rate that the test for a drift may use up; the steps have the rest.
const DRIFT_SHARE: f64 = 0.2;
/// Slopes within segments are taken over at most about this many points, half a million pairs.
const MOST_SLOPE_POINTS: usize = 1000;

/// A lasting change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The first point of the new level.
    pub index: usize,
    /// The median of the segment before; where there is a drift as well, carried along it to this point.
    pub before: f64,
    /// The median of the segment after, likewise.
    pub after: f64,
    /// Two-sided, of the best place between the neighbouring steps. Calibrated for noise with an autocorrelation of
    /// 0.3, so for independent noise it is too large.
    pub p_value: f64,
}

/// A steady change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Per point (Theil-Sen, within the segments between steps).
    pub slope: f64,
    /// From the first point to the last.
    pub total: f64,
    /// Two-sided (Mann-Kendall, within the segments between steps).
    pub p_value: f64,
}

/// What happened in a series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// In time order.
    pub steps: Vec<Step>,
    /// The drift, where there is one.
    pub drift: Option<Drift>,
}

/// How changes are searched for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePointOptions {
    /// The share of unchanged series that may show any step or drift. Nothing is searched for unless it is above 0.
    pub false_alarm_rate: f64,
    /// The fewest points between two steps, and before the first and after the last; at least 2.
    pub min_segment: usize,
    /// Smaller steps, and drifts with a smaller total, are left out; in the units of the values.
    pub min_effect: f64,
}

impl Default for ChangePointOptions {
    fn default() -> Self {
        Self { false_alarm_rate: 0.05, min_segment: 5, min_effect: 0.0 }
    }
}

/// The steps and the drift of values in time order, on the log cost scale.
///
/// Spikes are taken off first. Steps are then searched for with calibrated tests that allow for autocorrelation; a
/// drift has to pass the Mann-Kendall test within the segments (Hirsch, Slack and Smith 1982, the seasonal Kendall
/// test), its variance inflated for autocorrelation (Matalas and Sankarasubramanian 2003). A line can pass for a
/// staircase and a step for a line: what is significant is fitted as steps alone, as a drift, and as both, and the
/// smallest Bayesian information criterion decides (Schwarz 1978; Yao 1988 for steps), each change counting as two
/// parameters and the sample as the independent one that tells as much.
///
/// On unchanged noise at most `false_alarm_rate` of the series show anything: proven by simulation for independent
/// normal, heavy-tailed and contaminated noise and for an autocorrelation up to 0.3, which is what the rate is set by.
/// Beyond that it rises: with 0.5 to about twice the rate. docs/statistics.md has the table.
///
/// A series with fewer than two segments' worth of points or with a value that is not finite has no changes; nor has a
/// constant one. Steps without any noise have p = 0. O(n log n) in practice, but the search for pulses in a stretch of
/// n points takes up to n^2 / 2 trials, 80,000 at most: beyond 400 points it looks on a grid.
pub fn find_changes(values: &[f64], options: &ChangePointOptions) -> History {
    let min_segment = options.min_segment.max(2);
    let is_long_enough = values.len() / 2 >= min_segment;
    if !is_long_enough || !values.iter().all(|value| value.is_finite()) || options.false_alarm_rate.is_nan() {
        return History::default();
    }
    let search = Search { values, cleaned: &without_spikes(values), min_segment, rate: options.false_alarm_rate };
    search.report(&search.best_fit(), options.min_effect)
}

struct Search<'a> {
    values: &'a [f64],
    cleaned: &'a [f64],
    min_segment: usize,
    rate: f64,
}

/// One account of the series.
#[derive(Debug, Clone)]
struct Fit {
    /// 0 for steps alone.
    slope: f64,
    bounds: Vec<usize>,
    drift_p_value: f64,
    /// Smaller is better.
    criterion: f64,
}

impl Search<'_> {
    fn best_fit(&self) -> Fit {
        let stepped = self.fit(0.0, self.find_bounds(0.0));
        let mut drifting = vec![self.drifting_fit(&[])];
        if !stepped.bounds.is_empty() {
            drifting.push(self.drifting_fit(&stepped.bounds));
        }
        drifting.retain(|fit| fit.slope != 0.0 && fit.drift_p_value <= DRIFT_SHARE * self.rate);
        // Something did change. Before it is called a drift, the best single step may compete, though the test for
        // steps fell short of it: the test for a drift has passed, so this adds no false alarm.
        let step = LevelScan::of(self.cleaned, self.min_segment).best_split(0, self.cleaned.len());
        let stepped = match step {
            Some((step, _)) if stepped.bounds.is_empty() && !drifting.is_empty() => self.fit(0.0, vec![step]),
            _ => stepped,
        };
        drifting.into_iter().fold(stepped, |best, fit| if fit.criterion < best.criterion { fit } else { best })
    }

    /// A drift and the steps that are left beside it, from the slope between these bounds.
    fn drifting_fit(&self, bounds: &[usize]) -> Fit {
        let bounds = self.find_bounds(self.slope(bounds));
        self.fit(self.slope(&bounds), bounds)
    }

    fn find_bounds(&self, slope: f64) -> Vec<usize> {
        LevelScan::of(&detrended(self.cleaned, slope), self.min_segment).find_bounds(self.rate)
    }

    fn fit(&self, slope: f64, bounds: Vec<usize>) -> Fit {
        let scan = LevelScan::of(&detrended(self.cleaned, slope), self.min_segment);
        let residuals = scan.residuals(&bounds);
        let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
        // So that perfect fits tie and the simpler one wins.
        let squares = squares.max(1e-20 * scan.total_squares()).max(f64::MIN_POSITIVE);
        let n = self.cleaned.len() as f64;
        let independent = n * (1.0 - LEAST_AUTOCORRELATION) / (1.0 + LEAST_AUTOCORRELATION);
        let changes = (bounds.len() + usize::from(slope != 0.0)) as f64;
        let criterion = independent * (squares / n).ln() + 2.0 * changes * n.ln();
        Fit { slope, drift_p_value: self.drift_p_value(&bounds, &residuals), criterion, bounds }
    }

    /// Mann and Kendall's test within the segments. The residuals, of the fit with the drift, show the autocorrelation.
    fn drift_p_value(&self, bounds: &[usize], residuals: &[f64]) -> f64 {
        let scores = self.segments(bounds).map(|(low, high)| KendallScore::of(&self.cleaned[low..high]));
        let (balance, variance) =
            scores.fold((0.0, 0.0), |(sum, var), score| (sum + score.balance() as f64, var + score.variance));
        if variance <= 0.0 {
            return 1.0;
        }
        let rho = autocorrelation(residuals, bounds.len() + 2);
        2.0 * Normal::standard().sf(balance.abs() / (variance * (1.0 + rho) / (1.0 - rho)).sqrt())
    }

    /// The median slope over the pairs of points that no bound parts.
    fn slope(&self, bounds: &[usize]) -> f64 {
        if bounds.is_empty() {
            let places: Vec<f64> = (0..self.cleaned.len()).map(|place| place as f64).collect();
            return theil_sen(&places, self.cleaned).unwrap_or_default();
        }
        let stride = self.cleaned.len().div_ceil(MOST_SLOPE_POINTS);
        let mut slopes = Vec::new();
        for (low, high) in self.segments(bounds) {
            for i in (low..high).step_by(stride) {
                let later = (i + stride..high).step_by(stride);
                slopes.extend(later.map(|j| (self.cleaned[j] - self.cleaned[i]) / (j - i) as f64));
            }
        }
        median_of(&mut slopes).unwrap_or_default()
    }

    fn segments(&self, bounds: &[usize]) -> impl Iterator<Item = (usize, usize)> {
        segments_between(0, bounds, self.cleaned.len())
    }

    /// The fit in the terms of the values as they were, without what is too small to matter.
    fn report(&self, fit: &Fit, min_effect: f64) -> History {
        let flat = detrended(self.values, fit.slope);
        let mut bounds = fit.bounds.clone();
        let levels = loop {
            let levels: Vec<f64> =
                self.segments(&bounds).map(|(low, high)| median(&flat[low..high]).unwrap_or_default()).collect();
            let heights = levels.windows(2).map(|pair| (pair[1] - pair[0]).abs()).enumerate();
            let smallest = heights.filter(|(_, height)| *height < min_effect).min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((i, _)) = smallest else { break levels };
            bounds.remove(i);
        };
        let scan = LevelScan::of(&detrended(self.cleaned, fit.slope), self.min_segment);
        let step = |i: usize| {
            let low = if i == 0 { 0 } else { bounds[i - 1] };
            let high = bounds.get(i + 1).copied().unwrap_or(flat.len());
            let carried = fit.slope * bounds[i] as f64;
            Step {
                index: bounds[i],
                before: levels[i] + carried,
                after: levels[i + 1] + carried,
                p_value: scan.best_split(low, high).map_or(1.0, |(_, p_value)| p_value),
            }
        };
        let total = fit.slope * (flat.len() - 1) as f64;
        let is_drift = fit.slope != 0.0 && total.abs() >= min_effect;
        History {
            steps: (0..bounds.len()).map(step).collect(),
            drift: is_drift.then_some(Drift { slope: fit.slope, total, p_value: fit.drift_p_value }),
        }
    }
}

fn detrended(values: &[f64], slope: f64) -> Vec<f64> {
    values.iter().enumerate().map(|(place, value)| value - slope * place as f64).collect()
}
