//! The accuracy of forecasts on timm's public results, in full: the tables of docs/prediction.md, and how long it took.
//!
//! `cargo bench --bench prediction -- [PROTOCOL|times] [--seed N] [--export FOLDER]`: one protocol alone; other folds and draws;
//! the rows, the splits and our forecasts as CSV for tools/prediction_baselines.py. Skips aloud where ../shared/data/timm
//! is not there.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use benchdb::domain::Example;
use benchdb::domain::configuration::sha256_hex;
use benchdb::exchange::{ColumnMap, ExchangeError, Head, importer_for};
use benchdb::predict::evaluate::{Protocol, Trial, score, splits_of, try_protocol};
use benchdb::predict::{DeviceTable, FitOptions, Forecaster};
use benchdb::store::imports::ImportSource;
use benchdb::store::list::Selection;
use benchdb::store::{Access, Store, StoreError};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// timm's inference files, through the importer and a database.
fn examples(folder: &Path) -> Result<Vec<Example>, Box<dyn Error>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|file| Some(file.ok()?.path())).collect();
    files.retain(|file| file.to_string_lossy().contains("benchmark-infer-"));
    files.sort();
    let home = tempfile::tempdir()?;
    let (mut store, _) = Store::open(&home.path().join("timm.sqlite"), Access::Create)?;
    for file in files {
        let (path, bytes) = (file.to_string_lossy().into_owned(), std::fs::read(&file)?);
        let importer = importer_for::<Failure>(&Head::new(&path, &bytes), &ColumnMap::default())?;
        let source = ImportSource { path: path.clone(), format: "timm-csv".into(), content_sha256: sha256_hex(&bytes) };
        store.import_runs::<Failure>(&source, false, |sink| {
            importer.read(&path, &mut bytes.as_slice(), &mut |item| sink(&item)).map(drop)
        })?;
    }
    Ok(store.list_examples(&Selection::default())?)
}

/// Processor time of this process and its threads in seconds, where /proc says it: on a machine with other work the clock
/// says little.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // User and system time, in hundredths of a second, are the 12th and 13th fields after the name.
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Fits and says how long it took.
fn timed(
    rows: &[&Example],
    devices: &DeviceTable,
    options: &FitOptions,
    out: &mut impl Write,
) -> Result<Forecaster, Box<dyn Error>> {
    let (start, processor) = (Instant::now(), processor_seconds());
    let forecaster = Forecaster::fit(rows, devices, options)?;
    let processor = processor_seconds() - processor;
    writeln!(
        out,
        "fitting {} rows with intervals: {:.2?} ({processor:.2} s of processor time)",
        rows.len(),
        start.elapsed()
    )?;
    Ok(forecaster)
}

/// Writes the rows, with raw features alone, and which of them each split of each protocol hides.
fn export(folder: &Path, examples: &[Example], seed: u64) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut rows = csv::Writer::from_path(folder.join("rows.csv"))?;
    rows.write_record([
        "row",
        "device",
        "kind",
        "engine_version",
        "parameters",
        "precision",
        "batch_size",
        "model",
        "family",
        "input_elements",
        "parameter_count",
        "multiply_adds",
        "activation_count",
        "samples_per_second",
    ])?;
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for (row, example) in examples.iter().enumerate() {
        let subject = &example.subject;
        let parameters: Vec<String> =
            subject.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        rows.write_record([
            row.to_string(),
            subject.device.name.clone(),
            subject.device.kind.to_string(),
            subject.engine_version.clone().unwrap_or_default(),
            parameters.join(" "),
            subject.precision.to_string(),
            subject.batch_size.to_string(),
            subject.model.clone(),
            subject.leading_word().to_owned(),
            number(subject.input_elements()),
            number(subject.parameter_count),
            number(subject.multiply_adds),
            number(subject.activation_count),
            number(example.seconds_per_sample().map(f64::recip)),
        ])?;
    }
    rows.flush()?;
    let mut splits = csv::Writer::from_path(folder.join("splits.csv"))?;
    splits.write_record(["protocol", "split", "hidden"])?;
    for protocol in PROTOCOLS {
        for (split, (hidden, _)) in splits_of(examples, protocol, seed, usize::MAX).into_iter().enumerate() {
            let mut marks = vec![b'0'; examples.len()];
            hidden.into_iter().for_each(|row| marks[row] = b'1');
            splits.write_record([protocol.name(), split.to_string(), String::from_utf8(marks)?])?;
        }
    }
    Ok(splits.flush()?)
}

/// Writes what was said of each hidden row.
fn write_trials(out: &mut impl Write, protocol: Protocol, trials: &[Trial]) -> std::io::Result<()> {
    for trial in trials {
        let ends = |interval: Option<(f64, f64)>| interval.unwrap_or((f64::NAN, f64::NAN));
        let (half, ninety) = (ends(trial.half), ends(trial.ninety));
        let [learned, roofline] = [trial.answers[0], trial.answers[1]].map(|answer| answer.unwrap_or(f64::NAN));
        let name = protocol.name().replace(',', "");
        let Trial { row, truth, .. } = trial;
        writeln!(out, "{name},{row},{truth},{learned},{roofline},{},{},{},{}", half.0, half.1, ninety.0, ninety.1)?;
    }
    Ok(())
}

const PROTOCOLS: [Protocol; 7] = [
    Protocol::Own { rows: 50 },
    Protocol::Own { rows: 300 },
    Protocol::Pair,
    Protocol::Family,
    Protocol::Device { anchors: 0 },
    Protocol::Device { anchors: 10 },
    Protocol::Device { anchors: 20 },
];

/// How long fitting, forecasting and exporting take.
fn times(examples: &[Example], devices: &DeviceTable, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let options = FitOptions::default();
    let every: Vec<&Example> = examples.iter().collect();
    let forecaster = timed(&every, devices, &options, out)?;
    let twice: Vec<&Example> = every.iter().chain(&every).copied().take(30_000).collect();
    timed(&twice, devices, &options, out)?;
    let thousand: Vec<&Example> = every.iter().step_by(19).copied().take(1000).collect();
    timed(&thousand, devices, &options, out)?;
    let start = Instant::now();
    for example in every.iter().step_by(19).take(1000) {
        forecaster.forecast(&example.subject, true)?;
    }
    writeln!(out, "one forecast: {:.3} ms", start.elapsed().as_secs_f64())?;
    Ok(writeln!(out, "export: {:.1} MB", forecaster.to_json()?.len() as f64 / 1e6)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/timm");
    if !folder.is_dir() {
        writeln!(out, "SKIPPED: {} is not there", folder.display())?;
        return Ok(());
    }
    let (mut wanted, mut exported, mut options) = (None, None, FitOptions::default());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => options.time.seed = arguments.next().ok_or("--seed needs a number")?.parse()?,
            "--export" => exported = Some(PathBuf::from(arguments.next().ok_or("--export needs a folder")?)),
            // cargo says `--bench`.
            other if other.starts_with('-') => {}
            other => wanted = Some(other.to_owned()),
        }
    }
    let examples = examples(&folder)?;
    let devices = DeviceTable::built_in();
    let mut forecasts = None;
    if let Some(folder) = &exported {
        export(folder, &examples, options.time.seed)?;
        let mut file = BufWriter::new(File::create(folder.join("forecasts.csv"))?);
        writeln!(file, "protocol,row,truth,learned,roofline,low_50,high_50,low_90,high_90")?;
        forecasts = Some(file);
    }
    if wanted.as_deref().is_none_or(|wanted| wanted == "times") {
        times(&examples, &devices, &mut out)?;
    }
    for protocol in PROTOCOLS {
        if wanted.as_ref().is_some_and(|wanted| !protocol.name().contains(wanted.as_str())) {
            continue;
        }
        let start = Instant::now();
        let mut trials = try_protocol(&examples, protocol, &devices, &options, usize::MAX)?;
        if let Some(file) = &mut forecasts {
            write_trials(file, protocol, &trials)?;
        }
        if matches!(protocol, Protocol::Device { .. }) {
            // The table is about GPUs; the two processors are shown beside.
            let (gpus, others) = trials.into_iter().partition(|trial| trial.device.starts_with("gpu"));
            trials = gpus;
            for one in score(&examples, protocol, &others) {
                writeln!(out, "processors: {one:?}")?;
            }
        }
        for one in score(&examples, protocol, &trials) {
            let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1}", 100.0 * share));
            writeln!(
                out,
                "| {} | {} | {} | {:.2} | {:.1} | {} | {} | {} | {} |",
                protocol.name(),
                one.answerer.name(),
                one.rows,
                one.median_error_percent,
                100.0 * one.within_20_percent,
                percent(one.coverage_50),
                percent(one.coverage_90),
                percent(one.worst_device_coverage_90),
                one.regret_percent.map_or("-".to_owned(), |regret| format!("{regret:.2}")),
            )?;
        }
        writeln!(out, "({:.1?})", start.elapsed())?;
    }
    Ok(())
}
