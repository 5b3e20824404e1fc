//! Forecasts of what was measured, made without having seen it.

use std::collections::BTreeMap;

use super::names::shortened;
use super::{ChartName, MOST, note_of_limit};
use crate::domain::chart::{
    Axis, Content, Join, Mark, Panel, Place, Plane, PlaneSeries, Point, Scale, Sheet, Tone, Value,
};
use crate::domain::text::{counted, printable, significant};
use crate::stats::median;

/// Points on the sheet, at most.
const MOST_POINTS: usize = 400;

/// One measurement that was hidden, and what was forecast of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// What it is: model, precision, batch size.
    pub name: String,
    /// The device.
    pub device: String,
    /// Measured samples per second.
    pub measured: f64,
    /// The forecast of them.
    pub forecast: f64,
    /// Between what nine of ten are expected.
    pub ninety: Option<(f64, f64)>,
}

/// Forecast over measured throughput, one point a measurement that was hidden from what forecast it. `how` says how they
/// were hidden, or where there are none, why.
pub fn predicted(tried: &[Tried], how: &str) -> Sheet {
    let name = ChartName::Predicted;
    let mut good: Vec<&Tried> = tried
        .iter()
        .filter(|one| [one.measured, one.forecast].iter().all(|rate| rate.is_finite() && *rate > 0.0))
        .collect();
    if good.is_empty() {
        let why = if how.is_empty() { String::new() } else { format!(": {how}") };
        return name.nothing(format!("no measurement could be hidden and forecast from the others{why}"));
    }
    good.sort_by(|left, right| left.measured.total_cmp(&right.measured));
    let errors: Vec<f64> = good.iter().map(|one| 100.0 * (one.forecast / one.measured - 1.0).abs()).collect();
    let known: Vec<bool> =
        good.iter().filter_map(|one| one.ninety.map(|(low, high)| (low..=high).contains(&one.measured))).collect();
    let all = good.len();
    // Evenly from the slowest to the fastest.
    let shown: Vec<&Tried> = if all > MOST_POINTS {
        (0..MOST_POINTS).map(|place| good[place * (all - 1) / (MOST_POINTS - 1)]).collect()
    } else {
        good
    };
    let mut devices: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
    for one in &shown {
        let detail = format!("{}; 90 % interval", printable(&one.name));
        let y = Value { value: one.forecast, interval: one.ninety, detail };
        devices.entry(&one.device).or_default().push(Point { x: one.measured, y, label: String::new() });
    }
    let mut devices: Vec<(&str, Vec<Point>)> = devices.into_iter().collect();
    let of = devices.len();
    if of > MOST {
        // A stable sort: those with as many stay in the order of their names.
        devices.sort_by_key(|(_, points)| std::cmp::Reverse(points.len()));
        devices.truncate(MOST);
        devices.sort_by_key(|(device, _)| *device);
    }
    let names = shortened(&devices.iter().map(|(device, _)| printable(device)).collect::<Vec<_>>());
    let on_sheet: usize = devices.iter().map(|(_, points)| points.len()).sum();
    let series = devices.into_iter().zip(names);
    let series = series.map(|((_, points), name)| PlaneSeries { name, points, join: Join::Scatter }).collect();
    let plane = Plane {
        x: Axis::new("measured throughput", "samples/s").scaled(Scale::Log),
        y: Axis::new("forecast throughput", "samples/s").scaled(Scale::Log),
        series,
        marks: vec![Mark { place: Place::Diagonal, label: "as measured".to_owned(), tone: Tone::Neutral }],
    };
    let panels = vec![Panel { title: String::new(), content: Content::Plane(plane) }];
    let mut chart = name.chart(&[how, "bars: 90 % prediction intervals"], panels);
    if let Some(error) = median(&errors) {
        let held = known.iter().filter(|held| **held).count();
        let coverage = if known.is_empty() {
            String::new()
        } else {
            format!(", and {} % of them lie in their interval", significant(100.0 * held as f64 / known.len() as f64))
        };
        chart.notes.push(format!("The median error of {all} forecasts is {} %{coverage}.", significant(error)));
    }
    if all > shown.len() {
        chart.notes.push(format!("Shown are {} of them, evenly from the slowest to the fastest.", shown.len()));
    }
    if let Some(note) = note_of_limit(of.min(MOST), of, "with the most forecasts", "devices") {
        chart.notes.push(format!(
            "{note} {} of others are not on the sheet.",
            counted(shown.len() - on_sheet, "forecast", "forecasts")
        ));
    }
    chart.notes.push("Every point was hidden from the model that forecast it.".to_owned());
    Sheet::Chart(chart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(measured: f64, forecast: f64) -> Tried {
        let ninety = Some((0.5 * forecast, 2.0 * forecast));
        Tried { name: "m".into(), device: "card".into(), measured, forecast, ninety }
    }

    #[test]
    fn many_are_thinned_out_evenly_and_the_error_is_of_all() {
        let all: Vec<Tried> = (1..=1000).map(|rate| tried(f64::from(rate), 1.1 * f64::from(rate))).collect();
        let Sheet::Chart(chart) = predicted(&all, "a fifth was hidden") else { panic!("a chart") };
        let Content::Plane(plane) = &chart.panels[0].content else { panic!("a plane") };
        let points = &plane.series[0].points;
        assert_eq!((points.len(), points[0].x, points[399].x), (400, 1.0, 1000.0));
        assert!(chart.notes[0].contains("1000 forecasts is 10.00 %, and 100.0 %"), "{:?}", chart.notes);
        assert_eq!(plane.marks[0].place, Place::Diagonal);
    }

    #[test]
    fn more_devices_than_have_room_are_counted() {
        let on = |device: usize| Tried { device: format!("card {device:03}"), ..tried(1.0 + device as f64, 2.0) };
        let all: Vec<Tried> = (0..70).map(on).chain([on(69), on(69)]).collect();
        let Sheet::Chart(chart) = predicted(&all, "") else { panic!("a chart") };
        let Content::Plane(plane) = &chart.panels[0].content else { panic!("a plane") };
        let names: Vec<&str> = plane.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!((names.len(), names[0], names[59]), (60, "card 000", "card 069"));
        let said = |note: &String| note.contains("the 60 with the most forecasts of 70 devices");
        assert!(
            chart.notes.iter().any(|note| said(note) && note.contains("10 forecasts of others")),
            "{:?}",
            chart.notes
        );
    }

    #[test]
    fn rates_that_are_no_numbers_are_no_points() {
        assert!(matches!(predicted(&[tried(0.0, 1.0), tried(f64::NAN, 1.0)], ""), Sheet::Nothing { .. }));
    }
}
