//! A fitted forecaster: the models, their intervals, where they come from. What commands talk to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::PredictError;
use super::conformal::{Calibration, Reach};
use super::devices::DeviceTable;
use super::facts::FactBook;
use super::memory::{Memory, MemoryModel};
use super::time_model::{TimeModel, TimeOptions};
use super::transfer::{device_key, model_key};
use crate::domain::{DeviceKind, Example, Forecast, Prediction, Subject, Tier};

/// The format of an exported forecaster.
pub const FORMAT: u32 = 1;

/// Rows from which calibration tries some of the folds instead of all.
const MANY: usize = 600;

/// Rows that a fold of the calibration trains on, about.
const TRAINED: usize = 16_000;

/// Folds over pairs and over families.
const FOLDS: usize = 6;

/// Devices that are left out in turn, at most.
const LEFT_OUT_DEVICES: usize = 4;

/// How a forecaster is fitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FitOptions {
    /// The models of time.
    pub time: TimeOptions,
    /// Where the examples come from, for people.
    pub source: String,
    /// When, ISO-8601 UTC; this layer has no clock.
    pub fitted_at: String,
}

/// Where a forecaster comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Where the examples come from, for people.
    pub source: String,
    /// When it was fitted.
    pub fitted_at: String,
    /// The version of benchdb that fitted it.
    pub tool_version: String,
    /// The seed.
    pub seed: u64,
    /// Examples.
    pub rows: usize,
    /// Models at their shapes.
    pub models: usize,
    /// Examples of each device.
    pub devices: BTreeMap<String, usize>,
}

/// A fitted forecaster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecaster {
    format: u32,
    /// Where it comes from.
    pub provenance: Provenance,
    time: TimeModel,
    memory: MemoryModel,
    calibration: Calibration,
}

/// An interval around the exponential of a logarithm.
pub(super) fn around(logarithm: f64, reach: Reach) -> Prediction {
    let ends = |reach: f64| ((logarithm - reach).exp(), (logarithm + reach).exp());
    Prediction { median: logarithm.exp(), half: ends(reach.half), ninety: ends(reach.ninety.max(reach.half)) }
}

/// The fold of each key: shuffled with a seed, so that it depends on the set of keys alone.
pub(super) fn folds_of(keys: BTreeSet<String>, count: usize, seed: u64) -> BTreeMap<String, usize> {
    let mut keys: Vec<String> = keys.into_iter().collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut keys);
    keys.into_iter().enumerate().map(|(at, key)| (key, at % count)).collect()
}

/// The pair of a model at its shape and a device.
pub(super) fn pair_key(subject: &Subject) -> String {
    [model_key(subject), device_key(subject)].join("@")
}

impl Forecaster {
    /// Fits the models, and their intervals by trying the same kinds of gaps as questions have.
    ///
    /// # Errors
    /// Too few examples with a number, or all with the same one.
    pub fn fit(examples: &[&Example], devices: &DeviceTable, options: &FitOptions) -> Result<Self, PredictError> {
        let usable: Vec<&Example> =
            examples.iter().copied().filter(|example| example.seconds_per_sample().is_some()).collect();
        let mut time = TimeModel::fit(&usable, devices, &options.time)?;
        let calibration = calibrate(&usable, devices, options, &mut time);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for example in &usable {
            *counts.entry(example.subject.device.name.clone()).or_default() += 1;
        }
        let models: BTreeSet<String> = usable.iter().map(|example| model_key(&example.subject)).collect();
        Ok(Self {
            format: FORMAT,
            provenance: Provenance {
                source: options.source.clone(),
                fitted_at: options.fitted_at.clone(),
                tool_version: env!("CARGO_PKG_VERSION").to_owned(),
                seed: options.time.seed,
                rows: usable.len(),
                models: models.len(),
                devices: counts,
            },
            memory: MemoryModel::fit(examples, &FactBook::new(examples.iter().copied())),
            time,
            calibration,
        })
    }

    /// The model of time.
    pub fn time(&self) -> &TimeModel {
        &self.time
    }

    /// The forecast for a subject; a new kind of device is refused unless `extrapolate`.
    ///
    /// # Errors
    /// A question that says too little, a device of which nothing is known, a new kind of device.
    pub fn forecast(&self, subject: &Subject, extrapolate: bool) -> Result<Forecast, PredictError> {
        let facts = self.time.facts(subject);
        self.check(subject, facts.multiply_adds)?;
        let tier = self.time.tier(subject);
        let known = self.time.knows_device(subject);
        if !known && self.time.devices().find(&subject.device).is_none() && !extrapolate {
            return Err(PredictError::UnknownDevice { device: subject.device.name.clone() });
        }
        if tier == Tier::D && !known && !extrapolate {
            return Err(PredictError::NewKind {
                kind: subject.device.kind.to_string(),
                device: subject.device.name.clone(),
            });
        }
        let Some(time) = self.time.predict(subject) else {
            return Err(PredictError::BadQuestion {
                model: subject.model.clone(),
                reason: "neither its work nor a measurement of it is known".to_owned(),
            });
        };
        let mut reach = self.reach(subject, time.tier);
        if let Some(own) = self.time.anchor_errors(subject).and_then(Reach::of) {
            // What few rows missed is no better than half of what a device without any would miss.
            let floor = reach.wider(0.5);
            reach = Reach { half: own.half.max(floor.half), ninety: own.ninety.max(floor.ninety) };
        }
        if !known && self.time.devices().find(&subject.device).is_none() {
            reach = self.calibration.reach(Tier::D, "");
        }
        let seconds = around(time.log_seconds, reach);
        Ok(Forecast {
            throughput: seconds.reciprocal(1.0),
            latency_ms: seconds.scaled(1e3 * f64::from(subject.batch_size)),
            host_memory_mb: self.memory.predict(subject, &facts, Memory::Host),
            device_memory_mb: self.memory.predict(subject, &facts, Memory::Device),
            tier: time.tier,
            learned_from: self.learned_from(time.anchored),
            model_name: self.time.name(),
            subject: subject.clone(),
        })
    }

    /// A new device is judged by what others of its kind missed when they were left out.
    fn reach(&self, subject: &Subject, tier: Tier) -> Reach {
        let key = if tier == Tier::C { subject.device.kind.to_string() } else { device_key(subject) };
        self.calibration.reach(tier, &key)
    }

    fn check(&self, subject: &Subject, multiply_adds: Option<f64>) -> Result<(), PredictError> {
        let bad =
            |reason: &str| Err(PredictError::BadQuestion { model: subject.model.clone(), reason: reason.to_owned() });
        if subject.batch_size == 0 {
            return bad("a batch of 0 samples takes no time");
        }
        match multiply_adds {
            None => bad("its multiply-adds are not known: measure or import one row of it that says them"),
            // From a hundred to the work of the largest model there is, for one sample.
            Some(work) if !(1e2..1e16).contains(&work) => bad("its multiply-adds are no number that a network has"),
            Some(_) => Ok(()),
        }
    }

    fn learned_from(&self, anchored: bool) -> String {
        let provenance = &self.provenance;
        let anchors = if anchored { ", a few of them of this device" } else { "" };
        let source = if provenance.source.is_empty() { String::new() } else { format!(" ({})", provenance.source) };
        format!(
            "{} measurements of {} models on {} devices{source}{anchors}",
            provenance.rows,
            provenance.models,
            provenance.devices.len()
        )
    }

    /// The forecaster as JSON.
    ///
    /// # Errors
    /// What serde refuses.
    pub fn to_json(&self) -> Result<String, PredictError> {
        serde_json::to_string(self).map_err(|source| PredictError::NotAModel { source })
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// A text that is no forecaster, or one of another format.
    pub fn from_json(text: &str) -> Result<Self, PredictError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(|source| PredictError::NotAModel { source })?;
        if head.format != FORMAT {
            return Err(PredictError::OtherVersion { found: head.format, known: FORMAT });
        }
        let mut forecaster: Self = serde_json::from_str(text).map_err(|source| PredictError::NotAModel { source })?;
        forecaster.time.index();
        Ok(forecaster)
    }
}

/// What a model that did not see them misses on examples: device and residual of the logarithm.
fn missed(model: &TimeModel, examples: &[&Example]) -> Vec<(String, f64)> {
    let one = |example: &&Example| {
        let truth = example.seconds_per_sample()?.ln();
        let answer = model.predict(&example.subject)?.log_seconds;
        Some((device_key(&example.subject), truth - answer))
    };
    examples.iter().filter_map(one).collect()
}

/// Tries the gaps of each tier. Drops the transfer where it does not help.
fn calibrate(examples: &[&Example], devices: &DeviceTable, options: &FitOptions, time: &mut TimeModel) -> Calibration {
    let seed = options.time.seed;
    let many = examples.len() >= MANY;
    let mut calibration = Calibration::default();
    let pairs = folds_of(examples.iter().map(|example| pair_key(&example.subject)).collect(), FOLDS, seed);
    let families = examples.iter().map(|example| example.subject.leading_word().to_owned()).collect();
    let families = folds_of(families, FOLDS, seed ^ 1);
    let (tried_pairs, tried_families) = if many { (1, 2) } else { (FOLDS, FOLDS) };
    let split = |is_test: &(dyn Fn(&Example) -> bool + Sync), options: &TimeOptions| {
        let (test, train): (Vec<&Example>, Vec<&Example>) = examples.iter().copied().partition(|one| is_test(one));
        if test.is_empty() {
            return None;
        }
        // Intervals of half the rows are a little wide; a fit of all would take too long.
        let step = train.len().div_ceil(TRAINED).max(1);
        let train: Vec<&Example> = train.into_iter().step_by(step).collect();
        let model = TimeModel::fit(&train, devices, options).ok()?;
        let residuals = missed(&model, &test);
        Some((residuals, model, test))
    };
    let with_transfer = time.uses_transfer();
    let try_pairs = || {
        let (mut of_pairs, mut without) = (Vec::new(), Vec::new());
        for fold in 0..tried_pairs {
            let both = !with_transfer || !many;
            let options = TimeOptions { family: both, transfer: with_transfer, ..options.time.clone() };
            let Some((residuals, mut model, test)) = split(&|one| pairs[&pair_key(&one.subject)] == fold, &options)
            else {
                continue;
            };
            of_pairs.extend(residuals);
            if with_transfer && !many {
                model.drop_transfer();
                without.extend(missed(&model, &test));
            }
        }
        (of_pairs, without)
    };
    let try_families = || {
        let mut of_families = Vec::new();
        for fold in 0..tried_families {
            let options = TimeOptions { transfer: false, family: true, ..options.time.clone() };
            let family = |one: &Example| families[one.subject.leading_word()] == fold;
            of_families.extend(split(&family, &options).map(|(residuals, ..)| residuals).unwrap_or_default());
        }
        of_families
    };
    let devices_left_out = left_out(time, if many { 2 } else { LEFT_OUT_DEVICES });
    let try_devices = || {
        let mut of_devices = Vec::new();
        for (key, device) in devices_left_out {
            let options = TimeOptions { family: false, ..options.time.clone() };
            let is_test = |one: &Example| device_key(&one.subject) == key;
            if let Some((residuals, ..)) = split(&is_test, &options) {
                of_devices.extend(residuals.into_iter().map(|(_, residual)| (device.to_string(), residual)));
            }
        }
        of_devices
    };
    let ((mut of_pairs, without), (of_families, of_devices)) =
        rayon::join(try_pairs, || rayon::join(try_families, try_devices));
    let typical = |residuals: &[(String, f64)]| {
        crate::stats::median(&residuals.iter().map(|(_, residual)| residual.abs()).collect::<Vec<_>>())
    };
    if let (Some(with), Some(plain)) = (typical(&of_pairs), typical(&without))
        && plain < with
    {
        time.drop_transfer();
        of_pairs = without;
    }
    calibration.learn(Tier::A, &of_pairs);
    calibration.learn(Tier::B, &of_families);
    calibration.learn(Tier::C, &of_devices);
    calibration
}

/// The devices that are left out in turn: those with another of their kind.
fn left_out(time: &TimeModel, most: usize) -> Vec<(String, DeviceKind)> {
    let mut kinds: BTreeMap<DeviceKind, usize> = BTreeMap::new();
    for (_, device) in time.known_devices() {
        *kinds.entry(device.kind).or_default() += 1;
    }
    let several = time.known_devices().filter(|(_, device)| kinds[&device.kind] > 1);
    let mut left_out: Vec<_> = several.map(|(key, device)| (key.clone(), device.kind)).collect();
    // Most questions about new devices are about GPUs.
    left_out.sort_by_key(|(_, kind)| *kind != DeviceKind::Gpu);
    left_out.truncate(most);
    left_out
}
