//! The Hodges-Lehmann estimate of a shift, with the interval that inverts the rank test.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::mann_whitney::{LARGEST_EXACT_PRODUCT, tie_free_counts};
use super::sorted;

/// How far one sample lies above another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The median of the pairwise differences.
    pub estimate: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// The shift from `first` to `second`: the median of the differences `second` - `first` over all pairs (Hodges and
/// Lehmann 1963), with the interval of the shifts that the two-sided rank test does not reject (Hollander, Wolfe and
/// Chicken 2014, section 4.3): the c-th smallest and the c-th largest difference, with the largest c for which
/// 2 P(U <= c - 1) <= 1 - confidence without ties. That distribution is exact for up to 2,500 pairs
/// and normal, with the continuity correction, beyond. With ties the interval covers at least as often.
///
/// `None` where a side is empty, and where too few values make any interval as sure as that: 3 against 3 allow 0.9.
pub fn hodges_lehmann(first: &[f64], second: &[f64], confidence: f64) -> Option<Shift> {
    let differences = Differences { first: sorted(first), second: sorted(second) };
    let pairs = first.len().checked_mul(second.len()).filter(|&pairs| pairs > 0)?;
    let rank = interval_rank(first.len(), second.len(), confidence)?;
    let middle = (differences.at_rank(pairs.div_ceil(2)), differences.at_rank(pairs / 2 + 1));
    Some(Shift {
        estimate: f64::midpoint(middle.0, middle.1),
        low: differences.at_rank(rank),
        high: differences.at_rank(pairs + 1 - rank),
    })
}

/// The rank, from either end, of the differences that bound the interval; `None` where even the outermost are too near.
fn interval_rank(n: usize, m: usize, confidence: f64) -> Option<usize> {
    let tail = (1.0 - confidence) / 2.0;
    if !(tail > 0.0 && tail < 0.5) {
        return None;
    }
    let pairs = n * m;
    let rank = if pairs <= LARGEST_EXACT_PRODUCT {
        let counts = tie_free_counts(n, m);
        let total = counts.iter().sum::<i128>() as f64;
        let mut below = 0_i128;
        let allowed = |count: &&i128| {
            below += **count;
            // One part in 10^12 for a confidence such as 0.9, whose tail is 0.04999999999999999 in binary.
            below as f64 / total <= tail * (1.0 + 1e-12)
        };
        counts.iter().take_while(allowed).count()
    } else {
        let (n, m) = (n as f64, m as f64);
        let deviation = (n * m * (n + m + 1.0) / 12.0).sqrt();
        (n * m / 2.0 + 0.5 + Normal::standard().inverse_cdf(tail) * deviation).floor().max(0.0) as usize
    };
    (rank >= 1).then(|| rank.min(pairs.div_ceil(2)))
}

/// All `second` - `first`, never written out: two sides of 10,000 values have 10^8 of them.
struct Differences {
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Differences {
    /// The difference with this 1-based rank in ascending order. The smallest float that at least `rank` differences do
    /// not exceed is found by bisection over the floats in their total order: 64 passes over both sides.
    fn at_rank(&self, rank: usize) -> f64 {
        let (mut below, mut reaching) = (ordinal(f64::NEG_INFINITY) - 1, ordinal(f64::INFINITY));
        while below + 1 < reaching {
            let middle = below.midpoint(reaching);
            if self.count_up_to(from_ordinal(middle)) >= rank {
                reaching = middle;
            } else {
                below = middle;
            }
        }
        from_ordinal(reaching)
    }

    fn count_up_to(&self, limit: f64) -> usize {
        // A larger value of `first` makes every difference smaller: the boundary moves one way only.
        let mut within = 0;
        let mut count = 0;
        for first in &self.first {
            while self.second.get(within).is_some_and(|second| second - first <= limit) {
                within += 1;
            }
            count += within;
        }
        count
    }
}

/// The place of a float in ascending order, so that neighbours differ by one (both zeros apart).
fn ordinal(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn from_ordinal(place: i64) -> f64 {
    f64::from_bits((place ^ (((place >> 63) as u64) >> 1) as i64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{mann_whitney, median};
    use super::*;

    fn differences(first: &[f64], second: &[f64]) -> Vec<f64> {
        sorted(&second.iter().flat_map(|y| first.iter().map(move |x| y - x)).collect::<Vec<_>>())
    }

    #[test]
    fn ranks_are_those_of_the_tables() {
        // Hollander, Wolfe and Chicken, table A.6; R: qwilcox(0.025, 5, 5) = 3, qwilcox(0.025, 10, 10) = 24.
        assert_eq!(interval_rank(5, 5, 0.95), Some(3));
        assert_eq!(interval_rank(10, 10, 0.95), Some(24));
        assert_eq!(interval_rank(3, 3, 0.95), None);
        assert_eq!(interval_rank(3, 3, 0.9), Some(1));
        assert_eq!(interval_rank(4, 4, 0.95), Some(1));
        assert_eq!(interval_rank(5, 5, 0.99), Some(1));
        assert_eq!(interval_rank(4, 4, 0.99), None);
    }

    #[test]
    fn the_approximation_continues_the_exact_ranks() {
        // 50 against 50 is the last exact case; the normal rank there is computed by hand.
        let exact = interval_rank(50, 50, 0.95).unwrap() as f64;
        let deviation = (2500.0 * 101.0 / 12.0_f64).sqrt();
        let normal = (1250.5 - 1.959_963_985 * deviation).floor();
        assert!((exact - normal).abs() <= 1.0, "{exact} and {normal}");
        assert!(interval_rank(51, 50, 0.95).unwrap() as f64 > exact);
    }

    proptest! {
        #[test]
        fn takes_order_statistics_of_the_differences(
            first in prop::collection::vec(-1e3..1e3_f64, 5..20),
            second in prop::collection::vec(-1e3..1e3_f64, 5..20),
        ) {
            let all = differences(&first, &second);
            let shift = hodges_lehmann(&first, &second, 0.95).unwrap();
            let rank = interval_rank(first.len(), second.len(), 0.95).unwrap();
            prop_assert!((shift.estimate - median(&all).unwrap()).abs() < 1e-9);
            prop_assert_eq!(shift.low, all[rank - 1]);
            prop_assert_eq!(shift.high, all[all.len() - rank]);
        }

        #[test]
        fn holds_the_shifts_that_the_test_accepts(
            first in prop::collection::vec(-10.0..10.0_f64, 5..12),
            second in prop::collection::vec(-10.0..10.0_f64, 5..12),
            shift in -20.0..20.0_f64,
        ) {
            let interval = hodges_lehmann(&first, &second, 0.95).unwrap();
            let shifted: Vec<f64> = first.iter().map(|value| value + shift).collect();
            let accepted = mann_whitney(&shifted, &second).unwrap().p_value > 0.05;
            prop_assume!((shift - interval.low).abs() > 1e-9 && (shift - interval.high).abs() > 1e-9);
            prop_assert_eq!(accepted, interval.low < shift && shift < interval.high);
        }
    }

    #[test]
    fn a_known_shift_is_found() {
        let first: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 200)).collect();
        let second: Vec<f64> = first.iter().map(|value| value + 5.0).collect();
        let shift = hodges_lehmann(&first, &second, 0.95).unwrap();
        assert_eq!(shift.estimate, 5.0);
        assert!(shift.low < 0.0 && shift.high > 10.0, "{shift:?}");
        assert!((shift.low + shift.high - 10.0).abs() < 1.0 && shift.high < 20.0, "{shift:?}");
    }

    #[test]
    fn empty_tied_and_unordered_values_are_no_trouble() {
        assert_eq!(hodges_lehmann(&[], &[1.0], 0.95), None);
        assert_eq!(hodges_lehmann(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0.95), None);
        let same = hodges_lehmann(&[2.0; 6], &[2.0; 6], 0.95).unwrap();
        assert_eq!((same.estimate, same.low, same.high), (0.0, 0.0, 0.0));
        assert!(hodges_lehmann(&[f64::NAN; 6], &[1.0; 6], 0.95).is_some());
        assert!(hodges_lehmann(&[1.0; 6], &[1.0; 6], 1.0).is_none());
    }
}
