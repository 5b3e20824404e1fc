//! The standard metrics: one row of `data/metrics.csv` each.

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

/// All standard metrics, in the order of the table.
pub fn standard_metrics() -> &'static [Metric] {
    &METRICS
}

/// The standard metric of that name.
pub fn find_metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// Values by the name of their standard metric. What was not measured is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MetricSet(BTreeMap<String, f64>);

impl MetricSet {
    /// Stores a value; one that is not finite was not measured and is left out.
    pub fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.0.insert(name.to_owned(), value);
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
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
