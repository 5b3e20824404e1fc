//! `benchdb predict`: what a configuration would do that was not measured, with intervals and an honest word on how far that
//! reaches.

pub(super) mod fitting;
pub(super) mod matrix;
pub(super) mod questions;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::options::parameter;
use super::{CommandError, Context, ExitStatus, OutputArgs, hint_of};
use crate::domain::text::{counted, one_line};
use crate::domain::{Example, Forecast, Mode, Precision, Subject, Tier};
use crate::engine::Runner;
use crate::engine::plan::{HardwareChoice, devices_here};
use crate::predict::evaluate::{Protocol, Score, score, try_protocol, verdict};
use crate::predict::{Answerer, DeviceSpec, Forecaster, score_memory, suggest_anchors};
use crate::report::{Format, significant};
use crate::store::Access;
use fitting::LearnArgs;
use questions::{Question, Wanted, combinations};

/// Options of `benchdb predict`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Tiers: A - the model was measured elsewhere, the device is known; B - a new model, the device is known;
C - a new device, others of its kind are known; D - a new kind of device: an order of magnitude, with `--extrapolate` only.

Examples:
  benchdb predict --model resnet50 --hardware cuda --batch-sizes 1,64
  benchdb predict --model resnet50 --device \"RTX 4090\" --precision amp
  benchdb predict --file questions.csv --format csv
  benchdb predict --evaluate
  benchdb predict --suggest-anchors 10 --hardware cuda --output plan.json"
)]
pub struct Args {
    /// Models: measured ones, those of `benchdb models`, or new ones with their sizes below
    #[arg(long = "model", value_name = "MODEL", value_delimiter = ',')]
    models: Vec<String>,
    /// Platforms, or devices by a part of their name; every measured device without
    #[arg(long, value_name = "HARDWARE", value_delimiter = ',')]
    hardware: Vec<String>,
    /// A device by a part of its name; it need not be yours
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The engine; that of the most similar measurements without
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// Precisions; that of the most similar measurements without
    #[arg(long = "precision", value_enum, value_delimiter = ',')]
    precisions: Vec<Precision>,
    /// What would be timed
    #[arg(long, value_enum, default_value_t = Mode::Inference)]
    mode: Mode,
    /// Batch sizes; that of the most similar measurements without
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    batch_sizes: Vec<u32>,
    /// The shape of one sample: `3x224x224`
    #[arg(long, value_name = "SHAPE")]
    input_shape: Option<String>,
    /// A parameter of the work: `compiled=true`; `compiled=` leaves it out
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// Multiply-adds of one sample, for a model that is not known
    #[arg(long, value_name = "N")]
    multiply_adds: Option<f64>,
    /// Parameters of a model that is not known
    #[arg(long, value_name = "N")]
    parameter_count: Option<f64>,
    /// Elements that the operators of a model that is not known write for one sample
    #[arg(long, value_name = "N")]
    activation_count: Option<f64>,
    /// Many questions: a CSV with these options as columns
    #[arg(long, value_name = "FILE", conflicts_with_all = ["models", "multiply_adds"])]
    file: Option<PathBuf>,
    /// Answer for a kind of device that was never measured, too: an order of magnitude
    #[arg(long)]
    extrapolate: bool,
    /// Cross-validate on the database: how good are forecasts, and do they beat plain ones?
    #[arg(long, conflicts_with_all = ["models", "file", "prior", "model_file"])]
    evaluate: bool,
    /// Folds that `--evaluate` tries of each protocol, at most
    #[arg(long, value_name = "N", default_value_t = 3, requires = "evaluate", value_parser = clap::value_parser!(u64).range(1..=8))]
    folds: u64,
    /// Which N configurations of the models of `benchdb models`, or of `--model`, to measure next
    #[arg(long, value_name = "N", conflicts_with_all = ["evaluate", "file"], value_parser = clap::value_parser!(u64).range(1..=1000))]
    suggest_anchors: Option<u64>,
    /// Fit on the database and keep the model in it, for `--prior`
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "prior", conflicts_with_all = ["evaluate", "prior", "model_file"])]
    fit: Option<String>,
    /// Write the fitted model to this file, for `--model-file` on another machine
    #[arg(long, value_name = "FILE", conflicts_with = "evaluate")]
    export: Option<PathBuf>,
    #[command(flatten)]
    learn: LearnArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// Too little to learn from, a single question that cannot be answered, files that cannot be read or written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let stores = args.fit.is_some() || args.export.is_some();
    let asks = !args.models.is_empty() || args.file.is_some();
    if args.evaluate {
        return evaluate(args, context);
    }
    if !asks && !stores && args.suggest_anchors.is_none() {
        return Err(CommandError::new(
            "nothing is asked",
            "`--model M` asks for one, `--file FILE` for many; `--evaluate` says how good answers are",
        )
        .into());
    }
    let forecaster = args.learn.forecaster(context)?;
    for plain in forecaster.plain() {
        let kind = plain.kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
        context.note(&format!(
            "tier {}{kind}: nothing that was learned beat the plain {} when both were tried, so that one answers",
            plain.tier,
            plain.answerer.name()
        ));
    }
    if let Some(name) = &args.fit {
        let mut store = context.open(Access::Write)?;
        fitting::keep(name, &forecaster, &mut store)?;
        let rows = forecaster.provenance.rows;
        context.note(&format!("kept `{name}`, fitted on {}", counted(rows, "measurement", "measurements")));
    }
    if let Some(path) = &args.export {
        let json = forecaster.to_json()?;
        context.write(Some(path), |out| Ok(out.write_all(json.as_bytes())?))?;
        context.note(&format!("wrote `{}`", path.display()));
    }
    if let Some(count) = args.suggest_anchors {
        return suggest(args, count as usize, &forecaster, context);
    }
    if asks { forecast(args, &forecaster, context) } else { Ok(ExitStatus::Ok) }
}

/// What the options say of every question.
fn common(args: &Args) -> Question {
    Question {
        device: args.device.clone(),
        engine: args.engine.clone(),
        mode: Some(args.mode),
        input_shape: args.input_shape.clone(),
        parameters: args.parameters.iter().cloned().collect(),
        multiply_adds: args.multiply_adds,
        parameter_count: args.parameter_count,
        activation_count: args.activation_count,
        ..Question::default()
    }
}

fn wanted<'a>(args: &'a Args, models: &'a [String]) -> Wanted<'a> {
    Wanted { models, hardware: &args.hardware, precisions: &args.precisions, batch_sizes: &args.batch_sizes }
}

fn forecast(args: &Args, forecaster: &Forecaster, context: &Context) -> anyhow::Result<ExitStatus> {
    let questions = match &args.file {
        None => combinations(&common(args), &wanted(args, &args.models)),
        Some(path) => {
            let open = Question {
                hardware: args.hardware.first().cloned(),
                precision: args.precisions.first().copied(),
                batch_size: args.batch_sizes.first().copied(),
                ..common(args)
            };
            matrix::read(path, &open)?
        }
    };
    let mut answers: Vec<Forecast> = Vec::new();
    let mut refusals: Vec<(String, anyhow::Error)> = Vec::new();
    for question in &questions {
        match questions::subjects(question, forecaster) {
            Err(error) => refusals.push((question.model.clone(), error)),
            Ok(subjects) => {
                for subject in subjects {
                    match forecaster.forecast(&subject, args.extrapolate) {
                        Ok(answer) => answers.push(answer),
                        Err(error) => {
                            refusals.push(([&subject.model, " on ", &subject.device.name].concat(), error.into()));
                        }
                    }
                }
            }
        }
    }
    if answers.is_empty()
        && refusals.len() == 1
        && let Some((_, error)) = refusals.pop()
    {
        return Err(error);
    }
    let people = args.output.is_for_people();
    let mut tables = vec![tables::forecasts(&answers, people)];
    let said: Vec<(String, String)> = refusals
        .iter()
        .map(|(question, error)| {
            let way_out = hint_of(error).map(|hint| [": ", &hint].concat()).unwrap_or_default();
            (question.clone(), one_line(error.as_ref()) + &way_out)
        })
        .collect();
    tables.push(tables::refused(&said));
    if people {
        tables.retain(|table| !table.rows.is_empty());
    }
    if args.output.format() == Format::Csv {
        // A CSV is one table.
        tables.truncate(1);
        for (question, reason) in &said {
            context.note(&format!("{question}: {reason}"));
        }
    }
    context.print("forecasts", &tables, &args.output)?;
    if people {
        explain(&answers, forecaster, context);
        let known = if context.db().is_file() { fitting::examples(&context.open(Access::Read)?)? } else { Vec::new() };
        let measured = answers.iter().filter(|answer| known.iter().any(|row| is_same(&row.subject, &answer.subject)));
        let count = measured.count();
        if count > 0 {
            context.note(&format!(
                "{count} of these {} measured: `benchdb analyze` has the facts",
                if count == 1 { "was" } else { "were" }
            ));
        }
    }
    Ok(if answers.is_empty() { ExitStatus::Failed } else { ExitStatus::Ok })
}

/// What people must know to read the numbers.
fn explain(answers: &[Forecast], forecaster: &Forecaster, context: &Context) {
    let tiers: BTreeSet<Tier> = answers.iter().map(|answer| answer.tier).collect();
    for tier in tiers {
        context.note(&format!("tier {tier}: {}", tier.meaning()));
    }
    let outside: BTreeSet<&String> = answers.iter().flat_map(|answer| &answer.outside).collect();
    for reason in outside {
        context.note(&format!("wider intervals: {reason}"));
    }
    let used: BTreeSet<(&str, &str)> =
        answers.iter().map(|answer| (answer.model_name.as_str(), answer.learned_from.as_str())).collect();
    for (model, learned_from) in used {
        context.note(&format!("forecast by {model}; learned from {learned_from}"));
    }
    let mut known_by: BTreeMap<&str, Option<bool>> = BTreeMap::new();
    for Forecast { subject, .. } in answers {
        let spec = forecaster.time().devices().find(&subject.device);
        known_by.insert(&subject.device.name, spec.map(DeviceSpec::is_measured));
    }
    for (device, measured) in known_by {
        match measured {
            None => context.note(&format!(
                "`{device}` is in no table of devices: `--devices FILE` takes its data sheet, `hardware --probe` measures it"
            )),
            Some(true) => context.note(&format!("`{device}` is known by the rates that `hardware --probe` measured")),
            Some(false) => {}
        }
    }
}

fn evaluate(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let table = args.learn.device_table(context)?;
    let store = context.open(Access::Read)?;
    let examples = fitting::examples(&store)?;
    let options = args.learn.fit_options(context);
    // At random: a fifth of the rows is hidden.
    let own = Protocol::Own { rows: examples.len() - examples.len() / 5 };
    let mut scores: Vec<Score> = Vec::new();
    let mut failures = Vec::new();
    for protocol in
        [Protocol::Pair, Protocol::Family, Protocol::Device { anchors: 0 }, Protocol::Device { anchors: 10 }, own]
    {
        let name = protocol.name();
        context.note(&format!("trying: {name}"));
        match try_protocol(&examples, protocol, &table, &options, args.folds as usize) {
            Ok(trials) if trials.is_empty() => {
                context.note(&format!("{name}: nothing can be hidden (one device, or one family, is not enough)"));
            }
            Ok(trials) => scores.extend(score(&examples, protocol, &trials)),
            Err(error) => failures.push((name, error)),
        }
    }
    if scores.is_empty()
        && let Some((_, error)) = failures.pop()
    {
        return Err(error.into());
    }
    for (name, error) in &failures {
        context.note(&format!("{name}: of what is left when a part is hidden, {error}"));
    }
    let people = args.output.is_for_people();
    let mut tables = vec![tables::scores(&scores, people)];
    // A CSV is one table.
    if args.output.format() != Format::Csv {
        tables.push(tables::memory_scores(&score_memory(&examples), people));
    }
    if people {
        tables.retain(|table| !table.rows.is_empty());
    }
    context.print("evaluation", &tables, &args.output)?;
    if people {
        let errors: BTreeMap<(Protocol, Answerer), f64> =
            scores.iter().map(|score| ((score.protocol, score.answerer), score.median_error_percent)).collect();
        for (protocol, best) in verdict(&scores) {
            let error = errors.get(&(protocol, best)).map(|error| significant(*error)).unwrap_or_default();
            context.note(&match best {
                Answerer::Learned => format!("{}: the learned model errs least ({error} %)", protocol.name()),
                plain => format!(
                    "{}: no model beats the plain baselines; the {} errs least ({error} %)",
                    protocol.name(),
                    plain.name()
                ),
            });
        }
    }
    Ok(if scores.is_empty() { ExitStatus::NotJudged } else { ExitStatus::Ok })
}

/// Whether two subjects are the same configuration.
fn is_same(one: &Subject, other: &Subject) -> bool {
    one.model == other.model
        && one.variant == other.variant
        && one.device.kind == other.device.kind
        && one.device.name == other.device.name
        && one.platform == other.platform
        && one.engine == other.engine
        && one.precision == other.precision
        && one.mode == other.mode
        && one.batch_size == other.batch_size
        && one.input_shape == other.input_shape
        && one.parameters == other.parameters
}

/// Where the configurations would be measured: on what this machine has of the platforms that were named (all without),
/// or wherever a device was named that need not be here.
fn to_be_measured(args: &Args, context: &Context) -> anyhow::Result<Vec<Question>> {
    let platforms: Option<Vec<HardwareChoice>> =
        args.hardware.iter().map(|name| questions::platform(name).map(HardwareChoice::Platform)).collect();
    let choices = match platforms {
        Some(platforms) if args.device.is_none() && platforms.is_empty() => vec![HardwareChoice::All],
        Some(platforms) if args.device.is_none() => platforms,
        _ => return Ok(vec![common(args)]),
    };
    let here = devices_here(&choices, &Runner::for_this_program()?);
    if here.is_empty() {
        context.note("this machine has no such device: the suggestions are for those that were measured");
        return Ok(vec![common(args)]);
    }
    Ok(here
        .into_iter()
        .map(|(platform, engine, device)| Question {
            engine: args.engine.clone().or_else(|| Some(engine.to_owned())),
            target: Some((device, platform)),
            ..common(args)
        })
        .collect())
}

/// Which configurations to measure next, so that the forecasts of all others tighten most.
fn suggest(args: &Args, count: usize, forecaster: &Forecaster, context: &Context) -> anyhow::Result<ExitStatus> {
    let models: Vec<String> = if args.models.is_empty() {
        crate::zoo::models().iter().map(|entry| entry.name.to_owned()).collect()
    } else {
        args.models.clone()
    };
    let mut candidates: Vec<Subject> = Vec::new();
    for open in to_be_measured(args, context)? {
        let wanted =
            Wanted { hardware: if open.target.is_some() { &[] } else { &args.hardware }, ..wanted(args, &models) };
        for question in combinations(&open, &wanted) {
            candidates.extend(questions::subjects(&question, forecaster)?);
        }
    }
    let measured: Vec<Example> =
        if context.db().is_file() { fitting::examples(&context.open(Access::Read)?)? } else { Vec::new() };
    candidates.retain(|candidate| !measured.iter().any(|known| is_same(&known.subject, candidate)));
    if candidates.is_empty() {
        return Err(CommandError::new(
            "all configurations that could be suggested are measured",
            "`--batch-sizes`, `--precision` or `--model` widen the choice",
        )
        .into());
    }
    let devices: Vec<_> = candidates.iter().map(|candidate| &candidate.device).collect();
    let known: Vec<&Subject> =
        measured.iter().map(|example| &example.subject).filter(|subject| devices.contains(&&subject.device)).collect();
    let chosen: Vec<(Subject, f64)> = suggest_anchors(forecaster.time(), &candidates, &known, count)
        .into_iter()
        .map(|anchor| (candidates[anchor.candidate].clone(), anchor.variance_left))
        .collect();
    let table = tables::anchors(&chosen, args.output.is_for_people());
    context.print("plan", &[table], &args.output)?;
    if chosen.len() < count {
        context.note(&format!("there are {} only", counted(chosen.len(), "configuration", "configurations")));
    }
    Ok(ExitStatus::Ok)
}
