//! What explanations cost: time, throughput, memory, power, success, and speed against memory.

use super::super::facts::Facts;
use super::names::names;
use super::values::Bars;
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
type Panels<'p> = [(&'p str, Axis, RowShape, &'p dyn Fn(&mut Bars, &Facts) -> Option<Value>); 5];

/// Six panels on what each method costs; one whose numbers nobody measured is left out and named.
pub fn explanations(record: &Record) -> Sheet {
    let name = ChartName::Explanations;
    let Ranked { facts, of } = shown(record);
    if facts.is_empty() {
        let explaining = |fact: &Facts| fact.identity.get(Part::Mode) == "explanation";
        return name.nothing(if record.shown().is_empty() {
            record.why_nothing("been explained", explaining)
        } else {
            "no explanation is selected; `benchdb run --mode explanation` measures them".to_owned()
        });
    }
    let mut bars = Bars::default();
    let named = names(&identities(&facts), &[Part::Mode]);
    let scaled = |value: Value, factor: f64| Value {
        value: factor * value.value,
        interval: value.interval.map(|(low, high)| (factor * low, factor * high)),
        detail: value.detail,
    };
    let memory = |bars: &mut Bars, fact: &Facts| PEAK_MEMORY.iter().find_map(|metric| bars.of(fact, metric));
    let rows: Panels<'_> = [
        ("time", Axis::new("time of an explanation", "ms"), RowShape::Bars, &|bars, fact| {
            Some(scaled(bars.latency(fact)?, 1.0 / fact.identity.batch_size()?))
        }),
        ("throughput", Axis::new("throughput", "explanations/s"), RowShape::Bars, &|bars, fact| bars.throughput(fact)),
        ("memory", Axis::new("peak memory", "MB"), RowShape::Bars, &memory),
        ("power", Axis::new("mean power", "W"), RowShape::Bars, &|bars, fact| bars.of(fact, "power_mean_w")),
        ("success rate", Axis::new("success rate", "%").scaled(Scale::Linear), RowShape::Bars, &|bars, fact| {
            bars.of(fact, "success_rate").map(|share| scaled(share, 100.0))
        }),
    ];
    let mut missing = Vec::new();
    let mut panels = Vec::new();
    for (title, axis, shape, value) in rows {
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

/// A point a method: explanations per second over peak memory, best at the top on the left.
fn against_memory(facts: &[&Facts], names: &[String], bars: &mut Bars) -> Option<Panel> {
    let mut points = Vec::new();
    for (fact, name) in facts.iter().zip(names) {
        let (Some(x), Some(mut y)) = (fact.memory_mb(), bars.throughput(fact)) else { continue };
        y.detail = format!("{name}; {}", y.detail);
        points.push(Point { x, y, label: name.clone() });
    }
    let plane = Plane {
        x: Axis::new("peak memory", "MB"),
        y: Axis::new("throughput", "explanations/s"),
        series: vec![PlaneSeries { name: String::new(), points, join: Join::Scatter }],
        marks: Vec::new(),
    };
    let any = plane.series.iter().any(|series| !series.points.is_empty());
    any.then(|| Panel { title: "speed against memory".to_owned(), content: Content::Plane(plane) })
}
