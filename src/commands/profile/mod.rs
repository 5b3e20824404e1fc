//! `benchdb profile`: where the time of a model goes, by its operators and by what the processor does; and what became
//! of it between two profiles.

mod compare;
mod files;
mod measure;
mod tables;

use std::path::PathBuf;
use std::time::Duration;

pub(super) use self::tables::stored_operators;
use super::options::duration;
use super::{CommandError, Context, ExitStatus, OutputArgs};
use crate::domain::{Mode, Platform, Precision, TrainingOptimizer};
use crate::report::Format;

/// Options of `benchdb profile`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb profile --model resnet18 --output profile
  benchdb profile --model gpt2 --mode training --batch-size 2 --top 40
  benchdb profile --model cifar_cnn --hardware vulkan --format json
  benchdb profile --compare 12 15 --output difference

A profile is a run of its own, with the parameter `profile`: it is never compared with plain runs. Its latency is that of
iterations without a time for each operator, measured in turns with those that have one.")]
pub struct Args {
    /// The model, by a forgiving name
    #[arg(long, value_name = "MODEL", required_unless_present = "compare")]
    model: Option<String>,
    /// What to profile: inference, or a training step forward, backward and by its optimizer
    #[arg(long, value_enum, default_value = "inference")]
    mode: Mode,
    /// The engine: burn-flex, burn-ndarray, burn-wgpu, ... (the default one of the platform without)
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// The platform: cpu, cuda, rocm, mps, vulkan [default: that of the engine, or cpu]
    #[arg(long, value_enum)]
    hardware: Option<Platform>,
    /// Which device of the platform, from 0 (the first real one without)
    #[arg(long, value_name = "N")]
    device_index: Option<u32>,
    /// The precision
    #[arg(long, value_enum, default_value = "fp32")]
    precision: Precision,
    /// Samples in an iteration
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Threads on the host (all processors without)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,
    /// The optimizer of training steps
    #[arg(long, value_enum, default_value_t)]
    optimizer: TrainingOptimizer,
    /// Weight file: safetensors, .pt or .pth (seeded random weights without)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Seed of inputs, and of the weights where there is no file
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Pairs of iterations, one as it is and one with a time for each operator; what the profile itself costs is claimed
    /// from 20 on
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    iterations: u32,
    /// Take no more pairs after this long: seconds, or with a unit
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = duration)]
    max_time: Duration,
    /// Looks at what the processor does, for each second of its time; 0 does not look [default: 99 on Unix, if the host's
    /// processor is profiled]
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(..=10_000))]
    sampling_rate: Option<u32>,
    /// How long to measure what the device can do at most, where the database does not know it yet; 0 does not
    #[arg(long, value_name = "TIME", default_value = "5", value_parser = duration)]
    peak_time: Duration,
    /// Compare two profiles that are stored, by their run ids or UUIDs: before and after
    #[arg(long, value_names = ["BEFORE", "AFTER"], num_args = 2, conflicts_with_all = [
        "model", "mode", "engine", "hardware", "device_index", "precision", "batch_size", "threads", "optimizer", "weights",
        "seed", "iterations", "max_time", "sampling_rate", "peak_time",
    ])]
    compare: Vec<String>,
    /// Operators in the table; the others are one row
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Write flame graphs, timelines and all operators into this folder
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// How to print the tables; CSV is one table, the operators alone
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

impl Args {
    /// Where and how tables are printed.
    fn printed(&self) -> OutputArgs {
        OutputArgs { format: Some(self.format), output: None }
    }
}

/// Runs the command.
///
/// # Errors
/// What cannot be profiled or compared; a database or folder that cannot be written. A profile that breaks is a run that
/// failed.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    match (&args.compare[..], &args.model) {
        ([before, after], _) => compare::execute([before, after], args, context),
        (_, Some(model)) => measure::execute(model, args, context),
        _ => Err(CommandError::new("no model was named", "`--model resnet18`; `benchdb models` lists them").into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(arguments: &[&str]) -> Result<Args, ErrorKind> {
        let all = [&["profile", "--compare", "1", "2"], arguments].concat();
        Alone::try_parse_from(all).map(|alone| alone.args).map_err(|error| error.kind())
    }

    #[test]
    fn a_comparison_refuses_what_only_a_measurement_takes() {
        for option in [
            ["--model", "resnet18"],
            ["--mode", "training"],
            ["--precision", "int8w"],
            ["--batch-size", "1"],
            ["--optimizer", "sgd"],
            ["--seed", "0"],
            ["--iterations", "20"],
            ["--max-time", "60"],
            ["--peak-time", "5"],
        ] {
            assert_eq!(parsed(&option).unwrap_err(), ErrorKind::ArgumentConflict, "{option:?}");
        }
        // What nobody gave has a default and is no conflict.
        let args = parsed(&["--top", "5", "--output", "there", "--format", "json"]).unwrap();
        assert_eq!(args.compare, ["1", "2"]);
    }
}
