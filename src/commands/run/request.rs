//! What the options of `benchdb run` ask for, checked against each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::{Args, variants};
use crate::commands::options::too_many_workers;
use crate::commands::{CommandError, unreadable};
use crate::domain::{DataChoice, Mode, Sampling};
use crate::engine::plan::{ModelChoice, NamedModel, PlanRequest};
use crate::hardware::logical_cpus;
use crate::measure::DEFAULT_TELEMETRY_INTERVAL;

/// How long to sample at least, if nobody says.
const MIN_TIME: Duration = Duration::from_secs(1);

/// What the options ask for.
///
/// # Errors
/// Options that do not go together, files that cannot be read.
pub(super) fn request(args: &Args) -> anyhow::Result<PlanRequest> {
    let what = &args.what;
    let models = match (what.all, what.category, what.models.is_empty()) {
        (true, _, _) => ModelChoice::All,
        (_, Some(category), _) => ModelChoice::Category(category),
        (_, _, false) => ModelChoice::Named(variants::with_whole_paths(&what.models)?),
        // A file names its own.
        _ if args.plan.is_some() => ModelChoice::Named(Vec::new()),
        _ => {
            return Err(CommandError::new(
                "no model was named",
                "`--model resnet18`, `--category vision` or `--all`; `benchdb models` lists them",
            )
            .into());
        }
    };
    if args.memory_constrained.is_some() && what.batch_sizes.len() > 1 {
        return Err(CommandError::new(
            "a search for what fits starts from one batch size",
            "name one with `--batch-sizes`, or none to start from 1",
        )
        .into());
    }
    let onnx = args.weights.as_deref().is_some_and(crate::onnx::is_onnx)
        || matches!(&models, ModelChoice::Named(named) if named.iter().any(NamedModel::is_onnx));
    if args.reference.is_some() && !onnx {
        return Err(CommandError::new(
            "`--reference` is what the outputs of ONNX files are compared with",
            "networks of benchdb are compared with themselves in fp32; name an ONNX file with `--model`",
        )
        .into());
    }
    let compares_variants = matches!(&models, ModelChoice::Named(named) if variants::are_named(named));
    let one_without_a_file = |named: &[NamedModel]| {
        let mut without = named.iter().filter(|model| !model.is_onnx());
        matches!((without.next(), without.next()), (Some(model), None) if model.weights.is_none())
    };
    if args.weights.is_some() && !matches!(&models, ModelChoice::Named(named) if one_without_a_file(named)) {
        return Err(CommandError::new(
            "`--weights` belongs to one model",
            "name one with `--model`, or give each its file: `--model a=resnet50:a.safetensors,b=resnet50:b.safetensors`",
        )
        .into());
    }
    let mut batch_sizes = without_repeats(&what.batch_sizes);
    let compares = compares_variants && args.memory_constrained.is_none() && !batch_sizes.is_empty();
    if compares && !batch_sizes.contains(&1) {
        // Versions of a model are compared by what one sample takes, too.
        batch_sizes.insert(0, 1);
    }
    let mode = if what.training_mode { Mode::Training } else { what.mode };
    if args.data.is_some() && mode != Mode::Inference {
        return Err(CommandError::new(
            "`--data` measures the accuracy of inference",
            "leave out `--mode` and `--training-mode`",
        )
        .into());
    }
    if what.generate.is_some() && (mode != Mode::Inference || args.sampling.throughput_mode) {
        return Err(CommandError::new(
            "`--generate` measures inference, one batch at a time",
            "leave out `--mode`, `--training-mode` and `--throughput-mode`",
        )
        .into());
    }
    let min_time = args.sampling.min_time.unwrap_or(MIN_TIME.min(args.sampling.max_time));
    if args.sampling.max_time < min_time {
        return Err(CommandError::new(
            "`--max-time` is shorter than `--min-time`",
            "lower `--min-time`, or raise `--max-time`",
        )
        .into());
    }
    let explanation = args.explanation.choice(mode)?;
    let threads = what.threads.unwrap_or_else(logical_cpus);
    if let Some(workers) = explanation.workers.filter(|workers| *workers > threads) {
        return Err(too_many_workers(workers, threads).into());
    }
    if mode == Mode::Explanation && onnx {
        return Err(CommandError::new(
            "an ONNX file cannot be explained: only Burn's engines go backward through a network",
            "name the model of benchdb, with its weights: `--model resnet50 --weights resnet50.safetensors`",
        )
        .into());
    }
    Ok(PlanRequest {
        models,
        hardware: what.hardware.clone(),
        engines: what.engines.clone(),
        externals: args.external.programs()?,
        stop: Arc::default(),
        batch_sizes,
        precisions: without_repeats(&what.precisions),
        mode,
        optimizer: what.optimizer,
        sampling: Sampling {
            warmup_iterations: args.sampling.warmup,
            min_iterations: args.sampling.iterations,
            min_time,
            max_time: args.sampling.max_time,
            precision_target: args.sampling.precision_target,
            batches_in_flight: if args.sampling.throughput_mode { args.sampling.batches_in_flight } else { 1 },
            ..Sampling::default()
        },
        repeat: what.repeat,
        threads: what.threads,
        seed: args.seed,
        weights: args.weights.as_deref().map(weight_file).transpose()?,
        shapes: args.shapes.clone(),
        input: args.input.as_deref().map(weight_file).transpose()?,
        reference: args.reference.as_deref().map(weight_file).transpose()?,
        device_index: what.device_index,
        device: None,
        include_software: what.include_software,
        limit: what.limit.map(|limit| limit as usize),
        generate: what.generate,
        explanation,
        telemetry_interval: Some(args.telemetry_interval.unwrap_or(DEFAULT_TELEMETRY_INTERVAL))
            .filter(|interval| !interval.is_zero()),
        data: args
            .data
            .as_deref()
            .map(|path| {
                let path = std::fs::canonicalize(path).with_context(|| unreadable(path))?;
                anyhow::Ok(DataChoice { path, feeds_batches: args.feed_data })
            })
            .transpose()?,
    })
}

/// The whole path of a weight file that can be read: the campaign may be resumed from another folder.
pub(super) fn weight_file(path: &Path) -> anyhow::Result<PathBuf> {
    if path.to_str().is_none() {
        return Err(CommandError::new(
            format!("the path `{}` is not UTF-8", path.display()),
            "give the weight file another name",
        )
        .into());
    }
    let whole = std::fs::canonicalize(path).with_context(|| unreadable(path))?;
    // Opening a pipe would wait for somebody who writes to it.
    let kind = std::fs::metadata(&whole).with_context(|| unreadable(path))?;
    if !kind.is_file() && !kind.is_dir() {
        let copy = "copy what it gives into a file, and name that";
        return Err(CommandError::new(format!("`{}` is no regular file", path.display()), copy).into());
    }
    std::fs::File::open(&whole).with_context(|| unreadable(path))?;
    Ok(whole)
}

fn without_repeats<T: PartialEq + Copy>(list: &[T]) -> Vec<T> {
    list.iter().fold(Vec::new(), |mut kept, item| {
        if !kept.contains(item) {
            kept.push(*item);
        }
        kept
    })
}
