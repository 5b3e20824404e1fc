//! Which metrics are asked about, by what names, and on which scale two values of one are compared.

use crate::domain::metric::{Better, PEAK_MEMORY, find_metric, standard_metrics};
use crate::domain::names::{folded, nearest};
use crate::domain::{Metric, MetricKind, SeriesSet};
use crate::stats::smallest_sample_for_quantile;

/// Short names that people use.
const ALIASES: [(&str, &str); 8] = [
    ("latency", "latency_p50_ms"),
    ("throughput", "throughput_samples_per_second"),
    ("tokens", "throughput_tokens_per_second"),
    ("energy", "energy_per_sample_j"),
    ("power", "power_mean_w"),
    ("accuracy", "accuracy_top1"),
    ("startup", "startup_ms"),
    ("fidelity", "fidelity_relative_error"),
];

fn short_names() -> impl Iterator<Item = &'static str> {
    ALIASES.iter().map(|(alias, _)| *alias).chain(["memory"])
}

/// What is asked about: the first of these metrics that both sides have. The later ones stand in for the first.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricChoice {
    /// In order of preference.
    pub candidates: Vec<&'static Metric>,
}

impl MetricChoice {
    /// One metric, by its own name or a short one.
    ///
    /// # Errors
    /// A sentence that names the nearest metric.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = folded(text);
        if wanted == "memory" {
            return Ok(Self::memory());
        }
        if wanted == "latency" {
            return Ok(Self::latency());
        }
        let alias = ALIASES.iter().find(|(alias, _)| *alias == wanted).map_or(text, |(_, name)| *name);
        let found = standard_metrics().iter().find(|metric| folded(&metric.name) == folded(alias));
        match found {
            Some(metric) if metric.better == Better::None => {
                Err(format!("`{}` is neither better nor worse when it changes", metric.name))
            }
            Some(metric) => Ok(Self { candidates: vec![metric] }),
            None => Err(
                match nearest(text, short_names().chain(standard_metrics().iter().map(|metric| metric.name.as_str()))) {
                    Some(near) => format!("there is no metric `{text}`; did you mean `{near}`?"),
                    None => format!(
                        "there is no metric `{text}`; latency, throughput, memory, energy, or a column of the view `results`"
                    ),
                },
            ),
        }
    }

    /// The median time of an iteration; where nobody has it the mean, and where there is no time at all, throughput.
    pub fn latency() -> Self {
        Self::of(&[
            "latency_p50_ms",
            "latency_mean_ms",
            "throughput_samples_per_second",
            "throughput_tokens_per_second",
        ])
    }

    /// Samples per second alone, or tokens.
    pub fn throughput() -> Self {
        Self::of(&["throughput_samples_per_second", "throughput_tokens_per_second"])
    }

    /// Peak memory: on the device where it is known, of the process otherwise.
    pub fn memory() -> Self {
        Self::of(&PEAK_MEMORY)
    }

    /// Energy of a sample.
    pub fn energy() -> Self {
        Self::of(&["energy_per_sample_j"])
    }

    /// What is judged where nothing was asked for.
    pub fn primary() -> Vec<Self> {
        vec![Self::latency(), Self::memory()]
    }

    fn of(names: &[&str]) -> Self {
        Self { candidates: names.iter().filter_map(|name| find_metric(name)).collect() }
    }

    /// The choice's name: its first metric's.
    pub fn name(&self) -> &'static str {
        self.candidates.first().map_or("", |metric| metric.name.as_str())
    }

    /// Where the candidates stand in a set.
    pub fn columns(&self, set: &SeriesSet) -> Vec<usize> {
        self.candidates.iter().filter_map(|metric| set.metric(&metric.name)).collect()
    }
}

/// All metrics of these choices, each once.
pub fn metrics_of(choices: &[MetricChoice]) -> Vec<&'static Metric> {
    let mut metrics: Vec<&'static Metric> = Vec::new();
    for metric in choices.iter().flat_map(|choice| &choice.candidates) {
        if !metrics.iter().any(|known| known.name == metric.name) {
            metrics.push(metric);
        }
    }
    metrics
}

/// The scale on which values of a metric are compared: larger is worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    kind: MetricKind,
    better: Better,
}

impl Cost {
    /// The scale of a metric.
    pub fn of(metric: &Metric) -> Self {
        Self { kind: metric.kind, better: metric.better }
    }

    /// Whether differences of the scale are absolute (proportions, temperatures: their ratios mean nothing) and not
    /// logarithms of ratios.
    pub fn is_absolute(self) -> bool {
        matches!(self.kind, MetricKind::Proportion | MetricKind::Temperature | MetricKind::Utilization)
    }

    /// The value on the scale: ln(value) of a time or size, -ln(value) of a rate (a rate's cost is its reciprocal), the
    /// value itself with its sign for proportions. `None` for a number whose logarithm does not exist.
    pub fn scale(self, value: f64) -> Option<f64> {
        let sign = if self.better == Better::Higher { -1.0 } else { 1.0 };
        if self.is_absolute() {
            return Some(sign * value);
        }
        (value > 0.0).then(|| sign * value.ln())
    }

    /// How many times cheaper `value` is than `reference`: 2 is half the time, or twice the rate.
    pub fn speed_up(self, reference: f64, value: f64) -> Option<f64> {
        if self.is_absolute() {
            return None;
        }
        Some((self.scale(reference)? - self.scale(value)?).exp())
    }
}

/// The fewest iterations with which a run supports this metric: a percentile needs enough samples beyond it.
pub fn iterations_needed(metric: &str) -> u64 {
    let quantile = match metric {
        "latency_p90_ms" => 0.9,
        "latency_p95_ms" => 0.95,
        "latency_p99_ms" => 0.99,
        "latency_p999_ms" => 0.999,
        _ => return 0,
    };
    smallest_sample_for_quantile(quantile, 0.95)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_understood() {
        assert_eq!(MetricChoice::parse("throughput").unwrap().name(), "throughput_samples_per_second");
        assert_eq!(MetricChoice::parse("latency-p95-ms").unwrap().name(), "latency_p95_ms");
        assert!(MetricChoice::parse("latencyp59ms").unwrap_err().contains("did you mean"));
        assert!(MetricChoice::parse("latency_std_ms").unwrap_err().contains("neither better nor worse"));
    }

    #[test]
    fn every_alias_is_a_metric() {
        assert!(ALIASES.iter().all(|(_, name)| find_metric(name).is_some()));
        assert!(MetricChoice::primary().iter().all(|choice| !choice.candidates.is_empty()));
    }

    #[test]
    fn a_rate_that_halves_costs_twice_as_much() {
        let rate = Cost::of(find_metric("throughput_samples_per_second").unwrap());
        assert!((rate.scale(50.0).unwrap() - rate.scale(100.0).unwrap() - 2.0_f64.ln()).abs() < 1e-12);
        assert!((rate.speed_up(50.0, 100.0).unwrap() - 2.0).abs() < 1e-12);
        let time = Cost::of(find_metric("latency_p50_ms").unwrap());
        assert!((time.speed_up(50.0, 100.0).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(time.scale(0.0), None);
        let accuracy = Cost::of(find_metric("accuracy_top1").unwrap());
        assert!((accuracy.scale(0.5).unwrap() - accuracy.scale(0.9).unwrap() - 0.4).abs() < 1e-12);
        assert_eq!(accuracy.speed_up(0.5, 0.9), None);
    }

    #[test]
    fn a_percentile_needs_samples_beyond_it() {
        assert_eq!(iterations_needed("latency_p90_ms"), 29);
        assert_eq!(iterations_needed("latency_p999_ms"), 2995);
        assert_eq!(iterations_needed("latency_p50_ms"), 0);
    }
}
