//! Peak memory by arithmetic - weights, activations, gradients, optimizer state, what the runtime itself takes - and a
//! learned correction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::conformal::Reach;
use super::facts::{FactBook, Facts};
use super::roofline::bytes_of;
use crate::domain::{DeviceKind, Example, Mode, Precision, Prediction, Subject};

/// Rows of its own that weigh as much as a group's parent.
const LEANING: f64 = 3.0;

/// What is taken where nothing was measured: a factor of 1.6, and of four.
const UNTRIED: Reach = Reach { half: 0.47, ninety: 1.4 };

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Memory {
    /// Of the process.
    Host,
    /// On the device.
    Device,
}

/// Learned corrections, as logarithms of measured over arithmetic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryModel {
    corrections: BTreeMap<String, f64>,
    reaches: BTreeMap<String, Reach>,
}

/// Peak memory in MB by arithmetic; `None` where the parameters are not known. In inference a few of the activations live
/// at a time (taken as a sixth), in training all of them.
pub fn arithmetic_mb(subject: &Subject, facts: &Facts, memory: Memory) -> Option<f64> {
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
    let living = if subject.mode == Mode::Inference { 1.0 / 6.0 } else { 1.5 };
    let on_processor = subject.device.kind == DeviceKind::Cpu;
    let work = parameters * state + batch * (activations * bytes * living + input);
    let runtime = match (memory, on_processor) {
        (Memory::Host, true) => 150e6,
        (Memory::Host, false) => return Some((parameters * bytes + batch * input + 900e6) / 1e6),
        (Memory::Device, _) => 350e6,
    };
    Some((work + runtime) / 1e6)
}

fn keys(subject: &Subject, memory: Memory) -> [String; 3] {
    let base = format!("{memory:?}|{}|{}", subject.device.kind, subject.mode);
    let engine = [&base, subject.engine.as_str()].map(str::to_owned).join("|");
    let precision = [&engine, &subject.precision.to_string()].map(|text| text.clone()).join("|");
    [base, engine, precision]
}

impl MemoryModel {
    /// Learns what examples measured.
    pub fn fit(examples: &[&Example], book: &FactBook) -> Self {
        let mut ratios: Vec<([String; 3], f64)> = Vec::new();
        for example in examples {
            for (memory, value) in [(Memory::Host, example.host_memory_mb), (Memory::Device, example.device_memory_mb)]
            {
                let measured = value.filter(|value| value.is_finite() && *value > 0.0);
                let expected = arithmetic_mb(&example.subject, &book.facts(&example.subject), memory);
                if let Some((measured, expected)) = measured.zip(expected) {
                    ratios.push((keys(&example.subject, memory), (measured / expected).ln()));
                }
            }
        }
        let mut model = Self::default();
        for level in 0..3_usize {
            let mut groups: BTreeMap<&[String; 3], Vec<f64>> = BTreeMap::new();
            for (keys, ratio) in &ratios {
                groups.entry(keys).or_default().push(*ratio);
            }
            let mut sums: BTreeMap<String, (Vec<f64>, f64)> = BTreeMap::new();
            for (keys, values) in groups {
                let parent = level.checked_sub(1).and_then(|up| model.corrections.get(&keys[up])).copied();
                sums.entry(keys[level].clone()).or_insert((Vec::new(), parent.unwrap_or(0.0))).0.extend(values);
            }
            for (key, (values, parent)) in sums {
                let middle = crate::stats::median(&values).unwrap_or_default();
                let count = values.len() as f64;
                let correction = (count * middle + LEANING * parent) / (count + LEANING);
                let missed: Vec<f64> = values.iter().map(|value| value - correction).collect();
                if let Some(reach) = Reach::of(&missed).filter(|_| missed.len() >= 10) {
                    model.reaches.insert(key.clone(), reach.wider(1.1));
                }
                model.corrections.insert(key, correction);
            }
        }
        model
    }

    /// The forecast in MB; `None` where the model's parameters are not known, and for a processor's device memory. `added` is
    /// what being outside of what was measured adds to the reach.
    pub fn predict(&self, subject: &Subject, facts: &Facts, memory: Memory, added: f64) -> Option<Prediction> {
        if memory == Memory::Device && subject.device.kind == DeviceKind::Cpu {
            return None;
        }
        let arithmetic = arithmetic_mb(subject, facts, memory)?;
        let keys = keys(subject, memory);
        let correction = keys.iter().rev().find_map(|key| self.corrections.get(key)).copied().unwrap_or(0.0);
        let reach = keys.iter().rev().find_map(|key| self.reaches.get(key)).copied().unwrap_or(UNTRIED);
        Some(super::forecaster::around(arithmetic.ln() + correction, reach.longer(added)))
    }
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
        let examples: Vec<Example> = (1..=40).map(|batch| example(batch, 2.0)).collect();
        let model = MemoryModel::fit(&examples.iter().collect::<Vec<_>>(), &FactBook::new(examples.iter()));
        let after = model.predict(&one, &facts, Memory::Device, 0.0).unwrap();
        assert!((after.median / expected - 2.0).abs() < 0.15, "{}", after.median / expected);
        assert!(after.ninety.1 / after.ninety.0 < before.ninety.1 / before.ninety.0);
        assert_eq!(model.predict(&one, &Facts::default(), Memory::Device, 0.0), None);
    }
}
