//! Student's t, guarded: no argument panics.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// P(|T| >= |t|) with these degrees of freedom, which need not be whole. 0 at infinity, 1 for a NaN or where no degree
/// of freedom is left.
pub(super) fn two_sided_tail(t: f64, freedom: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, freedom) {
        Ok(distribution) if t.is_finite() => (2.0 * distribution.sf(t.abs())).min(1.0),
        Ok(_) if t.is_infinite() => 0.0,
        _ => 1.0,
    }
}

/// The t that |T| stays below with this confidence; `None` for a confidence outside (0, 1) or no degree of freedom.
pub(super) fn two_sided_quantile(freedom: usize, confidence: f64) -> Option<f64> {
    if freedom == 0 || !(confidence > 0.0 && confidence < 1.0) {
        return None;
    }
    Some(StudentsT::new(0.0, 1.0, freedom as f64).ok()?.inverse_cdf(f64::midpoint(1.0, confidence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_and_quantile_are_inverse() {
        // scipy.stats.t.ppf(0.975, 11) = 2.200985160082949; one degree of freedom is Cauchy's distribution.
        assert!((two_sided_quantile(11, 0.95).unwrap() - 2.200_985_160_082_949).abs() < 1e-9);
        assert!((two_sided_tail(2.200_985_160_082_949, 11.0) - 0.05).abs() < 1e-12);
        assert!((two_sided_tail(1.0, 1.0) - 0.5).abs() < 1e-12);
        assert!((two_sided_tail(-1e3, 1.0) / (2.0 / (std::f64::consts::PI * 1e3)) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn no_argument_panics() {
        assert_eq!(two_sided_tail(f64::INFINITY, 3.0), 0.0);
        assert_eq!(two_sided_tail(f64::NAN, 3.0), 1.0);
        assert_eq!(two_sided_tail(2.0, 0.0), 1.0);
        assert_eq!(two_sided_tail(2.0, f64::NAN), 1.0);
        assert!(two_sided_tail(1e300, 3.0) < 1e-300 && two_sided_tail(1e-300, 3.0) <= 1.0);
        assert_eq!(two_sided_quantile(0, 0.95), None);
        assert_eq!(two_sided_quantile(3, f64::NAN), None);
    }
}
