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

/// A text in which nothing is Markdown: no cell ends, no code, no HTML, no emphasis, no link, no strike.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' | '`' | '|' | '*' | '[' | ']' | '~' => escaped.extend(['\\', character]),
            // Within a word it means nothing: latency_p50_ms.
            '_' if !(before.is_alphanumeric() && rest.peek().is_some_and(|after| after.is_alphanumeric())) => {
                escaped.push_str("\\_");
            }
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(character),
        }
        before = character;
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Cell;

    #[test]
    fn what_would_break_the_table_is_escaped() {
        assert_eq!(escaped("a|b\n<script>"), "a\\|b &lt;script>");
        assert_eq!(escaped("`x` *y* [z](q) ~1 &lt;"), "\\`x\\` \\*y\\* \\[z\\](q) \\~1 &amp;lt;");
        assert_eq!(escaped("latency_p50_ms _a_ __"), "latency_p50_ms \\_a\\_ \\_\\_");
        assert_eq!(shown(&Cell::Null), "");
    }
}
