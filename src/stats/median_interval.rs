//! The distribution-free interval of a median.

use statrs::distribution::{Binomial, DiscreteCDF as _};

/// The 1-based ranks `(low, n + 1 - low)` of the narrowest symmetric order-statistic interval that covers the median
/// with at least this confidence: the largest `low` with 1 - 2 P(B(n, 1/2) <= low - 1) >= confidence (David and
/// Nagaraja 2003, Order Statistics, section 7.1). `None` where n is too small for any.
pub fn median_interval_ranks(n: usize, confidence: f64) -> Option<(usize, usize)> {
    let halves = Binomial::new(0.5, n as u64).ok()?;
    let covers = |low: usize| 1.0 - 2.0 * halves.cdf(low as u64 - 1) >= confidence;
    // The coverage falls as the ranks move inwards, so the last one that covers is found by bisection.
    if n < 2 || !covers(1) {
        return None;
    }
    let (mut covering, mut beyond) = (1, n / 2 + 1);
    while beyond - covering > 1 {
        let middle = usize::midpoint(covering, beyond);
        if covers(middle) {
            covering = middle;
        } else {
            beyond = middle;
        }
    }
    Some((covering, n + 1 - covering))
}

/// The interval of the median itself, of values in ascending order.
pub fn median_interval(ascending: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let (low, high) = median_interval_ranks(ascending.len(), confidence)?;
    Some((ascending[low - 1], ascending[high - 1]))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::{mean, median, quantile, smallest_sample_for_quantile, sorted, standard_deviation};
    use super::*;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../fixtures/golden/statistics.json")).unwrap()
    }

    fn close(ours: f64, theirs: f64) -> bool {
        (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0)
    }

    #[test]
    fn describes_samples_as_numpy_does() {
        let golden = golden();
        for (name, described) in golden["describe"].as_object().unwrap() {
            let values: Vec<f64> = serde_json::from_value(golden["samples"][name].clone()).unwrap();
            assert!(close(mean(&values).unwrap(), described["mean"].as_f64().unwrap()), "{name}");
            assert!(close(median(&values).unwrap(), described["median"].as_f64().unwrap()), "{name}");
            assert_eq!(standard_deviation(&values).is_some(), described["std_ddof1"].is_f64(), "{name}");
            if let Some(theirs) = described["std_ddof1"].as_f64() {
                assert!(close(standard_deviation(&values).unwrap(), theirs), "{name}");
            }
            for (q, theirs) in described["quantiles_linear"].as_object().unwrap() {
                let ours = quantile(&sorted(&values), q.parse().unwrap()).unwrap();
                assert!(close(ours, theirs.as_f64().unwrap()), "{name} at {q}");
            }
        }
    }

    #[test]
    fn ranks_are_those_of_the_exact_binomial() {
        for (confidence, ranks) in golden()["median_interval_ranks"].as_object().unwrap() {
            for (n, expected) in ranks.as_object().unwrap() {
                let expected: Option<(usize, usize)> = serde_json::from_value(expected.clone()).unwrap();
                let ours = median_interval_ranks(n.parse().unwrap(), confidence.parse().unwrap());
                assert_eq!(ours, expected, "n = {n} at {confidence}");
            }
        }
    }

    #[test]
    fn a_percentile_needs_the_samples_that_scipy_says() {
        for (confidence, sizes) in golden()["quantile_min_samples_one_sided"].as_object().unwrap() {
            for (q, expected) in sizes.as_object().unwrap() {
                let ours = smallest_sample_for_quantile(q.parse().unwrap(), confidence.parse().unwrap());
                assert_eq!(Some(ours), expected.as_u64(), "q = {q} at {confidence}");
            }
        }
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(mean(&[]), None);
        assert_eq!(standard_deviation(&[1.0]), None);
        assert_eq!(median_interval(&[1.0], 0.95), None);
    }
}
