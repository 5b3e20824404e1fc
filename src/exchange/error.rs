//! What can go wrong with a file of runs.

/// An error of the exchange layer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nobody knows the format.
    #[error("`{path}` is in no format that benchdb reads")]
    UnknownFormat {
        /// The file.
        path: String,
    },
    /// The file says that it is newer.
    #[error("`{path}` has the schema `{found}`, this benchdb reads `benchdb/1`")]
    NewerSchema {
        /// The file.
        path: String,
        /// Its schema.
        found: String,
    },
    /// The file as a whole cannot be parsed.
    #[error("`{path}`, line {line}: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Where.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A table without what identifies a run.
    #[error("`{path}` lacks the columns {columns}")]
    MissingColumns {
        /// The file.
        path: String,
        /// Their names.
        columns: String,
    },
    /// Writing failed.
    #[error("cannot write the export")]
    Write(#[from] std::io::Error),
    /// A table cannot be written.
    #[error("cannot write the export")]
    Csv(#[from] csv::Error),
    /// A record cannot be written.
    #[error("cannot write the export")]
    Json(#[from] serde_json::Error),
}

impl ExchangeError {
    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::UnknownFormat { .. } => {
                    "benchdb reads what `benchdb export --format json` and `--format csv` write"
                }
                Self::NewerSchema { .. } => "use the benchdb that wrote it, or a newer one",
                Self::MissingColumns { .. } => {
                    "the columns are those of the view `results`; `benchdb export` writes them"
                }
                Self::Malformed { .. } => "nothing of the file was taken; mend the line or export it again",
                Self::Write(_) | Self::Csv(_) | Self::Json(_) => return None,
            }
            .to_owned(),
        )
    }
}
