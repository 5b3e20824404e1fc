//! Files of runs: benchdb's own JSON and CSV, and (behind the same traits) those of other tools. To add a format, write
//! one file and add one row to [`importers`].

mod error;
mod identity_csv;
mod own_csv;
mod own_json;
pub mod tensors;

use std::io::Write;

use crate::domain::{ImportItem, RunRecord};

pub use error::ExchangeError;
pub use identity_csv::{IdentityTable, is_identity_csv, read_identity_csv};
pub use own_csv::OwnCsv;
pub use own_json::OwnJson;

/// Takes one item of a file; its error ends the reading.
pub type Sink<'s, E> = dyn FnMut(ImportItem) -> Result<(), E> + 's;

/// A file that is being read.
#[derive(Clone, Copy, Debug)]
pub struct Content<'c> {
    /// Where it is, for messages.
    pub path: &'c str,
    /// All of it.
    pub bytes: &'c [u8],
}

/// Reads runs.
pub trait Importer<E: From<ExchangeError>> {
    /// The format's name.
    fn format(&self) -> &'static str;

    /// Whether a file is of this format, by its content.
    fn recognises(&self, content: Content<'_>) -> bool;

    /// Hands every run, and every row that is none, to `sink`. Answers what it passed over on purpose, for people.
    ///
    /// # Errors
    /// A file that cannot be read as a whole, or the sink's own error.
    fn read(&self, content: Content<'_>, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E>;
}

/// Writes runs, one after the other.
pub trait Exporter {
    /// What stands before the first run.
    ///
    /// # Errors
    /// What the writer refuses.
    fn begin(&mut self, out: &mut dyn Write) -> Result<(), ExchangeError>;

    /// One run, with its row id.
    ///
    /// # Errors
    /// What the writer refuses.
    fn write(&mut self, out: &mut dyn Write, run_id: i64, record: &RunRecord) -> Result<(), ExchangeError>;

    /// What stands after the last run.
    ///
    /// # Errors
    /// What the writer refuses.
    fn end(&mut self, out: &mut dyn Write) -> Result<(), ExchangeError>;
}

/// All formats that can be read, in the order in which they are tried.
pub fn importers<E: From<ExchangeError>>() -> [Box<dyn Importer<E>>; 2] {
    [Box::new(OwnJson::default()), Box::new(OwnCsv)]
}

/// The importer for a file, by its content.
///
/// # Errors
/// [`ExchangeError::UnknownFormat`].
pub fn importer_for<E: From<ExchangeError>>(content: Content<'_>) -> Result<Box<dyn Importer<E>>, ExchangeError> {
    importers()
        .into_iter()
        .find(|importer| importer.recognises(content))
        .ok_or_else(|| ExchangeError::UnknownFormat { path: content.path.to_owned() })
}
