//! Which cell of a column is the best: what people look for first.

use std::collections::BTreeSet;

use crate::domain::metric::{Better, find_metric};
use crate::domain::{Cell, Table};

/// Columns of tables for people that hold a metric under a short name.
const SHORT_NAMES: [(&str, Better); 12] = [
    ("ms", Better::Lower),
    ("p50 ms", Better::Lower),
    ("p90 ms", Better::Lower),
    ("p95 ms", Better::Lower),
    ("p99 ms", Better::Lower),
    ("samples/s", Better::Higher),
    ("best samples/s", Better::Higher),
    ("speed-up", Better::Higher),
    ("memory MB", Better::Lower),
    ("J/sample", Better::Lower),
    ("accuracy", Better::Higher),
    ("tokens/s", Better::Higher),
];

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

/// The places (row, column) of the best values. A column in which nothing differs has none, and neither has a table whose
/// rows nobody knows to be comparable.
pub(super) fn best_cells(table: &Table) -> BTreeSet<(usize, usize)> {
    let mut found = BTreeSet::new();
    if table.unrelated {
        return found;
    }
    for (column, name) in table.columns.iter().enumerate() {
        let sign = match direction(name) {
            Better::Lower => 1.0,
            Better::Higher => -1.0,
            Better::None => continue,
        };
        let values = || {
            let cells = table.rows.iter().enumerate();
            cells.filter_map(|(row, cells)| Some((row, sign * number(cells.get(column)?)?)))
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
        let mut table = Table::new("", &["model", "latency_p50_ms", "samples/s", "runs", "memory MB"]);
        table.push(["a".into(), 2.0.into(), "~30.5".into(), 3_u32.into(), 7_u32.into()]);
        table.push(["b".into(), 1.0.into(), "9.5".into(), 9_u32.into(), 7_u32.into()]);
        table.push(["c".into(), Cell::Null, "not known".into(), 1_u32.into(), 7_u32.into()]);
        assert_eq!(best_cells(&table), BTreeSet::from([(1, 1), (0, 2)]));
        table.unrelated = true;
        assert!(best_cells(&table).is_empty());
    }

    #[test]
    fn one_row_is_no_contest() {
        let mut table = Table::new("", &["ms"]);
        table.push([1.0.into()]);
        assert!(best_cells(&table).is_empty());
    }
}
