//! Facts as values of a chart: with their interval, and with a word on where both come from.

use std::collections::BTreeSet;

use super::super::facts::{Facts, IntervalOf, Spread};
use crate::domain::chart::Value;
use crate::domain::text::counted;

/// What a metric of peak memory is called behind `peak memory`.
pub(super) fn whose(metric: &str) -> &'static str {
    match metric {
        "memory_device_peak_mb" => "on the device",
        _ => "of the process",
    }
}

/// The kinds of intervals that a sheet shows, for what its subtitle says of error bars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bars {
    own: BTreeSet<&'static str>,
    /// Those of the two sides of ratios.
    of_sides: BTreeSet<&'static str>,
}

impl Bars {
    /// A value of so many runs with its interval.
    fn value(&mut self, value: f64, spread: Option<Spread>, runs: usize) -> Value {
        let spread = spread.filter(|spread| spread.low.is_finite() && spread.high.is_finite());
        self.own.extend(spread.map(|spread| words(spread.of)));
        let runs = match runs {
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
        fact.median(metric).map(|value| self.value(value, fact.spread_of(metric), fact.runs_of(metric)))
    }

    /// The time of a batch.
    pub(super) fn latency(&mut self, fact: &Facts) -> Option<Value> {
        fact.latency_ms().map(|value| self.value(value, fact.spread, fact.latencies.len()))
    }

    /// The samples per second.
    pub(super) fn throughput(&mut self, fact: &Facts) -> Option<Value> {
        let runs = fact.runs_of("throughput_samples_per_second");
        fact.throughput().map(|value| self.value(value, fact.throughput_spread(), runs))
    }

    /// How many times larger a value is than another one: the ends of its interval are the ratios of the ends of theirs,
    /// farther apart than an interval of the ratio at the same confidence. `sides` made both. `None` where the ratio is no
    /// number.
    pub(super) fn ratio(&mut self, value: &Value, reference: &Value, sides: &Self, detail: &str) -> Option<Value> {
        let ratio = value.value / reference.value;
        if !ratio.is_finite() || ratio <= 0.0 {
            return None;
        }
        let ends = |value: &Value| value.interval.unwrap_or((value.value, value.value));
        let ((low, high), (least, most)) = (ends(value), ends(reference));
        let known = value.interval.is_some() || reference.interval.is_some();
        let interval =
            Some((low / most, high / least)).filter(|(low, high)| known && low.is_finite() && high.is_finite());
        let mut detail = detail.to_owned();
        if interval.is_some() {
            self.of_sides.extend(&sides.own);
            detail.push_str(&format!("; bar: {}", of_ends(&sides.own)));
        }
        Some(Value { value: ratio, interval, detail })
    }

    /// What the error bars are; nothing where there are none.
    pub(super) fn text(&self) -> String {
        let ratios = (!self.of_sides.is_empty()).then(|| of_ends(&self.of_sides));
        let kinds: Vec<String> = self.own.iter().map(|&kind| kind.to_owned()).chain(ratios).collect();
        if kinds.is_empty() { String::new() } else { format!("bars: {}", kinds.join(" / ")) }
    }
}

/// What the bar of a ratio is whose sides have bars of these kinds.
fn of_ends(kinds: &BTreeSet<&'static str>) -> String {
    format!("ratio of the ends of both sides ({})", kinds.iter().copied().collect::<Vec<_>>().join(" / "))
}

fn words(of: IntervalOf) -> &'static str {
    match of {
        IntervalOf::Runs => "95 % interval of the median of runs",
        IntervalOf::Range => "range of the runs",
        IntervalOf::Samples => "95 % interval of the median within the only run",
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Iterations;
    use super::super::super::samples::{Sample, facts_of};
    use super::*;

    #[test]
    fn the_runs_are_those_that_measured_the_metric() {
        let measured = Sample::new("m").run(&[("latency_p50_ms", 1.0), ("power_mean_w", 20.0)]).latencies(&[1.0, 2.0]);
        let facts = facts_of(vec![measured], &Iterations::new());
        let mut bars = Bars::default();
        assert_eq!(bars.of(&facts[0], "power_mean_w").unwrap().detail, "1 run");
        assert!(bars.latency(&facts[0]).unwrap().detail.starts_with("median of 3 runs"));
        assert!(bars.throughput(&facts[0]).unwrap().detail.starts_with("median of 2 runs"));
    }

    #[test]
    fn the_bar_of_a_ratio_says_what_the_bars_of_its_sides_are() {
        let samples = vec![Sample::new("one").latencies(&[1.0, 2.0]), Sample::new("other").latencies(&[3.0])];
        let facts = facts_of(samples, &Iterations::new());
        let (mut bars, mut sides) = (Bars::default(), Bars::default());
        let (one, other) = (sides.latency(&facts[0]).unwrap(), sides.latency(&facts[1]).unwrap());
        assert_eq!(bars.ratio(&one, &Value::plain(0.0), &sides, ""), None);
        assert_eq!(bars.text(), "", "there is no such ratio");
        let ratio = bars.ratio(&one, &other, &sides, "1.5 ms to 3 ms").unwrap();
        assert!(ratio.detail.ends_with("; bar: ratio of the ends of both sides (range of the runs)"), "{ratio:?}");
        assert_eq!(bars.text(), "bars: ratio of the ends of both sides (range of the runs)");
    }
}
