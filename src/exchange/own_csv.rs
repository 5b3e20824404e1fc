//! benchdb's CSV: one row a run, the columns of the view `results`. Samples, telemetry and what `results` does not show
//! (the device's vendor and size, the host's details) are not in it: JSON carries those.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use clap::ValueEnum;
use csv::StringRecord;

use super::{Content, ExchangeError, Exporter, Importer, Sink};
use crate::domain::label::{label, parse_label};
use crate::domain::metric::standard_metrics;
use crate::domain::run::{ModelRecord, ModelSource};
use crate::domain::{
    Campaign, Configuration, Device, Environment, ImportItem, Measurement, MetricSet, Refusal, RunRecord, RunStatus,
    Validity,
};

/// Columns before the standard metrics, in the order of the view.
const IDENTITY: [&str; 30] = [
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

    fn recognises(&self, content: Content<'_>) -> bool {
        let bytes = content.bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content.bytes);
        csv::Reader::from_reader(bytes).headers().is_ok_and(|header| {
            ["run_uuid", "model", "engine"].iter().all(|name| header.iter().any(|column| column.trim() == *name))
        })
    }

    fn read(&self, content: Content<'_>, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let bytes = content.bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content.bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let header = reader.headers().map_err(|error| malformed(content.path, &error))?.clone();
        let columns = Columns::new(&header, content.path)?;
        let mut record = StringRecord::new();
        loop {
            let line = reader.position().line();
            let item = match reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {
                    let line = record.position().map_or(line, csv::Position::line);
                    match columns.run(&record) {
                        Ok(run) => ImportItem::Run(Box::new(run)),
                        Err(reason) => ImportItem::Refused(Refusal { line, reason }),
                    }
                }
                Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                    ImportItem::Refused(Refusal { line, reason: "it is not UTF-8".to_owned() })
                }
                Err(error) => return Err(malformed(content.path, &error).into()),
            };
            sink(item)?;
        }
        Ok(columns.notes())
    }
}

fn malformed(path: &str, error: &csv::Error) -> ExchangeError {
    ExchangeError::Malformed {
        path: path.to_owned(),
        line: error.position().map_or(1, csv::Position::line),
        reason: error.to_string(),
    }
}

/// Where each column stands.
struct Columns {
    at: HashMap<String, usize>,
    count: usize,
    unknown: Vec<String>,
}

impl Columns {
    fn new(header: &StringRecord, path: &str) -> Result<Self, ExchangeError> {
        let at: HashMap<String, usize> =
            header.iter().enumerate().map(|(index, name)| (name.trim().to_owned(), index)).collect();
        if let Some(twice) =
            header.iter().map(str::trim).find(|name| header.iter().filter(|other| other.trim() == *name).count() > 1)
        {
            return Err(ExchangeError::Malformed {
                path: path.to_owned(),
                line: 1,
                reason: format!("the column `{twice}` is there twice"),
            });
        }
        let missing: Vec<&str> = REQUIRED.into_iter().filter(|&name| !at.contains_key(name)).collect();
        if !missing.is_empty() {
            return Err(ExchangeError::MissingColumns { path: path.to_owned(), columns: missing.join(", ") });
        }
        let known =
            |name: &str| IDENTITY.contains(&name) || standard_metrics().iter().any(|metric| metric.name == name);
        let unknown = header.iter().map(str::trim).filter(|name| !known(name)).map(str::to_owned).collect();
        Ok(Self { count: header.len(), at, unknown })
    }

    fn notes(&self) -> Vec<String> {
        if self.unknown.is_empty() {
            return Vec::new();
        }
        vec![format!("columns that benchdb does not know were passed over: {}", self.unknown.join(", "))]
    }

    fn run(&self, record: &StringRecord) -> Result<RunRecord, String> {
        if record.len() != self.count {
            return Err(format!("it has {} fields, the header has {}", record.len(), self.count));
        }
        let cells = Cells { columns: self, record };
        let status: RunStatus = cells.labelled("status")?;
        let validity = match cells.optional("validity") {
            Some(_) => cells.labelled("validity")?,
            None if status == RunStatus::Ok => Validity::Valid,
            None => Validity::NotMeasured,
        };
        let mut metrics = MetricSet::default();
        for metric in standard_metrics() {
            if let Some(value) = cells.number::<f64>(&metric.name)? {
                if !value.is_finite() {
                    return Err(format!("`{}` is {value}, not a number that was measured", metric.name));
                }
                metrics.set(&metric.name, value);
            }
        }
        let run = RunRecord {
            uuid: cells.required("run_uuid")?,
            campaign: cells.optional("campaign_uuid").map(|uuid| Campaign {
                uuid,
                started_at: cells.optional("started_at").unwrap_or_default(),
                command_line: String::new(),
                label: cells.optional("label"),
                seed: None,
            }),
            model: ModelRecord {
                name: cells.required("model")?,
                family: None,
                category: match cells.optional("category") {
                    Some(_) => Some(cells.labelled("category")?),
                    None => None,
                },
                task: None,
                source: ModelSource::Imported,
                parameter_count: None,
                multiply_adds: None,
                activation_count: None,
            },
            configuration: cells.configuration()?,
            environment: Environment {
                host: cells.optional("host"),
                driver_version: cells.optional("driver_version"),
                engine_version: cells.optional("engine_version"),
                framework_version: cells.optional("framework_version"),
                tool_version: cells.optional("tool_version"),
                git_commit: cells.optional("git_commit"),
                ..Environment::default()
            },
            artifact: None,
            weight_seed: None,
            repetition: 1,
            started_at: cells.optional("started_at"),
            duration_s: None,
            measurement: Measurement {
                validity,
                stop_reason: None,
                iterations: cells.number("iterations")?.unwrap_or(0),
                error: cells
                    .optional("error")
                    .or_else(|| (status != RunStatus::Ok).then(|| "the file does not say why".to_owned())),
                metrics,
                ..Measurement::without_numbers(status, String::new(), None)
            },
        };
        if let Some(method) = cells.optional("method").filter(|method| method != run.configuration.method()) {
            return Err(format!("`method` is `{method}`, but `parameters` does not say so"));
        }
        run.validate()?;
        Ok(run)
    }
}

/// The cells of one row, by name.
struct Cells<'c> {
    columns: &'c Columns,
    record: &'c StringRecord,
}

impl Cells<'_> {
    fn optional(&self, name: &str) -> Option<String> {
        let text = self.record.get(*self.columns.at.get(name)?)?;
        (!text.trim().is_empty()).then(|| text.to_owned())
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.optional(name).ok_or_else(|| format!("`{name}` is empty"))
    }

    fn labelled<T: ValueEnum>(&self, name: &str) -> Result<T, String> {
        let text = self.required(name)?;
        parse_label(text.trim()).ok_or_else(|| {
            let known: Vec<String> = T::value_variants().iter().map(label).collect();
            format!("`{name}` is `{text}`, not one of {}", known.join(", "))
        })
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.optional(name).unwrap_or_default().trim().to_lowercase().as_str() {
            "" | "0" | "false" => Ok(false),
            "1" | "true" => Ok(true),
            other => Err(format!("`{name}` is `{other}`, not 0 or 1")),
        }
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        self.optional(name)
            .map(|text| text.trim().parse().map_err(|_| format!("`{name}` is `{text}`, not a number")))
            .transpose()
    }

    fn configuration(&self) -> Result<Configuration, String> {
        let parameters: BTreeMap<String, serde_json::Value> = match self.optional("parameters") {
            Some(text) => {
                serde_json::from_str(&text).map_err(|_| format!("`parameters` is `{text}`, not a JSON object"))?
            }
            None => BTreeMap::new(),
        };
        Ok(Configuration {
            model: self.required("model")?,
            variant: self.optional("variant").unwrap_or_default(),
            platform: self.labelled("platform")?,
            device: Device {
                kind: self.labelled("device_kind")?,
                vendor: String::new(),
                name: self.required("device")?,
                compute_units: None,
                memory_bytes: None,
                software: self.flag("software")?,
            },
            engine: self.required("engine")?,
            precision: self.labelled("precision")?,
            mode: self.labelled("mode")?,
            batch_size: self.number("batch_size")?.ok_or("`batch_size` is empty")?,
            input_shape: self.optional("input_shape").unwrap_or_default(),
            threads: self.number("threads")?.unwrap_or(0),
            parameters,
        })
    }
}
