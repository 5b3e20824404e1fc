//! Which columns hold numbers, and stand to the right.

use super::best::number;
use crate::domain::{Cell, Table};

/// Whether a column holds numbers, and numbers alone, so that their digits stand below each other. A `~` may stand before
/// them. A column without any cell holds none.
pub(super) fn holds_numbers_alone(table: &Table, column: usize) -> bool {
    let mut filled = cells(table, column).peekable();
    filled.peek().is_some() && filled.all(is_one_number)
}

/// Whether more than half of what a column says are numbers, perhaps with words behind them: `8.000 x`, `10 to 12 runs`.
pub(super) fn holds_mostly_numbers(table: &Table, column: usize) -> bool {
    let (mut filled, mut numbers) = (0, 0);
    for cell in cells(table, column) {
        filled += 1;
        numbers += usize::from(begins_with_number(cell));
    }
    2 * numbers > filled
}

/// The cells of a column that say something.
fn cells(table: &Table, column: usize) -> impl Iterator<Item = &Cell> {
    let says_something = |cell: &&Cell| match cell {
        Cell::Null => false,
        Cell::Text(text) => !text.is_empty(),
        Cell::Integer(_) | Cell::Real(_) => true,
    };
    table.rows.iter().filter_map(move |row| row.get(column)).filter(says_something)
}

/// Whether a cell is one number, be it written for people.
fn is_one_number(cell: &Cell) -> bool {
    match cell {
        Cell::Text(text) => !text.contains(char::is_whitespace) && number(cell).is_some(),
        other => number(other).is_some(),
    }
}

/// Whether a cell is a number for people, perhaps with a word behind it: `~12.5`, `+3.1 %`, `8.000 x`, `10 to 12 runs`.
/// A date is none.
fn begins_with_number(cell: &Cell) -> bool {
    let Cell::Text(text) = cell else { return number(cell).is_some() };
    let text = text.trim_start_matches(['~', '<', '+', '-']);
    let word = text.split_whitespace().next().unwrap_or_default();
    word.starts_with(|first: char| first.is_ascii_digit()) && word.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_are_numbers() {
        for text in ["12", "~12.5", "+3.1 %", "-4 %", "8.000 x", "10.1 to 12.3 runs", "<0.0001", "1.5e-9"] {
            assert!(begins_with_number(&text.into()), "{text}");
        }
        for text in ["", "2026-11-21", "3x224x224", "resnet18", "nan", "fp32", "11/22"] {
            assert!(!begins_with_number(&text.into()), "{text}");
        }
    }

    #[test]
    fn numbers_alone_are_mostly_numbers() {
        let mut table = Table::new("", &["alone", "mostly", "words", "nothing"]);
        table.push(["~1.5".into(), "8.000 x".into(), "a".into(), Cell::Null]);
        table.push([2.5.into(), "1.5 (1.2 to 1.8)".into(), 1_u32.into(), "".into()]);
        table.push([Cell::Null, "not known".into(), "b".into(), Cell::Null]);
        let of = |holds: fn(&Table, usize) -> bool| [0, 1, 2, 3].map(|column| holds(&table, column));
        assert_eq!(of(holds_numbers_alone), [true, false, false, false]);
        assert_eq!(of(holds_mostly_numbers), [true, true, false, false]);
    }
}
