//! Charts of one run: what its sensors said while it iterated, and how its iterations are distributed.

use std::collections::BTreeMap;

use super::ChartName;
use super::names::names;
use crate::domain::chart::{
    Axis, Behind, Content, Histogram, Join, Mark, Panel, Place, Plane, PlaneSeries, Point, Scale, Sheet, Tone, Value,
};
use crate::domain::text::{counted, printable, significant};
use crate::domain::time::{milliseconds, moment};
use crate::domain::{Identity, RunRecord, TelemetrySeries, Validity};
use crate::stats::{quantile, sorted};

/// Points of a line, at most: more than a sheet has pixels.
const MOST_POINTS: usize = 1_500;

/// Intervals of a histogram, at most.
const MOST_INTERVALS: usize = 80;

/// The quantities of sensors that have a panel, in their order: unit, title, and how the axis says the unit.
const PANELS: [(&str, &str, &str); 5] = [
    ("W", "power", "W"),
    ("C", "temperature", "\u{b0}C"),
    ("%", "utilisation", "%"),
    ("MHz", "clock", "MHz"),
    ("MB", "memory in use", "MB"),
];

/// Why a device slowed down; 0 where it did not.
const THROTTLE: &str = "bitmask";

/// The iterations of a run in ms.
fn iterations(run: &RunRecord) -> Vec<f64> {
    let series = run.measurement.samples.iter().find(|series| series.phase == "iteration");
    series.map(|series| series.nanoseconds.iter().map(|time| *time as f64 / 1e6).collect()).unwrap_or_default()
}

/// What a run is, in one line.
fn subtitle(id: i64, run: &RunRecord) -> String {
    let identity = Identity::of(&run.configuration);
    let named = names(&[&identity], &[]);
    let started = run.started_at.as_deref().and_then(milliseconds);
    let started = started.map(|time| [", ", &moment(time)].concat()).unwrap_or_default();
    format!("run {id}{started}: {}", named.common)
}

fn validity_note(run: &RunRecord) -> Option<String> {
    let validity = run.measurement.validity;
    (validity != Validity::Valid).then(|| format!("The numbers of this run do not count: {validity}."))
}

/// Points that a sheet can tell apart: of many the least and the largest of each of equal stretches, in their order.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points;
    }
    let stretch = points.len().div_ceil(MOST_POINTS / 2);
    points
        .chunks(stretch)
        .flat_map(|chunk| {
            let by_value = |left: &&(f64, f64), right: &&(f64, f64)| left.1.total_cmp(&right.1);
            let (least, most) = (chunk.iter().min_by(by_value), chunk.iter().max_by(by_value));
            let mut ends: Vec<(f64, f64)> = [least, most].into_iter().flatten().copied().collect();
            ends.sort_by(|left, right| left.0.total_cmp(&right.0));
            ends.dedup();
            ends
        })
        .collect()
}

fn line(name: &str, points: Vec<(f64, f64)>, join: Join) -> PlaneSeries {
    let points =
        thinned(points).into_iter().map(|(x, y)| Point { x, y: Value::plain(y), label: String::new() }).collect();
    PlaneSeries { name: name.to_owned(), points, join }
}

/// The readings of a sensor over seconds since the first iteration.
fn readings(series: &TelemetrySeries) -> Vec<(f64, f64)> {
    let pairs = series.offsets_ms.iter().zip(&series.values).map(|(offset, value)| (offset / 1e3, *value));
    pairs.filter(|(offset, value)| offset.is_finite() && value.is_finite()).collect()
}

/// Power, temperature, utilisation, clocks and memory in use over time, under the iterations of the run.
pub fn telemetry(id: i64, run: &RunRecord) -> Sheet {
    let name = ChartName::Telemetry;
    let mut panels: BTreeMap<usize, Vec<PlaneSeries>> = BTreeMap::new();
    for series in &run.measurement.telemetry {
        let place = PANELS.iter().position(|(unit, ..)| *unit == series.unit);
        let points = readings(series);
        if let Some(place) = place.filter(|_| !points.is_empty()) {
            let said = printable(&series.sensor).replace('_', " ");
            panels.entry(place).or_default().push(line(&said, points, Join::Line));
        }
    }
    if panels.is_empty() {
        return name
            .nothing(format!("no sensor told anything during run {id}; `benchdb hardware` shows which there are"));
    }
    // Iterations stand where they begin: the sum of those before.
    let mut clock = 0.0;
    let times = iterations(run);
    let begun: Vec<(f64, f64)> = times
        .iter()
        .map(|time| {
            let begin = clock;
            clock += time / 1e3;
            (begin, *time)
        })
        .collect();
    let points = || panels.values().flatten().flat_map(|series| &series.points).map(|point| point.x);
    let (first, last) = (points().fold(0.0, f64::min), points().fold(clock, f64::max));
    let axis = || Axis::new("time since the first iteration", "s").scaled(Scale::Linear).over(first, last);
    let plane = |title: &str, y: Axis, series: Vec<PlaneSeries>| Panel {
        title: title.to_owned(),
        content: Content::Plane(Plane { x: axis(), y, series, marks: Vec::new() }),
    };
    let many = times.len() > MOST_POINTS;
    let mut shown = Vec::new();
    if !begun.is_empty() {
        let join = if many { Join::Line } else { Join::Scatter };
        shown.push(plane("iterations", Axis::new("latency", "ms"), vec![line("iteration", begun, join)]));
    }
    for (place, series) in panels {
        let (_, title, unit) = PANELS[place];
        shown.push(plane(title, Axis::new(title, unit).scaled(Scale::Linear), series));
    }
    let mut chart = name.chart(&[&subtitle(id, run)], shown);
    chart.notes.push("An iteration stands at the sum of those before it.".to_owned());
    if many {
        chart.notes.push(format!("Of {} iterations the extremes of each stretch are shown.", times.len()));
    }
    let has_power = run.measurement.telemetry.iter().any(|series| series.unit == "W");
    if !has_power {
        chart.notes.push("No sensor told the power.".to_owned());
    }
    let throttled = run.measurement.telemetry.iter().filter(|series| series.unit == THROTTLE);
    let slowed = throttled.flat_map(|series| &series.values).filter(|reasons| **reasons > 0.0).count();
    if slowed > 0 {
        chart.notes.push(format!("The device held its clocks down in {}.", counted(slowed, "reading", "readings")));
    }
    chart.notes.extend(validity_note(run));
    chart.behind = Some(Behind::Telemetry(id));
    Sheet::Chart(chart)
}

/// The iterations of a run: how many took how long, and one after the other.
pub fn samples(id: i64, run: &RunRecord) -> Sheet {
    let name = ChartName::Samples;
    let times = iterations(run);
    let ascending = sorted(&times);
    let (Some(median), Some(p99)) = (quantile(&ascending, 0.5), quantile(&ascending, 0.99)) else {
        return name.nothing(format!("run {id} kept no iterations"));
    };
    let marks = |place: fn(f64) -> Place| {
        [(median, "median", Tone::Good), (p99, "p99", Tone::Bad)]
            .map(|(value, label, tone)| Mark {
                place: place(value),
                label: format!("{label} {} ms", significant(value)),
                tone,
            })
            .to_vec()
    };
    let (histogram, beyond) = histogram(&ascending, marks(Place::Vertical));
    let sequence = times.iter().enumerate().map(|(index, time)| ((index + 1) as f64, *time)).collect();
    let many = times.len() > MOST_POINTS;
    let join = if many { Join::Line } else { Join::Scatter };
    let sequence = Plane {
        x: Axis::new("iteration", "").scaled(Scale::Linear),
        y: Axis::new("latency", "ms"),
        series: vec![line("iteration", sequence, join)],
        marks: marks(Place::Horizontal),
    };
    let panels = vec![
        Panel { title: "distribution".to_owned(), content: Content::Histogram(histogram) },
        Panel { title: "sequence".to_owned(), content: Content::Plane(sequence) },
    ];
    let mut chart = name.chart(&[&subtitle(id, run), &counted(times.len(), "iteration", "iterations")], panels);
    chart.columns = 2;
    if beyond > 0 {
        chart.notes.push(format!(
            "{} longer than the histogram reaches; the sequence has all.",
            counted(beyond, "iteration took", "iterations took")
        ));
    }
    if let Some(outliers) = run.measurement.outlier_count.filter(|count| *count > 0) {
        let outliers = counted(outliers as usize, "iteration lies", "iterations lie");
        chart.notes.push(format!("{outliers} outside Tukey's outer fences; none was dropped."));
    }
    let needed = super::super::metrics::iterations_needed("latency_p99_ms");
    if (times.len() as u64) < needed {
        chart.notes.push(format!("p99 rests on fewer than the {needed} iterations that it needs."));
    }
    if many {
        chart.notes.push("The sequence shows the extremes of each stretch.".to_owned());
    }
    chart.notes.extend(validity_note(run));
    chart.behind = Some(Behind::Samples(id));
    Sheet::Chart(chart)
}

/// Values in ascending order in equal intervals, as wide as Freedman and Diaconis (1981, On the histogram as a density
/// estimator) want it, but at most [`MOST_INTERVALS`]: a few values far out do not press all others into one, they lie
/// beyond the end. Answers how many do.
fn histogram(ascending: &[f64], marks: Vec<Mark>) -> (Histogram, usize) {
    let at = |q: f64| quantile(ascending, q).unwrap_or_default();
    let (start, end, count) = (at(0.0), at(1.0), ascending.len());
    let wanted = 2.0 * (at(0.75) - at(0.25)) / (count as f64).cbrt();
    // 99 in 100 are on the sheet, however far they lie apart.
    let least = (at(0.99) - start) / (MOST_INTERVALS - 1) as f64;
    let width = match wanted.max(least) {
        // All are the same, or all but a few.
        width if width <= 0.0 && end > start => (end - start) / 10.0,
        width if width <= 0.0 => start.abs().max(1e-6) / 100.0,
        width => width,
    };
    let intervals = (((end - start) / width).floor() as usize + 1).min(MOST_INTERVALS);
    let mut counts = vec![0_u64; intervals];
    let mut beyond = 0;
    for value in ascending {
        match counts.get_mut(((value - start) / width) as usize) {
            Some(count) => *count += 1,
            None => beyond += 1,
        }
    }
    let axis = Axis::new("latency", "ms").scaled(Scale::Linear);
    (Histogram { axis, counted: "iterations".to_owned(), start, width, counts, marks }, beyond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SampleSeries, samples};

    fn run_with(nanoseconds: Vec<u64>) -> RunRecord {
        let mut run = samples::run(1);
        run.measurement.samples.push(SampleSeries { phase: "iteration".into(), nanoseconds });
        run
    }

    #[test]
    fn every_iteration_is_counted_or_named_as_beyond() {
        // 200 around 10 ms, and one of a second.
        let mut times: Vec<u64> = (0..200).map(|index| 10_000_000 + 1_000 * (index * 37 % 200)).collect();
        times.push(1_000_000_000);
        let Sheet::Chart(chart) = super::samples(7, &run_with(times)) else { panic!("a chart") };
        let Content::Histogram(histogram) = &chart.panels[0].content else { panic!("a histogram") };
        assert_eq!(histogram.counts.iter().sum::<u64>(), 200);
        assert!(histogram.counts.len() <= MOST_INTERVALS && histogram.counts.len() > 4, "{}", histogram.counts.len());
        assert!(chart.notes[0].starts_with("1 iteration took longer"), "{:?}", chart.notes);
        let Content::Plane(sequence) = &chart.panels[1].content else { panic!("a plane") };
        assert_eq!(sequence.series[0].points.len(), 201);
        assert!((sequence.series[0].points[200].y.value - 1000.0).abs() < 1e-9);
        assert!(chart.notes.iter().any(|note| note.contains("fewer than the 299")), "{:?}", chart.notes);
    }

    #[test]
    fn equal_iterations_are_one_interval() {
        let Sheet::Chart(chart) = super::samples(7, &run_with(vec![5_000_000; 30])) else { panic!("a chart") };
        let Content::Histogram(histogram) = &chart.panels[0].content else { panic!("a histogram") };
        assert_eq!(histogram.counts, [30]);
        assert!(histogram.width > 0.0);
    }

    #[test]
    fn a_run_without_iterations_or_sensors_has_nothing_to_show() {
        let run = samples::run(1);
        assert!(matches!(super::samples(7, &run), Sheet::Nothing { reason, .. } if reason.contains("run 7")));
        assert!(matches!(telemetry(7, &run), Sheet::Nothing { .. }));
    }

    #[test]
    fn many_points_keep_their_extremes() {
        let points: Vec<(f64, f64)> = (0..100_000).map(|x| (f64::from(x), f64::from(x % 1000 == 777))).collect();
        let fewer = thinned(points);
        assert!(fewer.len() <= MOST_POINTS, "{}", fewer.len());
        assert_eq!(fewer.iter().filter(|(_, y)| *y > 0.5).map(|(x, _)| *x).next(), Some(777.0));
        assert!(fewer.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn sensors_stand_under_the_iterations_on_the_same_time() {
        let mut run = run_with(vec![500_000_000; 4]);
        let sensor = |name: &str, unit: &str, values: [f64; 3]| TelemetrySeries {
            sensor: name.into(),
            unit: unit.into(),
            offsets_ms: vec![-100.0, 1000.0, 2500.0],
            values: values.into(),
        };
        run.measurement.telemetry = vec![
            sensor("gpu_temperature", "C", [40.0, 50.0, f64::NAN]),
            sensor("gpu_power", "W", [30.0, 200.0, 100.0]),
            sensor("gpu_throttle", "bitmask", [0.0, 2.0, 0.0]),
        ];
        let Sheet::Chart(chart) = telemetry(7, &run) else { panic!("a chart") };
        let titles: Vec<&str> = chart.panels.iter().map(|panel| panel.title.as_str()).collect();
        assert_eq!(titles, ["iterations", "power", "temperature"]);
        let planes: Vec<&Plane> = chart
            .panels
            .iter()
            .map(|panel| if let Content::Plane(plane) = &panel.content { plane } else { panic!("a plane") })
            .collect();
        assert!(planes.iter().all(|plane| plane.x.range == Some((-0.1, 2.5))));
        assert_eq!(planes[0].series[0].points.iter().map(|point| point.x).collect::<Vec<_>>(), [0.0, 0.5, 1.0, 1.5]);
        assert_eq!(planes[2].series[0].points.len(), 2, "a reading that failed is no point");
        assert_eq!(planes[2].y.unit, "\u{b0}C");
        assert!(chart.notes.iter().any(|note| note.contains("1 reading")), "{:?}", chart.notes);
    }
}
