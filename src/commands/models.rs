//! `benchdb models`: the networks, what they take and what they cost, and which attribution methods explain them.

use clap::ValueEnum as _;

use super::{Context, ExitStatus, OutputArgs};
use crate::domain::{Category, Cell, Table};
use crate::engine::plan::{find_model, input_shape};
use crate::engine::{EngineError, MethodChoice, Runner};
use crate::explain::{Fit, all_methods};
use crate::report::count;
use crate::zoo::{self, ModelEntry};

/// Options of `benchdb models`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these, by forgiving names
    #[arg(long = "model", value_name = "MODEL", value_delimiter = ',')]
    models: Vec<String>,
    /// Only this category
    #[arg(long, value_enum, conflicts_with = "models")]
    category: Option<Category>,
    /// Show the attribution methods and which of them explain which model, found by trying each (a few seconds a model)
    #[arg(long)]
    methods: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// An output that cannot be written, a model that does not exist, a worker that cannot be started.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let people = args.output.is_for_people();
    let entries = chosen(args)?;
    let tables = match (args.methods, people) {
        (false, _) => vec![model_table(&entries, people)],
        (true, true) => vec![method_table(), misfit_table(&entries, &tried(&entries, context)?)],
        (true, false) => vec![fit_table(&entries, &tried(&entries, context)?)],
    };
    context.print("models", &tables, &args.output)?;
    Ok(ExitStatus::Ok)
}

/// The models that were asked for, by category.
fn chosen(args: &Args) -> Result<Vec<&'static ModelEntry>, EngineError> {
    let named = args.models.iter().map(|name| find_model(name)).collect::<Result<Vec<_>, _>>()?;
    let wanted = |entry: &ModelEntry| {
        args.category.is_none_or(|category| category == entry.category)
            && (named.is_empty() || named.iter().any(|named| named.name == entry.name))
    };
    let of = |category: &Category| {
        let category = *category;
        zoo::models().iter().filter(move |entry| entry.category == category)
    };
    Ok(Category::value_variants().iter().flat_map(of).filter(|entry| wanted(entry)).collect())
}

fn model_table(entries: &[&ModelEntry], people: bool) -> Table {
    let columns = [
        "model",
        "category",
        "task",
        "input_shape",
        "parameters",
        "multiply_adds_per_sample",
        "activations_per_sample",
        "also_known_as",
        "reference",
    ];
    let mut table = Table::new("", &columns);
    let number = |value: u64| if people { count(value).into() } else { value.into() };
    for entry in entries {
        let cost = entry.cost(&entry.inputs());
        table.push([
            entry.name.into(),
            entry.category.to_string().into(),
            entry.task.to_string().into(),
            input_shape(&entry.inputs()).into(),
            number(cost.parameter_count),
            number(cost.multiply_adds),
            number(cost.activation_count),
            entry.aliases.join(", ").into(),
            entry.source_note.into(),
        ]);
    }
    if people {
        // A terminal has no room for all; the other formats have.
        table.drop_columns(&["task", "activations_per_sample", "reference"]);
    }
    table
}

/// What every method makes of every model, in the order of both lists.
fn tried(entries: &[&ModelEntry], context: &Context) -> anyhow::Result<Vec<Vec<Fit>>> {
    let runner = Runner::for_this_program()?;
    let choice = |name: &str| MethodChoice { method: name.to_owned(), parameters: serde_json::Map::new() };
    let bar = context.bar(entries.len() as u64);
    let fits = entries
        .iter()
        .map(|entry| {
            bar.set_message(entry.name);
            // A model that cannot even be tried leaves the others to be told of.
            let methods = all_methods().iter().map(|method| choice(method.name)).collect();
            let fits = runner.fits(entry.name, methods);
            bar.inc(1);
            fits.unwrap_or_else(|error| vec![Fit::Failed(error.to_string()); all_methods().len()])
        })
        .collect();
    bar.finish_and_clear();
    Ok(fits)
}

/// One row for each pair.
fn fit_table(entries: &[&ModelEntry], fits: &[Vec<Fit>]) -> Table {
    let mut table = Table::new("", &["model", "method", "fit", "reason"]);
    for (entry, fits) in entries.iter().zip(fits) {
        for (method, fit) in all_methods().iter().zip(fits) {
            let (fit, reason) = in_words(fit);
            table.push([entry.name.into(), method.name.into(), fit.into(), reason.into()]);
        }
    }
    table
}

fn in_words(fit: &Fit) -> (&'static str, Option<String>) {
    match fit {
        Fit::Works => ("works", None),
        Fit::Unsupported(reason) => ("unsupported", Some(reason.clone())),
        Fit::Failed(reason) => ("failed", Some(reason.clone())),
    }
}

/// The methods, with their parameters and defaults.
fn method_table() -> Table {
    let mut table = Table::new("Methods", &["method", "what it says of an input", "parameters"]);
    for method in all_methods() {
        let defaults = method.default_method().ok().and_then(|method| method.parameters().as_object().cloned());
        let parameters: Vec<String> =
            defaults.into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
        table.push([method.name.into(), method.summary.into(), parameters.join(" ").into()]);
    }
    table
}

/// What does not fit, by reason; all else does.
fn misfit_table(entries: &[&ModelEntry], fits: &[Vec<Fit>]) -> Table {
    let mut table = Table::new("Which methods explain which models", &["model", "methods", "but not", "because"]);
    for (entry, fits) in entries.iter().zip(fits) {
        let working = fits.iter().filter(|fit| **fit == Fit::Works).count();
        let mut misfits: Vec<(String, Vec<&str>)> = Vec::new();
        for (method, fit) in all_methods().iter().zip(fits) {
            let (_, Some(reason)) = in_words(fit) else { continue };
            match misfits.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, methods)) => methods.push(method.name),
                None => misfits.push((reason, vec![method.name])),
            }
        }
        let total: Cell = format!("{working} of {}", fits.len()).into();
        if misfits.is_empty() {
            table.push([entry.name.into(), total.clone(), "".into(), "".into()]);
        }
        for (at, (reason, methods)) in misfits.into_iter().enumerate() {
            let first = at == 0;
            let (model, total): (Cell, Cell) =
                if first { (entry.name.into(), total.clone()) } else { ("".into(), "".into()) };
            table.push([model, total, methods.join(", ").into(), reason.into()]);
        }
    }
    table
}
