//! The accuracy of forecasts on timm's public results, in full: the table of docs/prediction.md, and how long it took.
//! `cargo bench --bench prediction`; skips aloud where ../shared/data/timm is not there.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use benchdb::domain::Example;
use benchdb::domain::configuration::sha256_hex;
use benchdb::exchange::{ColumnMap, ExchangeError, Head, importer_for};
use benchdb::predict::evaluate::{Protocol, score, try_protocol};
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

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/timm");
    if !folder.is_dir() {
        writeln!(out, "SKIPPED: {} is not there", folder.display())?;
        return Ok(());
    }
    let examples = examples(&folder)?;
    let devices = DeviceTable::built_in();
    let options = FitOptions::default();
    let every: Vec<&Example> = examples.iter().collect();
    let forecaster = timed(&every, &devices, &options, &mut out)?;
    let twice: Vec<&Example> = every.iter().chain(&every).copied().take(30_000).collect();
    timed(&twice, &devices, &options, &mut out)?;
    let thousand: Vec<&Example> = every.iter().step_by(19).copied().take(1000).collect();
    timed(&thousand, &devices, &options, &mut out)?;
    let start = Instant::now();
    for example in every.iter().step_by(19).take(1000) {
        forecaster.forecast(&example.subject, true)?;
    }
    writeln!(out, "one forecast: {:.3} ms", start.elapsed().as_secs_f64())?;
    writeln!(out, "export: {:.1} MB", forecaster.to_json()?.len() as f64 / 1e6)?;
    let wanted = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    for protocol in [
        Protocol::Own { rows: 50 },
        Protocol::Own { rows: 300 },
        Protocol::Pair,
        Protocol::Family,
        Protocol::Device { anchors: 0 },
        Protocol::Device { anchors: 10 },
        Protocol::Device { anchors: 20 },
    ] {
        if wanted.as_ref().is_some_and(|wanted| !protocol.name().contains(wanted.as_str())) {
            continue;
        }
        let start = Instant::now();
        let mut trials = try_protocol(&examples, protocol, &devices, &options, usize::MAX)?;
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
