//! Accuracy over throughput: what precision, pruning and other variants cost and bring.

use std::collections::BTreeMap;

use super::super::facts::Facts;
use super::names::{names, shortened, test_set, without_test_set};
use super::rows::{Group, Wanted, share_rows};
use super::values::Bars;
use super::{ChartName, Record, by_mode, note_of_limit, rests_on};
use crate::domain::chart::{Axis, Content, Join, Panel, Plane, PlaneSeries, Point, Scale, Sheet, Value};
use crate::domain::{Identity, Part};

/// Up to so many points all have their names on the sheet; of more, those of the front.
const ALL_NAMED: usize = 12;

fn share_of_right(fact: &Facts) -> Option<f64> {
    fact.median("accuracy_top1")
}

fn by_accuracy(fact: &Facts) -> Option<f64> {
    share_of_right(fact).filter(|_| fact.throughput().is_some()).map(|share| -share)
}

/// The configurations with an accuracy, the most accurate first, a group a test set and mode: accuracies on different
/// pictures are no rivals, and neither are the speeds of different modes.
pub(super) fn shown(record: &Record) -> Vec<Group<'_>> {
    let mut sets: BTreeMap<String, Vec<&Facts>> = BTreeMap::new();
    for fact in record.shown().into_iter().filter(|fact| by_accuracy(fact).is_some()) {
        sets.entry(test_set(&fact.identity)).or_default().push(fact);
    }
    let all: Vec<&Facts> = sets.values().flatten().copied().collect();
    let (several_sets, several_modes) = (sets.len() > 1, by_mode(&all).len() > 1);
    let mut wanted = Vec::new();
    for (set, facts) in sets {
        let set = if set.is_empty() { "test set not named".to_owned() } else { format!("on {set}") };
        for (mode, facts) in by_mode(&facts).into_values() {
            let said = [(several_sets, set.clone()), (several_modes, mode)];
            let title: Vec<String> = said.into_iter().filter_map(|(differs, words)| differs.then_some(words)).collect();
            wanted.push(Wanted { title: title.join(", "), facts, key: &by_accuracy });
        }
    }
    share_rows(wanted)
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

/// Top-1 accuracy over samples per second, a point a configuration, and the Pareto front; a panel a test set and mode.
pub fn accuracy(record: &Record) -> Sheet {
    let name = ChartName::Accuracy;
    let groups = shown(record);
    let facts: Vec<&Facts> = groups.iter().flat_map(|group| group.facts.iter().copied()).collect();
    if facts.is_empty() {
        let known = |fact: &Facts| share_of_right(fact).is_some();
        return name.nothing(if record.shown().into_iter().any(known) {
            let hidden = record.is_hidden(|all| !shown(all).is_empty());
            let why = "no selected configuration with an accuracy has a throughput, too";
            record.why(hidden, "an accuracy and a throughput", why)
        } else {
            record.why_nothing("an accuracy", "; `benchdb run --data DIR` measures it", known)
        });
    }
    // What the titles of the panels say is not said again.
    let sets = facts.windows(2).any(|pair| test_set(&pair[0].identity) != test_set(&pair[1].identity));
    let modes = facts.windows(2).any(|pair| pair[0].identity.get(Part::Mode) != pair[1].identity.get(Part::Mode));
    let of = |fact: &&Facts| if sets { without_test_set(&fact.identity) } else { fact.identity.clone() };
    let identities: Vec<Identity> = facts.iter().map(of).collect();
    let unsaid: &[Part] = if modes { &[Part::Mode] } else { &[] };
    let named = names(&identities.iter().collect::<Vec<_>>(), unsaid);
    let versions = versions(&facts);
    let mut bars = Bars::default();
    let mut notes = Vec::new();
    let mut panels = Vec::new();
    let mut begin = 0;
    for group in &groups {
        let own = begin..begin + group.facts.len();
        begin = own.end;
        let of = Named { facts: &group.facts, names: &named.names[own.clone()], versions: &versions[own] };
        let (plane, front) = of.plane(&mut bars);
        let of_title = if group.title.is_empty() { String::new() } else { format!(" ({})", group.title) };
        notes.extend(note_of_limit(group.facts.len(), group.of, "most accurate", &format!("configurations{of_title}")));
        if let ([only], true) = (&front[..], group.facts.len() > 1) {
            notes.push(format!("{} is at least as good as all others in both{of_title}.", of.names[*only]));
        }
        panels.push(Panel { title: group.title.clone(), content: Content::Plane(plane) });
    }
    let mut chart = name.chart(&[&named.common, "up and to the right is better", &bars.text()], panels);
    chart.notes = notes;
    chart.notes.extend(record.left_out(|fact| by_accuracy(fact).is_some()));
    chart.behind = rests_on(&["accuracy_top1", "throughput_samples_per_second"], &facts);
    Sheet::Chart(chart)
}

/// The version of a model that each is, as the legend says it: one colour each, which is what is compared on this sheet.
fn versions(facts: &[&Facts]) -> Vec<String> {
    let one_model = facts.iter().all(|fact| fact.identity.get(Part::Model) == facts[0].identity.get(Part::Model));
    let version = |fact: &&Facts| match (fact.identity.get(Part::Model), fact.identity.get(Part::Variant)) {
        (model, "") => model.to_owned(),
        (_, variant) if one_model => variant.to_owned(),
        (model, variant) => format!("{model}, {variant}"),
    };
    shortened(&facts.iter().map(version).collect::<Vec<_>>())
}

/// The configurations of a panel with what they are called.
struct Named<'g> {
    facts: &'g [&'g Facts],
    names: &'g [String],
    versions: &'g [String],
}

impl Named<'_> {
    /// The points with their front, and which of them are on it.
    fn plane(&self, bars: &mut Bars) -> (Plane, Vec<usize>) {
        let point =
            |fact: &&Facts| (fact.throughput().unwrap_or_default(), 100.0 * share_of_right(fact).unwrap_or_default());
        let points: Vec<(f64, f64)> = self.facts.iter().map(point).collect();
        let front = front(&points);
        let mut series: BTreeMap<&String, Vec<Point>> = BTreeMap::new();
        for (index, fact) in self.facts.iter().enumerate() {
            let mut y = bars.of(fact, "accuracy_top1").unwrap_or_default();
            y.value *= 100.0;
            y.interval = y.interval.map(|(low, high)| (100.0 * low, 100.0 * high));
            y.detail = format!("{}; {}", self.names[index], y.detail);
            let is_named = self.facts.len() <= ALL_NAMED || front.contains(&index);
            let label = if is_named { self.names[index].clone() } else { String::new() };
            series.entry(&self.versions[index]).or_default().push(Point { x: points[index].0, y, label });
        }
        let scatter =
            |(name, points): (&String, Vec<Point>)| PlaneSeries { name: name.clone(), points, join: Join::Scatter };
        let mut series: Vec<PlaneSeries> = series.into_iter().map(scatter).collect();
        if front.len() > 1 {
            // From the fastest to the slowest: an accuracy is to be had at every speed below that of its point.
            let points = front.iter().map(|&index| Point {
                x: points[index].0,
                y: Value { value: points[index].1, interval: None, detail: self.names[index].clone() },
                label: String::new(),
            });
            // Under the points.
            series.insert(
                0,
                PlaneSeries { name: "Pareto front".to_owned(), points: points.collect(), join: Join::Steps },
            );
        }
        let plane = Plane {
            x: Axis::new("throughput", "samples/s"),
            y: Axis::new("top-1 accuracy", "%").scaled(Scale::Linear),
            series,
            marks: Vec::new(),
        };
        (plane, front)
    }
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
