//! A fitted forecaster: the models, their intervals, where they come from. What commands talk to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::PredictError;
use super::baselines::{Answerer, Baselines, setting_key};
use super::calibrate::{Calibrated, Plain, calibrate};
use super::conformal::{Calibration, Reach, Reached};
use super::devices::{DeviceSpec, DeviceTable};
use super::facts::{FactBook, SIZES, WORK};
use super::memory::{Memory, MemoryModel};
use super::outside::{BEYOND, Ranges};
use super::time_model::{TimeModel, TimeOptions};
use super::transfer::{device_key, model_key};
use crate::domain::text::counted;
use crate::domain::{Device, Example, Forecast, Prediction, Subject, Tier};

/// What is added to the 90 % reach of a new device whose rates were measured, where it is compared with devices that are
/// known by their data sheets, or the reverse: a factor of two, our choice. A product reaches from half of a sheet's peak to
/// all of it.
const TWO_SCALES: f64 = std::f64::consts::LN_2;

/// By how much the cards of the figure that stands in for untried ones differed in their rates, about.
const PUBLISHED_SPAN: f64 = 3.0;

/// Share of what being outside of what was measured adds to the reach of times, that it adds to that of memory: arithmetic
/// carries further there.
const MEMORY_SHARE: f64 = 0.5;

/// The format of an exported forecaster.
pub const FORMAT: u32 = 1;

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
    ranges: Ranges,
    /// Where a plain baseline was better than what is learned.
    plain: Vec<Plain>,
    /// Only where one of them answers.
    baselines: Option<Baselines>,
    /// One subject for each way in which something was run.
    ways: Vec<Subject>,
    /// Measurements that came after the fit, by the device that they anchor.
    #[serde(default, skip)]
    own: BTreeMap<String, usize>,
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
        let Calibrated { calibration, plain } = calibrate(&usable, devices, &options.time, &mut time);
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
            ranges: Ranges::of(&usable),
            ways: ways_of(&usable),
            baselines: (!plain.is_empty()).then(|| Baselines::new(&usable)),
            plain,
            own: BTreeMap::new(),
        })
    }

    /// Takes measurements that came after the fit, for example the user's own beside a prior: those of devices that the
    /// model does not know anchor its forecasts there, and memory is learned from all of them. Answers how many measurements
    /// anchor.
    pub fn anchor_by(&mut self, examples: &[&Example]) -> usize {
        self.own = self.time.anchor_by(examples);
        let new: Vec<&Example> =
            examples.iter().copied().filter(|example| self.own.contains_key(&device_key(&example.subject))).collect();
        self.memory.extend(MemoryModel::fit(examples, self.time.book()));
        self.ranges.extend(&new);
        self.ways.extend(ways_of(&new));
        self.own.values().sum()
    }

    /// The model of time.
    pub fn time(&self) -> &TimeModel {
        &self.time
    }

    /// Adds the rows of a table that the forecaster does not know. A row of a device that it was fitted on comes too late:
    /// what was fitted holds for the rates, or the want of them, of that time.
    pub fn add_devices(&mut self, table: &DeviceTable) {
        let fitted = |row: &DeviceSpec| self.ways.iter().any(|way| row.describes(&way.device));
        let new: Vec<&DeviceSpec> = table.rows().iter().filter(|row| !fitted(row)).collect();
        self.time.add_devices(new.into_iter());
    }

    /// One subject for each way in which something was run - device, engine, version, precision, mode, parameters - at the
    /// batch size that is most frequent there.
    pub fn ways(&self) -> &[Subject] {
        &self.ways
    }

    /// Where a plain baseline answers, because nothing that is learned beat it when both were tried.
    pub fn plain(&self) -> &[Plain] {
        &self.plain
    }

    /// What the plain baseline of a tier says, if one answers there.
    fn plain_answer(&self, subject: &Subject, tier: Tier) -> Option<(Answerer, f64)> {
        let fits = |plain: &&Plain| plain.tier == tier && plain.kind.is_none_or(|kind| kind == subject.device.kind);
        let answerer = self.plain.iter().find(fits)?.answerer;
        let place = match answerer {
            Answerer::Learned => return None,
            Answerer::Roofline => return Some((answerer, self.time.roofline(subject)?)),
            Answerer::Nearest => 0,
            Answerer::Ratio => 1,
        };
        let answers = self.baselines.as_ref()?.predict(&[subject]);
        Some((answerer, answers.first()?[place]?))
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
        let guessed = !known && !self.time.has_rates(&subject.device);
        if guessed && !extrapolate {
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
        // A few rows of a new device say more than a baseline that was chosen without any.
        let plain = if time.anchored { None } else { self.plain_answer(subject, time.tier) };
        let mut gap = self.time.reaches_over(subject);
        if guessed {
            gap = Reached::Kind;
        }
        let kind = (subject.device.kind, self.time.knows_maker(&subject.device));
        let anchors = self.time.anchor_errors(subject);
        let reach = self.calibration.reach(gap, &device_key(subject), kind, anchors);
        let (added, mut outside) = self.ranges.added(subject, facts.multiply_adds);
        let mut longer = added;
        if time.tier == Tier::C && !time.anchored && self.time.mixes_scales(subject) {
            longer += TWO_SCALES;
            outside.push(
                "it is compared with devices whose rates are from data sheets by rates that were measured, or the reverse"
                    .to_owned(),
            );
        }
        let beyond = self.time.beyond_known_rates(subject);
        if time.tier == Tier::C && beyond > PUBLISHED_SPAN {
            longer += BEYOND * (beyond / PUBLISHED_SPAN).ln();
            outside.push(format!("its rates are {beyond:.0} times outside of those of measured devices"));
        }
        let seconds = around(plain.map_or(time.log_seconds, |(_, log_seconds)| log_seconds), reach.longer(longer));
        Ok(Forecast {
            throughput: seconds.reciprocal(1.0),
            latency_ms: seconds.scaled(1e3 * f64::from(subject.batch_size)),
            host_memory_mb: self.memory.predict(subject, &facts, Memory::Host, MEMORY_SHARE * added),
            device_memory_mb: self.memory.predict(subject, &facts, Memory::Device, MEMORY_SHARE * added),
            tier: time.tier,
            learned_from: self.learned_from(subject, time.anchored),
            model_name: match plain {
                Some((answerer, _)) => [answerer.name(), " (nothing learned beat it)"].concat(),
                None => self.time.name(),
            },
            outside,
            subject: Subject {
                device: Device {
                    memory_bytes: subject.device.memory_bytes.or_else(|| self.memory_of(&subject.device)),
                    ..subject.device.clone()
                },
                ..subject.clone()
            },
        })
    }

    /// What the table says of a device's memory, in bytes.
    fn memory_of(&self, device: &Device) -> Option<u64> {
        let gigabytes = self.time.devices().find(device)?.memory_gb?;
        Some((gigabytes * 1e9) as u64)
    }

    fn check(&self, subject: &Subject, multiply_adds: Option<f64>) -> Result<(), PredictError> {
        let bad =
            |reason: &str| Err(PredictError::BadQuestion { model: subject.model.clone(), reason: reason.to_owned() });
        if subject.batch_size == 0 {
            return bad("a batch of 0 samples takes no time");
        }
        for (what, value, range) in [
            ("multiply-adds are", subject.multiply_adds, &WORK),
            ("parameters are", subject.parameter_count, &SIZES),
            ("activations are", subject.activation_count, &SIZES),
            ("input is", subject.input_elements(), &SIZES),
        ] {
            if value.is_some_and(|value| !range.contains(&value)) {
                return bad(&["its ", what, " of no size that a network has"].concat());
            }
        }
        if multiply_adds.is_none() {
            return bad("its multiply-adds are not known: measure or import one row of it that says them");
        }
        Ok(())
    }

    fn learned_from(&self, subject: &Subject, anchored: bool) -> String {
        let provenance = &self.provenance;
        let anchors = match self.own.get(&device_key(subject)) {
            Some(own) => format!("; anchored by {own} of your own on this device"),
            None if anchored => ", a few of them of this device".to_owned(),
            None => String::new(),
        };
        let source = if provenance.source.is_empty() { String::new() } else { format!(" ({})", provenance.source) };
        format!(
            "{} of {} on {}{source}{anchors}",
            counted(provenance.rows, "measurement", "measurements"),
            counted(provenance.models, "model", "models"),
            counted(provenance.devices.len(), "device", "devices")
        )
    }

    /// How far forecasts reach where that was tried, and where a plain baseline answers, as JSON.
    ///
    /// # Errors
    /// What serde refuses.
    pub fn evaluation_json(&self) -> Result<String, PredictError> {
        let evaluation = serde_json::json!({ "reaches": self.calibration, "plain": self.plain });
        serde_json::to_string(&evaluation).map_err(|source| PredictError::NotAModel { source })
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
        if forecaster.time.index() {
            Ok(forecaster)
        } else {
            let source = serde::de::Error::custom("its rows or trees do not hold together");
            Err(PredictError::NotAModel { source })
        }
    }
}

fn ways_of(examples: &[&Example]) -> Vec<Subject> {
    let mut ways: BTreeMap<String, BTreeMap<u32, (usize, &Subject)>> = BTreeMap::new();
    for example in examples {
        let subject = &example.subject;
        let batches = ways.entry(setting_key(subject)).or_default();
        batches.entry(subject.batch_size).or_insert((0, subject)).0 += 1;
    }
    let most = ways.into_values().filter_map(|batches| batches.into_values().max_by_key(|(count, _)| *count));
    most.map(|(_, subject)| subject.clone()).collect()
}
