//! How far a question lies outside of what was measured: batch sizes, precisions, modes, engines and sizes of models of
//! which the intervals know nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::transfer::device_key;
use crate::domain::{Example, Mode, Precision, Subject};

/// Beyond the range by this factor of the batch size, or of the work, doubles the reach of a forecast.
const DOUBLING: f64 = 8.0;

/// What each precision, mode or engine that was not measured on a device multiplies the reach by.
const UNSEEN: f64 = 2.0;

/// Ranges and labels of one device, or of all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    batches: Option<(f64, f64)>,
    work: Option<(f64, f64)>,
    precisions: BTreeSet<Precision>,
    modes: BTreeSet<Mode>,
    engines: BTreeSet<String>,
}

fn widen(range: &mut Option<(f64, f64)>, value: f64) {
    let (low, high) = range.unwrap_or((value, value));
    *range = Some((low.min(value), high.max(value)));
}

/// By how many doublings a value lies beyond a range.
fn beyond(range: Option<(f64, f64)>, value: f64) -> f64 {
    let Some((low, high)) = range else { return 1.0 };
    let factor = (low / value).max(value / high).max(1.0);
    factor.ln() / DOUBLING.ln()
}

impl Seen {
    fn add(&mut self, example: &Example) {
        let subject = &example.subject;
        widen(&mut self.batches, f64::from(subject.batch_size.max(1)));
        if let Some(work) = subject.multiply_adds.filter(|work| *work > 0.0) {
            widen(&mut self.work, work);
        }
        self.precisions.insert(subject.precision);
        self.modes.insert(subject.mode);
        self.engines.insert(subject.engine.clone());
    }
}

/// What was measured, by device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    all: Seen,
    devices: BTreeMap<String, Seen>,
}

impl Ranges {
    /// The ranges of examples.
    pub fn of(examples: &[&Example]) -> Self {
        let mut ranges = Self::default();
        for example in examples {
            ranges.all.add(example);
            ranges.devices.entry(device_key(&example.subject)).or_default().add(example);
        }
        ranges
    }

    /// What to multiply the reach by, 1 inside of what was measured, and why, in words.
    pub fn stretch(&self, subject: &Subject, multiply_adds: Option<f64>) -> (f64, Vec<String>) {
        let seen = self.devices.get(&device_key(subject)).unwrap_or(&self.all);
        let (mut factor, mut reasons) = (1.0, Vec::new());
        let batch = beyond(seen.batches, f64::from(subject.batch_size.max(1)));
        if batch > 0.0 {
            factor *= 1.0 + batch;
            reasons.push(format!("batch size {} is outside of what was measured", subject.batch_size));
        }
        let work = multiply_adds.map_or(0.0, |work| beyond(seen.work, work));
        if work > 0.0 {
            factor *= 1.0 + work;
            reasons.push("no model of this size was measured".to_owned());
        }
        let unseen = [
            (!seen.precisions.contains(&subject.precision), subject.precision.to_string()),
            (!seen.modes.contains(&subject.mode), subject.mode.to_string()),
            (!seen.engines.contains(&subject.engine), subject.engine.clone()),
        ];
        for (_, what) in unseen.into_iter().filter(|(unseen, _)| *unseen) {
            factor *= UNSEEN;
            reasons.push(format!("nothing was measured with {what}"));
        }
        (factor, reasons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::forecast::samples::subject;

    #[test]
    fn the_further_outside_the_wider() {
        let example = Example {
            subject: subject("resnet50", "x"),
            throughput: Some(1.0),
            latency_ms: None,
            host_memory_mb: None,
            device_memory_mb: None,
            runs: 1,
        };
        let ranges = Ranges::of(&[&example]);
        let stretch = |change: &dyn Fn(&mut Subject)| {
            let mut asked = subject("other", "x");
            change(&mut asked);
            let work = asked.multiply_adds;
            ranges.stretch(&asked, work)
        };
        assert_eq!(stretch(&|_| ()), (1.0, Vec::new()));
        let (near, far) = (stretch(&|one| one.batch_size = 32).0, stretch(&|one| one.batch_size = 1).0);
        assert!(1.0 < near && near < far && far < 4.0, "{near} {far}");
        assert_eq!(stretch(&|one| one.precision = Precision::Fp32).0, 2.0);
        assert!(stretch(&|one| one.multiply_adds = Some(4.1e12)).0 > 4.0);
    }
}
