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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    fn find(values: &[f64]) -> History {
        find_changes(values, &ChangePointOptions::default())
    }

    fn normal(generator: &mut Rng) -> f64 {
        (-2.0 * (1.0 - generator.f64()).ln()).sqrt() * (std::f64::consts::TAU * generator.f64()).cos()
    }

    fn student(generator: &mut Rng, freedom: u32) -> f64 {
        let squares: f64 = (0..freedom).map(|_| normal(generator).powi(2)).sum();
        normal(generator) / (squares / f64::from(freedom)).sqrt()
    }

    /// One in ten values has ten times the deviation.
    fn contaminated(generator: &mut Rng) -> f64 {
        normal(generator) * if generator.f64() < 0.1 { 10.0 } else { 1.0 }
    }

    fn independent(generator: &mut Rng, n: usize, draw: impl Fn(&mut Rng) -> f64) -> Vec<f64> {
        (0..n).map(|_| draw(generator)).collect()
    }

    /// Autocorrelation 0.3, unit deviation.
    fn autocorrelated(generator: &mut Rng, n: usize) -> Vec<f64> {
        let mut value = normal(generator);
        let innovation = (1.0_f64 - 0.3 * 0.3).sqrt();
        (0..n)
            .map(|_| {
                value = 0.3 * value + innovation * normal(generator);
                value
            })
            .collect()
    }

    /// On unchanged noise: not one in twenty series may show anything, at any length.
    fn assert_few_false_alarms(seed: u64, draw: impl Fn(&mut Rng, usize) -> Vec<f64>) {
        for (n, count) in [(20, 1500_usize), (50, 800), (100, 500), (200, 400)] {
            let mut generator = Rng::with_seed(seed);
            let alarms = (0..count).filter(|_| find(&draw(&mut generator, n)) != History::default()).count();
            // The true rates are 3 % and less (docs/statistics.md), two standard errors or more below this.
            assert!(alarms * 20 <= count, "{alarms} of {count} series of {n} points");
        }
    }

    #[test]
    fn normal_noise_rarely_alarms() {
        assert_few_false_alarms(1, |generator, n| independent(generator, n, normal));
    }

    #[test]
    fn student_2_noise_rarely_alarms() {
        assert_few_false_alarms(2, |generator, n| independent(generator, n, |generator| student(generator, 2)));
    }

    #[test]
    fn student_3_noise_rarely_alarms() {
        assert_few_false_alarms(3, |generator, n| independent(generator, n, |generator| student(generator, 3)));
    }

    #[test]
    fn contaminated_noise_rarely_alarms() {
        assert_few_false_alarms(4, |generator, n| independent(generator, n, contaminated));
    }

    #[test]
    fn autocorrelated_noise_rarely_alarms() {
        assert_few_false_alarms(5, autocorrelated);
    }

    #[test]
    fn counted_values_rarely_alarm() {
        assert_few_false_alarms(6, |generator, n| independent(generator, n, |g| (0.8 * normal(g)).round()));
    }

    /// A series of these segments, (points, level), on 3 % noise, with a slope per point.
    fn history(generator: &mut Rng, segments: &[(usize, f64)], slope: f64) -> Vec<f64> {
        let levels = segments.iter().flat_map(|&(points, level)| std::iter::repeat_n(level, points));
        levels.enumerate().map(|(place, level)| level + slope * place as f64 + 0.03 * normal(generator)).collect()
    }

    /// How many of 1,000 series have these steps, each within two points, no other, and no drift.
    fn times_found(segments: &[(usize, f64)]) -> usize {
        let mut generator = Rng::with_seed(11);
        let places: Vec<usize> =
            (1..segments.len()).map(|i| segments[..i].iter().map(|(points, _)| points).sum()).collect();
        (0..1000)
            .filter(|_| {
                let found = find(&history(&mut generator, segments, 0.0));
                found.drift.is_none()
                    && found.steps.len() == places.len()
                    && found.steps.iter().zip(&places).all(|(step, &place)| step.index.abs_diff(place) <= 2)
            })
            .count()
    }

    const TEN_PER_CENT: f64 = 0.0953;

    #[test]
    fn a_step_of_ten_per_cent_is_found() {
        assert!(times_found(&[(10, 0.0), (10, TEN_PER_CENT)]) >= 950);
        assert!(times_found(&[(10, TEN_PER_CENT), (10, 0.0)]) >= 950);
        assert!(times_found(&[(40, 0.0), (10, TEN_PER_CENT)]) >= 950);
    }

    #[test]
    fn two_steps_are_found() {
        assert!(times_found(&[(15, 0.0), (15, TEN_PER_CENT), (15, 2.0 * TEN_PER_CENT)]) >= 900);
        assert!(times_found(&[(15, 0.0), (15, TEN_PER_CENT), (15, 0.0)]) >= 900);
        assert!(times_found(&[(20, 0.0), (20, TEN_PER_CENT), (20, 0.0), (20, TEN_PER_CENT)]) >= 900);
    }

    #[test]
    fn a_drift_is_no_staircase() {
        let mut generator = Rng::with_seed(12);
        let mut drifts = 0;
        for _ in 0..500 {
            let found = find(&history(&mut generator, &[(60, 0.0)], 0.005));
            drifts += usize::from(found.steps.is_empty() && found.drift.is_some());
            if let Some(drift) = found.drift.filter(|_| found.steps.is_empty()) {
                assert!((drift.slope - 0.005).abs() < 0.002 && (drift.total - 59.0 * drift.slope).abs() < 1e-12);
            }
        }
        assert!(drifts >= 475, "{drifts}");
    }

    #[test]
    fn a_step_on_a_drift_is_found() {
        let mut generator = Rng::with_seed(13);
        let found = (0..200).filter(|_| {
            let found = find(&history(&mut generator, &[(30, 0.0), (30, 0.15)], 0.005));
            found.drift.is_some() && found.steps.iter().any(|step| step.index.abs_diff(30) <= 2)
        });
        assert!(found.count() >= 180);
    }

    #[test]
    fn spikes_are_no_change_points() {
        let mut generator = Rng::with_seed(14);
        let alarms = (0..500).filter(|_| {
            let mut values = history(&mut generator, &[(30, 0.0)], 0.0);
            let place = generator.usize(..29);
            values[place] += 1.0;
            values[if generator.bool() { place + 1 } else { generator.usize(..30) }] += 1.0;
            find(&values) != History::default()
        });
        assert!(alarms.count() <= 25);
    }

    #[test]
    fn a_step_says_what_it_did() {
        let mut values: Vec<f64> = (0..12).map(|i| f64::from(i % 3)).collect();
        values.extend((0..12).map(|i| f64::from(i % 3) + 10.0));
        let found = find(&values);
        assert_eq!(found.drift, None);
        let step = found.steps[0];
        assert_eq!((step.index, step.before, step.after, found.steps.len()), (12, 1.0, 11.0, 1));
        assert!(step.p_value < 1e-6);
        let options = ChangePointOptions { min_effect: 10.5, ..ChangePointOptions::default() };
        assert_eq!(find_changes(&values, &options), History::default());
    }

    #[test]
    fn perfect_series_behave() {
        assert_eq!(find(&[3.0; 50]), History::default());
        assert_eq!(find(&[0.1 + 0.2; 33]), History::default());
        let levels = |levels: &[f64]| levels.iter().flat_map(|&level| [level; 10]).collect::<Vec<_>>();
        for (values, places) in [
            (levels(&[1.0, 2.0]), vec![10]),
            (levels(&[0.3, 0.1, 0.3]), vec![10, 20]),
            (levels(&[1.0, 2.0, 1.0, 2.0]), vec![10, 20, 30]),
        ] {
            let found = find(&values);
            assert_eq!(found.steps.iter().map(|step| step.index).collect::<Vec<_>>(), places);
            assert!(found.steps.iter().all(|step| step.p_value == 0.0) && found.drift.is_none(), "{found:?}");
        }
        let line: Vec<f64> = (0..40).map(f64::from).collect();
        let found = find(&line);
        assert!(found.steps.is_empty() && found.drift.is_some_and(|drift| drift.slope == 1.0), "{found:?}");
        let mut spiked = vec![1.0; 30];
        spiked[12] = 9.0;
        spiked[20] = 9.0;
        assert_eq!(find(&spiked), History::default());
    }

    #[test]
    fn short_and_unusable_series_have_no_changes() {
        assert_eq!(find(&[]), History::default());
        assert_eq!(find(&[1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0]), History::default());
        let mut values = vec![1.0; 40];
        values[20..].fill(5.0);
        assert_eq!(find(&values).steps.len(), 1);
        values[3] = f64::NAN;
        assert_eq!(find(&values), History::default());
        values[3] = f64::INFINITY;
        assert_eq!(find(&values), History::default());
        let never = ChangePointOptions { false_alarm_rate: f64::NAN, ..ChangePointOptions::default() };
        assert_eq!(find_changes(&[1.0; 40], &never), History::default());
    }

    #[test]
    fn ten_thousand_points_take_less_than_a_second() {
        let mut generator = Rng::with_seed(15);
        let mut values = independent(&mut generator, 10_000, normal);
        values[5_000..].iter_mut().for_each(|value| *value += 1.0);
        let start = Instant::now();
        let found = find(&values);
        // Ten times the bound: a busy machine and no optimisation.
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert!(found.steps.len() == 1 && found.steps[0].index.abs_diff(5_000) < 20, "{found:?}");
    }

    proptest! {
        #[test]
        fn nothing_panics(
            values in prop::collection::vec(prop_oneof![4 => -5.0..5.0_f64, 1 => any::<f64>(), 4 => Just(1.0)], 0..80),
            rate in 0.0..1.0_f64,
            min_segment in 0..12_usize,
        ) {
            let options = ChangePointOptions { false_alarm_rate: rate, min_segment, min_effect: 0.1 };
            let found = find_changes(&values, &options);
            prop_assert!(found.steps.is_sorted_by_key(|step| step.index));
        }

        #[test]
        fn scale_and_sign_do_not_matter(seed in any::<u64>(), shift in -10.0..10.0_f64) {
            let mut generator = Rng::with_seed(seed);
            let values = history(&mut generator, &[(12, 0.0), (18, 0.08)], 0.0);
            let places = |values: &[f64]| find(values).steps.iter().map(|step| step.index).collect::<Vec<_>>();
            let mirrored: Vec<f64> = values.iter().map(|value| shift - 4.0 * value).collect();
            prop_assert_eq!(places(&values), places(&mirrored));
        }
    }
}
