//! Charts of one number, or of some, a configuration: throughput, latency, memory, energy, cold start.

use std::collections::BTreeSet;

use super::super::facts::Facts;
use super::super::metrics::iterations_needed;
use super::names::names;
use super::values::{Bars, whose};
use super::{ChartName, MOST, Ranked, Record, by_mode, identities, note_of_limit, ranked, rests_on};
use crate::domain::Part;
use crate::domain::chart::{Axis, Content, Panel, RowSeries, RowShape, Rows, Scale, Sheet, Value};
use crate::domain::text::counted;

/// The rows of one panel, and of how many.
pub(super) struct Group<'r> {
    pub(super) title: String,
    pub(super) facts: Vec<&'r Facts>,
    pub(super) of: usize,
}

/// A panel before it is known how many rows it gets: what is to be shown on it, the smallest key first.
pub(super) struct Wanted<'r, 'k> {
    pub(super) title: String,
    pub(super) facts: Vec<&'r Facts>,
    pub(super) key: &'k dyn Fn(&Facts) -> Option<f64>,
}

/// The rows of each panel: a mode each, as their times are no rivals. Explanations have a sheet of their own and stand here
/// only where there is nothing else.
fn wanted_by_mode<'r, 'k>(facts: &[&'r Facts], key: &'k dyn Fn(&Facts) -> Option<f64>) -> Vec<Wanted<'r, 'k>> {
    let mut modes = by_mode(&facts.iter().copied().filter(|fact| key(fact).is_some()).collect::<Vec<_>>());
    if modes.len() > 1 {
        modes.retain(|_, (mode, _)| mode != "explanation");
    }
    let count = modes.len();
    let titled = |mode: String| if count > 1 { mode } else { String::new() };
    modes.into_values().map(|(mode, facts)| Wanted { title: titled(mode), facts, key }).collect()
}

fn panels_by_mode<'r>(facts: &[&'r Facts], key: impl Fn(&Facts) -> Option<f64>) -> Vec<Group<'r>> {
    share_rows(wanted_by_mode(facts, &key))
}

/// Shares the rows of a sheet among its panels: what a small one leaves is for the others.
pub(super) fn share_rows<'r>(wanted: Vec<Wanted<'r, '_>>) -> Vec<Group<'r>> {
    let all = |panel: &Wanted<'r, '_>| ranked(panel.facts.iter().copied(), panel.key, MOST);
    let mut groups: Vec<Group<'_>> = wanted
        .iter()
        .map(|panel| {
            let Ranked { facts, of } = all(panel);
            Group { title: panel.title.clone(), facts, of }
        })
        .collect();
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&index| groups[index].of);
    let mut left = MOST;
    for (done, index) in order.into_iter().enumerate() {
        let share = left / (groups.len() - done);
        let group = &mut groups[index];
        if group.of > share {
            group.facts = ranked(std::mem::take(&mut group.facts), wanted[index].key, share).facts;
        }
        left -= group.facts.len();
    }
    groups
}

/// Panels of rows for groups, with names over all of them; answers what all have in common as well.
fn rows_of(
    groups: &[Group<'_>],
    axis: &Axis,
    shape: RowShape,
    mut series: impl FnMut(&Group<'_>) -> Vec<RowSeries>,
) -> (Vec<Panel>, String) {
    let all = all_of(groups);
    let says_mode = |group: &Group<'_>| group.facts.iter().all(|fact| fact.identity.get(Part::Mode) == group.title);
    let unsaid: &[Part] = if groups.iter().any(says_mode) { &[Part::Mode] } else { &[] };
    let named = names(&identities(&all), unsaid);
    let mut rest = named.names.into_iter();
    let panels = groups
        .iter()
        .map(|group| Panel {
            title: group.title.clone(),
            content: Content::Rows(Rows {
                axis: axis.clone(),
                names: rest.by_ref().take(group.facts.len()).collect(),
                series: series(group),
                shape,
            }),
        })
        .collect();
    (panels, named.common)
}

fn limits(groups: &[Group<'_>], best: &str) -> Vec<String> {
    let note = |group: &Group<'_>| {
        let of = match group.title.as_str() {
            "" => "configurations".to_owned(),
            TOKENS => "configurations that generate tokens".to_owned(),
            mode => format!("configurations in {mode}"),
        };
        note_of_limit(group.facts.len(), group.of, best, &of)
    };
    groups.iter().filter_map(note).collect()
}

fn all_of<'r>(groups: &[Group<'r>]) -> Vec<&'r Facts> {
    groups.iter().flat_map(|group| group.facts.iter().copied()).collect()
}

/// One value a fact, or none.
fn column(name: &str, facts: &[&Facts], value: impl FnMut(&&Facts) -> Option<Value>) -> RowSeries {
    RowSeries { name: name.to_owned(), values: facts.iter().map(value).collect() }
}

/// Says on the axes what the only series of a sheet is, which has no legend. `said` joins its name and that of the axis.
fn name_the_only(panels: &mut [Panel], said: impl Fn(&str, &str) -> String) {
    let mut all: Vec<&mut Rows> = panels
        .iter_mut()
        .filter_map(|panel| match &mut panel.content {
            Content::Rows(rows) => Some(rows),
            _ => None,
        })
        .collect();
    let names: BTreeSet<String> = all.iter().flat_map(|rows| &rows.series).map(|series| series.name.clone()).collect();
    let mut names = names.into_iter();
    let (Some(only), None) = (names.next(), names.next()) else { return };
    for rows in &mut all {
        rows.axis.label = said(&only, &rows.axis.label);
    }
}

/// The columns in which any row has a value.
fn filled(series: Vec<RowSeries>) -> Vec<RowSeries> {
    series.into_iter().filter(|series| series.values.iter().any(Option::is_some)).collect()
}

/// The title of the panel of generated tokens.
const TOKENS: &str = "generated tokens";

/// A mode each, and those that generate tokens.
pub(super) fn throughput_rows(record: &Record) -> Vec<Group<'_>> {
    let fastest = |rate: Option<f64>| rate.filter(|rate| *rate > 0.0).map(|rate| -rate);
    let (samples, tokens) = (|fact: &Facts| fastest(fact.throughput()), |fact: &Facts| fastest(fact.tokens()));
    let shown = record.shown();
    let mut wanted = wanted_by_mode(&shown, &samples);
    let facts: Vec<&Facts> = shown.into_iter().filter(|fact| tokens(fact).is_some()).collect();
    if !facts.is_empty() {
        wanted.push(Wanted { title: TOKENS.to_owned(), facts, key: &tokens });
    }
    share_rows(wanted)
}

/// Samples per second of every configuration, the fastest first; generated tokens per second on a panel of their own.
pub fn throughput(record: &Record) -> Sheet {
    let name = ChartName::Throughput;
    let groups = throughput_rows(record);
    let mut bars = Bars::default();
    let axis = Axis::new("throughput", "samples/s");
    let (mut panels, common) = rows_of(&groups, &axis, RowShape::Bars, |group| {
        vec![column("throughput", &group.facts, |fact| match group.title.as_str() {
            TOKENS => bars.of(fact, "throughput_tokens_per_second"),
            _ => bars.throughput(fact),
        })]
    });
    if panels.is_empty() {
        return name.nothing(record.why_nothing("a throughput", "", |fact| fact.throughput().is_some()));
    }
    for panel in panels.iter_mut().filter(|panel| panel.title == TOKENS) {
        if let Content::Rows(rows) = &mut panel.content {
            rows.axis.unit = "tokens/s".to_owned();
        }
    }
    let mut chart = name.chart(&[&common, &bars.text()], panels);
    chart.notes = limits(&groups, "fastest");
    chart.notes.extend(record.left_out(|fact| fact.throughput().is_some()));
    chart.behind = rests_on(&["throughput_samples_per_second", "throughput_tokens_per_second"], &all_of(&groups));
    Sheet::Chart(chart)
}

pub(super) fn latency_rows(record: &Record) -> Vec<Group<'_>> {
    panels_by_mode(&record.shown(), |fact| fact.latency_ms().filter(|time| *time > 0.0))
}

/// The percentiles on the sheet, beside the median.
const PERCENTILES: [(&str, &str); 2] = [("p95", "latency_p95_ms"), ("p99", "latency_p99_ms")];

/// Median with its interval, p95 and p99 of every configuration, the fastest first.
pub fn latency(record: &Record) -> Sheet {
    let name = ChartName::Latency;
    let groups = latency_rows(record);
    if groups.is_empty() {
        return name.nothing(record.why_nothing("a latency", "", |fact| fact.latency_ms().is_some()));
    }
    let mut bars = Bars::default();
    let (mut panels, common) = rows_of(&groups, &Axis::new("time of a batch", "ms"), RowShape::Dots, |group| {
        let facts = &group.facts;
        let mut series = vec![
            column("median", facts, |fact| bars.latency(fact).filter(|_| !fact.by_mean)),
            column("mean", facts, |fact| bars.latency(fact).filter(|_| fact.by_mean)),
        ];
        series.extend(
            PERCENTILES.map(|(short, metric)| column(short, facts, |fact| percentile(&mut bars, fact, metric))),
        );
        filled(series)
    });
    name_the_only(&mut panels, |only, axis| format!("{only} {axis}"));
    let mut chart = name.chart(&[&common, &bars.text()], panels);
    let shown = all_of(&groups);
    chart.notes = limits(&groups, "fastest");
    for (short, metric) in PERCENTILES {
        let (unknown, known): (Vec<&Facts>, Vec<&Facts>) =
            shown.iter().filter(|fact| fact.median(metric).is_some()).partition(|fact| fact.fewest_iterations == 0);
        let few = known.into_iter().filter(|fact| !supports(fact, metric)).count();
        if few > 0 {
            chart.notes.push(format!(
                "{short} of {} rests on fewer than the {} iterations that it needs.",
                counted(few, "configuration", "configurations"),
                iterations_needed(metric)
            ));
        }
        if !unknown.is_empty() {
            let unknown = counted(unknown.len(), "configuration", "configurations");
            chart.notes.push(format!("On how many iterations {short} of {unknown} rests is not known."));
        }
    }
    if shown.iter().any(|fact| fact.by_mean) {
        chart.notes.push("Means stand in for medians that are not known.".to_owned());
    }
    chart.notes.extend(record.left_out(|fact| fact.latency_ms().is_some()));
    let columns = ["iterations", "latency_p50_ms", "latency_mean_ms", "latency_p95_ms", "latency_p99_ms"];
    chart.behind = rests_on(&columns, &shown);
    Sheet::Chart(chart)
}

fn supports(fact: &Facts, metric: &str) -> bool {
    fact.fewest_iterations >= iterations_needed(metric)
}

/// A percentile with its spread over runs.
fn percentile(bars: &mut Bars, fact: &Facts, metric: &str) -> Option<Value> {
    let of = match fact.fewest_iterations {
        0 => "number of iterations not known".to_owned(),
        fewest if supports(fact, metric) => format!("of {fewest} iterations or more"),
        fewest => format!("of {fewest} iterations, fewer than it needs"),
    };
    bars.of(fact, metric).map(|value| Value { detail: format!("{of}; {}", value.detail), ..value })
}

/// Peak memory of the process and of the device, the least first.
pub fn memory(record: &Record) -> Sheet {
    let name = ChartName::Memory;
    let peak = |fact: &Facts| fact.memory_mb().filter(|size| *size > 0.0);
    let groups = panels_by_mode(&record.shown(), peak);
    if groups.is_empty() {
        return name.nothing(record.why_nothing("a peak of memory", "", |fact| peak(fact).is_some()));
    }
    let mut bars = Bars::default();
    let (mut panels, common) = rows_of(&groups, &Axis::new("peak memory", "MB"), RowShape::Bars, |group| {
        let of = |metric: &str| column(whose(metric), &group.facts, |fact| bars.of(fact, metric));
        filled(["memory_host_peak_mb", "memory_device_peak_mb"].map(of).into())
    });
    name_the_only(&mut panels, |only, axis| format!("{axis} {only}"));
    let mut chart = name.chart(&[&common, "1 MB = 1e6 bytes", &bars.text()], panels);
    chart.notes = limits(&groups, "leanest");
    chart.notes.extend(record.left_out(|fact| peak(fact).is_some()));
    chart.behind = rests_on(&["memory_host_peak_mb", "memory_device_peak_mb"], &all_of(&groups));
    Sheet::Chart(chart)
}

/// Energy of a sample, the least first.
pub fn energy(record: &Record) -> Sheet {
    let name = ChartName::Energy;
    let of = |fact: &Facts| fact.energy_j().filter(|energy| *energy > 0.0);
    let groups = panels_by_mode(&record.shown(), of);
    if groups.is_empty() {
        let needs = "; it needs a counter of power: NVML of a card, or RAPL of a processor that this user may read";
        return name.nothing(record.why_nothing("an energy", needs, |fact| of(fact).is_some()));
    }
    let mut bars = Bars::default();
    let (panels, common) = rows_of(&groups, &Axis::new("energy of a sample", "J"), RowShape::Bars, |group| {
        vec![column("energy", &group.facts, |fact| bars.of(fact, "energy_per_sample_j"))]
    });
    let mut chart = name.chart(&[&common, &bars.text()], panels);
    chart.notes = limits(&groups, "leanest");
    chart.notes.extend(record.left_out(|fact| of(fact).is_some()));
    chart.behind = rests_on(&["energy_per_sample_j", "power_mean_w"], &all_of(&groups));
    Sheet::Chart(chart)
}

/// The parts of a cold start, in their order.
const COLD: [(&str, &str); 3] =
    [("build", "startup_ms"), ("compilation", "compile_ms"), ("first inference", "first_inference_ms")];

/// The time until the first answer, which nobody knows without that of the first inference. Not every engine builds or
/// compiles in a step of its own.
fn cold_ms(fact: &Facts) -> Option<f64> {
    fact.median("first_inference_ms")?;
    Some(COLD.iter().filter_map(|(_, metric)| fact.median(metric)).sum())
}

/// Build, compilation and first inference of every configuration, the shortest first.
pub fn cold_start(record: &Record) -> Sheet {
    let name = ChartName::ColdStart;
    let groups = panels_by_mode(&record.shown(), cold_ms);
    if groups.is_empty() {
        return name.nothing(record.why_nothing("the time of a first inference", "", |fact| cold_ms(fact).is_some()));
    }
    let mut bars = Bars::default();
    let axis = Axis::new("time until the first answer", "ms").scaled(Scale::Linear);
    let (mut panels, common) = rows_of(&groups, &axis, RowShape::Stacked, |group| {
        filled(COLD.map(|(part, metric)| column(part, &group.facts, |fact| bars.of(fact, metric))).into())
    });
    name_the_only(&mut panels, |only, axis| format!("{axis}: {only}"));
    let mut chart = name.chart(&[&common, "medians over runs", &bars.text()], panels);
    chart.notes = limits(&groups, "shortest");
    let shown = all_of(&groups);
    if shown.iter().all(|fact| fact.median("compile_ms").is_none()) {
        chart.notes.push(
            "No engine here compiles in a step of its own: what they compile is in the first inference.".to_owned(),
        );
    }
    let without_build = shown.iter().filter(|fact| fact.median("startup_ms").is_none()).count();
    if without_build > 0 {
        let configurations = counted(without_build, "configuration", "configurations");
        chart.notes.push(format!("The time to build is not known of {configurations}; their bars lack it."));
    }
    let started = |fact: &&&Facts| COLD.iter().any(|(_, metric)| fact.median(metric).is_some());
    let unranked = record.shown().iter().filter(started).filter(|fact| cold_ms(fact).is_none()).count();
    if unranked > 0 {
        let configurations = counted(unranked, "configuration", "configurations");
        chart.notes.push(format!("Left out: {configurations} whose first inference was not timed."));
    }
    chart.notes.extend(record.left_out(|fact| cold_ms(fact).is_some()));
    chart.behind = rests_on(&["startup_ms", "compile_ms", "first_inference_ms"], &shown);
    Sheet::Chart(chart)
}
