//! The standard metrics: one row of `data/metrics.csv` each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::label::display_as_label;

/// What a metric measures; decides how two values of it are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum MetricKind {
    /// A duration.
    Time,
    /// Work per time.
    Rate,
    /// An amount of memory or storage.
    Size,
    /// Between 0 and 1.
    Proportion,
    /// Watts.
    Power,
    /// Joules.
    Energy,
    /// Degrees Celsius.
    Temperature,
    /// Percent of what a device could do.
    Utilization,
}

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Better {
    /// Smaller values are better.
    Lower,
    /// Larger values are better.
    Higher,
    /// Neither.
    None,
}

display_as_label!(MetricKind, Better);

/// One standard metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The column's name, unit included.
    pub name: String,
    /// The unit.
    pub unit: String,
    /// What it measures.
    pub kind: MetricKind,
    /// Which direction is good.
    pub better: Better,
    /// A difference below this, in the metric's unit, never matters.
    pub floor: f64,
    /// One line for people.
    pub description: String,
}

static METRICS: LazyLock<Vec<Metric>> = LazyLock::new(|| {
    csv::Reader::from_reader(include_str!("../../data/metrics.csv").as_bytes())
        .deserialize()
        // The file is compiled in and a test reads every row; a row that does not parse cannot ship.
        .filter_map(Result::ok)
        .collect()
});

static BY_NAME: LazyLock<Vec<&'static Metric>> = LazyLock::new(|| {
    let mut metrics: Vec<&Metric> = METRICS.iter().collect();
    metrics.sort_by_key(|metric| &metric.name);
    metrics
});

/// All standard metrics, in the order of the table.
pub fn standard_metrics() -> &'static [Metric] {
    &METRICS
}

/// Peak memory: on the device where it is known, of the process otherwise.
pub const PEAK_MEMORY: [&str; 2] = ["memory_device_peak_mb", "memory_host_peak_mb"];

/// The standard metric of that name.
pub fn find_metric(name: &str) -> Option<&'static Metric> {
    BY_NAME.binary_search_by(|metric| metric.name.as_str().cmp(name)).ok().map(|at| BY_NAME[at])
}

/// Values by the name of their standard metric. What was not measured is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MetricSet(BTreeMap<Cow<'static, str>, f64>);

impl MetricSet {
    /// Stores a value; one that is not finite was not measured and is left out.
    pub fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            // A table of a million rows has some twenty million of them: a standard name is not copied.
            let name = find_metric(name).map_or_else(|| name.to_owned().into(), |metric| metric.name.as_str().into());
            self.0.insert(name, value);
        }
    }

    /// Stores a value where there is one.
    pub fn set_optional(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// The value, if it was measured.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Names and values in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// Names, values and, for those that are standard, what they are; in alphabetical order.
    pub fn described(&self) -> impl Iterator<Item = (&str, f64, Option<&'static Metric>)> {
        // Both are in the same order, so that each is walked once.
        let mut known = BY_NAME.iter().copied().peekable();
        self.iter().map(move |(name, value)| {
            while known.next_if(|metric| metric.name.as_str() < name).is_some() {}
            (name, value, known.next_if(|metric| metric.name == name))
        })
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(&'static str, f64)> for MetricSet {
    /// Values that are not finite were not measured and are left out.
    fn from_iter<I: IntoIterator<Item = (&'static str, f64)>>(metrics: I) -> Self {
        let measured = metrics.into_iter().filter(|(_, value)| value.is_finite());
        Self(measured.map(|(name, value)| (Cow::Borrowed(name), value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_name_alone() {
        for metric in standard_metrics() {
            assert_eq!(find_metric(&metric.name), Some(metric));
        }
        assert_eq!(find_metric("latency_p51_ms"), None);
        let mut metrics: MetricSet = standard_metrics().iter().map(|metric| (metric.name.as_str(), 1.0)).collect();
        metrics.set("latency_p51_ms", 1.0);
        let unknown: Vec<_> = metrics.described().filter(|(.., metric)| metric.is_none()).collect();
        assert_eq!(unknown, [("latency_p51_ms", 1.0, None)]);
    }

    #[test]
    fn every_row_of_the_table_is_read() {
        let lines = include_str!("../../data/metrics.csv").lines().count();
        assert_eq!(standard_metrics().len(), lines - 1);
    }

    #[test]
    fn a_number_that_is_not_finite_was_not_measured() {
        let mut metrics = MetricSet::default();
        metrics.set("latency_p50_ms", f64::NAN);
        assert!(metrics.is_empty());
    }
}
