//! The roofline (Williams, Waterman and Patterson 2009) as the base that the models correct: the time of a sample is the
//! sum of what its arithmetic, its activations and its weights take at the device's peak rates, each stretched by an
//! efficiency that is fitted a device, precision, mode and way of compiling.
//!
//! A group with few rows leans on its kind of device, and that on constants that we chose, so that a base is there for a
//! device that was never measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::devices::DeviceSpec;
use super::facts::Facts;
use super::stretch::stretches;
use crate::domain::{DeviceKind, Mode, Precision, Subject};

/// Arithmetic, activations, weights, a fixed time a batch.
const TERMS: usize = 4;

/// The terms of one sample in seconds at peak rates.
pub type Terms = [f64; TERMS];

/// Fitted stretches of the terms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// By kind, mode and whether compiled.
    kinds: BTreeMap<String, Terms>,
    /// By device, precision, engine as well.
    groups: BTreeMap<String, Terms>,
}

/// What the base says of one subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Base {
    /// Logarithm of the seconds a sample takes.
    pub log_seconds: f64,
    /// Share of the arithmetic in it.
    pub compute_share: f64,
    /// Share of the activations in it.
    pub activation_share: f64,
}

/// Whether a compiler fused the operators.
pub fn is_compiled(subject: &Subject) -> bool {
    subject.parameters.get("compiled").is_some_and(|value| value.as_bool() == Some(true))
}

/// What is taken for granted before anything was measured, chosen by us as round numbers of the right size and not taken
/// from any source: half of the peak rate; each activation written and read seven times (six on a processor, whose caches
/// hold some) by element-wise operators, half as often where a compiler fuses them; weights read one and a half times; a
/// launch overhead of 0.2 ms a batch. Each row that is measured moves the fit away from them: eight rows weigh as much.
fn prior(kind: DeviceKind, compiled: bool) -> Terms {
    match kind {
        DeviceKind::Cpu => [2.0, if compiled { 3.0 } else { 6.0 }, 1.5, 2.0],
        _ => [2.0, if compiled { 3.5 } else { 7.0 }, 1.5, 2.0],
    }
}

/// The terms of a subject; `None` where its arithmetic is not known. Without activations, their share of the arithmetic
/// in common networks stands in (one activation for 300 multiply-adds).
pub fn terms_of(subject: &Subject, facts: &Facts, spec: Option<&DeviceSpec>) -> Option<Terms> {
    let processor = subject.device.kind == DeviceKind::Cpu;
    let peak = spec.and_then(|spec| spec.peak_tflops(subject.precision)).unwrap_or(if processor { 0.5 } else { 10.0 });
    let bandwidth = spec.and_then(|spec| spec.bandwidth_gb_per_second).unwrap_or(if processor { 50.0 } else { 400.0 });
    let multiply_adds = facts.multiply_adds?;
    let activations = facts.activation_count.unwrap_or(multiply_adds / 300.0);
    let bytes = bytes_of(subject.precision);
    let work = if subject.mode == Mode::Inference { 1.0 } else { 3.0 };
    let batch = f64::from(subject.batch_size);
    Some([
        work * 2.0 * multiply_adds / (peak * 1e12),
        work * activations * bytes / (bandwidth * 1e9),
        work * facts.parameter_count.unwrap_or_default() * bytes / (batch * bandwidth * 1e9),
        1e-4 / batch,
    ])
}

/// Bytes of one activation.
pub fn bytes_of(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 | Precision::Tf32 | Precision::Int8w => 4.0,
        Precision::Fp16 | Precision::Bf16 | Precision::Amp => 2.0,
        Precision::Int8 => 1.0,
    }
}

fn kind_key(subject: &Subject) -> String {
    let compiled = if is_compiled(subject) { "compiled" } else { "" };
    [subject.device.kind.to_string().as_str(), &subject.mode.to_string(), compiled].join("|")
}

fn group_key(subject: &Subject) -> String {
    let kind = kind_key(subject);
    [&kind, &subject.device.name, &subject.precision.to_string(), &subject.engine].map(String::as_str).join("|")
}

impl Roofline {
    /// Fits the stretches to rows of subject, terms and the logarithm of the seconds a sample took.
    pub fn fit(rows: &[(&Subject, Terms, f64)]) -> Self {
        let mut by_kind: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut by_group: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, (subject, ..)) in rows.iter().enumerate() {
            by_kind.entry(kind_key(subject)).or_default().push(index);
            by_group.entry(group_key(subject)).or_default().push(index);
        }
        let mut roofline = Self::default();
        for (key, members) in by_kind {
            let subject = rows[members[0]].0;
            let lean = prior(subject.device.kind, is_compiled(subject));
            roofline.kinds.insert(key, stretches_of(rows, &members, lean));
        }
        for (key, members) in by_group {
            let lean = roofline.kind_stretches(rows[members[0]].0);
            roofline.groups.insert(key, stretches_of(rows, &members, lean));
        }
        roofline
    }

    /// Stretches of a kind of device; where only the other way of compiling was measured, its activations move as the prior
    /// says.
    fn kind_stretches(&self, subject: &Subject) -> Terms {
        if let Some(known) = self.kinds.get(&kind_key(subject)) {
            return *known;
        }
        let compiled = is_compiled(subject);
        let own = prior(subject.device.kind, compiled);
        let other = prior(subject.device.kind, !compiled);
        let mut turned = subject.clone();
        turned.parameters.insert("compiled".to_owned(), (!compiled).into());
        match self.kinds.get(&kind_key(&turned)) {
            Some(known) => std::array::from_fn(|term| known[term] * own[term] / other[term]),
            None => own,
        }
    }

    /// The base of a subject. `like` is the subject whose group's stretches hold, where its own device was never measured.
    pub fn base(&self, subject: &Subject, terms: Option<Terms>, like: Option<&Subject>) -> Option<Base> {
        let terms = terms?;
        let group = like.unwrap_or(subject);
        let mut stretch = self.groups.get(&group_key(group)).copied().unwrap_or_else(|| self.kind_stretches(group));
        if is_compiled(subject) != is_compiled(group) {
            let kind = subject.device.kind;
            let (own, other) = (prior(kind, is_compiled(subject)), prior(kind, is_compiled(group)));
            stretch = std::array::from_fn(|term| stretch[term] * own[term] / other[term]);
        }
        let parts: Terms = std::array::from_fn(|term| terms[term] * stretch[term]);
        let total: f64 = parts.iter().sum();
        (total > 0.0 && total.is_finite()).then(|| Base {
            log_seconds: total.ln(),
            compute_share: parts[0] / total,
            activation_share: parts[1] / total,
        })
    }
}

fn stretches_of(rows: &[(&Subject, Terms, f64)], members: &[usize], lean: Terms) -> Terms {
    let members: Vec<(Terms, f64)> = members.iter().map(|&row| (rows[row].1, rows[row].2.exp())).collect();
    stretches(&members, lean)
}

#[cfg(test)]
mod tests {
    use super::super::devices::DeviceTable;
    use super::*;
    use crate::domain::forecast::samples::subject;

    #[test]
    fn finds_the_stretches_that_made_the_times() {
        let one = subject("resnet50", "NVIDIA GeForce RTX 3090");
        let made = [3.0, 5.0, 2.0, 1.0];
        let rows: Vec<(Terms, f64)> = (1..200)
            .map(|row| {
                let terms = [
                    f64::from(row),
                    f64::from(row * 37 % 101),
                    f64::from(row * 53 % 97) / 10.0,
                    f64::from(row * 11 % 13),
                ];
                (terms, terms.iter().zip(&made).map(|(term, stretch)| term * stretch).sum::<f64>().ln())
            })
            .collect();
        let rows: Vec<_> = rows.iter().map(|(terms, time)| (&one, *terms, *time)).collect();
        let roofline = Roofline::fit(&rows);
        for (_, terms, time) in &rows {
            let base = roofline.base(&one, Some(*terms), None).unwrap();
            assert!((base.log_seconds - time).abs() < 0.1);
        }
    }

    #[test]
    fn more_work_takes_longer_and_a_better_card_less() {
        let devices = DeviceTable::built_in();
        let roofline = Roofline::default();
        let time = |device: &str, work: f64| {
            let mut one = subject("resnet50", device);
            one.multiply_adds = Some(work);
            let facts = Facts::of(&one);
            roofline.base(&one, terms_of(&one, &facts, devices.find(&one.device)), None).unwrap().log_seconds
        };
        assert!(time("NVIDIA GeForce RTX 3090", 4e9) < time("NVIDIA GeForce RTX 3090", 8e9));
        assert!(time("NVIDIA GeForce RTX 4090", 4e9) < time("NVIDIA GeForce RTX 3090", 4e9));
    }
}
