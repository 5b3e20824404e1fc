//! Counts: what the database holds, at a glance.

use super::{SCHEMA_VERSION, Store, StoreError};

/// What the database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSummary {
    /// The schema's version.
    pub schema: i64,
    /// Size of the file and its write-ahead log.
    pub size_bytes: u64,
    /// All runs.
    pub runs: u64,
    /// Runs that were measured.
    pub ok: u64,
    /// Runs that broke, ran out of memory or were interrupted.
    pub not_ok: u64,
    /// Outcomes `unsupported`.
    pub unsupported: u64,
    /// Distinct configurations.
    pub configurations: u64,
    /// Distinct models.
    pub models: u64,
    /// Distinct devices.
    pub devices: u64,
    /// Campaigns.
    pub campaigns: u64,
    /// Planned runs that are not done.
    pub open_runs: u64,
}

/// How often a model was measured on a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The model.
    pub model: String,
    /// The platform.
    pub platform: String,
    /// Its runs.
    pub runs: u64,
    /// Those that were measured.
    pub ok: u64,
}

impl Store {
    /// Counts everything.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn summary(&self) -> Result<StatusSummary, StoreError> {
        let size_of = |suffix: &str| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(suffix);
            std::fs::metadata(name).map_or(0, |metadata| metadata.len())
        };
        self.connection
            .prepare_cached(include_str!("sql/summary.sql"))
            .and_then(|mut statement| {
                statement.query_row([], |row| {
                    let count = |column: &str| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
                    Ok(StatusSummary {
                        schema: SCHEMA_VERSION,
                        size_bytes: size_of("") + size_of("-wal"),
                        runs: count("runs")?,
                        unsupported: count("unsupported")?,
                        not_ok: count("not_ok")? - count("unsupported")?,
                        ok: count("runs")? - count("not_ok")?,
                        configurations: count("configurations")?,
                        models: count("models")?,
                        devices: count("devices")?,
                        campaigns: count("campaigns")?,
                        open_runs: count("open_runs")?,
                    })
                })
            })
            .map_err(|source| self.fail(source))
    }

    /// Runs of each model on each platform, in alphabetical order.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_coverage(&self) -> Result<Vec<Coverage>, StoreError> {
        self.connection
            .prepare_cached(include_str!("sql/coverage.sql"))
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        Ok(Coverage {
                            model: row.get(0)?,
                            platform: row.get(1)?,
                            runs: row.get::<_, i64>(2)?.cast_unsigned(),
                            ok: row.get::<_, i64>(3)?.cast_unsigned(),
                        })
                    })
                    .and_then(Iterator::collect)
            })
            .map_err(|source| self.fail(source))
    }
}
