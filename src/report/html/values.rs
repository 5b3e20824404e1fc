//! The numbers of a chart as rows.

use crate::domain::chart::{Axis, Content, Histogram, Mark, Matrix, Panel, Place, Plane, Rows, Scale, Value};
use crate::domain::text::counted;
use crate::domain::time::moment;
use crate::domain::{Cell, Table};
use crate::report::significant;

/// Points of a panel that are listed; of more, every second or third one and so on.
const MOST_POINTS: usize = 200;

/// The numbers of a panel.
pub(in crate::report) struct PanelData {
    /// One row a name, a point or an interval.
    pub(in crate::report) table: Table,
    /// What else there is to see: marks, what was left out.
    pub(in crate::report) notes: Vec<String>,
}

/// The numbers of a panel as people read them.
pub(in crate::report) fn panel_data(panel: &Panel) -> PanelData {
    let mut data = match &panel.content {
        Content::Rows(rows) => of_rows(rows),
        Content::Plane(plane) => of_plane(plane),
        Content::Matrix(matrix) => of_matrix(matrix),
        Content::Histogram(histogram) => of_histogram(histogram),
    };
    data.table.title.clone_from(&panel.title);
    data
}

fn of_rows(rows: &Rows) -> PanelData {
    let mut table = Table::new("", &["name"]);
    let unit = rows.axis.text();
    table.columns.extend(rows.series.iter().map(|series| match series.name.as_str() {
        "" => unit.clone(),
        name if rows.series.len() == 1 => format!("{name}: {unit}"),
        name => name.to_owned(),
    }));
    for (index, name) in rows.names.iter().enumerate() {
        let values = rows.series.iter().map(|series| value_cell(series.values.get(index).and_then(Option::as_ref)));
        table.push(std::iter::once(name.as_str().into()).chain(values));
    }
    let notes = if rows.series.len() > 1 { vec![format!("All columns are {unit}.")] } else { Vec::new() };
    PanelData { table, notes }
}

fn of_plane(plane: &Plane) -> PanelData {
    let (x, y) = (plane.x.text(), plane.y.text());
    let mut table = Table::new("", &["series", &x, &y, "about"]);
    let total: usize = plane.series.iter().map(|series| series.points.len()).sum();
    let every = total.div_ceil(MOST_POINTS).max(1);
    for series in &plane.series {
        for point in series.points.iter().step_by(every) {
            let about: Vec<&str> =
                [point.label.as_str(), &point.y.detail].into_iter().filter(|text| !text.is_empty()).collect();
            table.push([
                series.name.as_str().into(),
                on_axis(&plane.x, point.x),
                match (&plane.y.scale, point.y.interval) {
                    (Scale::Time, _) | (_, None) => on_axis(&plane.y, point.y.value),
                    _ => value_cell(Some(&point.y)),
                },
                about.join("; ").into(),
            ]);
        }
    }
    table.drop_empty(&["about", "series"]);
    let mut notes = marks(&plane.marks, &plane.x, &plane.y);
    if every > 1 {
        notes.push(format!("{} of {} are listed.", table.rows.len(), counted(total, "point", "points")));
    }
    PanelData { table, notes }
}

fn of_matrix(matrix: &Matrix) -> PanelData {
    let mut table = Table::new("", &["name"]);
    table.columns.extend(matrix.columns.iter().cloned());
    for (name, cells) in matrix.rows.iter().zip(&matrix.cells) {
        table.push(std::iter::once(name.as_str().into()).chain(cells.iter().map(|cell| value_cell(cell.as_ref()))));
    }
    PanelData { table, notes: vec![format!("Each cell is {}.", matrix.axis.text())] }
}

fn of_histogram(histogram: &Histogram) -> PanelData {
    let unit = histogram.axis.text();
    let mut table = Table::new("", &[&format!("{unit} from"), "to", &histogram.counted]);
    for (index, &count) in histogram.counts.iter().enumerate() {
        let from = histogram.start + histogram.width * index as f64;
        table.push([from.into(), (from + histogram.width).into(), count.into()]);
    }
    PanelData { table, notes: marks(&histogram.marks, &histogram.axis, &Axis::default()) }
}

/// A value with its interval: `12.5 (11.9 to 13.1)`.
fn value_cell(value: Option<&Value>) -> Cell {
    match value {
        None => Cell::Null,
        Some(Value { value, interval: Some((low, high)), .. }) => {
            format!("{} ({} to {})", significant(*value), significant(*low), significant(*high)).into()
        }
        Some(Value { value, .. }) => (*value).into(),
    }
}

/// A place on an axis as people read it.
fn on_axis(axis: &Axis, value: f64) -> Cell {
    match axis.scale {
        Scale::Time => moment(value as i64).into(),
        // Batch sizes and numbers of runs are whole.
        _ if value.fract() == 0.0 && value.abs() < 1e15 => Cell::Integer(value as i64),
        _ => value.into(),
    }
}

/// The lines across, in words.
fn marks(marks: &[Mark], x: &Axis, y: &Axis) -> Vec<String> {
    let text = |axis: &Axis, at: f64| {
        let said = crate::report::terminal::shown(&on_axis(axis, at));
        // A moment says its own unit.
        if axis.unit.is_empty() || axis.scale == Scale::Time { said } else { [&said, " ", &axis.unit].concat() }
    };
    marks
        .iter()
        .filter(|mark| !mark.label.is_empty())
        .map(|mark| match mark.place {
            Place::Vertical(at) => format!("{}: at {}.", mark.label, text(x, at)),
            Place::Horizontal(at) => format!("{}: at {}.", mark.label, text(y, at)),
            Place::Diagonal => format!("{}: where both are equal.", mark.label),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chart::{Join, PlaneSeries, Point, RowSeries, Tone};
    use crate::report::terminal::shown;

    fn text(data: &PanelData) -> Vec<String> {
        data.table.rows.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join("|")).collect()
    }

    #[test]
    fn a_row_has_its_values_with_their_intervals() {
        let rows = Rows {
            axis: Axis::new("latency", "ms"),
            names: vec!["a".into(), "b".into()],
            series: vec![RowSeries {
                name: String::new(),
                values: vec![Some(Value { value: 12.5, interval: Some((11.0, 14.0)), detail: String::new() }), None],
            }],
            ..Rows::default()
        };
        let data = panel_data(&Panel { title: "t".into(), content: Content::Rows(rows) });
        assert_eq!(data.table.columns, ["name", "latency [ms]"]);
        assert_eq!(text(&data), ["a|12.50 (11.00 to 14.00)", "b|"]);
    }

    #[test]
    fn many_points_are_thinned_and_said_so() {
        let points = (0..1000).map(|x| Point { x: f64::from(x), y: Value::plain(1.5), ..Point::default() }).collect();
        let plane = Plane {
            x: Axis::new("iteration", ""),
            y: Axis::new("latency", "ms"),
            series: vec![PlaneSeries { name: "s".into(), points, join: Join::Line }],
            marks: vec![Mark { place: Place::Horizontal(2.0), label: "alert".into(), tone: Default::default() }],
        };
        let data = panel_data(&Panel { title: String::new(), content: Content::Plane(plane) });
        assert_eq!(data.table.rows.len(), 200);
        assert_eq!(data.notes, ["alert: at 2 ms.", "200 of 1000 points are listed."]);
        assert_eq!(text(&data)[1], "s|5|1.500");
    }

    #[test]
    fn moments_are_written_out() {
        let time = Axis::new("started", "").scaled(Scale::Time);
        assert_eq!(shown(&on_axis(&time, 1_000.0)), "1970-01-01 00:00:01 UTC");
        let mark = Mark { place: Place::Vertical(1_000.0), label: "step".into(), tone: Tone::Bad };
        let dated = Axis { unit: "UTC".to_owned(), ..time };
        assert_eq!(marks(&[mark], &dated, &Axis::default()), ["step: at 1970-01-01 00:00:01 UTC."]);
    }
}
