//! What few new values can be held against: the prediction of a history.

use super::student_t::{two_sided_quantile, two_sided_tail};
use super::{mean, standard_deviation};

/// A range with both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether the value lies inside or on an end.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    fn around(centre: f64, reach: f64) -> Self {
        Self { low: centre - reach, high: centre + reach }
    }
}

/// The interval that holds one new value of the same normal population with this confidence:
/// mean +- t s sqrt(1 + 1/n) with n - 1 degrees of freedom (Hahn and Meeker 1991, Statistical Intervals, section 4.7).
/// `None` below two values or for a confidence outside (0, 1). Values without spread give an interval without width.
pub fn prediction_interval(values: &[f64], confidence: f64) -> Option<Interval> {
    let deviation = standard_deviation(values)?;
    let reach =
        two_sided_quantile(values.len() - 1, confidence)? * deviation * (1.0 + 1.0 / values.len() as f64).sqrt();
    Some(Interval::around(mean(values)?, reach))
}

/// The interval of mean(`second`) - mean(`first`) where `second` is too small to show its own spread and is taken to
/// spread as `first` does: +- t s sqrt(1/n + 1/m) with the n - 1 degrees of freedom of `first` (the prediction of the
/// mean of m new values; Hahn and Meeker 1991, section 4.8). `None` where `first` has fewer than two values, `second`
/// none, or the confidence lies outside (0, 1).
pub fn mean_difference_interval(first: &[f64], second: &[f64], confidence: f64) -> Option<Interval> {
    let difference = mean(second)? - mean(first)?;
    let deviation = standard_deviation(first)?;
    let scale = (1.0 / first.len() as f64 + 1.0 / second.len() as f64).sqrt();
    let reach = two_sided_quantile(first.len() - 1, confidence)? * deviation * scale;
    Some(Interval::around(difference, reach))
}

/// How surprising the least extreme of the new values is: the largest, over `new`, of the two-sided p values of one new
/// value against the prediction of [`prediction_interval`]. It is below 1 - confidence exactly where every new value
/// lies outside that interval. A history without spread gives 1 where a new value equals it, else 0. `None` where the
/// history has fewer than two values or nothing is new.
pub fn prediction_p_value(history: &[f64], new: &[f64]) -> Option<f64> {
    let centre = mean(history)?;
    let deviation = standard_deviation(history)? * (1.0 + 1.0 / history.len() as f64).sqrt();
    let distance = new.iter().map(|value| (value - centre).abs()).reduce(f64::min)?;
    if distance == 0.0 || deviation == 0.0 {
        return Some(if distance == 0.0 { 1.0 } else { 0.0 });
    }
    Some(two_sided_tail(distance / deviation, (history.len() - 1) as f64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../fixtures/golden/statistics.json")).unwrap()
    }

    fn normal12() -> Vec<f64> {
        serde_json::from_value(golden()["samples"]["normal12"].clone()).unwrap()
    }

    #[test]
    fn agrees_with_scipy() {
        for (confidence, theirs) in golden()["prediction_interval_one_new"].as_object().unwrap() {
            let theirs: (f64, f64) = serde_json::from_value(theirs.clone()).unwrap();
            let ours = prediction_interval(&normal12(), confidence.parse().unwrap()).unwrap();
            assert!(
                (ours.low - theirs.0).abs() < 1e-9 && (ours.high - theirs.1).abs() < 1e-9,
                "{ours:?} and {theirs:?}"
            );
        }
    }

    #[test]
    fn one_new_value_has_one_interval() {
        // The mean of one new value is that value: both intervals say the same.
        let history = normal12();
        let predicted = prediction_interval(&history, 0.99).unwrap();
        let difference = mean_difference_interval(&history, &[110.0], 0.99).unwrap();
        assert!((difference.low - (110.0 - predicted.high)).abs() < 1e-9);
        assert!((difference.high - (110.0 - predicted.low)).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn p_value_and_interval_decide_alike(
            history in prop::collection::vec(90.0..110.0_f64, 3..30),
            new in prop::collection::vec(50.0..150.0_f64, 1..5),
        ) {
            let interval = prediction_interval(&history, 0.99).unwrap();
            let p_value = prediction_p_value(&history, &new).unwrap();
            prop_assume!((p_value - 0.01).abs() > 1e-9);
            prop_assert_eq!(p_value <= 0.01, new.iter().all(|&value| !interval.contains(value)));
        }
    }

    #[test]
    fn short_or_constant_histories_are_no_trouble() {
        assert_eq!(prediction_interval(&[1.0], 0.95), None);
        assert_eq!(prediction_interval(&[1.0, 2.0], 1.0), None);
        assert_eq!(mean_difference_interval(&[1.0, 2.0], &[], 0.95), None);
        assert_eq!(mean_difference_interval(&[1.0], &[2.0], 0.95), None);
        assert_eq!(prediction_p_value(&[1.0, 2.0], &[]), None);
        assert_eq!(prediction_p_value(&[1.0], &[2.0]), None);
        assert_eq!(prediction_p_value(&[7.0; 4], &[7.0, 8.0]), Some(1.0));
        assert_eq!(prediction_p_value(&[7.0; 4], &[8.0, 9.0]), Some(0.0));
        assert_eq!(prediction_interval(&[7.0; 4], 0.95), Some(Interval { low: 7.0, high: 7.0 }));
    }
}
