//! Tables for people: they fit the width of the terminal, numbers stand to the right.

use std::io::Write;

use comfy_table::{
    Attribute, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table as Drawn, TableStyle, Width,
};

use super::{Render, significant};
use crate::domain::text::printable;
use crate::domain::{Cell, Table};

/// A rule above, below the header and at the end; nothing between rows.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Columns to the left and right of a cell on a terminal, where room is scarce.
const NARROW_PADDING: (u16, u16) = (0, 1);

/// A word that is wider may be broken all the same, in columns: a UUID fits.
const WIDEST_WORD: u16 = 36;

/// How a terminal is written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether bold and colours may be used.
    pub color: bool,
    /// The width in columns; `None` where output goes to a file or a pipe, which has none.
    pub width: Option<u16>,
}

pub(super) struct Terminal {
    pub(super) style: Style,
}

impl Render for Terminal {
    fn render(&self, _: &str, tables: &[Table], out: &mut dyn Write) -> std::io::Result<()> {
        for (index, table) in tables.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            if !table.title.is_empty() {
                writeln!(out, "{}", printable(&table.title))?;
            }
            writeln!(out, "{}", self.draw(table))?;
        }
        Ok(())
    }
}

impl Terminal {
    fn draw(&self, table: &Table) -> String {
        let mut drawn = Drawn::new();
        drawn.load_style(STYLE);
        match self.style.width {
            Some(width) => {
                drawn.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            }
            None => {
                drawn.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if self.style.color {
            drawn.enforce_styling();
        } else {
            drawn.force_no_tty();
        }
        drawn.set_header(table.columns.iter().map(|name| {
            // Words of a long name may stand below each other.
            let cell =
                comfy_table::Cell::new(if self.style.width.is_some() { name.replace('_', " ") } else { name.clone() });
            if self.style.color { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        for row in &table.rows {
            drawn.add_row(row.iter().map(shown));
        }
        for (index, column) in drawn.column_iter_mut().enumerate() {
            if is_numeric(table, index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if self.style.width.is_some() {
                // Lines may break between words, not within: the widest word is the least width.
                let least = widest_word(table, index).saturating_add(NARROW_PADDING.0 + NARROW_PADDING.1);
                column.set_padding(NARROW_PADDING).set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
            }
        }
        drawn.trim_fmt()
    }
}

/// The widest word of a column, its name included; at most [`WIDEST_WORD`], because a path has no end.
fn widest_word(table: &Table, column: usize) -> u16 {
    let name = table.columns.get(column).map(|name| name.replace('_', " ")).unwrap_or_default();
    let cells = table.rows.iter().filter_map(|row| row.get(column).map(shown));
    let widest =
        cells.chain([name]).flat_map(|text| text.split_whitespace().map(console::measure_text_width).max()).max();
    widest.and_then(|width| u16::try_from(width).ok()).unwrap_or(WIDEST_WORD).min(WIDEST_WORD)
}

/// Whether a column holds numbers, and numbers alone. A `~` may stand before them.
pub(super) fn is_numeric(table: &Table, column: usize) -> bool {
    let mut numbers = 0;
    for row in &table.rows {
        match row.get(column) {
            Some(Cell::Integer(_) | Cell::Real(_)) => numbers += 1,
            Some(Cell::Text(text)) if text.starts_with('~') => numbers += 1,
            Some(Cell::Null) | None => {}
            Some(Cell::Text(_)) => return false,
        }
    }
    numbers > 0
}

/// A cell as people read it; what was not measured is empty. Control characters do not reach the terminal.
pub(super) fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => significant(*number),
        Cell::Text(text) => printable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { color: false, width: None };

    #[test]
    fn nothing_is_wrapped_where_there_is_no_terminal() {
        let mut table = Table::new("", &["name", "value_ms"]);
        table.push(["x".repeat(300).into(), 1.5.into()]);
        let text = Terminal { style: PLAIN }.draw(&table);
        assert!(text.contains(&"x".repeat(300)));
        assert!(text.contains("value_ms"));
    }

    #[test]
    fn words_are_not_broken_on_a_narrow_terminal() {
        let mut table = Table::new("", &["model", "samples/s", "a_long_name_of_words"]);
        table.push(["bert-base-uncased".into(), 358.5.into(), "some words that need room to be shown".into()]);
        let text = Terminal { style: Style { color: false, width: Some(48) } }.draw(&table);
        assert!(text.contains("bert-base-uncased") && text.contains("samples/s"), "{text}");
        assert!(text.lines().all(|line| console::measure_text_width(line) <= 48), "{text}");
    }
}
