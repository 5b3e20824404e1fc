//! `benchdb run`: plan, measure each run in a worker process, store each as soon as it is measured, sum up.

pub(super) mod costs;
mod explanation;
mod external;
mod planned;
mod references;
mod request;
mod search;
mod session;
mod tables;
mod values;
mod variants;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::options::duration;
use super::{CommandError, Context, ExitStatus, OutputArgs};
use crate::domain::text::quoted;
use crate::domain::{Campaign, Category, Mode, Precision, RunStatus, TrainingOptimizer};
use crate::engine::plan::{HardwareChoice, NamedModel, plan, plan_all};
use crate::engine::{EngineError, Runner};
use crate::onnx::ShapeChoice;
use crate::store::{Access, now_text};
use explanation::ExplanationArgs;
use external::ExternalArgs;
use request::request;
pub(super) use session::{RunTable, Session, artifact_of, saved_elsewhere, stop_on_signals};
pub(super) use tables::result_table;
use tables::{describe, plan_tables};
pub(super) use values::telemetry_interval;
use values::{hardware_choice, shape, share};
pub(super) use variants::named_model;

/// Batches in flight that `--throughput-mode` keeps, if nobody says how many.
const BATCHES_IN_FLIGHT: u32 = 4;

/// What a row of `--plan` says itself.
const CONFIGURATION_OPTIONS: [&str; 29] = [
    "models",
    "category",
    "all",
    "hardware",
    "engines",
    "externals",
    "external_options",
    "external_timeouts",
    "batch_sizes",
    "precisions",
    "mode",
    "training_mode",
    "optimizer",
    "generate",
    "methods",
    "parameters",
    "target",
    "inner_batch",
    "workers",
    "ablation",
    "device_index",
    "throughput_mode",
    "weights",
    "shapes",
    "input",
    "reference",
    "data",
    "feed_data",
    "memory_constrained",
];

/// What else a campaign's plan fixes; `--resume` goes on with the plan as it is.
const PLAN_OPTIONS: [&str; 14] = [
    "plan",
    "threads",
    "include_software",
    "repeat",
    "limit",
    "iterations",
    "warmup",
    "min_time",
    "max_time",
    "precision_target",
    "telemetry_interval",
    "seed",
    "label",
    "dry_run",
];

/// Options of `benchdb run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb run --model resnet18 --hardware cpu
  benchdb run --model bert,vit --batch-sizes 1,8 --engine burn-flex,burn-ndarray
  benchdb run --model cifar_cnn --training-mode --optimizer sgd --repeat 5
  benchdb run --model cifar_cnn --mode explanation --methods all --num-samples 50 --warmup 5
  benchdb run --all --hardware all --dry-run
  benchdb run --model resnet18 --memory-constrained 2048
  benchdb run --model net.onnx --engine onnxruntime,tract --shape input=1,3,224,224
  benchdb run --model resnet50 --weights resnet50.safetensors --model resnet50=resnet50.onnx \\
      --engine burn-flex,tract,onnxruntime
  benchdb run --model resnet50 --engine burn-flex --external 'python3 adapters/pytorch.py'
  benchdb predict --suggest-anchors 10 --output plan.json && benchdb run --plan plan.json
  benchdb run --resume last")]
pub struct Args {
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    external: ExternalArgs,
    #[command(flatten)]
    explanation: ExplanationArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Weight file of the model: safetensors, .pt or .pth (seeded random weights without); or the .onnx that it comes in
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Shape of an input of an ONNX file, where the file leaves it open; the extent of the batch comes from
    /// `--batch-sizes`. `NAME=` may be left out where there is one input
    #[arg(long = "shape", value_name = "NAME=1,3,224,224", value_parser = shape)]
    shapes: Vec<ShapeChoice>,
    /// Tensors to measure with instead of made-up ones: an .npz with one for every input, or a .npy for the only one
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    input: Option<PathBuf>,
    /// What the outputs of ONNX files are compared with for their fidelity: weights for the same model of benchdb, or its
    /// ONNX file in fp32 (weights of the same plan, or the file itself where it is in fp32, without)
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// A labelled test set for the accuracy of image classifiers: a folder with a folder for every class, CIFAR-10's
    /// binary files, or an .npz with `images` and `labels`
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Time batches of that set, too, instead of made-up pictures
    #[arg(long, requires = "data")]
    feed_data: bool,
    /// Seed of the inputs, and of the weights where there is no file
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Time between two readings of the sensors (power, temperature, utilisation, ...); 0 reads none [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = telemetry_interval)]
    telemetry_interval: Option<Duration>,
    /// A label for this campaign, to find it again
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Measure the configurations of this file: what `predict --suggest-anchors N --output FILE` wrote, or a CSV with the
    /// columns model, platform, device, engine, precision, mode, batch_size, input_shape, parameters
    #[arg(long, value_name = "FILE", conflicts_with_all = CONFIGURATION_OPTIONS)]
    plan: Option<PathBuf>,
    /// Print the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on with a campaign that was stopped: its UUID or the beginning of it, its label, or `last`
    #[arg(long, value_name = "CAMPAIGN", conflicts_with_all = CONFIGURATION_OPTIONS, conflicts_with_all = PLAN_OPTIONS)]
    resume: Option<String>,
    /// Print the analysis of the campaign at its end: speed-ups, scaling, rankings
    #[arg(long)]
    compare: bool,
    /// Write the campaign's results to this file as versioned JSON, besides
    #[arg(long, value_name = "FILE")]
    output_ci: Option<PathBuf>,
    /// Write the campaign's runs to this file as `export` does, besides; in its name, YYYYMMDD_HHMMSS stands for the time
    /// at which the campaign began (UTC)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "hardware_benchmark_YYYYMMDD_HHMMSS.json")]
    export_json: Option<PathBuf>,
    /// Search the largest and the fastest batch size whose peak memory stays below this, for each precision, by
    /// measuring: doubling, then bisection (1 MB = 1e6 bytes)
    #[arg(long, value_name = "MB", value_parser = search::megabytes, conflicts_with_all = ["repeat", "limit"])]
    memory_constrained: Option<f64>,
    /// Where that search ends
    #[arg(long, value_name = "N", default_value_t = 1024, requires = "memory_constrained", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_batch_size: u32,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to measure")]
struct WhatArgs {
    /// Models, by forgiving names (`bert` is `bert-base-uncased`), or ONNX files: `FILE.onnx`, and `NAME=FILE.onnx` for the
    /// file of a model of that name; a version of one with its weights is `VARIANT=MODEL:FILE`, as in
    /// `original=resnet50:a.safetensors,pruned=resnet50:b.safetensors`
    #[arg(long = "model", value_name = "MODEL", value_delimiter = ',', value_parser = variants::named_model)]
    models: Vec<NamedModel>,
    /// All models of a category
    #[arg(long, value_enum, conflicts_with = "models")]
    category: Option<Category>,
    /// All models
    #[arg(long, conflicts_with_all = ["models", "category"])]
    all: bool,
    /// Platforms: cpu, cuda, rocm, mps, vulkan, ...; `all` that work, or `auto` for the first of cuda, rocm, mps,
    /// vulkan, cpu
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', default_value = "auto", value_parser = hardware_choice)]
    hardware: Vec<HardwareChoice>,
    /// Engines: burn-flex, burn-ndarray, burn-wgpu, ... for the networks of benchdb; onnxruntime, openvino, tract, ... for
    /// ONNX files (the default one of each platform without)
    #[arg(long = "engine", value_name = "ENGINE", value_delimiter = ',')]
    engines: Vec<String>,
    /// Batch sizes [default: 1; for an ONNX file with a fixed one that]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    batch_sizes: Vec<u32>,
    /// Precisions [default: fp32; for an ONNX file its own]
    #[arg(long = "precision", value_enum, value_delimiter = ',')]
    precisions: Vec<Precision>,
    /// What to time
    #[arg(long, value_enum, default_value = "inference")]
    mode: Mode,
    /// The same as `--mode training`
    #[arg(long, conflicts_with = "mode")]
    training_mode: bool,
    /// The optimizer of training steps
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: TrainingOptimizer,
    /// Let models that write produce this many tokens, with a key-value cache: time to the first token and for each
    /// further one
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    generate: Option<u32>,
    /// Threads on the host (all processors without)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,
    /// Which device of a platform, from 0 (the first real one without)
    #[arg(long, value_name = "N")]
    device_index: Option<u32>,
    /// Let `auto` and `all` take software adapters (lavapipe, SwiftShader)
    #[arg(long)]
    include_software: bool,
    /// Runs of each configuration, interleaved across the plan
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,
    /// At most this many runs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How long to sample")]
struct SamplingArgs {
    /// Samples to take at least
    #[arg(long, visible_alias = "num-samples", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,
    /// Warm-up iterations before them at least, after a first call that is kept apart
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmup: u32,
    /// Sample for at least this long: seconds, or with a unit (`500ms`, `2m`) [default: 1]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    min_time: Option<Duration>,
    /// Stop after this long whatever was reached, warm-up included
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = duration)]
    max_time: Duration,
    /// Go on until the half-width of the median's 95 % interval is below this share of the median (0.01 is 1 %)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    precision_target: Option<f64>,
    /// Keep several batches in flight and measure samples per second alone
    #[arg(long)]
    throughput_mode: bool,
    /// How many batches in flight
    #[arg(long, value_name = "N", requires = "throughput_mode", default_value_t = BATCHES_IN_FLIGHT, value_parser = clap::value_parser!(u32).range(2..=1024))]
    batches_in_flight: u32,
}

/// Runs the command.
///
/// # Errors
/// What keeps the plan from being made or the database from being written. A run that fails is a row, not an error.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    for target in [&args.output.output, &args.output_ci, &args.export_json].into_iter().flatten() {
        check_target(target)?;
    }
    let runner = Runner::for_this_program()?;
    if let Some(wanted) = &args.resume {
        let mut store = context.open(Access::Write)?;
        let campaign = store.find_campaign(wanted)?;
        return Session::new(context, &mut store, runner, campaign)?
            .compared(args.compare, args.output_ci.clone())
            .exported(args.export_json.as_deref())
            .go_on(&args.output);
    }
    let mut request = request(args)?;
    if !request.externals.is_empty() {
        // Programs of others do not hear Ctrl-C: they are in groups of their own.
        request.stop = stop_on_signals()?;
    }
    let plan = match &args.plan {
        None => plan(&request, &runner)?,
        Some(path) => {
            let wanted = planned::read(path, &request)?;
            for (what, way_out) in &wanted.left_out {
                context.note(&format!("left out: {what} ({way_out})"));
            }
            plan_all(&wanted.requests, &runner)?
        }
    };
    if request.stop.load(Ordering::Relaxed) {
        return Ok(ExitStatus::Interrupted);
    }
    if args.dry_run {
        context.print("plan", &plan_tables(&plan, args.output.is_for_people()), &args.output)?;
        for note in &plan.notes {
            context.note(note);
        }
        if let Some(limit) = args.memory_constrained {
            context.note(&format!("from these the search for what fits into {limit} MB would start"));
        }
        return Ok(if plan.runs.is_empty() { ExitStatus::Failed } else { ExitStatus::Ok });
    }
    for note in &plan.notes {
        context.note(note);
    }
    if plan.runs.is_empty() && plan.unsupported.is_empty() {
        for left_out in &plan.left_out {
            context.complain(&left_out.reason.to_string(), left_out.reason.hint().as_deref());
        }
        return Ok(ExitStatus::Failed);
    }
    let left_out = plan.left_out.iter().map(|left_out| (left_out.what.clone(), &left_out.reason));
    // What failed already is told with the results.
    let refused = plan.unsupported.iter().filter(|(_, reason)| reason.status() == RunStatus::Unsupported);
    let unsupported = refused.map(|(planned, reason)| (describe(planned), reason));
    report_left_out(context, left_out.chain(unsupported));
    let campaign = Campaign {
        uuid: uuid::Uuid::now_v7().to_string(),
        started_at: now_text(),
        command_line: command_line(),
        label: args.label.clone(),
        seed: Some(request.seed),
    };
    let mut store = context.open(Access::Create)?;
    let mut session = Session::new(context, &mut store, runner, campaign)?
        .compared(args.compare, args.output_ci.clone())
        .exported(args.export_json.as_deref());
    if let Some(limit) = args.memory_constrained {
        return search::search(session, &plan, limit, args.max_batch_size, &args.output);
    }
    session.insert_plan(&plan)?;
    if plan.runs.is_empty() {
        return session.sum_up(Vec::new(), &args.output);
    }
    session.go_on(&args.output)
}

/// Finds out before anything is measured whether a result file can be written.
fn check_target(path: &Path) -> anyhow::Result<()> {
    let folder = crate::domain::text::folder_of(path);
    let refused = |reason: String| {
        CommandError::new(format!("cannot write `{}`: {reason}", path.display()), "choose another folder")
    };
    if path.is_dir() {
        return Err(refused("it is a folder".to_owned()).into());
    }
    // `-` is standard output.
    if path != Path::new("-") {
        tempfile::tempfile_in(folder).map_err(|error| refused(error.to_string()))?;
    }
    Ok(())
}

/// Says what is not measured and why; the way out of several in a row stands behind the last of them.
fn report_left_out<'e>(context: &Context, left_out: impl Iterator<Item = (String, &'e EngineError)>) {
    let mut left_out = left_out.peekable();
    while let Some((what, reason)) = left_out.next() {
        let text = reason.to_string();
        context.note(&if text.starts_with(&what) {
            format!("left out: {text}")
        } else {
            format!("left out: {what}: {text}")
        });
        let hint = reason.hint();
        if let Some(hint) = hint.as_ref().filter(|_| left_out.peek().and_then(|(_, next)| next.hint()) != hint) {
            context.note(&format!("hint: {hint}"));
        }
    }
}

pub(super) fn command_line() -> String {
    let words: Vec<String> = std::env::args_os().map(|word| quoted(&word.to_string_lossy())).collect();
    words.join(" ")
}
