//! A report as data: sections of tables, charts and sentences, which `report` writes as a page, as Markdown or as JSON.

use serde::Serialize;

use super::chart::Sheet;
use super::table::Table;

/// A report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// What it is about, in a few words.
    pub title: String,
    /// Where it comes from and what was selected, a sentence each.
    pub about: Vec<String>,
    /// The sections, in order.
    pub sections: Vec<Section>,
}

/// A part of a report, with a heading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Its name in links: lower-case letters, digits and hyphens.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// What a reader has to know, a sentence each; above the rest.
    pub notes: Vec<String>,
    /// What it shows, in order.
    pub blocks: Vec<Block>,
}

impl Section {
    /// A section without content.
    pub fn new(name: &str, title: &str) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), ..Self::default() }
    }
}

/// What a section shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A table.
    Table(TableBlock),
    /// A chart, or why there is none.
    Sheet(Sheet),
}

/// A table with what stands around it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableBlock {
    /// The table, with the rows that are shown.
    pub table: Table,
    /// How many rows there were before it was cut; never fewer than there are.
    pub rows: usize,
    /// What a reader has to know of it, a sentence each.
    pub notes: Vec<String>,
    /// How to ask the database again.
    pub statement: Option<Statement>,
}

impl TableBlock {
    /// A table that is shown whole.
    pub fn whole(table: Table) -> Self {
        Self { rows: table.rows.len(), table, ..Self::default() }
    }

    /// The same with at most so many rows; `None` for all.
    #[must_use]
    pub fn cut(mut self, limit: Option<usize>) -> Self {
        self.table.rows.truncate(limit.unwrap_or(usize::MAX));
        self
    }

    /// The rows that were cut.
    pub fn left_out(&self) -> usize {
        self.rows.saturating_sub(self.table.rows.len())
    }
}

/// A statement that `benchdb query` runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// The SQL.
    pub sql: String,
    /// What it answers.
    pub gives: Gives,
}

/// What a statement answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gives {
    /// The rows of the table, all of them.
    Rows,
    /// The numbers of the table; what it does not have (intervals) is computed from the runs.
    Numbers,
    /// The numbers that the table sums up.
    Parts,
    /// The runs from which the table was computed.
    Runs,
}

impl Gives {
    /// In words, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Rows => "SQL for these rows",
            Self::Numbers => "SQL for these numbers",
            Self::Parts => "SQL for the numbers that these sum up",
            Self::Runs => "SQL for the runs behind them",
        }
    }
}
