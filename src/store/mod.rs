//! SQLite: the only place that sees a connection or a row.
//!
//! A [`Store`] is one open database file. It is created, checked and migrated in `open.rs`, filled in [`insert`]
//! and [`campaigns`], read in [`list`], [`status`] and [`query`], and looked after in [`maintain`].

/// The conditions of a selection: the end of a statement that joins run, configuration, model, device, environment and
/// campaign.
macro_rules! selection {
    () => {
        concat!(
            include_str!("sql/selection.sql"),
            include_str!("sql/selected_runs.sql"),
            include_str!("sql/selected_configurations.sql"),
            include_str!("sql/selected_environments.sql")
        )
    };
}

pub mod again;
mod bulk;
pub mod campaigns;
mod error;
pub mod examples;
pub mod fitted;
pub mod imports;
pub mod insert;
pub mod judging;
pub mod list;
pub mod maintain;
pub mod named;
mod open;
pub mod pages;
pub mod probes;
pub mod query;
#[cfg(test)]
pub(crate) mod samples;
pub mod series;
pub mod status;

use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;

pub use error::StoreError;
pub use open::{Access, Opened, SCHEMA_VERSION};

/// The file name that is used where none is given.
pub const DEFAULT_FILE: &str = "benchdb.sqlite";

/// One open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// When every statement has to be done, if anybody said so.
    deadline: Option<Instant>,
}

impl Store {
    /// The file behind the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn fail(&self, source: rusqlite::Error) -> StoreError {
        StoreError::sqlite(&self.path, source)
    }
}

/// Now, as it is written everywhere: ISO-8601 UTC with milliseconds.
pub fn now_text() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
