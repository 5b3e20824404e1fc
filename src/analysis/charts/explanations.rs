//! What explanations cost: time, throughput, memory, power, success, and speed against memory.

use super::super::facts::Facts;
use super::names::names;
use super::values::{Bars, whose};
use super::{ChartName, MOST, Ranked, Record, identities, note_of_limit, ranked, rests_on};
use crate::domain::Part;
use crate::domain::chart::{
    Axis, Content, Join, Panel, Plane, PlaneSeries, Point, RowSeries, RowShape, Rows, Scale, Sheet, Value,
};
use crate::domain::metric::PEAK_MEMORY;

/// Time of one explanation in ms.
fn per_explanation(fact: &Facts) -> Option<f64> {
    Some(fact.latency_ms()? / fact.identity.batch_size().filter(|size| *size > 0.0)?)
}

/// The configurations that explain, the fastest first.
pub(super) fn shown(record: &Record) -> Ranked<'_> {
    let explaining = record.shown().into_iter().filter(|fact| fact.identity.get(Part::Mode) == "explanation");
    ranked(explaining, per_explanation, MOST)
}

/// The panels that a row of numbers makes, by their titles.
type Panels<'p> = [(&'p str, Axis, RowShape, &'p dyn Fn(&mut Bars, &Facts) -> Option<Value>); 4];

/// Six panels on what each method costs; one whose numbers nobody measured is left out and named.
pub fn explanations(record: &Record) -> Sheet {
    let name = ChartName::Explanations;
    let Ranked { facts, of } = shown(record);
    if facts.is_empty() {
        let why = if record.shown().iter().any(|fact| fact.identity.get(Part::Mode) == "explanation") {
            "no selected explanation has a time"
        } else {
            "no explanation is selected; `benchdb run --mode explanation` measures them"
        };
        return name.nothing(record.why(record.is_hidden(|all| !shown(all).facts.is_empty()), "an explanation", why));
    }
    let mut bars = Bars::default();
    let named = names(&identities(&facts), &[Part::Mode]);
    let scaled = |value: Value, factor: f64| Value {
        value: factor * value.value,
        interval: value.interval.map(|(low, high)| (factor * low, factor * high)),
        detail: value.detail,
    };
    let rows: Panels<'_> = [
        ("time", Axis::new("time of an explanation", "ms"), RowShape::Bars, &|bars, fact| {
            Some(scaled(bars.latency(fact)?, 1.0 / fact.identity.batch_size()?))
        }),
        ("throughput", Axis::new("throughput", "explanations/s"), RowShape::Bars, &|bars, fact| bars.throughput(fact)),
        ("power", Axis::new("mean power", "W"), RowShape::Bars, &|bars, fact| bars.of(fact, "power_mean_w")),
        ("success rate", Axis::new("success rate", "%").scaled(Scale::Linear), RowShape::Bars, &|bars, fact| {
            bars.of(fact, "success_rate").map(|share| scaled(share, 100.0))
        }),
    ];
    let mut missing = Vec::new();
    let mut panels = Vec::new();
    for (title, axis, shape, value) in rows {
        // Memory has the third place.
        if title == "power" {
            match memory(&facts, &named.names, &mut bars) {
                Some(panel) => panels.push(panel),
                None => missing.push("memory"),
            }
        }
        let values: Vec<Option<Value>> = facts.iter().map(|fact| value(&mut bars, fact)).collect();
        if values.iter().all(Option::is_none) {
            missing.push(title);
            continue;
        }
        // One colour on all panels, which needs no legend.
        let series = vec![RowSeries { name: String::new(), values }];
        let content = Content::Rows(Rows { axis, names: named.names.clone(), series, shape });
        panels.push(Panel { title: title.to_owned(), content });
    }
    match against_memory(&facts, &named.names, &mut bars) {
        Some(panel) => panels.push(panel),
        None => missing.push("speed against memory"),
    }
    let mut chart = name.chart(&[&named.common, &bars.text()], panels);
    chart.columns = 2;
    if !missing.is_empty() {
        chart.notes.push(format!("Not measured: {}.", missing.join(", ")));
    }
    chart.notes.extend(note_of_limit(facts.len(), of, "fastest", "configurations"));
    chart.notes.extend(record.left_out(|fact| fact.identity.get(Part::Mode) == "explanation"));
    let columns = [
        "latency_p50_ms",
        "throughput_samples_per_second",
        "memory_device_peak_mb",
        "memory_host_peak_mb",
        "power_mean_w",
        "success_rate",
    ];
    chart.behind = rests_on(&columns, &facts);
    Sheet::Chart(chart)
}

/// The axis of peak memory, and the names of its series: of the device and of the process where there are both, which are
/// not the same memory; else the axis says which it is.
fn memory_axis(metrics: &[&str]) -> (Axis, Vec<String>) {
    match metrics {
        [only] => (Axis::new(format!("peak memory {}", whose(only)), "MB"), vec![String::new()]),
        several => (Axis::new("peak memory", "MB"), several.iter().map(|metric| whose(metric).to_owned()).collect()),
    }
}

/// Peak memory of each method.
fn memory(facts: &[&Facts], names: &[String], bars: &mut Bars) -> Option<Panel> {
    let known = |metric: &&str| facts.iter().any(|fact| fact.median(metric).is_some());
    let metrics: Vec<&str> = PEAK_MEMORY.into_iter().filter(known).collect();
    let (axis, said) = memory_axis(&metrics);
    let series = metrics
        .iter()
        .zip(said)
        .map(|(metric, name)| RowSeries { name, values: facts.iter().map(|fact| bars.of(fact, metric)).collect() });
    let rows = Rows { axis, names: names.to_vec(), series: series.collect(), shape: RowShape::Bars };
    (!metrics.is_empty()).then(|| Panel { title: "memory".to_owned(), content: Content::Rows(rows) })
}

/// A point a method: explanations per second over peak memory, best at the top on the left. Of the device where that is
/// known.
fn against_memory(facts: &[&Facts], names: &[String], bars: &mut Bars) -> Option<Panel> {
    let mut found: Vec<(&str, Vec<Point>)> = PEAK_MEMORY.into_iter().map(|metric| (metric, Vec::new())).collect();
    for (fact, name) in facts.iter().zip(names) {
        let known = found.iter_mut().find_map(|(metric, points)| Some((fact.median(metric)?, points)));
        let (Some((x, points)), Some(mut y)) = (known, bars.throughput(fact)) else { continue };
        y.detail = format!("{name}; {}", y.detail);
        points.push(Point { x, y, label: name.clone() });
    }
    found.retain(|(_, points)| !points.is_empty());
    let metrics: Vec<&str> = found.iter().map(|(metric, _)| *metric).collect();
    let (axis, said) = memory_axis(&metrics);
    let series = found.into_iter().zip(said);
    let series = series.map(|((_, points), name)| PlaneSeries { name, points, join: Join::Scatter });
    let plane =
        Plane { x: axis, y: Axis::new("throughput", "explanations/s"), series: series.collect(), marks: Vec::new() };
    (!metrics.is_empty()).then(|| Panel { title: "speed against memory".to_owned(), content: Content::Plane(plane) })
}
