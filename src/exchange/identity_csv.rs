//! Any CSV that names models in the columns of `results` and has a metric: what a comparison can be made with even where
//! a run could not be made of it. `analysis.csv` is one.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

use csv::StringRecord;

use super::head::{delimiter, lines_behind, pass_mark};
use super::own_csv::{IDENTITY, unreadable};
use super::{ExchangeError, Head};
use crate::domain::label::{Labelled, parse_label};
use crate::domain::metric::{Metric, find_metric, standard_metrics};
use crate::domain::series::SeriesRun;
use crate::domain::time::milliseconds;
use crate::domain::{
    DeviceKind, Environment, Identity, MetricKind, Mode, Part, Platform, Precision, Refusal, RunGroup, RunStatus,
    Series, SeriesSet, Validity,
};

/// Columns that tell several runs of one configuration apart.
const TELL_RUNS_APART: [&str; 3] = ["run_uuid", "run_id", "repetition"];

/// Columns of `analysis.csv` that say nothing to a comparison, and need no word; those of an export neither.
const OF_AN_ANALYSIS: [&str; 8] =
    ["repetition", "runs", "latency_low_ms", "latency_high_ms", "interval_of", "speed_up", "reference", "newest_run"];

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityTable {
    /// The series, matched by the columns that the file has.
    pub set: SeriesSet,
    /// Rows that were not taken.
    pub refused: Vec<Refusal>,
    /// What was passed over, for people.
    pub notes: Vec<String>,
}

/// Whether the first line of a file names models and a standard metric, whatever its unit.
pub fn is_identity_csv(head: &Head<'_>) -> bool {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter(head.bytes)).from_reader(head.bytes);
    reader.headers().is_ok_and(|header| {
        let has_model = header.iter().any(|name| name.trim() == "model");
        has_model && header.iter().any(|name| find_metric(name.trim()).is_some() || other_unit(name.trim()).is_some())
    })
}

/// Reads a table for these metrics.
///
/// # Errors
/// A file that is no CSV, lacks `model` or every one of the metrics, or has a metric in another unit.
pub fn read_identity_csv(
    path: &str,
    content: &mut dyn BufRead,
    metrics: Vec<&'static Metric>,
) -> Result<IdentityTable, ExchangeError> {
    let failed = |source| ExchangeError::Read { path: path.to_owned(), source };
    pass_mark(content).map_err(failed)?;
    let begin = content.fill_buf().map_err(failed)?;
    let (behind, delimiter) = (lines_behind(begin), delimiter(begin));
    let mut reader = csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(content);
    let header = reader.headers().map_err(|error| unreadable(path, error))?.clone();
    let columns = Columns::new(&header, &metrics, path)?;
    let mut table = IdentityTable { set: SeriesSet::new(metrics), refused: Vec::new(), notes: columns.notes() };
    let mut rows: BTreeMap<Identity, Vec<(u64, Row)>> = BTreeMap::new();
    let mut seen: HashMap<String, u64> = HashMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                let line = error.position().map_or(0, csv::Position::line) + behind;
                table.refused.push(Refusal { line, reason: "it is not UTF-8".to_owned() });
                continue;
            }
            Err(error) => return Err(unreadable(path, error)),
        };
        let line = record.position().map_or(0, csv::Position::line) + behind;
        match columns.row(&record, &mut seen, line) {
            Ok(row) => rows.entry(row.identity.clone()).or_default().push((line, row)),
            Err(reason) => table.refused.push(Refusal { line, reason }),
        }
    }
    for (identity, mut of_one) in rows {
        if !columns.tells_runs_apart() && of_one.len() > 1 {
            let first = of_one[0].0;
            table.refused.extend(of_one.into_iter().map(|(line, _)| Refusal {
                line,
                reason: if line == first {
                    "later rows are about the same configuration, and nothing tells which of them counts".to_owned()
                } else {
                    format!(
                        "it is about the same configuration as line {first}; if they are runs, a column `repetition` says so"
                    )
                },
            }));
            continue;
        }
        of_one.sort_by_key(|(_, row)| row.run.started_at_ms);
        let mut series = Series::new(None, identity);
        series.device_kind = of_one[0].1.device_kind;
        for (_, row) in of_one {
            let environments = &mut table.set.environments;
            let known = environments.iter().position(|known| *known == row.environment);
            let environment = known.unwrap_or_else(|| {
                environments.push(row.environment);
                environments.len() - 1
            });
            series.push(SeriesRun { environment, ..row.run }, row.values);
        }
        table.set.series.push(series);
    }
    table.refused.sort_by_key(|refusal| refusal.line);
    Ok(table)
}

/// The standard metric that a column names in another unit: `latency_p50_s`.
fn other_unit(column: &str) -> Option<&'static Metric> {
    const UNITS: [&str; 22] = [
        "ns", "us", "ms", "s", "sec", "seconds", "min", "b", "bytes", "kb", "mb", "gb", "kib", "mib", "gib", "mw", "w",
        "kw", "mj", "j", "kj", "wh",
    ];
    let (stem, unit) = column.rsplit_once('_')?;
    if find_metric(column).is_some() || !UNITS.contains(&unit) {
        return None;
    }
    standard_metrics().iter().find(|metric| {
        let timed = matches!(metric.kind, MetricKind::Time | MetricKind::Size | MetricKind::Power | MetricKind::Energy);
        timed && metric.name.rsplit_once('_').is_some_and(|(own, _)| own == stem)
    })
}

/// One row that was read.
struct Row {
    identity: Identity,
    device_kind: Option<DeviceKind>,
    environment: Environment,
    run: SeriesRun,
    values: Vec<f64>,
}

/// Where the columns stand.
struct Columns {
    parts: Vec<(Part, usize)>,
    metrics: Vec<Option<usize>>,
    /// Every column by its name.
    others: HashMap<String, usize>,
    count: usize,
    unknown: Vec<String>,
}

impl Columns {
    fn new(header: &StringRecord, metrics: &[&'static Metric], path: &str) -> Result<Self, ExchangeError> {
        let malformed = |reason: String| ExchangeError::Malformed { path: path.to_owned(), line: 1, reason };
        let names: Vec<&str> = header.iter().map(str::trim).collect();
        if let Some(twice) = names.iter().find(|name| names.iter().filter(|other| other == name).count() > 1) {
            return Err(malformed(format!("the column `{twice}` is there twice")));
        }
        let at = |wanted: &str| names.iter().position(|name| *name == wanted);
        if at("model").is_none() {
            return Err(ExchangeError::MissingColumns { path: path.to_owned(), columns: "model".to_owned() });
        }
        for name in &names {
            if let Some(metric) = other_unit(name) {
                return Err(malformed(format!(
                    "the column `{name}` is in another unit than `{}` ({})",
                    metric.name, metric.unit
                )));
            }
        }
        let found: Vec<Option<usize>> = metrics.iter().map(|metric| at(&metric.name)).collect();
        if found.iter().all(Option::is_none) {
            let wanted: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
            return Err(ExchangeError::MissingColumns { path: path.to_owned(), columns: wanted.join(" or ") });
        }
        let parts: Vec<(Part, usize)> =
            Part::all().iter().filter_map(|part| Some((*part, at(&part.to_string())?))).collect();
        let is_part = |name: &str| parts.iter().any(|(part, _)| part.to_string() == name);
        let unknown = names
            .iter()
            .filter(|name| {
                let of_ours = IDENTITY.contains(name) || OF_AN_ANALYSIS.contains(name);
                !is_part(name) && !of_ours && find_metric(name).is_none()
            })
            .map(|name| (*name).to_owned())
            .collect();
        let others = names.iter().enumerate().map(|(index, name)| ((*name).to_owned(), index)).collect();
        Ok(Self { parts, metrics: found, others, count: names.len(), unknown })
    }

    fn tells_runs_apart(&self) -> bool {
        TELL_RUNS_APART.iter().any(|name| self.others.contains_key(*name))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.unknown.is_empty() {
            notes.push(format!("columns that benchdb does not know were passed over: {}", self.unknown.join(", ")));
        }
        notes
    }

    fn row(&self, record: &StringRecord, seen: &mut HashMap<String, u64>, line: u64) -> Result<Row, String> {
        if record.len() != self.count {
            return Err(format!("it has {} fields, the header has {}", record.len(), self.count));
        }
        let cell = |index: usize| record.get(index).map(str::trim).unwrap_or_default();
        let other = |name: &str| self.others.get(name).map(|index| cell(*index)).filter(|text| !text.is_empty());
        let mut identity = Identity::default();
        for (part, index) in &self.parts {
            identity.set(*part, canonical(*part, cell(*index))?);
        }
        if identity.get(Part::Model).is_empty() {
            return Err("it names no model".to_owned());
        }
        if self.tells_runs_apart() {
            let id = TELL_RUNS_APART.map(|name| other(name).unwrap_or_default()).join("\u{1f}");
            // A UUID names a run all by itself; a number of a repetition does so within a configuration.
            let key = match other("run_uuid") {
                Some(uuid) => uuid.to_owned(),
                None => [&id, "\u{1f}", &serde_json::to_string(&identity).unwrap_or_default()].concat(),
            };
            if let Some(first) = seen.insert(key, line) {
                return Err(format!("it is the same run as line {first}"));
            }
        }
        let status: RunStatus = match other("status") {
            Some(text) => parse_label(text).ok_or_else(|| format!("`{text}` is no status"))?,
            None => RunStatus::Ok,
        };
        let validity = match other("validity") {
            _ if status != RunStatus::Ok => Validity::NotMeasured,
            Some(text) => parse_label(text).ok_or_else(|| format!("`{text}` is no validity"))?,
            None => Validity::Valid,
        };
        let mut values = Vec::with_capacity(self.metrics.len());
        for index in &self.metrics {
            values.push(match index.map(cell) {
                None | Some("") => f64::NAN,
                Some(text) => match text.parse::<f64>() {
                    Ok(value) if value.is_finite() && value >= 0.0 => value,
                    _ => return Err(format!("`{text}` is no number that was measured")),
                },
            });
        }
        let text = |name: &str| other(name).map(str::to_owned);
        Ok(Row {
            identity,
            device_kind: other("device_kind").and_then(parse_label),
            environment: Environment {
                host: text("host"),
                driver_version: text("driver_version"),
                engine_version: text("engine_version"),
                framework_version: text("framework_version"),
                tool_version: text("tool_version"),
                git_commit: text("git_commit"),
                ..Environment::default()
            },
            run: SeriesRun {
                run_id: None,
                uuid: other("run_uuid").and_then(|text| uuid::Uuid::parse_str(text).ok()).map(|uuid| uuid.as_u128()),
                group: RunGroup::Alone,
                started_at_ms: other("started_at").and_then(milliseconds),
                environment: 0,
                iterations: other("iterations").and_then(|text| text.parse().ok()).unwrap_or(0),
                validity,
                status,
            },
            values,
        })
    }
}

/// A part as [`Identity::of`] writes it: numbers without decimals, parameters as canonical JSON.
fn canonical(part: Part, text: &str) -> Result<String, String> {
    match part {
        Part::BatchSize | Part::Threads if !text.is_empty() => {
            let number: f64 = text.parse().map_err(|_| format!("`{text}` is no {part}"))?;
            if number.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&number) {
                return Err(format!("`{text}` is no {part}"));
            }
            Ok(format!("{number:.0}"))
        }
        Part::Parameters if text.is_empty() => Ok("{}".to_owned()),
        Part::Parameters => {
            let value: serde_json::Value =
                serde_json::from_str(text).map_err(|_| format!("`{text}` is no JSON object of parameters"))?;
            Ok(value.to_string())
        }
        // Spellings differ, what they name does not.
        Part::Platform => labelled::<Platform>(part, text),
        Part::Precision => labelled::<Precision>(part, text),
        Part::Mode => labelled::<Mode>(part, text),
        _ => Ok(text.to_owned()),
    }
}

fn labelled<T: Labelled>(part: Part, text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    parse_label::<T>(text).map(|value| value.label().to_owned()).ok_or_else(|| format!("`{text}` is no {part}"))
}
