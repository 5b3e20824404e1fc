//! What a rank test could have found, and how many runs would find it.

use statrs::distribution::{Beta, ContinuousCDF as _, Normal};

use super::mann_whitney::{LARGEST_EXACT_PRODUCT, tie_free_counts};
use super::mean;

/// Beyond this many runs a side the question has no practical answer.
const MOST_RUNS: usize = 1_000_000;

/// The standard deviation within the groups, pooled over both: sqrt of the summed squares over n + m - 2. A group of one
/// value adds nothing. `None` where no group has two.
pub fn pooled_deviation(first: &[f64], second: &[f64]) -> Option<f64> {
    let squares = |values: &[f64]| {
        let centre = mean(values).unwrap_or_default();
        values.iter().map(|value| (value - centre).powi(2)).sum::<f64>()
    };
    let freedom = first.len().saturating_sub(1) + second.len().saturating_sub(1);
    (freedom > 0).then(|| ((squares(first) + squares(second)) / freedom as f64).sqrt())
}

/// The smallest shift, in the units of the values, that the two-sided Mann-Whitney test at `alpha` finds with probability
/// `power` between normal samples of this size and within-group deviation.
///
/// The test rejects at U <= c with the exact critical value c; U / (n m) is taken to have the beta distribution with the
/// mean and variance of U under the shift (Lehmann 1975, Nonparametrics, section 2.3), which against simulation is
/// right to 0.03 in power from 5 against 5 on. Beyond 2,500 pairs U is taken as normal; for large samples that is
/// Noether's formula (1987, Sample size determination for some common nonparametric tests) for a normal shift,
/// deviation (z_alpha/2 + z_power) sqrt((1/n + 1/m) pi/3), with pi/3 for the efficiency 3/pi against the t test. For small
/// samples that formula is no good: it keeps the variance of no shift and takes P(X < Y) as linear in the shift.
///
/// 0 where the deviation is. `None` where a sample is empty or too small for any rejection at `alpha` (4 against 4 at
/// 0.01), and for a negative or infinite deviation or probabilities outside (0, 1).
pub fn smallest_shift(deviation: f64, first: usize, second: usize, alpha: f64, power: f64) -> Option<f64> {
    if !(deviation >= 0.0 && deviation.is_finite() && is_probability(alpha) && is_probability(power)) {
        return None;
    }
    let critical = critical_value(first, second, alpha)?;
    let found = |shift: f64| rejection_probability(first, second, critical, shift) >= power;
    let (mut missed, mut reaching) = (0.0, 1.0);
    while !found(reaching) {
        if reaching > 1e3 {
            return None;
        }
        (missed, reaching) = (reaching, 2.0 * reaching);
    }
    for _ in 0..40 {
        let middle = f64::midpoint(missed, reaching);
        if found(middle) {
            reaching = middle;
        } else {
            missed = middle;
        }
    }
    Some(deviation * reaching)
}

/// The runs a side with which the two-sided Mann-Whitney test at `alpha` finds a shift of `gap` with probability `power`;
/// by the same power as [`smallest_shift`]. The sign of `gap` does not matter. `None` for a gap of zero, more than a
/// million runs, or arguments out of range.
pub fn runs_for_shift(deviation: f64, gap: f64, alpha: f64, power: f64) -> Option<usize> {
    let valid = deviation >= 0.0 && deviation.is_finite() && gap != 0.0 && !gap.is_nan();
    if !(valid && is_probability(alpha) && is_probability(power)) {
        return None;
    }
    let shift = (gap / deviation).abs();
    let found = |runs: usize| {
        let critical = critical_value(runs, runs, alpha);
        critical.is_some_and(|critical| deviation == 0.0 || rejection_probability(runs, runs, critical, shift) >= power)
    };
    let mut reaching = 1;
    while !found(reaching) {
        if reaching >= MOST_RUNS {
            return None;
        }
        reaching = (2 * reaching).min(MOST_RUNS);
    }
    // The power may dip by a hair from one size to the next, as the exact critical value moves in steps; bisection still
    // ends at a size that suffices, next to one that does not.
    let mut missed = reaching / 2;
    while reaching - missed > 1 {
        let middle = usize::midpoint(missed, reaching);
        if found(middle) {
            reaching = middle;
        } else {
            missed = middle;
        }
    }
    Some(reaching)
}

fn is_probability(value: f64) -> bool {
    value > 0.0 && value < 1.0
}

/// The largest c with 2 P(U <= c) <= alpha under no shift; `None` where even U = 0 is likelier.
fn critical_value(first: usize, second: usize, alpha: f64) -> Option<f64> {
    let pairs = first.checked_mul(second).filter(|&pairs| pairs > 0)?;
    if pairs <= LARGEST_EXACT_PRODUCT {
        let counts = tie_free_counts(first, second);
        let total = counts.iter().sum::<i128>() as f64;
        let mut below = 0_i128;
        let rejected = counts.iter().take_while(|count| {
            below += **count;
            2.0 * below as f64 / total <= alpha * (1.0 + 1e-12)
        });
        return rejected.count().checked_sub(1).map(|critical| critical as f64);
    }
    let (n, m) = (first as f64, second as f64);
    let deviation = (n * m * (n + m + 1.0) / 12.0).sqrt();
    let critical = (n * m / 2.0 - 0.5 + Normal::standard().inverse_cdf(alpha / 2.0) * deviation).floor();
    (critical >= 0.0).then_some(critical)
}

/// P(U <= critical) where `second` lies above `first` by `shift` standard deviations and U counts the pairs the other
/// way round. The far tail, a rejection in the wrong direction, is left out.
fn rejection_probability(first: usize, second: usize, critical: f64, shift: f64) -> f64 {
    let (n, m) = (first as f64, second as f64);
    let step = shift / std::f64::consts::SQRT_2;
    // P(X > Y), and P(X > Y and X > Y') = P(X > Y and X' > Y): two normals with correlation 1/2, both beyond `step`.
    let one = Normal::standard().sf(step);
    let both = both_beyond(step);
    let mean = n * m * one;
    let variance = n * m * (one * (1.0 - one) + (n + m - 2.0) * (both - one * one));
    if variance <= 0.0 {
        return if mean <= critical { 1.0 } else { 0.0 };
    }
    if first * second <= LARGEST_EXACT_PRODUCT {
        let concentration = n * m * one * n * m * (1.0 - one) / variance - 1.0;
        if let Ok(share) = Beta::new(one * concentration, (1.0 - one) * concentration) {
            return share.cdf((critical + 0.5) / (n * m));
        }
    }
    Normal::standard().cdf((critical + 0.5 - mean) / variance.sqrt())
}

/// P(A > x and B > x) for standard normals with correlation 1/2: Q(x) - 2 T(x, 1/sqrt 3) with Owen's T (1956), whose
/// integral over [0, 1/sqrt 3] Simpson's rule gives to 1e-9.
fn both_beyond(x: f64) -> f64 {
    const PANELS: usize = 32;
    let end = 1.0 / 3.0_f64.sqrt();
    let integrand = |t: f64| (-0.5 * x * x * (1.0 + t * t)).exp() / (1.0 + t * t);
    let inner: f64 =
        (1..PANELS).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * integrand(end * i as f64 / PANELS as f64)).sum();
    let integral = (integrand(0.0) + inner + integrand(end)) * end / (3.0 * PANELS as f64);
    Normal::standard().sf(x) - 2.0 * integral / std::f64::consts::TAU
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::mann_whitney;
    use super::*;

    fn normal(generator: &mut Rng) -> f64 {
        (-2.0 * (1.0 - generator.f64()).ln()).sqrt() * (std::f64::consts::TAU * generator.f64()).cos()
    }

    #[test]
    fn the_test_has_the_power_that_is_promised() {
        let mut generator = Rng::with_seed(21);
        for (n, m, alpha, count) in
            [(5, 5, 0.01, 2000), (5, 12, 0.01, 2000), (10, 10, 0.01, 2000), (20, 20, 0.05, 1000)]
        {
            let shift = smallest_shift(2.0, n, m, alpha, 0.8).unwrap();
            let found = (0..count).filter(|_| {
                let first: Vec<f64> = (0..n).map(|_| 2.0 * normal(&mut generator)).collect();
                let second: Vec<f64> = (0..m).map(|_| 2.0 * normal(&mut generator) + shift).collect();
                mann_whitney(&first, &second).unwrap().p_value <= alpha
            });
            let power = found.count() as f64 / f64::from(count);
            assert!((power - 0.8).abs() < 0.04, "{power} of {n} against {m} at {shift}");
        }
    }

    #[test]
    fn large_samples_follow_noether() {
        let normal = Normal::standard();
        let quantiles = normal.inverse_cdf(0.995) + normal.inverse_cdf(0.8);
        for (n, m) in [(400, 400), (1000, 300)] {
            let noether = quantiles * ((1.0 / n as f64 + 1.0 / m as f64) * std::f64::consts::FRAC_PI_3).sqrt();
            let ours = smallest_shift(1.0, n, m, 0.01, 0.8).unwrap();
            assert!((ours / noether - 1.0).abs() < 0.01, "{ours} and {noether}");
        }
        let noether = 2.0 * std::f64::consts::FRAC_PI_3 * (quantiles / 0.1).powi(2);
        let ours = runs_for_shift(1.0, 0.1, 0.01, 0.8).unwrap();
        assert!((ours as f64 / noether - 1.0).abs() < 0.01, "{ours} and {noether}");
    }

    #[test]
    fn runs_and_shift_are_inverse() {
        for gap in [3.5, 2.0, 1.0, 0.5] {
            let runs = runs_for_shift(1.0, gap, 0.01, 0.8).unwrap();
            assert!(smallest_shift(1.0, runs, runs, 0.01, 0.8).unwrap() <= gap * (1.0 + 1e-6));
            assert!(smallest_shift(1.0, runs - 1, runs - 1, 0.01, 0.8).is_none_or(|shift| shift > gap));
            assert_eq!(runs_for_shift(1.0, -gap, 0.01, 0.8), Some(runs));
        }
        // Without spread, the fewest runs that can reach the level at all.
        assert_eq!(runs_for_shift(0.0, 0.1, 0.01, 0.8), Some(5));
        assert_eq!(smallest_shift(0.0, 5, 5, 0.01, 0.8), Some(0.0));
    }

    #[test]
    fn pooled_deviation_is_within_groups() {
        assert_eq!(pooled_deviation(&[1.0, 3.0], &[11.0, 13.0]), Some(2.0_f64.sqrt()));
        assert_eq!(pooled_deviation(&[1.0, 3.0], &[100.0]), Some(2.0_f64.sqrt()));
        assert_eq!(pooled_deviation(&[1.0], &[2.0]), None);
        assert_eq!(pooled_deviation(&[], &[]), None);
    }

    #[test]
    fn owens_integral_is_right() {
        // P(A > 0, B > 0) with correlation 1/2 is 1/4 + asin(1/2) / (2 pi) = 1/3.
        assert!((both_beyond(0.0) - 1.0 / 3.0).abs() < 1e-9);
        assert!(both_beyond(8.0).abs() < 1e-9 && (both_beyond(-8.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_known_is_none() {
        assert_eq!(smallest_shift(1.0, 4, 4, 0.01, 0.8), None);
        assert_eq!(smallest_shift(1.0, 0, 5, 0.01, 0.8), None);
        assert_eq!(smallest_shift(f64::NAN, 5, 5, 0.01, 0.8), None);
        assert_eq!(smallest_shift(1.0, 5, 5, 0.0, 0.8), None);
        assert_eq!(runs_for_shift(1.0, 0.0, 0.01, 0.8), None);
        assert_eq!(runs_for_shift(1.0, f64::NAN, 0.01, 0.8), None);
        assert_eq!(runs_for_shift(1.0, 1e-6, 0.01, 0.8), None);
        assert_eq!(runs_for_shift(f64::INFINITY, 1.0, 0.01, 0.8), None);
    }
}
