//! `benchdb hardware`: what can be run here, and what is missing for the rest.

use super::{Context, ExitStatus, OutputArgs};
use crate::domain::{Mode, Platform, Table};
use crate::engine::{Engine, EngineError, ProbedDevice, Runner, engines};
use crate::report::{Format, bytes};

/// Options of `benchdb hardware`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// A worker that cannot be started, an output that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let runner = Runner::for_this_program()?;
    let people = matches!(args.output.format(), Format::Table | Format::Markdown);
    let mut found = Table::new(
        "Devices",
        &[
            "platform",
            "index",
            "device",
            "kind",
            "compute_units",
            "memory",
            "software",
            "engine",
            "engine_version",
            "precisions",
            "modes",
        ],
    );
    let mut missing = Table::new("Missing", &["platform", "engine", "reason", "way_out"]);
    for engine in engines().into_iter().filter(|engine| !engine.hidden()) {
        for &platform in engine.platforms() {
            match devices(engine, platform, &runner) {
                Ok(devices) => {
                    for (index, probed) in devices.iter().enumerate() {
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
                            engine.versions().engine.into(),
                            precisions(engine, probed).into(),
                            modes(engine).into(),
                        ]);
                    }
                }
                Err(error) => missing.push([
                    platform.to_string().into(),
                    engine.name().into(),
                    error.to_string().into(),
                    error.hint().into(),
                ]),
            }
        }
    }
    for platform in <Platform as clap::ValueEnum>::value_variants() {
        let served = engines().iter().any(|engine| engine.platforms().contains(platform));
        if !served {
            let error = EngineError::NoEngine { platform: *platform };
            missing.push([platform.to_string().into(), "".into(), error.to_string().into(), error.hint().into()]);
        }
    }
    context.print("hardware", &[found, missing], &args.output)?;
    Ok(ExitStatus::Ok)
}

fn devices(engine: &dyn Engine, platform: Platform, runner: &Runner) -> Result<Vec<ProbedDevice>, EngineError> {
    let (feature, compiled) = engine.feature();
    if !compiled {
        return Err(EngineError::NotCompiled { engine: engine.name(), feature });
    }
    let devices = runner.probe(engine.name())?;
    if devices.is_empty() {
        return Err(EngineError::NoDevice { platform });
    }
    Ok(devices)
}

/// What the device reports and the engine really does.
fn precisions(engine: &dyn Engine, probed: &ProbedDevice) -> String {
    probed
        .precisions
        .iter()
        .map(|&precision| {
            if engine.supports(Mode::Training, precision).is_ok() {
                precision.to_string()
            } else {
                format!("{precision} (inference)")
            }
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn modes(engine: &dyn Engine) -> String {
    <Mode as clap::ValueEnum>::value_variants()
        .iter()
        .filter(|&&mode| engine.supports(mode, crate::domain::Precision::Fp32).is_ok())
        .map(Mode::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
