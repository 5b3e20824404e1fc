//! Any CSV of benchmark results, one row a run: as the user's [`ColumnMap`] says, and for the rest by the columns'
//! names.
//!
//! Names that are understood without a map: those of the view `results` and of the standard metrics; a standard metric
//! in another unit (`latency_p50_us`, `memory_host_peak_gb`), which is converted; and the common ones of such tables
//! (`framework`, `dtype`, `throughput_ips`, `memory_mb`, `compilation_time_ms`, ...). `device` is a platform where its
//! cells are (`cpu`, `cuda:0`, `mps`), otherwise the device's name. `memory_mb` is the memory of the device on a GPU and of
//! the host on a processor. A column that is almost a standard metric is never dropped in silence: the file is refused
//! with the option that says what the column is. Other columns are passed over and named.
//!
//! Rows of one identity need something that tells the runs apart (`repetition`, `run_uuid`, `started_at`), or the later
//! ones are refused: two numbers for the same thing mean that a column which makes the difference was not mapped.

use std::collections::HashMap;
use std::io::BufRead;

use csv::StringRecord;

use super::draft::{self, Draft, Part, item};
use super::timm::is_timm;
use crate::domain::configuration::sha256_hex;
use crate::domain::label::{label, parse_label};
use crate::domain::metric::{find_metric, standard_metrics};
use crate::domain::{DeviceKind, ImportItem, MetricKind, Platform, Refusal, RunRecord};
use crate::exchange::column_map::{Scale, Target};
use crate::exchange::head::{delimiter, lines_behind, pass_mark};
use crate::exchange::own_csv::unreadable;
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};

/// Reads tables.
#[derive(Clone, Debug, Default)]
pub struct PlainCsv {
    map: ColumnMap,
}

impl PlainCsv {
    /// An importer of tables as `map` says.
    pub fn new(map: ColumnMap) -> Self {
        Self { map }
    }
}

impl<E: From<ExchangeError>> Importer<E> for PlainCsv {
    fn format(&self) -> &'static str {
        "csv"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        if matches!(head.bytes.trim_ascii_start().first(), None | Some(b'{' | b'[' | b'<')) || head.bytes.contains(&0) {
            return false;
        }
        let delimiter = delimiter(head.bytes);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(head.bytes);
        let Ok(header) = reader.headers() else { return false };
        let names: Vec<String> = header.iter().map(plain).collect();
        let has = |name: &str| names.iter().any(|column| column == name);
        let own = ["run_uuid", "model", "engine"].iter().all(|name| has(name));
        let mapped = self.map.columns().iter().any(|mapped| has(&plain(&mapped.column)));
        let meanings: Vec<Meaning> = header.iter().map(meaning).collect();
        let model =
            self.map.gives(Part::Model) || meanings.contains(&Meaning::Is(Target::Part(Part::Model), Scale::ONE));
        let measured = meanings.iter().any(Meaning::is_measured);
        !own && (mapped || model && measured && !is_timm(header))
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let failed = |source| ExchangeError::Read { path: path.to_owned(), source };
        pass_mark(content).map_err(failed)?;
        let begin = content.fill_buf().map_err(failed)?;
        let (delimiter, behind) = (delimiter(begin), lines_behind(begin));
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).buffer_capacity(1 << 16).from_reader(content);
        let header = reader.headers().map_err(|error| unreadable(path, error))?.clone();
        let table = Table::new(path, &header, &self.map)?;
        let mut seen: HashMap<u128, u64> = HashMap::new();
        let mut record = StringRecord::new();
        loop {
            let line = reader.position().line() + behind;
            let item = match reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true) => item(line, table.run(&record).and_then(|run| not_seen(run, line, &table, &mut seen))),
                Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                    ImportItem::Refused(Refusal { line, reason: "it is not UTF-8".to_owned() })
                }
                Err(error) => return Err(unreadable(path, error).into()),
            };
            sink(item)?;
        }
        Ok(table.notes)
    }
}

/// A column's name without the accidents of its spelling.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

/// What a column's name means.
#[derive(Clone, Debug, PartialEq)]
enum Meaning {
    /// A part of the run, a metric or a parameter.
    Is(Target, Scale),
    /// A platform or the name of a device.
    Device,
    /// Memory of whatever executes.
    Memory(Scale),
    /// Almost this metric: the unit is not clear.
    Unclear(&'static str),
    /// Nothing to do with it: it is known and not needed.
    Idle,
    /// Nobody knows.
    Unknown,
}

impl Meaning {
    /// Whether two columns are about the same.
    fn is_rival(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Is(one, _), Self::Is(same, _)) => one == same,
            (Self::Device, Self::Device) | (Self::Memory(_), Self::Memory(_)) => true,
            _ => false,
        }
    }

    fn is_measured(&self) -> bool {
        matches!(self, Self::Is(Target::Metric(_), _) | Self::Memory(_) | Self::Unclear(_))
    }
}

fn meaning(name: &str) -> Meaning {
    let name = plain(name);
    let part = |part| Meaning::Is(Target::Part(part), Scale::ONE);
    match name.as_str() {
        "device" => return Meaning::Device,
        "run_id" => return Meaning::Idle,
        "method" => return Meaning::Is(Target::Parameter(name), Scale::ONE),
        "framework" => return part(Part::Engine),
        "model_name" => return part(Part::Model),
        "hardware" => return part(Part::Platform),
        "dtype" => return part(Part::Precision),
        "batch" | "bs" => return part(Part::BatchSize),
        "num_threads" => return part(Part::Threads),
        "hostname" => return part(Part::Host),
        "run" | "repeat" | "trial" => return part(Part::Repetition),
        "throughput_ips" | "images_per_second" | "images_per_sec" | "samples_per_second" | "samples_per_sec" => {
            return Meaning::Is(Target::Metric("throughput_samples_per_second"), Scale::ONE);
        }
        "tokens_per_second" | "tokens_per_sec" => {
            return Meaning::Is(Target::Metric("throughput_tokens_per_second"), Scale::ONE);
        }
        _ => {}
    }
    if let Some(known) = parse_label::<Part>(&name) {
        return part(known);
    }
    let name = common_name(&name);
    if let Some(metric) = find_metric(&name) {
        return Meaning::Is(Target::Metric(&metric.name), Scale::ONE);
    }
    for stem in ["memory", "peak_memory", "memory_peak"] {
        match name.strip_prefix(stem) {
            Some("") => return Meaning::Unclear("memory_device_peak_mb"),
            Some(rest) => {
                if let Some(scale) = rest.strip_prefix('_').and_then(|unit| conversion(MetricKind::Size, unit)) {
                    return Meaning::Memory(scale);
                }
            }
            None => {}
        }
    }
    in_another_unit(&name)
}

/// `latency_median_us` for `median_latency_us`, `latency_p50_us` for that, `compile_s` for `compilation_time_s`.
fn common_name(name: &str) -> String {
    for (stem, standard) in [("compilation_time", "compile"), ("compile_time", "compile")] {
        if let Some(rest) = name.strip_prefix(stem) {
            // Without a unit it is still a time that must not be dropped.
            return if rest.is_empty() { "compile_time".to_owned() } else { format!("{standard}{rest}") };
        }
    }
    let words: Vec<&str> = name.split('_').collect();
    let (statistic, unit) = match words.as_slice() {
        ["latency", statistic, unit @ ..] | [statistic, "latency", unit @ ..] => (*statistic, unit),
        _ => return name.to_owned(),
    };
    let statistic = match statistic {
        "avg" | "average" => "mean",
        "median" => "p50",
        "stddev" | "stdev" => "std",
        other => other,
    };
    [&["latency", statistic], unit].concat().join("_")
}

/// A standard metric with another unit behind its name, or with none.
fn in_another_unit(name: &str) -> Meaning {
    if name == "compile_time" {
        return Meaning::Unclear("compile_ms");
    }
    for metric in standard_metrics() {
        let own = match metric.kind {
            MetricKind::Time => "_ms",
            MetricKind::Rate => "_per_second",
            MetricKind::Size => "_mb",
            MetricKind::Proportion => "",
            MetricKind::Power => "_w",
            MetricKind::Energy => "_j",
            MetricKind::Temperature => "_c",
            MetricKind::Utilization => "_percent",
        };
        let Some(stem) = metric.name.strip_suffix(own) else { continue };
        let Some(rest) = name.strip_prefix(stem) else { continue };
        match rest.strip_prefix('_') {
            // `loss` or `model_size` are as likely something else.
            None if rest.is_empty() && stem.contains('_') && stem != "model_size" => {
                return Meaning::Unclear(&metric.name);
            }
            Some(unit) => {
                if let Some(scale) = conversion(metric.kind, unit) {
                    return Meaning::Is(Target::Metric(&metric.name), scale);
                }
                // These are no matter of a factor.
                if metric.kind == MetricKind::Temperature && matches!(unit, "f" | "k") {
                    return Meaning::Unclear(&metric.name);
                }
            }
            None => {}
        }
    }
    Meaning::Unknown
}

/// From a unit to that of the standard metrics of this kind.
fn conversion(kind: MetricKind, unit: &str) -> Option<Scale> {
    let (times, over) = (Scale::times, Scale::over);
    Some(match (kind, unit) {
        (MetricKind::Time, "s" | "sec" | "seconds") => times(1e3),
        (MetricKind::Time, "ms" | "milliseconds") => Scale::ONE,
        (MetricKind::Time, "us" | "µs" | "microseconds") => over(1e3),
        (MetricKind::Time, "ns" | "nanoseconds") => over(1e6),
        (MetricKind::Size, "b" | "bytes") => over(1e6),
        (MetricKind::Size, "kb") => over(1e3),
        (MetricKind::Size, "mb") => Scale::ONE,
        (MetricKind::Size, "gb") => times(1e3),
        (MetricKind::Size, "kib") => Scale { multiply: 1024.0, divide: 1e6 },
        (MetricKind::Size, "mib") => Scale { multiply: 1_048_576.0, divide: 1e6 },
        (MetricKind::Size, "gib") => Scale { multiply: 1_073_741_824.0, divide: 1e6 },
        (MetricKind::Rate, "per_second" | "per_sec" | "per_s") => Scale::ONE,
        (MetricKind::Rate, "per_ms") => times(1e3),
        (MetricKind::Rate, "per_minute" | "per_min") => over(60.0),
        (MetricKind::Rate, "per_hour") => over(3600.0),
        (MetricKind::Power, "mw") => over(1e3),
        (MetricKind::Power, "kw") => times(1e3),
        (MetricKind::Energy, "mj") => over(1e3),
        (MetricKind::Energy, "kj") => times(1e3),
        (MetricKind::Energy, "wh") => times(3600.0),
        (MetricKind::Proportion, "percent" | "pct") => over(100.0),
        _ => return None,
    })
}

/// A table: what its columns are.
struct Table<'m> {
    map: &'m ColumnMap,
    columns: Vec<(usize, String, Meaning)>,
    count: usize,
    notes: Vec<String>,
}

impl<'m> Table<'m> {
    fn new(path: &str, header: &StringRecord, map: &'m ColumnMap) -> Result<Self, ExchangeError> {
        let unmapped =
            |reason: String, options: String| ExchangeError::Unmapped { path: path.to_owned(), reason, options };
        let names: Vec<&str> = header.iter().map(str::trim).collect();
        let mut meanings: Vec<Meaning> = names.iter().map(|name| meaning(name)).collect();
        let mut mapped = vec![false; names.len()];
        // The user's word first. Each column may serve several targets, so these stand behind the others.
        let mut columns = Vec::new();
        for entry in map.columns() {
            let place = |same: &dyn Fn(&str) -> bool| names.iter().position(|name| same(name));
            let Some(at) =
                place(&|name| name == entry.column).or_else(|| place(&|name| plain(name) == plain(&entry.column)))
            else {
                return Err(unmapped(
                    format!("it has no column `{}`", entry.column),
                    format!("`--map` with one of {}, or with `==` before a value", names.join(", ")),
                ));
            };
            mapped[at] = true;
            columns.push((at, names[at].to_owned(), Meaning::Is(entry.target.clone(), entry.scale)));
        }
        let mut passed = Vec::new();
        for (at, name) in names.iter().enumerate() {
            if mapped[at] {
                meanings[at] = Meaning::Idle;
                continue;
            }
            match &meanings[at] {
                Meaning::Unclear(metric) if !map.targets().any(|target| *target == Target::Metric(metric)) => {
                    return Err(unmapped(
                        format!("the column `{name}` looks like `{metric}`, in a unit that it does not say"),
                        format!("`--map {metric}={name}*FACTOR`"),
                    ));
                }
                Meaning::Is(target, _) if map.targets().any(|given| given == target) => meanings[at] = Meaning::Idle,
                Meaning::Unknown | Meaning::Unclear(_) => passed.push(*name),
                _ => {}
            }
            let option = match &meanings[at] {
                Meaning::Is(target, _) => name_of(target),
                Meaning::Device => label(&Part::Device),
                Meaning::Memory(_) => "memory_device_peak_mb".to_owned(),
                Meaning::Unclear(_) | Meaning::Idle | Meaning::Unknown => continue,
            };
            if let Some(other) = (0..at).find(|&other| meanings[other].is_rival(&meanings[at])) {
                return Err(unmapped(
                    format!("the columns `{}` and `{name}` are both `{option}`", names[other]),
                    format!("`--map {option}={name}`"),
                ));
            }
        }
        columns.splice(
            0..0,
            meanings.into_iter().enumerate().filter_map(|(at, meaning)| {
                let used = !matches!(meaning, Meaning::Idle | Meaning::Unknown | Meaning::Unclear(_));
                used.then(|| (at, names[at].to_owned(), meaning))
            }),
        );
        let mut notes = Vec::new();
        if !passed.is_empty() {
            notes.push(format!(
                "columns that benchdb does not know were passed over: {} (`--map` takes them)",
                passed.join(", ")
            ));
        }
        let table = Self { map, columns, count: names.len(), notes };
        table.is_complete().map_err(|(reason, options)| unmapped(reason, options))?;
        Ok(table)
    }

    /// Says what no column and no entry of the map gives.
    fn is_complete(&self) -> Result<(), (String, String)> {
        let device = self.columns.iter().any(|(.., meaning)| *meaning == Meaning::Device);
        let parts = [
            (Part::Model, "the model", "model=COLUMN"),
            (Part::Engine, "the engine", "engine==pytorch"),
            (Part::Platform, "the platform", "platform==cuda"),
            (Part::Precision, "the precision", "precision==fp32"),
            (Part::BatchSize, "the batch size", "batch_size==1"),
        ];
        let missing = parts.into_iter().filter(|(part, ..)| !(self.gives(*part) || *part == Part::Platform && device));
        let (what, options): (Vec<&str>, Vec<String>) =
            missing.map(|(_, what, option)| (what, format!("`--map {option}`"))).unzip();
        if what.is_empty() {
            return Ok(());
        }
        Err((format!("no column says {}", what.join(", ")), options.join(" ")))
    }

    fn gives(&self, part: Part) -> bool {
        let target = Target::Part(part);
        self.map.gives(part)
            || self.columns.iter().any(|(.., meaning)| matches!(meaning, Meaning::Is(is, _) if *is == target))
    }

    fn run(&self, record: &StringRecord) -> Result<RunRecord, String> {
        if record.len() != self.count {
            return Err(format!("it has {} fields, the header has {}", record.len(), self.count));
        }
        let mut draft = Draft::default();
        let (mut device, mut memory) = (None, None);
        for (at, name, meaning) in &self.columns {
            let text = record.get(*at).unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            let said = |reason: String| format!("column `{name}`: {reason}");
            match meaning {
                Meaning::Is(target, scale) => draft.assign(target, text, *scale).map_err(said)?,
                Meaning::Device => device = Some(text),
                Meaning::Memory(scale) => {
                    // Only its value; where it belongs is known when the device is.
                    let mut one = Draft::default();
                    one.assign(&Target::Metric("memory_host_peak_mb"), text, *scale).map_err(said)?;
                    memory = one.metrics.get("memory_host_peak_mb");
                }
                Meaning::Unclear(_) | Meaning::Idle | Meaning::Unknown => {}
            }
        }
        if let Some(text) = device {
            match draft::platform(text) {
                Ok(platform) => {
                    draft.platform.get_or_insert(platform);
                }
                Err(_) => text.clone_into(&mut draft.device),
            }
        }
        let mut run = draft.finish(self.map)?;
        if let Some(mb) = memory {
            let metric = match (run.configuration.device.kind, run.configuration.platform) {
                (DeviceKind::Cpu, _) | (_, Platform::Cpu) => "memory_host_peak_mb",
                _ => "memory_device_peak_mb",
            };
            run.measurement.metrics.set(metric, mb);
            run.validate()?;
        }
        Ok(run)
    }
}

/// A target as the command line names it.
fn name_of(target: &Target) -> String {
    match target {
        Target::Part(part) => label(part),
        Target::Metric(name) => (*name).to_owned(),
        Target::Parameter(name) => format!("parameters.{name}"),
        Target::Extra(name) => format!("extra.{name}"),
    }
}

/// Refuses a run that nothing tells from an earlier one.
fn not_seen(run: RunRecord, line: u64, table: &Table<'_>, seen: &mut HashMap<u128, u64>) -> Result<RunRecord, String> {
    if table.gives(Part::RunUuid) {
        return Ok(run);
    }
    let identity = [
        run.configuration.fingerprint(),
        run.environment.fingerprint(),
        run.repetition.to_string(),
        run.started_at.clone().unwrap_or_default(),
    ];
    // Half a digest is more than enough, and a table may have a million rows.
    let digest = sha256_hex(identity.join("\n").as_bytes());
    let key = u128::from_str_radix(&digest[..32], 16).unwrap_or_default();
    match seen.get(&key) {
        Some(first) => Err(format!(
            "nothing tells it from line {first}: add a column `repetition`, or `--map parameters.NAME=COLUMN` for what differs"
        )),
        None => {
            seen.insert(key, line);
            Ok(run)
        }
    }
}
