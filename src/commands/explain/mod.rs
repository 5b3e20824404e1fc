//! `benchdb explain`: explanations of pictures, texts and sounds, as pictures, arrays and tables.
//!
//! `seam` says what is asked of attribution methods, and `methods` answers it; `place` says where; `choice` and `targets`
//! read what people want, `shelf` knows the cache, `session` does the work, `files` writes what comes of it, `tables` shows it.

mod choice;
mod files;
mod methods;
mod place;
mod seam;
mod session;
mod shelf;
mod tables;
mod targets;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde_json::Value;

use super::options::parameter;
use super::{CommandError, Context, ExitStatus, OutputArgs};
use crate::dataset::{SampleReader, file_digest, input_files};
use crate::engine::plan::find_model;
use crate::measure::StageProfiler;
use crate::report::Format;
use crate::zoo::WeightSource;

use choice::{ALL, chosen, read_baselines};
use files::Destination;
use methods::Methods;
use place::PlaceArgs;
use seam::Explainer as _;
use session::Session;
use shelf::Shelf;
use targets::{TargetChoice, target};

/// What the cache may take without a word from the user, in MB.
const CACHE_LIMIT_MB: u64 = crate::cache::DEFAULT_LIMIT / MB;

const MB: u64 = 1_000_000;

/// Options of `benchdb explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb explain --model resnet50 --weights resnet50.safetensors --method grad_cam dog.jpg --output map.png
  benchdb explain --model cifar_cnn --method all --target 3 pictures/
  benchdb explain --model resnet18 --method integrated_gradients --set steps=100 --set baseline=zeros dog.jpg
  benchdb explain --model resnet50 --method occlusion --hardware cuda --inner-batch auto --memory-limit 8GiB photos/
  benchdb explain --cache-stats")]
pub struct Args {
    /// Pictures (PNG, JPEG), tensors (.npy, .npz), or folders of them
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The same as FILE
    #[arg(long, short, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// The model, by a forgiving name
    #[arg(long, value_name = "MODEL", required_unless_present_any = ["cache_stats", "clear_cache"])]
    model: Option<String>,
    /// Weight file: safetensors, .pt or .pth (seeded random weights without)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Seed of the weights where there is no file
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// The methods, or `all` that fit the model
    #[arg(long = "method", value_name = "METHOD", value_delimiter = ',', required_unless_present_any = ["cache_stats", "clear_cache"])]
    methods: Vec<String>,
    /// A parameter of the methods; of one of several methods: METHOD.NAME=VALUE
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// The class to explain, for all inputs or one for each: 3,7; at a position of the output: 3@0 [default: the
    /// network's own answer]
    #[arg(long, value_name = "CLASS", value_delimiter = ',', value_parser = target)]
    target: Vec<TargetChoice>,
    /// What the input is compared with: `zeros`, or a .npy of the shape of a batch of inputs
    #[arg(long, value_name = "zeros|FILE")]
    baseline: Option<PathBuf>,
    /// A folder for heat maps (.png) and attributions (.npy), or the one .png of one input
    #[arg(long, short, value_name = "FOLDER|FILE.png", default_value = "explanations")]
    output: PathBuf,
    /// Write the attribution of one input and method to this .npy
    #[arg(long, value_name = "FILE.npy")]
    save_attribution: Option<PathBuf>,
    /// Inputs that are explained at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// The folder of explanations that were computed before [default: benchdb/explanations in the user's cache folder]
    #[arg(long, value_name = "FOLDER", env = "BENCHDB_CACHE", hide_env_values = true)]
    cache: Option<PathBuf>,
    /// Compute everything, and keep nothing
    #[arg(long, conflicts_with_all = ["cache_stats", "clear_cache"])]
    no_cache: bool,
    /// What the cache may take on disk, in MB
    #[arg(long, value_name = "MB", default_value_t = CACHE_LIMIT_MB, value_parser = clap::value_parser!(u64).range(..=u64::MAX / MB))]
    cache_limit: u64,
    /// Show what the cache holds and how it served, and do nothing else
    #[arg(long, conflicts_with = "clear_cache")]
    cache_stats: bool,
    /// Empty the cache, and do nothing else
    #[arg(long)]
    clear_cache: bool,
    /// Say where the time went
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    place: PlaceArgs,
    /// How to print what was done
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Runs the command.
///
/// # Errors
/// Inputs, weights, methods and targets that do not fit; files that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printed = OutputArgs { format: args.format, output: None };
    let limit = args.cache_limit * MB;
    if args.cache_stats || args.clear_cache {
        let cache = shelf::existing(args.cache.as_deref(), limit)?;
        return if args.clear_cache { shelf::clear(&cache, context) } else { shelf::show(&cache, &printed, context) };
    }
    let entry = find_model(args.model.as_deref().unwrap_or_default())?;
    let paths: Vec<PathBuf> = args.files.iter().chain(&args.input).cloned().collect();
    if paths.is_empty() {
        return Err(CommandError::new("there is nothing to explain", "name pictures, .npy files or folders").into());
    }
    let files = input_files(&paths)?;
    let source = match &args.weights {
        Some(path) => WeightSource::File(path.clone()),
        None => WeightSource::Seeded(args.seed),
    };
    let profiler = if args.profile { StageProfiler::on() } else { StageProfiler::off() };
    let explainer = profiler.time("load the model", || Methods::load(entry, &source, &args.place))?;
    match args.place.is_chosen() {
        true => context.note(&explainer.place),
        false => context.detail(&explainer.place),
    }
    let weights = match &args.weights {
        Some(path) => file_digest(path)?,
        None => format!("seed {}", args.seed),
    };
    let baselines = args.baseline.as_deref().and_then(|baseline| read_baselines(baseline).transpose()).transpose()?;
    let methods = chosen(&args.methods, &args.parameters, baselines.is_some(), &explainer)?;
    let destination = Destination::new(&args.output, args.save_attribution.as_deref(), &files, methods.len())?;
    let session = Session {
        explainer: &explainer,
        methods: &methods,
        all: args.methods.iter().any(|name| name == ALL),
        reader: SampleReader::of_model(entry.name, &entry.inputs()),
        model: entry.name,
        weights: &weights,
        targets: &args.target,
        baselines: baselines.as_ref(),
        batch_size: args.batch_size as usize,
        shelf: Shelf::open(args.cache.as_deref(), limit, args.no_cache, context),
        destination,
        profiler: &profiler,
        context,
    };
    let mut report = session.run(&files)?;
    session.shelf.say_trouble(context);
    explainer.remarks().iter().for_each(|remark| context.note(remark));
    let status = report.status()?;
    context.print("explain", &report.tables(printed.is_for_people()), &printed)?;
    if args.profile {
        context.note(profiler.to_string().trim_end());
    }
    Ok(status)
}
