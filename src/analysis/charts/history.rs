//! The history of one configuration: its runs in time, its lasting changes, and what was concluded of them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::facts::Iterations;
use super::super::history::{ChangePoint, Histories, Restarts, histories};
use super::super::metrics::{MetricChoice, metrics_of};
use super::ChartName;
use super::names::names;
use crate::domain::chart::{
    Axis, Behind, Content, Join, Mark, Panel, Place, Plane, PlaneSeries, Point, Scale, Sheet, Tone, Value,
};
use crate::domain::label::Labelled as _;
use crate::domain::text::counted;
use crate::domain::time::moment;
use crate::domain::verdict::relative_change;
use crate::domain::{Judgement, Metric, Series, SeriesSet, Validity, Verdict};
use crate::stats::{ChangePointOptions, median_interval, sorted};

/// Runs of a history that are shown, at most; the newest.
pub const MOST_RUNS: usize = 1_000;

/// The metrics of a history: those that are judged where nobody asks for others.
pub fn metrics_of_history() -> Vec<&'static Metric> {
    metrics_of(&MetricChoice::primary())
}

/// What a history is made of.
#[derive(Clone, Debug, Default)]
pub struct HistoryFacts {
    /// The configuration's runs, the only series of the set, with [`metrics_of_history`].
    pub set: SeriesSet,
    /// The iterations of some of its runs: the intervals of their medians.
    pub iterations: Iterations,
    /// Where it starts anew because a person accepted a change.
    pub restarts: Restarts,
    /// What was concluded from a run on, and kept: the run, the metric, the verdict.
    pub verdicts: Vec<(i64, String, Verdict)>,
    /// How many other configurations of the selection have a history, too.
    pub others: usize,
    /// How many have one that is not shown, because software pretends to be their device.
    pub hidden: usize,
}

/// Where the runs stand on the horizontal axis.
struct Clock<'h> {
    series: &'h Series,
    dated: bool,
}

impl<'h> Clock<'h> {
    /// By date; by their order where not all of the runs have one.
    fn of(series: &'h Series) -> Self {
        Self { series, dated: series.runs.iter().all(|run| run.started_at_ms.is_some()) }
    }

    fn axis(&self) -> Axis {
        if self.dated {
            Axis::new("time of the run", "UTC").scaled(Scale::Time)
        } else {
            Axis::new("run, the oldest first", "").scaled(Scale::Linear)
        }
    }

    /// How many runs there are, and from when to when: the axis may say times alone.
    fn span(&self) -> String {
        let runs = counted(self.series.runs.len(), "run", "runs");
        let times = || self.series.runs.iter().filter_map(|run| run.started_at_ms);
        match times().min().zip(times().max()).filter(|_| self.dated) {
            Some((first, last)) => format!("{runs} from {} to {}", moment(first), moment(last)),
            None => runs,
        }
    }

    fn at(&self, index: usize) -> f64 {
        match self.series.runs[index].started_at_ms.filter(|_| self.dated) {
            Some(time) => time as f64,
            None => (index + 1) as f64,
        }
    }

    /// Where a run stands that is shown.
    fn of_run(&self, run: i64) -> Option<f64> {
        let index = self.series.runs.iter().position(|known| known.run_id == Some(run))?;
        shown(self.series).contains(&index).then(|| self.at(index))
    }
}

/// The runs that are shown: the newest.
fn shown(series: &Series) -> Range<usize> {
    series.runs.len().saturating_sub(MOST_RUNS)..series.runs.len()
}

/// The runs of which nothing is shown, counted by how they ended.
fn without_numbers(series: &Series, columns: &[usize]) -> Option<String> {
    let silent = |index: &usize| columns.iter().all(|&column| series.value(*index, column).is_none());
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for index in shown(series).filter(silent) {
        *counts.entry(series.runs[index].status.label()).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    let ended: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let have = counted(all, "run has", "runs have");
    (all > 0).then(|| format!("{have} no number here: {}.", ended.join(", ")))
}

/// The runs of a configuration in time, a panel a metric: points with their intervals, the levels between lasting changes,
/// and what was concluded. A change by the share `alert` is a regression, as in `benchdb regress --history`.
pub fn history(facts: &HistoryFacts, alert: f64) -> Sheet {
    let name = ChartName::History;
    let Some(series) = facts.set.series.first().filter(|series| series.runs.len() > 1) else {
        return name.nothing(match facts.hidden {
            0 => "no selected configuration has two valid runs or more; `benchdb run` again makes a history".to_owned(),
            hidden => format!(
                "only software that pretends to be a device has two valid runs or more, in {}; `--include-software` shows \
                 it",
                counted(hidden, "configuration", "configurations")
            ),
        });
    };
    let named = names(&[&series.identity], &[]);
    let clock = Clock::of(series);
    let options = ChangePointOptions::default();
    let choices = MetricChoice::primary();
    let Histories { judgements, changes } = histories(&facts.set, &choices, alert, &facts.restarts, &options);
    let mut panels = Vec::new();
    let (mut bars, mut barless) = (0, 0);
    let (mut columns, mut names_of_columns) = (Vec::new(), Vec::new());
    for judgement in choices.iter().filter_map(|choice| {
        judgements.iter().find(|judgement| choice.candidates.iter().any(|metric| metric.name == judgement.metric))
    }) {
        let Some(column) = facts.set.metric(&judgement.metric) else { continue };
        columns.push(column);
        let metric = facts.set.metrics[column];
        let changes: Vec<&ChangePoint> = changes.iter().filter(|change| change.metric == metric.name).collect();
        let panel = Drawn { facts, series, clock: &clock, metric, column, changes };
        names_of_columns.push(metric.name.as_str());
        let points = panel.runs(true);
        let with = points.iter().filter(|point| point.y.interval.is_some()).count();
        if with > 0 {
            (bars, barless) = (bars + with, barless + points.len() - with);
        }
        panels.push(panel.panel(judgement));
    }
    if panels.is_empty() {
        return name.nothing("the selected configuration has neither latency nor memory");
    }
    let said = if bars > 0 { "bars: 95 % interval of the median within a run" } else { "" };
    let mut chart = name.chart(&[&named.common, &clock.span(), said], panels);
    if series.runs.len() > MOST_RUNS {
        chart.notes.push(format!("Shown are the newest {MOST_RUNS} of {} runs.", series.runs.len()));
    }
    chart.notes.extend(without_numbers(series, &columns));
    if barless > 0 {
        let runs = counted(barless, "run has", "runs have");
        chart
            .notes
            .push(format!("{runs} no interval: its iterations are not known, or were not read because it is old."));
    }
    if facts.others > 0 {
        chart.notes.push(format!(
            "{} of the selection with two runs or more, none with more than this one; `--model`, `--engine`, `--batch-sizes` and the \
             like choose others.",
            counted(facts.others, "other configuration", "other configurations")
        ));
    }
    if facts.hidden > 0 {
        let hidden = counted(facts.hidden, "history", "histories");
        chart.notes.push(format!(
            "Left out: {hidden} of software that pretends to be a device; `--include-software` takes them, too."
        ));
    }
    chart.notes.push(format!(
        "Steps are lasting changes: of histories without any at most {} % show one by chance.",
        100.0 * options.false_alarm_rate
    ));
    if !clock.dated {
        chart.notes.push("Not all runs say when they started: they stand in their order.".to_owned());
    }
    chart.behind =
        series.configuration_id.map(|configuration| Behind::History { configuration, columns: names_of_columns });
    Sheet::Chart(chart)
}

/// One metric of the history.
struct Drawn<'h> {
    facts: &'h HistoryFacts,
    series: &'h Series,
    clock: &'h Clock<'h>,
    metric: &'static Metric,
    column: usize,
    changes: Vec<&'h ChangePoint>,
}

impl Drawn<'_> {
    /// The runs that count, or those that do not.
    fn runs(&self, valid: bool) -> Vec<Point> {
        let of_time = self.metric.name == "latency_p50_ms";
        shown(self.series)
            .filter(|&index| (self.series.runs[index].validity == Validity::Valid) == valid)
            .filter_map(|index| {
                let run = &self.series.runs[index];
                let samples = run.run_id.and_then(|id| self.facts.iterations.get(&id)).filter(|_| of_time);
                let interval = samples.and_then(|samples| median_interval(&sorted(samples), 0.95));
                let id = run.run_id.map_or_else(String::new, |id| format!("run {id}, "));
                let iterations = counted(run.iterations as usize, "iteration", "iterations");
                let why = if valid { String::new() } else { format!(", {}", run.validity) };
                let value = self.series.value(index, self.column)?;
                let y = Value { value, interval, detail: format!("{id}{iterations}{why}") };
                Some(Point { x: self.clock.at(index), y, label: String::new() })
            })
            .collect()
    }

    /// The levels between the steps that are shown; nothing where there is no step.
    fn levels(&self, runs: &[Point]) -> Vec<Point> {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Vec::new() };
        let mut steps: Vec<(f64, &ChangePoint)> = self
            .changes
            .iter()
            .filter(|change| !change.is_drift)
            .filter_map(|change| Some((self.clock.of_run(change.run_id?)?, *change)))
            .collect();
        steps.sort_by(|left, right| left.0.total_cmp(&right.0));
        let Some(begin) = steps.first().map(|(_, step)| step.before) else { return Vec::new() };
        let mut levels = vec![(first.x, begin)];
        levels.extend(steps.iter().map(|(x, step)| (*x, step.after)));
        let end = levels.last().map_or(begin, |(_, level)| *level);
        levels.push((last.x, end));
        let point = |(x, level)| Point {
            x,
            y: Value { detail: "level".to_owned(), ..Value::plain(level) },
            label: String::new(),
        };
        levels.into_iter().map(point).collect()
    }

    fn marks(&self) -> Vec<Mark> {
        let tone = |effect: f64| if effect > 0.0 { Tone::Bad } else { Tone::Good };
        let mut marks: Vec<Mark> = Vec::new();
        for change in &self.changes {
            let Some(x) = change.run_id.and_then(|run| self.clock.of_run(run)) else { continue };
            let what = if change.is_drift { "drift" } else { "step" };
            let by = self.by(change.before, change.after, change.absolute);
            marks.push(Mark { place: Place::Vertical(x), label: format!("{what} {by}"), tone: tone(change.effect) });
        }
        let accepted = self.series.configuration_id.and_then(|id| self.facts.restarts.get(&id));
        for run in accepted.into_iter().flatten() {
            let Some(x) = self.clock.of_run(*run) else { continue };
            marks.push(Mark { place: Place::Vertical(x), label: "accepted".to_owned(), tone: Tone::Neutral });
        }
        for (run, metric, verdict) in &self.facts.verdicts {
            let tone = match verdict {
                Verdict::Regressed | Verdict::Suspect => Tone::Bad,
                Verdict::Improved => Tone::Good,
                _ => continue,
            };
            let place = self.clock.of_run(*run).map(Place::Vertical).filter(|_| *metric == self.metric.name);
            // A step that was found here says more.
            if let Some(place) = place.filter(|place| marks.iter().all(|mark| mark.place != *place)) {
                marks.push(Mark { place, label: verdict.to_string(), tone });
            }
        }
        marks
    }

    /// The change of the metric itself: `+12 %`.
    fn by(&self, before: f64, after: f64, absolute: bool) -> String {
        if absolute { format!("{:+.3}", after - before) } else { format!("{:+.0} %", 100.0 * (after / before - 1.0)) }
    }

    fn panel(&self, judgement: &Judgement) -> Panel {
        let (valid, others) = (self.runs(true), self.runs(false));
        let levels = self.levels(&valid);
        let mut series = vec![PlaneSeries { name: "run".to_owned(), points: valid, join: Join::Scatter }];
        if !others.is_empty() {
            series.push(PlaneSeries {
                name: "run that does not count".to_owned(),
                points: others,
                join: Join::Scatter,
            });
        }
        if !levels.is_empty() {
            series.push(PlaneSeries { name: "level".to_owned(), points: levels, join: Join::Steps });
        }
        let cost = judgement.effect.filter(|_| !judgement.absolute && judgement.verdict != Verdict::Unchanged);
        let cost = cost.map(|effect| format!(", cost {:+.0} %", 100.0 * relative_change(effect))).unwrap_or_default();
        let verdict = match judgement.verdict {
            Verdict::Inconclusive => "too few runs to tell changes".to_owned(),
            verdict => format!("{verdict}{cost}"),
        };
        let label = described(self.metric);
        Panel {
            title: format!("{label}: {verdict}"),
            content: Content::Plane(Plane {
                x: self.clock.axis(),
                y: Axis::new(label, self.metric.unit.as_str()),
                series,
                marks: self.marks(),
            }),
        }
    }
}

/// What a metric is called on an axis.
fn described(metric: &Metric) -> &'static str {
    match metric.name.as_str() {
        "latency_p50_ms" => "median latency",
        "latency_mean_ms" => "mean latency",
        "memory_device_peak_mb" => "peak memory on the device",
        "memory_host_peak_mb" => "peak memory of the process",
        _ => "throughput",
    }
}
