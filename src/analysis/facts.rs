//! What the record says of one configuration: medians over its valid runs, and how sure they are.

use std::collections::{BTreeSet, HashMap};

use crate::domain::metric::{PEAK_MEMORY, find_metric};
use crate::domain::text::counted;
use crate::domain::{Environment, Identity, Metric, Part, Series, Validity};
use crate::stats::{median_interval, quantile, sorted};

/// The metrics that answers are made of. The two latencies come first; the first [`COMPARED`] stand in a comparison.
const METRICS: [&str; 18] = [
    "latency_p50_ms",
    "latency_mean_ms",
    "throughput_samples_per_second",
    "throughput_tokens_per_second",
    "memory_device_peak_mb",
    "memory_host_peak_mb",
    "energy_per_sample_j",
    "power_mean_w",
    "accuracy_top1",
    "fidelity_relative_error",
    "power_peak_w",
    "startup_ms",
    "first_inference_ms",
    "model_size_mb",
    "latency_p95_ms",
    "latency_p99_ms",
    "compile_ms",
    "success_rate",
];

const COMPARED: usize = 10;

/// The metrics that a comparison shows of each configuration.
pub fn compared_metrics() -> &'static [&'static str] {
    &METRICS[..COMPARED]
}

/// Confidence of the intervals of medians.
const CONFIDENCE: f64 = 0.95;

/// The metrics that [`facts_of`] needs of each run, in this order.
pub fn metrics_of_facts() -> Vec<&'static Metric> {
    METRICS.iter().filter_map(|name| find_metric(name)).collect()
}

/// The iterations of runs in milliseconds, by run id.
pub type Iterations = HashMap<i64, Vec<f64>>;

/// A number of each run, with the run's id where it has one.
pub type RunValues = Vec<(Option<i64>, f64)>;

/// What an interval is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalOf {
    /// The median of run medians, distribution-free, at 95 %.
    Runs,
    /// The smallest and largest of two to five run medians: less than 95 %.
    Range,
    /// The median of the samples of the only run, at 95 %: it does not know how runs differ.
    Samples,
}

impl IntervalOf {
    /// In a word, for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Range => "range",
            Self::Samples => "samples",
        }
    }
}

/// An interval and what it is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// What it is about.
    pub of: IntervalOf,
}

/// One configuration in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Its configuration.
    pub identity: Identity,
    /// Its row id.
    pub configuration_id: Option<i64>,
    /// Whether software pretends to be the device.
    pub software: bool,
    /// Cores or compute units of the device, where they are known.
    pub compute_units: Option<u32>,
    /// The environments of its valid runs: indices into those of the set.
    pub environments: BTreeSet<usize>,
    /// Valid runs.
    pub runs: usize,
    /// The timed iterations of the valid run that has the fewest; 0 where a source does not say.
    pub fewest_iterations: u64,
    /// The newest valid run.
    pub newest_run: Option<i64>,
    /// The latency of each valid run, with the run's id: medians, or means where only those are known.
    pub latencies: RunValues,
    /// Whether the latencies are means.
    pub by_mean: bool,
    /// The spread of the latency.
    pub spread: Option<Spread>,
    counts: [usize; METRICS.len()],
    medians: [Option<f64>; METRICS.len()],
    ranges: [Option<(f64, f64)>; METRICS.len()],
    spreads: [Option<Spread>; METRICS.len()],
}

impl Facts {
    /// The median over valid runs; `None` where it was not measured or the metric is no fact.
    pub fn median(&self, metric: &str) -> Option<f64> {
        METRICS.iter().position(|name| *name == metric).and_then(|index| self.medians[index])
    }

    /// In how many valid runs it was measured; 0 where the metric is no fact.
    pub fn runs_of(&self, metric: &str) -> usize {
        METRICS.iter().position(|name| *name == metric).map_or(0, |index| self.counts[index])
    }

    /// The smallest and the largest value of two valid runs or more.
    pub fn range(&self, metric: &str) -> Option<(f64, f64)> {
        METRICS.iter().position(|name| *name == metric).and_then(|index| self.ranges[index])
    }

    /// How far the values of two valid runs or more lie apart.
    pub fn spread_of(&self, metric: &str) -> Option<Spread> {
        METRICS.iter().position(|name| *name == metric).and_then(|index| self.spreads[index])
    }

    /// The spread of the throughput: it moves as the reciprocal of the latency does, whose samples say more than the few
    /// rates of runs; those where there is no latency.
    pub fn throughput_spread(&self) -> Option<Spread> {
        let by_latency = || {
            let (rate, latency, spread) = (self.throughput()?, self.latency_ms()?, self.spread?);
            Some(Spread { low: rate * (latency / spread.high), high: rate * (latency / spread.low), ..spread })
        };
        by_latency().or_else(|| self.spread_of("throughput_samples_per_second"))
    }

    /// Time of a batch in milliseconds: the median, or the mean where that alone is known.
    pub fn latency_ms(&self) -> Option<f64> {
        self.median("latency_p50_ms").or(self.median("latency_mean_ms"))
    }

    /// Samples per second.
    pub fn throughput(&self) -> Option<f64> {
        self.median("throughput_samples_per_second")
    }

    /// Generated tokens per second.
    pub fn tokens(&self) -> Option<f64> {
        self.median("throughput_tokens_per_second")
    }

    /// Peak memory: on the device where it is known, of the process otherwise.
    pub fn memory_mb(&self) -> Option<f64> {
        PEAK_MEMORY.iter().find_map(|name| self.median(name))
    }

    /// The metric of peak memory that both have, that of the device first: only the same memory may be compared.
    pub fn memory_of_both(&self, other: &Self) -> Option<&'static str> {
        PEAK_MEMORY.into_iter().find(|metric| [self, other].iter().all(|fact| fact.median(metric).is_some()))
    }

    /// Energy of a sample.
    pub fn energy_j(&self) -> Option<f64> {
        self.median("energy_per_sample_j")
    }

    /// What it costs in time: the latency, or the reciprocal of the rate where there is none.
    pub fn cost(&self) -> Option<f64> {
        self.latency_ms().or(self.throughput().map(|rate| 1e3 / rate)).filter(|cost| *cost > 0.0)
    }
}

/// The facts of a series that has a valid run, but for the spread within a single one. `metrics` are those of
/// [`metrics_of_facts`], in that order.
pub fn facts_of(series: &Series) -> Option<Facts> {
    let runs = series.valid_runs();
    if runs == 0 {
        return None;
    }
    let mut counts = [0; METRICS.len()];
    let mut medians = [None; METRICS.len()];
    let mut ranges = [None; METRICS.len()];
    let mut spreads = [None; METRICS.len()];
    for index in 0..METRICS.len() {
        let ascending = sorted(&series.values(index));
        counts[index] = ascending.len();
        medians[index] = quantile(&ascending, 0.5);
        if let [low, .., high] = ascending[..] {
            ranges[index] = Some((low, high));
        }
        spreads[index] = spread_of_runs(&ascending);
    }
    let latencies =
        |column: usize| -> RunValues { series.measured(column).map(|(run, value)| (run.run_id, value)).collect() };
    let medians_of_runs = latencies(0);
    let by_mean = medians_of_runs.is_empty();
    let latencies = if by_mean { latencies(1) } else { medians_of_runs };
    let valid = || series.runs.iter().filter(|run| run.validity == Validity::Valid);
    Some(Facts {
        identity: series.identity.clone(),
        configuration_id: series.configuration_id,
        software: series.software,
        compute_units: series.compute_units,
        environments: valid().map(|run| run.environment).collect(),
        runs,
        fewest_iterations: valid().map(|run| run.iterations).min().unwrap_or_default(),
        newest_run: valid().next_back().and_then(|run| run.run_id),
        spread: spread_of_runs(&sorted(&latencies.iter().map(|(_, value)| *value).collect::<Vec<_>>())),
        latencies,
        by_mean,
        counts,
        medians,
        ranges,
        spreads,
    })
}

/// Writes the number of compute units behind the names of devices that would otherwise look like one.
pub fn tell_devices_apart(facts: &mut [Facts]) {
    let mut units: HashMap<String, BTreeSet<Option<u32>>> = HashMap::new();
    for fact in facts.iter() {
        units.entry(fact.identity.get(Part::Device).to_owned()).or_default().insert(fact.compute_units);
    }
    for fact in facts {
        let name = fact.identity.get(Part::Device).to_owned();
        if let (Some(own), true) = (fact.compute_units, units.get(&name).is_some_and(|units| units.len() > 1)) {
            fact.identity.set(Part::Device, format!("{name} ({own} units)"));
        }
    }
}

/// What has to be said where configurations pool runs of several versions of an engine: those are no repetitions of each
/// other.
pub fn pooled_versions(facts: &[Facts], environments: &[Environment]) -> Option<String> {
    let version = |index: &usize| {
        let environment = environments.get(*index)?;
        environment.engine_version.clone().or_else(|| environment.framework_version.clone())
    };
    let mixed: Vec<BTreeSet<String>> = facts
        .iter()
        .map(|fact| fact.environments.iter().filter_map(version).collect::<BTreeSet<_>>())
        .filter(|versions| versions.len() > 1)
        .collect();
    if mixed.is_empty() {
        return None;
    }
    let all: BTreeSet<&String> = mixed.iter().flatten().collect();
    let shown: Vec<&str> = all.iter().rev().take(4).map(|version| version.as_str()).collect();
    Some(format!(
        "{} runs of several versions ({}); `--framework VERSION` or `--campaign last` parts them",
        counted(mixed.len(), "configuration pools", "configurations pool"),
        shown.join(", ")
    ))
}

/// The runs that are the only ones of their configuration: what [`add_samples`] wants to see the iterations of.
pub fn single_runs(facts: &[Facts]) -> Vec<i64> {
    let single = facts.iter().filter_map(|fact| match fact.latencies[..] {
        [(run, _)] => run,
        _ => None,
    });
    single.collect()
}

/// Adds the spread within single runs, from their iterations.
pub fn add_samples(facts: &mut [Facts], iterations: &Iterations) {
    for fact in facts {
        if let [(Some(run), _)] = fact.latencies[..] {
            let samples = iterations.get(&run);
            let interval = samples.and_then(|samples| median_interval(&sorted(samples), CONFIDENCE));
            fact.spread = interval.map(|(low, high)| Spread { low, high, of: IntervalOf::Samples });
        }
    }
}

/// The spread of values in ascending order, one a run.
fn spread_of_runs(ascending: &[f64]) -> Option<Spread> {
    if let Some((low, high)) = median_interval(ascending, CONFIDENCE) {
        return Some(Spread { low, high, of: IntervalOf::Runs });
    }
    match ascending {
        [low, .., high] => Some(Spread { low: *low, high: *high, of: IntervalOf::Range }),
        _ => None,
    }
}
