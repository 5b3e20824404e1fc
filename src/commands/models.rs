//! `benchdb models`: the networks, what they take and what they cost.

use clap::ValueEnum as _;

use super::{Context, ExitStatus, OutputArgs};
use crate::domain::{Category, Table};
use crate::engine::plan::input_shape;
use crate::report::{Format, count};
use crate::zoo;

/// Options of `benchdb models`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this category
    #[arg(long, value_enum)]
    category: Option<Category>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// An output that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let people = matches!(args.output.format(), Format::Table | Format::Markdown);
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
    for category in Category::value_variants() {
        let entries = zoo::models()
            .iter()
            .filter(|entry| entry.category == *category && args.category.is_none_or(|wanted| wanted == entry.category));
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
    }
    if people {
        // A terminal has no room for all; the other formats have.
        table.drop_columns(&["task", "activations_per_sample", "reference"]);
    }
    context.print("models", &[table], &args.output)?;
    Ok(ExitStatus::Ok)
}
