//! The Wilcoxon-Mann-Whitney rank test, and the null distribution that it shares with the interval of the shift.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// The exact distribution is computed while first.len() * second.len() is at most this. It bounds the work for tied
/// values (about 25 million additions at 50 against 50, a few milliseconds), and the counts: C(100, 50) is 1.0e29, well
/// inside an `i128`.
pub(super) const LARGEST_EXACT_PRODUCT: usize = 2500;

/// The outcome of a two-sided rank test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannWhitney {
    /// The U statistic of the first sample: the pairs in which its value is the larger one, an equal pair counting half.
    pub u: f64,
    /// Two-sided.
    pub p_value: f64,
    /// Whether the p value comes from the permutation distribution and not from its normal approximation.
    pub exact: bool,
}

/// The two-sided test that neither sample tends to the larger values (Mann and Whitney 1947; Hollander, Wolfe and
/// Chicken 2014, section 4.1).
///
/// Exact for up to 2,500 pairs: the permutation distribution of the rank sum, with midranks and
/// conditional on the ties (Lehmann 1975, section 1.4), and p = P(|R - E R| >= |r - E R|). Beyond that the normal
/// approximation with the corrections for ties and continuity, as SciPy's `mannwhitneyu(method="asymptotic")` has it.
/// All values equal: p = 1. `None` where a side is empty. NaN sorts last and ties with nothing.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<MannWhitney> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let ranks = Midranks::of(first, second);
    let (n, m) = (first.len(), second.len());
    let u = (ranks.doubled_sum_of_first as f64 - (n * (n + 1)) as f64) / 2.0;
    let exact = n.saturating_mul(m) <= LARGEST_EXACT_PRODUCT;
    let p_value = match exact {
        true if ranks.has_ties() => conditional_p_value(&ranks, n),
        true => tie_free_p_value(n, m, u),
        false => asymptotic_p_value(&ranks, n, m, u),
    };
    Some(MannWhitney { u, p_value, exact })
}

/// The ranks of the pooled values, doubled so that midranks are whole numbers.
struct Midranks {
    /// Of every pooled value, in ascending order.
    doubled: Vec<usize>,
    doubled_sum_of_first: usize,
    /// How many values share each rank.
    group_sizes: Vec<usize>,
}

impl Midranks {
    fn of(first: &[f64], second: &[f64]) -> Self {
        let mut pooled: Vec<(f64, bool)> =
            first.iter().map(|&value| (value, true)).chain(second.iter().map(|&value| (value, false))).collect();
        pooled.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut ranks =
            Self { doubled: Vec::with_capacity(pooled.len()), doubled_sum_of_first: 0, group_sizes: Vec::new() };
        for group in pooled.chunk_by(|a, b| a.0 == b.0) {
            // Ranks before + 1 ..= before + size; twice their mean.
            let doubled = 2 * ranks.doubled.len() + group.len() + 1;
            ranks.doubled_sum_of_first += doubled * group.iter().filter(|(_, is_first)| *is_first).count();
            ranks.doubled.extend(std::iter::repeat_n(doubled, group.len()));
            ranks.group_sizes.push(group.len());
        }
        ranks
    }

    fn has_ties(&self) -> bool {
        self.group_sizes.len() < self.doubled.len()
    }
}

/// How many of the C(n + m, n) rankings without ties have U = 0, 1, ..., n m: the coefficients of the Gaussian binomial
/// (Mann and Whitney 1947; Andrews 1976, The Theory of Partitions, section 3.1), the product over i = 1..n of
/// (1 - q^(m + i)) / (1 - q^i). Whole numbers throughout. Only for n m up to 2,500.
pub(super) fn tie_free_counts(n: usize, m: usize) -> Vec<i128> {
    let (few, many) = (n.min(m), n.max(m));
    let mut counts = vec![0_i128; few * many + 1];
    counts[0] = 1;
    for i in 1..=few {
        for u in (many + i..counts.len()).rev() {
            counts[u] -= counts[u - many - i];
        }
        for u in i..counts.len() {
            counts[u] += counts[u - i];
        }
    }
    counts
}

fn tie_free_p_value(n: usize, m: usize, u: f64) -> f64 {
    let counts = tie_free_counts(n, m);
    let total: i128 = counts.iter().sum();
    // Symmetric about n m / 2, so both tails are twice the lower one.
    let lower = u.min((n * m) as f64 - u) as usize;
    let tail: i128 = counts.iter().take(lower + 1).sum();
    (2.0 * tail as f64 / total as f64).min(1.0)
}

/// Counts the subsets of the pooled ranks, of the first sample's size, by their sum.
fn conditional_p_value(ranks: &Midranks, n: usize) -> f64 {
    let pooled = ranks.doubled.len();
    // The complement of a subset is as far from its mean as the subset is: count the smaller side.
    let size = n.min(pooled - n);
    let distance = ranks.doubled_sum_of_first.abs_diff(n * (pooled + 1));
    // With the smallest rank taken off and the common factor taken out, the sums are as small as they can be.
    let lowest = ranks.doubled.first().copied().unwrap_or(0);
    let factor = ranks.doubled.iter().fold(0, |factor, rank| greatest_common_divisor(factor, rank - lowest));
    if factor == 0 {
        return 1.0;
    }
    let steps: Vec<usize> = ranks.doubled.iter().map(|rank| (rank - lowest) / factor).collect();
    let width = steps.iter().rev().take(size).sum::<usize>() + 1;
    // counts[chosen * width + sum], over the ranks seen so far.
    let mut counts = vec![0.0_f64; (size + 1) * width];
    counts[0] = 1.0;
    let mut reached = 0;
    for (seen, &step) in steps.iter().enumerate() {
        // The ranks ascend, so the last `size` seen have the largest sum so far.
        reached = (reached + step).min(width - 1);
        for chosen in (1..=size.min(seen + 1)).rev() {
            let (fewer, more) = counts.split_at_mut(chosen * width);
            let fewer = &fewer[(chosen - 1) * width..];
            for (count, addend) in more[step..=reached].iter_mut().zip(fewer) {
                *count += addend;
            }
        }
    }
    let counts = &counts[size * width..];
    let total: f64 = counts.iter().sum();
    let tail: f64 = counts
        .iter()
        .enumerate()
        .filter(|(sum, _)| (sum * factor + size * lowest).abs_diff(size * (pooled + 1)) >= distance)
        .map(|(_, count)| count)
        .sum();
    (tail / total).min(1.0)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn asymptotic_p_value(ranks: &Midranks, n: usize, m: usize, u: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let pooled = n + m;
    let ties: f64 = ranks.group_sizes.iter().map(|&size| size as f64).map(|size| size * (size * size - 1.0)).sum();
    let deviation = (n * m / 12.0 * (pooled + 1.0 - ties / (pooled * (pooled - 1.0)))).max(0.0).sqrt();
    let beyond = u.max(n * m - u) - n * m / 2.0 - 0.5;
    if deviation == 0.0 || beyond <= 0.0 {
        return 1.0;
    }
    (2.0 * Normal::standard().sf(beyond / deviation)).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../fixtures/golden/statistics.json")).unwrap()
    }

    fn close(ours: f64, theirs: f64) -> bool {
        (ours - theirs).abs() <= 1e-9 * theirs.abs()
    }

    #[test]
    fn agrees_with_scipy() {
        let golden = golden();
        for (pair, compared) in golden["compare"].as_object().unwrap() {
            let (x, y) = pair.split_once('|').unwrap();
            let x: Vec<f64> = serde_json::from_value(golden["samples"][x].clone()).unwrap();
            let y: Vec<f64> = serde_json::from_value(golden["samples"][y].clone()).unwrap();
            let theirs = &compared["two-sided"];
            let ours = mann_whitney(&x, &y).unwrap();
            assert!(ours.exact);
            assert_eq!(ours.u, theirs["u"].as_f64().unwrap(), "{pair}");
            if let Some(p) = theirs["p_exact"].as_f64() {
                assert!(close(ours.p_value, p), "{pair}: {} and {p}", ours.p_value);
            }
            let ranks = Midranks::of(&x, &y);
            let asymptotic = asymptotic_p_value(&ranks, x.len(), y.len(), ours.u);
            assert!(close(asymptotic, theirs["p_asymptotic"].as_f64().unwrap()), "{pair}: {asymptotic}");
        }
    }

    #[test]
    fn counting_subsets_agrees_with_the_gaussian_binomial() {
        let first = [1.0, 4.0, 5.5, 9.0, 12.0, 2.2];
        let second = [3.0, 7.0, 8.0, 11.0];
        let ranks = Midranks::of(&first, &second);
        let ours = mann_whitney(&first, &second).unwrap();
        assert!(close(conditional_p_value(&ranks, first.len()), ours.p_value));
    }

    /// Every assignment of the pooled values to the two sides, one by one.
    fn p_value_by_enumeration(first: &[f64], second: &[f64]) -> f64 {
        let pooled: Vec<f64> = [first, second].concat();
        let midrank = |value: f64| {
            let below = pooled.iter().filter(|&&other| other < value).count();
            2 * below + pooled.iter().filter(|&&other| other == value).count() + 1
        };
        let ranks: Vec<usize> = pooled.iter().map(|&value| midrank(value)).collect();
        let mean = first.len() * (pooled.len() + 1);
        let observed = ranks[..first.len()].iter().sum::<usize>().abs_diff(mean);
        let subsets = (0_u32..1 << pooled.len()).filter(|subset| subset.count_ones() as usize == first.len());
        let (mut extreme, mut total) = (0, 0);
        for subset in subsets {
            let sum: usize = (0..pooled.len()).filter(|i| subset >> i & 1 == 1).map(|i| ranks[i]).sum();
            total += 1;
            extreme += usize::from(sum.abs_diff(mean) >= observed);
        }
        extreme as f64 / total as f64
    }

    proptest! {
        #[test]
        fn is_the_permutation_test(
            first in prop::collection::vec(0..6_i32, 1..6),
            second in prop::collection::vec(0..6_i32, 1..6),
        ) {
            let first: Vec<f64> = first.into_iter().map(f64::from).collect();
            let second: Vec<f64> = second.into_iter().map(f64::from).collect();
            let ours = mann_whitney(&first, &second).unwrap();
            prop_assert!(close(ours.p_value, p_value_by_enumeration(&first, &second)));
            let mirrored = mann_whitney(&second, &first).unwrap();
            prop_assert!(close(ours.p_value, mirrored.p_value));
            prop_assert_eq!(ours.u + mirrored.u, (first.len() * second.len()) as f64);
        }

        #[test]
        fn the_approximation_is_near_the_exact_value(
            first in prop::collection::vec(0..40_i32, 30..50),
            second in prop::collection::vec(0..40_i32, 30..50),
        ) {
            let first: Vec<f64> = first.into_iter().map(f64::from).collect();
            let second: Vec<f64> = second.into_iter().map(f64::from).collect();
            let ours = mann_whitney(&first, &second).unwrap();
            let approximation =
                asymptotic_p_value(&Midranks::of(&first, &second), first.len(), second.len(), ours.u);
            prop_assert!((ours.p_value - approximation).abs() < 0.01, "{} and {approximation}", ours.p_value);
        }
    }

    #[test]
    fn five_against_five_reach_p_below_one_per_cent() {
        let (slow, fast) = ([6.0, 7.0, 8.0, 9.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0]);
        let separated = mann_whitney(&slow, &fast).unwrap();
        assert_eq!((separated.u, separated.exact), (25.0, true));
        assert!(close(separated.p_value, 2.0 / 252.0));
    }

    #[test]
    fn large_samples_are_approximated() {
        let first: Vec<f64> = (0..60).map(f64::from).collect();
        let outcome = mann_whitney(&first, &first).unwrap();
        assert_eq!(outcome, MannWhitney { u: 1800.0, p_value: 1.0, exact: false });
    }

    #[test]
    fn empty_constant_and_unordered_values_are_no_trouble() {
        assert_eq!(mann_whitney(&[], &[1.0]), None);
        assert_eq!(mann_whitney(&[1.0], &[]), None);
        assert_eq!(mann_whitney(&[2.0; 6], &[2.0; 4]).unwrap().p_value, 1.0);
        assert!(mann_whitney(&[f64::NAN, 1.0, f64::NAN], &[f64::INFINITY, -0.0, 0.0]).is_some());
    }
}
