//! `benchdb hardware --probe`: measures what devices can do at most, and keeps it for forecasts.

use std::time::Duration;

use super::super::options::duration;
use super::super::{Context, ExitStatus, OutputArgs};
use super::{devices, name_rates, rate};
use crate::domain::text::one_line;
use crate::domain::{Device, DeviceProbe, DeviceRates, Platform, Precision, Table};
use crate::engine::{Engine, EngineError, Form, ProbedDevice, Runner, engines, find_engine};
use crate::hardware::logical_cpus;
use crate::report::bytes;
use crate::store::{Access, Store, StoreError};

/// Options of `benchdb hardware --probe`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Probe")]
pub struct ProbeArgs {
    /// Measure what each device can do at most - the product of large matrices in each precision, and a copy of memory - and
    /// keep it in the database: forecasts use it for devices of which they know no data sheet
    #[arg(long)]
    pub probe: bool,
    /// Platforms to probe; every one that is here without
    #[arg(long = "hardware", value_name = "PLATFORM", value_enum, value_delimiter = ',', requires = "probe")]
    platforms: Vec<Platform>,
    /// Engines to probe with; every one of this build without
    #[arg(long = "engine", value_name = "ENGINE", value_delimiter = ',', requires = "probe")]
    engines: Vec<String>,
    /// Precisions; every one that the device computes in without
    #[arg(long = "precision", value_enum, value_delimiter = ',', requires = "probe")]
    precisions: Vec<Precision>,
    /// Probe software devices, too; a platform that is named includes them
    #[arg(long, requires = "probe")]
    include_software: bool,
    /// About how long work may run on one device, by one engine, in one precision: seconds, or with a unit (`500ms`, `2m`).
    /// Compiling kernels and checking results may take four times as long; what hangs is given up
    #[arg(long, value_name = "TIME", default_value = "5", value_parser = limit, requires = "probe")]
    max_time: Duration,
}

fn limit(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        limit if limit < Duration::from_millis(100) => Err("in less than 100ms nothing can be measured".to_owned()),
        limit => Ok(limit),
    }
}

/// The option that limits how long a device is measured, as those who measure name it.
const TIME_OPTION: &str = "--max-time";

/// What was left out and what would help, with the time option of the command that measures.
fn with_option(left_out: &str, option: &str) -> String {
    left_out.replace(TIME_OPTION, option)
}

/// One thing to measure.
struct Target {
    engine: &'static dyn Engine,
    platform: Platform,
    index: u32,
    probed: ProbedDevice,
}

/// A device, what drives it, and the precision in which it computes.
pub(in crate::commands) struct Rated<'d> {
    pub(in crate::commands) device: &'d Device,
    pub(in crate::commands) engine: &'d str,
    /// Which of the engine's devices.
    pub(in crate::commands) index: u32,
    pub(in crate::commands) precision: Precision,
}

impl std::fmt::Display for Rated<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, engine, precision, .. } = self;
        write!(f, "{precision} by {engine} on {}", device.name)
    }
}

impl Rated<'_> {
    /// Measures what it can do at most in about `limit`, which the user gives with `option`, and says what was left out.
    pub(in crate::commands) fn measure(
        &self,
        limit: Duration,
        option: &str,
        runner: &Runner,
        context: &Context,
    ) -> DeviceRates {
        let rates = runner
            .measure_rates(self.engine, self.index, self.precision, limit)
            .unwrap_or_else(|error| DeviceRates { left_out: vec![one_line(&error)], ..DeviceRates::default() });
        for left_out in &rates.left_out {
            context.note(&format!("{self}: {}", with_option(left_out, option)));
        }
        rates
    }

    /// Keeps what was measured, if anything was.
    ///
    /// # Errors
    /// A database that does not take it.
    pub(in crate::commands) fn keep(&self, rates: &DeviceRates, store: &mut Store) -> Result<(), StoreError> {
        if !rates.any() {
            return Ok(());
        }
        store.insert_device_probe(&DeviceProbe {
            device: self.device.clone(),
            engine: self.engine.to_owned(),
            precision: self.precision,
            probed_at: String::new(),
            peak_gflop_per_second: rates.peak_gflop_per_second,
            copy_bandwidth_gb_per_second: rates.copy_bandwidth_gb_per_second,
            tool_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        })
    }
}

/// Measures and keeps.
///
/// # Errors
/// An engine that does not exist, a worker that cannot be started, a database that cannot be written.
pub(super) fn execute(args: &ProbeArgs, output: &OutputArgs, context: &Context) -> anyhow::Result<ExitStatus> {
    let runner = Runner::for_this_program()?;
    let targets = targets(args, &runner, context)?;
    let mut store = context.open(Access::Create)?;
    let people = output.is_for_people();
    let columns = [
        "platform",
        "device",
        "engine",
        "precision",
        "threads",
        "peak_gflop_per_second",
        "matrix_side",
        "copy_bandwidth_gb_per_second",
        "copied_bytes",
        "left_out",
    ];
    let mut table = Table::new("", &columns);
    let mut measured = false;
    for Target { engine, platform, index, probed } in &targets {
        for precision in precisions(args, *engine, probed, context) {
            let rated = Rated { device: &probed.device, engine: engine.name(), index: *index, precision };
            context.note(&format!("measuring {rated}"));
            let rates = rated.measure(args.max_time, TIME_OPTION, &runner, context);
            measured |= rates.any();
            rated.keep(&rates, &mut store)?;
            table.push([
                platform.to_string().into(),
                probed.device.name.clone().into(),
                engine.name().into(),
                precision.to_string().into(),
                logical_cpus().into(),
                rate(rates.peak_gflop_per_second, people),
                rates.matrix_side.into(),
                rate(rates.copy_bandwidth_gb_per_second, people),
                if people { rates.copied_bytes.map(bytes).into() } else { rates.copied_bytes.into() },
                rates.left_out.join("; ").into(),
            ]);
        }
    }
    if people {
        // Said on standard error.
        table.drop_columns(&["left_out"]);
        name_rates(&mut table);
        table.rename_column("copied_bytes", "copied");
    }
    context.print("probes", &[table], output)?;
    Ok(if measured { ExitStatus::Ok } else { ExitStatus::Failed })
}

/// The devices that are meant, by every engine that is meant; what is left out is said.
fn targets(args: &ProbeArgs, runner: &Runner, context: &Context) -> Result<Vec<Target>, EngineError> {
    let chosen: Vec<&'static dyn Engine> = if args.engines.is_empty() {
        engines()
            .into_iter()
            .filter(|engine| !engine.hidden() && engine.takes(Form::Zoo) && engine.feature().1)
            .collect()
    } else {
        args.engines.iter().map(|name| find_engine(name)).collect::<Result<_, _>>()?
    };
    let mut targets = Vec::new();
    for engine in chosen {
        for &platform in engine.platforms() {
            let named = args.platforms.contains(&platform);
            if !(named || args.platforms.is_empty()) {
                continue;
            }
            match devices(engine, platform, runner) {
                Err(error) => leave_out(&format!("{} on {platform}", engine.name()), &error, context),
                Ok(found) => {
                    for (index, probed) in (0..).zip(found.devices) {
                        // A test engine is asked for by its name alone.
                        if probed.device.software && !named && !args.include_software && !engine.hidden() {
                            let error = EngineError::OnlySoftware { platform, device: probed.device.name };
                            leave_out(engine.name(), &error, context);
                            continue;
                        }
                        targets.push(Target { engine, platform, index, probed });
                    }
                }
            }
        }
    }
    for &platform in &args.platforms {
        if !targets.iter().any(|target| target.platform == platform)
            && !engines().iter().any(|engine| engine.platforms().contains(&platform))
        {
            leave_out(&platform.to_string(), &EngineError::NoEngine { platform }, context);
        }
    }
    Ok(targets)
}

/// The precisions that are meant and that the device computes in; weights that are kept as integers are multiplied in
/// floating point, so that they have no rate of their own.
fn precisions(args: &ProbeArgs, engine: &dyn Engine, probed: &ProbedDevice, context: &Context) -> Vec<Precision> {
    let has_rate = |precision: Precision| probed.precisions.contains(&precision) && precision != Precision::Int8w;
    if args.precisions.is_empty() {
        return probed.precisions.iter().copied().filter(|&precision| has_rate(precision)).collect();
    }
    let (wanted, others): (Vec<Precision>, Vec<Precision>) =
        args.precisions.iter().partition(|wanted| has_rate(**wanted));
    for precision in others {
        let reason = if precision == Precision::Int8w {
            "its products are in floating point"
        } else {
            "the device does not compute in it"
        };
        let error = EngineError::Unsupported {
            engine: engine.name(),
            what: format!("a probe in {precision} on {}", probed.device.name),
            reason,
            nearest: Some("`--precision fp32`"),
        };
        leave_out(engine.name(), &error, context);
    }
    wanted
}

fn leave_out(what: &str, error: &EngineError, context: &Context) {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    context.note(&format!("left out {what}: {}{hint}", one_line(error)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gives_more_time_is_an_option_of_the_command() {
        let left_out = "there was no time for more than a product of side 256; `--max-time` gives more";
        let told = with_option(left_out, "--peak-time");
        assert_eq!(told, "there was no time for more than a product of side 256; `--peak-time` gives more");
        assert_eq!(with_option(left_out, TIME_OPTION), left_out);
    }
}
