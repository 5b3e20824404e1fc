//! Tables in HTML. Without the script they are plain; it adds what sorts and filters.

use maud::{Markup, html};

use super::prose;
use crate::domain::Table;
use crate::domain::document::{Statement, TableBlock};
use crate::domain::text::counted;
use crate::report::best::best_cells;
use crate::report::numeric::holds_mostly_numbers;
use crate::report::terminal::shown;

/// A table on a page.
pub struct TableView<'t> {
    /// What is shown. Its title may go on behind a colon: `Comparison: engine tract`.
    pub block: &'t TableBlock,
    /// Its name on the page; no two tables have the same.
    pub id: &'t str,
    /// The depth of its heading: 3 below a section's.
    pub level: u8,
    /// Where a cell leads, by row and column.
    pub link: Option<&'t dyn Fn(usize, usize) -> Option<String>>,
    /// What to do about rows that were left out: ``"`--limit 0` shows all"``.
    pub more: &'t str,
}

impl<'t> TableView<'t> {
    /// A table of a report.
    pub fn new(block: &'t TableBlock, id: &'t str) -> Self {
        Self { block, id, level: 3, link: None, more: "" }
    }
}

/// A table with its heading, its notes and the statement that gives it again.
pub fn table(view: &TableView<'_>) -> Markup {
    let block = view.block;
    let (title, about) = block.table.title.split_once(": ").unwrap_or((block.table.title.as_str(), ""));
    let title = if title.is_empty() { "Rows" } else { title };
    let heading_id = [view.id, "-title"].concat();
    html! {
        section.table id=(view.id) {
            (heading(view.level, &heading_id, title))
            @if !about.is_empty() { p.about { (about) } }
            @for note in &block.notes { p.note { (prose(note)) } }
            @if block.table.rows.is_empty() {
                p.note { "There are no rows." }
            } @else {
                (rows(&block.table, &heading_id, view.link))
                @if !best_cells(&block.table).is_empty() { p.note { "Bold: the best of its column." } }
            }
            @if block.left_out() > 0 {
                p.note {
                    (counted(block.left_out(), "more row is", "more rows are")) " left out"
                    @if view.more.is_empty() { "." } @else { ": " (prose(view.more)) "." }
                }
            }
            @if let Some(asked) = &block.statement { (statement(asked, title)) }
        }
    }
}

fn heading(level: u8, id: &str, title: &str) -> Markup {
    html! {
        @match level {
            2 => h2 id=(id) { (title) },
            3 => h3 id=(id) { (title) },
            _ => h4 id=(id) { (title) },
        }
    }
}

/// The rows alone, in a box that scrolls; `labelled_by` is the id of what names them.
pub(super) fn rows(table: &Table, labelled_by: &str, link: Option<&dyn Fn(usize, usize) -> Option<String>>) -> Markup {
    let cells: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let numeric: Vec<bool> = (0..table.columns.len()).map(|column| holds_mostly_numbers(table, column)).collect();
    let best = best_cells(table);
    let class = |column: usize| numeric.get(column).copied().unwrap_or(false).then_some("n");
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby=(labelled_by) {
            table.rows aria-labelledby=(labelled_by) {
                thead {
                    tr { @for (column, name) in table.columns.iter().enumerate() { th scope="col" class=[class(column)] { (name.replace('_', " ")) } } }
                }
                tbody {
                    @for (index, row) in cells.iter().enumerate() {
                        tr {
                            @for (column, text) in row.iter().enumerate() {
                                td class=[class(column)] {
                                    @match link.and_then(|link| link(index, column)) {
                                        Some(target) => { a href=(target) { (text) } }
                                        None if best.contains(&(index, column)) => { strong { (text) } }
                                        None => { (text) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A statement to be run again, which belongs to what has this title.
pub(super) fn statement(statement: &Statement, of: &str) -> Markup {
    html! {
        details.sql aria-label=(format!("{}: {of}", statement.gives.text())) {
            summary { (statement.gives.text()) }
            pre tabindex="0" { code { (statement.sql) } }
        }
    }
}
