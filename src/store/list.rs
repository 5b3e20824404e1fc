//! Reading runs back, whole.

use std::collections::{BTreeMap, HashMap};

use clap::ValueEnum;
use rusqlite::types::FromSql;
use rusqlite::{Row, Statement, ToSql, params};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Store, StoreError};
use crate::domain::label::{Labelled, label};
use crate::domain::metric::{Better, standard_metrics};
use crate::domain::run::{ExtraMetric, ModelRecord, OperatorTime, TelemetrySeries};
use crate::domain::{
    Artifact, Campaign, Configuration, Device, Environment, Measurement, MetricSet, Mode, Platform, Precision,
    RunRecord, RunStatus, SampleSeries,
};

/// Which runs are meant. Empty lists and `None` mean all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Run ids or UUIDs.
    pub runs: Vec<String>,
    /// A campaign's UUID.
    pub campaign: Option<String>,
    /// A campaign's label.
    pub label: Option<String>,
    /// Canonical names of models.
    pub models: Vec<String>,
    /// A model's variant.
    pub variant: Option<String>,
    /// Platforms.
    pub platforms: Vec<Platform>,
    /// Part of a device's name.
    pub device: Option<String>,
    /// Engines.
    pub engines: Vec<String>,
    /// Precisions.
    pub precisions: Vec<Precision>,
    /// Modes.
    pub modes: Vec<Mode>,
    /// Batch sizes.
    pub batch_sizes: Vec<u32>,
    /// How the runs ended.
    pub statuses: Vec<RunStatus>,
    /// The host that measured.
    pub host: Option<String>,
    /// The beginning of a git commit.
    pub git_commit: Option<String>,
    /// Started at this time or later, ISO-8601 UTC.
    pub since: Option<String>,
    /// Started before this time, ISO-8601 UTC.
    pub until: Option<String>,
    /// Part of the engine's or the framework's version.
    pub framework: Option<String>,
    /// Parameters of the work by name; JSON's null where the configuration must not have it.
    pub parameters: BTreeMap<String, Value>,
    /// Numbers of imports.
    pub imports: Vec<i64>,
    /// The name of a baseline whose runs are meant.
    pub baseline: Option<String>,
    /// Row ids of configurations.
    pub configurations: Vec<i64>,
}

impl Selection {
    /// Whether nothing was narrowed down.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The series that it means, with all their runs.
    pub fn of_series(&self) -> Self {
        Self {
            models: self.models.clone(),
            variant: self.variant.clone(),
            platforms: self.platforms.clone(),
            device: self.device.clone(),
            engines: self.engines.clone(),
            precisions: self.precisions.clone(),
            modes: self.modes.clone(),
            batch_sizes: self.batch_sizes.clone(),
            parameters: self.parameters.clone(),
            configurations: self.configurations.clone(),
            ..Self::default()
        }
    }

    /// Whether it says which runs of a series are meant, and not only which series.
    pub fn names_runs(&self) -> bool {
        let Self { runs, campaign, label, host, git_commit, since, until, framework, imports, baseline, .. } = self;
        !runs.is_empty()
            || !imports.is_empty()
            || [campaign, label, host, git_commit, since, until, framework, baseline].iter().any(|text| text.is_some())
    }
}

/// How much of each run is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What stands in one row: identity, status and standard metrics.
    Row,
    /// Samples, telemetry, operator times and own metrics too.
    Whole,
}

impl Store {
    /// Calls `visit` with every selected run in the order in which they were stored, one at a time.
    ///
    /// # Errors
    /// The first error of SQLite or of `visit`.
    pub fn for_each_run<E: From<StoreError>>(
        &self,
        selection: &Selection,
        detail: Detail,
        mut visit: impl FnMut(i64, RunRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut children = Children::prepare(self)?;
        let mut statement = self
            .connection
            .prepare_cached(concat!(include_str!("sql/select_runs.sql"), selection!(), "ORDER BY run.id"))
            .map_err(|source| self.fail(source))?;
        let columns = Columns::of(&statement);
        let parameters = SelectionParameters::new(selection);
        let mut rows = statement.query(parameters.bind().as_slice()).map_err(|source| self.fail(source))?;
        while let Some(row) = rows.next().map_err(|source| self.fail(source))? {
            let reader = Reader { row, columns: &columns, store: self };
            let (id, mut record) = reader.record()?;
            if detail == Detail::Whole {
                children.attach(self, id, &mut record.measurement)?;
            }
            visit(id, record)?;
        }
        Ok(())
    }

    /// Calls `visit` with every configuration that has runs, its stored fingerprint, and the UUID of one of its runs.
    ///
    /// # Errors
    /// What SQLite refuses, and a value that no program of ours wrote.
    pub(super) fn for_each_configuration(
        &self,
        mut visit: impl FnMut(Configuration, String, String),
    ) -> Result<(), StoreError> {
        let failed = |source| self.fail(source);
        let mut statement = self.connection.prepare(include_str!("sql/select_configurations.sql")).map_err(failed)?;
        let columns = Columns::of(&statement);
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let reader = Reader { row, columns: &columns, store: self };
            visit(reader.configuration()?, reader.get("fingerprint")?, reader.get("run_uuid")?);
        }
        Ok(())
    }

    /// All selected runs at once.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_runs(&self, selection: &Selection, detail: Detail) -> Result<Vec<(i64, RunRecord)>, StoreError> {
        let mut runs = Vec::new();
        self.for_each_run(selection, detail, |id, record| {
            runs.push((id, record));
            Ok::<_, StoreError>(())
        })?;
        Ok(runs)
    }
}

/// Where each column stands: SQLite looks for a name among all of them, each time it is asked.
pub(super) struct Columns {
    places: HashMap<String, usize>,
    metrics: Vec<(&'static str, usize)>,
}

impl Columns {
    pub(super) fn of(statement: &Statement<'_>) -> Self {
        let places: HashMap<String, usize> =
            statement.column_names().enumerate().map(|(place, name)| (name.to_owned(), place)).collect();
        let metrics = standard_metrics()
            .iter()
            .filter_map(|metric| places.get(&metric.name).map(|place| (metric.name.as_str(), *place)))
            .collect();
        Self { places, metrics }
    }
}

pub(super) struct Reader<'r> {
    pub(super) row: &'r Row<'r>,
    pub(super) columns: &'r Columns,
    pub(super) store: &'r Store,
}

impl Reader<'_> {
    pub(super) fn get<T: FromSql>(&self, column: &str) -> Result<T, StoreError> {
        match self.columns.places.get(column) {
            Some(place) => self.row.get(*place),
            None => Err(rusqlite::Error::InvalidColumnName(column.to_owned())),
        }
        .map_err(|source| self.store.fail(source))
    }

    fn unsigned(&self, column: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(i64::cast_unsigned))
    }

    fn optional_enum<T: Labelled>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.get::<Option<String>>(column)?
            .map(|text| T::of_label(&text).ok_or_else(|| self.bad(column, text)))
            .transpose()
    }

    pub(super) fn required_enum<T: Labelled>(&self, column: &'static str) -> Result<T, StoreError> {
        self.optional_enum(column)?.ok_or_else(|| self.bad(column, "NULL".into()))
    }

    fn bad(&self, column: &'static str, value: String) -> StoreError {
        StoreError::BadValue {
            path: self.store.path.clone(),
            run_id: self.row.get("id").unwrap_or_default(),
            column,
            value,
        }
    }

    pub(super) fn record(&self) -> Result<(i64, RunRecord), StoreError> {
        let campaign = match self.get::<Option<String>>("campaign_uuid")? {
            Some(uuid) => Some(Campaign {
                uuid,
                started_at: self.get("campaign_started_at")?,
                command_line: self.get("command_line")?,
                label: self.get("campaign_label")?,
                seed: self.unsigned("campaign_seed")?,
            }),
            None => None,
        };
        let artifact = match self.get::<Option<String>>("sha256")? {
            Some(sha256) => Some(Artifact {
                sha256,
                format: self.get("artifact_format")?,
                size_bytes: self.unsigned("size_bytes")?.unwrap_or_default(),
                path: self.get("artifact_path")?,
            }),
            None => None,
        };
        let record = RunRecord {
            uuid: self.get("uuid")?,
            campaign,
            model: self.model()?,
            configuration: self.configuration()?,
            environment: self.environment()?,
            artifact,
            weight_seed: self.unsigned("weight_seed")?,
            repetition: self.get("repetition")?,
            started_at: self.get("started_at")?,
            duration_s: self.get("duration_s")?,
            measurement: self.measurement()?,
        };
        Ok((self.get("id")?, record))
    }

    pub(super) fn model(&self) -> Result<ModelRecord, StoreError> {
        Ok(ModelRecord {
            name: self.get("model_name")?,
            family: self.get("family")?,
            category: self.optional_enum("category")?,
            task: self.optional_enum("task")?,
            source: self.required_enum("source")?,
            parameter_count: self.unsigned("parameter_count")?,
            multiply_adds: self.unsigned("multiply_adds")?,
            activation_count: self.unsigned("activation_count")?,
        })
    }

    pub(super) fn configuration(&self) -> Result<Configuration, StoreError> {
        let parameters: String = self.get("parameters")?;
        Ok(Configuration {
            model: self.get("model_name")?,
            variant: self.get("variant")?,
            platform: self.required_enum("platform")?,
            device: self.device()?,
            engine: self.get("engine")?,
            precision: self.required_enum("precision")?,
            mode: self.required_enum("mode")?,
            batch_size: self.get("batch_size")?,
            input_shape: self.get("input_shape")?,
            threads: self.get("threads")?,
            parameters: serde_json::from_str(&parameters).map_err(|_| self.bad("parameters", parameters))?,
        })
    }

    pub(super) fn device(&self) -> Result<Device, StoreError> {
        Ok(Device {
            kind: self.required_enum("device_kind")?,
            vendor: self.get("device_vendor")?,
            name: self.get("device_name")?,
            compute_units: self.get("compute_units")?,
            memory_bytes: self.unsigned("memory_bytes")?,
            software: self.get("software")?,
        })
    }

    fn environment(&self) -> Result<Environment, StoreError> {
        Ok(Environment {
            host: self.get("host")?,
            os: self.get("os")?,
            kernel: self.get("kernel")?,
            architecture: self.get("architecture")?,
            cpu_name: self.get("cpu_name")?,
            cpu_logical: self.get("cpu_logical")?,
            host_memory_bytes: self.unsigned("host_memory_bytes")?,
            cpu_governor: self.get("cpu_governor")?,
            driver_version: self.get("driver_version")?,
            engine_version: self.get("engine_version")?,
            framework_version: self.get("framework_version")?,
            tool_version: self.get("tool_version")?,
            tool_build: self.get("tool_build")?,
            git_commit: self.get("git_commit")?,
            git_dirty: self.get("git_dirty")?,
        })
    }

    fn measurement(&self) -> Result<Measurement, StoreError> {
        let mut metrics = MetricSet::default();
        for (name, place) in &self.columns.metrics {
            metrics.set_optional(name, self.row.get(*place).map_err(|source| self.store.fail(source))?);
        }
        Ok(Measurement {
            status: self.required_enum("status")?,
            validity: self.required_enum("validity")?,
            stop_reason: self.optional_enum("stop_reason")?,
            iterations: self.unsigned("iterations")?.unwrap_or_default(),
            warmup_iterations: self.unsigned("warmup_iterations")?.unwrap_or_default(),
            outlier_count: self.unsigned("outlier_count")?,
            error: self.get("error")?,
            hint: self.get("hint")?,
            metrics,
            extra_metrics: Vec::new(),
            samples: Vec::new(),
            telemetry: Vec::new(),
            operator_times: Vec::new(),
            engine_version: self.get("engine_version")?,
            framework_version: self.get("framework_version")?,
        })
    }
}

/// The statements that read what hangs on a run.
pub(super) struct Children<'s> {
    extra_metrics: Statement<'s>,
    samples: Statement<'s>,
    telemetry: Statement<'s>,
    operator_times: Statement<'s>,
}

impl<'s> Children<'s> {
    pub(super) fn prepare(store: &'s Store) -> Result<Self, StoreError> {
        let prepare = |sql| store.connection.prepare(sql).map_err(|source| store.fail(source));
        Ok(Self {
            extra_metrics: prepare(
                "SELECT name, unit, better, value FROM extra_metric WHERE run_id = ?1 ORDER BY name",
            )?,
            samples: prepare("SELECT phase, nanoseconds FROM sample_series WHERE run_id = ?1 ORDER BY rowid")?,
            telemetry: prepare(
                "SELECT sensor, unit, offsets_ms, \"values\" FROM telemetry_series WHERE run_id = ?1 ORDER BY rowid",
            )?,
            operator_times: prepare(
                "SELECT path, calls, total_nanoseconds, own_nanoseconds FROM operator_time WHERE run_id = ?1
                 ORDER BY path",
            )?,
        })
    }

    pub(super) fn attach(
        &mut self,
        store: &Store,
        run_id: i64,
        measurement: &mut Measurement,
    ) -> Result<(), StoreError> {
        let failed = |source| store.fail(source);
        measurement.extra_metrics = self
            .extra_metrics
            .query_map(params![run_id], |row| {
                Ok(ExtraMetric {
                    name: row.get(0)?,
                    unit: row.get(1)?,
                    better: Better::of_label(&row.get::<_, String>(2)?).unwrap_or(Better::None),
                    value: row.get(3)?,
                })
            })
            .and_then(Iterator::collect)
            .map_err(failed)?;
        measurement.samples = self
            .samples
            .query_map(params![run_id], |row| Ok(SampleSeries { phase: row.get(0)?, nanoseconds: from_json(row, 1)? }))
            .and_then(Iterator::collect)
            .map_err(failed)?;
        measurement.telemetry = self
            .telemetry
            .query_map(params![run_id], |row| {
                Ok(TelemetrySeries {
                    sensor: row.get(0)?,
                    unit: row.get(1)?,
                    offsets_ms: from_json(row, 2)?,
                    values: from_json(row, 3)?,
                })
            })
            .and_then(Iterator::collect)
            .map_err(failed)?;
        measurement.operator_times = self
            .operator_times
            .query_map(params![run_id], |row| {
                Ok(OperatorTime {
                    path: row.get(0)?,
                    calls: row.get::<_, i64>(1)?.cast_unsigned(),
                    total_nanoseconds: row.get::<_, i64>(2)?.cast_unsigned(),
                    own_nanoseconds: row.get::<_, i64>(3)?.cast_unsigned(),
                })
            })
            .and_then(Iterator::collect)
            .map_err(failed)?;
        Ok(())
    }
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into()))
}

/// A list as a JSON array of its members, or `None` where it is empty.
pub(super) fn json_list<T: serde::Serialize>(list: &[T]) -> Option<String> {
    if list.is_empty() {
        return None;
    }
    serde_json::to_string(list).ok()
}

fn json_labels<T: ValueEnum>(list: &[T]) -> Option<String> {
    json_list(&list.iter().map(label).collect::<Vec<_>>())
}

/// A selection as the parameters of `selection!`.
pub(super) struct SelectionParameters(Vec<(&'static str, Box<dyn ToSql>)>);

impl SelectionParameters {
    pub(super) fn new(selection: &Selection) -> Self {
        let parameters =
            (!selection.parameters.is_empty()).then(|| Value::from_iter(selection.parameters.clone()).to_string());
        Self(vec![
            (":runs", Box::new(json_list(&selection.runs))),
            (":campaign", Box::new(selection.campaign.clone())),
            (":label", Box::new(selection.label.clone())),
            (":models", Box::new(json_list(&selection.models))),
            (":variant", Box::new(selection.variant.clone())),
            (":platforms", Box::new(json_labels(&selection.platforms))),
            (":device", Box::new(selection.device.clone())),
            (":engines", Box::new(json_list(&selection.engines))),
            (":precisions", Box::new(json_labels(&selection.precisions))),
            (":modes", Box::new(json_labels(&selection.modes))),
            (":batch_sizes", Box::new(json_list(&selection.batch_sizes))),
            (":statuses", Box::new(json_labels(&selection.statuses))),
            (":host", Box::new(selection.host.clone())),
            (":git_commit", Box::new(selection.git_commit.clone())),
            (":since", Box::new(selection.since.clone())),
            (":until", Box::new(selection.until.clone())),
            (":framework", Box::new(selection.framework.clone())),
            (":parameters", Box::new(parameters)),
            (":imports", Box::new(json_list(&selection.imports))),
            (":baseline", Box::new(selection.baseline.clone())),
            (":configurations", Box::new(json_list(&selection.configurations))),
        ])
    }

    pub(super) fn bind(&self) -> Vec<(&str, &dyn ToSql)> {
        self.0.iter().map(|(name, value)| (*name, value.as_ref())).collect()
    }
}
