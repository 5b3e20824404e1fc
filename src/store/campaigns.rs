//! Campaigns: persisted plans, with a lease on the run that is being measured.

use rusqlite::{named_params, params};

use super::insert::{Inserted, RunWriter};
use super::{Store, StoreError, now_text};
use crate::domain::{Campaign, PlannedRun, RunRecord};

/// Who is working on a planned run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Host name.
    pub host: String,
    /// Process id there.
    pub process_id: u32,
    /// When that process started, in clock ticks since boot: a process id alone may be used again. 0 where nobody knows.
    pub process_start: u64,
}

/// A planned run that is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenRun {
    /// Row id of the planned run.
    pub id: i64,
    /// The campaign it belongs to.
    pub campaign: Campaign,
    /// What was to be measured.
    pub plan: PlannedRun,
    /// Who holds it.
    pub lease: Option<Lease>,
    /// When whoever holds it last said so, ISO-8601 UTC.
    pub heartbeat_at: Option<String>,
}

/// How far a campaign is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignProgress {
    /// The campaign.
    pub campaign: Campaign,
    /// Planned runs.
    pub planned: u64,
    /// Those that are done.
    pub done: u64,
}

impl Store {
    /// Stores a campaign with its whole plan, and the outcomes of what is `unsupported` and will not be run.
    ///
    /// # Errors
    /// What SQLite refuses; nothing is stored then.
    pub fn insert_campaign(
        &mut self,
        campaign: &Campaign,
        plan: &[PlannedRun],
        unsupported: &[RunRecord],
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut writer = RunWriter::new(transaction)?;
            let campaign_id = writer.campaign(campaign)?;
            for record in unsupported {
                writer.insert(record, None)?;
            }
            let mut statement = transaction
                .prepare_cached("INSERT INTO planned_run (campaign_id, position, plan) VALUES (?1, ?2, ?3)")?;
            for planned in plan {
                let text = serde_json::to_string(planned)
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
                statement.execute(params![campaign_id, planned.position, text])?;
            }
            Ok(())
        })
    }

    /// The runs of a campaign that are not done, in the order of the plan.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_open_runs(&self, campaign_uuid: &str) -> Result<Vec<OpenRun>, StoreError> {
        self.open_runs(Some(campaign_uuid), None)
    }

    /// All runs, of any campaign, that somebody holds.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_leased_runs(&self) -> Result<Vec<OpenRun>, StoreError> {
        self.open_runs(None, Some("running"))
    }

    fn open_runs(&self, campaign: Option<&str>, state: Option<&str>) -> Result<Vec<OpenRun>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(include_str!("sql/open_runs.sql")).map_err(|source| self.fail(source))?;
        statement
            .query_map(named_params! { ":campaign": campaign, ":state": state }, |row| {
                let plan: String = row.get("plan")?;
                let host: Option<String> = row.get("lease_host")?;
                Ok(OpenRun {
                    id: row.get("id")?,
                    campaign: campaign_of(row)?,
                    plan: serde_json::from_str(&plan).map_err(|error| {
                        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
                    })?,
                    heartbeat_at: row.get("heartbeat_at")?,
                    lease: match host {
                        Some(host) => Some(Lease {
                            host,
                            process_id: row.get("lease_process_id")?,
                            process_start: row
                                .get::<_, Option<i64>>("lease_process_start")?
                                .unwrap_or_default()
                                .cast_unsigned(),
                        }),
                        None => None,
                    },
                })
            })
            .and_then(Iterator::collect)
            .map_err(|source| self.fail(source))
    }

    /// Takes a planned run that is pending; answers whether it was there to take.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn take_run(&mut self, planned_run: i64, lease: &Lease) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let taken = transaction
                .prepare_cached(
                    "UPDATE planned_run SET state = 'running', lease_host = :host, lease_process_id = :process_id,
                         lease_process_start = :process_start, heartbeat_at = :now
                     WHERE id = :id AND state = 'pending'",
                )?
                .execute(named_params! {
                    ":id": planned_run,
                    ":host": lease.host,
                    ":process_id": lease.process_id,
                    ":process_start": lease.process_start.cast_signed(),
                    ":now": now_text(),
                })?;
            Ok(taken == 1)
        })
    }

    /// Says that a run that was taken is still being worked on.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn beat(&mut self, planned_run: i64) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("UPDATE planned_run SET heartbeat_at = ?2 WHERE id = ?1 AND state = 'running'")?
                .execute(params![planned_run, now_text()])
                .map(drop)
        })
    }

    /// Stores the run of a plan and marks it done, in one transaction. If the lease was lost meanwhile (somebody took this
    /// process for dead), the run is stored all the same, and the plan is left to whoever holds it now.
    ///
    /// # Errors
    /// What SQLite refuses; nothing is stored then.
    pub fn finish_run(&mut self, planned_run: i64, held: &Lease, record: &RunRecord) -> Result<Inserted, StoreError> {
        self.write(|transaction| {
            let inserted = RunWriter::new(transaction)?.insert(record, None)?;
            let (Inserted::New(run_id) | Inserted::Known(run_id)) = inserted;
            transaction
                .prepare_cached(
                    "UPDATE planned_run SET state = 'done', run_id = ?2, lease_host = NULL, lease_process_id = NULL,
                         lease_process_start = NULL
                     WHERE id = ?1 AND lease_host = ?3 AND lease_process_id = ?4 AND lease_process_start = ?5",
                )?
                .execute(params![planned_run, run_id, held.host, held.process_id, held.process_start.cast_signed()])?;
            Ok(inserted)
        })
    }

    /// Stores an interrupted run and gives its place in the plan back, so that `--resume` measures it; does nothing
    /// if the lease is not `held` any more (another process was faster).
    ///
    /// # Errors
    /// What SQLite refuses; nothing is stored then.
    pub fn release_interrupted(
        &mut self,
        planned_run: i64,
        held: &Lease,
        record: &RunRecord,
    ) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let released = transaction
                .prepare_cached(
                    "UPDATE planned_run SET state = 'pending', lease_host = NULL, lease_process_id = NULL,
                         lease_process_start = NULL
                     WHERE id = :id AND state = 'running' AND lease_host = :host AND lease_process_id = :process_id
                         AND lease_process_start = :process_start",
                )?
                .execute(named_params! {
                    ":id": planned_run,
                    ":host": held.host,
                    ":process_id": held.process_id,
                    ":process_start": held.process_start.cast_signed(),
                })?;
            if released == 0 {
                return Ok(false);
            }
            RunWriter::new(transaction)?.insert(record, None)?;
            Ok(true)
        })
    }

    /// Gives up what a campaign has not measured yet; answers how many runs that were. Runs that somebody holds stay.
    ///
    /// # Errors
    /// What SQLite refuses; nothing is removed then.
    pub fn delete_open_plan(&mut self, campaign_uuid: &str) -> Result<u64, StoreError> {
        self.write(|transaction| {
            let removed = transaction.execute(
                "DELETE FROM planned_run WHERE state = 'pending'
                     AND campaign_id = (SELECT id FROM campaign WHERE uuid = ?1)",
                [campaign_uuid],
            )?;
            super::maintain::sweep(transaction)?;
            Ok(removed as u64)
        })
    }

    /// The campaign whose UUID starts with `wanted`, whose label is `wanted`, or the newest for `last`.
    ///
    /// # Errors
    /// [`StoreError::NoCampaign`] where none or more than one fits.
    pub fn find_campaign(&self, wanted: &str) -> Result<Campaign, StoreError> {
        let found: Vec<Campaign> = self
            .connection
            .prepare_cached(
                "SELECT uuid, started_at, command_line, label, seed FROM campaign
                 WHERE ?1 = 'last' OR uuid = ?1 OR label = ?1 OR (length(?1) >= 4 AND substr(uuid, 1, length(?1)) = ?1)
                 ORDER BY started_at DESC, id DESC LIMIT 2",
            )
            .and_then(|mut statement| statement.query_map([wanted], campaign_of).and_then(Iterator::collect))
            .map_err(|source| self.fail(source))?;
        let exact = wanted == "last" || found.first().is_some_and(|campaign| campaign.uuid == wanted);
        match found.as_slice() {
            [campaign] => Ok(campaign.clone()),
            [campaign, _] if exact => Ok(campaign.clone()),
            [] => Err(StoreError::NoCampaign {
                wanted: wanted.into(),
                hint: "`benchdb status` lists the newest campaigns; `last` is the newest".into(),
            }),
            [first, second, ..] => Err(StoreError::NoCampaign {
                wanted: wanted.into(),
                hint: ["it could mean ", &first.uuid, " or ", &second.uuid].concat(),
            }),
        }
    }

    /// Whether runs of a campaign have used a file at this path whose content was another one.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn used_other_content(&self, campaign: &str, path: &str, sha256: &str) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM campaign JOIN run ON run.campaign_id = campaign.id
                 JOIN artifact ON artifact.id = run.artifact_id
                 WHERE campaign.uuid = ?1 AND artifact.path = ?2 AND artifact.sha256 <> ?3)",
            )
            .and_then(|mut statement| statement.query_row([campaign, path, sha256], |row| row.get(0)))
            .map_err(|source| self.fail(source))
    }

    /// How far the newest campaigns are.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_campaigns(&self, limit: u32) -> Result<Vec<CampaignProgress>, StoreError> {
        self.connection
            .prepare_cached(include_str!("sql/campaigns.sql"))
            .and_then(|mut statement| {
                statement
                    .query_map([limit], |row| {
                        Ok(CampaignProgress {
                            campaign: campaign_of(row)?,
                            planned: row.get::<_, i64>("planned")?.cast_unsigned(),
                            done: row.get::<_, i64>("done")?.cast_unsigned(),
                        })
                    })
                    .and_then(Iterator::collect)
            })
            .map_err(|source| self.fail(source))
    }
}

fn campaign_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Campaign> {
    Ok(Campaign {
        uuid: row.get("uuid")?,
        started_at: row.get("started_at")?,
        command_line: row.get("command_line")?,
        label: row.get("label")?,
        seed: row.get::<_, Option<i64>>("seed")?.map(i64::cast_unsigned),
    })
}
