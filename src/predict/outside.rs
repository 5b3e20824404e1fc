//! How far a question lies outside of what was measured: batch sizes, precisions, modes, engines and sizes of models of
//! which the intervals know nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::transfer::device_key;
use crate::domain::{DeviceKind, Example, Mode, Platform, Precision, Subject};

/// What each precision, mode or platform that was not measured on a device adds to the 90 % reach: a factor of two and a half.
const UNSEEN: f64 = 0.9;

/// The same for an engine: engines differ by more.
const UNSEEN_ENGINE: f64 = 1.2;

/// Share of the logarithm of how far a size lies beyond the largest that was measured, which is added.
pub(super) const BEYOND: f64 = 0.4;

/// Rows from which a device's own ranges are known; below, those of its kind hold.
const OWN_RANGES: usize = 40;

/// Ranges and labels of one device, or of several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    batches: Option<(f64, f64)>,
    work: Option<(f64, f64)>,
    /// Multiply-adds of a whole batch: what little of them takes is overhead, of which large ones say nothing.
    batch_work: Option<(f64, f64)>,
    precisions: BTreeSet<Precision>,
    modes: BTreeSet<Mode>,
    engines: BTreeSet<String>,
    platforms: BTreeSet<Platform>,
    rows: usize,
}

fn widen(range: &mut Option<(f64, f64)>, value: f64) {
    let (low, high) = range.unwrap_or((value, value));
    *range = Some((low.min(value), high.max(value)));
}

/// By what factor a value lies below a range, and above it; 1 inside.
fn beyond(range: Option<(f64, f64)>, value: f64) -> (f64, f64) {
    range.map_or((1.0, 1.0), |(low, high)| ((low / value).max(1.0), (value / high).max(1.0)))
}

impl Seen {
    fn add(&mut self, example: &Example) {
        let subject = &example.subject;
        widen(&mut self.batches, f64::from(subject.batch_size.max(1)));
        if let Some(work) = subject.multiply_adds.filter(|work| *work > 0.0) {
            widen(&mut self.work, work);
            widen(&mut self.batch_work, work * f64::from(subject.batch_size.max(1)));
        }
        self.precisions.insert(subject.precision);
        self.modes.insert(subject.mode);
        self.engines.insert(subject.engine.clone());
        self.platforms.insert(subject.platform);
        self.rows += 1;
    }
}

/// What was measured, by device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    all: Seen,
    kinds: BTreeMap<DeviceKind, Seen>,
    devices: BTreeMap<String, Seen>,
}

impl Ranges {
    /// The ranges of examples.
    pub fn of(examples: &[&Example]) -> Self {
        let mut ranges = Self::default();
        for example in examples {
            ranges.all.add(example);
            ranges.kinds.entry(example.subject.device.kind).or_default().add(example);
            ranges.devices.entry(device_key(&example.subject)).or_default().add(example);
        }
        ranges
    }

    /// Takes examples of a device that came after the fit: what others showed and what they show.
    pub fn extend(&mut self, examples: &[&Example]) {
        for example in examples {
            let own = self.devices.entry(device_key(&example.subject)).or_insert_with(|| self.all.clone());
            own.add(example);
        }
    }

    /// What is added to the 90 % reach (a logarithm), 0 inside of what was measured, and why, in words.
    ///
    /// A batch smaller than any that was measured may take as long as that one: a sample then takes longer by the whole
    /// factor, and the interval has to hold that.
    pub fn added(&self, subject: &Subject, multiply_adds: Option<f64>) -> (f64, Vec<String>) {
        let own = self.devices.get(&device_key(subject)).filter(|seen| seen.rows >= OWN_RANGES);
        let seen = own.or_else(|| self.kinds.get(&subject.device.kind)).unwrap_or(&self.all);
        let (mut added, mut reasons) = (0.0, Vec::new());
        let batch_size = f64::from(subject.batch_size.max(1));
        let (batch_below, batch_above) = beyond(seen.batches, batch_size);
        let work = |range, factor: f64| multiply_adds.map_or((1.0, 1.0), |work| beyond(range, work * factor));
        let below = batch_below.max(work(seen.batch_work, batch_size).0);
        if below > 1.0 || batch_above > 1.0 {
            added += below.ln() + BEYOND * batch_above.ln();
            reasons.push(if batch_below > 1.0 || batch_above > 1.0 {
                format!("batch size {} is outside of what was measured", subject.batch_size)
            } else {
                format!("no batch of so little work as {} of this model was measured", subject.batch_size)
            });
        }
        let (smaller, larger) = work(seen.work, 1.0);
        if smaller.max(larger) > 1.0 {
            added += BEYOND * smaller.max(larger).ln();
            reasons.push("no model of this size was measured".to_owned());
        }
        let unseen = [
            (seen.precisions.contains(&subject.precision), UNSEEN, subject.precision.to_string()),
            (seen.modes.contains(&subject.mode), UNSEEN, subject.mode.to_string()),
            (seen.engines.contains(&subject.engine), UNSEEN_ENGINE, subject.engine.clone()),
            (seen.platforms.contains(&subject.platform), UNSEEN, subject.platform.to_string()),
        ];
        for (_, adds, what) in unseen.into_iter().filter(|(seen, ..)| !seen) {
            added += adds;
            reasons.push(format!("nothing was measured with {what}"));
        }
        (added, reasons)
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
        let added = |change: &dyn Fn(&mut Subject)| {
            let mut asked = subject("other", "x");
            change(&mut asked);
            let work = asked.multiply_adds;
            ranges.added(&asked, work)
        };
        assert_eq!(added(&|_| ()), (0.0, Vec::new()));
        let (near, far) = (added(&|one| one.batch_size = 32).0, added(&|one| one.batch_size = 1).0);
        // A batch of one may take as long as one of 64.
        assert!((near - 2_f64.ln()).abs() < 1e-9 && (far - 64_f64.ln()).abs() < 1e-9, "{near} {far}");
        assert_eq!(added(&|one| one.precision = Precision::Fp32).0, UNSEEN);
        assert!(added(&|one| one.multiply_adds = Some(4.1e12)).0 > 2.0);
    }
}
