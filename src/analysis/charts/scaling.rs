//! Throughput and latency over the batch size.

use std::collections::{BTreeMap, BTreeSet};

use super::super::facts::Facts;
use super::names::names;
use super::values::Bars;
use super::{ChartName, MOST, Record, note_of_limit, rests_on};
use crate::domain::chart::{Axis, Content, Join, Panel, Plane, PlaneSeries, Point, Scale, Sheet, Value};
use crate::domain::{Identity, Part};

/// One configuration at its batch sizes, ascending.
struct Line<'r> {
    identity: Identity,
    points: Vec<(f64, &'r Facts)>,
}

impl Line<'_> {
    fn best(&self) -> f64 {
        self.points.iter().filter_map(|(_, fact)| fact.throughput()).fold(0.0, f64::max)
    }
}

/// The lines that are shown, the fastest first, and how many there are. Lines of more batch sizes go first where there are
/// too many.
fn lines(record: &Record) -> (Vec<Line<'_>>, usize) {
    let others: Vec<Part> = Part::all().iter().copied().filter(|part| *part != Part::BatchSize).collect();
    let mut groups: BTreeMap<Identity, Vec<(f64, &Facts)>> = BTreeMap::new();
    for fact in record.shown() {
        if let Some(batch) =
            fact.identity.batch_size().filter(|_| fact.throughput().is_some() || fact.latency_ms().is_some())
        {
            groups.entry(fact.identity.only(&others)).or_default().push((batch, fact));
        }
    }
    let mut lines: Vec<Line<'_>> = groups
        .into_iter()
        .map(|(identity, mut points)| {
            points.sort_by(|left, right| left.0.total_cmp(&right.0));
            Line { identity, points }
        })
        .filter(|line| line.points.iter().map(|(batch, _)| batch.to_bits()).collect::<BTreeSet<_>>().len() > 1)
        .collect();
    let of = lines.len();
    if of > MOST {
        lines.sort_by(|left, right| {
            right.points.len().cmp(&left.points.len()).then_with(|| right.best().total_cmp(&left.best()))
        });
        lines.truncate(MOST);
    }
    lines.sort_by(|left, right| right.best().total_cmp(&left.best()));
    (lines, of)
}

pub(super) fn shown(record: &Record) -> Vec<&Facts> {
    lines(record).0.into_iter().flat_map(|line| line.points.into_iter().map(|(_, fact)| fact)).collect()
}

/// How throughput and latency grow with the batch size, one line a configuration.
pub fn batch_scaling(record: &Record) -> Sheet {
    let name = ChartName::BatchScaling;
    let (lines, of) = lines(record);
    if lines.is_empty() {
        let why = "no selected configuration was measured at two batch sizes or more; `benchdb run --batch-sizes 1,4,16` does";
        let hidden = record.is_hidden(|all| !self::lines(all).0.is_empty());
        return name.nothing(record.why(hidden, "two batch sizes or more of one configuration", why));
    }
    let mut bars = Bars::default();
    let named = names(&lines.iter().map(|line| &line.identity).collect::<Vec<_>>(), &[]);
    let mut panel = |title: &str, unit: &str, value: &mut dyn FnMut(&mut Bars, &Facts) -> Option<Value>| {
        let series = lines.iter().zip(&named.names).map(|(line, name)| PlaneSeries {
            name: name.clone(),
            points: line
                .points
                .iter()
                .filter_map(|(batch, fact)| Some(Point { x: *batch, y: value(&mut bars, fact)?, label: String::new() }))
                .collect(),
            join: Join::LineAndPoints,
        });
        Panel {
            title: String::new(),
            content: Content::Plane(Plane {
                x: Axis::new("batch size", "").scaled(Scale::PowersOfTwo),
                y: Axis::new(title, unit),
                series: series.collect(),
                marks: Vec::new(),
            }),
        }
    };
    let panels = vec![
        panel("throughput", "samples/s", &mut |bars, fact| bars.throughput(fact)),
        panel("time of a batch", "ms", &mut |bars, fact| bars.latency(fact)),
    ];
    let mut chart = name.chart(&[&named.common, &bars.text()], panels);
    chart.columns = 2;
    chart.notes.extend(note_of_limit(lines.len(), of, "with the most batch sizes", "configurations"));
    chart.notes.extend(record.left_out(|fact| fact.throughput().is_some()));
    let behind: Vec<&Facts> = lines.iter().flat_map(|line| line.points.iter().map(|(_, fact)| *fact)).collect();
    chart.behind = rests_on(&["throughput_samples_per_second", "latency_p50_ms", "latency_mean_ms"], &behind);
    Sheet::Chart(chart)
}
