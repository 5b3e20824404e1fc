//! `benchdb optimize`: versions of a model to compare with `benchdb run --model a=MODEL:FILE,b=MODEL:FILE`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::options::ModelArgs;
use super::run::stop_on_signals;
use super::{CommandError, Context, ExitStatus, OutputArgs, path_text};
use crate::dataset::{Dataset, Split};
use crate::domain::{HostTensor, LabelledBatch, Table};
use crate::engine::plan::find_model;
use crate::engine::{Learning, network_on_host, open_set};
use crate::optimize::{
    ChannelPruning, LabelledImages, MagnitudePruning, Progress, PruningScope, Schedule, Teaching, WeightFacts,
    int8_file, prune_channels, prune_magnitudes, train, weight_file,
};
use crate::report::{count, significant};
use crate::zoo::error::Cause;
use crate::zoo::{ModelEntry, WeightSource, learning_rate};

/// Options of `benchdb optimize`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb optimize train --model cifar_cnn --data DIR --epochs 10 --to original.safetensors
  benchdb optimize channels --model cifar_cnn --weights original.safetensors --amount 0.5 --to narrow.safetensors
  benchdb optimize train --model cifar_cnn --weights narrow.safetensors --data DIR --to tuned.safetensors
  benchdb run --model original=cifar_cnn:original.safetensors,narrow=cifar_cnn:tuned.safetensors --data DIR")]
pub struct Args {
    #[command(subcommand)]
    method: Method,
}

#[derive(Debug, clap::Subcommand)]
enum Method {
    /// Set the smallest weights to zero, one by one: the same size and speed, and a file that compresses
    Prune {
        #[command(flatten)]
        what: WhatArgs,
        /// The share of the weights that becomes zero, from 0 to 1
        #[arg(long, value_name = "SHARE")]
        amount: f64,
        /// Among which weights the smallest are sought
        #[arg(long, value_enum, default_value = "global")]
        scope: PruningScope,
    },
    /// Take whole channels out where the next layer allows it: smaller and faster
    Channels {
        #[command(flatten)]
        what: WhatArgs,
        /// The share of the inner channels that goes, from 0 to 1
        #[arg(long, value_name = "SHARE")]
        amount: f64,
        /// Round what is left up to a multiple of this
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
        multiple: u16,
    },
    /// Store the weights as 8-bit integers: a quarter of the file; `run --precision int8w` keeps them so in memory
    Int8 {
        #[command(flatten)]
        what: WhatArgs,
    },
    /// Train on labelled pictures, from scratch or from a weight file
    Train {
        #[command(flatten)]
        what: WhatArgs,
        #[command(flatten)]
        learning: LearningArgs,
    },
    /// Train to answer as another model does (Hinton et al. 2015)
    Distill {
        #[command(flatten)]
        what: WhatArgs,
        #[command(flatten)]
        learning: LearningArgs,
        /// The model to learn from
        #[arg(long, value_name = "MODEL")]
        teacher: String,
        /// Its weight file
        #[arg(long, value_name = "FILE")]
        teacher_weights: PathBuf,
        /// Divides the logits of both before the softmax
        #[arg(long, value_name = "T", default_value_t = 4.0)]
        temperature: f64,
        /// The share of the teacher in the loss: 0 is labels alone, 1 the teacher alone
        #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
        alpha: f64,
    },
}

#[derive(Debug, clap::Args)]
struct WhatArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The new weight file: .safetensors
    #[arg(long = "to", value_name = "FILE")]
    target: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct LearningArgs {
    /// The labelled set: a folder with a folder for every class, CIFAR-10's binary files, or an .npz
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// How often all pictures are seen
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Pictures in a step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Of Adam; the order of the pictures follows `--seed`
    #[arg(long, value_name = "RATE", default_value_t = learning_rate(crate::domain::TrainingOptimizer::Adam))]
    learning_rate: f64,
}

/// Runs the command.
///
/// # Errors
/// Weights, options or pictures of which no version can be made; a file that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    match &args.method {
        Method::Prune { what, amount, scope } => {
            let job = Job::new(what)?;
            let mut weights = job.weights()?;
            let before = weights.clone();
            prune_magnitudes(&mut weights, &MagnitudePruning { share: *amount, scope: *scope })?;
            job.finish(context, &before, &weight_file(&weights)?)
        }
        Method::Channels { what, amount, multiple } => {
            let job = Job::new(what)?;
            let mut weights = job.weights()?;
            let before = weights.clone();
            let options = ChannelPruning { share: *amount, multiple: usize::from(*multiple) };
            prune_channels(&mut weights, &job.entry.channel_groups(), &options)?;
            job.finish(context, &before, &weight_file(&weights)?)
        }
        Method::Int8 { what } => {
            let job = Job::new(what)?;
            let weights = job.weights()?;
            job.finish(context, &weights, &int8_file(&weights)?)
        }
        Method::Train { what, learning } => learn(what, learning, None, context),
        Method::Distill { what, learning, teacher, teacher_weights, temperature, alpha } => {
            refuse_overwriting(teacher_weights, &what.target)?;
            let entry = find_model(teacher)?;
            let network = network_on_host(entry, &WeightSource::File(teacher_weights.clone()), Learning::No)?;
            let teaching = Teaching { teacher: network.as_ref(), temperature: *temperature, alpha: *alpha };
            learn(what, learning, Some(teaching), context)
        }
    }
}

fn learn(
    what: &WhatArgs,
    learning: &LearningArgs,
    teaching: Option<Teaching<'_>>,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    let job = Job::new(what)?;
    let mut pictures = Pictures { set: open_set(job.entry, &learning.data, Split::Train)? };
    for note in pictures.set.notes() {
        context.note(note);
    }
    let schedule = Schedule {
        classes: job.entry.labels,
        epochs: learning.epochs as usize,
        batch_size: learning.batch_size as usize,
        learning_rate: learning.learning_rate,
        seed: what.model.seed,
    };
    let student = network_on_host(job.entry, &job.source, Learning::Yes)?;
    let before = student.weights()?;
    let bar = context.bar(1);
    let stop = stop_on_signals()?;
    let mut losses = Vec::new();
    let trained = train(student, teaching, &mut pictures, &schedule, &mut |here| {
        bar.set_length((here.epochs * here.steps) as u64);
        bar.set_position(((here.epoch - 1) * here.steps + here.step) as u64);
        bar.set_message(format!("epoch {} of {}, loss {}", here.epoch, here.epochs, significant(f64::from(here.loss))));
        tell_epoch(here, &mut losses, context);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish_and_clear();
    let weights = trained.weights()?;
    job.finish(context, &before, &weight_file(&weights)?)
}

/// Says how an epoch went.
fn tell_epoch(here: Progress, losses: &mut Vec<f64>, context: &Context) {
    losses.push(f64::from(here.loss));
    if here.step == here.steps {
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        context.note(&format!("epoch {} of {}: mean loss {}", here.epoch, here.epochs, significant(mean)));
        losses.clear();
    }
}

/// Pictures by their numbers.
struct Pictures {
    set: Dataset,
}

impl LabelledImages for Pictures {
    fn len(&self) -> usize {
        self.set.samples()
    }

    fn batch(&mut self, indices: &[usize]) -> Result<LabelledBatch, Cause> {
        Ok(self.set.batch(indices)?)
    }
}

/// The file that something is made of is not the one that is written.
fn refuse_overwriting(source: &Path, target: &Path) -> anyhow::Result<()> {
    let whole = |path: &Path| std::fs::canonicalize(path).ok();
    if whole(source).is_some() && whole(source) == whole(target) {
        let what = format!("the new file would overwrite `{}`", source.display());
        return Err(CommandError::new(what, "choose another `--to`").into());
    }
    Ok(())
}

/// What is made of what.
struct Job<'a> {
    entry: &'static ModelEntry,
    source: WeightSource,
    what: &'a WhatArgs,
}

impl<'a> Job<'a> {
    fn new(what: &'a WhatArgs) -> anyhow::Result<Self> {
        let entry = find_model(&what.model.model)?;
        if what.target.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("safetensors")) {
            return Err(CommandError::new(
                format!("`{}` does not end in .safetensors", what.target.display()),
                "weights are written in that format alone",
            )
            .into());
        }
        if let Some(weights) = &what.model.weights {
            refuse_overwriting(weights, &what.target)?;
        }
        let source = match &what.model.weights {
            Some(path) => WeightSource::File(path.clone()),
            None => WeightSource::Seeded(what.model.seed),
        };
        Ok(Self { entry, source, what })
    }

    fn weights(&self) -> anyhow::Result<Vec<HostTensor>> {
        Ok(network_on_host(self.entry, &self.source, Learning::No)?.weights()?)
    }

    /// Writes the file and tells what became of the model.
    fn finish(&self, context: &Context, before: &[HostTensor], file: &[u8]) -> anyhow::Result<ExitStatus> {
        let target = &self.what.target;
        context.write(Some(target), |out| Ok(out.write_all(file)?))?;
        // Read back: what counts is what a run will find in it.
        let after = network_on_host(self.entry, &WeightSource::File(target.clone()), Learning::No)?.weights()?;
        let people = self.what.output.is_for_people();
        let columns = ["weights", "parameters", "nonzero_share", "multiply_adds", "file_size_mb"];
        let mut table = Table::new(if people { self.entry.name } else { "" }, &columns);
        let old_size =
            self.what.model.weights.as_deref().and_then(|path| std::fs::metadata(path).ok()).map(|about| about.len());
        for (name, weights, size) in [("before", before, old_size), ("after", &after, Some(file.len() as u64))] {
            let facts = WeightFacts::of(self.entry, &self.entry.inputs(), weights);
            let share = facts.nonzero_share;
            let number = |value: u64| if people { count(value).into() } else { value.into() };
            let size = size.map(|bytes| bytes as f64 / 1e6);
            table.push([
                name.into(),
                number(facts.parameter_count),
                if people { format!("{:.1} %", 100.0 * share).into() } else { share.into() },
                number(facts.multiply_adds),
                if people { size.map(significant).into() } else { size.into() },
            ]);
        }
        context.print("optimize", &[table], &self.what.output)?;
        context.note(&format!(
            "wrote `{path}`; `benchdb run --model NAME={model}:{path}` measures it",
            path = path_text(target),
            model = self.entry.name
        ));
        Ok(ExitStatus::Ok)
    }
}
