//! Series: all runs of one configuration in time, with the metrics that somebody asks about. What comparisons,
//! verdicts, recommendations and histories are about.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::configuration::Configuration;
use super::environment::Environment;
use super::hardware::DeviceKind;
use super::label::{Labelled as _, display_as_label};
use super::metric::Metric;
use super::profile::PROFILE_PARAMETER;
use super::run::{RunRecord, RunStatus, Validity};
use super::table::Cell;
use super::time::milliseconds;

/// A part of what identifies a configuration; its label is the column of `results`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Part {
    /// The model's canonical name.
    Model,
    /// A user's label for a version of the model.
    Variant,
    /// What was timed.
    Mode,
    /// How the device was reached.
    Platform,
    /// The device's name.
    Device,
    /// The software that executed.
    Engine,
    /// The arithmetic.
    Precision,
    /// Samples in one iteration.
    BatchSize,
    /// The shape of one sample.
    InputShape,
    /// Threads on the host.
    Threads,
    /// All else that changes the work.
    Parameters,
}

display_as_label!(Part);

impl Part {
    /// Every part, in the order in which tables show them.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The part of this configuration as text.
    pub fn of(self, configuration: &Configuration) -> String {
        match self {
            Self::Model => configuration.model.clone(),
            Self::Variant => configuration.variant.clone(),
            Self::Mode => configuration.mode.label().to_owned(),
            Self::Platform => configuration.platform.label().to_owned(),
            Self::Device => configuration.device.name.clone(),
            Self::Engine => configuration.engine.clone(),
            Self::Precision => configuration.precision.label().to_owned(),
            Self::BatchSize => configuration.batch_size.to_string(),
            Self::InputShape => configuration.input_shape.clone(),
            Self::Threads => configuration.threads.to_string(),
            Self::Parameters => configuration.parameters_json(),
        }
    }
}

/// The parts that are known of a configuration, as text. A file of somebody else may not have all.
///
/// Identities are in order of their parts; batch 8 comes before batch 16.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity(BTreeMap<Part, String>);

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = |part: &Part, text: &str| match part {
            Part::BatchSize | Part::Threads => text.parse::<u64>().ok(),
            _ => None,
        };
        serializer.collect_map(self.0.iter().map(|(part, text)| match number(part, text) {
            Some(number) => (part, Value::from(number)),
            None => (part, Value::from(text.as_str())),
        }))
    }
}

impl Ord for Identity {
    fn cmp(&self, other: &Self) -> Ordering {
        let number = |part: &Part, text: &str| match part {
            Part::BatchSize | Part::Threads => text.parse::<u64>().ok(),
            _ => None,
        };
        let one = |(part, text): (&Part, &String), (other_part, other_text): (&Part, &String)| {
            let by_number = number(part, text).cmp(&number(other_part, other_text));
            part.cmp(other_part).then(by_number).then_with(|| text.cmp(other_text))
        };
        let pairs = self.0.iter().zip(&other.0).map(|(mine, theirs)| one(mine, theirs));
        pairs.into_iter().find(|order| *order != Ordering::Equal).unwrap_or(self.0.len().cmp(&other.0.len()))
    }
}

impl PartialOrd for Identity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Identity {
    /// All parts of a configuration.
    pub fn of(configuration: &Configuration) -> Self {
        Self(Part::all().iter().map(|part| (*part, part.of(configuration))).collect())
    }

    /// The part, or an empty text where it is not known.
    pub fn get(&self, part: Part) -> &str {
        self.0.get(&part).map_or("", String::as_str)
    }

    /// The part in a table: a number where it is one, nothing where it says nothing.
    pub fn cell(&self, part: Part) -> Cell {
        match (part, self.get(part)) {
            (_, "") => Cell::Null,
            (Part::BatchSize | Part::Threads, text) => text.parse::<i64>().map_or_else(|_| text.into(), Cell::Integer),
            (_, text) => text.into(),
        }
    }

    /// Whether the part is known; it may be empty.
    pub fn has(&self, part: Part) -> bool {
        self.0.contains_key(&part)
    }

    /// Makes a part known.
    pub fn set(&mut self, part: Part, text: String) {
        self.0.insert(part, text);
    }

    /// These parts of it.
    pub fn only(&self, parts: &[Part]) -> Self {
        Self(self.0.iter().filter(|(part, _)| parts.contains(part)).map(|(part, text)| (*part, text.clone())).collect())
    }

    /// The batch size as a number.
    pub fn batch_size(&self) -> Option<f64> {
        self.get(Part::BatchSize).parse().ok()
    }

    /// The attribution method of an explanation, the optimizer of a training step, whether it is a profile, or an empty
    /// text: what makes two works of one mode different ones.
    pub fn work(&self) -> String {
        let parameters = self.parameters();
        let named = ["method", "optimizer", "generate", PROFILE_PARAMETER.0].into_iter().filter_map(|name| {
            let value = parameters.get(name)?;
            Some(match value.as_str() {
                // What it is a value of does not go without saying.
                Some(text) if name == PROFILE_PARAMETER.0 => [name, "=", text].concat(),
                Some(text) => text.to_owned(),
                None => [name, "=", &value.to_string()].concat(),
            })
        });
        named.collect::<Vec<_>>().join(", ")
    }

    /// Whether it is a profile of operators, which is never compared with plain runs.
    pub fn is_profile(&self) -> bool {
        self.parameters().contains_key(PROFILE_PARAMETER.0)
    }

    /// All else that changes the work; nothing where that is not known.
    fn parameters(&self) -> Map<String, Value> {
        serde_json::from_str(self.get(Part::Parameters)).unwrap_or_default()
    }
}

/// Where runs come from together: the runs of one campaign, or of one import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RunGroup {
    /// One invocation of `benchdb run`.
    Campaign(i64),
    /// One imported file.
    Import(i64),
    /// A run that belongs to nothing.
    Alone,
}

/// One run of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesRun {
    /// The run's row id; a run that came from a file has none.
    pub run_id: Option<i64>,
    /// Its UUID; a row of a file may have none.
    pub uuid: Option<u128>,
    /// What it was measured together with.
    pub group: RunGroup,
    /// When it started, in milliseconds since 1970.
    pub started_at_ms: Option<i64>,
    /// Its environment: an index into [`SeriesSet::environments`].
    pub environment: usize,
    /// Its timed iterations; 0 where the source does not say.
    pub iterations: u64,
    /// Whether its numbers count.
    pub validity: Validity,
    /// How it ended.
    pub status: RunStatus,
}

/// All runs of one configuration, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The configuration's row id, where it came from a database.
    pub configuration_id: Option<i64>,
    /// What is known of the configuration.
    pub identity: Identity,
    /// The kind of its device, where it is known.
    pub device_kind: Option<DeviceKind>,
    /// Cores or compute units of its device, where they are known.
    pub compute_units: Option<u32>,
    /// Whether software pretends to be the device.
    pub software: bool,
    /// The runs.
    pub runs: Vec<SeriesRun>,
    /// One row a run with the metrics of the set; NaN is not measured.
    values: Vec<f64>,
}

impl Series {
    /// A series without runs.
    pub fn new(configuration_id: Option<i64>, identity: Identity) -> Self {
        Self {
            configuration_id,
            identity,
            device_kind: None,
            compute_units: None,
            software: false,
            runs: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds a run with one value a metric of the set; NaN is not measured.
    pub fn push(&mut self, run: SeriesRun, values: impl IntoIterator<Item = f64>) {
        self.runs.push(run);
        self.values.extend(values);
    }

    /// What was measured in a run.
    pub fn value(&self, run: usize, metric: usize) -> Option<f64> {
        let width = self.values.len() / self.runs.len().max(1);
        self.values.get(run * width + metric).copied().filter(|value| !value.is_nan())
    }

    /// The valid runs in which the metric was measured, and their values.
    pub fn measured(&self, metric: usize) -> impl Iterator<Item = (&SeriesRun, f64)> {
        let valid = self.runs.iter().enumerate().filter(|(_, run)| run.validity == Validity::Valid);
        valid.filter_map(move |(index, run)| Some((run, self.value(index, metric)?)))
    }

    /// The values of the metric in valid runs.
    pub fn values(&self, metric: usize) -> Vec<f64> {
        self.measured(metric).map(|(_, value)| value).collect()
    }

    /// How many runs are valid.
    pub fn valid_runs(&self) -> usize {
        self.runs.iter().filter(|run| run.validity == Validity::Valid).count()
    }

    /// Keeps the runs for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&SeriesRun) -> bool) {
        let width = self.values.len() / self.runs.len().max(1);
        let kept: Vec<bool> = self.runs.iter().map(&mut keep).collect();
        let mut run = kept.iter();
        self.runs.retain(|_| *run.next().unwrap_or(&true));
        let mut index = 0;
        self.values.retain(|_| {
            let keep = kept.get(index / width.max(1)).copied().unwrap_or(true);
            index += 1;
            keep
        });
    }
}

/// Series with the same metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesSet {
    /// The metrics of each run's values.
    pub metrics: Vec<&'static Metric>,
    /// The series.
    pub series: Vec<Series>,
    /// The environments that the runs point to.
    pub environments: Vec<Environment>,
}

impl SeriesSet {
    /// An empty set.
    pub fn new(metrics: Vec<&'static Metric>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// Where a metric stands in each run's values.
    pub fn metric(&self, name: &str) -> Option<usize> {
        self.metrics.iter().position(|metric| metric.name == name)
    }

    /// The number of runs.
    pub fn run_count(&self) -> usize {
        self.series.iter().map(|series| series.runs.len()).sum()
    }

    /// Keeps the runs for which `keep` is true, and the series that still have any.
    pub fn retain_runs(&mut self, mut keep: impl FnMut(&SeriesRun) -> bool) {
        for series in &mut self.series {
            series.retain(&mut keep);
        }
        self.series.retain(|series| !series.runs.is_empty());
    }
}

/// Collects runs that came from files.
#[derive(Debug)]
pub struct SeriesBuilder {
    set: SeriesSet,
    by_fingerprint: BTreeMap<String, usize>,
    by_environment: BTreeMap<String, usize>,
}

impl SeriesBuilder {
    /// A builder for these metrics.
    pub fn new(metrics: Vec<&'static Metric>) -> Self {
        Self { set: SeriesSet::new(metrics), by_fingerprint: BTreeMap::new(), by_environment: BTreeMap::new() }
    }

    /// Adds a run.
    pub fn push(&mut self, record: &RunRecord) {
        let environments = &mut self.set.environments;
        let environment = *self.by_environment.entry(record.environment.fingerprint()).or_insert_with(|| {
            environments.push(record.environment.clone());
            environments.len() - 1
        });
        let series = &mut self.set.series;
        let index = *self.by_fingerprint.entry(record.configuration.fingerprint()).or_insert_with(|| {
            series.push(Series {
                device_kind: Some(record.configuration.device.kind),
                compute_units: record.configuration.device.compute_units,
                software: record.configuration.device.software,
                ..Series::new(None, Identity::of(&record.configuration))
            });
            series.len() - 1
        });
        let measurement = &record.measurement;
        let run = SeriesRun {
            run_id: None,
            uuid: uuid::Uuid::parse_str(&record.uuid).ok().map(|uuid| uuid.as_u128()),
            group: RunGroup::Alone,
            started_at_ms: record.started_at.as_deref().and_then(milliseconds),
            environment,
            iterations: measurement.iterations,
            validity: measurement.validity,
            status: measurement.status,
        };
        let values: Vec<f64> =
            self.set.metrics.iter().map(|metric| measurement.metrics.get(&metric.name).unwrap_or(f64::NAN)).collect();
        self.set.series[index].push(run, values);
    }

    /// What was collected, the runs of each series in order of time.
    pub fn finish(mut self) -> SeriesSet {
        for series in &mut self.set.series {
            series.sort();
        }
        self.set
    }
}

impl Series {
    /// Puts the runs in the order in which they were stored, where not all tell when they were made: what has no time is
    /// not the oldest.
    pub fn order_without_times(&mut self) {
        if self.runs.iter().any(|run| run.started_at_ms.is_none()) {
            self.reorder(|run| run.run_id);
        }
    }

    /// Puts the runs in order of time; those without a time come first, in the order in which they were added.
    fn sort(&mut self) {
        self.reorder(|run| run.started_at_ms);
    }

    fn reorder(&mut self, key: impl Fn(&SeriesRun) -> Option<i64>) {
        let width = self.values.len() / self.runs.len().max(1);
        let mut order: Vec<usize> = (0..self.runs.len()).collect();
        order.sort_by_key(|&index| key(&self.runs[index]));
        self.values =
            order.iter().flat_map(|&index| self.values[index * width..(index + 1) * width].to_vec()).collect();
        self.runs = order.iter().map(|&index| self.runs[index]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::find_metric;

    fn run(id: i64, validity: Validity) -> SeriesRun {
        SeriesRun {
            run_id: Some(id),
            uuid: None,
            group: RunGroup::Alone,
            started_at_ms: Some(-id),
            environment: 0,
            iterations: 50,
            validity,
            status: RunStatus::Ok,
        }
    }

    fn series() -> Series {
        let mut series = Series::new(None, Identity::default());
        series.push(run(1, Validity::Valid), [1.0, 10.0]);
        series.push(run(2, Validity::Throttled), [2.0, 20.0]);
        series.push(run(3, Validity::Valid), [f64::NAN, 30.0]);
        series
    }

    #[test]
    fn only_what_was_measured_in_valid_runs_counts() {
        assert_eq!(series().values(0), [1.0]);
        assert_eq!(series().values(1), [10.0, 30.0]);
        assert_eq!(series().value(2, 0), None);
        assert_eq!(series().valid_runs(), 2);
    }

    #[test]
    fn runs_keep_their_values_when_others_go() {
        let mut set =
            SeriesSet { series: vec![series()], ..SeriesSet::new(vec![find_metric("latency_p50_ms").unwrap()]) };
        set.retain_runs(|run| run.run_id != Some(1));
        assert_eq!(set.series[0].value(0, 1), Some(20.0));
        assert_eq!(set.series[0].value(1, 1), Some(30.0));
        set.retain_runs(|_| false);
        assert!(set.series.is_empty());
    }

    #[test]
    fn a_profile_is_another_work() {
        let of = |parameters: &str| {
            let mut identity = Identity::default();
            identity.set(Part::Parameters, parameters.into());
            (identity.work(), identity.is_profile())
        };
        assert_eq!(of(r#"{"profile":"operators"}"#), ("profile=operators".into(), true));
        assert_eq!(of(r#"{"optimizer":"adam","profile":"operators"}"#), ("adam, profile=operators".into(), true));
        assert_eq!(of(r#"{"generate":16,"optimizer":"adam"}"#), ("adam, generate=16".into(), false));
        for nothing in ["{}", "", "no JSON"] {
            assert_eq!(of(nothing), (String::new(), false));
        }
    }

    #[test]
    fn batch_sizes_are_in_order_of_size() {
        let of = |batch: &str| {
            let mut identity = Identity::default();
            identity.set(Part::Model, "resnet18".into());
            identity.set(Part::BatchSize, batch.into());
            identity
        };
        let mut identities = [of("16"), of("8"), of("128"), of("8")];
        identities.sort();
        assert_eq!(identities, [of("8"), of("8"), of("16"), of("128")]);
        assert!(Identity::default() < of("1"));
    }

    #[test]
    fn runs_are_put_in_order_of_time() {
        let mut series = series();
        series.sort();
        assert_eq!(series.runs.iter().filter_map(|run| run.run_id).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(series.value(2, 1), Some(10.0));
    }
}
