//! The plainest of forecasts: what the nearest measured model took, by a k-d tree of linfa.

use linfa_nn::distance::L2Dist;
use linfa_nn::{CommonNearestNeighbour, NearestNeighbour as _};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::encoder::size_of;
use super::facts::Facts;
use crate::domain::{Example, Subject};

/// Measured rows of one setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Neighbours {
    /// Label of the setting and size, [rows, 5].
    points: Vec<[f64; 5]>,
    log_seconds: Vec<f64>,
    settings: Vec<String>,
}

fn setting(subject: &Subject) -> String {
    let parameters: Vec<String> = subject.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (precision, mode) = (subject.precision.to_string(), subject.mode.to_string());
    [&subject.device.name, &precision, &mode, &subject.engine, &parameters.join(",")].map(String::as_str).join("|")
}

fn point(subject: &Subject) -> [f64; 5] {
    let [work, activations, parameters, input] =
        size_of(&Facts::of(subject)).map(|value| if value.is_finite() { value } else { 0.0 });
    [work, activations, parameters, input, 0.3 * f64::from(subject.batch_size.max(1)).ln()]
}

impl Neighbours {
    /// Remembers examples.
    pub fn new(examples: &[&Example]) -> Self {
        let mut known = Self::default();
        for example in examples {
            if let Some(seconds) = example.seconds_per_sample() {
                known.points.push(point(&example.subject));
                known.log_seconds.push(seconds.ln());
                known.settings.push(setting(&example.subject));
            }
        }
        known
    }

    /// For each subject the time of the nearest row of its setting, stretched by the multiply-adds. `None` where its setting
    /// was not measured.
    pub fn predict(&self, subjects: &[&Subject]) -> Vec<Option<f64>> {
        let wanted: Vec<String> = subjects.iter().map(|subject| setting(subject)).collect();
        let mut distinct = wanted.clone();
        distinct.sort();
        distinct.dedup();
        let mut answers = vec![None; subjects.len()];
        for one in distinct {
            let rows: Vec<usize> = (0..self.settings.len()).filter(|&row| self.settings[row] == one).collect();
            let batch = Array2::from_shape_fn((rows.len(), 5), |(row, column)| self.points[rows[row]][column]);
            let Ok(tree) = CommonNearestNeighbour::KdTree.from_batch(&batch, L2Dist) else { continue };
            for (at, subject) in subjects.iter().enumerate().filter(|(at, _)| wanted[*at] == one) {
                let here = ndarray::Array1::from_vec(point(subject).to_vec());
                let Ok(found) = tree.k_nearest(here.view(), 1) else { continue };
                answers[at] = found.first().map(|(near, row)| {
                    let stretch = if near[0] > 0.0 && here[0] > 0.0 { here[0] - near[0] } else { 0.0 };
                    self.log_seconds[rows[*row]] + stretch
                });
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::forecast::samples::subject;

    #[test]
    fn the_nearest_row_of_the_same_setting_answers() {
        let example = |device: &str, work: f64, rate: f64| {
            let mut one = subject("resnet50", device);
            one.multiply_adds = Some(work);
            let throughput = Some(rate);
            Example {
                subject: one,
                throughput,
                latency_ms: None,
                host_memory_mb: None,
                device_memory_mb: None,
                runs: 1,
            }
        };
        let rows = [example("a", 1e9, 100.0), example("a", 1e10, 10.0), example("b", 2e9, 7.0)];
        let known = Neighbours::new(&rows.iter().collect::<Vec<_>>());
        let mut asked = subject("new", "a");
        asked.multiply_adds = Some(2e9);
        let unknown = subject("new", "c");
        let answers = known.predict(&[&asked, &unknown]);
        assert!((answers[0].unwrap() - (0.02_f64).ln()).abs() < 1e-9);
        assert_eq!(answers[1], None);
    }
}
