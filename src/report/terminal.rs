//! Tables for people: they fit the width of the terminal, numbers stand to the right.

use std::io::Write;

use comfy_table::{Attribute, CellAlignment, ContentArrangement, LineStyle, Table as Drawn, TableStyle};

use super::{Render, significant};
use crate::domain::text::printable;
use crate::domain::{Cell, Table};

/// A rule above, below the header and at the end; nothing between rows.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// How a terminal is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
                writeln!(out, "{}", table.title)?;
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
        for column in 0..table.columns.len() {
            if is_numeric(table, column)
                && let Some(column) = drawn.column_mut(column)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        drawn.trim_fmt()
    }
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
}
