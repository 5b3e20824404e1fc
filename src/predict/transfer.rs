//! What other rows say of one: the same model on other devices, and models of about the same size in the same setting.
//!
//! A deviation is the residual of the base minus the mean of its setting: what a model is faster or slower by than others
//! there. Rows that a question could not see are left out, by the kind of gap: for a pair all of the model on that device,
//! for a family all of the family. So features look in training as they will when they are asked for.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::encoder::{Encoder, size_of, version_number};
use super::facts::Facts;
use super::roofline::is_compiled;
use super::words::Words;
use crate::domain::{DeviceKind, Mode, Precision, Subject};

/// What a question cannot see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Gap {
    /// The model on that device.
    Pair,
    /// The model's whole family.
    Family,
}

/// Neighbours that are asked.
const NEIGHBOURS: usize = 6;

/// Rows of a setting that are searched for neighbours, at most.
const SEARCHED: usize = 2500;

/// Settings whose deviations are features of their own, at most.
const COLUMNS: usize = 24;

/// Features of [`Transfer::features`] before those of single settings.
const SUMMARIES: usize = 10;

/// Where and how something ran, apart from the model: its deviations are comparable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    device: u32,
    kind: DeviceKind,
    precision: Precision,
    mode: Mode,
    engine: String,
    parameters: String,
    compiled: bool,
    version: Option<f64>,
    /// Mean of the residuals, leaning on those of the device.
    mean: f64,
    /// Rows.
    count: usize,
}

impl Setting {
    /// How alike two settings are, apart from the device.
    fn likeness(&self, other: &Self) -> f64 {
        let same = |alike: bool, weight: f64| if alike { weight } else { 0.0 };
        let gap = match (self.version, other.version) {
            (Some(one), Some(other)) => (one - other).abs().min(1.0),
            _ => 0.5,
        };
        same(self.mode == other.mode, 16.0)
            + same(self.kind == other.kind, 8.0)
            + same(self.compiled == other.compiled, 4.0)
            + same(self.parameters == other.parameters, 2.0)
            + same(self.precision == other.precision, 2.0)
            + same(self.engine == other.engine, 2.0)
            - gap
    }
}

/// A measured row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    setting: u32,
    model: u32,
    family: u32,
    sizes: [f32; 5],
    words: Words,
    deviation: f64,
}

/// A row that is asked about.
#[derive(Clone, Debug)]
pub struct Asked {
    setting: Setting,
    setting_id: Option<u32>,
    model: Option<u32>,
    family: Option<u32>,
    sizes: [f32; 5],
    words: Words,
}

impl Asked {
    /// The known words of the model's name.
    pub fn words(&self) -> Words {
        self.words
    }
}

/// Measured rows and how to find them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    devices: BTreeMap<String, u32>,
    models: BTreeMap<String, u32>,
    families: BTreeMap<String, u32>,
    settings: Vec<Setting>,
    rows: Vec<Known>,
    /// Rows of each model.
    #[serde(skip)]
    by_model: HashMap<u32, Vec<u32>>,
    /// Rows of each setting.
    #[serde(skip)]
    by_setting: Vec<Vec<u32>>,
}

/// The device's identity as a text.
pub fn device_key(subject: &Subject) -> String {
    let units = subject.device.compute_units.map(|units| units.to_string()).unwrap_or_default();
    [&subject.device.kind.to_string(), &subject.device.name, &units].map(String::as_str).join("|")
}

/// A model at a shape.
pub fn model_key(subject: &Subject) -> String {
    [&subject.model, &subject.variant, &subject.input_shape].map(String::as_str).join("|")
}

fn number(ids: &mut BTreeMap<String, u32>, text: String) -> u32 {
    let next = ids.len() as u32;
    *ids.entry(text).or_insert(next)
}

fn sizes(facts: &Facts, batch: u32) -> [f32; 5] {
    let [work, activations, parameters, input] =
        size_of(facts).map(|value| if value.is_nan() { 0.0 } else { value as f32 });
    [2.0 * work, 2.0 * activations, 1.4 * parameters, input, 0.5 * (batch.max(1) as f32).ln()]
}

fn setting_of(subject: &Subject, device: u32) -> Setting {
    let parameters = subject.parameters.iter().map(|(name, value)| [name, "=", &value.to_string()].concat());
    let version = version_number(subject);
    Setting {
        device,
        kind: subject.device.kind,
        precision: subject.precision,
        mode: subject.mode,
        engine: subject.engine.clone(),
        parameters: parameters.collect::<Vec<_>>().join(","),
        compiled: is_compiled(subject),
        version: version.is_finite().then_some(version),
        mean: 0.0,
        count: 0,
    }
}

impl Transfer {
    /// Learns from subjects with their facts, residuals and words.
    pub fn fit(rows: &[(&Subject, Facts, f64, Words)]) -> Self {
        let mut transfer = Self::default();
        let mut setting_ids: HashMap<String, u32> = HashMap::new();
        for (subject, facts, residual, words) in rows {
            let device = number(&mut transfer.devices, device_key(subject));
            let setting = setting_of(subject, device);
            let key = [
                &device.to_string(),
                &setting.precision.to_string(),
                &setting.mode.to_string(),
                &setting.engine,
                &setting.parameters,
                subject.engine_version.as_deref().unwrap_or_default(),
            ]
            .map(str::to_owned)
            .join("|");
            let next = setting_ids.len() as u32;
            let id = *setting_ids.entry(key).or_insert_with(|| {
                transfer.settings.push(setting);
                next
            });
            transfer.rows.push(Known {
                setting: id,
                model: number(&mut transfer.models, model_key(subject)),
                family: number(&mut transfer.families, subject.leading_word().to_owned()),
                sizes: sizes(facts, subject.batch_size),
                words: *words,
                deviation: *residual,
            });
        }
        transfer.centre();
        transfer.index();
        transfer
    }

    /// Takes the mean of each setting off; a setting with few rows leans on its device, and that on all.
    fn centre(&mut self) {
        let mut by_device: BTreeMap<(u32, Mode, bool), Vec<f64>> = BTreeMap::new();
        let mut by_setting: Vec<Vec<f64>> = vec![Vec::new(); self.settings.len()];
        for row in &self.rows {
            let setting = &self.settings[row.setting as usize];
            by_device.entry((setting.device, setting.mode, setting.compiled)).or_default().push(row.deviation);
            by_setting[row.setting as usize].push(row.deviation);
        }
        for (setting, values) in self.settings.iter_mut().zip(&by_setting) {
            let all = &by_device[&(setting.device, setting.mode, setting.compiled)];
            let of_all = all.iter().sum::<f64>() / (all.len() as f64 + 2.0);
            setting.mean = (values.iter().sum::<f64>() + 4.0 * of_all) / (values.len() as f64 + 4.0);
            setting.count = values.len();
        }
        for row in &mut self.rows {
            row.deviation -= self.settings[row.setting as usize].mean;
        }
    }

    /// Whether every row has its setting: a file may hold anything.
    pub fn is_whole(&self) -> bool {
        self.rows.iter().all(|row| (row.setting as usize) < self.settings.len())
    }

    /// Builds what is not stored; after reading a model from a file.
    pub fn index(&mut self) {
        self.by_model.clear();
        self.by_setting = vec![Vec::new(); self.settings.len()];
        for (at, row) in self.rows.iter().enumerate() {
            self.by_model.entry(row.model).or_default().push(at as u32);
            self.by_setting[row.setting as usize].push(at as u32);
        }
    }

    /// The deviation of a row that was learned.
    pub fn deviation(&self, row: usize) -> f64 {
        self.rows[row].deviation
    }

    /// The setting of a row that was learned.
    pub fn setting(&self, row: usize) -> u32 {
        self.rows[row].setting
    }

    /// The settings.
    pub fn settings(&self) -> usize {
        self.settings.len()
    }

    /// Whether something was measured on the device.
    pub fn knows_device(&self, subject: &Subject) -> bool {
        self.devices.contains_key(&device_key(subject))
    }

    /// Whether something was measured on the device in this mode, compiled or not as it is asked for; `None` where the device
    /// is not known in this mode at all.
    pub fn knows_way(&self, device: &str, mode: Mode, compiled: bool) -> Option<bool> {
        let device = *self.devices.get(device)?;
        let mut there =
            self.settings.iter().filter(|setting| setting.device == device && setting.mode == mode).peekable();
        there.peek()?;
        Some(there.any(|setting| setting.compiled == compiled))
    }

    /// Whether a model of the family was measured.
    pub fn knows_family(&self, subject: &Subject) -> bool {
        self.families.contains_key(subject.leading_word())
    }

    /// Whether the model was measured at this shape.
    pub fn knows_model(&self, subject: &Subject) -> bool {
        self.models.contains_key(&model_key(subject))
    }

    /// A learned row as one that is asked about.
    pub fn asked_again(&self, row: usize) -> Asked {
        let known = &self.rows[row];
        Asked {
            setting: self.settings[known.setting as usize].clone(),
            setting_id: Some(known.setting),
            model: Some(known.model),
            family: Some(known.family),
            sizes: known.sizes,
            words: known.words,
        }
    }

    /// Looks a subject up.
    pub fn ask(&self, subject: &Subject, facts: &Facts, encoder: &Encoder) -> Asked {
        let device = self.devices.get(&device_key(subject)).copied().unwrap_or(u32::MAX);
        let setting = setting_of(subject, device);
        // The setting itself, or the one most like it on the device.
        let candidates = self.settings.iter().enumerate().filter(|(_, one)| one.device == device);
        let nearest = candidates.max_by(|(one_at, one), (other_at, other)| {
            one.likeness(&setting).total_cmp(&other.likeness(&setting)).then(other_at.cmp(one_at))
        });
        Asked {
            setting_id: nearest.map(|(at, _)| at as u32),
            model: self.models.get(&model_key(subject)).copied(),
            family: self.families.get(subject.leading_word()).copied(),
            sizes: sizes(facts, subject.batch_size),
            words: encoder.words_of(&subject.model),
            setting,
        }
    }

    /// The setting that stands for the one that is asked about.
    pub fn setting_of(&self, asked: &Asked) -> Option<u32> {
        asked.setting_id
    }

    /// The mean residual of the setting.
    pub fn mean_of(&self, asked: &Asked) -> f64 {
        asked.setting_id.map_or(0.0, |id| self.settings[id as usize].mean)
    }

    /// The deviations of the same model in each setting of other devices; NaN where it was not measured.
    pub fn elsewhere(&self, asked: &Asked) -> Vec<f64> {
        let mut columns = vec![f64::NAN; self.settings.len().min(COLUMNS)];
        let rows = asked.model.and_then(|model| self.by_model.get(&model)).into_iter().flatten();
        for row in rows.map(|&row| &self.rows[row as usize]) {
            let own = self.settings[row.setting as usize].device == asked.setting.device;
            if let Some(column) = columns.get_mut(row.setting as usize).filter(|_| !own) {
                *column = if column.is_nan() { row.deviation } else { f64::midpoint(*column, row.deviation) };
            }
        }
        columns
    }

    /// The deviation of the same model on the same device, and how far it holds, between 0 and 1: most where only the batch
    /// size differs.
    pub fn measured_here(&self, asked: &Asked) -> Option<(f64, f64)> {
        let mut best: Option<(f64, f64)> = None;
        let rows = asked.model.and_then(|model| self.by_model.get(&model)).into_iter().flatten();
        for row in rows.map(|&row| &self.rows[row as usize]) {
            let setting = &self.settings[row.setting as usize];
            if setting.device != asked.setting.device || setting.mode != asked.setting.mode {
                continue;
            }
            let same = if Some(row.setting) == asked.setting_id { 0.9 } else { 0.4 };
            let batch = f64::from((row.sizes[4] - asked.sizes[4]).abs());
            let weight = same * (-batch / 2.0).exp();
            if best.is_none_or(|(_, most)| weight > most) {
                best = Some((row.deviation, weight));
            }
        }
        best
    }

    /// What is known from elsewhere: of the same model (for a pair), and of neighbours. NaN where nothing is.
    pub fn features(&self, asked: &Asked, gap: Gap) -> Vec<f64> {
        let (near, distance, spread, own_words) = self.neighbours(asked, gap);
        let mut features = vec![near, distance, spread, own_words];
        if gap == Gap::Family {
            return features;
        }
        let (mut best, mut likeness) = (f64::NAN, f64::NEG_INFINITY);
        let (mut alike, mut other) = (Vec::new(), Vec::new());
        let rows = asked.model.and_then(|model| self.by_model.get(&model)).into_iter().flatten();
        for row in rows.map(|&row| &self.rows[row as usize]) {
            let setting = &self.settings[row.setting as usize];
            if setting.device == asked.setting.device {
                continue;
            }
            let like = setting.likeness(&asked.setting);
            if like > likeness {
                (best, likeness) = (row.deviation, like);
            }
            if setting.kind == asked.setting.kind { &mut alike } else { &mut other }.push(row.deviation);
        }
        let mean = |values: &[f64]| crate::stats::mean(values).unwrap_or(f64::NAN);
        features.extend([
            best,
            likeness.max(-100.0),
            mean(&alike),
            mean(&other),
            alike.len() as f64,
            other.len() as f64,
        ]);
        debug_assert_eq!(features.len(), SUMMARIES);
        features.extend(self.elsewhere(asked));
        features
    }

    /// Mean deviation of the nearest rows of the setting by size and words, their distance and spread, and the mean of those
    /// that share most words.
    fn neighbours(&self, asked: &Asked, gap: Gap) -> (f64, f64, f64, f64) {
        let nothing = (f64::NAN, f64::NAN, f64::NAN, f64::NAN);
        let Some(rows) = asked.setting_id.and_then(|id| self.by_setting.get(id as usize)) else {
            return nothing;
        };
        let step = rows.len().div_ceil(SEARCHED).max(1);
        let mut nearest: Vec<(f32, f64)> = Vec::with_capacity(NEIGHBOURS + 1);
        let (mut sum, mut weight) = (0.0, 0.0);
        for row in rows.iter().step_by(step).map(|&row| &self.rows[row as usize]) {
            let hidden = match gap {
                Gap::Pair => Some(row.model) == asked.model,
                Gap::Family => Some(row.family) == asked.family || Some(row.model) == asked.model,
            };
            if hidden {
                continue;
            }
            let unlike = 1.0 - row.words.likeness(&asked.words).unwrap_or_default() as f32;
            let gaps = row.sizes.iter().zip(&asked.sizes).map(|(one, other)| (one - other) * (one - other));
            let by_size: f32 = gaps.sum();
            let distance = by_size + 2.0 * unlike;
            if unlike < 0.75 {
                let like = f64::from((1.0 - unlike).powi(3) * (-by_size / 20.0).exp());
                sum += like * row.deviation;
                weight += like;
            }
            if nearest.len() < NEIGHBOURS || nearest.last().is_some_and(|(last, _)| distance < *last) {
                let place = nearest.partition_point(|(known, _)| *known <= distance);
                nearest.insert(place, (distance, row.deviation));
                nearest.truncate(NEIGHBOURS);
            }
        }
        if nearest.is_empty() {
            return nothing;
        }
        let weights: Vec<f64> = nearest.iter().map(|(distance, _)| 1.0 / (0.1 + f64::from(*distance))).collect();
        let total: f64 = weights.iter().sum();
        let mean = nearest.iter().zip(&weights).map(|((_, value), weight)| value * weight).sum::<f64>() / total;
        let spread = nearest.iter().zip(&weights).map(|((_, value), weight)| (value - mean).powi(2) * weight);
        let by_words = if weight > 1e-6 { sum / weight } else { f64::NAN };
        (mean, f64::from(nearest[0].0).sqrt(), (spread.sum::<f64>() / total).sqrt(), by_words)
    }
}
