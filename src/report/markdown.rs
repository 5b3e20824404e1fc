//! Markdown tables, as GitHub reads them.

use std::io::Write;

use super::Render;
use super::best::best_cells;
use super::terminal::{is_numeric, shown};
use crate::domain::Table;
use crate::domain::text::printable;

pub(super) struct Markdown;

impl Render for Markdown {
    fn render(&self, _: &str, tables: &[Table], out: &mut dyn Write) -> std::io::Result<()> {
        for (index, table) in tables.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            if !table.title.is_empty() {
                writeln!(out, "**{}**\n", escaped(&printable(&table.title)))?;
            }
            write_row(out, table.columns.iter().map(|name| escaped(name)))?;
            write_row(
                out,
                (0..table.columns.len()).map(|column| if is_numeric(table, column) { "--:" } else { "---" }.to_owned()),
            )?;
            let best = best_cells(table);
            for (number, row) in table.rows.iter().enumerate() {
                let cells = row.iter().enumerate().map(|(column, cell)| (best.contains(&(number, column)), cell));
                write_row(
                    out,
                    cells.map(|(best, cell)| {
                        let text = escaped(&shown(cell));
                        if best { format!("**{text}**") } else { text }
                    }),
                )?;
            }
        }
        Ok(())
    }
}

fn write_row(out: &mut dyn Write, cells: impl Iterator<Item = String>) -> std::io::Result<()> {
    write!(out, "|")?;
    for cell in cells {
        write!(out, " {cell} |")?;
    }
    writeln!(out)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Cell;

    #[test]
    fn what_would_break_the_table_is_escaped() {
        assert_eq!(escaped("a|b\n<script>"), "a\\|b &lt;script>");
        assert_eq!(shown(&Cell::Null), "");
    }
}
