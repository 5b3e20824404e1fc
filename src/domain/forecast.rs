//! What forecasts are learned from, what they are asked about, and what they say: plain values between the database,
//! the models and the commands.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::configuration::{Mode, Precision};
use super::hardware::{Device, Platform};
use super::label::display_as_label;
use super::model::Category;

/// One way of running one model: what a forecast is about. Everything but the numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// The model's name.
    pub model: String,
    /// A user's label for a version of it.
    #[serde(default)]
    pub variant: String,
    /// Related models, where they are named.
    #[serde(default)]
    pub family: Option<String>,
    /// The kind of data.
    #[serde(default)]
    pub category: Option<Category>,
    /// Trainable parameters.
    #[serde(default)]
    pub parameter_count: Option<f64>,
    /// Multiply-adds of a forward pass over one sample of this shape.
    #[serde(default)]
    pub multiply_adds: Option<f64>,
    /// Elements that its operators write for one sample of this shape.
    #[serde(default)]
    pub activation_count: Option<f64>,
    /// How the device is reached.
    pub platform: Platform,
    /// The silicon.
    pub device: Device,
    /// The software that executes.
    pub engine: String,
    /// Its version.
    #[serde(default)]
    pub engine_version: Option<String>,
    /// The arithmetic.
    pub precision: Precision,
    /// What is timed.
    pub mode: Mode,
    /// Samples in one iteration.
    pub batch_size: u32,
    /// The shape of one sample.
    #[serde(default)]
    pub input_shape: String,
    /// Threads on the host; 0 where it is not said.
    #[serde(default)]
    pub threads: u32,
    /// All else that changes the work.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
}

impl Subject {
    /// Elements of one sample; `None` where the shape does not say it.
    pub fn input_elements(&self) -> Option<f64> {
        let product = |shape: &str| -> Option<f64> {
            let factors: Option<Vec<f64>> = shape.split('x').map(|size| size.trim().parse::<f64>().ok()).collect();
            factors.map(|factors| factors.iter().product())
        };
        let parts = self.input_shape.split(',').map(|part| product(part.rsplit('=').next().unwrap_or(part)));
        let total = parts.sum::<Option<f64>>()?;
        (total > 0.0).then_some(total)
    }

    /// The leading word of the model's name, up to the first digit or underscore: the family by which whole families are
    /// hidden when forecasts are tested.
    pub fn leading_word(&self) -> &str {
        let end = self.model.find(|letter: char| letter.is_ascii_digit() || letter == '_' || letter == '-');
        &self.model[..end.unwrap_or(self.model.len())]
    }
}

/// One measured way of running a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// What was measured.
    pub subject: Subject,
    /// Samples per second.
    #[serde(default)]
    pub throughput: Option<f64>,
    /// Time of a batch in ms.
    #[serde(default)]
    pub latency_ms: Option<f64>,
    /// Peak memory of the process in MB.
    #[serde(default)]
    pub host_memory_mb: Option<f64>,
    /// Peak memory on the device in MB.
    #[serde(default)]
    pub device_memory_mb: Option<f64>,
    /// Valid runs behind the numbers.
    #[serde(default)]
    pub runs: usize,
}

impl Example {
    /// Seconds that one sample takes: the reciprocal of the throughput, or the latency over the batch size. `None` where
    /// neither was measured, or not as a number above 0.
    pub fn seconds_per_sample(&self) -> Option<f64> {
        let good = |value: &f64| value.is_finite() && *value > 0.0;
        let by_rate = self.throughput.filter(good).map(f64::recip);
        let by_time = || self.latency_ms.filter(good).map(|time| time / 1e3 / f64::from(self.subject.batch_size));
        by_rate.or_else(by_time).filter(good)
    }
}

/// How far a forecast reaches beyond what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[value(rename_all = "verbatim")]
pub enum Tier {
    /// The model was measured elsewhere, the device is known.
    A,
    /// The model is new, the device is known.
    B,
    /// The device is new, others of its kind are known.
    C,
    /// A new kind of device: an order of magnitude.
    D,
}

display_as_label!(Tier);

impl Tier {
    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::A => "model measured elsewhere, device known",
            Self::B => "new model, device known",
            Self::C => "new device, others of its kind known",
            Self::D => "new kind of device: order of magnitude only",
        }
    }
}

/// A number that was not measured, with what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// As likely too low as too high.
    pub median: f64,
    /// Holds the number in half of all cases.
    pub half: (f64, f64),
    /// Holds the number in nine of ten cases.
    pub ninety: (f64, f64),
}

impl Prediction {
    /// The reciprocal, times a factor: a rate of a time.
    #[must_use]
    pub fn reciprocal(self, factor: f64) -> Self {
        let turn = |(low, high): (f64, f64)| (factor / high, factor / low);
        Self { median: factor / self.median, half: turn(self.half), ninety: turn(self.ninety) }
    }

    /// The same in another unit.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let turn = |(low, high): (f64, f64)| (low * factor, high * factor);
        Self { median: self.median * factor, half: turn(self.half), ninety: turn(self.ninety) }
    }
}

/// What a forecast says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// What it is about.
    pub subject: Subject,
    /// Samples per second.
    pub throughput: Prediction,
    /// Time of a batch in ms.
    pub latency_ms: Prediction,
    /// Peak memory of the process in MB; `None` where nothing says it.
    pub host_memory_mb: Option<Prediction>,
    /// Peak memory on the device in MB; `None` for processors.
    pub device_memory_mb: Option<Prediction>,
    /// How far it reaches.
    pub tier: Tier,
    /// What it was learned from, for people.
    pub learned_from: String,
    /// The model that made it.
    pub model_name: String,
    /// In what the question lies outside of what was measured; each widens the intervals.
    pub outside: Vec<String>,
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;
    use crate::domain::DeviceKind;

    /// An image classifier on a graphics card.
    pub(crate) fn subject(model: &str, device: &str) -> Subject {
        Subject {
            model: model.to_owned(),
            variant: String::new(),
            family: None,
            category: Some(Category::Vision),
            parameter_count: Some(25.6e6),
            multiply_adds: Some(4.1e9),
            activation_count: Some(11.1e6),
            platform: Platform::Cuda,
            device: Device {
                kind: DeviceKind::Gpu,
                vendor: "NVIDIA".into(),
                name: device.to_owned(),
                compute_units: None,
                memory_bytes: None,
                software: false,
            },
            engine: "pytorch".into(),
            engine_version: Some("2.4.0".into()),
            precision: Precision::Amp,
            mode: Mode::Inference,
            batch_size: 64,
            input_shape: "3x224x224".into(),
            threads: 0,
            parameters: BTreeMap::new(),
        }
    }

    #[test]
    fn the_size_of_an_input_is_read_from_its_shape() {
        let mut one = subject("resnet50", "x");
        assert_eq!(one.input_elements(), Some(150_528.0));
        one.input_shape = "image=3x2x2,ids=7".into();
        assert_eq!(one.input_elements(), Some(19.0));
        one.input_shape = String::new();
        assert_eq!(one.input_elements(), None);
    }

    #[test]
    fn a_leading_word_ends_at_a_digit_or_an_underscore() {
        assert_eq!(subject("resnet50", "x").leading_word(), "resnet");
        assert_eq!(subject("vit_base", "x").leading_word(), "vit");
        assert_eq!(subject("hiera", "x").leading_word(), "hiera");
    }

    #[test]
    fn a_rate_of_nothing_is_no_example() {
        let example = |throughput, latency_ms| Example {
            subject: subject("resnet50", "x"),
            throughput,
            latency_ms,
            host_memory_mb: None,
            device_memory_mb: None,
            runs: 1,
        };
        assert_eq!(example(Some(100.0), None).seconds_per_sample(), Some(0.01));
        assert_eq!(example(None, Some(64.0)).seconds_per_sample(), Some(0.001));
        assert_eq!(example(Some(0.0), Some(f64::NAN)).seconds_per_sample(), None);
    }
}
