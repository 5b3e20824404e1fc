//! `benchdb recommend`: the best hardware, engine, precision and batch size for a model, from what was measured.

use std::path::PathBuf;

use anyhow::Context as _;

use super::predict::fitting::LearnArgs;
use super::predict::questions::{Question, Wanted, combinations, subjects};
use super::{CommandError, Context, ExitStatus, OutputArgs, SelectArgs, unreadable};
use crate::analysis::facts::{
    add_samples, facts_of, metrics_of_facts, pooled_versions, single_runs, tell_devices_apart,
};
use crate::analysis::prices::{Price, built_in_prices, find_price, read_prices};
use crate::analysis::recommend::{Candidate, Constraints, Estimate, Objective, Recommendation, Source, recommend};
use crate::analysis::scaling::WORK;
use crate::domain::text::counted;
use crate::domain::{Cell, Part, Platform, Series, Table, Validity};
use crate::report::{Format, significant};
use crate::store::list::Selection;
use crate::store::{Access, Store, StoreError};

/// Parts that tell one way of running a model from another.
const HOW: [Part; 7] =
    [Part::Platform, Part::Device, Part::Engine, Part::Precision, Part::BatchSize, Part::Threads, Part::Parameters];

/// Runners-up that are shown where nobody says how many.
pub(super) const RUNNERS_UP: usize = 4;

/// Options of `benchdb recommend`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb recommend --model resnet50
  benchdb recommend --model bert --objective latency --memory-constrained 2048
  benchdb recommend --objective cost --prices prices.csv")]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,
    /// What is to be best
    #[arg(long, value_enum, default_value_t)]
    objective: Objective,
    /// Most peak memory in MB (1 MB = 1e6 bytes)
    #[arg(long, value_name = "MB", value_parser = positive)]
    memory_constrained: Option<f64>,
    /// Longest time of a batch in ms
    #[arg(long, value_name = "MS", value_parser = positive)]
    max_latency_ms: Option<f64>,
    /// Least top-1 accuracy, between 0 and 1
    #[arg(long, value_name = "SHARE", value_parser = accuracy)]
    min_accuracy: Option<f64>,
    /// Most power in W: the peak, or the mean where no peak was measured
    #[arg(long, value_name = "W", value_parser = positive)]
    max_power_w: Option<f64>,
    /// Only these platforms; the others are ruled out
    #[arg(id = "allowed_platforms", long = "platforms", value_enum, value_name = "PLATFORMS", value_delimiter = ',')]
    platforms: Vec<Platform>,
    /// Recommend software that pretends to be a device, too
    #[arg(long)]
    include_software: bool,
    /// What devices cost: a CSV with the columns device and usd_per_hour
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Runners-up to show
    #[arg(long, value_name = "N", default_value_t = RUNNERS_UP)]
    runners_up: usize,
    /// Show what was ruled out, and why, where many models are asked about, too
    #[arg(long)]
    ruled_out: bool,
    /// Join forecasts of what was not measured, marked; `--device` may name a device that is not yours
    #[arg(long)]
    include_predicted: bool,
    #[command(flatten)]
    learn: LearnArgs,
    #[command(flatten)]
    output: OutputArgs,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("it is a number above 0".to_owned()),
    }
}

fn accuracy(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it is a share between 0 and 1: 0.75".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// A price list or a database that cannot be read.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let prices = match &args.prices {
        None => built_in_prices(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| unreadable(path))?;
            read_prices(&text).map_err(|reason| {
                CommandError::new(
                    format!("`{}` is no price list: {reason}", path.display()),
                    "a price list is a CSV with the columns device and usd_per_hour",
                )
            })?
        }
    };
    let store = context.open(Access::Read)?;
    let selection = args.select.selection(|wanted| store.find_campaign(wanted).map(|campaign| campaign.uuid))?;
    let (mut candidates, versions) = candidates(&store, &selection, &prices)?;
    if let Some(versions) = versions {
        context.note(&versions);
    }
    if args.include_predicted {
        add_forecasts(&mut candidates, args, &prices, context)?;
    }
    let constraints = Constraints {
        memory_mb: args.memory_constrained,
        latency_ms: args.max_latency_ms,
        accuracy: args.min_accuracy,
        power_w: args.max_power_w,
        platforms: args.platforms.iter().map(Platform::to_string).collect(),
        include_software: args.include_software,
    };
    let recommendations = recommend(&candidates, args.objective, &constraints);
    let people = args.output.is_for_people();
    // Of one model the reasons are wanted; of a thousand the answers.
    let one = recommendations.len() == 1;
    let mut tables = vec![answers(&recommendations, &candidates, args.objective, args.runners_up, people)];
    if !people || args.ruled_out || one {
        tables.push(ruled_out(&recommendations, &candidates, people));
    }
    if people {
        tables.retain(|table| !table.rows.is_empty());
    }
    if args.output.format() == Format::Csv {
        // A CSV is one table.
        tables.truncate(1);
    }
    context.print("recommendations", &tables, &args.output)?;
    if people {
        notes(&recommendations, &candidates, args.objective, &prices).iter().for_each(|note| context.note(note));
    }
    if recommendations.iter().all(|recommendation| recommendation.ranked.is_empty()) {
        context.complain(
            if candidates.is_empty() { "no run is selected" } else { "nothing that was measured can be recommended" },
            Some(if candidates.is_empty() {
                "`benchdb run --model resnet18` measures one; `benchdb status` shows what there is"
            } else if args.objective == Objective::Cost
                && candidates.iter().all(|candidate| candidate.cost_usd.is_none())
            {
                "no price of these devices is known; `--prices FILE` takes yours"
            } else {
                "loosen the constraints, or measure more (`benchdb run --memory-constrained MB` searches what fits)"
            }),
        );
        return Ok(ExitStatus::NotJudged);
    }
    Ok(ExitStatus::Ok)
}

/// What a report shows of the recommendations.
pub(super) struct Recommended {
    /// The best of what was measured by throughput, and what was ruled out.
    pub(super) tables: [Table; 2],
    /// The places that there are: people see the first ones of each model, and the Pareto set.
    pub(super) places: usize,
    /// What has to be said about them.
    pub(super) notes: Vec<String>,
}

/// The best of what was measured by throughput, and what was ruled out, as a report shows them.
///
/// # Errors
/// A database that cannot be read.
pub(super) fn recommended(
    store: &Store,
    selection: &Selection,
    include_software: bool,
    people: bool,
) -> anyhow::Result<Recommended> {
    let (candidates, _) = candidates(store, selection, &built_in_prices())?;
    let objective = Objective::default();
    let constraints = Constraints { include_software, ..Constraints::default() };
    let recommendations = recommend(&candidates, objective, &constraints);
    Ok(Recommended {
        tables: [
            answers(&recommendations, &candidates, objective, RUNNERS_UP, people),
            ruled_out(&recommendations, &candidates, people),
        ],
        places: recommendations.iter().map(|recommendation| recommendation.ranked.len()).sum(),
        notes: notes(&recommendations, &candidates, objective, &[]),
    })
}

/// Every configuration that was tried, with its numbers or the reason why it has none; and that runs of several versions
/// were pooled, where they were. A profile is no way of running a model.
fn candidates(
    store: &Store,
    selection: &Selection,
    prices: &[Price],
) -> anyhow::Result<(Vec<Candidate>, Option<String>)> {
    let (mut measured, mut candidates) = (Vec::new(), Vec::new());
    let environments = store.for_each_series(selection, &metrics_of_facts(), |series| {
        match facts_of(&series) {
            _ if series.identity.is_profile() => {}
            Some(facts) => measured.push(facts),
            None => candidates.push(broken(&series)),
        }
        Ok::<_, StoreError>(())
    })?;
    let iterations = store.read_iterations(&single_runs(&measured))?;
    add_samples(&mut measured, &iterations);
    tell_devices_apart(&mut measured);
    let versions = pooled_versions(&measured, &environments);
    candidates.extend(measured.iter().map(|facts| Candidate::measured(facts, prices)));
    Ok((candidates, versions))
}

/// Adds forecasts for the selected models and hardware, of what was not measured.
fn add_forecasts(
    candidates: &mut Vec<Candidate>,
    args: &Args,
    prices: &[Price],
    context: &Context,
) -> anyhow::Result<()> {
    let forecaster = args.learn.forecaster(context)?;
    let select = &args.select;
    let mut models = select.models.clone();
    if models.is_empty() {
        models.extend(candidates.iter().map(|candidate| candidate.identity.get(Part::Model).to_owned()));
        models.sort();
        models.dedup();
    }
    let wanted = Wanted {
        models: &models,
        hardware: &select.platforms.iter().map(Platform::to_string).collect::<Vec<_>>(),
        precisions: &select.precisions,
        batch_sizes: &select.batch_sizes,
    };
    let mut refused: Vec<String> = Vec::new();
    let modes = if select.modes.is_empty() { vec![None] } else { select.modes.iter().copied().map(Some).collect() };
    for mode in modes {
        let common = Question {
            device: select.device.clone(),
            engine: select.engines.first().cloned(),
            mode,
            parameters: select.parameters.iter().cloned().collect(),
            ..Question::default()
        };
        for question in combinations(&common, &wanted) {
            for subject in subjects(&question, &forecaster)? {
                match forecaster.forecast(&subject, false) {
                    Ok(forecast) => {
                        let forecast = Candidate::predicted(&forecast, prices);
                        let measured = |known: &Candidate| {
                            let same = |part: &Part| known.identity.get(*part) == forecast.identity.get(*part);
                            known.failure.is_none() && WORK.iter().all(same) && HOW.iter().all(same)
                        };
                        if !candidates.iter().any(measured) {
                            candidates.push(forecast);
                        }
                    }
                    Err(error) => {
                        refused.push(format!("{} on {}: {error}", subject.model, subject.device.name));
                    }
                }
            }
        }
    }
    match refused.as_slice() {
        [] => {}
        [one] => context.note(&format!("no forecast for {one}")),
        [first, rest @ ..] => {
            let others = counted(rest.len(), "other configuration", "other configurations");
            context.note(&format!("no forecast for {first}; nor for {others} (`--verbose` names them)"));
            rest.iter().for_each(|one| context.detail(one));
        }
    }
    Ok(())
}

/// A series without a valid run.
fn broken(series: &Series) -> Candidate {
    let count = |validity: Validity| series.runs.iter().filter(|run| run.validity == validity).count();
    let counts = [
        (count(Validity::NotMeasured), "broke or is not supported (`benchdb query --name failures`)"),
        (count(Validity::TooFewSamples), "had too few samples"),
        (count(Validity::Throttled), "was throttled"),
    ];
    let reasons: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let reason = format!("no valid run: {}", reasons.join(", "));
    Candidate::without_numbers(series.identity.clone(), series.software, reason)
}

fn answers(
    recommendations: &[Recommendation],
    candidates: &[Candidate],
    objective: Objective,
    runners_up: usize,
    people: bool,
) -> Table {
    let how: Vec<String> = HOW.iter().map(Part::to_string).collect();
    let mut columns = vec!["model", "variant", "mode", "input_shape", "work", "place"];
    columns.extend(how.iter().map(String::as_str));
    columns.extend(["value", "low", "high", "unit"]);
    columns.extend([
        "samples_per_second",
        "tokens_per_second",
        "latency_ms",
        "memory_mb",
        "energy_j",
        "cost_usd",
        "accuracy",
    ]);
    columns.extend(["pareto", "certainty", "source", "runs", "run_id"]);
    let mut table = Table::new("Recommendations", &columns);
    for recommendation in recommendations {
        // The Pareto set is shown whole: it is what to choose from when the objective is not all.
        let shown = recommendation
            .ranked
            .iter()
            .enumerate()
            .filter(|(place, index)| !people || *place <= runners_up || recommendation.pareto.contains(index));
        for (place, &index) in shown {
            table.push(answer(recommendation, place, &candidates[index], index, objective, people));
        }
    }
    if people {
        let own = match objective {
            Objective::Throughput => "samples_per_second",
            Objective::Tokens => "tokens_per_second",
            Objective::Latency => "latency_ms",
            Objective::Memory => "memory_mb",
            Objective::Energy => "energy_j",
            Objective::Cost => "cost_usd",
        };
        table.drop_columns(&[own, "certainty", "run_id"]);
        table.fold_shared(&["model", "variant", "mode", "input_shape", "work"]);
        table.fold_shared(&how.iter().map(String::as_str).chain(["source", "unit"]).collect::<Vec<_>>());
        table.drop_empty(&[
            "low",
            "high",
            "memory_mb",
            "energy_j",
            "cost_usd",
            "accuracy",
            "parameters",
            "samples_per_second",
            "tokens_per_second",
            "latency_ms",
        ]);
        for (long, short) in [
            ("samples_per_second", "samples/s"),
            ("latency_ms", "ms"),
            ("memory_mb", "MB"),
            ("energy_j", "J/sample"),
            ("cost_usd", "USD/million"),
            ("batch_size", "batch"),
        ] {
            table.rename_column(long, short);
        }
    }
    table
}

/// The cells of one place.
fn answer(
    recommendation: &Recommendation,
    place: usize,
    candidate: &Candidate,
    index: usize,
    objective: Objective,
    people: bool,
) -> Vec<Cell> {
    let number = |value: Option<f64>| if people { Cell::from(value.map(significant)) } else { Cell::from(value) };
    let value = |estimate: Option<Estimate>| number(estimate.map(|found| found.value));
    let estimate = candidate.estimate(objective);
    let interval = estimate.and_then(|estimate| estimate.interval);
    let mut row: Vec<Cell> = WORK.iter().map(|part| Cell::from(recommendation.identity.get(*part))).collect();
    row.extend([recommendation.work.clone().into(), ((place + 1) as u64).into()]);
    row.extend(HOW.iter().map(|part| candidate.identity.cell(*part)));
    row.extend([
        value(estimate),
        number(interval.map(|(low, _)| low)),
        number(interval.map(|(_, high)| high)),
        objective.unit().into(),
        value(candidate.throughput),
        value(candidate.tokens),
        value(candidate.latency_ms),
        value(candidate.memory_mb),
        value(candidate.energy_j),
        value(candidate.cost_usd),
        number(candidate.accuracy),
        if recommendation.pareto.contains(&index) { "yes" } else { "" }.into(),
        (place == 0).then(|| recommendation.certainty.name()).into(),
        candidate.source.name().into(),
        match candidate.source {
            Source::Measured { runs } => Cell::from(runs as u64),
            Source::Predicted { .. } => Cell::Null,
        },
        candidate.run_id.into(),
    ]);
    row
}

fn ruled_out(recommendations: &[Recommendation], candidates: &[Candidate], people: bool) -> Table {
    let how: Vec<String> = HOW.iter().map(Part::to_string).collect();
    let mut columns = vec!["model", "variant", "mode", "input_shape"];
    columns.extend(how.iter().map(String::as_str));
    columns.push("reason");
    let mut table = Table::new("Ruled out", &columns);
    for recommendation in recommendations {
        for (index, reason) in &recommendation.ruled_out {
            let identity = &candidates[*index].identity;
            let mut row: Vec<Cell> = WORK.iter().chain(&HOW).map(|part| identity.cell(*part)).collect();
            row.push(reason.clone().into());
            table.push(row);
        }
    }
    if people {
        table.fold_shared(&["model", "variant", "mode", "input_shape"]);
        table.fold_shared(&how.iter().map(String::as_str).collect::<Vec<_>>());
    }
    table
}

/// What has to be said about the recommendations.
fn notes(
    recommendations: &[Recommendation],
    candidates: &[Candidate],
    objective: Objective,
    prices: &[Price],
) -> Vec<String> {
    let mut notes = Vec::new();
    if let [only] = recommendations
        && !only.ranked.is_empty()
    {
        notes.push(format!("how sure the first place is: {}", only.certainty.name()));
    }
    if objective == Objective::Cost {
        let mut named: Vec<&str> = Vec::new();
        for index in recommendations.iter().flat_map(|recommendation| &recommendation.ranked) {
            let device = candidates[*index].identity.get(Part::Device);
            if let Some(price) = find_price(prices, device).filter(|_| !named.contains(&device)) {
                named.push(device);
                let source = if price.source.is_empty() { String::new() } else { format!(" ({}", price.source) };
                let date = if price.as_of.is_empty() { String::new() } else { format!(", {}", price.as_of) };
                let end = if source.is_empty() { "" } else { ")" };
                notes.push(format!("{device}: {} USD an hour{source}{date}{end}", price.usd_per_hour));
            }
        }
    }
    notes
}
