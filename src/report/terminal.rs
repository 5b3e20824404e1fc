//! Tables for people: they fit the width of the terminal, numbers stand to the right.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;

use comfy_table::{
    Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table as Drawn, TableStyle, Width,
};

use super::best::best_cells;
use super::numeric::holds_numbers_alone;
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

/// A word that is wider may be broken all the same, in columns: a UUID fits. Where a table does not fit otherwise, words
/// are broken earlier.
const WIDEST_WORDS: [u16; 3] = [36, 24, 16];

/// A text that is no wider stays on one line.
const ONE_LINE: usize = 24;

/// Columns of the terminal that stand between two of a table.
const BETWEEN: usize = 1;

/// Stands at the best value of a column.
const BEST: char = '*';

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
        let mut marked = false;
        for (index, table) in tables.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            if !table.title.is_empty() {
                writeln!(out, "{}", printable(&table.title))?;
            }
            // What goes into a file or a pipe is read by programs, too: numbers stay numbers.
            let best = if self.style.width.is_some() { best_cells(table) } else { BTreeSet::new() };
            marked |= !best.is_empty();
            for (number, columns) in self.blocks(table).iter().enumerate() {
                if number > 0 {
                    writeln!(out)?;
                }
                writeln!(out, "{}", self.draw(table, columns, &best))?;
            }
        }
        if marked {
            writeln!(out, "{BEST} the best of its column")?;
        }
        Ok(())
    }
}

impl Terminal {
    /// The columns that stand beside each other: all, or as many as the terminal has room for, each time behind the
    /// first ones, which say what a row is about.
    fn blocks(&self, table: &Table) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let Some(width) = self.style.width.map(usize::from) else { return vec![all] };
        let widest = self.widest_word(table, &all);
        let least = |column: &usize| usize::from(least_width(table, *column, widest)) + BETWEEN;
        if all.iter().map(least).sum::<usize>() <= width {
            return vec![all];
        }
        // What a row is about: the first column, more names where they are short, and numbers as long as rows look alike.
        let mut taken = 0;
        let is_key = |&&column: &&usize| {
            taken += least(&column);
            let says_which = || !holds_numbers_alone(table, column) || !are_apart(table, column);
            column == 0 || (taken <= width / 2 && says_which())
        };
        let keys: Vec<usize> = all.iter().take_while(is_key).copied().collect();
        let room = width.saturating_sub(keys.iter().map(least).sum());
        let mut blocks: Vec<Vec<usize>> = Vec::new();
        let mut left = 0;
        for &column in &all[keys.len()..] {
            let own = least(&column);
            match blocks.last_mut() {
                Some(block) if own <= left => {
                    block.push(column);
                    left -= own;
                }
                _ => {
                    blocks.push(keys.iter().copied().chain([column]).collect());
                    left = room.saturating_sub(own);
                }
            }
        }
        blocks
    }

    /// From which width on words are broken: the largest at which all of these columns fit, or, where they do not fit at
    /// all and are parted anyway, the largest.
    fn widest_word(&self, table: &Table, columns: &[usize]) -> u16 {
        let Some(width) = self.style.width else { return WIDEST_WORDS[0] };
        let needed = |widest: u16| -> usize {
            columns.iter().map(|&column| usize::from(least_width(table, column, widest)) + BETWEEN).sum()
        };
        let fits = |widest: &&u16| needed(**widest) <= usize::from(width);
        WIDEST_WORDS.iter().find(fits).copied().unwrap_or(WIDEST_WORDS[0]).min(width / 2)
    }

    fn draw(&self, table: &Table, columns: &[usize], best: &BTreeSet<(usize, usize)>) -> String {
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
        drawn.set_header(columns.iter().filter_map(|&column| table.columns.get(column)).map(|name| {
            // Words of a long name may stand below each other.
            let cell =
                comfy_table::Cell::new(if self.style.width.is_some() { name.replace('_', " ") } else { name.clone() });
            if self.style.color { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        let marked: BTreeSet<usize> = best.iter().map(|(_, column)| *column).collect();
        for (index, row) in table.rows.iter().enumerate() {
            drawn.add_row(columns.iter().map(|&column| {
                let text = row.get(column).map(shown).unwrap_or_default();
                match (best.contains(&(index, column)), marked.contains(&column)) {
                    (true, _) if self.style.color => {
                        comfy_table::Cell::new(format!("{text}{BEST}")).add_attribute(Attribute::Bold).fg(Color::Green)
                    }
                    (true, _) => comfy_table::Cell::new(format!("{text}{BEST}")),
                    // A hard space, so that the digits of the column stay below each other.
                    (false, true) if !text.is_empty() => comfy_table::Cell::new(format!("{text}\u{a0}")),
                    _ => comfy_table::Cell::new(text),
                }
            }));
        }
        let widest = self.widest_word(table, columns);
        for (&index, column) in columns.iter().zip(drawn.column_iter_mut()) {
            if holds_numbers_alone(table, index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if self.style.width.is_some() {
                // Lines may break between words, not within: the widest word is the least width.
                let least = least_width(table, index, widest);
                column.set_padding(NARROW_PADDING).set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
            }
        }
        drawn.trim_fmt()
    }
}

/// The width that a column needs: its widest word, its name included, but no more than `widest`, because a path has no
/// end; a short text whole; with room for a mark and for what stands between columns.
fn least_width(table: &Table, column: usize, widest: u16) -> u16 {
    let words = |text: &str| text.split_whitespace().map(console::measure_text_width).max().unwrap_or(0);
    let name = table.columns.get(column).map(|name| words(&name.replace('_', " "))).unwrap_or(0);
    let cells = table.rows.iter().filter_map(|row| row.get(column).map(shown)).map(|text| {
        let whole = console::measure_text_width(&text);
        if whole <= ONE_LINE { whole } else { words(&text) }
    });
    let longest = u16::try_from(cells.chain([name]).max().unwrap_or(0)).unwrap_or(widest).min(widest);
    let marked = u16::from(holds_numbers_alone(table, column));
    longest.saturating_add(marked).saturating_add(NARROW_PADDING.0 + NARROW_PADDING.1)
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

/// Whether this many first columns tell all rows apart.
fn are_apart(table: &Table, columns: usize) -> bool {
    let mut seen = HashSet::new();
    table.rows.iter().all(|row| seen.insert(row.iter().take(columns).map(shown).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(table: &Table, width: Option<u16>) -> String {
        let mut out = Vec::new();
        let style = Style { color: false, width };
        Terminal { style }.render("", std::slice::from_ref(table), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_is_wrapped_where_there_is_no_terminal() {
        let mut table = Table::new("", &["name", "value_ms"]);
        table.push(["x".repeat(300).into(), 1.5.into()]);
        let text = rendered(&table, None);
        assert!(text.contains(&"x".repeat(300)));
        assert!(text.contains("value_ms"));
    }

    #[test]
    fn words_are_not_broken_on_a_narrow_terminal() {
        let mut table = Table::new("", &["model", "samples/s", "a_long_name_of_words"]);
        table.push(["bert-base-uncased".into(), 358.5.into(), "some words that need room to be shown".into()]);
        let text = rendered(&table, Some(48));
        assert!(text.contains("bert-base-uncased") && text.contains("samples/s"), "{text}");
        assert!(text.lines().all(|line| console::measure_text_width(line) <= 48), "{text}");
    }

    #[test]
    fn what_does_not_fit_beside_each_other_stands_below() {
        let names: Vec<String> = (0..12).map(|number| format!("metric_{number}_ms")).collect();
        let columns: Vec<&str> = ["model"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut table = Table::new("", &columns);
        for model in ["resnet50", "bert"] {
            table.push(
                [Cell::from(model)].into_iter().chain((0..12).map(|number| Cell::from(f64::from(number) + 0.123))),
            );
        }
        let text = rendered(&table, Some(60));
        assert!(text.lines().all(|line| console::measure_text_width(line) <= 60), "{text}");
        assert!(text.matches("resnet50").count() > 1, "every block says what its rows are about: {text}");
        assert_eq!(text.matches("11.12").count(), 2, "{text}");
    }

    #[test]
    fn every_block_tells_its_rows_apart() {
        let mut table = Table::new("", &["engine", "batch", "runs", "first_ms", "second_ms", "third_ms", "fourth_ms"]);
        for batch in [1.0, 8.0] {
            for engine in ["burn-flex", "tract"] {
                let numbers = (0..4).map(|number| Cell::from(f64::from(number) + 0.123));
                table.push([Cell::from(engine), batch.into(), 2.0.into()].into_iter().chain(numbers));
            }
        }
        let text = rendered(&table, Some(40));
        let heads: Vec<&str> = text.lines().filter(|line| line.contains("engine")).collect();
        assert!(heads.len() > 1 && heads.iter().all(|line| line.contains("batch")), "{text}");
        assert_eq!(heads.iter().filter(|line| line.contains("runs")).count(), 1, "{text}");
    }

    #[test]
    fn the_best_of_a_column_is_marked_on_a_terminal() {
        let mut table = Table::new("", &["engine", "latency_p50_ms"]);
        table.push(["a".into(), "12.50".into()]);
        table.push(["b".into(), "9.500".into()]);
        let text = rendered(&table, Some(80));
        // The digits stay below each other.
        let place = |number: &str| text.lines().find_map(|line| line.find(number)).unwrap();
        assert_eq!(place("9.500*"), place("12.50"), "{text}");
        assert!(text.ends_with("* the best of its column\n"), "{text}");
        // A pipe gets the numbers and nothing else.
        let piped = rendered(&table, None);
        assert!(piped.contains("9.500") && piped.contains("12.50"), "{piped}");
        assert!(!piped.contains(BEST) && !piped.contains('\u{a0}'), "{piped}");
        // Rows that a query puts below each other may have nothing to do with each other.
        table.unrelated = true;
        let queried = rendered(&table, Some(80));
        assert!(!queried.contains(BEST) && !queried.contains('\u{a0}'), "{queried}");
    }
}
