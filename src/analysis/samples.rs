//! Facts for tests: configurations with numbers, without a database.

use std::collections::BTreeMap;

use super::facts::{self, Facts, Iterations, add_samples, metrics_of_facts};
use crate::domain::{Identity, Part, RunGroup, RunStatus, Series, SeriesRun, SeriesSet, Validity};

/// A configuration in the making: inference of one model on a CPU in fp32 at batch 1.
pub(super) struct Sample {
    identity: Identity,
    software: bool,
    iterations: u64,
    runs: Vec<BTreeMap<&'static str, f64>>,
}

impl Sample {
    pub(super) fn new(model: &str) -> Self {
        let mut identity = Identity::default();
        let parts = [
            (Part::Model, model),
            (Part::Variant, ""),
            (Part::Mode, "inference"),
            (Part::Platform, "cpu"),
            (Part::Device, "Xeon"),
            (Part::Engine, "burn-flex"),
            (Part::Precision, "fp32"),
            (Part::BatchSize, "1"),
            (Part::InputShape, "3x8x8"),
            (Part::Threads, "2"),
            (Part::Parameters, "{}"),
        ];
        for (part, text) in parts {
            identity.set(part, text.to_owned());
        }
        Self { identity, software: false, iterations: 50, runs: Vec::new() }
    }

    pub(super) fn with(mut self, part: Part, text: &str) -> Self {
        self.identity.set(part, text.to_owned());
        self
    }

    pub(super) fn software(mut self) -> Self {
        self.software = true;
        self
    }

    /// So many iterations in each run; 0 where nobody says.
    pub(super) fn iterations(mut self, iterations: u64) -> Self {
        self.iterations = iterations;
        self
    }

    /// A run with these metrics.
    pub(super) fn run(mut self, metrics: &[(&'static str, f64)]) -> Self {
        self.runs.push(metrics.iter().copied().collect());
        self
    }

    /// Runs with these latencies, and the throughput of one sample in each.
    pub(super) fn latencies(mut self, latencies: &[f64]) -> Self {
        for latency in latencies {
            self = self.run(&[("latency_p50_ms", *latency), ("throughput_samples_per_second", 1e3 / latency)]);
        }
        self
    }
}

/// The facts of samples, in their order.
pub(super) fn facts_of(samples: Vec<Sample>, iterations: &Iterations) -> Vec<Facts> {
    let mut set = SeriesSet::new(metrics_of_facts());
    let mut id = 0;
    for sample in samples {
        let mut series = Series::new(Some(set.series.len() as i64), sample.identity);
        series.software = sample.software;
        for metrics in sample.runs {
            id += 1;
            let run = SeriesRun {
                run_id: Some(id),
                uuid: None,
                group: RunGroup::Alone,
                started_at_ms: Some(id),
                environment: 0,
                iterations: sample.iterations,
                validity: Validity::Valid,
                status: RunStatus::Ok,
            };
            let values: Vec<f64> = set
                .metrics
                .iter()
                .map(|metric| metrics.get(metric.name.as_str()).copied().unwrap_or(f64::NAN))
                .collect();
            series.push(run, values);
        }
        set.series.push(series);
    }
    let mut found: Vec<Facts> = set.series.iter().filter_map(facts::facts_of).collect();
    add_samples(&mut found, iterations);
    found
}
