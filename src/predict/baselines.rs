//! The plain forecasts that the learned ones have to beat, and that answer where they do not: the fitted roofline alone, the
//! nearest measured model, the same model elsewhere times the usual ratio.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::neighbours::Neighbours;
use super::transfer::{device_key, model_key};
use crate::domain::{Example, Subject};

/// What answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Answerer {
    /// The learned model.
    Learned,
    /// The fitted roofline alone.
    Roofline,
    /// The nearest model of the same setting.
    Nearest,
    /// The same model on another device, times the usual ratio of the two.
    Ratio,
}

impl Answerer {
    /// All, the learned one first.
    pub const ALL: [Self; 4] = [Self::Learned, Self::Roofline, Self::Nearest, Self::Ratio];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Roofline => "roofline",
            Self::Nearest => "nearest neighbour",
            Self::Ratio => "same-model ratio",
        }
    }
}

/// The two baselines that remember rows; the roofline is part of every model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    nearest: Neighbours,
    ratios: Ratios,
}

impl Baselines {
    /// Remembers examples.
    pub fn new(examples: &[&Example]) -> Self {
        Self { nearest: Neighbours::new(examples), ratios: Ratios::new(examples) }
    }

    /// The logarithm of the seconds of a sample by the nearest neighbour and by the ratio, for each subject.
    pub fn predict(&self, subjects: &[&Subject]) -> Vec<[Option<f64>; 2]> {
        let nearest = self.nearest.predict(subjects);
        nearest.into_iter().zip(subjects).map(|(nearest, subject)| [nearest, self.ratios.predict(subject)]).collect()
    }
}

/// The same model elsewhere, times the usual ratio of the two settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ratios {
    /// Settings by their text; the text begins with the device.
    settings: BTreeMap<String, u32>,
    /// By model: its settings, and there the logarithm of seconds.
    models: BTreeMap<String, Vec<(u32, f64)>>,
    /// By a setting: to which other one, and the median of the logarithm of the ratio.
    usual: BTreeMap<u32, Vec<(u32, f64)>>,
}

/// Ratios of two settings below which there is no usual one.
const USUAL_FROM: usize = 3;

/// Device, precision, mode, engine, version and parameters as a text that begins with the device.
pub(super) fn setting_key(subject: &Subject) -> String {
    let parameters: Vec<String> = subject.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (precision, mode) = (subject.precision.to_string(), subject.mode.to_string());
    let version = subject.engine_version.as_deref().unwrap_or_default();
    [&device_key(subject), &precision, &mode, &subject.engine, version, &parameters.join(",")]
        .map(str::to_owned)
        .join("#")
}

impl Ratios {
    fn new(examples: &[&Example]) -> Self {
        let mut settings: BTreeMap<String, u32> = BTreeMap::new();
        let mut devices: Vec<String> = Vec::new();
        let mut by_model: BTreeMap<String, BTreeMap<u32, f64>> = BTreeMap::new();
        for example in examples {
            let Some(seconds) = example.seconds_per_sample() else { continue };
            let next = settings.len() as u32;
            let setting = *settings.entry(setting_key(&example.subject)).or_insert(next);
            if setting == next {
                devices.push(device_key(&example.subject));
            }
            by_model.entry(model_key(&example.subject)).or_default().insert(setting, seconds.ln());
        }
        let models: BTreeMap<String, Vec<(u32, f64)>> =
            by_model.into_iter().map(|(model, known)| (model, known.into_iter().collect())).collect();
        let mut ratios: BTreeMap<(u32, u32), Vec<f64>> = BTreeMap::new();
        for known in models.values() {
            for (one, first) in known {
                for (other, second) in known {
                    if devices[*one as usize] != devices[*other as usize] {
                        ratios.entry((*one, *other)).or_default().push(second - first);
                    }
                }
            }
        }
        let mut usual: BTreeMap<u32, Vec<(u32, f64)>> = BTreeMap::new();
        for ((one, other), ratios) in ratios.into_iter().filter(|(_, ratios)| ratios.len() >= USUAL_FROM) {
            if let Some(middle) = crate::stats::median(&ratios) {
                usual.entry(one).or_default().push((other, middle));
            }
        }
        Self { settings, models, usual }
    }

    fn predict(&self, subject: &Subject) -> Option<f64> {
        let own = self.settings.get(&setting_key(subject))?;
        let known = self.models.get(&model_key(subject))?;
        let ratio = |from: &u32| self.usual.get(from)?.iter().find(|(to, _)| to == own).map(|(_, ratio)| *ratio);
        let answers: Vec<f64> =
            known.iter().filter_map(|(setting, log_seconds)| Some(log_seconds + ratio(setting)?)).collect();
        crate::stats::median(&answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::forecast::samples::subject;

    #[test]
    fn a_model_elsewhere_times_the_usual_ratio() {
        let example = |model: &str, device: &str, rate: f64| Example {
            subject: subject(model, device),
            throughput: Some(rate),
            latency_ms: None,
            host_memory_mb: None,
            device_memory_mb: None,
            runs: 1,
        };
        let mut rows = vec![example("new", "slow", 10.0)];
        for (model, rate) in [("a", 100.0), ("b", 200.0), ("c", 400.0)] {
            rows.extend([example(model, "slow", rate), example(model, "fast", 3.0 * rate)]);
        }
        let baselines = Baselines::new(&rows.iter().collect::<Vec<_>>());
        let [_, ratio] = baselines.predict(&[&subject("new", "fast")])[0];
        assert!((ratio.unwrap() - (1.0_f64 / 30.0).ln()).abs() < 1e-9);
        assert_eq!(baselines.predict(&[&subject("newer", "fast")])[0][1], None);
        assert_eq!(baselines.predict(&[&subject("new", "unknown")])[0], [None, None]);
    }
}
