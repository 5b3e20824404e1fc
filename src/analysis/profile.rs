//! What a profile says: whether the operators add up to what an iteration takes, what limits each of them, and what became
//! of them between two profiles.

use std::collections::BTreeMap;

use super::evidence::CONFIDENCE;
use crate::domain::profile::{PartKind, Profile, ProfiledPart, have_parts, split_path};
use crate::domain::run::OperatorTime;
use crate::stats::{mean, median, median_interval, sorted};

/// From this share on, the operators do not agree with the iteration.
pub const AGREEMENT: f64 = 0.1;

/// Fewer pairs than this are no ground for a claim about what the profile itself costs.
pub const FEWEST_PAIRS: usize = 20;

/// What the timing of operators cost, and whether their times can be taken for those of an iteration without it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// The median of the iterations without, in ms.
    pub plain_ms: f64,
    /// The sum of all operators, without what lies between them, in ms: the mean over the middle half of the pairs, as is
    /// every operator's own time.
    pub sum_ms: f64,
    /// How much longer the sum is than an iteration without, as a share: 0.02 is 2 % more.
    pub difference: f64,
    /// The iterations with a time for each operator, in ms: the mean over the same pairs.
    pub timed_ms: f64,
    /// The share of that which no operator accounts for.
    pub outside: f64,
    /// The median over the pairs of (with / without).
    pub ratio: f64,
    /// Its interval at 95 %, by order statistics; `None` for fewer pairs than [`FEWEST_PAIRS`].
    pub interval: Option<(f64, f64)>,
}

impl Agreement {
    /// `None` where nothing was measured.
    pub fn of(profile: &Profile) -> Option<Self> {
        let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let plain: Vec<f64> = profile.pairs.iter().map(|[plain, _]| ms(*plain)).collect();
        let middle = profile.middle();
        let timed: Vec<f64> = middle.iter().map(|place| ms(profile.pairs[*place][1])).collect();
        let sums: Vec<f64> =
            middle.iter().filter_map(|place| profile.operators.get(*place)).map(|sum| ms(*sum)).collect();
        let (plain_ms, sum_ms, timed_ms) = (median(&plain)?, mean(&sums)?, mean(&timed)?);
        let ratios: Vec<f64> = profile
            .pairs
            .iter()
            .filter(|[plain, _]| *plain > 0)
            .map(|[plain, with]| *with as f64 / *plain as f64)
            .collect();
        let ratios = sorted(&ratios);
        Some(Self {
            plain_ms,
            sum_ms,
            difference: sum_ms / plain_ms - 1.0,
            timed_ms,
            outside: if timed_ms > 0.0 { 1.0 - sum_ms / timed_ms } else { 0.0 },
            ratio: median(&ratios)?,
            interval: (ratios.len() >= FEWEST_PAIRS).then(|| median_interval(&ratios, CONFIDENCE)).flatten(),
        })
    }

    /// Whether the operators add up to an iteration, within [`AGREEMENT`].
    pub fn holds(&self) -> bool {
        self.difference.abs() <= AGREEMENT
    }
}

/// What a device can do at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peaks {
    /// In 1e9 operations a second.
    pub gflop_per_second: Option<f64>,
    /// In 1e9 bytes a second, read and written.
    pub gb_per_second: Option<f64>,
}

/// What limits an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// How fast the device multiplies.
    Compute,
    /// How fast it moves bytes.
    Memory,
}

impl Bound {
    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Memory => "memory",
        }
    }
}

/// How fast an operator is, beside what the device can do at most (Williams, Waterman and Patterson 2009, "Roofline").
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// 1e9 operations a second, a multiply-add being two; `None` for what multiplies nothing.
    pub gflop_per_second: Option<f64>,
    /// 1e9 bytes a second that had to be read or written; `None` where that is not known.
    pub gb_per_second: Option<f64>,
    /// What limits it: memory, where the operations for each byte are fewer than peak / bandwidth.
    pub bound: Option<Bound>,
    /// What it reaches of min(peak, bandwidth * operations for each byte), or of the bandwidth where it multiplies
    /// nothing. More than 1 where its bytes stay in caches.
    pub share_of_roof: Option<f64>,
}

impl Speed {
    /// Of an operator; nothing is known of modules and phases.
    pub fn of(part: &ProfiledPart, peaks: Peaks) -> Self {
        if part.kind != PartKind::Operator || part.own_nanoseconds == 0 {
            return Self::default();
        }
        // Operations a nanosecond are 1e9 of them a second.
        let nanoseconds = part.own_nanoseconds as f64;
        let (operations, bytes) = (2.0 * part.multiply_adds as f64, part.bytes as f64);
        let rate = |amount: f64| (amount > 0.0).then(|| amount / nanoseconds);
        let (gflop_per_second, gb_per_second) = (rate(operations), rate(bytes));
        let (bound, share_of_roof) = match (peaks.gflop_per_second, peaks.gb_per_second) {
            (Some(peak), Some(bandwidth)) if operations > 0.0 && bytes > 0.0 => {
                let slope = bandwidth * operations / bytes;
                let bound = if slope < peak { Bound::Memory } else { Bound::Compute };
                (Some(bound), gflop_per_second.map(|rate| rate / peak.min(slope)))
            }
            (_, Some(bandwidth)) if operations == 0.0 => {
                let bound = gb_per_second.map(|_| Bound::Memory);
                (bound, gb_per_second.map(|rate| rate / bandwidth))
            }
            _ => (None, None),
        };
        Self { gflop_per_second, gb_per_second, bound, share_of_roof }
    }
}

/// What became of one part between two profiles; times are those of one iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its phase.
    pub phase: String,
    /// Its path in the model; empty for the phase.
    pub path: String,
    /// Calls in one iteration before, `None` where it was not there.
    pub calls_before: Option<f64>,
    /// Calls in one iteration after, `None` where it is not there.
    pub calls_after: Option<f64>,
    /// Its own nanoseconds before.
    pub before: f64,
    /// Its own nanoseconds after.
    pub after: f64,
}

impl Change {
    /// How many nanoseconds more.
    pub fn difference(&self) -> f64 {
        self.after - self.before
    }
}

/// Operator times of one run, and how many iterations they are the sum of.
#[derive(Clone, Copy, Debug)]
pub struct Timed<'r> {
    /// The times.
    pub operators: &'r [OperatorTime],
    /// The iterations, at least 1.
    pub iterations: u64,
}

/// What all operators of one iteration took together, in ms, without what lies between them.
pub fn sum_of_operators(timed: Timed<'_>) -> f64 {
    let have_parts = have_parts(timed.operators.iter().map(|operator| split_path(&operator.path)));
    let of_one_piece = timed.operators.iter().zip(have_parts).filter(|(_, has_parts)| !has_parts);
    let sum: u64 = of_one_piece.map(|(operator, _)| operator.own_nanoseconds).sum();
    sum as f64 / 1e6 / timed.iterations.max(1) as f64
}

/// Every part of either profile, the largest change first.
pub fn changes(before: Timed<'_>, after: Timed<'_>) -> Vec<Change> {
    let mut found: BTreeMap<&str, [Option<(f64, f64)>; 2]> = BTreeMap::new();
    for (side, timed) in [before, after].into_iter().enumerate() {
        let iterations = timed.iterations.max(1) as f64;
        for operator in timed.operators {
            let each = (operator.calls as f64 / iterations, operator.own_nanoseconds as f64 / iterations);
            found.entry(&operator.path).or_default()[side] = Some(each);
        }
    }
    let mut changes: Vec<Change> = found
        .into_iter()
        .map(|(stored, [before, after])| {
            let (phase, path) = split_path(stored);
            Change {
                phase: phase.to_owned(),
                path: path.to_owned(),
                calls_before: before.map(|(calls, _)| calls),
                calls_after: after.map(|(calls, _)| calls),
                before: before.map_or(0.0, |(_, own)| own),
                after: after.map_or(0.0, |(_, own)| own),
            }
        })
        .collect();
    changes.sort_by(|one, other| other.difference().abs().total_cmp(&one.difference().abs()));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(path: &str, kind: PartKind, own: u64, multiply_adds: u64, bytes: u64) -> ProfiledPart {
        ProfiledPart {
            phase: "forward".into(),
            path: path.into(),
            kind,
            calls: 2,
            total_nanoseconds: own,
            own_nanoseconds: own,
            multiply_adds,
            bytes,
        }
    }

    #[test]
    fn a_sum_is_compared_with_the_iterations_beside_it() {
        let profile =
            Profile { pairs: vec![[1_000_000, 1_500_000]; 20], operators: vec![1_050_000; 20], ..Profile::default() };
        let agreement = Agreement::of(&profile).unwrap();
        assert!((agreement.difference - 0.05).abs() < 1e-12 && agreement.holds());
        assert_eq!(agreement.plain_ms, 1.0);
        assert!((agreement.sum_ms - 1.05).abs() < 1e-12 && (agreement.timed_ms - 1.5).abs() < 1e-12);
        assert!((agreement.outside - 0.3).abs() < 1e-12);
        let (low, high) = agreement.interval.unwrap();
        assert!(low <= agreement.ratio && agreement.ratio <= high && high < 1.501);
        let few = Profile { pairs: profile.pairs[..19].to_vec(), ..profile };
        assert_eq!(Agreement::of(&few).unwrap().interval, None);
        assert_eq!(Agreement::of(&Profile::default()), None);
    }

    #[test]
    fn a_pair_that_was_disturbed_moves_neither_the_sum_nor_what_lies_outside() {
        let quiet = Profile { pairs: vec![[1000, 1100]; 8], operators: vec![990; 8], ..Profile::default() };
        let mut disturbed = quiet.clone();
        disturbed.pairs[2][1] = 11_000;
        disturbed.operators[2] = 10_890;
        assert_eq!(Agreement::of(&disturbed), Agreement::of(&quiet));
        // Sum and whole come from the same pairs, though the sums alone would have another order.
        let mixed = Profile {
            pairs: vec![[10, 10], [10, 20], [10, 30], [10, 40]],
            operators: vec![1, 20, 10, 2],
            ..Profile::default()
        };
        let agreement = Agreement::of(&mixed).unwrap();
        assert!((agreement.sum_ms - 15e-6).abs() < 1e-15 && (agreement.timed_ms - 25e-6).abs() < 1e-15);
        assert!((agreement.outside - 0.4).abs() < 1e-12);
    }

    #[test]
    fn what_differs_by_more_than_a_tenth_does_not_agree() {
        // The iteration with their timing is as long as the other one: what lies between operators does not count.
        let of = |operators| {
            let profile = Profile { pairs: vec![[1000, 1000]], operators: vec![operators], ..Profile::default() };
            Agreement::of(&profile).unwrap()
        };
        assert!(of(1099).holds() && of(901).holds());
        assert!(!of(1101).holds() && !of(899).holds() && !of(800).holds());
        assert!((of(800).outside - 0.2).abs() < 1e-12);
    }

    #[test]
    fn an_optimizer_counts_and_what_lies_between_operators_does_not() {
        let time = |path: &str, own| OperatorTime {
            path: path.into(),
            calls: 2,
            total_nanoseconds: own,
            own_nanoseconds: own,
        };
        let operators = [
            time("forward", 7_000_000),
            time("forward/a", 5_000_000),
            time("forward/a.b", 4_000_000),
            time("optimizer_step", 2_000_000),
        ];
        assert_eq!(sum_of_operators(Timed { operators: &operators, iterations: 2 }), 3.0);
    }

    // 1000 multiply-adds and 500 bytes in 100 ns: 20 GFLOP/s and 5 GB/s, 4 operations a byte. With a bandwidth of 10 the
    // roof is at 40 GFLOP/s, if the peak is higher.
    #[test]
    fn the_roof_is_the_lower_of_peak_and_slope() {
        let product = part("a", PartKind::Operator, 100, 1000, 500);
        let peaks = |peak| Peaks { gflop_per_second: Some(peak), gb_per_second: Some(10.0) };
        let low = Speed::of(&product, peaks(25.0));
        assert_eq!((low.gflop_per_second, low.gb_per_second), (Some(20.0), Some(5.0)));
        assert_eq!((low.bound, low.share_of_roof), (Some(Bound::Compute), Some(0.8)));
        let high = Speed::of(&product, peaks(100.0));
        assert_eq!((high.bound, high.share_of_roof), (Some(Bound::Memory), Some(0.5)));
        let copy = Speed::of(&part("b", PartKind::Operator, 100, 0, 500), peaks(100.0));
        assert_eq!((copy.gflop_per_second, copy.bound, copy.share_of_roof), (None, Some(Bound::Memory), Some(0.5)));
        let unknown = Speed::of(&product, Peaks::default());
        assert_eq!((unknown.gflop_per_second, unknown.bound), (Some(20.0), None));
        assert_eq!(Speed::of(&part("m", PartKind::Module, 100, 1, 1), peaks(1.0)), Speed::default());
    }

    #[test]
    fn changes_are_of_one_iteration_and_the_largest_comes_first() {
        let time = |path: &str, calls, own| OperatorTime {
            path: path.into(),
            calls,
            total_nanoseconds: own,
            own_nanoseconds: own,
        };
        let before = [time("forward/a", 2, 100), time("forward/b", 2, 40)];
        let after = [time("forward/a", 4, 220), time("forward/c", 4, 400)];
        let timed = |operators, iterations| Timed { operators, iterations };
        let found = changes(timed(&before, 2), timed(&after, 4));
        let told: Vec<(&str, f64)> = found.iter().map(|change| (change.path.as_str(), change.difference())).collect();
        assert_eq!(told, [("c", 100.0), ("b", -20.0), ("a", 5.0)]);
        assert_eq!((found[0].calls_before, found[0].calls_after), (None, Some(1.0)));
    }
}
