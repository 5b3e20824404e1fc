//! Tables for people and for programs: one file a format, behind one trait.

mod best;
pub mod charts;
mod csv_text;
pub mod document;
pub mod html;
mod json;
mod markdown;
mod numbers;
mod numeric;
pub mod profile;
mod sparkline;
mod terminal;
pub mod verdicts;

use std::io::Write;

use clap::ValueEnum;

use crate::domain::Table;

pub use crate::domain::text::significant;
pub use numbers::{bytes, count, human_duration};
pub use sparkline::sparkline;
pub use terminal::Style;

/// How rows are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// Versioned JSON, exact numbers.
    Json,
    /// CSV, exact numbers.
    Csv,
    /// A Markdown table.
    Markdown,
}

/// Writes tables.
pub trait Render {
    /// All tables of one answer, in order. `kind` names the answer for programs.
    ///
    /// # Errors
    /// What the writer refuses.
    fn render(&self, kind: &str, tables: &[Table], out: &mut dyn Write) -> std::io::Result<()>;
}

/// The renderer of a format.
pub fn renderer(format: Format, style: Style) -> Box<dyn Render> {
    match format {
        Format::Table => Box::new(terminal::Terminal { style }),
        Format::Json => Box::new(json::Json),
        Format::Csv => Box::new(csv_text::CsvText),
        Format::Markdown => Box::new(markdown::Markdown),
    }
}
