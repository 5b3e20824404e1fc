//! Looking after a database: deleting, copying, merging, checking.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, backup};

use super::bulk::Written;
use super::fitted::insert_new;
use super::list::{Detail, Selection};
use super::probes::insert_probe;
use super::{Store, StoreError};
use crate::domain::text::folder_of;

/// Pages that a backup copies at a time; writers get a turn in between.
const PAGES_PER_STEP: i32 = 1_000;

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// What is wrong.
    pub problem: String,
}

impl Store {
    /// Removes runs by their ids, with all that hangs on them, and what nothing refers to any more.
    ///
    /// # Errors
    /// What SQLite refuses; nothing is removed then.
    pub fn delete_runs(&mut self, ids: &[i64]) -> Result<u64, StoreError> {
        let removed = self.write(|transaction| {
            let mut removed = 0;
            {
                let mut statement = transaction.prepare_cached("DELETE FROM run WHERE id = ?1")?;
                for id in ids {
                    removed += statement.execute([id])? as u64;
                }
            }
            sweep(transaction)?;
            Ok(removed)
        })?;
        self.settle(removed);
        Ok(removed)
    }

    /// Copies the database, while it is in use, into a new file.
    ///
    /// # Errors
    /// A target that exists, or whatever SQLite refuses; the target is not left half-made.
    pub fn backup(&self, target: &Path, progress: impl Fn(u64, u64)) -> Result<(), StoreError> {
        let failed = |source| StoreError::sqlite(target, source);
        let create = |source| StoreError::Create { path: target.into(), source };
        if target.exists() {
            return Err(create(std::io::ErrorKind::AlreadyExists.into()));
        }
        let folder = folder_of(target);
        let draft = tempfile::NamedTempFile::new_in(folder).map_err(create)?;
        {
            let mut copy = Connection::open(draft.path()).map_err(failed)?;
            let backup = backup::Backup::new(&self.connection, &mut copy).map_err(failed)?;
            loop {
                let step = backup.step(PAGES_PER_STEP).map_err(failed)?;
                let state = backup.progress();
                progress(
                    u64::from((state.pagecount - state.remaining).unsigned_abs()),
                    u64::from(state.pagecount.unsigned_abs()),
                );
                match step {
                    backup::StepResult::Done => break,
                    backup::StepResult::More => {}
                    // Somebody writes; try again soon.
                    _ => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        }
        draft.persist_noclobber(target).map(drop).map_err(|error| create(error.error))
    }

    /// Takes all runs and probes of `other` that are not here yet, and its baselines and fitted models with names that are
    /// not taken, in one transaction.
    ///
    /// # Errors
    /// What SQLite refuses; nothing is taken then.
    pub fn merge(&mut self, other: &Self, mut progress: impl FnMut(u64)) -> Result<Merged, StoreError> {
        let baselines = other.baselines_by_uuid()?;
        let models = other.list_fitted_models()?;
        let probes = other.list_device_probes()?;
        self.write_bulk(|writer, failed| {
            let (mut seen, mut new) = (0, 0);
            other.for_each_run(&Selection::default(), Detail::Whole, |_, record| {
                seen += 1;
                if matches!(writer.insert(&record, None).map_err(failed)?, super::insert::Inserted::New(_)) {
                    new += 1;
                }
                progress(seen);
                Ok::<_, StoreError>(())
            })?;
            let taken = insert_baselines(writer.transaction(), &baselines).map_err(failed)?;
            let models_taken = insert_new(writer.transaction(), &models).map_err(failed)?;
            let mut new_probes = 0;
            for probe in &probes {
                new_probes += usize::from(insert_probe(writer, probe).map_err(failed)?);
            }
            let answer = Merged {
                seen,
                new,
                baselines: taken,
                baselines_known: baselines.len() - taken,
                models: models_taken,
                models_known: models.len() - models_taken,
                probes: new_probes,
            };
            Ok::<_, StoreError>(Written { answer, new, keep: true })
        })
    }

    fn baselines_by_uuid(&self) -> Result<Vec<OtherBaseline>, StoreError> {
        let read = || {
            let mut names = self.connection.prepare("SELECT id, name, created_at, note FROM baseline ORDER BY id")?;
            let mut runs = self.connection.prepare(
                "SELECT run.uuid FROM baseline_run JOIN run ON run.id = baseline_run.run_id
                 WHERE baseline_run.baseline_id = ?1",
            )?;
            names
                .query_map([], |row| {
                    Ok(OtherBaseline {
                        name: row.get(1)?,
                        created_at: row.get(2)?,
                        note: row.get(3)?,
                        runs: runs.query_map([row.get::<_, i64>(0)?], |row| row.get(0))?.collect::<Result<_, _>>()?,
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.fail(source))
    }

    /// The number of runs.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn count_runs(&self) -> Result<u64, StoreError> {
        self.connection
            .query_row("SELECT ifnull(sum(run_count), 0) FROM series_summary", [], |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
            .map_err(|source| self.fail(source))
    }

    /// Looks for damage: SQLite's own checks, and what this program promises of its rows. Empty if all is well.
    ///
    /// # Errors
    /// What keeps SQLite from looking.
    pub fn check(&self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        for (check, sql) in CHECKS {
            let problems = self.connection.prepare(sql).and_then(|mut statement| {
                statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()
            });
            match problems {
                Ok(problems) => findings.extend(
                    problems
                        .into_iter()
                        .filter(|problem| problem != "ok")
                        .map(|problem| Finding { check: (*check).to_owned(), problem }),
                ),
                Err(source) => findings.push(Finding { check: (*check).to_owned(), problem: source.to_string() }),
            }
        }
        self.check_fingerprints(&mut findings)?;
        Ok(findings)
    }

    fn check_fingerprints(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        self.for_each_configuration(|configuration, stored, uuid| {
            if stored != configuration.fingerprint() {
                findings.push(Finding {
                    check: "fingerprints of configurations".into(),
                    problem: ["run ", &uuid, " was changed by hand: its configuration has another fingerprint"]
                        .concat(),
                });
            }
        })
    }
}

/// What a merge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Runs of the other database.
    pub seen: u64,
    /// Those that were not here.
    pub new: u64,
    /// Baselines that were taken.
    pub baselines: usize,
    /// Baselines whose names are taken here: these stay as they are.
    pub baselines_known: usize,
    /// Fitted models that were taken.
    pub models: usize,
    /// Fitted models whose names are taken here: these stay as they are.
    pub models_known: usize,
    /// Probes of devices that were not here.
    pub probes: usize,
}

/// A baseline on its way from one database to another.
struct OtherBaseline {
    name: String,
    created_at: String,
    note: Option<String>,
    runs: Vec<String>,
}

/// Stores the baselines whose names are free; answers how many.
fn insert_baselines(transaction: &Transaction<'_>, baselines: &[OtherBaseline]) -> rusqlite::Result<usize> {
    let mut taken = 0;
    for baseline in baselines {
        let id: Option<i64> = transaction
            .query_row(
                "INSERT INTO baseline (name, created_at, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO NOTHING RETURNING id",
                (&baseline.name, &baseline.created_at, &baseline.note),
                |row| row.get(0),
            )
            .optional()?;
        let Some(id) = id else { continue };
        taken += 1;
        for uuid in &baseline.runs {
            transaction
                .prepare_cached(
                    "INSERT INTO baseline_run (baseline_id, run_id) SELECT ?1, id FROM run WHERE uuid = ?2",
                )?
                .execute((id, uuid))?;
        }
    }
    Ok(taken)
}

/// Removes what no run refers to any more: configurations, environments, artifacts, campaigns without a plan, devices
/// and models.
pub(super) fn sweep(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("sql/sweep.sql"))
}

const CHECKS: &[(&str, &str)] = &[
    ("integrity of the file", "SELECT integrity_check FROM pragma_integrity_check"),
    (
        "references between tables",
        "SELECT \"table\" || ' row ' || ifnull(rowid, '?') || ' points to a missing row of ' || parent
         FROM pragma_foreign_key_check",
    ),
    (
        "sample counts",
        "SELECT 'run ' || run.uuid || ' has ' || run.iterations || ' iterations and '
             || json_array_length(sample_series.nanoseconds) || ' samples'
         FROM run JOIN sample_series ON sample_series.run_id = run.id AND sample_series.phase = 'iteration'
         WHERE json_array_length(sample_series.nanoseconds) <> run.iterations",
    ),
    (
        "means of samples",
        "SELECT 'run ' || run.uuid || ' lists a mean of ' || metrics.latency_mean_ms
             || ' ms, its samples have another'
         FROM run JOIN metrics ON metrics.run_id = run.id
             JOIN sample_series ON sample_series.run_id = run.id AND sample_series.phase = 'iteration'
         WHERE metrics.latency_mean_ms IS NOT NULL
             AND abs(metrics.latency_mean_ms - (SELECT avg(value) / 1e6 FROM json_each(sample_series.nanoseconds)))
                 > 1e-6 * metrics.latency_mean_ms",
    ),
    (
        "telemetry",
        "SELECT 'run ' || run_id || ', sensor ' || sensor || ': offsets and values differ in number'
         FROM telemetry_series WHERE json_array_length(offsets_ms) <> json_array_length(\"values\")",
    ),
    (
        "measured runs",
        "SELECT 'run ' || uuid || ' is ok but has no metrics' FROM run
         WHERE status = 'ok' AND NOT EXISTS (SELECT 1 FROM metrics WHERE metrics.run_id = run.id)",
    ),
    (
        "summaries of configurations",
        "SELECT 'the summary of configuration ' || ifnull(summary.configuration_id, counted.configuration_id)
             || ' does not agree with its runs'
         FROM (
             SELECT configuration.id AS configuration_id, count(run.id) AS runs, total(run.status = 'ok') AS ok,
                 total(run.validity = 'valid') AS valid, total(run.status = 'unsupported') AS unsupported,
                 (SELECT newest.id FROM run AS newest
                  WHERE newest.configuration_id = configuration.id AND newest.validity = 'valid'
                  ORDER BY newest.started_at DESC, newest.id DESC LIMIT 1) AS newest
             FROM configuration LEFT JOIN run ON run.configuration_id = configuration.id
             GROUP BY configuration.id
         ) AS counted
             FULL JOIN series_summary AS summary ON summary.configuration_id = counted.configuration_id
         WHERE (counted.runs, counted.ok, counted.valid, counted.unsupported, counted.newest)
             IS NOT (summary.run_count, summary.ok_count, summary.valid_count, summary.unsupported_count,
                 summary.newest_valid_run_id)
             OR summary.newest_valid_started_at
                 IS NOT (SELECT run.started_at FROM run WHERE run.id = summary.newest_valid_run_id)",
    ),
    (
        "summaries of environments",
        "SELECT 'the summary of environment ' || ifnull(summary.environment_id, counted.environment_id)
             || ' does not agree with its runs'
         FROM (
             SELECT environment.id AS environment_id, count(run.id) AS runs
             FROM environment LEFT JOIN run ON run.environment_id = environment.id
             GROUP BY environment.id
         ) AS counted
             FULL JOIN environment_summary AS summary ON summary.environment_id = counted.environment_id
         WHERE counted.runs IS NOT summary.run_count",
    ),
];
