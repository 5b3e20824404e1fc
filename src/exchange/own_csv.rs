//! benchdb's CSV: one row a run, the columns of the view `results`. Samples, telemetry and what `results` does not show
//! (the device's vendor and size, the host's details) are not in it: JSON carries those.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};
use std::rc::Rc;

use clap::ValueEnum;
use csv::StringRecord;

use super::head::{lines_behind, pass_mark};
use super::{ExchangeError, Exporter, Head, Importer, Sink};
use crate::domain::label::{label, parse_label};
use crate::domain::metric::standard_metrics;
use crate::domain::run::{ModelRecord, ModelSource};
use crate::domain::{
    Campaign, Configuration, Device, Environment, ImportItem, Measurement, MetricSet, Refusal, RunRecord, RunStatus,
    Validity,
};

/// Columns before the standard metrics, in the order of the view.
pub(super) const IDENTITY: [&str; 30] = [
    "run_id",
    "run_uuid",
    "campaign_uuid",
    "label",
    "started_at",
    "model",
    "variant",
    "category",
    "platform",
    "device",
    "device_kind",
    "software",
    "engine",
    "engine_version",
    "framework_version",
    "driver_version",
    "precision",
    "mode",
    "method",
    "batch_size",
    "input_shape",
    "threads",
    "parameters",
    "status",
    "validity",
    "host",
    "git_commit",
    "tool_version",
    "iterations",
    "error",
];

/// Columns without which a row is no run of ours.
const REQUIRED: [&str; 10] =
    ["run_uuid", "model", "platform", "device", "device_kind", "engine", "precision", "mode", "batch_size", "status"];

/// Reads and writes the CSV export.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnCsv;

impl Exporter for OwnCsv {
    fn begin(&mut self, out: &mut dyn Write) -> Result<(), ExchangeError> {
        let names = standard_metrics().iter().map(|metric| metric.name.as_str());
        row(out, IDENTITY.into_iter().chain(names))
    }

    fn write(&mut self, out: &mut dyn Write, run_id: i64, record: &RunRecord) -> Result<(), ExchangeError> {
        let RunRecord { configuration, environment, measurement, campaign, .. } = record;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let identity = [
            run_id.to_string(),
            record.uuid.clone(),
            campaign.as_ref().map(|campaign| campaign.uuid.clone()).unwrap_or_default(),
            campaign.as_ref().and_then(|campaign| campaign.label.clone()).unwrap_or_default(),
            text(&record.started_at),
            configuration.model.clone(),
            configuration.variant.clone(),
            record.model.category.as_ref().map(label).unwrap_or_default(),
            label(&configuration.platform),
            configuration.device.name.clone(),
            label(&configuration.device.kind),
            u8::from(configuration.device.software).to_string(),
            configuration.engine.clone(),
            text(&environment.engine_version),
            text(&environment.framework_version),
            text(&environment.driver_version),
            label(&configuration.precision),
            label(&configuration.mode),
            configuration.method().to_owned(),
            configuration.batch_size.to_string(),
            configuration.input_shape.clone(),
            configuration.threads.to_string(),
            configuration.parameters_json(),
            label(&measurement.status),
            label(&measurement.validity),
            text(&environment.host),
            text(&environment.git_commit),
            text(&environment.tool_version),
            measurement.iterations.to_string(),
            text(&measurement.error),
        ];
        let metrics = standard_metrics()
            .iter()
            .map(|metric| measurement.metrics.get(&metric.name).map(|value| value.to_string()).unwrap_or_default());
        row(out, identity.into_iter().chain(metrics))
    }

    fn end(&mut self, _: &mut dyn Write) -> Result<(), ExchangeError> {
        Ok(())
    }
}

fn row(out: &mut dyn Write, cells: impl Iterator<Item = impl AsRef<[u8]>>) -> Result<(), ExchangeError> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(cells)?;
    Ok(writer.flush()?)
}

impl<E: From<ExchangeError>> Importer<E> for OwnCsv {
    fn format(&self) -> &'static str {
        "benchdb-csv"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        csv::Reader::from_reader(head.bytes).headers().is_ok_and(|header| {
            ["run_uuid", "model", "engine"].iter().all(|name| header.iter().any(|column| column.trim() == *name))
        })
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let failed = |source| ExchangeError::Read { path: path.to_owned(), source };
        pass_mark(content).map_err(failed)?;
        let behind = lines_behind(content.fill_buf().map_err(failed)?);
        let mut reader = csv::ReaderBuilder::new().flexible(true).buffer_capacity(1 << 16).from_reader(content);
        let header = reader.headers().map_err(|error| unreadable(path, error))?.clone();
        let mut columns = Columns::new(&header, path)?;
        let mut record = StringRecord::new();
        loop {
            let line = reader.position().line() + behind;
            let item = match reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true) => match columns.run(&record) {
                    Ok(run) => ImportItem::Run(Box::new(run)),
                    Err(reason) => ImportItem::Refused(Refusal { line, reason }),
                },
                Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                    ImportItem::Refused(Refusal { line, reason: "it is not UTF-8".to_owned() })
                }
                Err(error) => return Err(unreadable(path, error).into()),
            };
            sink(item)?;
        }
        Ok(columns.notes())
    }
}

/// What a table that cannot be read further is to the reader's user.
pub(super) fn unreadable(path: &str, error: csv::Error) -> ExchangeError {
    let path = path.to_owned();
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(source) => ExchangeError::Read { path, source },
        csv::ErrorKind::Utf8 { .. } => ExchangeError::Malformed { path, line, reason: "it is not UTF-8".to_owned() },
        _ => ExchangeError::Malformed { path, line, reason: "it is no table".to_owned() },
    }
}

/// A column, and where it stands if the table has it.
#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    at: Option<usize>,
}

/// What neighbouring rows share: parsed once for each wording of its cells.
struct Shared {
    model: ModelRecord,
    configuration: Configuration,
    environment: Environment,
    status: RunStatus,
    validity: Validity,
}

/// How many of them are kept; a table has as many as it has configurations.
const SHARED_LIMIT: usize = 8192;

/// The columns that every row has for itself; the others make up a [`Shared`].
const OWN: [&str; 7] = ["run_id", "run_uuid", "campaign_uuid", "label", "started_at", "iterations", "error"];

/// Where each column stands, found once; and what was parsed before.
struct Columns {
    at: HashMap<&'static str, usize>,
    own: OwnColumns,
    /// In alphabetical order, in which a set of metrics is made fastest.
    metrics: Vec<(&'static str, usize)>,
    values: Vec<(&'static str, f64)>,
    shared_at: Vec<usize>,
    shared: HashMap<Box<[u8]>, Rc<Shared>>,
    key: Vec<u8>,
    count: usize,
    unknown: Vec<String>,
}

/// The columns that every row has for itself.
struct OwnColumns {
    run_uuid: Column,
    campaign_uuid: Column,
    label: Column,
    started_at: Column,
    iterations: Column,
    error: Column,
}

impl Columns {
    fn new(header: &StringRecord, path: &str) -> Result<Self, ExchangeError> {
        let names: Vec<&str> = header.iter().map(str::trim).collect();
        if let Some(twice) = names.iter().find(|name| names.iter().filter(|other| other == name).count() > 1) {
            return Err(ExchangeError::Malformed {
                path: path.to_owned(),
                line: 1,
                reason: format!("the column `{twice}` is there twice"),
            });
        }
        let place = |name: &str| names.iter().position(|column| *column == name);
        let missing: Vec<&str> = REQUIRED.into_iter().filter(|&name| place(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(ExchangeError::MissingColumns { path: path.to_owned(), columns: missing.join(", ") });
        }
        let column = |name| Column { name, at: place(name) };
        let mut metrics: Vec<(&str, usize)> =
            standard_metrics().iter().filter_map(|metric| Some((metric.name.as_str(), place(&metric.name)?))).collect();
        metrics.sort_unstable();
        let known =
            |name: &str| IDENTITY.contains(&name) || standard_metrics().iter().any(|metric| metric.name == name);
        Ok(Self {
            at: IDENTITY.into_iter().filter_map(|name| Some((name, place(name)?))).collect(),
            own: OwnColumns {
                run_uuid: column("run_uuid"),
                campaign_uuid: column("campaign_uuid"),
                label: column("label"),
                started_at: column("started_at"),
                iterations: column("iterations"),
                error: column("error"),
            },
            metrics,
            values: Vec::new(),
            shared_at: IDENTITY.into_iter().filter(|name| !OWN.contains(name)).filter_map(place).collect(),
            shared: HashMap::new(),
            key: Vec::new(),
            count: header.len(),
            unknown: names.into_iter().filter(|name| !known(name)).map(str::to_owned).collect(),
        })
    }

    fn notes(&self) -> Vec<String> {
        if self.unknown.is_empty() {
            return Vec::new();
        }
        vec![format!("columns that benchdb does not know were passed over: {}", self.unknown.join(", "))]
    }

    fn run(&mut self, record: &StringRecord) -> Result<RunRecord, String> {
        if record.len() != self.count {
            return Err(format!("it has {} fields, the header has {}", record.len(), self.count));
        }
        let shared = self.shared(record)?;
        let cells = Cells { record };
        let own = &self.own;
        let (status, validity) = (shared.status, shared.validity);
        self.values.clear();
        for &(name, at) in &self.metrics {
            let text = record.get(at).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            // Blanks around a number are rare, and are looked for where there may be some.
            let value = match text.parse() {
                Ok(value) => Some(value),
                Err(_) => cells.number::<f64>(Column { name, at: Some(at) })?,
            };
            if let Some(value) = value {
                if !value.is_finite() {
                    return Err(format!("`{name}` is {value}, not a number that was measured"));
                }
                self.values.push((name, value));
            }
        }
        let metrics: MetricSet = self.values.iter().copied().collect();
        let started_at = cells.optional(own.started_at).map(str::to_owned);
        let run = RunRecord {
            uuid: cells.required(own.run_uuid)?.to_owned(),
            campaign: cells.optional(own.campaign_uuid).map(|uuid| Campaign {
                uuid: uuid.to_owned(),
                started_at: started_at.clone().unwrap_or_default(),
                command_line: String::new(),
                label: cells.optional(own.label).map(str::to_owned),
                seed: None,
            }),
            model: shared.model.clone(),
            configuration: shared.configuration.clone(),
            environment: shared.environment.clone(),
            artifact: None,
            weight_seed: None,
            repetition: 1,
            started_at,
            duration_s: None,
            measurement: Measurement {
                validity,
                stop_reason: None,
                iterations: cells.number(own.iterations)?.unwrap_or(0),
                error: cells
                    .optional(own.error)
                    .or_else(|| (status != RunStatus::Ok).then_some("the file does not say why"))
                    .map(str::to_owned),
                metrics,
                ..Measurement::without_numbers(status, String::new(), None)
            },
        };
        run.validate()?;
        Ok(run)
    }

    /// The part of a row that others share; cells of the same wording are parsed once.
    fn shared(&mut self, record: &StringRecord) -> Result<Rc<Shared>, String> {
        self.key.clear();
        for &at in &self.shared_at {
            self.key.extend_from_slice(record.get(at).unwrap_or_default().as_bytes());
            // A byte that UTF-8 does not have.
            self.key.push(0xFF);
        }
        if let Some(shared) = self.shared.get(self.key.as_slice()) {
            return Ok(Rc::clone(shared));
        }
        let shared = Rc::new(self.parse_shared(&Cells { record })?);
        if self.shared.len() >= SHARED_LIMIT {
            self.shared.clear();
        }
        self.shared.insert(self.key.as_slice().into(), Rc::clone(&shared));
        Ok(shared)
    }

    fn parse_shared(&self, cells: &Cells<'_>) -> Result<Shared, String> {
        let column = |name| Column { name, at: self.at.get(name).copied() };
        let optional = |name| cells.optional(column(name)).map(str::to_owned);
        let required = |name| cells.required(column(name)).map(str::to_owned);
        let parameters: BTreeMap<String, serde_json::Value> = match cells.optional(column("parameters")) {
            Some(text) => {
                serde_json::from_str(text).map_err(|_| format!("`parameters` is `{text}`, not a JSON object"))?
            }
            None => BTreeMap::new(),
        };
        let configuration = Configuration {
            model: required("model")?,
            variant: optional("variant").unwrap_or_default(),
            platform: cells.labelled(column("platform"))?,
            device: Device {
                kind: cells.labelled(column("device_kind"))?,
                vendor: String::new(),
                name: required("device")?,
                compute_units: None,
                memory_bytes: None,
                software: cells.flag(column("software"))?,
            },
            engine: required("engine")?,
            precision: cells.labelled(column("precision"))?,
            mode: cells.labelled(column("mode"))?,
            batch_size: cells.number(column("batch_size"))?.ok_or("`batch_size` is empty")?,
            input_shape: optional("input_shape").unwrap_or_default(),
            threads: cells.number(column("threads"))?.unwrap_or(0),
            parameters,
        };
        if let Some(method) = optional("method").filter(|method| method != configuration.method()) {
            return Err(format!("`method` is `{method}`, but `parameters` does not say so"));
        }
        let status: RunStatus = cells.labelled(column("status"))?;
        Ok(Shared {
            validity: match cells.optional(column("validity")) {
                Some(_) => cells.labelled(column("validity"))?,
                None if status == RunStatus::Ok => Validity::Valid,
                None => Validity::NotMeasured,
            },
            status,
            model: ModelRecord {
                name: configuration.model.clone(),
                family: None,
                category: match cells.optional(column("category")) {
                    Some(_) => Some(cells.labelled(column("category"))?),
                    None => None,
                },
                task: None,
                source: ModelSource::Imported,
                parameter_count: None,
                multiply_adds: None,
                activation_count: None,
            },
            environment: Environment {
                host: optional("host"),
                driver_version: optional("driver_version"),
                engine_version: optional("engine_version"),
                framework_version: optional("framework_version"),
                tool_version: optional("tool_version"),
                git_commit: optional("git_commit"),
                ..Environment::default()
            },
            configuration,
        })
    }
}

/// The cells of one row.
struct Cells<'c> {
    record: &'c StringRecord,
}

impl<'c> Cells<'c> {
    fn optional(&self, column: Column) -> Option<&'c str> {
        self.record.get(column.at?).filter(|text| !text.trim().is_empty())
    }

    fn required(&self, column: Column) -> Result<&'c str, String> {
        self.optional(column).ok_or_else(|| format!("`{}` is empty", column.name))
    }

    fn labelled<T: ValueEnum>(&self, column: Column) -> Result<T, String> {
        let text = self.required(column)?;
        parse_label(text.trim()).ok_or_else(|| {
            let known: Vec<String> = T::value_variants().iter().map(label).collect();
            format!("`{}` is `{text}`, not one of {}", column.name, known.join(", "))
        })
    }

    fn flag(&self, column: Column) -> Result<bool, String> {
        match self.optional(column).unwrap_or_default().trim().to_lowercase().as_str() {
            "" | "0" | "false" => Ok(false),
            "1" | "true" => Ok(true),
            other => Err(format!("`{}` is `{other}`, not 0 or 1", column.name)),
        }
    }

    fn number<T: std::str::FromStr>(&self, column: Column) -> Result<Option<T>, String> {
        self.optional(column)
            .map(|text| text.trim().parse().map_err(|_| format!("`{}` is `{text}`, not a number", column.name)))
            .transpose()
    }
}
