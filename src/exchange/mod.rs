//! Files of runs: benchdb's own JSON and CSV, and (behind the same traits) those of other tools. To add a format, write
//! one file and add one row to [`importers`].
//!
//! A format is recognised by the [`Head`] of a file and then read as a stream, so that a table of a million rows needs
//! no more memory than one of ten.

mod ahead;
mod column_map;
mod error;
mod foreign;
mod head;
mod identity_csv;
mod own_csv;
mod own_json;
pub mod tensors;

use std::io::{BufRead, Write};

use crate::domain::{ImportItem, RunRecord};

pub use ahead::read_ahead;
pub use column_map::ColumnMap;
pub use error::{ExchangeError, MapError};
pub use foreign::{
    Bencher, Criterion, GoogleBenchmark, Hyperfine, LlamaBench, MlperfInference, OptimumBenchmark, PlainCsv,
    PytorchBenchmark, Timm,
};
pub use head::{HEAD_BYTES, Head};
pub use identity_csv::{IdentityTable, is_identity_csv, read_identity_csv};
pub use own_csv::OwnCsv;
pub use own_json::OwnJson;

/// Takes one item of a file; its error ends the reading.
pub type Sink<'s, E> = dyn FnMut(ImportItem) -> Result<(), E> + 's;

/// Reads runs.
pub trait Importer<E: From<ExchangeError>> {
    /// The format's name.
    fn format(&self) -> &'static str;

    /// Whether a file is of this format, by how it begins.
    fn recognises(&self, head: &Head<'_>) -> bool;

    /// Hands every run, and every row that is none, to `sink`. Answers what it passed over or took for granted, for
    /// people. `path` is for messages, and for what a tool says in the file's name alone.
    ///
    /// # Errors
    /// A file that cannot be read as a whole, or the sink's own error.
    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E>;
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

/// All formats that can be read, in the order in which they are tried. `map` is the user's word on foreign files: where
/// it is not empty, a CSV that is not benchdb's own is read as it says, and as nothing else.
pub fn importers<E: From<ExchangeError>>(map: &ColumnMap) -> Vec<Box<dyn Importer<E>>> {
    vec![
        Box::new(OwnJson::default()),
        Box::new(OwnCsv),
        Box::new(PlainCsv::new(map.clone())),
        Box::new(Timm),
        Box::new(LlamaBench::new(map.clone())),
        Box::new(OptimumBenchmark::new(map.clone())),
        Box::new(GoogleBenchmark::new(map.clone())),
        Box::new(Hyperfine::new(map.clone())),
        Box::new(Criterion::new(map.clone())),
        Box::new(PytorchBenchmark::new(map.clone())),
        Box::new(MlperfInference::new(map.clone())),
        // Its layout is the least telling: it comes last.
        Box::new(Bencher::new(map.clone())),
    ]
}

/// The importer for a file, by its content.
///
/// # Errors
/// [`ExchangeError::UnknownFormat`].
pub fn importer_for<E: From<ExchangeError>>(
    head: &Head<'_>,
    map: &ColumnMap,
) -> Result<Box<dyn Importer<E>>, ExchangeError> {
    importers(map)
        .into_iter()
        .find(|importer| importer.recognises(head))
        .ok_or_else(|| ExchangeError::UnknownFormat { path: head.path.to_owned() })
}
