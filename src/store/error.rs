//! What can go wrong with a database, and the way out of it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// An error of the database layer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file.
    #[error("no database at `{}`", path.display())]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The directory for a new database is not there or is not writable.
    #[error("cannot create the database `{}`", path.display())]
    Create {
        /// The file that was to be made.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("`{}` is not an SQLite database", path.display())]
    NotSqlite {
        /// The file.
        path: PathBuf,
    },
    /// An SQLite file of another program.
    #[error("`{}` is an SQLite database of another program", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer benchdb made it.
    #[error("`{}` has schema {found}, this benchdb knows schemas up to {known}", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// An older benchdb made it, and reading alone must not change it.
    #[error("`{}` has schema {found}, this benchdb needs schema {known}", path.display())]
    OlderSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The schema of this program.
        known: i64,
    },
    /// The file ends too early.
    #[error("`{}` is truncated: {expected} bytes by its header, {actual} on disk", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What its header says.
        expected: u64,
        /// What there is.
        actual: u64,
    },
    /// The content is damaged.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// A migration left rows that point nowhere.
    #[error("`{}` holds {count} rows that point to rows that are not there", path.display())]
    DanglingRows {
        /// The file.
        path: PathBuf,
        /// How many.
        count: i64,
    },
    /// Somebody else holds the lock.
    #[error("`{}` is locked by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The file or its directory may not be written.
    #[error("`{}` is read-only", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite cannot open it at all.
    #[error("cannot open `{}`", path.display())]
    CannotOpen {
        /// The file.
        path: PathBuf,
    },
    /// It was not closed, and its log cannot be read where it lies.
    #[error("`{}` has a write-ahead log that cannot be read in a folder that is read-only", path.display())]
    UnreadableLog {
        /// The file.
        path: PathBuf,
    },
    /// No room is left.
    #[error("no space is left for `{}`", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The time that a question has is over.
    #[error("an answer from `{}` takes too long", path.display())]
    OutOfTime {
        /// The file.
        path: PathBuf,
    },
    /// A schema could not be migrated.
    #[error("cannot migrate `{}` to schema {to}", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// The target.
        to: i64,
        /// What refinery says.
        #[source]
        source: Box<refinery::Error>,
    },
    /// Anything else that SQLite says.
    #[error("database `{}`", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// A stored value is not what this program writes.
    #[error("run {run_id} in `{}`: column `{column}` holds `{value}`", path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The run.
        run_id: i64,
        /// The column.
        column: &'static str,
        /// What stands there.
        value: String,
    },
    /// A query of the user that cannot be run.
    #[error("the query was refused: {reason}")]
    QueryRefused {
        /// Why.
        reason: String,
        /// The way out.
        hint: Option<String>,
    },
    /// No campaign of that name.
    #[error("no campaign `{wanted}`")]
    NoCampaign {
        /// What was asked for.
        wanted: String,
        /// Where to look.
        hint: String,
    },
    /// Another process works on the campaign.
    #[error("campaign `{campaign}` is being measured by process {process_id} on {host}")]
    CampaignBusy {
        /// The campaign.
        campaign: String,
        /// The other process.
        process_id: i64,
        /// Its host.
        host: String,
    },
}

impl StoreError {
    /// Sorts an SQLite error by its cause.
    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, source },
            Some(ErrorCode::NotADatabase) => Self::NotSqlite { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path, source },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path, source },
            Some(ErrorCode::DiskFull) => Self::DiskFull { path, source },
            Some(ErrorCode::CannotOpen) => Self::CannotOpen { path },
            Some(ErrorCode::OperationInterrupted) => Self::OutOfTime { path },
            // A full disk or a file-size limit shows as an I/O error when the write-ahead log grows.
            Some(ErrorCode::SystemIoFailure) if is_write_failure(&source) => Self::DiskFull { path, source },
            _ => Self::Sqlite { path, source },
        }
    }

    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => {
                "`benchdb run` and `benchdb import` create it; `benchdb init-db` makes an empty one; \
                 `--db PATH` names another"
                    .into()
            }
            Self::Create { .. } => "choose a directory that exists and is writable with `--db PATH`".into(),
            Self::Read { .. } => "check the path and its permissions".into(),
            Self::NotSqlite { .. } | Self::Foreign { .. } => {
                "it was left untouched; name another file with `--db PATH`".into()
            }
            Self::NewerSchema { .. } => {
                "it was left untouched; use the newer benchdb, or another file with `--db PATH`".into()
            }
            Self::OlderSchema { path, .. } => format!("`benchdb --db {} init-db` migrates it", path.display()),
            Self::Truncated { .. } | Self::Damaged { .. } | Self::DanglingRows { .. } => {
                "restore a backup, or save what is left: `sqlite3 FILE .recover | sqlite3 new.sqlite`".into()
            }
            Self::Locked { .. } => "close the program that writes to it, and try again".into(),
            Self::ReadOnly { .. } => {
                "make the file and its directory writable, or name another file with `--db PATH`".into()
            }
            Self::CannotOpen { .. } => "check the path, its folder and their permissions".into(),
            Self::UnreadableLog { .. } => {
                "copy the file together with its `-wal` to a folder that is writable, and name it with `--db`".into()
            }
            Self::DiskFull { .. } => "make room on the disk and try again".into(),
            Self::OutOfTime { .. } => "ask for fewer runs: one model, one device, one campaign".into(),
            Self::Migrate { .. } => "the file is as it was; take a copy of it along when you report this".into(),
            Self::Sqlite { .. } => return None,
            Self::BadValue { .. } => "`benchdb check` looks at the whole file".into(),
            Self::QueryRefused { hint, .. } => return hint.clone(),
            Self::NoCampaign { hint, .. } => hint.clone(),
            Self::CampaignBusy { .. } => "wait for it, or stop it first".into(),
        })
    }
}

fn is_write_failure(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    matches!(
        error.sqlite_error(),
        Some(ffi::Error {
            extended_code: ffi::SQLITE_IOERR_WRITE
                | ffi::SQLITE_IOERR_FSYNC
                | ffi::SQLITE_IOERR_TRUNCATE
                | ffi::SQLITE_IOERR_SHMSIZE,
            ..
        })
    )
}
