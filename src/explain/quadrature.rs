//! Where a path is looked at, and how much each place counts. The rules are those of Captum.

use serde::{Deserialize, Serialize};

/// A rule of numerical integration on [0, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quadrature {
    /// The zeros of Legendre's polynomial: exact for polynomials up to degree `2 steps - 1`.
    #[default]
    GaussLegendre,
    /// The middle of every step.
    RiemannMiddle,
    /// The beginning of every step.
    RiemannLeft,
    /// The end of every step.
    RiemannRight,
    /// Both ends, counted half, and all places between.
    RiemannTrapezoid,
}

impl Quadrature {
    /// Places in [0, 1] and their weights, which sum to 1.
    pub fn places(self, steps: usize) -> Vec<(f64, f64)> {
        let count = steps as f64;
        let at = |offset: f64| (0..steps).map(|step| ((step as f64 + offset) / count, 1.0 / count)).collect();
        match self {
            Self::GaussLegendre => gauss_legendre(steps),
            Self::RiemannMiddle => at(0.5),
            Self::RiemannLeft => at(0.0),
            Self::RiemannRight => at(1.0),
            Self::RiemannTrapezoid if steps < 2 => at(0.5),
            Self::RiemannTrapezoid => {
                let last = count - 1.0;
                let weight = |step: usize| if step == 0 || step + 1 == steps { 0.5 / last } else { 1.0 / last };
                (0..steps).map(|step| (step as f64 / last, weight(step))).collect()
            }
        }
    }
}

/// Newton's method on the recurrence of Legendre's polynomials (Abramowitz and Stegun 1964, 25.4.29 and 22.7.10), from
/// the asymptotic zeros `cos(pi (i - 1/4) / (n + 1/2))`; ascending.
fn gauss_legendre(steps: usize) -> Vec<(f64, f64)> {
    let count = steps as f64;
    let mut places: Vec<(f64, f64)> = (1..=steps)
        .map(|number| {
            let mut x = (std::f64::consts::PI * (number as f64 - 0.25) / (count + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..20 {
                let (mut before, mut value) = (1.0, x);
                for degree in 2..=steps {
                    let degree = degree as f64;
                    (before, value) = (value, ((2.0 * degree - 1.0) * x * value - (degree - 1.0) * before) / degree);
                }
                slope = count * (x * value - before) / (x * x - 1.0);
                let step = value / slope;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            // From [-1, 1] to [0, 1].
            (0.5 * (1.0 + x), 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect();
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Quadrature; 5] = [
        Quadrature::GaussLegendre,
        Quadrature::RiemannMiddle,
        Quadrature::RiemannLeft,
        Quadrature::RiemannRight,
        Quadrature::RiemannTrapezoid,
    ];

    fn integral(places: &[(f64, f64)], power: i32) -> f64 {
        places.iter().map(|(x, weight)| weight * x.powi(power)).sum()
    }

    // numpy.polynomial.legendre.leggauss(3), moved to [0, 1].
    #[test]
    fn zeros_equal_numpy() {
        let expected = [(0.1127016653792583, 5.0 / 18.0), (0.5, 4.0 / 9.0), (0.8872983346207417, 5.0 / 18.0)];
        for ((x, weight), (place, expected)) in gauss_legendre(3).into_iter().zip(expected) {
            assert!((x - place).abs() < 1e-14 && (weight - expected).abs() < 1e-14, "{x}, {weight}");
        }
    }

    #[test]
    fn legendre_is_exact_where_it_should_be() {
        for steps in [1, 2, 5, 50, 200] {
            let places = gauss_legendre(steps);
            for power in [0, 1, 2 * steps as i32 - 1] {
                assert!((integral(&places, power) - 1.0 / f64::from(power + 1)).abs() < 1e-12, "{steps}, {power}");
            }
        }
    }

    #[test]
    fn every_rule_comes_near_an_integral() {
        for rule in ALL {
            for steps in [1, 2, 100] {
                let places = rule.places(steps);
                assert_eq!(places.len(), steps);
                assert!((integral(&places, 0) - 1.0).abs() < 1e-12, "{rule:?}");
                assert!(places.iter().all(|(x, _)| (0.0..=1.0).contains(x)));
            }
            assert!((integral(&rule.places(100), 2) - 1.0 / 3.0).abs() < 0.01, "{rule:?}");
        }
    }
}
