//! Markdown tables, as GitHub reads them.

use std::io::Write;

use super::Render;
use super::best::best_cells;
use super::numeric::holds_mostly_numbers;
use super::terminal::shown;
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
            for line in table_lines(table, usize::MAX, usize::MAX) {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }
}

/// A table in lines: its head and at most so many of its rows. Of a cell with more than so many characters the end goes;
/// the best of a column is bold.
pub(super) fn table_lines(table: &Table, rows: usize, characters: usize) -> Vec<String> {
    let alignment = |column| if holds_mostly_numbers(table, column) { "--:" } else { "---" };
    let best = best_cells(table);
    let mut lines = vec![
        line(table.columns.iter().map(|name| escaped(&printable(name)))),
        line((0..table.columns.len()).map(|column| alignment(column).to_owned())),
    ];
    lines.extend(table.rows.iter().take(rows).enumerate().map(|(number, row)| {
        line(row.iter().enumerate().map(|(column, cell)| {
            let text = escaped(&short(shown(cell), characters));
            if best.contains(&(number, column)) { format!("**{text}**") } else { text }
        }))
    }));
    lines
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = "|".to_owned();
    for cell in cells {
        line.push_str(&[" ", &cell, " |"].concat());
    }
    line
}

/// A text that is not too long for a table.
fn short(text: String, characters: usize) -> String {
    if text.chars().count() <= characters { text } else { text.chars().take(characters - 1).chain(['…']).collect() }
}

/// Nothing to see, and no word goes on behind it. GitHub looks for names and numbers in the text that Markdown has become,
/// so neither a backslash nor an entity in place of the sign would hide them.
const APART: &str = "&#8203;";

/// A text in which nothing is Markdown: no cell ends, no code, no HTML, no emphasis, no link, no strike. Nobody is called
/// (`@everyone`), and nothing is linked or closed (`#1`, `GH-1`).
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
            '@' | '#' if rest.peek().is_some_and(|after| after.is_alphanumeric()) => {
                escaped.push(character);
                escaped.push_str(APART);
            }
            '-' if ends_in_gh(&escaped) && rest.peek().is_some_and(char::is_ascii_digit) => {
                escaped.push(character);
                escaped.push_str(APART);
            }
            _ => escaped.push(character),
        }
        before = character;
    }
    escaped
}

/// Whether the last word is `GH`, behind which a number is an issue.
fn ends_in_gh(text: &str) -> bool {
    let before = text.strip_suffix("GH").or_else(|| text.strip_suffix("gh"));
    before.is_some_and(|before| !before.ends_with(char::is_alphanumeric))
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

    #[test]
    fn nobody_is_called_and_nothing_is_closed() {
        let text = escaped("@everyone closes #8, octo/cat#1, GH-7 (@a/b)");
        assert_eq!(text, "@&#8203;everyone closes #&#8203;8, octo/cat#&#8203;1, GH-&#8203;7 (@&#8203;a/b)");
        // What links to nothing stays as it is.
        assert_eq!(escaped("a @ b # c-1 high-3 ~"), "a @ b # c-1 high-3 \\~");
    }

    #[test]
    fn lines_are_aligned_and_cut_and_the_best_is_bold() {
        let mut table = Table::new("", &["engine", "ms", "speed-up"]);
        table.push(["x".repeat(1000).into(), 2.0.into(), "1.500 x".into()]);
        table.push(["a|b".into(), 1.0.into(), "3.000 x".into()]);
        let long = format!("| {}… | 2.000 | 1.500 x |", "x".repeat(9));
        let best = "| a\\|b | **1.000** | **3.000 x** |".to_owned();
        let head = ["| engine | ms | speed-up |".to_owned(), "| --- | --: | --: |".to_owned()];
        assert_eq!(table_lines(&table, 1, 10), [&head[..], std::slice::from_ref(&long)].concat());
        assert_eq!(table_lines(&table, usize::MAX, 10), [&head[..], &[long, best]].concat());
    }
}
