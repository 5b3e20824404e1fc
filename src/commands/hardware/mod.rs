//! `benchdb hardware`: what can be run here, and what is missing for the rest; with `--probe`, what its devices can do at
//! most.

mod probe;

use clap::ValueEnum as _;

use super::{Context, ExitStatus, OutputArgs};
use crate::domain::{Cell, DeviceProbe, Mode, Platform, Precision, Table};
use crate::engine::{Engine, EngineError, Probed, ProbedDevice, Runner, engines};
use crate::report::{bytes, significant};
use crate::store::Access;

pub(super) use probe::Rated;

/// Options of `benchdb hardware`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb hardware
  benchdb hardware --probe
  benchdb hardware --probe --hardware cuda --precision fp32,fp16 --max-time 10")]
pub struct Args {
    #[command(flatten)]
    probe: probe::ProbeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// A worker that cannot be started, an output that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    if args.probe.probe {
        return probe::execute(&args.probe, &args.output, context);
    }
    let runner = Runner::for_this_program()?;
    let people = args.output.is_for_people();
    let mut found = Table::new(
        "Devices",
        &["platform", "index", "device", "kind", "compute_units", "memory", "software", "engine", "engine_version"],
    );
    let mut support = Vec::new();
    for engine in engines().into_iter().filter(|engine| !engine.hidden()) {
        for &platform in engine.platforms() {
            let devices = devices(engine, platform, &runner);
            let version = devices.as_ref().map(|found| found.versions.engine.clone()).unwrap_or_default();
            let devices = devices.map(|found| found.devices);
            for (index, probed) in devices.iter().flatten().enumerate() {
                let memory = probed.device.memory_bytes;
                found.push([
                    platform.to_string().into(),
                    (index as u64).into(),
                    probed.device.name.clone().into(),
                    probed.device.kind.to_string().into(),
                    probed.device.compute_units.into(),
                    if people { memory.map(bytes).into() } else { memory.into() },
                    if probed.device.software { "yes" } else { "no" }.into(),
                    engine.name().into(),
                    version.clone().into(),
                ]);
            }
            support.extend(support_of(engine, platform, &devices));
        }
    }
    for &platform in Platform::value_variants() {
        if !engines().iter().any(|engine| engine.platforms().contains(&platform)) {
            let gap = Gap::of(&EngineError::NoEngine { platform });
            support.push(Support {
                platform,
                engine: "",
                precision: None,
                modes: Mode::value_variants().iter().map(|_| Err(gap.clone())).collect(),
            });
        }
    }
    let mut tables = vec![found];
    if people {
        tables.extend(matrix(&support));
    } else {
        tables.push(list(&support));
    }
    let probes = if context.db().is_file() { context.open(Access::Read)?.newest_device_probes()? } else { Vec::new() };
    if !(people && probes.is_empty()) {
        tables.push(probed(&probes, people));
    }
    context.print("hardware", &tables, &args.output)?;
    Ok(ExitStatus::Ok)
}

fn devices(engine: &dyn Engine, platform: Platform, runner: &Runner) -> Result<Probed, EngineError> {
    let (feature, compiled) = engine.feature();
    if !compiled {
        return Err(EngineError::NotCompiled { engine: engine.name(), feature });
    }
    let found = runner.probe(engine.name())?;
    if found.devices.is_empty() {
        return Err(EngineError::NoDevice { platform });
    }
    Ok(found)
}

/// The newest probe of each device, engine and precision.
fn probed(probes: &[DeviceProbe], people: bool) -> Table {
    let columns = [
        "device",
        "compute_units",
        "engine",
        "precision",
        "peak_gflop_per_second",
        "copy_bandwidth_gb_per_second",
        "probed_at",
    ];
    let mut table = Table::new("Probes", &columns);
    for probe in probes {
        table.push([
            probe.device.name.clone().into(),
            probe.device.compute_units.into(),
            probe.engine.clone().into(),
            probe.precision.to_string().into(),
            rate(probe.peak_gflop_per_second, people),
            rate(probe.copy_bandwidth_gb_per_second, people),
            probe.probed_at.clone().into(),
        ]);
    }
    if people {
        name_rates(&mut table);
    }
    table
}

/// A rate; people get four digits of it.
fn rate(value: Option<f64>, people: bool) -> Cell {
    if people { value.map(significant).into() } else { value.into() }
}

/// Short names of the rates, with their units.
fn name_rates(table: &mut Table) {
    table.rename_column("peak_gflop_per_second", "product GFLOP/s");
    table.rename_column("copy_bandwidth_gb_per_second", "copy GB/s");
}

/// Why something cannot be run, and what closes the gap.
#[derive(Clone, Debug, PartialEq)]
struct Gap {
    reason: String,
    way_out: Option<String>,
}

impl Gap {
    fn of(error: &EngineError) -> Self {
        let reason = match error {
            // The row names the engine.
            EngineError::Unsupported { what, reason, .. } => format!("{what}: {reason}"),
            _ => error.to_string(),
        };
        Self { reason, way_out: error.hint() }
    }
}

/// What an engine does on a platform in one precision; without a precision where it does nothing at all.
struct Support {
    platform: Platform,
    engine: &'static str,
    precision: Option<Precision>,
    /// One for each mode, in the order of [`Mode`].
    modes: Vec<Result<(), Gap>>,
}

fn support_of(
    engine: &'static dyn Engine,
    platform: Platform,
    devices: &Result<Vec<ProbedDevice>, EngineError>,
) -> Vec<Support> {
    let row = |precision, modes| Support { platform, engine: engine.name(), precision, modes };
    let devices = match devices {
        Ok(devices) => devices,
        Err(error) => {
            return vec![row(None, Mode::value_variants().iter().map(|_| Err(Gap::of(error))).collect())];
        }
    };
    let on_device = |precision| {
        if devices.iter().any(|probed| probed.precisions.contains(&precision)) {
            return Ok(());
        }
        Err(Gap::of(&EngineError::Unsupported {
            engine: engine.name(),
            what: precision.to_string(),
            reason: "no device reports the type",
            nearest: Some("`--precision fp32`"),
        }))
    };
    Precision::value_variants()
        .iter()
        .map(|&precision| {
            let modes = Mode::value_variants()
                .iter()
                .map(|&mode| {
                    engine
                        .supports(mode, precision)
                        .map_err(|error| Gap::of(&error))
                        .and_then(|()| on_device(precision))
                })
                .collect();
            row(Some(precision), modes)
        })
        .collect()
}

/// The matrix for people: one row an engine and precision, one column a mode, gaps by their number.
fn matrix(support: &[Support]) -> Vec<Table> {
    let mut columns = vec!["platform".to_owned(), "engine".to_owned(), "precision".to_owned()];
    columns.extend(Mode::value_variants().iter().map(Mode::to_string));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut matrix = Table::new("Support", &columns);
    let mut gaps: Vec<&Gap> = Vec::new();
    for row in support {
        let mut cells: Vec<Cell> = vec![
            row.platform.to_string().into(),
            row.engine.into(),
            row.precision.map(|precision| precision.to_string()).into(),
        ];
        cells.extend(row.modes.iter().map(|mode| match mode {
            Ok(()) => "yes".into(),
            Err(gap) => {
                let number = gaps.iter().position(|known| *known == gap).unwrap_or_else(|| {
                    gaps.push(gap);
                    gaps.len() - 1
                });
                format!("no ({})", number + 1).into()
            }
        }));
        matrix.push(cells);
    }
    let mut reasons = Table::new("Gaps", &["no", "reason", "way_out"]);
    for (number, gap) in gaps.into_iter().enumerate() {
        reasons.push([(number as u64 + 1).into(), gap.reason.clone().into(), gap.way_out.clone().into()]);
    }
    vec![matrix, reasons]
}

/// The same for machines: one row a combination.
fn list(support: &[Support]) -> Table {
    let mut list =
        Table::new("Support", &["platform", "engine", "precision", "mode", "supported", "reason", "way_out"]);
    for row in support {
        for (mode, outcome) in Mode::value_variants().iter().zip(&row.modes) {
            let gap = outcome.as_ref().err();
            list.push([
                row.platform.to_string().into(),
                row.engine.into(),
                row.precision.map(|precision| precision.to_string()).into(),
                mode.to_string().into(),
                if gap.is_none() { "yes" } else { "no" }.into(),
                gap.map(|gap| gap.reason.clone()).into(),
                gap.and_then(|gap| gap.way_out.clone()).into(),
            ]);
        }
    }
    list
}
