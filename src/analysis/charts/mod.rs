//! Charts as data: one file a family of charts, each a pure function from what analysis knows to a [`Sheet`]. Nothing here
//! reads, draws or prints.

mod accuracy;

mod explanations;
mod history;
mod names;
mod pairs;
mod predicted;
mod rows;
mod run;
mod scaling;
mod speedup;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;

pub use self::accuracy::accuracy;
pub use self::explanations::explanations;
pub use self::history::{HistoryFacts, MOST_RUNS, history, metrics_of_history};
pub use self::pairs::{precision, training_inference};
pub use self::predicted::{Tried, predicted};
pub use self::rows::{cold_start, energy, latency, memory, throughput};
pub use self::run::{samples, telemetry};
pub use self::scaling::batch_scaling;
pub use self::speedup::speedup;

use super::facts::Facts;
use crate::domain::chart::{Behind, Chart, Panel, Sheet};
use crate::domain::label::display_as_label;
use crate::domain::text::{counted, sentence};
use crate::domain::{Identity, Part};

/// The most rows, or series, of one sheet.
pub const MOST: usize = 60;

/// A chart, by its name; its label is also the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ChartName {
    /// Samples per second of every configuration.
    Throughput,
    /// Median, p95 and p99 of every configuration.
    Latency,
    /// Peak memory of the process and of the device.
    Memory,
    /// Throughput and latency over the batch size.
    #[value(alias = "batch-scaling")]
    BatchScaling,
    /// Training steps beside inference.
    #[value(alias = "training-inference")]
    TrainingInference,
    /// Other precisions against fp32.
    Precision,
    /// Speed-ups of models over a reference, as a heat map.
    Speedup,
    /// Energy of a sample.
    Energy,
    /// Accuracy over throughput, with the Pareto front.
    Accuracy,
    /// Build, compilation and first inference.
    #[value(alias = "cold-start")]
    ColdStart,
    /// Sensors of one run over time, under its iterations.
    Telemetry,
    /// The iterations of one run: histogram and sequence.
    Samples,
    /// The runs of one configuration in time, with changes and verdicts.
    History,
    /// Forecasts beside what was measured: a fifth of the pairs of model and device is hidden and forecast from the rest,
    /// which takes its time.
    Predicted,
    /// What explanations cost: six panels.
    Explanations,
}

display_as_label!(ChartName);

impl ChartName {
    /// What the chart shows, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Throughput => "Throughput",
            Self::Latency => "Latency of a batch",
            Self::Memory => "Peak memory",
            Self::BatchScaling => "Scaling with the batch size",
            Self::TrainingInference => "Training beside inference",
            Self::Precision => "What precision changes",
            Self::Speedup => "Speed-up",
            Self::Energy => "Energy of a sample",
            Self::Accuracy => "Accuracy against speed",
            Self::ColdStart => "Cold start: until the first answer",
            Self::Telemetry => "Telemetry of one run",
            Self::Samples => "Iterations of one run",
            Self::History => "History of one configuration",
            Self::Predicted => "Forecasts beside measurements",
            Self::Explanations => "What explanations cost",
        }
    }

    /// A sheet with nothing on it.
    fn nothing(self, reason: impl Into<String>) -> Sheet {
        Sheet::Nothing { name: self.to_string(), reason: reason.into() }
    }

    fn chart(self, subtitle: &[&str], panels: Vec<Panel>) -> Chart {
        Chart {
            name: self.to_string(),
            title: self.title().to_owned(),
            subtitle: subtitle.iter().copied().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" \u{b7} "),
            panels,
            columns: 1,
            notes: Vec::new(),
            behind: None,
            statement: None,
        }
    }
}

/// What was read of the selected runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The configurations with valid runs.
    pub facts: Vec<Facts>,
    /// Selected runs whose numbers do not count: they failed, or are not valid.
    pub not_valid: usize,
    /// That runs of several versions were pooled, where they were.
    pub versions: Option<String>,
    /// Whether software that pretends to be a device is shown.
    pub include_software: bool,
}

impl Record {
    /// The configurations that are shown.
    fn shown(&self) -> Vec<&Facts> {
        self.facts.iter().filter(|fact| self.include_software || !fact.software).collect()
    }

    /// What was left out of a chart, and why.
    fn left_out(&self, used: impl Fn(&Facts) -> bool) -> Vec<String> {
        let mut notes = Vec::new();
        let software = self.facts.iter().filter(|fact| fact.software && !self.include_software && used(fact)).count();
        if software > 0 {
            notes.push(format!(
                "Left out: {} of software that pretends to be a device; `--include-software` shows them.",
                counted(software, "configuration", "configurations")
            ));
        }
        if self.not_valid > 0 {
            notes.push(format!(
                "Left out: {} that failed or whose numbers do not count; `status` and `validity` in `results` say why.",
                counted(self.not_valid, "run", "runs")
            ));
        }
        notes.extend(self.versions.as_deref().map(sentence));
        notes
    }

    /// Why a chart of something that was measured of no configuration has nothing to show; `way_out` follows where it is
    /// for no other reason.
    fn why_nothing(&self, what: &str, way_out: &str, used: impl Fn(&Facts) -> bool) -> String {
        let hidden = !self.include_software && self.facts.iter().any(|fact| fact.software && used(fact));
        self.why(hidden, what, &format!("no selected configuration has {what}{way_out}"))
    }

    /// Whether there is something to show once software that pretends to be a device is shown.
    fn is_hidden(&self, any: impl Fn(&Self) -> bool) -> bool {
        let hides = !self.include_software && self.facts.iter().any(|fact| fact.software);
        hides && any(&Self { include_software: true, ..self.clone() })
    }

    /// Why there is nothing: `what` is hidden, no run counts, or otherwise this sentence.
    fn why(&self, hidden: bool, what: &str, otherwise: &str) -> String {
        match (self.facts.is_empty(), self.not_valid) {
            _ if hidden => {
                format!("only software that pretends to be a device has {what}; `--include-software` shows it")
            }
            (true, 0) => "no run is selected".to_owned(),
            (true, runs) => {
                let are = counted(runs, "selected run is not", "selected runs are not");
                format!("no valid run is selected: {are} valid (`validity` in the view `results` says why)")
            }
            _ => otherwise.to_owned(),
        }
    }

    /// The runs that are the only ones of a configuration on one of these charts: what the iterations are wanted of, for
    /// the intervals of [`add_samples`](super::facts::add_samples). At most a few hundred, however many runs there are.
    pub fn single_runs(&self, charts: &[ChartName]) -> Vec<i64> {
        let shown = |chart: &ChartName| match chart {
            ChartName::Throughput => rows::throughput_rows(self).into_iter().flat_map(|group| group.facts).collect(),
            ChartName::Latency => rows::latency_rows(self).into_iter().flat_map(|group| group.facts).collect(),
            ChartName::BatchScaling => scaling::shown(self),
            ChartName::TrainingInference => pairs::trained(self),
            ChartName::Precision => pairs::precise(self),
            ChartName::Accuracy => accuracy::shown(self).into_iter().flat_map(|group| group.facts).collect(),
            ChartName::Explanations => explanations::shown(self).facts,
            _ => Vec::new(),
        };
        let mut runs: Vec<i64> = charts
            .iter()
            .flat_map(shown)
            .filter_map(|fact| match fact.latencies[..] {
                [(run, _)] => run,
                _ => None,
            })
            .collect();
        runs.sort_unstable();
        runs.dedup();
        runs
    }
}

/// A chart of one run where no selected run kept what it shows.
pub fn nothing_of_runs(chart: ChartName) -> Sheet {
    chart.nothing(match chart {
        ChartName::Telemetry => {
            "no selected run kept readings of sensors; runs of `benchdb run` do, unless `--telemetry-interval` is 0"
        }
        _ => "no selected run kept its iterations; runs of `benchdb run` do, imported summaries do not",
    })
}

/// Facts in the order in which they are shown, and how many there were.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ranked<'r> {
    facts: Vec<&'r Facts>,
    of: usize,
}

/// So many models stand apart on a sheet, each with its configurations; of more only the order by value reads well.
const MOST_GROUPS: usize = 8;

/// The `most` facts with the smallest key, in order. Where few models have several each, those of a model stand together,
/// the models in the order of their best.
fn ranked<'r>(
    facts: impl IntoIterator<Item = &'r Facts>,
    key: impl Fn(&Facts) -> Option<f64>,
    most: usize,
) -> Ranked<'r> {
    let mut keyed: Vec<(f64, &Facts)> =
        facts.into_iter().filter_map(|fact| Some((key(fact).filter(|key| key.is_finite())?, fact))).collect();
    keyed.sort_by(|left, right| left.0.total_cmp(&right.0).then_with(|| left.1.identity.cmp(&right.1.identity)));
    let of = keyed.len();
    let mut facts: Vec<&Facts> = keyed.into_iter().take(most).map(|(_, fact)| fact).collect();
    let places = names::places_of_models(facts.iter().map(|fact| &fact.identity));
    if places.len() <= MOST_GROUPS && facts.len() >= 2 * places.len() {
        // A stable sort: within a model the order stays.
        facts.sort_by_key(|fact| places.get(fact.identity.get(Part::Model)).copied());
    }
    Ranked { facts, of }
}

/// That only some are shown, where that is so: `the 60 fastest of 300 configurations`.
fn note_of_limit(shown: usize, of: usize, best: &str, what: &str) -> Option<String> {
    (of > shown).then(|| {
        format!(
            "Shown are the {shown} {best} of {of} {what}; `--model`, `--hardware`, `--engine`, `--batch-sizes` and the \
             other options of selection choose others."
        )
    })
}

/// The modes of facts, in the order of their names as people think of them, each with its facts.
fn by_mode<'r>(facts: &[&'r Facts]) -> BTreeMap<usize, (String, Vec<&'r Facts>)> {
    const ORDER: [&str; 3] = ["inference", "training", "explanation"];
    let mut modes: BTreeMap<usize, (String, Vec<&Facts>)> = BTreeMap::new();
    for fact in facts {
        let mode = fact.identity.get(Part::Mode);
        let place = ORDER.iter().position(|known| *known == mode).unwrap_or(ORDER.len());
        modes.entry(place).or_insert_with(|| (mode.to_owned(), Vec::new())).1.push(fact);
    }
    modes
}

/// What a chart of these configurations rests on, with these columns of `results`; `None` where the record does not keep one
/// of them.
fn rests_on(columns: &[&'static str], facts: &[&Facts]) -> Option<Behind> {
    let ids: BTreeSet<i64> = facts.iter().map(|fact| fact.configuration_id).collect::<Option<_>>()?;
    let found = || Behind::Configurations { ids: ids.iter().copied().collect(), columns: columns.to_vec() };
    (!ids.is_empty()).then(found)
}

fn identities<'r>(facts: &[&'r Facts]) -> Vec<&'r Identity> {
    facts.iter().map(|fact| &fact.identity).collect()
}

#[cfg(test)]
mod tests;
