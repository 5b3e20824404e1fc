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
        self.settle(written.new);
        Ok(written.answer)
    }

    /// After many runs were stored or removed: tells the query planner what the tables hold now, and empties the log, which
    /// is as long as what was written. Both are for speed and room alone: if another process holds a lock, they come
    /// another time.
    pub(super) fn settle(&self, changed_runs: u64) {
        if changed_runs < MANY {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::super::imports::{ImportOutcome, ImportSource};
    use super::super::samples::{broken, new_store, of_model, on_gpu, run};
    use super::*;
    use crate::domain::{ImportItem, Refusal};

    /// Sixty runs of four configurations, of every status and validity, one in seven without a time.
    fn mixture() -> Vec<RunRecord> {
        (0..60)
            .map(|number| {
                let mut record = run(number);
                match number % 5 {
                    0 => record = broken(record, RunStatus::Failed),
                    1 => record = broken(record, RunStatus::Unsupported),
                    2 => record.measurement.validity = Validity::Throttled,
                    _ => {}
                }
                if number % 2 == 0 {
                    record = on_gpu(record);
                }
                if number % 3 == 0 {
                    record = of_model(record, "gpt2");
                }
                if number % 7 == 0 {
                    record.started_at = None;
                }
                record.environment.host = Some(["left", "right"][number as usize / 30].into());
                record
            })
            // Not in the order of time.
            .rev()
            .collect()
    }

    fn summaries(store: &Store) -> Vec<String> {
        let sql = "SELECT json_array('configuration', configuration.fingerprint, run_count, ok_count, valid_count,
                 unsupported_count, run.uuid, newest_valid_started_at) AS row
             FROM series_summary JOIN configuration ON configuration.id = series_summary.configuration_id
                 LEFT JOIN run ON run.id = newest_valid_run_id
             UNION ALL
             SELECT json_array('environment', fingerprint, run_count)
             FROM environment_summary JOIN environment ON environment.id = environment_summary.environment_id
             ORDER BY row";
        let mut statement = store.connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn assert_right(store: &Store) {
        assert_eq!(store.check().unwrap(), []);
    }

    #[test]
    fn a_bulk_leaves_the_summaries_that_triggers_leave() {
        let (_one, mut one_by_one) = new_store();
        let (_all, mut at_once) = new_store();
        let (_half, mut in_halves) = new_store();
        for record in mixture() {
            one_by_one.insert_run(&record).unwrap();
        }
        assert_eq!(at_once.insert_runs(mixture().iter()).unwrap(), 60);
        in_halves.insert_runs(mixture()[..30].iter()).unwrap();
        assert_eq!(in_halves.insert_runs(mixture().iter()).unwrap(), 30, "known runs do not count again");
        assert_eq!(summaries(&one_by_one).len(), 6);
        assert_eq!(summaries(&at_once), summaries(&one_by_one));
        assert_eq!(summaries(&in_halves), summaries(&one_by_one));
        assert_right(&one_by_one);
    }

    #[test]
    fn triggers_and_foreign_keys_are_on_again_after_a_bulk() {
        let (_folder, mut store) = new_store();
        store.insert_runs(mixture().iter()).unwrap();
        store.insert_run(&run(77)).unwrap();
        assert_right(&store);
        store.connection.execute("DELETE FROM configuration", []).unwrap_err();
    }

    #[test]
    fn guards_are_on_again_after_an_import_that_failed() {
        let (_folder, mut store) = new_store();
        let source = ImportSource { path: "x".into(), format: "x".into(), content_sha256: "0".repeat(64) };
        store
            .import_runs(&source, true, |sink| {
                sink(&ImportItem::Run(Box::new(run(1))))?;
                Err(StoreError::Missing { path: "x".into() })
            })
            .unwrap_err();
        assert_eq!(summaries(&store), [""; 0]);
        store.insert_run(&run(1)).unwrap();
        assert_eq!(store.count_runs().unwrap(), 1);
        assert_right(&store);
    }

    #[test]
    fn a_strict_import_that_takes_nothing_leaves_nothing() {
        let (_folder, mut store) = new_store();
        let source = ImportSource { path: "x".into(), format: "x".into(), content_sha256: "0".repeat(64) };
        let outcome = store.import_runs::<StoreError>(&source, true, |sink| {
            sink(&ImportItem::Run(Box::new(run(1))))?;
            sink(&ImportItem::Refused(Refusal { line: 2, reason: "no run".into() }))
        });
        assert!(matches!(outcome.unwrap(), ImportOutcome::NothingTaken { .. }));
        assert_eq!(summaries(&store), [""; 0]);
    }

    #[test]
    fn a_known_run_leaves_no_new_configuration() {
        let (_folder, mut store) = new_store();
        store.insert_run(&run(1)).unwrap();
        // The same UUID with another model.
        store.insert_runs([of_model(run(1), "gpt2")].iter()).unwrap();
        assert_eq!(store.summary().unwrap().configurations, 1);
        assert_eq!(store.summary().unwrap().models, 1);
    }

    #[test]
    fn whatever_changes_a_run_changes_its_summaries() {
        let (_folder, mut store) = new_store();
        store.insert_runs(mixture().iter()).unwrap();
        for statement in [
            "UPDATE run SET started_at = '2027-01-01T00:00:00.000Z' WHERE id % 11 = 0",
            "UPDATE run SET started_at = NULL WHERE id % 13 = 0",
            "UPDATE run SET validity = 'too_few_samples' WHERE status = 'ok' AND id % 3 = 0",
            "UPDATE run SET validity = 'valid' WHERE status = 'ok' AND id % 6 = 1",
            "UPDATE run SET status = 'failed', validity = 'not_measured', error = 'x' WHERE id % 6 = 0",
            "UPDATE run SET configuration_id = (SELECT max(id) FROM configuration) WHERE id % 4 = 0",
            "UPDATE run SET environment_id = (SELECT max(id) FROM environment) WHERE id % 9 = 0",
            "UPDATE run SET id = id + 1000 WHERE id NOT IN (SELECT run_id FROM metrics)",
            "DELETE FROM run WHERE id IN (SELECT newest_valid_run_id FROM series_summary)",
            "DELETE FROM run WHERE id % 2 = 0",
            "DELETE FROM run",
        ] {
            let changed = store.connection.execute(statement, []).unwrap();
            assert!(changed > 0, "{statement} changed nothing");
            assert_right(&store);
        }
        assert_eq!(store.summary().unwrap().runs, 0);
    }

    #[test]
    fn a_summary_that_was_changed_by_hand_is_found() {
        let (_folder, mut store) = new_store();
        store.insert_runs(mixture().iter()).unwrap();
        for statement in [
            "UPDATE series_summary SET run_count = run_count + 1 WHERE configuration_id = 1",
            "UPDATE series_summary SET newest_valid_run_id = NULL WHERE configuration_id = 1",
            "UPDATE series_summary SET newest_valid_started_at = 'x' WHERE configuration_id = 1",
            "DELETE FROM series_summary WHERE configuration_id = 1",
            "INSERT INTO series_summary (configuration_id) VALUES (99)",
            "UPDATE environment_summary SET run_count = 0 WHERE environment_id = 1",
            "DELETE FROM environment_summary",
        ] {
            store.connection.execute_batch("PRAGMA foreign_keys = off; BEGIN").unwrap();
            store.connection.execute(statement, []).unwrap();
            let findings = store.check().unwrap();
            assert!(findings.iter().any(|finding| finding.check.starts_with("summaries")), "{statement}: {findings:?}");
            store.connection.execute_batch("ROLLBACK").unwrap();
        }
    }

    #[test]
    fn deleting_sweeps_what_nothing_refers_to() {
        let (_folder, mut store) = new_store();
        store.insert_runs(mixture().iter()).unwrap();
        let ids: Vec<i64> = store
            .connection
            .prepare("SELECT run_id FROM results WHERE model = 'gpt2' OR host = 'left'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        store.delete_runs(&ids).unwrap();
        let summary = store.summary().unwrap();
        assert_eq!((summary.configurations, summary.models), (2, 1));
        let environments: i64 =
            store.connection.query_row("SELECT count(*) FROM environment", [], |row| row.get(0)).unwrap();
        assert_eq!(environments, 1);
        assert_right(&store);
    }

    #[test]
    fn what_is_forgotten_for_room_is_counted_all_the_same() {
        let (_folder, mut store) = new_store();
        let count = u32::try_from(COUNTED).unwrap() + 10;
        let records = (0..count).map(|number| {
            let mut record = run(number);
            record.environment.host = Some(number.to_string());
            record
        });
        assert_eq!(store.insert_runs(records).unwrap(), u64::from(count));
        let (environments, runs): (u32, u32) = store
            .connection
            .query_row("SELECT count(*), sum(run_count) FROM environment_summary", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!((environments, runs), (count, count));
        assert_eq!(store.summary().unwrap().runs, u64::from(count));
    }
}
