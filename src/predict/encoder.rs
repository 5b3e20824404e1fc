//! Features: a subject as a row of numbers, NaN where something is not known. What words, engines and devices there are is
//! learned once and kept with the model.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::devices::DeviceSpec;
use super::facts::Facts;
use super::roofline::{Base, is_compiled};
use super::words::{self, Words, words_in};
use crate::domain::{DeviceKind, Mode, Precision, Subject};

/// Words of models' names that are features, at most: the most frequent ones.
const FEATURES: usize = 96;

/// Labels (of devices, engines, parameters) that are features, at most.
const LABELS: usize = 48;

/// Turns subjects into rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    words: Vec<String>,
    labels: Vec<String>,
}

/// What tells settings apart, as labels.
fn labels_of(subject: &Subject) -> Vec<String> {
    let mut labels = vec![
        ["device=", &subject.device.name].concat(),
        ["engine=", &subject.engine].concat(),
        ["platform=", &subject.platform.to_string()].concat(),
        ["vendor=", &subject.device.vendor].concat(),
    ];
    if let Some(category) = subject.category {
        labels.push(["category=", &category.to_string()].concat());
    }
    for (name, value) in &subject.parameters {
        labels.push([name, "=", &value.to_string()].concat());
    }
    labels
}

/// `2.4.0` as 2.4: what a version says first.
pub fn version_number(subject: &Subject) -> f64 {
    let Some(version) = &subject.engine_version else {
        return f64::NAN;
    };
    let mut parts = version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse::<f64>().ok());
    let major = parts.next().unwrap_or(f64::NAN);
    major + parts.next().unwrap_or(0.0).min(99.0) / 100.0
}

fn logarithm(value: Option<f64>) -> f64 {
    value.filter(|value| *value > 0.0).map_or(f64::NAN, f64::ln)
}

/// The logarithms of a model's work: multiply-adds, activations, parameters, elements of the input.
pub fn size_of(facts: &Facts) -> [f64; 4] {
    [facts.multiply_adds, facts.activation_count, facts.parameter_count, facts.input_elements].map(logarithm)
}

impl Encoder {
    /// Learns the words and labels of these subjects: those that several models share.
    pub fn fit<'s>(subjects: impl Iterator<Item = &'s Subject>) -> Self {
        let mut models: BTreeSet<&str> = BTreeSet::new();
        let mut labels: BTreeMap<String, usize> = BTreeMap::new();
        for subject in subjects {
            models.insert(&subject.model);
            for label in labels_of(subject) {
                *labels.entry(label).or_default() += 1;
            }
        }
        let mut words: BTreeMap<String, usize> = BTreeMap::new();
        for model in &models {
            for word in words_in(model) {
                *words.entry(word).or_default() += 1;
            }
        }
        let frequent = |counts: BTreeMap<String, usize>, least: usize, most: usize| -> Vec<String> {
            let mut ranked: Vec<(String, usize)> = counts.into_iter().filter(|(_, count)| *count >= least).collect();
            ranked.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
            ranked.truncate(most);
            ranked.into_iter().map(|(text, _)| text).collect()
        };
        Self { words: frequent(words, 3, words::MOST), labels: frequent(labels, 1, LABELS) }
    }

    /// The known words in a model's name, one bit each: `vit` is one of `mobilevit`, too.
    pub fn words_of(&self, model: &str) -> Words {
        let name = model.to_lowercase();
        let own = words_in(model);
        let has = |word: &String| own.contains(word) || (word.len() > 2 && name.contains(word.as_str()));
        let mut words = Words::default();
        self.words.iter().enumerate().filter(|(_, word)| has(word)).for_each(|(at, _)| words.insert(at));
        words
    }

    /// The row of a subject. `words` are those of [`Self::words_of`] its model.
    pub fn encode(
        &self,
        subject: &Subject,
        facts: &Facts,
        base: Option<Base>,
        spec: Option<&DeviceSpec>,
        words: Words,
    ) -> Vec<f64> {
        let [work, activations, parameters, input] = size_of(facts);
        let batch = f64::from(subject.batch_size.max(1)).ln();
        let of_spec = |value: Option<f64>| logarithm(value);
        let peak = of_spec(spec.and_then(|spec| spec.peak_tflops(subject.precision)));
        let bandwidth = of_spec(spec.and_then(|spec| spec.bandwidth_gb_per_second));
        let flag = |is: bool| f64::from(u8::from(is));
        let precision = Precision::Amp;
        let mut row = vec![
            work,
            activations,
            parameters,
            input,
            batch,
            work - activations,
            work - parameters,
            activations - parameters,
            activations - input,
            work - input,
            activations + batch,
            work + batch,
            base.map_or(f64::NAN, |base| base.log_seconds),
            base.map_or(f64::NAN, |base| base.compute_share),
            base.map_or(f64::NAN, |base| base.activation_share),
            flag(subject.device.kind == DeviceKind::Cpu),
            flag(subject.device.kind == DeviceKind::Gpu),
            peak,
            bandwidth,
            peak - bandwidth,
            of_spec(spec.and_then(|spec| spec.cache_mb)),
            of_spec(spec.and_then(|spec| spec.tdp_w)),
            of_spec(spec.and_then(|spec| spec.launch_price_usd)),
            of_spec(spec.and_then(|spec| spec.compute_units).or(subject.device.compute_units.map(f64::from))),
            flag(subject.precision == Precision::Fp32),
            flag(subject.precision == precision),
            flag(matches!(subject.precision, Precision::Fp16 | Precision::Bf16)),
            flag(matches!(subject.precision, Precision::Int8 | Precision::Int8w)),
            flag(subject.mode == Mode::Training),
            flag(subject.mode == Mode::Explanation),
            flag(is_compiled(subject)),
            version_number(subject),
            f64::from(subject.threads),
            subject.model.len() as f64,
            first_number(&subject.model),
        ];
        let labels = labels_of(subject);
        row.extend(self.labels.iter().map(|label| flag(labels.contains(label))));
        row.extend((0..self.words.len().min(FEATURES)).map(|at| flag(words.contains(at))));
        row
    }
}

/// The first number in a name: a depth, as often as not.
fn first_number(name: &str) -> f64 {
    let start = name.find(|letter: char| letter.is_ascii_digit());
    let digits = start.map(|start| name[start..].split(|letter: char| !letter.is_ascii_digit()).next());
    digits.flatten().and_then(|digits| digits.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::super::devices::DeviceTable;
    use super::*;
    use crate::domain::forecast::samples::subject;

    #[test]
    fn a_word_is_found_inside_of_others() {
        let models = ["vit_tiny", "vit_small", "vit_base", "mobilevit_s", "resnet50", "resnet18", "resnet34"];
        let subjects: Vec<Subject> = models.iter().map(|model| subject(model, "x")).collect();
        let encoder = Encoder::fit(subjects.iter());
        assert_eq!(encoder.words, ["resnet", "vit"]);
        let of = |name: &str| [0, 1].map(|word| encoder.words_of(name).contains(word));
        assert_eq!([of("gcvit_xxtiny"), of("new")], [[false, true], [false, false]]);
    }

    #[test]
    fn rows_have_one_width_whatever_is_known() {
        let one = subject("resnet50", "NVIDIA GeForce RTX 3090");
        let encoder = Encoder::fit(std::iter::once(&one));
        let devices = DeviceTable::built_in();
        let full = encoder.encode(&one, &Facts::of(&one), None, devices.find(&one.device), Words::default());
        let mut little = subject("x", "unknown");
        little.engine_version = None;
        let empty = encoder.encode(&little, &Facts::default(), None, None, Words::default());
        assert_eq!(full.len(), empty.len());
        assert!(full[0].is_finite() && empty[0].is_nan());
    }

    #[test]
    fn versions_are_in_order() {
        let at = |version: &str| {
            let mut one = subject("x", "y");
            one.engine_version = Some(version.into());
            version_number(&one)
        };
        assert!(at("1.13") < at("2.1.0") && at("2.9.1") < at("2.10.0"));
        assert!(at("nightly").is_nan());
    }
}
