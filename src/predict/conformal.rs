//! Intervals from what forecasts missed: split conformal prediction (Vovk, Gammerman and Shafer 2005; Lei et al. 2018),
//! Mondrian by device: each device has its own quantiles, from residuals of the same kind of gap as the question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Tier;

/// Residuals of a device below which those of all devices count, too.
const OWN: usize = 40;

/// Absolute residuals (of logarithms) that hold half and nine tenths of what was missed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Half.
    pub half: f64,
    /// Nine tenths.
    pub ninety: f64,
}

impl Reach {
    /// The conformal quantiles of residuals: the ceil((n + 1) q)-th smallest. Where n is too small for that, twice the largest.
    /// `None` without residuals.
    pub fn of(residuals: &[f64]) -> Option<Self> {
        let mut sizes: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let largest = *sizes.last()?;
        let at = |share: f64| {
            let rank = ((sizes.len() + 1) as f64 * share).ceil() as usize;
            sizes.get(rank - 1).copied().unwrap_or(2.0 * largest)
        };
        Some(Self { half: at(0.5), ninety: at(0.9) })
    }

    fn max(self, other: Self) -> Self {
        Self { half: self.half.max(other.half), ninety: self.ninety.max(other.ninety) }
    }

    /// A share of this one, and the rest of the other.
    #[must_use]
    pub fn blended(self, other: Self, share: f64) -> Self {
        let blend = |own: f64, other: f64| share * own + (1.0 - share) * other;
        Self { half: blend(self.half, other.half), ninety: blend(self.ninety, other.ninety) }
    }

    /// Longer by a logarithm, which half of the cases know half of.
    #[must_use]
    pub fn longer(self, added: f64) -> Self {
        Self { half: self.half + 0.5 * added, ninety: self.ninety + added }
    }

    /// Wider by a factor.
    #[must_use]
    pub fn wider(self, factor: f64) -> Self {
        Self { half: self.half * factor, ninety: self.ninety * factor }
    }
}

/// What is taken where a gap could not be tried: a factor of two and a half for a tier beyond the last one that was.
const UNTRIED: f64 = 2.5;

/// And no less than this for a new family, and for a new device: however well the nearer tier went, nothing was tried there.
const UNTRIED_FAMILY: Reach = Reach { half: 0.2, ninety: 0.5 };
const UNTRIED_DEVICE: Reach = Reach { half: 0.35, ninety: 0.9 };

/// A new kind of device: an order of magnitude.
const MAGNITUDE: Reach = Reach { half: 1.2, ninety: 2.8 };

/// Nothing was tried at all.
const UNKNOWN: Reach = Reach { half: 0.7, ninety: 1.8 };

/// A forecast is never surer than repeated measurements are.
const LEAST: Reach = Reach { half: 0.01, ninety: 0.03 };

/// Quantiles by tier and device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    devices: BTreeMap<Tier, BTreeMap<String, Reach>>,
    all: BTreeMap<Tier, Reach>,
}

impl Calibration {
    /// Learns a tier from residuals with the device each is of.
    pub fn learn(&mut self, tier: Tier, residuals: &[(String, f64)]) {
        let every: Vec<f64> = residuals.iter().map(|(_, residual)| *residual).collect();
        let Some(all) = Reach::of(&every) else { return };
        let mut by_device: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
        for (device, residual) in residuals {
            by_device.entry(device).or_default().push(*residual);
        }
        let reaches = by_device.into_iter().filter_map(|(device, own)| {
            let reach = Reach::of(&own)?;
            // Few residuals say little: the wider of the two.
            Some((device.clone(), if own.len() < OWN { reach.max(all) } else { reach }))
        });
        self.devices.insert(tier, reaches.collect());
        // A device that was never tried may be the worst one.
        let worst = self.devices[&tier].values().copied().reduce(Reach::max).unwrap_or(all);
        self.all.insert(tier, worst);
    }

    /// How far a forecast may miss.
    pub fn reach(&self, tier: Tier, device: &str) -> Reach {
        if tier == Tier::D {
            return MAGNITUDE.max(self.all.get(&Tier::C).copied().unwrap_or(MAGNITUDE));
        }
        let own = self.devices.get(&tier).and_then(|devices| devices.get(device));
        let known = own.or_else(|| self.all.get(&tier)).copied();
        let nearer = || match tier {
            Tier::C => self.all.get(&Tier::B).or_else(|| self.all.get(&Tier::A)).copied(),
            Tier::B => self.all.get(&Tier::A).copied(),
            _ => self.all.get(&Tier::B).copied(),
        };
        let least = match tier {
            Tier::B => UNTRIED_FAMILY,
            Tier::C => UNTRIED_DEVICE,
            _ => LEAST,
        };
        known.or_else(|| nearer().map(|reach| reach.wider(UNTRIED).max(least))).unwrap_or(UNKNOWN).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_tenths_of_new_residuals_lie_within_reach() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut inside = 0;
        for _ in 0..200 {
            let mut draw = || (random.f64() - 0.5) * random.f64();
            let residuals: Vec<f64> = (0..60).map(|_| draw()).collect();
            let reach = Reach::of(&residuals).unwrap();
            inside += (0..50).filter(|_| draw().abs() <= reach.ninety).count();
        }
        let share = f64::from(inside as u32) / 10_000.0;
        assert!((0.89..0.93).contains(&share), "{share}");
    }

    #[test]
    fn each_device_has_its_own_reach_and_a_new_one_the_widest() {
        let mut calibration = Calibration::default();
        let residuals: Vec<(String, f64)> = (1..=100)
            .flat_map(|size| {
                [("fine".to_owned(), f64::from(size) / 1000.0), ("wild".to_owned(), f64::from(size) / 100.0)]
            })
            .collect();
        calibration.learn(Tier::B, &residuals);
        assert!((calibration.reach(Tier::B, "fine").ninety - 0.091).abs() < 1e-9);
        assert!((calibration.reach(Tier::B, "wild").ninety - 0.91).abs() < 1e-9);
        assert_eq!(calibration.reach(Tier::B, "new"), calibration.reach(Tier::B, "wild"));
        assert!(calibration.reach(Tier::C, "new").ninety > 2.0);
        assert!(calibration.reach(Tier::D, "new").ninety >= 2.3);
    }

    #[test]
    fn few_residuals_give_a_wide_reach_and_none_a_wider_one() {
        assert_eq!(Reach::of(&[]), None);
        assert_eq!(Reach::of(&[0.1, -0.2]).unwrap().ninety, 0.4);
        assert!(Calibration::default().reach(Tier::A, "x").ninety > 1.0);
    }
}
