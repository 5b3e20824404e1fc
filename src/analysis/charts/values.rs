//! Facts as values of a chart: with their interval, and with a word on where both come from.

use std::collections::BTreeSet;

use super::super::facts::{Facts, IntervalOf, Spread};
use crate::domain::chart::Value;
use crate::domain::text::counted;

/// The kinds of intervals that a sheet shows, for what its subtitle says of error bars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bars(BTreeSet<&'static str>);

impl Bars {
    /// A value with its interval.
    pub(super) fn value(&mut self, value: f64, spread: Option<Spread>, fact: &Facts) -> Value {
        let spread = spread.filter(|spread| spread.low.is_finite() && spread.high.is_finite());
        self.0.extend(spread.map(|spread| words(spread.of)));
        let runs = match fact.runs {
            1 => "1 run".to_owned(),
            runs => format!("median of {}", counted(runs, "run", "runs")),
        };
        let bar = spread.map(|spread| format!("; bar: {}", words(spread.of))).unwrap_or_default();
        // A median may lie at the edge of what is known of it, never outside.
        let interval = spread.map(|spread| (spread.low.min(value), spread.high.max(value)));
        Value { value, interval, detail: runs + &bar }
    }

    /// What was measured of a metric, with the spread over runs.
    pub(super) fn of(&mut self, fact: &Facts, metric: &str) -> Option<Value> {
        fact.median(metric).map(|value| self.value(value, fact.spread_of(metric), fact))
    }

    /// The time of a batch.
    pub(super) fn latency(&mut self, fact: &Facts) -> Option<Value> {
        fact.latency_ms().map(|value| self.value(value, fact.spread, fact))
    }

    /// The samples per second.
    pub(super) fn throughput(&mut self, fact: &Facts) -> Option<Value> {
        fact.throughput().map(|value| self.value(value, fact.throughput_spread(), fact))
    }

    /// How many times larger a value is than another one: the ends of its interval are the ratios of the ends of theirs,
    /// farther apart than an interval of the ratio at the same confidence. `None` where the ratio is no number.
    pub(super) fn ratio(&mut self, value: &Value, reference: &Value, detail: String) -> Option<Value> {
        let ratio = value.value / reference.value;
        let ends = |value: &Value| value.interval.unwrap_or((value.value, value.value));
        let ((low, high), (least, most)) = (ends(value), ends(reference));
        let known = value.interval.is_some() || reference.interval.is_some();
        let interval =
            Some((low / most, high / least)).filter(|(low, high)| known && low.is_finite() && high.is_finite());
        self.0.extend(interval.map(|_| "ratios of the ends of both intervals"));
        (ratio.is_finite() && ratio > 0.0).then_some(Value { value: ratio, interval, detail })
    }

    /// What the error bars are; nothing where there are none.
    pub(super) fn text(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        format!("bars: {}", self.0.iter().copied().collect::<Vec<_>>().join(" / "))
    }
}

fn words(of: IntervalOf) -> &'static str {
    match of {
        IntervalOf::Runs => "95 % interval of the median of runs",
        IntervalOf::Range => "range of the runs",
        IntervalOf::Samples => "95 % interval of the median within the only run",
    }
}
