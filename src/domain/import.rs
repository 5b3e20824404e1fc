//! What a reader of foreign files finds.

use serde::Serialize;

use super::run::RunRecord;

/// A row that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Where it stands in the file, from 1.
    pub line: u64,
    /// Why it was not taken.
    pub reason: String,
}

/// What stands in a file of runs.
#[derive(Clone, Debug, PartialEq)]
pub enum ImportItem {
    /// A run.
    Run(Box<RunRecord>),
    /// Something that is no run.
    Refused(Refusal),
}
