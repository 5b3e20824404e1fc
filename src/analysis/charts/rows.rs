//! Charts of one number, or of some, a configuration: throughput, latency, memory, energy, cold start.

use std::collections::BTreeSet;

use super::super::facts::Facts;
use super::super::metrics::iterations_needed;
use super::names::names;
use super::values::Bars;
use super::{ChartName, MOST, Ranked, Record, by_mode, identities, note_of_limit, ranked, rests_on};
use crate::domain::Part;
use crate::domain::chart::{Axis, Content, Panel, RowSeries, RowShape, Rows, Scale, Sheet, Value};
use crate::domain::text::counted;

/// The rows of one panel.
pub(super) struct Group<'r> {
    title: String,
    pub(super) facts: Vec<&'r Facts>,
    of: usize,
}

/// The rows of each panel: a mode each, as their times are no rivals. Explanations have a sheet of their own and stand here
/// only where there is nothing else.
fn panels_by_mode<'r>(facts: &[&'r Facts], key: impl Fn(&Facts) -> Option<f64>) -> Vec<Group<'r>> {
    let mut modes = by_mode(&facts.iter().copied().filter(|fact| key(fact).is_some()).collect::<Vec<_>>());
    if modes.len() > 1 {
        modes.retain(|_, (mode, _)| mode != "explanation");
    }
    let count = modes.len();
    let mut groups: Vec<Group<'_>> = modes
        .into_values()
        .map(|(mode, facts)| {
            let Ranked { facts, of } = ranked(facts, &key, MOST);
            Group { title: if count > 1 { mode } else { String::new() }, facts, of }
        })
        .collect();
    share_rows(&mut groups, &key);
    groups
}

/// Shares the rows of a sheet among its panels: what a small one leaves is for the others.
fn share_rows(groups: &mut [Group<'_>], key: impl Fn(&Facts) -> Option<f64>) {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&index| groups[index].of);
    let mut left = MOST;
    for (done, index) in order.into_iter().enumerate() {
        let share = left / (groups.len() - done);
        let group = &mut groups[index];
        if group.of > share {
            group.facts = ranked(std::mem::take(&mut group.facts), &key, share).facts;
        }
        left -= group.facts.len();
    }
}

/// Panels of rows for groups, with names over all of them; answers what all have in common as well.
fn rows_of(
    groups: &[Group<'_>],
    axis: &Axis,
    shape: RowShape,
    mut series: impl FnMut(&[&Facts]) -> Vec<RowSeries>,
) -> (Vec<Panel>, String) {
    let all: Vec<&Facts> = groups.iter().flat_map(|group| group.facts.iter().copied()).collect();
    let unsaid: &[Part] = if groups.len() > 1 { &[Part::Mode] } else { &[] };
    let named = names(&identities(&all), unsaid);
    let mut rest = named.names.into_iter();
    let panels = groups
        .iter()
        .map(|group| Panel {
            title: group.title.clone(),
            content: Content::Rows(Rows {
                axis: axis.clone(),
                names: rest.by_ref().take(group.facts.len()).collect(),
                series: series(&group.facts),
                shape,
            }),
        })
        .collect();
    (panels, named.common)
}

fn limits(groups: &[Group<'_>], best: &str) -> Vec<String> {
    let note = |group: &Group<'_>| {
        let of = if group.title.is_empty() {
            "configurations".to_owned()
        } else {
            format!("configurations in {}", group.title)
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

pub(super) fn throughput_rows(record: &Record) -> Vec<Group<'_>> {
    panels_by_mode(&record.shown(), |fact| fact.throughput().filter(|rate| *rate > 0.0).map(|rate| -rate))
}

/// Samples per second of every configuration, the fastest first; generated tokens per second on a panel of their own.
pub fn throughput(record: &Record) -> Sheet {
    let name = ChartName::Throughput;
    let groups = throughput_rows(record);
    let mut bars = Bars::default();
    let axis = Axis::new("throughput", "samples/s");
    let (mut panels, common) = rows_of(&groups, &axis, RowShape::Bars, |facts| {
        vec![column("throughput", facts, |fact| bars.throughput(fact))]
    });
    let tokens = ranked(record.shown(), |fact| fact.tokens().map(|rate| -rate), MOST);
    if !tokens.facts.is_empty() {
        let named = names(&identities(&tokens.facts), &[Part::Mode]);
        panels.push(Panel {
            title: "generated tokens".to_owned(),
            content: Content::Rows(Rows {
                axis: Axis::new("throughput", "tokens/s"),
                names: named.names,
                series: vec![column("throughput", &tokens.facts, |fact| bars.of(fact, "throughput_tokens_per_second"))],
                shape: RowShape::Bars,
            }),
        });
    }
    if panels.is_empty() {
        return name.nothing(record.why_nothing("a throughput", |fact| fact.throughput().is_some()));
    }
    let mut chart = name.chart(&[&common, &bars.text()], panels);
    chart.notes = limits(&groups, "fastest");
    chart.notes.extend(record.left_out(|fact| fact.throughput().is_some()));
    let behind: Vec<&Facts> = all_of(&groups).into_iter().chain(tokens.facts).collect();
    chart.behind = rests_on(&["throughput_samples_per_second", "throughput_tokens_per_second"], &behind);
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
        return name.nothing(record.why_nothing("a latency", |fact| fact.latency_ms().is_some()));
    }
    let mut bars = Bars::default();
    let (mut panels, common) = rows_of(&groups, &Axis::new("time of a batch", "ms"), RowShape::Dots, |facts| {
        let mut series = vec![
            column("median", facts, |fact| bars.latency(fact).filter(|_| !fact.by_mean)),
            column("mean", facts, |fact| bars.latency(fact).filter(|_| fact.by_mean)),
        ];
        series.extend(PERCENTILES.map(|(short, metric)| column(short, facts, |fact| percentile(fact, metric))));
        filled(series)
    });
    name_the_only(&mut panels, |only, axis| format!("{only} {axis}"));
    let mut chart = name.chart(&[&common, &bars.text()], panels);
    let shown = all_of(&groups);
    chart.notes = limits(&groups, "fastest");
    for (short, metric) in PERCENTILES {
        let few = shown.iter().filter(|fact| fact.median(metric).is_some() && !supports(fact, metric)).count();
        if few > 0 {
            chart.notes.push(format!(
                "{short} of {} rests on fewer than the {} iterations that it needs.",
                counted(few, "configuration", "configurations"),
                iterations_needed(metric)
            ));
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

/// A percentile; without a bar, whose place is taken by that of the median.
fn percentile(fact: &Facts, metric: &str) -> Option<Value> {
    let detail = if supports(fact, metric) {
        format!("of {} iterations or more", fact.fewest_iterations)
    } else {
        format!("of {} iterations, fewer than it needs", fact.fewest_iterations)
    };
    fact.median(metric).map(|value| Value { value, interval: None, detail })
}

/// Peak memory of the process and of the device, the least first.
pub fn memory(record: &Record) -> Sheet {
    let name = ChartName::Memory;
    let peak = |fact: &Facts| fact.memory_mb().filter(|size| *size > 0.0);
    let groups = panels_by_mode(&record.shown(), peak);
    if groups.is_empty() {
        return name.nothing(record.why_nothing("a peak of memory", |fact| peak(fact).is_some()));
    }
    let mut bars = Bars::default();
    let (mut panels, common) = rows_of(&groups, &Axis::new("peak memory", "MB"), RowShape::Bars, |facts| {
        filled(vec![
            column("of the process", facts, |fact| bars.of(fact, "memory_host_peak_mb")),
            column("on the device", facts, |fact| bars.of(fact, "memory_device_peak_mb")),
        ])
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
        let reason = record.why_nothing("an energy", |fact| of(fact).is_some());
        let needs = "; it needs a counter of power: NVML of a card, or RAPL of a processor that this user may read";
        return name.nothing(if record.facts.is_empty() { reason } else { reason + needs });
    }
    let mut bars = Bars::default();
    let (panels, common) = rows_of(&groups, &Axis::new("energy of a sample", "J"), RowShape::Bars, |facts| {
        vec![column("energy", facts, |fact| bars.of(fact, "energy_per_sample_j"))]
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

fn cold_ms(fact: &Facts) -> Option<f64> {
    let parts: Vec<f64> = COLD.iter().filter_map(|(_, metric)| fact.median(metric)).collect();
    (!parts.is_empty()).then(|| parts.iter().sum())
}

/// Build, compilation and first inference of every configuration, the shortest first.
pub fn cold_start(record: &Record) -> Sheet {
    let name = ChartName::ColdStart;
    let groups = panels_by_mode(&record.shown(), cold_ms);
    if groups.is_empty() {
        return name.nothing(record.why_nothing("the time of a start", |fact| cold_ms(fact).is_some()));
    }
    // Bars end to end have no room for error bars; the spread is told to whoever points at them.
    let mut unseen = Bars::default();
    let axis = Axis::new("time until the first answer", "ms").scaled(Scale::Linear);
    let (mut panels, common) = rows_of(&groups, &axis, RowShape::Stacked, |facts| {
        filled(COLD.map(|(part, metric)| column(part, facts, |fact| unseen.of(fact, metric))).into())
    });
    name_the_only(&mut panels, |only, axis| format!("{axis}: {only}"));
    let mut chart = name.chart(&[&common, "medians over runs"], panels);
    chart.notes = limits(&groups, "shortest");
    let shown = all_of(&groups);
    if shown.iter().all(|fact| fact.median("compile_ms").is_none()) {
        chart.notes.push(
            "No engine here compiles in a step of its own: what they compile is in the first inference.".to_owned(),
        );
    }
    chart.notes.extend(record.left_out(|fact| cold_ms(fact).is_some()));
    chart.behind = rests_on(&["startup_ms", "compile_ms", "first_inference_ms"], &shown);
    Sheet::Chart(chart)
}
