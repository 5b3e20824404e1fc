//! Writing runs: one transaction for one run, or for many.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::LazyLock;

use rusqlite::{CachedStatement, OptionalExtension as _, Transaction, TransactionBehavior, named_params, params};

use super::bulk::{Summaries, Written};
use super::{Store, StoreError};
use crate::domain::label::Labelled;
use crate::domain::metric::standard_metrics;
use crate::domain::run::{ExtraMetric, ModelRecord, OperatorTime, TelemetrySeries};
use crate::domain::{Artifact, Campaign, Configuration, Device, Environment, MetricSet, RunRecord, RunStatus};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is a new row with this id.
    New(i64),
    /// A run of that UUID was there.
    Known(i64),
}

/// Configurations and environments that a writer remembers before it forgets all of them: a bound on memory, not on
/// what can be written.
const REMEMBERED: usize = 65_536;

/// Writes runs inside one transaction; remembers the ids of what they share.
pub(super) struct RunWriter<'t> {
    transaction: &'t Transaction<'t>,
    /// Where triggers are off, what they would have done.
    pub(super) summaries: Option<Summaries>,
    insert_run: CachedStatement<'t>,
    insert_metrics: CachedStatement<'t>,
    models: HashMap<String, i64>,
    devices: HashMap<Device, i64>,
    environments: HashMap<Environment, i64>,
    configurations: HashMap<Configuration, i64>,
    campaigns: HashMap<String, StoredCampaign>,
}

/// What a writer remembers of a campaign.
#[derive(Clone, Copy)]
struct StoredCampaign {
    id: i64,
    /// Whether runs of its plan were not done when the writer first saw it.
    open: bool,
}

/// The rows that a run refers to.
#[derive(Clone, Copy)]
pub(super) struct References {
    pub(super) configuration_id: i64,
    pub(super) environment_id: i64,
    campaign: Option<StoredCampaign>,
    artifact_id: Option<i64>,
}

impl Store {
    /// Stores one run durably.
    ///
    /// # Errors
    /// Everything that SQLite refuses; nothing of the run is stored then.
    pub fn insert_run(&mut self, record: &RunRecord) -> Result<Inserted, StoreError> {
        self.write(|transaction| RunWriter::new(transaction)?.insert(record, None))
    }

    /// Stores many runs in one transaction: all of them, or none after an error. Answers how many were new.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn insert_runs(&mut self, records: impl Iterator<Item = impl Borrow<RunRecord>>) -> Result<u64, StoreError> {
        self.write_bulk(|writer, failed| {
            let mut new = 0;
            for record in records {
                if matches!(writer.insert(record.borrow(), None).map_err(failed)?, Inserted::New(_)) {
                    new += 1;
                }
            }
            Ok::<_, StoreError>(Written { answer: new, new, keep: true })
        })
    }

    /// Runs `work` in a transaction that takes the write lock at once, and commits.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let attempt = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        attempt().map_err(|source| StoreError::sqlite(&path, source))
    }
}

impl<'t> RunWriter<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>) -> rusqlite::Result<Self> {
        Ok(Self {
            transaction,
            summaries: None,
            insert_run: transaction.prepare_cached(include_str!("sql/insert_run.sql"))?,
            insert_metrics: transaction.prepare_cached(include_str!("sql/insert_metrics.sql"))?,
            models: HashMap::new(),
            devices: HashMap::new(),
            environments: HashMap::new(),
            configurations: HashMap::new(),
            campaigns: HashMap::new(),
        })
    }

    /// The transaction that it writes in.
    pub(super) fn transaction(&self) -> &'t Transaction<'t> {
        self.transaction
    }

    pub(super) fn insert(&mut self, record: &RunRecord, import_batch: Option<i64>) -> rusqlite::Result<Inserted> {
        let references = match self.remembered(record) {
            Some(references) => references,
            None => {
                // A run that is there must not leave rows behind that nothing refers to.
                if let Some(id) = self.find_run(&record.uuid)? {
                    return Ok(Inserted::Known(id));
                }
                self.references(record)?
            }
        };
        let measurement = &record.measurement;
        let inserted = self.insert_run.execute(params![
            record.uuid,
            references.configuration_id,
            references.environment_id,
            references.campaign.map(|campaign| campaign.id),
            references.artifact_id,
            import_batch,
            record.weight_seed.map(u64::cast_signed),
            record.repetition,
            record.started_at,
            record.duration_s,
            measurement.status.label(),
            measurement.validity.label(),
            measurement.stop_reason.as_ref().map(Labelled::label),
            measurement.iterations.cast_signed(),
            measurement.warmup_iterations.cast_signed(),
            measurement.outlier_count.map(u64::cast_signed),
            measurement.error,
            measurement.hint,
        ])?;
        if inserted == 0 {
            let known = self.find_run(&record.uuid)?;
            return known.map(Inserted::Known).ok_or(rusqlite::Error::QueryReturnedNoRows);
        }
        let run_id = self.transaction.last_insert_rowid();
        if let Some(summaries) = &mut self.summaries {
            summaries.count(self.transaction, references, run_id, record)?;
        }
        self.metrics(run_id, &measurement.metrics)?;
        self.extra_metrics(run_id, &measurement.extra_metrics)?;
        for series in &measurement.samples {
            self.prepare("INSERT INTO sample_series (run_id, phase, nanoseconds) VALUES (?1, ?2, ?3)")?
                .execute(params![run_id, series.phase, json(&series.nanoseconds)?])?;
        }
        self.telemetry(run_id, &measurement.telemetry)?;
        self.operator_times(run_id, &measurement.operator_times)?;
        if let (Some(StoredCampaign { id, open: true }), Some(_), RunStatus::Ok) =
            (references.campaign, import_batch, measurement.status)
        {
            self.close_plan(id, run_id, record)?;
        }
        Ok(Inserted::New(run_id))
    }

    fn find_run(&self, uuid: &str) -> rusqlite::Result<Option<i64>> {
        self.prepare("SELECT id FROM run WHERE uuid = ?1")?.query_row([uuid], |row| row.get(0)).optional()
    }

    /// What a record refers to, where this writer has seen all of it before. Comparing a configuration or an environment
    /// is far cheaper than its fingerprint; two that differ in what no fingerprint holds are found by that.
    fn remembered(&self, record: &RunRecord) -> Option<References> {
        if record.artifact.is_some() || !self.models.contains_key(&record.model.name) {
            return None;
        }
        Some(References {
            configuration_id: *self.configurations.get(&record.configuration)?,
            environment_id: *self.environments.get(&record.environment)?,
            campaign: match &record.campaign {
                Some(campaign) => Some(*self.campaigns.get(&campaign.uuid)?),
                None => None,
            },
            artifact_id: None,
        })
    }

    /// What a record refers to; what is not there yet is stored.
    fn references(&mut self, record: &RunRecord) -> rusqlite::Result<References> {
        let model_id = self.model(&record.model)?;
        Ok(References {
            configuration_id: self.configuration(&record.configuration, model_id)?,
            environment_id: self.environment(&record.environment)?,
            campaign: match &record.campaign {
                Some(campaign) => Some(self.stored_campaign(campaign)?),
                None => None,
            },
            artifact_id: match &record.artifact {
                Some(artifact) => Some(self.artifact(artifact, model_id)?),
                None => None,
            },
        })
    }

    /// A measured run of a plan that comes back from a file (because the database had no room for it) is not measured
    /// again.
    fn close_plan(&self, campaign_id: i64, run_id: i64, record: &RunRecord) -> rusqlite::Result<()> {
        let configuration = serde_json::to_string(&record.configuration)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.prepare(
            "UPDATE planned_run SET state = 'done', run_id = :run_id, lease_host = NULL, lease_process_id = NULL,
                 lease_process_start = NULL
             WHERE campaign_id = :campaign_id AND state <> 'done'
                 AND json_extract(plan, '$.repetition') = :repetition
                 AND json_extract(plan, '$.configuration') = json(:configuration)",
        )?
        .execute(named_params! {
            ":run_id": run_id,
            ":campaign_id": campaign_id,
            ":repetition": record.repetition,
            ":configuration": configuration,
        })
        .map(drop)
    }

    fn prepare(&self, sql: &'static str) -> rusqlite::Result<CachedStatement<'t>> {
        self.transaction.prepare_cached(sql)
    }

    /// The model's id; what an earlier record did not know is filled in, what it knew stays.
    fn model(&mut self, model: &ModelRecord) -> rusqlite::Result<i64> {
        if let Some(id) = self.models.get(&model.name) {
            return Ok(*id);
        }
        let id = self
            .prepare(
                "INSERT INTO model (name, family, category, task, source, parameter_count, multiply_adds,
                     activation_count)
                 VALUES (:name, :family, :category, :task, :source, :parameter_count, :multiply_adds,
                     :activation_count)
                 ON CONFLICT (name) DO UPDATE SET
                     family = coalesce(family, excluded.family),
                     category = coalesce(category, excluded.category),
                     task = coalesce(task, excluded.task),
                     source = CASE source WHEN 'imported' THEN excluded.source ELSE source END,
                     parameter_count = coalesce(parameter_count, excluded.parameter_count),
                     multiply_adds = coalesce(multiply_adds, excluded.multiply_adds),
                     activation_count = coalesce(activation_count, excluded.activation_count)
                 RETURNING id",
            )?
            .query_row(
                named_params! {
                    ":name": model.name,
                    ":family": model.family,
                    ":category": model.category.as_ref().map(Labelled::label),
                    ":task": model.task.as_ref().map(Labelled::label),
                    ":source": model.source.label(),
                    ":parameter_count": model.parameter_count.map(u64::cast_signed),
                    ":multiply_adds": model.multiply_adds.map(u64::cast_signed),
                    ":activation_count": model.activation_count.map(u64::cast_signed),
                },
                |row| row.get(0),
            )?;
        self.models.insert(model.name.clone(), id);
        Ok(id)
    }

    pub(super) fn device(&mut self, device: &Device) -> rusqlite::Result<i64> {
        if let Some(id) = self.devices.get(device) {
            return Ok(*id);
        }
        let id = self
            .prepare(
                "INSERT INTO device (kind, vendor, name, compute_units, memory_bytes, software)
                 VALUES (:kind, :vendor, :name, :compute_units, :memory_bytes, :software)
                 ON CONFLICT (kind, vendor, name, ifnull(compute_units, -1), software) DO UPDATE SET
                     memory_bytes = coalesce(memory_bytes, excluded.memory_bytes)
                 RETURNING id",
            )?
            .query_row(
                named_params! {
                    ":kind": device.kind.label(),
                    ":vendor": device.vendor,
                    ":name": device.name,
                    ":compute_units": device.compute_units,
                    ":memory_bytes": device.memory_bytes.map(u64::cast_signed),
                    ":software": device.software,
                },
                |row| row.get(0),
            )?;
        self.devices.insert(device.clone(), id);
        Ok(id)
    }

    fn configuration(&mut self, configuration: &Configuration, model_id: i64) -> rusqlite::Result<i64> {
        if let Some(id) = self.configurations.get(configuration) {
            return Ok(*id);
        }
        let device_id = self.device(&configuration.device)?;
        let id = self
            .prepare(
                "INSERT INTO configuration (fingerprint, model_id, variant, platform, device_id, engine, precision,
                     mode, batch_size, input_shape, threads, parameters)
                 VALUES (:fingerprint, :model_id, :variant, :platform, :device_id, :engine, :precision, :mode,
                     :batch_size, :input_shape, :threads, :parameters)
                 ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint
                 RETURNING id",
            )?
            .query_row(
                named_params! {
                    ":fingerprint": configuration.fingerprint(),
                    ":model_id": model_id,
                    ":variant": configuration.variant,
                    ":platform": configuration.platform.label(),
                    ":device_id": device_id,
                    ":engine": configuration.engine,
                    ":precision": configuration.precision.label(),
                    ":mode": configuration.mode.label(),
                    ":batch_size": configuration.batch_size,
                    ":input_shape": configuration.input_shape,
                    ":threads": configuration.threads,
                    ":parameters": configuration.parameters_json(),
                },
                |row| row.get(0),
            )?;
        remember(&mut self.configurations, configuration, id);
        Ok(id)
    }

    fn environment(&mut self, environment: &Environment) -> rusqlite::Result<i64> {
        if let Some(id) = self.environments.get(environment) {
            return Ok(*id);
        }
        let id = self
            .prepare(
                "INSERT INTO environment (fingerprint, host, os, kernel, architecture, cpu_name, cpu_logical,
                     host_memory_bytes, cpu_governor, driver_version, engine_version, framework_version, tool_version,
                     tool_build, git_commit, git_dirty)
                 VALUES (:fingerprint, :host, :os, :kernel, :architecture, :cpu_name, :cpu_logical,
                     :host_memory_bytes, :cpu_governor, :driver_version, :engine_version, :framework_version,
                     :tool_version, :tool_build, :git_commit, :git_dirty)
                 ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint
                 RETURNING id",
            )?
            .query_row(
                named_params! {
                    ":fingerprint": environment.fingerprint(),
                    ":host": environment.host,
                    ":os": environment.os,
                    ":kernel": environment.kernel,
                    ":architecture": environment.architecture,
                    ":cpu_name": environment.cpu_name,
                    ":cpu_logical": environment.cpu_logical,
                    ":host_memory_bytes": environment.host_memory_bytes.map(u64::cast_signed),
                    ":cpu_governor": environment.cpu_governor,
                    ":driver_version": environment.driver_version,
                    ":engine_version": environment.engine_version,
                    ":framework_version": environment.framework_version,
                    ":tool_version": environment.tool_version,
                    ":tool_build": environment.tool_build,
                    ":git_commit": environment.git_commit,
                    ":git_dirty": environment.git_dirty,
                },
                |row| row.get(0),
            )?;
        remember(&mut self.environments, environment, id);
        Ok(id)
    }

    pub(super) fn campaign(&mut self, campaign: &Campaign) -> rusqlite::Result<i64> {
        self.stored_campaign(campaign).map(|stored| stored.id)
    }

    fn stored_campaign(&mut self, campaign: &Campaign) -> rusqlite::Result<StoredCampaign> {
        if let Some(stored) = self.campaigns.get(&campaign.uuid) {
            return Ok(*stored);
        }
        let stored = self
            .prepare(
                "INSERT INTO campaign (uuid, started_at, command_line, label, seed)
                 VALUES (:uuid, :started_at, :command_line, :label, :seed)
                 ON CONFLICT (uuid) DO UPDATE SET uuid = excluded.uuid
                 RETURNING id, EXISTS (
                     SELECT 1 FROM planned_run WHERE planned_run.campaign_id = campaign.id AND state <> 'done')",
            )?
            .query_row(
                named_params! {
                    ":uuid": campaign.uuid,
                    ":started_at": campaign.started_at,
                    ":command_line": campaign.command_line,
                    ":label": campaign.label,
                    ":seed": campaign.seed.map(u64::cast_signed),
                },
                |row| Ok(StoredCampaign { id: row.get(0)?, open: row.get(1)? }),
            )?;
        self.campaigns.insert(campaign.uuid.clone(), stored);
        Ok(stored)
    }

    fn artifact(&mut self, artifact: &Artifact, model_id: i64) -> rusqlite::Result<i64> {
        self.prepare(
            "INSERT INTO artifact (model_id, sha256, format, size_bytes, path)
             VALUES (:model_id, :sha256, :format, :size_bytes, :path)
             ON CONFLICT (model_id, sha256) DO UPDATE SET sha256 = excluded.sha256
             RETURNING id",
        )?
        .query_row(
            named_params! {
                ":model_id": model_id,
                ":sha256": artifact.sha256,
                ":format": artifact.format,
                ":size_bytes": artifact.size_bytes.cast_signed(),
                ":path": artifact.path,
            },
            |row| row.get(0),
        )
    }

    /// One column a metric; a test holds that table, `data/metrics.csv` and this statement agree.
    fn metrics(&mut self, run_id: i64, metrics: &MetricSet) -> rusqlite::Result<()> {
        if metrics.is_empty() {
            return Ok(());
        }
        let statement = &mut self.insert_metrics;
        statement.clear_bindings();
        statement.raw_bind_parameter(1, run_id)?;
        // Both are in alphabetical order.
        let mut positions = METRIC_POSITIONS.iter();
        for (name, value) in metrics.iter() {
            let (_, position) = positions
                .find(|(standard, _)| *standard == name)
                .ok_or_else(|| rusqlite::Error::InvalidParameterName(name.to_owned()))?;
            statement.raw_bind_parameter(*position, value)?;
        }
        statement.raw_execute().map(drop)
    }

    fn extra_metrics(&self, run_id: i64, metrics: &[ExtraMetric]) -> rusqlite::Result<()> {
        for metric in metrics {
            self.prepare("INSERT INTO extra_metric (run_id, name, unit, better, value) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![run_id, metric.name, metric.unit, metric.better.label(), metric.value])?;
        }
        Ok(())
    }

    fn telemetry(&self, run_id: i64, telemetry: &[TelemetrySeries]) -> rusqlite::Result<()> {
        for series in telemetry {
            self.prepare(
                "INSERT INTO telemetry_series (run_id, sensor, unit, offsets_ms, \"values\")
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                run_id,
                series.sensor,
                series.unit,
                json(&series.offsets_ms)?,
                json(&series.values)?
            ])?;
        }
        Ok(())
    }

    fn operator_times(&self, run_id: i64, operators: &[OperatorTime]) -> rusqlite::Result<()> {
        for operator in operators {
            self.prepare(
                "INSERT INTO operator_time (run_id, path, calls, total_nanoseconds, own_nanoseconds)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                run_id,
                operator.path,
                operator.calls.cast_signed(),
                operator.total_nanoseconds.cast_signed(),
                operator.own_nanoseconds.cast_signed()
            ])?;
        }
        Ok(())
    }
}

/// The standard metrics in alphabetical order, each with the number of its parameter in `insert_metrics.sql`: the order
/// of `data/metrics.csv`, after the run's id.
static METRIC_POSITIONS: LazyLock<Vec<(&str, usize)>> = LazyLock::new(|| {
    let mut positions: Vec<(&str, usize)> =
        standard_metrics().iter().enumerate().map(|(index, metric)| (metric.name.as_str(), index + 2)).collect();
    positions.sort_unstable();
    positions
});

fn remember<K: Clone + Eq + Hash>(known: &mut HashMap<K, i64>, key: &K, id: i64) {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(key.clone(), id);
}

fn json<T: serde::Serialize>(values: &[T]) -> rusqlite::Result<String> {
    serde_json::to_string(values).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
