//! Writing many runs at once: what the triggers of the table `run` do for each, done for all of them together.
//!
//! Triggers cost as much as the insertion itself, because SQLite then notes for every run how to take it back alone. So
//! triggers are off on this connection while it writes runs in bulk, and the summaries follow in the same transaction.
//! Foreign keys are off too: a writer refers only to rows whose ids it got in that transaction.

use std::collections::HashMap;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior, named_params};

use super::insert::{References, RunWriter};
use super::{Store, StoreError};
use crate::domain::{RunRecord, RunStatus, Validity};

/// Configurations, or environments, that are counted before their summaries are written: a bound on memory.
const COUNTED: usize = 65_536;

/// Runs that are worth a look at the statistics of the query planner and at the size of the log.
const MANY: u64 = 10_000;

impl Store {
    /// Runs `work` with a writer in a transaction that takes the write lock at once, and commits where `work` says so.
    /// `work` gets what turns an SQLite error into one of this layer. `new` says how many runs are new.
    ///
    /// # Errors
    /// Those of `work` and of SQLite; nothing is stored then.
    pub(super) fn write_bulk<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut RunWriter<'_>, &dyn Fn(rusqlite::Error) -> StoreError) -> Result<Written<T>, E>,
    ) -> Result<T, E> {
        let path = self.path.clone();
        let failed = |source| StoreError::sqlite(&path, source);
        set_guards(&self.connection, false).map_err(failed)?;
        let written = write(&mut self.connection, work, &failed);
        set_guards(&self.connection, true).map_err(failed)?;
        let written = written?;
        if written.new >= MANY {
            self.settle();
        }
        Ok(written.answer)
    }

    /// Tells the query planner what the tables hold now, and empties the log, which is as long as what was written. Both
    /// are for speed and room alone: if another process holds a lock, they come another time.
    pub(super) fn settle(&self) {
        let _ = self.connection.execute_batch("PRAGMA optimize = 0x10002");
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

/// What a bulk of runs came to.
pub(super) struct Written<T> {
    /// What the caller wants to know.
    pub(super) answer: T,
    /// New runs.
    pub(super) new: u64,
    /// Whether to keep them.
    pub(super) keep: bool,
}

fn write<T, E: From<StoreError>>(
    connection: &mut Connection,
    work: impl FnOnce(&mut RunWriter<'_>, &dyn Fn(rusqlite::Error) -> StoreError) -> Result<Written<T>, E>,
    failed: &dyn Fn(rusqlite::Error) -> StoreError,
) -> Result<Written<T>, E> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let mut writer = RunWriter::new(&transaction).map_err(failed)?;
    writer.summaries = Some(Summaries::default());
    let written = work(&mut writer, failed)?;
    let summaries = writer.summaries.take();
    drop(writer);
    if written.keep {
        if let Some(mut summaries) = summaries {
            summaries.store(&transaction).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
    } else {
        transaction.rollback().map_err(failed)?;
    }
    Ok(written)
}

/// Triggers and foreign keys.
fn set_guards(connection: &Connection, on: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, on).map(drop)
}

/// What is to be added to the summaries of configurations and environments.
#[derive(Debug, Default)]
pub(super) struct Summaries {
    series: HashMap<i64, Counted>,
    environments: HashMap<i64, i64>,
}

#[derive(Debug, Default)]
struct Counted {
    runs: i64,
    ok: i64,
    valid: i64,
    unsupported: i64,
    newest: Option<Newest>,
}

/// A valid run; one without a time is older than all others.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Newest {
    started_at: Option<String>,
    id: i64,
}

impl Summaries {
    /// Counts a run that was inserted.
    pub(super) fn count(
        &mut self,
        transaction: &Transaction<'_>,
        references: References,
        run_id: i64,
        record: &RunRecord,
    ) -> rusqlite::Result<()> {
        if self.series.len().max(self.environments.len()) >= COUNTED {
            self.store(transaction)?;
        }
        *self.environments.entry(references.environment_id).or_default() += 1;
        let counted = self.series.entry(references.configuration_id).or_default();
        let valid = record.measurement.validity == Validity::Valid;
        counted.runs += 1;
        counted.ok += i64::from(record.measurement.status == RunStatus::Ok);
        counted.valid += i64::from(valid);
        counted.unsupported += i64::from(record.measurement.status == RunStatus::Unsupported);
        if valid {
            let started_at = record.started_at.as_deref();
            let newer = match &counted.newest {
                Some(newest) => (started_at, run_id) > (newest.started_at.as_deref(), newest.id),
                None => true,
            };
            if newer {
                counted.newest = Some(Newest { started_at: started_at.map(str::to_owned), id: run_id });
            }
        }
        Ok(())
    }

    /// Writes all counts, and begins again.
    fn store(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut statement = transaction.prepare_cached(include_str!("sql/add_to_environment_summary.sql"))?;
        for (environment_id, runs) in self.environments.drain() {
            statement.execute([environment_id, runs])?;
        }
        let mut statement = transaction.prepare_cached(include_str!("sql/add_to_series_summary.sql"))?;
        for (configuration_id, counted) in self.series.drain() {
            statement.execute(named_params! {
                ":configuration_id": configuration_id,
                ":run_count": counted.runs,
                ":ok_count": counted.ok,
                ":valid_count": counted.valid,
                ":unsupported_count": counted.unsupported,
                ":newest_id": counted.newest.as_ref().map(|newest| newest.id),
                ":newest_started_at": counted.newest.and_then(|newest| newest.started_at),
            })?;
        }
        Ok(())
    }
}
