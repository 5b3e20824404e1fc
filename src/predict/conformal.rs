//! Intervals from what forecasts missed: split conformal prediction (Vovk, Gammerman and Shafer 2005; Lei et al. 2018),
//! Mondrian by the gap that the question has and by device; a device with few residuals has a scale of its own, and all share
//! the quantile (locally weighted, Lei et al. 2018, section 5.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::DeviceKind;

/// Residuals of a device from which its quantiles are its own.
const OWN: usize = 40;

/// Residuals of a device that weigh as much as those of all in its scale.
const LEANING: f64 = 10.0;

/// The gap between what was measured and a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// The model was measured on other devices.
    Pair,
    /// Others of its family were.
    Model,
    /// The family is new.
    Family,
    /// The device is new; and maybe the model, too.
    Device {
        /// Whether the model was measured elsewhere.
        model_is_known: bool,
    },
    /// The kind of device is new.
    Kind,
}

/// Absolute residuals (of logarithms) that hold half and nine tenths of what was missed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Half.
    pub half: f64,
    /// Nine tenths.
    pub ninety: f64,
}

impl Reach {
    /// The conformal quantiles of residuals: the (n + 1) q-th smallest, interpolated between two (the sixth definition of
    /// Hyndman and Fan 1996), below which a new residual lies with the probability q; the next whole rank would hold more,
    /// where n is small. Where n is too small for any, twice the largest. `None` without residuals.
    pub fn of(residuals: &[f64]) -> Option<Self> {
        let mut sizes: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let (smallest, largest) = (*sizes.first()?, *sizes.last()?);
        let at = |share: f64| {
            let rank = (sizes.len() + 1) as f64 * share;
            let below = rank as usize;
            let low = if below == 0 { smallest } else { sizes.get(below - 1).copied().unwrap_or(2.0 * largest) };
            let high = sizes.get(below).copied().unwrap_or(if rank > below as f64 { 2.0 * largest } else { low });
            low + (rank - below as f64) * (high - low)
        };
        Some(Self { half: at(0.5), ninety: at(0.9) })
    }

    /// Of residuals whose absolute value is `mean` on average and exponentially distributed: Laplace's law.
    pub const fn laplace(mean: f64) -> Self {
        Self { half: std::f64::consts::LN_2 * mean, ninety: std::f64::consts::LN_10 * mean }
    }

    /// What the next residual is to be expected of after a few, under Laplace's law with a scale that is not known: before any
    /// it is thought to be the one of `before`, as if `weight` rows had said so. The predictive distribution of exponential
    /// sizes under a gamma prior is Lomax's: P(size > x) = (1 + x / total)^-count (Gelman et al. 2013, "Bayesian Data
    /// Analysis", section 2.6), with both of the rows and of the prior. One row that went wrong counts as `BELIEVED` medians.
    pub fn after(residuals: &[f64], before: Self, weight: f64) -> Self {
        /// Nineteen in twenty of Laplace's residuals are below so many medians.
        const BELIEVED: f64 = 4.3;
        let sizes: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
        let Some(middle) = crate::stats::median(&sizes) else { return before };
        let expected = before.ninety / std::f64::consts::LN_10;
        let most = BELIEVED * middle.max(expected * std::f64::consts::LN_2);
        let total = sizes.iter().map(|size| size.min(most)).sum::<f64>() + weight * expected;
        let count = sizes.len() as f64 + weight;
        let at = |beyond: f64| total * (beyond.powf(-1.0 / count) - 1.0);
        Self { half: at(0.5), ninety: at(0.1) }
    }

    /// The wider of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { half: self.half.max(other.half), ninety: self.ninety.max(other.ninety) }
    }

    /// Of the sum of two residuals that do not depend on each other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { half: self.half.hypot(other.half), ninety: self.ninety.hypot(other.ninety) }
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

/// What is taken where a gap could not be tried: a factor of two and a half for a gap beyond the last one that was.
const UNTRIED: f64 = 2.5;

/// And no less than this for a new family, and for a new device: however well the nearer gap went, nothing was tried there.
const UNTRIED_FAMILY: Reach = Reach { half: 0.2, ninety: 0.5 };
const UNTRIED_DEVICE: Reach = Reach { half: 0.35, ninety: 0.9 };

/// What is missed where measurements of one card are carried over to another: 11.8 % on average, across six NVIDIA cards (Yu
/// et al. 2021, "Habitat: A runtime-based computational performance predictor for deep neural network training", USENIX ATC,
/// abstract), taken as the mean of Laplace's law. It stands in where no card could be left out, and while few could they
/// are not believed to do better. It is taken for cards of one maker; from one maker to another, and for processors, we know
/// of no such figure.
const PUBLISHED_CARDS: Reach = Reach::laplace(0.118);

/// Left-out devices of a kind below which a published figure counts, too.
const SEVERAL_DEVICES: usize = 5;

/// Rows of a new device whose own errors count as much as what was to be expected of it without any.
const ANCHORS_ALIKE: f64 = 3.0;

/// A new kind of device: an order of magnitude.
const MAGNITUDE: Reach = Reach { half: 1.2, ninety: 2.8 };

/// Nothing was tried at all.
const UNKNOWN: Reach = Reach { half: 0.7, ninety: 1.8 };

/// A forecast is never surer than repeated measurements are.
const LEAST: Reach = Reach { half: 0.01, ninety: 0.03 };

/// Quantiles of one gap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tried {
    devices: BTreeMap<String, Reach>,
    /// Of a device that was never tried: it may be the worst one.
    worst: Option<Reach>,
}

impl Tried {
    fn of(residuals: &[(String, f64)]) -> Self {
        let mut by_device: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
        for (device, residual) in residuals {
            by_device.entry(device).or_default().push(residual.abs());
        }
        let total: f64 = residuals.iter().map(|(_, residual)| residual.abs()).sum();
        let count = residuals.len() as f64;
        // The scale of a device, and the same without one of its residuals, as a new one will be met.
        let scale = |own: &[f64], without: f64| {
            let left = if without < 0.0 { own.len() as f64 } else { own.len() as f64 - 1.0 };
            let of_all = (total - without.max(0.0)) / (count - (own.len() as f64 - left)).max(1.0);
            (own.iter().sum::<f64>() - without.max(0.0) + LEANING * of_all) / (left + LEANING)
        };
        let scores: Vec<f64> = by_device
            .values()
            .flat_map(|own| own.iter().map(|&size| size / scale(own, size).max(1e-9)).collect::<Vec<_>>())
            .collect();
        let Some(shared) = Reach::of(&scores) else { return Self::default() };
        let reaches = by_device.into_iter().filter_map(|(device, own)| {
            let few = own.len() < OWN;
            Some((device.clone(), if few { shared.wider(scale(&own, -1.0)) } else { Reach::of(&own)? }))
        });
        let devices: BTreeMap<String, Reach> = reaches.collect();
        Self { worst: devices.values().copied().reduce(Reach::max), devices }
    }

    fn reach(&self, device: &str) -> Option<Reach> {
        self.devices.get(device).copied().or(self.worst)
    }
}

/// What was missed on one hidden row: its gap, the device that it counts for, the residual.
pub type Missed = (Reached, String, f64);

/// Residuals of a gap below which those of the next wider one count instead.
const ENOUGH: usize = 20;

/// Quantiles by gap and device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pair: Tried,
    model: Tried,
    family: Tried,
    /// By kind of device: what left-out ones missed, and how many there were.
    kinds: BTreeMap<DeviceKind, (Reach, usize)>,
}

impl Calibration {
    /// Learns what was missed on rows that were hidden, but for new devices.
    pub fn learn(&mut self, missed: &[Missed]) {
        let of = |gap: Reached| -> Tried {
            let own: Vec<(String, f64)> =
                missed.iter().filter(|one| one.0 == gap).map(|(_, device, size)| (device.clone(), *size)).collect();
            if own.len() < ENOUGH { Tried::default() } else { Tried::of(&own) }
        };
        self.pair = of(Reached::Pair);
        self.model = of(Reached::Model);
        self.family = of(Reached::Family);
        if [&self.pair, &self.model, &self.family].iter().all(|tried| tried.worst.is_none()) {
            // Too few of each: all of them, for the widest gap.
            let all: Vec<(String, f64)> = missed.iter().map(|(_, device, size)| (device.clone(), *size)).collect();
            self.family = Tried::of(&all);
        }
    }

    /// Learns what was missed on devices of a kind that were left out, each as a whole.
    pub fn learn_kind(&mut self, kind: DeviceKind, residuals: &[f64], devices: usize) {
        if let Some(reach) = Reach::of(residuals) {
            self.kinds.insert(kind, (reach, devices));
        }
    }

    /// How far a forecast for a known device may miss.
    fn on_known(&self, gap: Reached, device: &str) -> Reach {
        let known = |tried: &Tried| tried.reach(device);
        let family = || {
            let nearer = || known(&self.model).or_else(|| known(&self.pair));
            known(&self.family).or_else(|| Some(nearer()?.wider(UNTRIED).max(UNTRIED_FAMILY)))
        };
        let reach = match gap {
            // A wider gap that was tried holds for a nearer one.
            Reached::Pair => known(&self.pair).or_else(|| known(&self.model)).or_else(family),
            Reached::Model => known(&self.model).or_else(family),
            _ => family(),
        };
        reach.unwrap_or(UNKNOWN).max(LEAST)
    }

    /// How far a forecast for a new device may miss. `maker_is_known`: another device of its kind and vendor was measured.
    fn on_new(&self, kind: DeviceKind, maker_is_known: bool) -> Reach {
        let published = (kind == DeviceKind::Gpu && maker_is_known).then_some(PUBLISHED_CARDS);
        match (self.kinds.get(&kind), published) {
            (Some((reach, devices)), Some(published)) if *devices < SEVERAL_DEVICES => reach.max(published),
            (Some((reach, _)), _) if maker_is_known => *reach,
            // What was tried within one maker is not believed to hold for another.
            (Some((reach, _)), _) => reach.wider(UNTRIED).max(UNTRIED_DEVICE),
            (None, Some(published)) => published,
            (None, None) => {
                let nearer = self.on_known(Reached::Family, "");
                nearer.wider(UNTRIED).max(UNTRIED_DEVICE)
            }
        }
    }

    /// How far a forecast may miss; of a new device with `anchors` - what its few rows missed when each was left out - by what
    /// these say, too.
    pub fn reach(
        &self,
        gap: Reached,
        device: &str,
        (kind, maker_is_known): (DeviceKind, bool),
        anchors: Option<&[f64]>,
    ) -> Reach {
        match gap {
            Reached::Device { model_is_known } => {
                let before = self.on_new(kind, maker_is_known);
                let own = anchors.map_or(before, |missed| Reach::after(missed, before, ANCHORS_ALIKE));
                // Two gaps at once.
                if model_is_known { own } else { own.and(self.on_known(Reached::Family, "")) }
            }
            Reached::Kind => MAGNITUDE.max(self.on_new(kind, false)),
            known => self.on_known(known, device),
        }
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
        let missed: Vec<Missed> = (1..=100)
            .flat_map(|size| [("fine", 1000.0), ("wild", 100.0)].map(|one| (one, size)))
            .map(|((device, share), size)| (Reached::Family, device.to_owned(), f64::from(size) / share))
            .collect();
        calibration.learn(&missed);
        let card = (DeviceKind::Gpu, false);
        let reach = |gap, device| calibration.reach(gap, device, card, None);
        assert!((reach(Reached::Family, "fine").ninety - 0.0909).abs() < 1e-9);
        assert!((reach(Reached::Family, "wild").ninety - 0.909).abs() < 1e-9);
        assert_eq!(reach(Reached::Family, "new"), reach(Reached::Family, "wild"));
        // A nearer gap that was not tried is no wider than one that was.
        assert_eq!(reach(Reached::Pair, "fine"), reach(Reached::Family, "fine"));
        assert!(reach(Reached::Device { model_is_known: true }, "new").ninety > 2.0);
        assert!(reach(Reached::Kind, "new").ninety >= 2.3);
    }

    #[test]
    fn few_residuals_of_a_device_lean_on_all_and_none_give_a_wide_reach() {
        assert_eq!(Reach::of(&[]), None);
        // Between the larger one and twice that.
        assert!((Reach::of(&[0.1, -0.2]).unwrap().ninety - 0.34).abs() < 1e-9);
        let mut random = fastrand::Rng::with_seed(5);
        let mut missed: Vec<Missed> =
            (0..60).map(|_| (Reached::Family, "usual".to_owned(), 0.2 * (random.f64() - 0.5))).collect();
        missed.extend((0..5).map(|_| (Reached::Family, "worse".to_owned(), random.f64() - 0.5)));
        let mut calibration = Calibration::default();
        calibration.learn(&missed);
        let reach = |device| calibration.reach(Reached::Family, device, (DeviceKind::Gpu, true), None).ninety;
        assert!((0.08..0.1).contains(&reach("usual")), "{}", reach("usual"));
        assert!((0.13..0.6).contains(&reach("worse")), "{}", reach("worse"));
        let nothing = Calibration::default().reach(Reached::Pair, "x", (DeviceKind::Gpu, true), None);
        assert!(nothing.ninety > 1.0);
    }

    #[test]
    fn a_new_card_is_not_surer_than_what_was_published_of_others() {
        let mut calibration = Calibration::default();
        calibration.learn(&[(Reached::Family, "x".to_owned(), 0.1)]);
        let gap = Reached::Device { model_is_known: true };
        let reach = |calibration: &Calibration, kind, maker| calibration.reach(gap, "new", (kind, maker), None).ninety;
        assert!((reach(&calibration, DeviceKind::Gpu, true) - 0.118 * 10_f64.ln()).abs() < 1e-9);
        assert!(
            reach(&calibration, DeviceKind::Gpu, false) >= 0.9 && reach(&calibration, DeviceKind::Cpu, true) >= 0.9
        );
        calibration.learn_kind(DeviceKind::Gpu, &[0.01; 100], 2);
        assert_eq!(reach(&calibration, DeviceKind::Gpu, true), PUBLISHED_CARDS.ninety);
        calibration.learn_kind(DeviceKind::Gpu, &[0.01; 100], 5);
        assert_eq!(reach(&calibration, DeviceKind::Gpu, true), 0.01);
        let unknown =
            calibration.reach(Reached::Device { model_is_known: false }, "new", (DeviceKind::Gpu, true), None);
        assert!(unknown.ninety > 0.1);
    }

    #[test]
    fn few_anchors_move_the_reach_a_little_and_many_hold_nine_tenths() {
        let before = Reach::laplace(0.1);
        assert!(Reach::after(&[0.0], before, 3.0).ninety > 0.15);
        assert!(Reach::after(&[0.9], before, 3.0).ninety > before.ninety);
        assert_eq!(Reach::after(&[], before, 3.0), before);
        let mut random = fastrand::Rng::with_seed(9);
        for count in [10, 20] {
            let mut inside = 0;
            for _ in 0..400 {
                let mut draw = || -random.f64().max(1e-12).ln() * 0.1;
                let residuals: Vec<f64> = (0..count).map(|_| draw()).collect();
                let reach = Reach::after(&residuals, before, 3.0);
                inside += (0..50).filter(|_| draw() <= reach.ninety).count();
            }
            let share = f64::from(inside as u32) / 20_000.0;
            assert!((0.88..0.93).contains(&share), "{count} {share}");
        }
    }
}
