//! What judging keeps: baselines, verdicts, changes that a person accepted, and the noise of each series.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, named_params, params};

use super::list::json_list;
use super::{Store, StoreError, now_text};
use crate::domain::label::label;
use crate::domain::{Evidence, Judgement};

/// A named set of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// Its name.
    pub name: String,
    /// When it was saved.
    pub created_at: String,
    /// What its maker said.
    pub note: Option<String>,
    /// Its runs.
    pub runs: u64,
    /// The configurations of its runs.
    pub configurations: u64,
}

/// How judgements came about, for the record.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedAgainst {
    /// What the baseline was: `baseline main`, `file base.csv`, `history`.
    pub source: String,
    /// The stored baseline's name.
    pub baseline: Option<String>,
    /// The threshold.
    pub alert: f64,
}

/// A change that a person accepted: the series starts anew with this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The series.
    pub configuration_id: i64,
    /// The metric.
    pub metric: String,
    /// The first run that counts.
    pub run_id: i64,
    /// What the person said.
    pub note: Option<String>,
    /// When.
    pub accepted_at: String,
}

/// A verdict that waits for somebody to accept it.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenVerdict {
    /// Its row id.
    pub id: i64,
    /// The model.
    pub model: String,
    /// The configuration, in words: device, engine, precision, mode, batch size.
    pub configuration: String,
    /// The metric.
    pub metric: String,
    /// What was concluded.
    pub verdict: String,
    /// The effect on the scale of the judgement.
    pub effect: Option<f64>,
    /// The first run of the candidate.
    pub run_id: i64,
}

/// The run-to-run noise of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseFloor {
    /// The series.
    pub configuration_id: i64,
    /// The metric.
    pub metric: String,
    /// Relative standard deviation between runs that were made together.
    pub relative_deviation: f64,
    /// The runs that it was estimated from.
    pub runs: usize,
}

impl Store {
    /// Saves a baseline of these runs. With `replace` one of that name is replaced. Answers whether it was saved: it is
    /// not where the name is taken.
    ///
    /// # Errors
    /// What SQLite refuses; nothing is saved then.
    pub fn save_baseline(
        &mut self,
        name: &str,
        note: Option<&str>,
        runs: &[i64],
        replace: bool,
    ) -> Result<bool, StoreError> {
        self.write(|transaction| {
            if replace {
                transaction.execute("DELETE FROM baseline WHERE name = ?1", [name])?;
            }
            let id: Option<i64> = transaction
                .query_row(
                    "INSERT INTO baseline (name, created_at, note) VALUES (?1, ?2, ?3)
                     ON CONFLICT (name) DO NOTHING RETURNING id",
                    params![name, now_text(), note],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(id) = id else { return Ok(false) };
            let mut statement =
                transaction.prepare_cached("INSERT INTO baseline_run (baseline_id, run_id) VALUES (?1, ?2)")?;
            for run in runs {
                statement.execute([id, *run])?;
            }
            Ok(true)
        })
    }

    /// All baselines, newest first.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_baselines(&self) -> Result<Vec<Baseline>, StoreError> {
        self.connection
            .prepare_cached(include_str!("sql/baselines.sql"))
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        Ok(Baseline {
                            name: row.get("name")?,
                            created_at: row.get("created_at")?,
                            note: row.get("note")?,
                            runs: row.get::<_, i64>("runs")?.cast_unsigned(),
                            configurations: row.get::<_, i64>("configurations")?.cast_unsigned(),
                        })
                    })?
                    .collect()
            })
            .map_err(|source| self.fail(source))
    }

    /// Removes a baseline; its runs stay. Answers whether there was one.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn delete_baseline(&mut self, name: &str) -> Result<bool, StoreError> {
        self.write(|transaction| Ok(transaction.execute("DELETE FROM baseline WHERE name = ?1", [name])? == 1))
    }

    /// Keeps what was concluded of series of this database. An open verdict on the same runs against the same thing is
    /// replaced; what was accepted is not opened again.
    ///
    /// # Errors
    /// What SQLite refuses; nothing is kept then.
    pub fn insert_verdicts(&mut self, judgements: &[Judgement], against: &JudgedAgainst) -> Result<(), StoreError> {
        let judged_at = now_text();
        self.write(|transaction| {
            for judgement in judgements.iter().filter(|judgement| judgement.is_judged()) {
                let (Some(configuration), Some(run)) = (judgement.configuration_id, judgement.first_candidate_run)
                else {
                    continue;
                };
                let accepted = transaction
                    .prepare_cached(
                        "SELECT 1 FROM verdict WHERE configuration_id = ?1 AND metric = ?2 AND first_candidate_run = ?3
                             AND accepted_at IS NOT NULL",
                    )?
                    .exists(params![configuration, judgement.metric, run])?;
                if accepted {
                    continue;
                }
                transaction
                    .prepare_cached(
                        "DELETE FROM verdict WHERE configuration_id = ?1 AND metric = ?2 AND first_candidate_run = ?3
                             AND baseline_source = ?4 AND accepted_at IS NULL",
                    )?
                    .execute(params![configuration, judgement.metric, run, against.source])?;
                transaction.prepare_cached(include_str!("sql/insert_verdict.sql"))?.execute(named_params! {
                    ":judged_at": judged_at,
                    ":configuration_id": configuration,
                    ":baseline": against.baseline,
                    ":baseline_source": against.source,
                    ":metric": judgement.metric,
                    ":verdict": label(&judgement.verdict),
                    // What the table calls evidence are tests of two sides.
                    ":evidence": judgement.evidence.filter(|evidence| *evidence != Evidence::ChangePoints).as_ref().map(label),
                    ":alert_threshold": against.alert,
                    ":baseline_median": judgement.baseline.median,
                    ":candidate_median": judgement.candidate.median,
                    ":effect": judgement.effect,
                    ":effect_low": judgement.effect_low,
                    ":effect_high": judgement.effect_high,
                    ":p_value": judgement.p_value,
                    ":q_value": judgement.q_value,
                    ":smallest_effect": judgement.smallest_effect,
                    ":first_candidate_run": run,
                })?;
            }
            Ok(())
        })
    }

    /// Verdicts of a change that nobody has accepted yet, newest first; of the newest judging alone with `newest`.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_open_verdicts(&self, newest: bool) -> Result<Vec<OpenVerdict>, StoreError> {
        self.open_verdicts(newest, None)
    }

    /// Whatever was concluded of series from one of these runs on, and is not accepted.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_verdicts_at(&self, runs: &[i64]) -> Result<Vec<OpenVerdict>, StoreError> {
        self.open_verdicts(false, Some(json_list(runs).unwrap_or_else(|| "[]".into())))
    }

    fn open_verdicts(&self, newest: bool, runs: Option<String>) -> Result<Vec<OpenVerdict>, StoreError> {
        self.connection
            .prepare_cached(include_str!("sql/open_verdicts.sql"))
            .and_then(|mut statement| {
                statement
                    .query_map(params![newest, runs], |row| {
                        Ok(OpenVerdict {
                            id: row.get("id")?,
                            model: row.get("model")?,
                            configuration: row.get("configuration")?,
                            metric: row.get("metric")?,
                            verdict: row.get("verdict")?,
                            effect: row.get("effect")?,
                            run_id: row.get("first_candidate_run")?,
                        })
                    })?
                    .collect()
            })
            .map_err(|source| self.fail(source))
    }

    /// Accepts verdicts by their row ids, and with each of them the others of the same series that begin with the same
    /// run. Answers how many.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn accept_verdicts(&mut self, ids: &[i64], note: Option<&str>) -> Result<u64, StoreError> {
        let now = now_text();
        self.write(|transaction| {
            let accepted = transaction.execute(
                "UPDATE verdict SET accepted_at = ?1, accepted_note = ?2
                 WHERE accepted_at IS NULL AND EXISTS (
                     SELECT 1 FROM verdict AS chosen
                     WHERE chosen.id IN (SELECT value FROM json_each(?3))
                         AND chosen.configuration_id = verdict.configuration_id AND chosen.metric = verdict.metric
                         AND chosen.first_candidate_run = verdict.first_candidate_run)",
                params![now, note, json_list(ids).unwrap_or_else(|| "[]".into())],
            )?;
            Ok(accepted as u64)
        })
    }

    /// Everything that was accepted, oldest first.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_acceptances(&self) -> Result<Vec<Acceptance>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT configuration_id, metric, first_candidate_run, accepted_note, accepted_at FROM verdict
                 WHERE accepted_at IS NOT NULL AND first_candidate_run IS NOT NULL ORDER BY accepted_at, id",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        Ok(Acceptance {
                            configuration_id: row.get(0)?,
                            metric: row.get(1)?,
                            run_id: row.get(2)?,
                            note: row.get(3)?,
                            accepted_at: row.get(4)?,
                        })
                    })?
                    .collect()
            })
            .map_err(|source| self.fail(source))
    }

    /// Keeps the noise of series; an estimate replaces an older one of no more runs.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn save_noise_floors(&mut self, floors: &[NoiseFloor]) -> Result<(), StoreError> {
        let now = now_text();
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(
                "INSERT INTO noise_floor (configuration_id, metric, relative_deviation, run_count, estimated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (configuration_id, metric) DO UPDATE SET
                     relative_deviation = excluded.relative_deviation, run_count = excluded.run_count,
                     estimated_at = excluded.estimated_at
                 WHERE excluded.run_count >= noise_floor.run_count",
            )?;
            for floor in floors {
                let runs = i64::try_from(floor.runs).unwrap_or(i64::MAX);
                statement.execute(params![
                    floor.configuration_id,
                    floor.metric,
                    floor.relative_deviation,
                    runs,
                    now
                ])?;
            }
            Ok(())
        })
    }

    /// The baselines that have any of these runs, and how many of them.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_baselines_of(&self, runs: &[i64]) -> Result<Vec<(String, u64)>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT baseline.name, count(*) FROM baseline_run
                     JOIN baseline ON baseline.id = baseline_run.baseline_id
                 WHERE baseline_run.run_id IN (SELECT value FROM json_each(?1))
                 GROUP BY baseline.id ORDER BY baseline.name",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([json_list(runs).unwrap_or_else(|| "[]".into())], |row| {
                        Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
                    })?
                    .collect()
            })
            .map_err(|source| self.fail(source))
    }

    /// The kept noise of all series, by configuration and metric.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn read_noise_floors(&self) -> Result<HashMap<(i64, String), f64>, StoreError> {
        self.connection
            .prepare_cached("SELECT configuration_id, metric, relative_deviation FROM noise_floor")
            .and_then(|mut statement| {
                statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?.collect()
            })
            .map_err(|source| self.fail(source))
    }
}
