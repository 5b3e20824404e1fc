//! Peak memory: what the runtime takes, parameters with their gradients and optimizer state, activations and inputs, each
//! stretched by a factor that is fitted where memory was measured.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::conformal::Reach;
use super::facts::{FactBook, Facts};
use super::forecaster::{around, folds_of};
use super::roofline::bytes_of;
use super::stretch::stretches;
use super::transfer::model_key;
use crate::domain::{DeviceKind, Example, Mode, Precision, Prediction, Subject};

/// Runtime, parameters, activations, inputs.
const TERMS: usize = 4;

/// Bytes of each.
type Terms = [f64; TERMS];

/// What a process or a device holds before any network is there, as a unit.
const RUNTIME: f64 = 100e6;

/// Folds over models that say how far answers reach.
const FOLDS: usize = 5;

/// Answers that were tried, below which nothing is said of their reach.
const TRIED: usize = 10;

/// What is taken where nothing was tried: a factor of 1.6, and of four.
const UNTRIED: Reach = Reach { half: 0.47, ninety: 1.4 };

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Memory {
    /// Of the process.
    Host,
    /// On the device.
    Device,
}

/// Fitted stretches of the terms, and how far answers reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryModel {
    stretches: BTreeMap<String, Terms>,
    reaches: BTreeMap<String, Reach>,
    /// What measured models take beyond that, by their narrowest group (a logarithm).
    models: BTreeMap<String, f64>,
}

/// The terms in bytes; `None` where the parameters are not known. Without activations, their share of the arithmetic in
/// common networks stands in (one activation for 300 multiply-adds).
fn terms_of(subject: &Subject, facts: &Facts) -> Option<Terms> {
    let parameters = facts.parameter_count?;
    let bytes = bytes_of(subject.precision);
    let activations = facts.activation_count.or(facts.multiply_adds.map(|work| work / 300.0)).unwrap_or_default();
    let input = facts.input_elements.unwrap_or_default() * 4.0;
    let batch = f64::from(subject.batch_size);
    // Mixed precision keeps its weights in single precision, and copies.
    let weight_bytes = if subject.precision == Precision::Amp { 6.0 } else { bytes };
    let state = match subject.mode {
        Mode::Inference => weight_bytes,
        Mode::Explanation => weight_bytes + 4.0,
        Mode::Training => match subject.parameters.get("optimizer").and_then(|value| value.as_str()) {
            // Gradients; one moment with momentum, two with Adam.
            Some(name) if name.starts_with("adam") => weight_bytes + 12.0,
            Some(_) => weight_bytes + 8.0,
            None => weight_bytes + 10.0,
        },
    };
    Some([RUNTIME, parameters * state, batch * activations * bytes, batch * input])
}

/// What is taken for granted before anything was measured, chosen by us as round numbers of the right size: in inference a
/// sixth of the activations lives at a time, in training one and a half times all of them; a GPU's runtime takes 900 MB of
/// the host and 350 MB of the card, and the host holds the weights once while they are loaded.
fn prior(subject: &Subject, memory: Memory) -> Terms {
    let living = if subject.mode == Mode::Inference { 1.0 / 6.0 } else { 1.5 };
    match (memory, subject.device.kind) {
        (Memory::Host, DeviceKind::Cpu) => [0.6, 1.0, living, 1.0],
        (Memory::Host, _) => [9.0, 1.0, 0.01, 1.0],
        (Memory::Device, _) => [3.5, 1.0, living, 1.0],
    }
}

/// Peak memory in MB by arithmetic alone; `None` where the parameters are not known.
pub fn arithmetic_mb(subject: &Subject, facts: &Facts, memory: Memory) -> Option<f64> {
    Some(sum_mb(terms_of(subject, facts)?, prior(subject, memory)))
}

fn sum_mb(terms: Terms, stretches: Terms) -> f64 {
    terms.iter().zip(&stretches).map(|(term, stretch)| term * stretch).sum::<f64>() / 1e6
}

/// The groups of a subject, each within the one before it: kind of device and mode, engine, precision.
fn keys(subject: &Subject, memory: Memory) -> [String; 3] {
    let base = format!("{memory:?}|{}|{}", subject.device.kind, subject.mode);
    let engine = [&base, subject.engine.as_str()].map(str::to_owned).join("|");
    let precision = [&engine, &subject.precision.to_string()].map(String::as_str).join("|");
    [base, engine, precision]
}

/// A model in its narrowest group.
fn own_key(subject: &Subject, memory: Memory) -> String {
    let [.., precision] = keys(subject, memory);
    [precision, model_key(subject)].join("|")
}

/// A measured peak.
struct Row<'e> {
    subject: &'e Subject,
    memory: Memory,
    terms: Terms,
    bytes: f64,
}

impl Row<'_> {
    /// What arithmetic alone says, in MB.
    fn arithmetic(&self) -> f64 {
        sum_mb(self.terms, prior(self.subject, self.memory))
    }
}

/// Whether nothing learned beat arithmetic alone on hidden models, where both were tried for the kind of device and mode of a
/// group.
fn arithmetic_is_better(tried: &[(&Row<'_>, f64)], group: &str) -> bool {
    let of_group = |row: &Row<'_>| {
        let [base, ..] = keys(row.subject, row.memory);
        group == base || group.strip_prefix(&base).is_some_and(|rest| rest.starts_with('|'))
    };
    let (learned, plain): (Vec<f64>, Vec<f64>) = tried
        .iter()
        .filter(|(row, _)| of_group(row))
        .map(|(row, learned)| {
            let missed = |answer: f64| (row.bytes / 1e6 / answer).ln().abs();
            (missed(*learned), missed(row.arithmetic()))
        })
        .unzip();
    match (crate::stats::median(&learned), crate::stats::median(&plain)) {
        (Some(learned_error), Some(plain_error)) => learned.len() >= TRIED && plain_error <= learned_error,
        _ => false,
    }
}

fn rows_of<'e>(examples: &[&'e Example], book: &FactBook) -> Vec<Row<'e>> {
    let mut rows = Vec::new();
    for example in examples {
        for (memory, value) in [(Memory::Host, example.host_memory_mb), (Memory::Device, example.device_memory_mb)] {
            let measured = value.filter(|value| value.is_finite() && *value > 0.0);
            let terms = terms_of(&example.subject, &book.facts(&example.subject));
            if let Some((value, terms)) = measured.zip(terms) {
                rows.push(Row { subject: &example.subject, memory, terms, bytes: value * 1e6 });
            }
        }
    }
    rows
}

impl MemoryModel {
    /// Learns what examples measured, and by hiding models in turn how far that reaches.
    pub fn fit(examples: &[&Example], book: &FactBook) -> Self {
        let rows = rows_of(examples, book);
        let mut model = Self::fit_stretches(&rows.iter().collect::<Vec<_>>());
        let tried = tried(&rows);
        model.stretches.retain(|key, _| !arithmetic_is_better(&tried, key));
        let mut missed: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (row, learned) in &tried {
            let keys = keys(row.subject, row.memory);
            let answer = if model.stretches.contains_key(&keys[0]) { *learned } else { row.arithmetic() };
            for key in keys {
                missed.entry(key).or_default().push((row.bytes / 1e6 / answer).ln());
            }
        }
        missed.retain(|_, residuals| residuals.len() >= TRIED);
        let mut own: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for row in &rows {
            let answer = sum_mb(row.terms, model.stretches_of(row.subject, row.memory));
            own.entry(own_key(row.subject, row.memory)).or_default().push((row.bytes / 1e6 / answer).ln());
        }
        // One row is half believed, three are by three quarters.
        model.models = own
            .into_iter()
            .map(|(key, missed)| (key, missed.iter().sum::<f64>() / (missed.len() as f64 + 1.0)))
            .collect();
        model.reaches = missed.into_iter().filter_map(|(key, residuals)| Some((key, Reach::of(&residuals)?))).collect();
        model
    }

    /// Takes what another model knows; where both know something, the other one holds.
    pub fn extend(&mut self, other: Self) {
        self.stretches.extend(other.stretches);
        self.reaches.extend(other.reaches);
        self.models.extend(other.models);
    }

    fn fit_stretches(rows: &[&Row<'_>]) -> Self {
        let mut model = Self::default();
        for level in 0..3_usize {
            let mut groups: BTreeMap<[String; 3], Vec<&Row<'_>>> = BTreeMap::new();
            for row in rows {
                let mut keys = keys(row.subject, row.memory);
                // What tells groups of this level apart.
                keys[level + 1..].iter_mut().for_each(String::clear);
                groups.entry(keys).or_default().push(row);
            }
            for (keys, members) in groups {
                let parent = level.checked_sub(1).and_then(|up| model.stretches.get(&keys[up])).copied();
                let lean = parent.unwrap_or_else(|| prior(members[0].subject, members[0].memory));
                let numbers: Vec<(Terms, f64)> = members.iter().map(|row| (row.terms, row.bytes)).collect();
                model.stretches.insert(keys[level].clone(), stretches(&numbers, lean));
            }
        }
        model
    }

    fn stretches_of(&self, subject: &Subject, memory: Memory) -> Terms {
        let keys = keys(subject, memory);
        keys.iter().rev().find_map(|key| self.stretches.get(key)).copied().unwrap_or_else(|| prior(subject, memory))
    }

    /// The forecast in MB; `None` where the model's parameters are not known, and for a processor's device memory. `added` is
    /// what being outside of what was measured adds to the reach.
    pub fn predict(&self, subject: &Subject, facts: &Facts, memory: Memory, added: f64) -> Option<Prediction> {
        if memory == Memory::Device && subject.device.kind == DeviceKind::Cpu {
            return None;
        }
        let answer = sum_mb(terms_of(subject, facts)?, self.stretches_of(subject, memory)).ln()
            + self.models.get(&own_key(subject, memory)).copied().unwrap_or_default();
        // A model that was measured is forecast better than that, by how much was not tried.
        let reach = keys(subject, memory).iter().rev().find_map(|key| self.reaches.get(key)).copied();
        Some(around(answer, reach.unwrap_or(UNTRIED).longer(added)))
    }
}

/// What is said of each row in MB when all of its model are hidden, by folds over the models; rows of a single model have no
/// answer.
fn tried<'r, 'e>(rows: &'r [Row<'e>]) -> Vec<(&'r Row<'e>, f64)> {
    let models: BTreeSet<String> = rows.iter().map(|row| model_key(row.subject)).collect();
    let count = models.len().min(FOLDS);
    if count < 2 {
        return Vec::new();
    }
    let fold_of = folds_of(models, count, 1);
    let mut answers = Vec::new();
    for fold in 0..count {
        let (hidden, known): (Vec<_>, Vec<_>) = rows.iter().partition(|row| fold_of[&model_key(row.subject)] == fold);
        let model = MemoryModel::fit_stretches(&known);
        answers.extend(
            hidden.into_iter().map(|row| (row, sum_mb(row.terms, model.stretches_of(row.subject, row.memory)))),
        );
    }
    answers
}

/// How good forecasts of memory are for models that were not measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryScore {
    /// Which memory.
    pub memory: Memory,
    /// Hidden rows.
    pub rows: usize,
    /// Median absolute percentage error.
    pub median_error_percent: f64,
    /// That of arithmetic alone.
    pub arithmetic_error_percent: f64,
    /// Share of the 50 % intervals that hold the truth.
    pub coverage_50: f64,
    /// Share of the 90 % intervals.
    pub coverage_90: f64,
}

/// Scores of forecasts of memory, all rows of a model hidden at a time; intervals are made from what is not hidden.
pub fn score_memory(examples: &[Example]) -> Vec<MemoryScore> {
    let all: Vec<&Example> = examples.iter().collect();
    let models: BTreeSet<String> = all.iter().map(|example| model_key(&example.subject)).collect();
    let count = models.len().min(FOLDS);
    if count < 2 {
        return Vec::new();
    }
    // Other folds than those that make the intervals.
    let fold_of = folds_of(models, count, 2);
    let book = FactBook::new(all.iter().copied());
    let mut trials: BTreeMap<Memory, Vec<(f64, f64, Prediction)>> = BTreeMap::new();
    for fold in 0..count {
        let (hidden, known): (Vec<&Example>, Vec<&Example>) =
            all.iter().partition(|example| fold_of[&model_key(&example.subject)] == fold);
        let model = MemoryModel::fit(&known, &book);
        for row in rows_of(&hidden, &book) {
            let facts = book.facts(row.subject);
            let answer = model.predict(row.subject, &facts, row.memory, 0.0);
            let arithmetic = arithmetic_mb(row.subject, &facts, row.memory);
            if let Some((answer, arithmetic)) = answer.zip(arithmetic) {
                trials.entry(row.memory).or_default().push((row.bytes / 1e6, arithmetic, answer));
            }
        }
    }
    let score = |(memory, trials): (Memory, Vec<(f64, f64, Prediction)>)| {
        let middle = |error: &dyn Fn(&(f64, f64, Prediction)) -> f64| {
            crate::stats::median(&trials.iter().map(|trial| 100.0 * error(trial).abs()).collect::<Vec<_>>())
        };
        let share = |holds: &dyn Fn(&(f64, f64, Prediction)) -> bool| {
            trials.iter().filter(|trial| holds(trial)).count() as f64 / trials.len() as f64
        };
        Some(MemoryScore {
            memory,
            rows: trials.len(),
            median_error_percent: middle(&|(truth, _, answer)| answer.median / truth - 1.0)?,
            arithmetic_error_percent: middle(&|(truth, arithmetic, _)| arithmetic / truth - 1.0)?,
            coverage_50: share(&|(truth, _, answer)| (answer.half.0..=answer.half.1).contains(truth)),
            coverage_90: share(&|(truth, _, answer)| (answer.ninety.0..=answer.ninety.1).contains(truth)),
        })
    };
    trials.into_iter().filter_map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::forecast::samples::subject;

    fn example(batch: u32, factor: f64) -> Example {
        let mut one = subject("resnet50", "NVIDIA GeForce RTX 3090");
        one.batch_size = batch;
        let expected = arithmetic_mb(&one, &Facts::of(&one), Memory::Device).unwrap();
        Example {
            subject: one,
            throughput: Some(1.0),
            latency_ms: None,
            host_memory_mb: None,
            device_memory_mb: Some(expected * factor),
            runs: 1,
        }
    }

    #[test]
    fn more_of_anything_needs_more_memory() {
        let one = subject("resnet50", "NVIDIA GeForce RTX 3090");
        let need = |change: &dyn Fn(&mut Subject)| {
            let mut changed = one.clone();
            change(&mut changed);
            arithmetic_mb(&changed, &Facts::of(&changed), Memory::Device).unwrap()
        };
        let plain = need(&|_| ());
        assert!(need(&|one| one.batch_size = 128) > plain);
        assert!(need(&|one| one.parameter_count = Some(1e9)) > plain);
        assert!(need(&|one| one.mode = Mode::Training) > plain);
        assert!(need(&|one| one.precision = Precision::Int8) < plain);
    }

    #[test]
    fn a_correction_is_learned_and_narrows_the_interval() {
        let one = subject("resnet50", "NVIDIA GeForce RTX 3090");
        let facts = Facts::of(&one);
        let expected = arithmetic_mb(&one, &facts, Memory::Device).unwrap();
        let before = MemoryModel::default().predict(&one, &facts, Memory::Device, 0.0).unwrap();
        assert!((before.median - expected).abs() < 1e-6 * expected);
        // Reach needs models to hide.
        let examples: Vec<Example> = (1..=40)
            .map(|row| {
                let mut one = example(row, 2.0);
                one.subject.model = format!("model{}", row % 8);
                one
            })
            .collect();
        let model = MemoryModel::fit(&examples.iter().collect::<Vec<_>>(), &FactBook::new(examples.iter()));
        let after = model.predict(&one, &facts, Memory::Device, 0.0).unwrap();
        assert!((after.median / expected - 2.0).abs() < 0.15, "{}", after.median / expected);
        assert!(after.ninety.1 / after.ninety.0 < before.ninety.1 / before.ninety.0);
        assert_eq!(model.predict(&one, &Facts::default(), Memory::Device, 0.0), None);
        let [score] = score_memory(&examples).try_into().unwrap();
        assert!(score.median_error_percent < 10.0 && score.arithmetic_error_percent > 40.0, "{score:?}");
        assert!(score.coverage_90 > 0.8, "{score:?}");
    }

    #[test]
    fn one_model_says_nothing_of_how_far_answers_reach() {
        let examples: Vec<Example> = (1..=40).map(|row| example(row, 2.0)).collect();
        let model = MemoryModel::fit(&examples.iter().collect::<Vec<_>>(), &FactBook::new(examples.iter()));
        let one = &examples[0].subject;
        let answer = model.predict(one, &Facts::of(one), Memory::Device, 0.0).unwrap();
        assert!(answer.ninety.1 / answer.ninety.0 > 10.0, "{answer:?}");
        assert_eq!(score_memory(&examples), Vec::new());
    }
}
