//! The charts of a selection: what is read for them, and which are asked for. `visualize`, `report` and `serve` draw what
//! comes out.

use std::collections::HashMap;

use clap::ValueEnum as _;

use super::sides::restarts;
use crate::analysis::charts::{self, ChartName, HistoryFacts, Record, Tried, metrics_of_history};
use crate::analysis::compare::Reference;
use crate::analysis::facts::{Facts, add_samples, facts_of, metrics_of_facts, pooled_versions, tell_devices_apart};
use crate::domain::chart::Sheet;
use crate::domain::label::parse_label;
use crate::domain::profile::PROFILE_PARAMETER;
use crate::domain::text::{counted, one_line};
use crate::domain::{Example, RunRecord, Series};
use crate::predict::evaluate::{Protocol, try_protocol};
use crate::predict::{DeviceTable, FitOptions, LEAST_ROWS};
use crate::store::again::statement_of_chart;
use crate::store::list::{Detail, Selection};
use crate::store::series::Kept;
use crate::store::{Store, StoreError};

/// Runs of a history whose iterations are read for their intervals, the newest.
const RUNS_WITH_INTERVALS: usize = 200;

/// Measurements that forecasts are tried on, at most: fitting takes its time.
const MOST_EXAMPLES: usize = 3_000;

/// Which charts, and how.
#[derive(Clone, Debug)]
pub(super) struct SheetOptions {
    /// The charts, in this order.
    pub(super) charts: Vec<ChartName>,
    /// What speed-ups are relative to.
    pub(super) relative_to: Reference,
    /// Whether software that pretends to be a device is shown.
    pub(super) include_software: bool,
    /// A change of a history by this share is a regression.
    pub(super) alert: f64,
}

impl Default for SheetOptions {
    /// All charts but the forecasts, which are fitted first and take their time.
    fn default() -> Self {
        let quick = ChartName::value_variants().iter().copied().filter(|chart| *chart != ChartName::Predicted);
        Self { charts: quick.collect(), relative_to: Reference::default(), include_software: false, alert: 0.1 }
    }
}

/// One sheet a chart that is asked for, in that order: the chart, or why there is nothing to show. Of the samples only those
/// are read that something on a chart rests on, however many runs are selected.
///
/// # Errors
/// A database that cannot be read.
pub(super) fn sheets(store: &Store, selection: &Selection, options: &SheetOptions) -> anyhow::Result<Vec<Sheet>> {
    let of_configurations =
        |chart: &ChartName| !matches!(chart, ChartName::Telemetry | ChartName::Samples | ChartName::Predicted);
    let read =
        if options.charts.iter().any(of_configurations) { read(store, selection, options)? } else { Read::default() };
    let record = &read.record;
    let mut runs: HashMap<i64, RunRecord> = HashMap::new();
    let mut sheets = Vec::with_capacity(options.charts.len());
    for chart in &options.charts {
        sheets.push(match chart {
            ChartName::Throughput => charts::throughput(record),
            ChartName::Latency => charts::latency(record),
            ChartName::Memory => charts::memory(record),
            ChartName::BatchScaling => charts::batch_scaling(record),
            ChartName::TrainingInference => charts::training_inference(record),
            ChartName::Precision => charts::precision(record),
            ChartName::Speedup => charts::speedup(record, &options.relative_to),
            ChartName::Energy => charts::energy(record),
            ChartName::Accuracy => charts::accuracy(record),
            ChartName::ColdStart => charts::cold_start(record),
            ChartName::Explanations => charts::explanations(record),
            ChartName::History => history(store, selection, &read, options.alert)?,
            ChartName::Telemetry => of_run(store, selection, *chart, Kept::Telemetry, &mut runs)?,
            ChartName::Samples => of_run(store, selection, *chart, Kept::Samples, &mut runs)?,
            ChartName::Predicted => predicted(store, selection)?,
        });
    }
    for sheet in &mut sheets {
        if let Sheet::Chart(chart) = sheet {
            chart.statement = chart.behind.as_ref().map(|behind| statement_of_chart(behind, selection));
        }
    }
    Ok(sheets)
}

/// What was read of the selected runs.
#[derive(Default)]
struct Read {
    record: Record,
    /// The configuration with the most valid runs.
    longest: Option<Longest>,
    /// How many others have two valid runs or more.
    other_histories: usize,
    /// How many more have, of software that is not shown.
    hidden_histories: usize,
}

/// The longest history so far.
struct Longest {
    configuration_id: i64,
    runs: usize,
    newest: Option<i64>,
}

impl Read {
    fn take(&mut self, series: &Series, include_software: bool) -> Option<Facts> {
        let valid = series.valid_runs();
        self.record.not_valid += series.runs.len() - valid;
        let shown = include_software || !series.software;
        self.hidden_histories += usize::from(!shown && valid > 1);
        if let Some(configuration_id) = series.configuration_id.filter(|_| shown && valid > 1) {
            let newest = series.runs.iter().filter_map(|run| run.run_id).max();
            let found = Longest { configuration_id, runs: valid, newest };
            self.other_histories += usize::from(self.longest.is_some());
            if self.longest.as_ref().is_none_or(|best| (best.runs, best.newest) < (found.runs, found.newest)) {
                self.longest = Some(found);
            }
        }
        facts_of(series)
    }
}

fn read(store: &Store, selection: &Selection, options: &SheetOptions) -> anyhow::Result<Read> {
    let mut read = Read::default();
    let mut facts: Vec<Facts> = Vec::new();
    // A profile stands beside others only for who asks for it.
    let profiles = selection.parameters.contains_key(PROFILE_PARAMETER.0) || !selection.runs.is_empty();
    let environments = store.for_each_series(selection, &metrics_of_facts(), |series| {
        let shown = profiles || !series.identity.is_profile();
        facts.extend(read.take(&series, options.include_software).filter(|_| shown));
        Ok::<_, StoreError>(())
    })?;
    tell_devices_apart(&mut facts);
    read.record.versions = pooled_versions(&facts, &environments);
    read.record.include_software = options.include_software;
    read.record.facts = facts;
    let iterations = store.read_iterations(&read.record.single_runs(&options.charts))?;
    add_samples(&mut read.record.facts, &iterations);
    Ok(read)
}

/// The history of the selected configuration with the most runs.
fn history(store: &Store, selection: &Selection, read: &Read, alert: f64) -> anyhow::Result<Sheet> {
    let Some(longest) = &read.longest else {
        let none = HistoryFacts { hidden: read.hidden_histories, ..HistoryFacts::default() };
        return Ok(charts::history(&none, alert));
    };
    let wanted = Selection { configurations: vec![longest.configuration_id], ..selection.clone() };
    let set = store.read_series(&wanted, metrics_of_history())?;
    let runs: Vec<i64> = set.series.iter().flat_map(|series| &series.runs).filter_map(|run| run.run_id).collect();
    let newest = |most: usize| &runs[runs.len().saturating_sub(most)..];
    let verdicts = store.list_verdicts_at(newest(charts::MOST_RUNS))?.into_iter();
    let facts = HistoryFacts {
        iterations: store.read_iterations(newest(RUNS_WITH_INTERVALS))?,
        restarts: restarts(store)?,
        verdicts: verdicts.filter_map(|one| Some((one.run_id, one.metric, parse_label(&one.verdict)?))).collect(),
        others: read.other_histories,
        hidden: read.hidden_histories,
        set,
    };
    Ok(charts::history(&facts, alert))
}

/// A chart of the newest selected run that has what it shows.
fn of_run(
    store: &Store,
    selection: &Selection,
    chart: ChartName,
    kept: Kept,
    known: &mut HashMap<i64, RunRecord>,
) -> anyhow::Result<Sheet> {
    let Some(id) = store.newest_run_with(selection, kept)? else {
        return Ok(charts::nothing_of_runs(chart));
    };
    if !known.contains_key(&id) {
        let one = Selection { runs: vec![id.to_string()], ..Selection::default() };
        known.extend(store.list_runs(&one, Detail::Whole)?);
    }
    Ok(match (known.get(&id), chart) {
        (Some(run), ChartName::Telemetry) => charts::telemetry(id, run),
        (Some(run), _) => charts::samples(id, run),
        (None, _) => charts::nothing_of_runs(chart),
    })
}

/// Forecasts of measurements that were hidden from what forecast them: a fifth of the pairs of model and device.
fn predicted(store: &Store, selection: &Selection) -> anyhow::Result<Sheet> {
    let mut examples = store.list_examples(selection)?;
    // Software that pretends to be a card says nothing about cards.
    examples.retain(|example| !example.subject.device.software && example.seconds_per_sample().is_some());
    let all = examples.len();
    if all > MOST_EXAMPLES {
        examples = (0..MOST_EXAMPLES).map(|place| examples[place * all / MOST_EXAMPLES].clone()).collect();
    }
    if all < LEAST_ROWS {
        let few = format!(
            "{LEAST_ROWS} on real devices are needed to learn from, and {} selected",
            if all == 1 { "1 is".to_owned() } else { format!("{all} are") }
        );
        return Ok(charts::predicted(&[], &few));
    }
    let mut table = DeviceTable::built_in();
    table.add_probes(&store.newest_device_probes()?);
    let trials = match try_protocol(&examples, Protocol::Pair, &table, &FitOptions::default(), 1) {
        Ok(trials) => trials,
        Err(error) => {
            let why = format!(
                "a fifth of the pairs of model and device would be hidden, and of the rest {}",
                one_line(&error)
            );
            return Ok(charts::predicted(&[], &why));
        }
    };
    let tried: Vec<Tried> = trials
        .iter()
        .filter_map(|trial| {
            let Example { subject, .. } = &examples[trial.row];
            Some(Tried {
                name: format!(
                    "{}, {}, {}, batch {}",
                    subject.model, subject.mode, subject.precision, subject.batch_size
                ),
                device: subject.device.name.clone(),
                measured: trial.truth,
                forecast: trial.answers[0]?,
                ninety: trial.ninety,
            })
        })
        .collect();
    if tried.is_empty() {
        let why = "what was hidden could not be forecast, for which the multiply-adds of its model have to be known";
        return Ok(charts::predicted(&[], why));
    }
    let of = if all > examples.len() { format!(" of {all}, taken evenly") } else { String::new() };
    let how = format!(
        "{}{of}; a fifth of the pairs of model and device was hidden and forecast from the rest",
        counted(examples.len(), "measurement", "measurements")
    );
    Ok(charts::predicted(&tried, &how))
}
