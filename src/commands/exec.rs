//! `benchdb exec`: measure any command line as a whole process, into the same database as every other run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

use super::options::duration;
use super::run::{RunTable, Session, command_line, telemetry_interval};
use super::{CommandError, Context, ExitStatus, OutputArgs};
use crate::domain::metric::find_metric;
use crate::domain::{
    Campaign, Cell, Configuration, Mode, ParsedMetric, PlannedRun, Platform, Precision, RunRecord, Sampling, Table,
    TrainingOptimizer, WeightChoice, WholeCommand,
};
use crate::engine::Runner;
use crate::engine::command::{COMMAND_ENGINE, check_patterns};
use crate::engine::plan::Plan;
use crate::hardware::host_cpu;
use crate::measure::DEFAULT_TELEMETRY_INTERVAL;
use crate::report::significant;
use crate::store::list::Detail;
use crate::store::{Access, now_text};
use crate::zoo;

/// The shell that `--shell` means, if nobody names one.
const SHELL: &str = "sh";

/// Metrics of every command.
const USER_TIME: &str = "user_time";
const SYSTEM_TIME: &str = "system_time";
const SHELL_STARTUP_TIME: &str = "shell_startup_time";

/// The number of executions ends a run, not a time.
const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Options of `benchdb exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb exec -- python3 train.py --epochs 1
  benchdb exec --name sort --runs 30 --warmup 3 -- sort big.txt
  benchdb exec --name train --parse 'accuracy: ([0-9.]+)=accuracy' --parse 'loss ([0-9.]+)=loss[nats]' -- ./train
  benchdb exec --shell --name pipeline -- 'zcat big.gz | wc -l'
  benchdb exec --name app --repeat 5 --label new -- ./app && benchdb regress --label new --baseline main

The command is a model of the engine `command`, so that `analyze`, `regress`, `baseline` and `recommend` know it by its
name. The first execution is kept apart (first_inference_ms), as the first call of a network is.")]
pub struct Args {
    /// The command and its arguments, after `--`; with `--shell` one text for the shell
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<String>,
    /// Its name in the record (the command line without)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Timed executions, after a first one that is kept apart
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Untimed executions between the first and the timed ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    warmup: u32,
    /// Runs of it all, each with its own first execution: what `regress` takes for independent
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,
    /// Read a number from the output of each execution: the first group of the last match, on standard output or else on
    /// standard error, becomes a metric, with a unit in brackets if it has one
    #[arg(long, value_name = "REGEX=METRIC[UNIT]", value_parser = parsed_metric)]
    parse: Vec<ParsedMetric>,
    /// Run it by a shell (sh without a name); what the shell takes to start is measured and taken off
    #[arg(long, value_name = "SHELL", num_args = 0..=1, default_missing_value = SHELL)]
    shell: Option<String>,
    /// End an execution after this long; it has failed then
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Measure executions that fail, too, instead of ending with the first
    #[arg(long)]
    ignore_failure: bool,
    /// Pass what it prints on to standard error
    #[arg(long)]
    show_output: bool,
    /// Time between two readings of the sensors (power, temperature, utilisation, ...); 0 reads none [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = telemetry_interval)]
    telemetry_interval: Option<Duration>,
    /// A label for this campaign, to find it again
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// `REGEX=METRIC[UNIT]`: the regular expression may hold a `=`, the name may not.
fn parsed_metric(text: &str) -> Result<ParsedMetric, String> {
    let (pattern, metric) = text.rsplit_once('=').ok_or("it has the form `REGEX=metric`")?;
    let (name, unit) = match metric.strip_suffix(']').and_then(|metric| metric.split_once('[')) {
        Some((name, unit)) => (name, unit),
        None => (metric, ""),
    };
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("`{name}` is no name of a metric: letters, digits, `-`, `_` and `.`"));
    }
    if unit.chars().any(char::is_control) {
        return Err("the unit holds control characters".to_owned());
    }
    if find_metric(name).is_some() || [USER_TIME, SYSTEM_TIME, SHELL_STARTUP_TIME].contains(&name) {
        return Err(format!("benchdb measures a metric `{name}` itself: give it another name"));
    }
    Ok(ParsedMetric { pattern: pattern.to_owned(), name: name.to_owned(), unit: unit.to_owned() })
}

/// Runs the command.
///
/// # Errors
/// What keeps it from being planned or the database from being written. A command that fails is a row, not an error.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let planned = planned(args)?;
    let plan = Plan {
        runs: (0..args.repeat)
            .map(|position| PlannedRun { position, repetition: position + 1, ..planned.clone() })
            .collect(),
        ..Plan::default()
    };
    let campaign = Campaign {
        uuid: uuid::Uuid::now_v7().to_string(),
        started_at: now_text(),
        command_line: command_line(),
        label: args.label.clone(),
        seed: None,
    };
    let runner = Runner::for_this_program()?;
    let mut store = context.open(Access::Create)?;
    let mut session =
        Session::new(context, &mut store, runner, campaign)?.shown_as(RunTable { make: table, detail: Detail::Whole });
    session.insert_plan(&plan)?;
    session.go_on(&args.output)
}

/// One run of the command; its place is not known yet.
fn planned(args: &Args) -> anyhow::Result<PlannedRun> {
    for (at, metric) in args.parse.iter().enumerate() {
        if args.parse[..at].iter().any(|other| other.name == metric.name) {
            let message = format!("two patterns are for the metric `{}`", metric.name);
            return Err(CommandError::new(message, "give each a name of its own").into());
        }
    }
    check_patterns(&args.parse).map_err(crate::engine::EngineError::from)?;
    let words = match &args.shell {
        Some(_) => vec![args.command.join(" ")],
        None => args.command.clone(),
    };
    if args.timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(CommandError::new("no command ends within 0 s", "`--timeout 30s`, or none").into());
    }
    let name = args.name.clone().unwrap_or_else(|| args.command.join(" "));
    if args.name.as_ref().is_some_and(|name| name.chars().any(char::is_control)) {
        return Err(CommandError::new("the name holds control characters", "`--name NAME` in one line").into());
    }
    if let Some(entry) = zoo::find(&name) {
        let message = format!("`{}` is a network of benchdb, not a command", entry.name);
        return Err(CommandError::new(message, "give the command another name: `--name NAME`").into());
    }
    if name.trim().is_empty() {
        return Err(CommandError::new("the command has no name", "`--name NAME` gives it one").into());
    }
    let mut parameters = BTreeMap::new();
    if let Some(shell) = &args.shell {
        // Times without the shell's start are other numbers than those of the command by itself.
        parameters.insert("shell".to_owned(), shell.clone().into());
    }
    Ok(PlannedRun {
        position: 0,
        repetition: 1,
        configuration: Configuration {
            model: name,
            variant: String::new(),
            platform: Platform::Cpu,
            device: host_cpu(),
            engine: COMMAND_ENGINE.to_owned(),
            precision: Precision::Fp32,
            mode: Mode::Inference,
            batch_size: 1,
            input_shape: String::new(),
            // A command decides that itself.
            threads: 0,
            parameters,
        },
        device_index: 0,
        inputs: Vec::new(),
        weights: WeightChoice::Seeded(0),
        seed: 0,
        optimizer: TrainingOptimizer::default(),
        sampling: Sampling {
            warmup_iterations: args.warmup,
            warmup_time: Duration::ZERO,
            min_iterations: args.runs,
            min_time: Duration::ZERO,
            max_time: NO_LIMIT,
            precision_target: None,
            batches_in_flight: 1,
        },
        generate: None,
        data: None,
        telemetry_interval: Some(args.telemetry_interval.unwrap_or(DEFAULT_TELEMETRY_INTERVAL))
            .filter(|interval| !interval.is_zero()),
        graph: None,
        described: None,
        input: None,
        reference: None,
        external: None,
        command: Some(WholeCommand {
            words,
            folder: std::env::current_dir().context("cannot find out the current folder")?,
            shell: args.shell.clone(),
            timeout: args.timeout,
            ignore_failure: args.ignore_failure,
            show_output: args.show_output,
            parse: args.parse.clone(),
        }),
    })
}

/// Standard metrics that are shown: name, and what a person reads.
const SHOWN: [(&str, &str); 7] = [
    ("latency_p50_ms", "p50 ms"),
    ("latency_mean_ms", "mean ms"),
    ("latency_std_ms", "std ms"),
    ("latency_min_ms", "min ms"),
    ("latency_max_ms", "max ms"),
    ("first_inference_ms", "first ms"),
    ("memory_host_peak_mb", "peak MB"),
];

/// One row a run, with the metrics of its own.
fn table(runs: &[(i64, RunRecord)], people: bool) -> Table {
    let mut own: Vec<&str> = Vec::new();
    for metric in runs.iter().flat_map(|(_, run)| &run.measurement.extra_metrics) {
        if !own.contains(&metric.name.as_str()) {
            own.push(&metric.name);
        }
    }
    let succeeds =
        runs.iter().any(|(_, run)| run.measurement.metrics.get("success_rate").is_some_and(|rate| rate < 1.0));
    let unit = |name: &str| {
        let metrics = runs.iter().flat_map(|(_, run)| &run.measurement.extra_metrics);
        metrics.into_iter().find(|metric| metric.name == name).map(|metric| metric.unit.clone()).unwrap_or_default()
    };
    let mut names: Vec<String> = [if people { "run" } else { "run_id" }, "model"].map(str::to_owned).to_vec();
    names.extend(SHOWN.iter().map(|(name, short)| (if people { short } else { name }).to_string()));
    names.extend(own.iter().map(|name| match unit(name).as_str() {
        "" => (*name).to_owned(),
        _ if !people => (*name).to_owned(),
        unit => format!("{} {unit}", name.replace('_', " ").trim_end_matches(" time")),
    }));
    if succeeds || !people {
        names.push(if people { "succeeded".to_owned() } else { "success_rate".to_owned() });
    }
    names.extend([if people { "samples" } else { "iterations" }, "status"].map(str::to_owned));
    if !people {
        names.extend(["validity", "error"].map(str::to_owned));
    }
    let mut table = Table::new("", &names.iter().map(String::as_str).collect::<Vec<_>>());
    for (id, run) in runs {
        let measurement = &run.measurement;
        let number = |value: Option<f64>| -> Cell { if people { value.map(significant).into() } else { value.into() } };
        let mut row: Vec<Cell> = vec![(*id).into(), run.configuration.model.clone().into()];
        row.extend(SHOWN.iter().map(|(name, _)| number(measurement.metrics.get(name))));
        let value =
            |name: &str| measurement.extra_metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value);
        row.extend(own.iter().map(|name| number(value(name))));
        if succeeds || !people {
            row.push(number(measurement.metrics.get("success_rate")));
        }
        row.extend([measurement.iterations.into(), measurement.status.to_string().into()]);
        if !people {
            row.extend([measurement.validity.to_string().into(), measurement.error.clone().into()]);
        }
        table.push(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_may_hold_what_separates_it_from_its_metric() {
        let read = |text: &str| parsed_metric(text).map(|metric| (metric.pattern, metric.name, metric.unit));
        assert_eq!(read("loss=([0-9.]+)=loss[nats]").unwrap(), ("loss=([0-9.]+)".into(), "loss".into(), "nats".into()));
        assert_eq!(read("(\\d+)=n").unwrap(), ("(\\d+)".into(), "n".into(), String::new()));
        for wrong in ["x", "(x)=", "(x)=a b", "(x)=latency_p50_ms", "(x)=user_time"] {
            assert!(parsed_metric(wrong).is_err(), "{wrong}");
        }
    }
}
