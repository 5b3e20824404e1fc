//! Which cell of a column is the best: what people look for first.

use std::collections::BTreeSet;

use crate::domain::metric::{Better, find_metric};
use crate::domain::{Cell, Table};

/// Columns of tables for people that hold a metric under a short name.
const SHORT_NAMES: [(&str, Better); 16] = [
    ("ms", Better::Lower),
    ("mean ms", Better::Lower),
    ("min ms", Better::Lower),
    ("p50 ms", Better::Lower),
    ("p90 ms", Better::Lower),
    ("p95 ms", Better::Lower),
    ("p99 ms", Better::Lower),
    ("max ms", Better::Lower),
    ("samples/s", Better::Higher),
    ("per second", Better::Higher),
    ("best samples/s", Better::Higher),
    ("speed-up", Better::Higher),
    ("memory MB", Better::Lower),
    ("J/sample", Better::Lower),
    ("accuracy", Better::Higher),
    ("tokens/s", Better::Higher),
];

/// Columns that say what is done. Values of rows that differ here do not compete: a smaller model is no better one.
const WORK: [&str; 11] =
    ["model", "variant", "mode", "method", "work", "training", "input_shape", "shape", "batch_size", "batch", "input"];

/// A column of ratios, each to a reference that did the same work: they compete whatever it is.
const RATIO: &str = "speed-up";

/// What stands in a column of ratios at what they are relative to.
const REFERENCE: &str = "reference";

/// Which direction is good in a column: a metric's, by its name.
fn direction(column: &str) -> Better {
    let short = SHORT_NAMES.iter().find(|(name, _)| *name == column).map(|(_, better)| *better);
    short.or_else(|| find_metric(column).map(|metric| metric.better)).unwrap_or(Better::None)
}

/// The number that a cell begins with; a `~` may stand before it.
pub(super) fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Null => None,
        Cell::Integer(number) => Some(*number as f64),
        Cell::Real(number) => Some(*number),
        Cell::Text(text) => text.trim_start_matches('~').split_whitespace().next()?.parse().ok(),
    }
    .filter(|number| number.is_finite())
}

/// Whether all rows did the same, as far as the columns tell.
fn does_one_thing(table: &Table) -> bool {
    let of_work = table.columns.iter().enumerate().filter(|(_, name)| WORK.contains(&name.as_str()));
    let first = |column: usize| table.rows.first().and_then(|row| row.get(column));
    of_work.map(|(column, _)| column).all(|column| table.rows.iter().all(|row| row.get(column) == first(column)))
}

/// The places (row, column) of the best values. A column in which nothing differs has none. Nor has a table whose rows
/// nobody knows to be comparable; of one whose rows do different work, the ratios alone are compared.
pub(super) fn best_cells(table: &Table) -> BTreeSet<(usize, usize)> {
    let mut found = BTreeSet::new();
    if table.unrelated {
        return found;
    }
    let comparable = does_one_thing(table);
    for (column, name) in table.columns.iter().enumerate().filter(|(_, name)| comparable || *name == RATIO) {
        let sign = match direction(name) {
            Better::Lower => 1.0,
            Better::Higher => -1.0,
            Better::None => continue,
        };
        let value = |cell: &Cell| match cell {
            Cell::Text(text) if name == RATIO && text == REFERENCE => Some(1.0),
            cell => number(cell),
        };
        let values = || {
            let cells = table.rows.iter().enumerate();
            cells.filter_map(|(row, cells)| Some((row, sign * value(cells.get(column)?)?)))
        };
        let best = values().map(|(_, value)| value).fold(f64::INFINITY, f64::min);
        if values().any(|(_, value)| value > best) {
            found.extend(values().filter(|(_, value)| *value <= best).map(|(row, _)| (row, column)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_direction_is_the_metrics() {
        let mut table = Table::new("", &["engine", "latency_p50_ms", "samples/s", "runs", "memory MB"]);
        table.push(["a".into(), 2.0.into(), "~30.5".into(), 3_u32.into(), 7_u32.into()]);
        table.push(["b".into(), 1.0.into(), "9.5".into(), 9_u32.into(), 7_u32.into()]);
        table.push(["c".into(), Cell::Null, "not known".into(), 1_u32.into(), 7_u32.into()]);
        assert_eq!(best_cells(&table), BTreeSet::from([(1, 1), (0, 2)]));
        table.unrelated = true;
        assert!(best_cells(&table).is_empty());
    }

    #[test]
    fn the_reference_of_speed_ups_is_one() {
        let speed_ups = |others: &[&str]| {
            let mut table = Table::new("", &["engine", "speed-up"]);
            for (index, text) in ["reference"].iter().chain(others).enumerate() {
                table.push([index.to_string().into(), (*text).into()]);
            }
            best_cells(&table)
        };
        assert_eq!(speed_ups(&["0.5810 x", "0.3000 x"]), BTreeSet::from([(0, 1)]));
        assert_eq!(speed_ups(&["0.5810 x", "2.000 x"]), BTreeSet::from([(2, 1)]));
        assert!(speed_ups(&[]).is_empty());
    }

    #[test]
    fn different_work_does_not_compete() {
        for (column, left, right) in [("model", "a", "b"), ("input_shape", "3x8x8", "3x16x16"), ("method", "a", "b")] {
            let mut table = Table::new("", &[column, "ms", "speed-up"]);
            table.push([left.into(), 2.0.into(), "2.000 x".into()]);
            table.push([right.into(), 1.0.into(), "1.500 x".into()]);
            assert_eq!(best_cells(&table), BTreeSet::from([(0, 2)]), "{column}");
            table.rows[1][0] = left.into();
            assert_eq!(best_cells(&table), BTreeSet::from([(1, 1), (0, 2)]), "{column}");
        }
    }

    #[test]
    fn every_time_of_an_explanation_has_a_direction() {
        let names = ["min ms", "p50 ms", "p95 ms", "p99 ms", "max ms", "per second"];
        assert!(names.iter().all(|name| direction(name) != Better::None));
    }

    #[test]
    fn one_row_is_no_contest() {
        let mut table = Table::new("", &["ms"]);
        table.push([1.0.into()]);
        assert!(best_cells(&table).is_empty());
    }
}
