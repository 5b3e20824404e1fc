//! Tries a model on gaps as questions have them: what it misses there makes the intervals, and says where a plain baseline is
//! better than what was learned.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::baselines::{Answerer, Baselines};
use super::conformal::{Calibration, Missed, Reached};
use super::devices::DeviceTable;
use super::forecaster::{folds_of, pair_key};
use super::time_model::{TimeModel, TimeOptions};
use super::transfer::device_key;
use crate::domain::{DeviceKind, Example, Tier};

/// Rows from which some of the folds are tried instead of all.
const MANY: usize = 600;

/// Rows that a fold trains on, about.
const TRAINED: usize = 16_000;

/// Hidden rows of a device that are asked for in a fold, about: a quantile of so many is known well enough.
const ASKED: usize = 1000;

/// Folds over pairs and over families, and where rows are few, so that folds are fitted to nearly as many as there are.
const FOLDS: usize = 6;
const FOLDS_OF_FEW: usize = 10;

/// Rows that are few.
const FEW: usize = 200;

/// Rows of a device of which all are tried, in halves, where others have many: its own machine is what a user asks about, and
/// what forecasts miss on other devices says little of it.
const SMALL_DEVICE: usize = 400;

/// Devices that are left out in turn, at most.
const LEFT_OUT_DEVICES: usize = 4;

/// Hidden rows below which no baseline takes the place of what is learned.
const WORTH_A_SWITCH: usize = 20;

/// A baseline takes the place of what is learned if its median error is smaller by this factor: not by chance alone.
const SURELY: f64 = 0.95;

/// What trying a model says.
#[derive(Debug, Default)]
pub struct Calibrated {
    /// Intervals.
    pub calibration: Calibration,
    /// Where a plain baseline is better.
    pub plain: Vec<Plain>,
}

/// A plain baseline that answers in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plain {
    /// The tier.
    pub tier: Tier,
    /// The kind of the device that is asked about; every kind where it is `None`.
    pub kind: Option<DeviceKind>,
    /// What answers.
    pub answerer: Answerer,
}

/// What was missed on one hidden row: its gap and device, and the residual of the logarithm by each of [`Answerer::ALL`].
struct Miss {
    gap: Reached,
    device: String,
    kind: DeviceKind,
    residuals: [Option<f64>; 4],
}

/// A model that did not see some examples, and those.
struct Fold<'e> {
    model: TimeModel,
    asked: Vec<&'e Example>,
    baselines: Baselines,
}

impl Fold<'_> {
    fn misses(&self) -> Vec<Miss> {
        let subjects: Vec<_> = self.asked.iter().map(|example| &example.subject).collect();
        let plain = self.baselines.predict(&subjects);
        let one = |(example, [nearest, ratio]): (&&Example, [Option<f64>; 2])| {
            let truth = example.seconds_per_sample()?.ln();
            let learned = self.model.predict(&example.subject).map(|answer| answer.log_seconds);
            let answers = [learned, self.model.roofline(&example.subject), nearest, ratio];
            let residuals = answers.map(|answer| answer.map(|answer| truth - answer));
            let subject = &example.subject;
            let gap = self.model.reaches_over(subject);
            Some(Miss { gap, device: device_key(subject), kind: subject.device.kind, residuals })
        };
        self.asked.iter().zip(plain).filter_map(one).collect()
    }
}

/// Hides what `is_hidden` says and fits the rest.
fn fold<'e>(
    examples: &[&'e Example],
    devices: &DeviceTable,
    options: &TimeOptions,
    is_hidden: &(dyn Fn(&Example) -> bool + Sync),
) -> Option<Fold<'e>> {
    let (hidden, train): (Vec<&Example>, Vec<&Example>) = examples.iter().copied().partition(|one| is_hidden(one));
    if hidden.is_empty() {
        return None;
    }
    // Intervals of half the rows are a little wide; a fit of all would take too long.
    let step = train.len().div_ceil(TRAINED).max(1);
    let train: Vec<&Example> = train.into_iter().step_by(step).collect();
    let model = TimeModel::fit(&train, devices, options).ok()?;
    let mut by_device: BTreeMap<String, Vec<&Example>> = BTreeMap::new();
    for example in hidden {
        by_device.entry(device_key(&example.subject)).or_default().push(example);
    }
    let thinned = |rows: Vec<&'e Example>| {
        let step = rows.len().div_ceil(ASKED).max(1);
        rows.into_iter().step_by(step)
    };
    let asked = by_device.into_values().flat_map(thinned).collect();
    Some(Fold { model, asked, baselines: Baselines::new(&train) })
}

/// The median of absolute residuals of one answerer, if it answered nearly all rows.
fn typical(misses: &[&Miss], place: usize) -> Option<f64> {
    let sizes: Vec<f64> = misses.iter().filter_map(|miss| miss.residuals[place].map(f64::abs)).collect();
    if sizes.len() * 10 < misses.len() * 9 { None } else { crate::stats::median(&sizes) }
}

/// The answerer that misses least: a plain one only where it is surely better than what is learned.
fn best_of(misses: &[&Miss]) -> usize {
    let error = |place: usize| typical(misses, place).unwrap_or(f64::INFINITY);
    let plain = (1..Answerer::ALL.len()).min_by(|one, other| error(*one).total_cmp(&error(*other)));
    plain.filter(|&plain| misses.len() >= WORTH_A_SWITCH && error(plain) < SURELY * error(0)).unwrap_or(0)
}

/// What the best answerer of a tier missed; where that is a plain one, it is noted.
fn best_residuals(plain: &mut Vec<Plain>, tier: Tier, kind: Option<DeviceKind>, misses: &[&Miss]) -> Vec<f64> {
    let best = best_of(misses);
    if best > 0 {
        plain.push(Plain { tier, kind, answerer: Answerer::ALL[best] });
    }
    // Where it has no answer, what was learned has.
    let residual = |miss: &&Miss| miss.residuals[best].or(miss.residuals[0]).unwrap_or(f64::NAN);
    misses.iter().map(residual).collect()
}

/// Learns what was missed in folds, gap by gap.
fn learn_known(calibrated: &mut Calibrated, misses: &[Miss]) {
    let mut missed: Vec<Missed> = Vec::new();
    for tier in [Tier::A, Tier::B] {
        let own: Vec<&Miss> = misses.iter().filter(|miss| (miss.gap == Reached::Pair) == (tier == Tier::A)).collect();
        let residuals = best_residuals(&mut calibrated.plain, tier, None, &own);
        let with_gap = own.iter().zip(residuals).map(|(miss, residual)| (miss.gap, miss.device.clone(), residual));
        missed.extend(with_gap.filter(|(.., residual)| residual.is_finite()));
    }
    calibrated.calibration.learn(&missed);
}

/// Learns what was missed on devices that were left out, kind by kind.
fn learn_new(calibrated: &mut Calibrated, misses: &[Miss]) {
    let kinds: BTreeSet<DeviceKind> = misses.iter().map(|miss| miss.kind).collect();
    for kind in kinds {
        let own: Vec<&Miss> = misses.iter().filter(|miss| miss.kind == kind).collect();
        let devices: BTreeSet<&str> = own.iter().map(|miss| miss.device.as_str()).collect();
        let mut residuals = best_residuals(&mut calibrated.plain, Tier::C, Some(kind), &own);
        residuals.retain(|residual| residual.is_finite());
        calibrated.calibration.learn_kind(kind, &residuals, devices.len());
    }
}

/// Tries the gaps of each tier. Drops the transfer where it does not help.
pub fn calibrate(
    examples: &[&Example],
    devices: &DeviceTable,
    options: &TimeOptions,
    time: &mut TimeModel,
) -> Calibrated {
    let seed = options.seed;
    let many = examples.len() >= MANY;
    let folds = if examples.len() < FEW { FOLDS_OF_FEW } else { FOLDS };
    let pairs = folds_of(examples.iter().map(|example| pair_key(&example.subject)).collect(), folds, seed);
    let families = examples.iter().map(|example| example.subject.leading_word().to_owned()).collect();
    let families = folds_of(families, folds, seed ^ 1);
    let (tried_pairs, tried_families) = if many { (1, 2) } else { (folds, folds) };
    let mut rows_of: BTreeMap<String, usize> = BTreeMap::new();
    for example in examples {
        *rows_of.entry(device_key(&example.subject)).or_default() += 1;
    }
    // In a fold of many rows, half of what a small device has.
    let half_of_small = |one: &Example, folds: &BTreeMap<String, usize>, key: &str, tried: usize| {
        many && rows_of[&device_key(&one.subject)] < SMALL_DEVICE && folds[key] % 2 == tried % 2
    };
    let with_transfer = time.uses_transfer();
    let try_pairs = || {
        let (mut of_pairs, mut without) = (Vec::new(), Vec::new());
        for tried in 0..tried_pairs {
            let both = !with_transfer || !many;
            let options = TimeOptions { family: both, transfer: with_transfer, ..options.clone() };
            let hidden = |one: &Example| {
                let key = pair_key(&one.subject);
                pairs[&key] == tried || half_of_small(one, &pairs, &key, tried)
            };
            let Some(mut fold) = fold(examples, devices, &options, &hidden) else { continue };
            of_pairs.extend(fold.misses());
            if with_transfer && !many {
                fold.model.drop_transfer();
                without.extend(fold.misses());
            }
        }
        (of_pairs, without)
    };
    let try_families = || {
        let options = TimeOptions { transfer: false, family: true, ..options.clone() };
        let one = |tried: usize| {
            let hidden = |one: &Example| {
                let key = one.subject.leading_word();
                families[key] == tried || half_of_small(one, &families, key, tried)
            };
            fold(examples, devices, &options, &hidden).map(|fold| fold.misses())
        };
        (0..tried_families).filter_map(one).flatten().collect::<Vec<_>>()
    };
    let devices_left_out = left_out(time, if many { 2 } else { LEFT_OUT_DEVICES });
    let try_devices = || {
        let options = TimeOptions { family: false, ..options.clone() };
        let mut of_devices = Vec::new();
        for key in devices_left_out {
            let hidden = |one: &Example| device_key(&one.subject) == key;
            let misses = fold(examples, devices, &options, &hidden).map(|fold| fold.misses()).unwrap_or_default();
            of_devices.extend(misses);
        }
        of_devices
    };
    let ((mut of_pairs, without), (of_families, of_devices)) =
        rayon::join(try_pairs, || rayon::join(try_families, try_devices));
    let error = |misses: &[Miss]| typical(&misses.iter().collect::<Vec<_>>(), 0);
    if let (Some(with), Some(plain)) = (error(&of_pairs), error(&without))
        && plain < with
    {
        time.drop_transfer();
        of_pairs = without;
    }
    let mut calibrated = Calibrated::default();
    if many {
        // Without what answers for new families, these folds say nothing of them.
        of_pairs.retain(|miss| miss.gap == Reached::Pair);
    }
    of_pairs.extend(of_families);
    learn_known(&mut calibrated, &of_pairs);
    learn_new(&mut calibrated, &of_devices);
    calibrated
}

/// The devices that are left out in turn: those with another of their kind.
fn left_out(time: &TimeModel, most: usize) -> Vec<String> {
    let mut kinds: BTreeMap<DeviceKind, usize> = BTreeMap::new();
    for (_, device) in time.known_devices() {
        *kinds.entry(device.kind).or_default() += 1;
    }
    let several = time.known_devices().filter(|(_, device)| kinds[&device.kind] > 1);
    let mut left_out: Vec<_> = several.map(|(key, device)| (key.clone(), device.kind)).collect();
    // Most questions about new devices are about GPUs.
    left_out.sort_by_key(|(_, kind)| *kind != DeviceKind::Gpu);
    left_out.truncate(most);
    left_out.into_iter().map(|(key, _)| key).collect()
}
