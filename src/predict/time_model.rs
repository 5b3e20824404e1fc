//! The model of time: the roofline, and what corrects it by how much is known. All on the logarithm of the seconds a sample
//! takes.
//!
//! | known | what corrects the roofline |
//! | --- | --- |
//! | below 100 rows | a Gaussian process and a ridge |
//! | up to a few thousand | the same blended with boosting, the less of it the more rows there are |
//! | the model on other devices | a ridge a setting on its deviations elsewhere, and boosting on what that leaves |
//! | a new device | a known device of its kind, moved by the difference of the two rooflines |
//! | a few rows of a new device | the same, shifted by what those rows say |

mod anchored;
mod answer;
mod stage;

use std::collections::{BTreeMap, BTreeSet};

use ndarray::Array2;
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _,
};
use serde::{Deserialize, Serialize};

use super::PredictError;
use super::boosting::BoostingParams;
use super::conformal::Reached;
use super::devices::{DeviceSpec, DeviceTable};
use super::encoder::Encoder;
use super::facts::{FactBook, Facts};
use super::gaussian_process::{GaussianProcess, Point, WORDS};
use super::ridge::Ridge;
use super::roofline::{Base, Roofline, is_compiled, terms_of};
use super::transfer::{Gap, Transfer, device_key, model_key};
use super::words::Words;
use crate::domain::{Device, DeviceKind, Example, Subject, Tier};
use anchored::Anchors;
use stage::Stage;

/// Rows from which boosting takes part.
const BOOSTED_FROM: usize = 100;

/// Rows from which the Gaussian process has no part any more.
const BOOSTED_ALONE: usize = 4000;

/// A device with fewer rows is new, with anchors, if others of its kind have many more.
const THIN_DEVICE: usize = 40;

/// Share of the trees in forecasts for new families, at most: sizes and words go on more smoothly in the Gaussian process.
const FAMILY_SHARE: f64 = 0.65;

/// Models of a kind of device and way of running from which new ones are forecast by a Gaussian process, at most.
const KIN: usize = 600;

/// Weight of words in that process: of a new family they say most.
const KIN_WORDS: f64 = 3.0;

/// Share of that process in what is not the trees'.
const KIN_SHARE: f64 = 0.8;

/// How a model is fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeOptions {
    /// The seed.
    pub seed: u64,
    /// The trees.
    pub boosting: BoostingParams,
    /// Whether deviations of the same model elsewhere are used.
    pub transfer: bool,
    /// Whether what answers for new families is fitted.
    pub family: bool,
}

impl Default for TimeOptions {
    fn default() -> Self {
        Self { seed: 1, boosting: BoostingParams::default(), transfer: true, family: true }
    }
}

/// What is fitted on the devices that have enough rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeModel {
    devices: DeviceTable,
    book: FactBook,
    encoder: Encoder,
    roofline: Roofline,
    transfer: Transfer,
    /// One subject a known device, by its key.
    known_devices: BTreeMap<String, Device>,
    pair: Option<Stage>,
    family: Option<Stage>,
    thin: Option<Thin>,
    /// What new models deviate by, from models of many sizes and names, by kind of device and way of running.
    kin: BTreeMap<String, GaussianProcess>,
    /// Corrections of devices with few rows.
    anchored: BTreeMap<String, Anchors>,
    /// Share of the trees.
    boosted_share: f64,
    /// Rows.
    pub rows: usize,
}

/// Models for little data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Thin {
    process: GaussianProcess,
    ridge: Option<Ridge>,
}

/// The answer of the time model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogTime {
    /// Logarithm of the seconds a sample takes.
    pub log_seconds: f64,
    /// How far it reaches.
    pub tier: Tier,
    /// Whether the device was anchored by a few rows.
    pub anchored: bool,
}

/// A usable row.
struct Row<'e> {
    subject: &'e Subject,
    facts: Facts,
    spec: Option<&'e DeviceSpec>,
    log_seconds: f64,
}

/// Logarithm of the seconds a sample takes; `None` without a time, or with one that was not measured: less than a nanosecond,
/// more than a day.
fn log_seconds_of(example: &Example) -> Option<f64> {
    Some(example.seconds_per_sample()?.ln()).filter(|log_seconds| (-20.8..11.4).contains(log_seconds))
}

fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    let width = rows.first().map_or(0, Vec::len);
    Array2::from_shape_fn((rows.len(), width), |(row, column)| rows[row][column])
}

impl TimeModel {
    /// Fits examples; those without a time are passed over.
    ///
    /// # Errors
    /// Fewer than eight usable rows, or all with the same time.
    pub fn fit(examples: &[&Example], devices: &DeviceTable, options: &TimeOptions) -> Result<Self, PredictError> {
        let book = FactBook::new(examples.iter().copied());
        let mut specs: BTreeMap<(DeviceKind, &str, Option<u32>), Option<&DeviceSpec>> = BTreeMap::new();
        let rows: Vec<Row<'_>> = examples
            .iter()
            .filter_map(|example| {
                let device = &example.subject.device;
                Some(Row {
                    log_seconds: log_seconds_of(example)?,
                    subject: &example.subject,
                    facts: book.facts(&example.subject),
                    spec: *specs
                        .entry((device.kind, &device.name, device.compute_units))
                        .or_insert_with(|| devices.find(device)),
                })
            })
            .collect();
        if rows.len() < super::LEAST_ROWS {
            return Err(PredictError::TooFew { found: rows.len(), needed: super::LEAST_ROWS });
        }
        if rows.iter().all(|row| (row.log_seconds - rows[0].log_seconds).abs() < 1e-9) {
            return Err(PredictError::Constant { rows: rows.len() });
        }
        let mut by_device: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            by_device.entry(device_key(row.subject)).or_default().push(at);
        }
        let rich = |members: &[usize]| {
            let device = &rows[members[0]].subject.device;
            let own = members.len();
            let of_others =
                || rows.iter().filter(|row| row.subject.device.kind == device.kind && row.subject.device != *device);
            // What another engine takes elsewhere says little: such a device stands on its own rows.
            let engines: BTreeSet<&str> = members.iter().map(|&at| rows[at].subject.engine.as_str()).collect();
            let shared = of_others().any(|row| engines.contains(row.subject.engine.as_str()));
            own >= THIN_DEVICE || of_others().count() < 200.max(10 * own) || !shared && own >= super::LEAST_ROWS
        };
        let (kept, few): (Vec<_>, Vec<_>) = by_device.into_iter().partition(|(_, members)| rich(members));
        let mut core: Vec<usize> = kept.into_iter().flat_map(|(_, members)| members).collect();
        core.sort_unstable();
        let core: Vec<&Row<'_>> = core.into_iter().map(|at| &rows[at]).collect();
        let mut model = Self::fit_core(&core, book.clone(), devices, options)?;
        model.rows = rows.len();
        for (key, members) in few {
            model.anchor(key, members.into_iter().map(|at| (rows[at].subject, rows[at].log_seconds)));
        }
        Ok(model)
    }

    fn fit_core<'r>(
        rows: &[&Row<'r>],
        book: FactBook,
        devices: &DeviceTable,
        options: &TimeOptions,
    ) -> Result<Self, PredictError> {
        let encoder = Encoder::fit(rows.iter().map(|row| row.subject));
        let mut by_model: BTreeMap<&str, Words> = BTreeMap::new();
        let mut words_of = |model: &'r str| *by_model.entry(model).or_insert_with(|| encoder.words_of(model));
        let words: Vec<Words> = rows.iter().map(|row| words_of(&row.subject.model)).collect();
        let terms: Vec<_> = rows.iter().map(|row| terms_of(row.subject, &row.facts, row.spec)).collect();
        let with_terms: Vec<_> = rows
            .iter()
            .zip(&terms)
            .filter_map(|(row, terms)| Some((row.subject, (*terms)?, row.log_seconds)))
            .collect();
        let roofline = Roofline::fit(&with_terms);
        // A model whose work is not known has the median of all as its base.
        let plain =
            crate::stats::median(&rows.iter().map(|row| row.log_seconds).collect::<Vec<_>>()).unwrap_or_default();
        let bases: Vec<Option<Base>> =
            rows.iter().zip(&terms).map(|(row, terms)| roofline.base(row.subject, *terms, None)).collect();
        let residuals: Vec<f64> = rows
            .iter()
            .zip(&bases)
            .map(|(row, base)| row.log_seconds - base.map_or(plain, |base| base.log_seconds))
            .collect();
        let learned: Vec<_> =
            (0..rows.len()).map(|at| (rows[at].subject, rows[at].facts, residuals[at], words[at])).collect();
        let transfer = Transfer::fit(&learned);
        let mut model = Self {
            devices: devices.clone(),
            book,
            encoder,
            roofline,
            transfer,
            known_devices: rows.iter().map(|row| (device_key(row.subject), row.subject.device.clone())).collect(),
            pair: None,
            family: None,
            thin: None,
            kin: BTreeMap::new(),
            anchored: BTreeMap::new(),
            boosted_share: boosted_share(rows.len()),
            rows: rows.len(),
        };
        if model.boosted_share < 1.0 || options.family {
            model.thin = model.fit_thin(rows, &residuals, &bases, options);
        }
        if options.family && model.boosted_share > 0.0 {
            model.kin = model.fit_kin(rows, options);
        }
        if model.boosted_share > 0.0 {
            let plain_features: Vec<Vec<f64>> = rows
                .par_iter()
                .zip(&bases)
                .zip(&words)
                .map(|((row, base), words)| model.encoder.encode(row.subject, &row.facts, *base, row.spec, *words))
                .collect();
            let stage = |gap| model.fit_stage(gap, &plain_features, options);
            let with_pair = options.transfer && model.known_devices.len() > 1;
            let with_family = options.family || !with_pair;
            let (pair, family) = rayon::join(
                || with_pair.then(|| stage(Gap::Pair)).transpose(),
                || with_family.then(|| stage(Gap::Family)).transpose(),
            );
            (model.pair, model.family) = (pair?, family?);
        }
        Ok(model)
    }

    fn fit_thin(
        &self,
        rows: &[&Row<'_>],
        residuals: &[f64],
        bases: &[Option<Base>],
        options: &TimeOptions,
    ) -> Option<Thin> {
        let mut chosen: Vec<usize> = (0..rows.len()).collect();
        fastrand::Rng::with_seed(options.seed).shuffle(&mut chosen);
        chosen.truncate(GaussianProcess::MOST);
        let points = chosen.iter().map(|&at| self.point_of(rows[at])).collect();
        let values: Vec<f64> = chosen.iter().map(|&at| residuals[at]).collect();
        let process = GaussianProcess::fit(points, &values, &[0.05, 0.2, 0.8, 3.0], WORDS)?;
        let features: Vec<Vec<f64>> = chosen
            .iter()
            .map(|&at| {
                let row = rows[at];
                let words = self.encoder.words_of(&row.subject.model);
                self.encoder.encode(row.subject, &row.facts, bases[at], row.spec, words)
            })
            .collect();
        let ridge = Ridge::fit(&matrix(&features), &values, 10.0).ok();
        Some(Thin { process, ridge })
    }

    /// A process a kind of device and way of running, on the mean deviation of each model there.
    fn fit_kin(&self, rows: &[&Row<'_>], options: &TimeOptions) -> BTreeMap<String, GaussianProcess> {
        let mut groups: BTreeMap<String, BTreeMap<String, (usize, Vec<f64>)>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            let models = groups.entry(kin_key(row.subject)).or_default();
            let of_model = models.entry(model_key(row.subject)).or_insert((at, Vec::new()));
            of_model.1.push(self.transfer.deviation(at));
        }
        groups
            .into_par_iter()
            .filter_map(|(key, models)| {
                let mut models: Vec<(usize, Vec<f64>)> = models.into_values().collect();
                fastrand::Rng::with_seed(options.seed).shuffle(&mut models);
                models.truncate(KIN);
                let points = models.iter().map(|(at, _)| self.point_of(rows[*at])).collect();
                let means: Vec<f64> =
                    models.iter().map(|(_, all)| crate::stats::mean(all).unwrap_or_default()).collect();
                Some((key, GaussianProcess::fit(points, &means, &[0.05, 0.2, 0.8, 3.0], KIN_WORDS)?))
            })
            .collect()
    }

    fn point_of(&self, row: &Row<'_>) -> Point {
        self.point_with(row.subject, &row.facts, row.spec)
    }

    /// The row of the table of devices.
    fn spec(&self, subject: &Subject) -> Option<&DeviceSpec> {
        self.devices.find(&subject.device)
    }

    /// Forgets what the same model does elsewhere: where that does not help.
    pub fn drop_transfer(&mut self) {
        if self.family.is_some() {
            self.pair = None;
        }
    }

    /// Whether deviations of the same model elsewhere are used.
    pub fn uses_transfer(&self) -> bool {
        self.pair.is_some()
    }

    /// Builds what is not stored; after reading a model from a file. Answers whether the model is whole: a file may hold
    /// anything.
    pub fn index(&mut self) -> bool {
        let stages = [&self.pair, &self.family].into_iter().flatten();
        let whole = self.transfer.is_whole() && stages.into_iter().all(Stage::is_whole);
        if whole {
            self.transfer.index();
        }
        whole
    }

    /// The device's key and kind of the devices that are known by more than a few rows.
    pub fn known_devices(&self) -> impl Iterator<Item = (&String, &Device)> {
        self.known_devices.iter()
    }

    /// What the rows of a thinly known device missed when they were left out.
    pub fn anchor_errors(&self, subject: &Subject) -> Option<&[f64]> {
        self.anchored.get(&device_key(subject)).map(Anchors::left_out)
    }

    /// A name for what answers.
    pub fn name(&self) -> String {
        let parts = [
            Some("roofline"),
            self.thin.as_ref().map(|_| "gaussian process"),
            self.thin.as_ref().and_then(|thin| thin.ridge.as_ref()).map(|_| "ridge"),
            self.family.as_ref().map(|_| "boosting"),
            self.pair.as_ref().map(|_| "transfer"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" + ")
    }

    /// The facts of a subject, with what rows of the same model say.
    pub fn facts(&self, subject: &Subject) -> Facts {
        self.book.facts(subject)
    }

    /// Adds rows of devices; of those that it was fitted with, the rows stay.
    pub fn add_devices<'s>(&mut self, rows: impl Iterator<Item = &'s DeviceSpec>) {
        for row in rows {
            let known = self.devices.rows().iter().any(|own| {
                let same_units = !(own.is_measured() && row.is_measured()) || own.compute_units == row.compute_units;
                own.kind == row.kind && own.name == row.name && same_units
            });
            if !known {
                self.devices.add(row.clone());
            }
        }
    }

    /// Whether the subject's rates were measured, and those of a known device of its kind are from a data sheet, or the
    /// reverse: peaks that are promised and peaks that are reached are on two scales.
    pub fn mixes_scales(&self, subject: &Subject) -> bool {
        let measured = |device: &Device| self.devices.find(device).map(DeviceSpec::is_measured);
        let own = measured(&subject.device);
        let others = self.known_devices.values().filter(|device| device.kind == subject.device.kind);
        own.is_some() && others.filter_map(measured).any(|other| Some(other) != own)
    }

    /// What is known of models' work.
    pub fn book(&self) -> &FactBook {
        &self.book
    }

    /// The table of devices.
    pub fn devices(&self) -> &DeviceTable {
        &self.devices
    }

    /// Whether something was measured on the device, be it a few rows.
    pub fn knows_device(&self, subject: &Subject) -> bool {
        self.transfer.knows_device(subject) || self.anchored.contains_key(&device_key(subject))
    }

    fn knows_way(&self, subject: &Subject) -> Option<bool> {
        self.transfer.knows_way(&device_key(subject), subject.mode, is_compiled(subject))
    }

    /// How far a forecast of the subject reaches.
    pub fn tier(&self, subject: &Subject) -> Tier {
        // From a device whose rates are not known no way leads to another.
        let same_kind =
            self.known_devices.values().any(|device| device.kind == subject.device.kind && self.has_rates(device));
        if self.transfer.knows_device(subject) {
            if self.transfer.knows_model(subject) { Tier::A } else { Tier::B }
        } else if same_kind {
            Tier::C
        } else {
            Tier::D
        }
    }

    /// The gap between what was measured and the subject.
    pub fn reaches_over(&self, subject: &Subject) -> Reached {
        match self.tier(subject) {
            Tier::A => Reached::Pair,
            Tier::B if self.transfer.knows_family(subject) => Reached::Model,
            Tier::B => Reached::Family,
            Tier::C => Reached::Device { model_is_known: self.transfer.knows_model(subject) },
            Tier::D => Reached::Kind,
        }
    }

    /// Whether the rates of a device are known.
    pub fn has_rates(&self, device: &Device) -> bool {
        self.devices.find(device).is_some_and(DeviceSpec::has_rates)
    }

    /// By what factor the peak rate or the bandwidth of a device lies outside of those of the measured devices of its kind, at
    /// least 1; 1 where nothing can be compared.
    pub fn beyond_known_rates(&self, subject: &Subject) -> f64 {
        let Some(own) = self.spec(subject) else { return 1.0 };
        let known: Vec<&DeviceSpec> = self
            .known_devices
            .values()
            .filter(|device| device.kind == subject.device.kind)
            .filter_map(|device| self.devices.find(device))
            .collect();
        let outside = |rate: &dyn Fn(&DeviceSpec) -> Option<f64>| {
            let rates: Vec<f64> = known.iter().filter_map(|spec| rate(spec)).collect();
            let least = rates.iter().copied().reduce(f64::min)?;
            let most = rates.iter().copied().reduce(f64::max)?;
            let own = rate(own)?;
            Some((own / most).max(least / own).max(1.0))
        };
        let peak = outside(&|spec| spec.peak_tflops(subject.precision)).unwrap_or(1.0);
        peak.max(outside(&|spec| spec.bandwidth_gb_per_second).unwrap_or(1.0))
    }

    /// Whether a device of the same kind and vendor is known.
    pub fn knows_maker(&self, device: &Device) -> bool {
        self.known_devices.values().any(|known| known.kind == device.kind && known.vendor == device.vendor)
    }

    /// The plain roofline.
    pub fn roofline(&self, subject: &Subject) -> Option<f64> {
        let terms = terms_of(subject, &self.facts(subject), self.spec(subject));
        self.roofline.base(subject, terms, None).map(|base| base.log_seconds)
    }
}

fn kin_key(subject: &Subject) -> String {
    let compiled = if is_compiled(subject) { "compiled" } else { "" };
    [subject.device.kind.to_string().as_str(), &subject.mode.to_string(), compiled].join("|")
}

fn boosted_share(rows: usize) -> f64 {
    if rows < BOOSTED_FROM {
        return 0.0;
    }
    let grown = (rows as f64 / BOOSTED_FROM as f64).ln() / (BOOSTED_ALONE as f64 / BOOSTED_FROM as f64).ln();
    (0.3 + 0.7 * grown).min(1.0)
}
