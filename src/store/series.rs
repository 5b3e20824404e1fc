//! Reading series: a few numbers of many runs, one configuration after the other.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Row, params};

use super::list::{Selection, SelectionParameters, json_list};
use super::{Store, StoreError};
use crate::domain::label::{Labelled as _, parse_label};
use crate::domain::time::milliseconds;
use crate::domain::{Environment, Identity, Metric, Part, RunGroup, RunStatus, Series, SeriesRun, SeriesSet, Validity};

impl Store {
    /// The selected runs as series, with these metrics. A run that is not ok is there, too, without numbers.
    ///
    /// # Errors
    /// What SQLite refuses, and texts in the database that no benchdb wrote.
    pub fn read_series(&self, selection: &Selection, metrics: Vec<&'static Metric>) -> Result<SeriesSet, StoreError> {
        let mut series = Vec::new();
        let environments = self.for_each_series(selection, &metrics, |one| {
            series.push(one);
            Ok::<_, StoreError>(())
        })?;
        Ok(SeriesSet { metrics, series, environments })
    }

    /// Calls `visit` with every selected series, whole, one at a time. Answers the environments that their runs point to.
    ///
    /// # Errors
    /// What SQLite refuses, texts in the database that no benchdb wrote, and the first error of `visit`.
    pub fn for_each_series<E: From<StoreError>>(
        &self,
        selection: &Selection,
        metrics: &[&'static Metric],
        mut visit: impl FnMut(Series) -> Result<(), E>,
    ) -> Result<Vec<Environment>, E> {
        let failed = |source| self.fail(source);
        // The runs of a campaign or of a commit are few of all: they are found by themselves.
        let found = if selection.names_runs() { self.find_few_runs(selection)? } else { None };
        let sql = match found {
            Some(_) => concat!(
                include_str!("sql/select_series.sql"),
                include_str!("sql/series_of_runs.sql"),
                "ORDER BY configuration.id, run.started_at, run.id"
            ),
            None => concat!(
                include_str!("sql/select_series.sql"),
                include_str!("sql/series_of_selection.sql"),
                selection!(),
                "ORDER BY configuration.id, run.started_at, run.id"
            ),
        };
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        // By number: a name is looked up by comparing it with all.
        let at = |name: &str| statement.column_index(name).map_err(failed);
        let columns: Vec<usize> = metrics.iter().map(|metric| at(&metric.name)).collect::<Result<_, _>>()?;
        let series_columns = SeriesColumns {
            parts: Part::all().iter().map(|part| at(part.label())).collect::<Result<_, _>>()?,
            device_kind: at("device_kind")?,
            compute_units: at("compute_units")?,
            software: at("software")?,
        };
        let run_columns = RunColumns {
            id: at("id")?,
            uuid: at("uuid")?,
            campaign: at("campaign_id")?,
            import: at("import_batch_id")?,
            started_at: at("started_at")?,
            environment: at("environment_id")?,
            iterations: at("iterations")?,
            validity: at("validity")?,
            status: at("status")?,
        };
        let mut environments: HashMap<i64, usize> = HashMap::new();
        let parameters = SelectionParameters::new(selection);
        let mut rows = match &found {
            Some(ids) => statement.query(&[(":ids", ids)]),
            None => statement.query(parameters.bind().as_slice()),
        }
        .map_err(failed)?;
        let mut current: Option<Series> = None;
        let mut values = Vec::with_capacity(columns.len());
        while let Some(row) = rows.next().map_err(failed)? {
            let configuration: i64 = row.get(0).map_err(failed)?;
            let mut series = match current.take() {
                Some(series) if series.configuration_id == Some(configuration) => series,
                other => {
                    if let Some(mut done) = other {
                        done.order_without_times();
                        visit(done)?;
                    }
                    self.series_of(configuration, row, &series_columns)?
                }
            };
            let next = environments.len();
            let run = run_columns.read(row, |id| *environments.entry(id).or_insert(next)).map_err(failed)?;
            let run = run.map_err(|(name, column)| self.bad_value(row, run_columns.id, name, column))?;
            values.clear();
            for &column in &columns {
                values.push(row.get::<_, Option<f64>>(column).map_err(failed)?.unwrap_or(f64::NAN));
            }
            series.push(run, values.iter().copied());
            current = Some(series);
        }
        if let Some(mut done) = current {
            done.order_without_times();
            visit(done)?;
        }
        let mut found = vec![Environment::default(); environments.len()];
        for (id, index) in environments {
            found[index] = self.environment(id).map_err(failed)?;
        }
        Ok(found)
    }

    /// The runs that were made together with the newest run of a selection: narrowed down to its campaign, its import, or
    /// to itself where it belongs to nothing. `None` where nothing is selected.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn newest_together(&self, selection: &Selection) -> Result<Option<Selection>, StoreError> {
        let parameters = SelectionParameters::new(selection);
        self.connection
            .prepare_cached(concat!(
                include_str!("sql/select_newest.sql"),
                selection!(),
                "ORDER BY run.id DESC LIMIT 1"
            ))
            .and_then(|mut statement| {
                statement
                    .query_row(parameters.bind().as_slice(), |row| {
                        let mut together = selection.clone();
                        match (row.get::<_, Option<String>>("campaign")?, row.get::<_, Option<i64>>("import")?) {
                            (Some(campaign), _) => together.campaign = Some(campaign),
                            (None, Some(import)) => together.imports = vec![import],
                            (None, None) => together.runs = vec![row.get::<_, i64>("id")?.to_string()],
                        }
                        Ok(together)
                    })
                    .optional()
            })
            .map_err(|source| self.fail(source))
    }

    /// The newest run of a selection that kept its iterations, or readings of sensors. `None` where there is none.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn newest_run_with(&self, selection: &Selection, kept: Kept) -> Result<Option<i64>, StoreError> {
        let parameters = SelectionParameters::new(selection);
        let sql = match kept {
            Kept::Samples => concat!(
                include_str!("sql/select_newest.sql"),
                selection!(),
                "AND EXISTS (SELECT 1 FROM sample_series WHERE run_id = run.id AND phase = 'iteration')
                 ORDER BY run.id DESC LIMIT 1"
            ),
            Kept::Telemetry => concat!(
                include_str!("sql/select_newest.sql"),
                selection!(),
                "AND EXISTS (SELECT 1 FROM telemetry_series WHERE run_id = run.id) ORDER BY run.id DESC LIMIT 1"
            ),
        };
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(parameters.bind().as_slice(), |row| row.get("id")).optional())
            .map_err(|source| self.fail(source))
    }

    fn series_of(&self, configuration: i64, row: &Row<'_>, columns: &SeriesColumns) -> Result<Series, StoreError> {
        let failed = |source| self.fail(source);
        let mut identity = Identity::default();
        for (part, column) in Part::all().iter().zip(&columns.parts) {
            let text = match part {
                Part::BatchSize | Part::Threads => row.get::<_, i64>(*column).map_err(failed)?.to_string(),
                _ => row.get(*column).map_err(failed)?,
            };
            identity.set(*part, text);
        }
        let kind: String = row.get(columns.device_kind).map_err(failed)?;
        let mut series = Series::new(Some(configuration), identity);
        series.device_kind = parse_label(&kind);
        series.compute_units = row.get(columns.compute_units).map_err(failed)?;
        series.software = row.get(columns.software).map_err(failed)?;
        Ok(series)
    }

    fn bad_value(&self, row: &Row<'_>, id: usize, column: &'static str, index: usize) -> StoreError {
        StoreError::BadValue {
            path: self.path.clone(),
            run_id: row.get(id).unwrap_or_default(),
            column,
            value: row.get(index).unwrap_or_default(),
        }
    }

    fn environment(&self, id: i64) -> rusqlite::Result<Environment> {
        self.connection.prepare_cached("SELECT * FROM environment WHERE id = ?1")?.query_row([id], |row| {
            Ok(Environment {
                host: row.get("host")?,
                os: row.get("os")?,
                kernel: row.get("kernel")?,
                architecture: row.get("architecture")?,
                cpu_name: row.get("cpu_name")?,
                cpu_logical: row.get("cpu_logical")?,
                host_memory_bytes: row.get::<_, Option<i64>>("host_memory_bytes")?.map(i64::cast_unsigned),
                cpu_governor: row.get("cpu_governor")?,
                driver_version: row.get("driver_version")?,
                engine_version: row.get("engine_version")?,
                framework_version: row.get("framework_version")?,
                tool_version: row.get("tool_version")?,
                tool_build: row.get("tool_build")?,
                git_commit: row.get("git_commit")?,
                git_dirty: row.get("git_dirty")?,
            })
        })
    }

    /// The iterations of these runs in milliseconds, by run id. A run without samples is not there.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn read_iterations(&self, runs: &[i64]) -> Result<HashMap<i64, Vec<f64>>, StoreError> {
        let failed = |source| self.fail(source);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT run_id, nanoseconds FROM sample_series
                 WHERE phase = 'iteration' AND run_id IN (SELECT value FROM json_each(?1))",
            )
            .map_err(failed)?;
        let mut rows = statement.query(params![json_list(runs).unwrap_or_else(|| "[]".into())]).map_err(failed)?;
        let mut iterations = HashMap::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let nanoseconds: Vec<u64> = super::list::from_json(row, 1).map_err(failed)?;
            let run: i64 = row.get(0).map_err(failed)?;
            iterations.insert(run, nanoseconds.into_iter().map(|time| time as f64 / 1e6).collect());
        }
        Ok(iterations)
    }
}

/// What a run may have kept beside its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The time of each iteration.
    Samples,
    /// Readings of sensors.
    Telemetry,
}

/// Where the columns of a configuration stand.
struct SeriesColumns {
    /// In the order of [`Part::all`].
    parts: Vec<usize>,
    device_kind: usize,
    compute_units: usize,
    software: usize,
}

/// Where the columns of a run stand.
struct RunColumns {
    id: usize,
    uuid: usize,
    campaign: usize,
    import: usize,
    started_at: usize,
    environment: usize,
    iterations: usize,
    validity: usize,
    status: usize,
}

/// A run, or the name and the place of the column that cannot be read.
type ReadRun = Result<SeriesRun, (&'static str, usize)>;

impl RunColumns {
    /// The run; the column, with its place, whose word no benchdb wrote.
    fn read(&self, row: &Row<'_>, environment: impl FnOnce(i64) -> usize) -> rusqlite::Result<ReadRun> {
        let Some(validity) = Validity::of_label(row.get_ref(self.validity)?.as_str()?) else {
            return Ok(Err(("validity", self.validity)));
        };
        let Some(status) = RunStatus::of_label(row.get_ref(self.status)?.as_str()?) else {
            return Ok(Err(("status", self.status)));
        };
        let campaign: Option<i64> = row.get(self.campaign)?;
        let import: Option<i64> = row.get(self.import)?;
        let started_at = row.get_ref(self.started_at)?.as_str_or_null()?;
        Ok(Ok(SeriesRun {
            run_id: Some(row.get(self.id)?),
            uuid: uuid::Uuid::parse_str(row.get_ref(self.uuid)?.as_str()?).ok().map(|uuid| uuid.as_u128()),
            group: match (campaign, import) {
                (Some(campaign), _) => RunGroup::Campaign(campaign),
                (None, Some(import)) => RunGroup::Import(import),
                (None, None) => RunGroup::Alone,
            },
            started_at_ms: started_at.and_then(milliseconds),
            environment: environment(row.get(self.environment)?),
            iterations: row.get::<_, i64>(self.iterations)?.cast_unsigned(),
            validity,
            status,
        }))
    }
}
