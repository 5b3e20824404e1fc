//! Trends: the Theil-Sen slope and Kendall's test.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// Up to this many points every pair gives a slope; more are thinned first.
const MOST_POINTS: usize = 2000;

/// Kendall's distribution is exact up to this many points without ties, as in SciPy's `kendalltau`.
const LARGEST_EXACT: usize = 33;

/// The median slope over all pairs of points with different x (Theil 1950; Sen 1968). `None` where the lengths differ or no
/// two x do. Beyond 2,000 points, which have two million pairs, it takes evenly spread points, so 10,000 cost no more.
pub fn theil_sen(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() {
        return None;
    }
    let stride = x.len().div_ceil(MOST_POINTS).max(1);
    let points: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).step_by(stride).collect();
    let mut slopes = Vec::with_capacity(points.len() * points.len().saturating_sub(1) / 2);
    for (i, a) in points.iter().enumerate() {
        slopes.extend(points[i + 1..].iter().filter(|b| b.0 != a.0).map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    median_of(&mut slopes)
}

/// The median by selection, in linear time; the pairs of a long series are too many to sort.
pub(super) fn median_of(values: &mut [f64]) -> Option<f64> {
    let half = values.len() / 2;
    let is_even = values.len().is_multiple_of(2);
    if values.is_empty() {
        return None;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| is_even);
    Some(lower.map_or(upper, |lower| f64::midpoint(lower, upper)))
}

/// Kendall's tau-b of the values against their order, and its two-sided p value (Mann 1945; Kendall 1970).
///
/// Exact up to 33 points without ties, or where at most one pair is out of order, else normal with the correction for
/// ties: what SciPy's `kendalltau(method="auto")` does. `None` below two points or where all are equal. The p value is
/// for independent values.
pub fn mann_kendall(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len();
    let score = KendallScore::of(values);
    let pairs = score.pairs as f64;
    let untied = pairs - score.tied_pairs as f64;
    if n < 2 || untied <= 0.0 {
        return None;
    }
    let tau = (score.balance() as f64 / pairs.sqrt() / untied.sqrt()).clamp(-1.0, 1.0);
    let fewer = score.discordant.min(score.pairs - score.discordant);
    let exact = score.tied_pairs == 0 && (n <= LARGEST_EXACT || fewer <= 1);
    let p_value = if exact {
        exact_p_value(n, fewer)
    } else {
        2.0 * Normal::standard().sf((score.balance() as f64 / score.variance.sqrt()).abs())
    };
    Some((tau, p_value.min(1.0)))
}

/// The counts behind Kendall's statistic for values in time order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct KendallScore {
    pub pairs: u64,
    pub tied_pairs: u64,
    /// The pairs whose later value is the smaller one.
    pub discordant: u64,
    /// Of the balance, under no trend and independent values.
    pub variance: f64,
}

impl KendallScore {
    pub(super) fn of(values: &[f64]) -> Self {
        let n = values.len() as u64;
        let mut ordered = values.to_vec();
        let discordant = count_inversions(&mut ordered, &mut values.to_vec());
        let (mut tied_pairs, mut tie_term) = (0, 0.0);
        for group in ordered.chunk_by(|a, b| a == b) {
            let size = group.len() as u64;
            tied_pairs += size * (size - 1) / 2;
            tie_term += (size * (size - 1)) as f64 * (2 * size + 5) as f64;
        }
        let pairs = n * n.saturating_sub(1) / 2;
        let variance = ((n * n.saturating_sub(1)) as f64 * (2 * n + 5) as f64 - tie_term) / 18.0;
        Self { pairs, tied_pairs, discordant, variance }
    }

    /// Rising pairs less falling pairs.
    pub(super) fn balance(&self) -> i64 {
        self.pairs as i64 - self.tied_pairs as i64 - 2 * self.discordant as i64
    }
}

/// Sorts by merging, and counts the pairs that stood in the wrong order (Knight 1966): O(n log n).
fn count_inversions(values: &mut [f64], scratch: &mut [f64]) -> u64 {
    let n = values.len();
    if n < 2 {
        return 0;
    }
    let half = n / 2;
    let mut inversions = count_inversions(&mut values[..half], &mut scratch[..half])
        + count_inversions(&mut values[half..], &mut scratch[half..]);
    let (mut left, mut right) = (0, half);
    for slot in scratch.iter_mut() {
        // Zeros of both signs are equal, so the plain comparison; with a NaN it is false, and the order arbitrary.
        let is_inverted = left >= half || (right < n && values[right] < values[left]);
        if is_inverted {
            *slot = values[right];
            right += 1;
            inversions += (half - left) as u64;
        } else {
            *slot = values[left];
            left += 1;
        }
    }
    values.copy_from_slice(scratch);
    inversions
}

/// 2 P(at most `fewer` inversions) of a random permutation (Kendall 1970, chapter 5): the number of inversions is a sum
/// of independent uniform numbers on 0..i for i = 1..n.
fn exact_p_value(n: usize, fewer: u64) -> f64 {
    let kept = fewer as usize + 1;
    // probabilities[k] = P(k inversions); the values beyond `fewer` are never needed.
    let mut probabilities = vec![0.0_f64; kept];
    probabilities[0] = 1.0;
    for size in 2..=n {
        let mut next = vec![0.0; kept];
        for (k, probability) in next.iter_mut().enumerate() {
            *probability = probabilities[(k + 1).saturating_sub(size)..=k].iter().sum::<f64>() / size as f64;
        }
        probabilities = next;
    }
    2.0 * probabilities.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn agrees_with_scipy() {
        let golden: Value = serde_json::from_str(include_str!("../../fixtures/golden/statistics.json")).unwrap();
        let golden = &golden["theil_sen"];
        let x: Vec<f64> = serde_json::from_value(golden["x"].clone()).unwrap();
        let y: Vec<f64> = serde_json::from_value(golden["y"].clone()).unwrap();
        let close = |ours: f64, key: &str| (ours / golden[key].as_f64().unwrap() - 1.0).abs() < 1e-9;
        assert!(close(theil_sen(&x, &y).unwrap(), "slope"));
        let (tau, p_value) = mann_kendall(&y).unwrap();
        assert!(close(tau, "kendall_tau") && close(p_value, "kendall_p"), "{tau} {p_value}");
    }

    proptest! {
        #[test]
        fn counts_pairs(values in prop::collection::vec(0..8_i32, 0..40)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let score = KendallScore::of(&values);
            let (mut balance, mut tied) = (0, 0);
            for j in 0..values.len() {
                for i in 0..j {
                    balance += i64::from(values[j] > values[i]) - i64::from(values[j] < values[i]);
                    tied += u64::from(values[i] == values[j]);
                }
            }
            prop_assert_eq!((score.balance(), score.tied_pairs), (balance, tied));
        }

        #[test]
        fn a_line_has_its_slope(slope in -5.0..5.0_f64, n in 2..60_usize) {
            let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let y: Vec<f64> = x.iter().map(|x| slope * x).collect();
            prop_assert!((theil_sen(&x, &y).unwrap() - slope).abs() < 1e-9);
        }
    }

    #[test]
    fn exact_and_normal_p_values_meet() {
        // Four points in order: 1 of 24 permutations, both ways. Three pairs out of order of 33 points: the tail.
        assert!((mann_kendall(&[1.0, 2.0, 3.0, 4.0]).unwrap().1 - 2.0 / 24.0).abs() < 1e-12);
        assert_eq!(mann_kendall(&[1.0, 2.0]), Some((1.0, 1.0)));
        let values: Vec<f64> = (0..33).map(|i| f64::from(i * 20 % 33)).collect();
        let exact = mann_kendall(&values).unwrap().1;
        let score = KendallScore::of(&values);
        let normal = 2.0 * Normal::standard().sf((score.balance() as f64 / score.variance.sqrt()).abs());
        assert!((exact - normal).abs() < 0.03, "{exact} and {normal}");
    }

    #[test]
    fn short_constant_and_unordered_values_are_no_trouble() {
        assert_eq!(mann_kendall(&[]), None);
        assert_eq!(mann_kendall(&[1.0]), None);
        assert_eq!(mann_kendall(&[1.0; 9]), None);
        assert_eq!(theil_sen(&[], &[]), None);
        assert_eq!(theil_sen(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(theil_sen(&[1.0, 1.0], &[1.0, 2.0]), None);
        let _ = mann_kendall(&[f64::NAN, 1.0, f64::NAN, -0.0, 0.0, f64::INFINITY]);
        let _ = theil_sen(&[0.0, 1.0, 2.0], &[f64::NAN, 1.0, f64::NAN]);
    }
}
