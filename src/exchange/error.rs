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
    /// A table of somebody else that does not say, or not clearly, what benchdb must know.
    #[error("`{path}`: {reason}")]
    Unmapped {
        /// The file.
        path: String,
        /// What is missing or unclear.
        reason: String,
        /// The options that say it.
        options: String,
    },
    /// A file whose name must say what its rows do not.
    #[error("the name of `{path}` does not say {missing}")]
    UntellingName {
        /// The file.
        path: String,
        /// What it does not say.
        missing: String,
        /// What the name must look like.
        example: String,
    },
    /// The file cannot be read to its end.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
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
                    "benchdb reads what `benchdb export` writes, timm's CSV, the JSON of llama-bench, \
                     optimum-benchmark, google-benchmark, hyperfine, Criterion, Bencher and PyTorch's benchmark \
                     database, MLPerf inference summaries, and any CSV with `--map`: docs/importing.md"
                }
                Self::NewerSchema { .. } => "use the benchdb that wrote it, or a newer one",
                Self::MissingColumns { .. } => {
                    "the columns are those of the view `results`; `benchdb export` writes them"
                }
                Self::Malformed { .. } => "nothing of the file was taken; mend the line or export it again",
                Self::Unmapped { options, .. } => return Some(format!("say it: {options}")),
                Self::UntellingName { example, .. } => return Some(format!("the name must look like `{example}`")),
                Self::Read { .. } => "check the file, its permissions and its disk",
                Self::Write(_) | Self::Csv(_) | Self::Json(_) => return None,
            }
            .to_owned(),
        )
    }
}

/// A word of the user's map that makes no sense. Its text is what the command line shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// No `=` in it.
    #[error("`{0}` is none of TARGET=COLUMN, TARGET=COLUMN*FACTOR, TARGET==VALUE")]
    Shape(String),
    /// Nothing that a run has.
    #[error(
        "a run has no `{0}`: name a column of the view `results`, a standard metric, `parameters.NAME` or `extra.NAME`"
    )]
    Target(String),
    /// A factor that is none.
    #[error("`{0}` is no factor: write a positive number, as in `latency_p50_ms=lat_s*1000`")]
    Factor(String),
    /// A factor for what is no number.
    #[error("`{0}` is no number, it cannot be scaled")]
    Scaled(String),
    /// A target that is given twice.
    #[error("`{0}` is mapped twice")]
    Twice(String),
}
