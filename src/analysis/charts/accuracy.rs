//! Accuracy over throughput: what precision, pruning and other variants cost and bring.

use std::collections::BTreeMap;

use super::super::facts::Facts;
use super::names::{names, shortened};
use super::values::Bars;
use super::{ChartName, MOST, Ranked, Record, identities, note_of_limit, ranked, rests_on};
use crate::domain::Part;
use crate::domain::chart::{Axis, Content, Join, Panel, Plane, PlaneSeries, Point, Scale, Sheet};

/// Up to so many points all have their names on the sheet; of more, those of the front.
const ALL_NAMED: usize = 12;

/// The configurations with an accuracy, the most accurate first, and how many there are.
pub(super) fn shown(record: &Record) -> (Vec<&Facts>, usize) {
    let known = record.shown().into_iter().filter(|fact| fact.throughput().is_some());
    let Ranked { facts, of } = ranked(known, |fact| fact.median("accuracy_top1").map(|share| -share), MOST);
    (facts, of)
}

/// The points that no other beats in both: the fastest first, each more accurate than all before it.
fn front(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&left, &right| {
        points[right].0.total_cmp(&points[left].0).then_with(|| points[right].1.total_cmp(&points[left].1))
    });
    let mut best = f64::NEG_INFINITY;
    order.retain(|&index| {
        let better = points[index].1 > best;
        best = best.max(points[index].1);
        better
    });
    order
}

/// Top-1 accuracy over samples per second, a point a configuration, and the Pareto front.
pub fn accuracy(record: &Record) -> Sheet {
    let name = ChartName::Accuracy;
    let (facts, of) = shown(record);
    if facts.is_empty() {
        let reason = record.why_nothing("an accuracy", |fact| fact.median("accuracy_top1").is_some());
        let way_out = "; `benchdb run --data DIR` measures it";
        return name.nothing(if record.shown().is_empty() { reason } else { reason + way_out });
    }
    let mut bars = Bars::default();
    let named = names(&identities(&facts), &[]);
    let point = |fact: &Facts| {
        let share = fact.median("accuracy_top1").unwrap_or_default();
        (fact.throughput().unwrap_or_default(), 100.0 * share)
    };
    let points: Vec<(f64, f64)> = facts.iter().map(|fact| point(fact)).collect();
    let front = front(&points);
    // One colour a version of a model: what is compared on this sheet.
    let one_model = facts.iter().all(|fact| fact.identity.get(Part::Model) == facts[0].identity.get(Part::Model));
    let mut series: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate() {
        let model = fact.identity.get(Part::Model);
        let version = match fact.identity.get(Part::Variant) {
            "" => shortened(model),
            variant if one_model => shortened(variant),
            variant => shortened(&format!("{model}, {variant}")),
        };
        let mut y = bars.of(fact, "accuracy_top1").unwrap_or_default();
        y.value *= 100.0;
        y.interval = y.interval.map(|(low, high)| (100.0 * low, 100.0 * high));
        y.detail = format!("{}; {}", named.names[index], y.detail);
        let is_named = facts.len() <= ALL_NAMED || front.contains(&index);
        let label = if is_named { named.names[index].clone() } else { String::new() };
        series.entry(version).or_default().push(Point { x: points[index].0, y, label });
    }
    let mut series: Vec<PlaneSeries> =
        series.into_iter().map(|(name, points)| PlaneSeries { name, points, join: Join::Scatter }).collect();
    if front.len() > 1 {
        // From the fastest to the slowest: an accuracy is to be had at every speed below that of its point.
        let points = front.iter().map(|&index| Point {
            x: points[index].0,
            y: crate::domain::chart::Value {
                value: points[index].1,
                interval: None,
                detail: named.names[index].clone(),
            },
            label: String::new(),
        });
        // Under the points.
        series.insert(0, PlaneSeries { name: "Pareto front".to_owned(), points: points.collect(), join: Join::Steps });
    }
    let plane = Plane {
        x: Axis::new("throughput", "samples/s"),
        y: Axis::new("top-1 accuracy", "%").scaled(Scale::Linear),
        series,
        marks: Vec::new(),
    };
    let panels = vec![Panel { title: String::new(), content: Content::Plane(plane) }];
    let mut chart = name.chart(&[&named.common, "up and to the right is better", &bars.text()], panels);
    chart.notes.extend(note_of_limit(facts.len(), of, "most accurate", "configurations"));
    if front.len() == 1 {
        chart.notes.push(format!("{} is at least as good as all others in both.", named.names[front[0]]));
    }
    chart.notes.extend(record.left_out(|fact| fact.median("accuracy_top1").is_some()));
    chart.behind = rests_on(&["accuracy_top1", "throughput_samples_per_second"], &facts);
    Sheet::Chart(chart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_no_other_beats_in_both() {
        let points = [(10.0, 90.0), (20.0, 80.0), (15.0, 70.0), (20.0, 75.0), (5.0, 90.0)];
        assert_eq!(front(&points), [1, 0]);
        assert_eq!(front(&[]), Vec::<usize>::new());
    }
}
