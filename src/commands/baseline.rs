//! `benchdb baseline`: names for sets of runs to compare with.

use super::{CommandError, Context, ExitStatus, OutputArgs, SelectArgs};
use crate::domain::Table;
use crate::domain::text::counted;
use crate::store::Access;
use crate::store::list::{Detail, Selection};

/// Options of `benchdb baseline`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Name the valid runs of a selection
    Save(Box<SaveArgs>),
    /// List all baselines
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the runs of a baseline
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Forget a baseline; its runs stay
    Delete {
        /// Its name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct SaveArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    select: SelectArgs,
    /// A word about it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Replace a baseline of that name
    #[arg(long)]
    replace: bool,
}

/// Runs the command.
///
/// # Errors
/// A name that is taken or not there, a selection without valid runs, a database that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    match &args.action {
        Action::Save(args) => save(args, context),
        Action::List { output } => list(output, context),
        Action::Show { name, output } => show(name, output, context),
        Action::Delete { name } => {
            let mut store = context.open(Access::Write)?;
            if !store.delete_baseline(name)? {
                return Err(unknown(name).into());
            }
            context.note(&format!("forgot the baseline `{name}`; its runs are still there"));
            Ok(ExitStatus::Ok)
        }
    }
}

fn unknown(name: &str) -> CommandError {
    CommandError::new(format!("there is no baseline `{name}`"), "`benchdb baseline list` shows them")
}

fn save(args: &SaveArgs, context: &Context) -> anyhow::Result<ExitStatus> {
    if args.name.trim().is_empty() {
        return Err(CommandError::new("a baseline needs a name", "`benchdb baseline save main`").into());
    }
    let mut store = context.open(Access::Write)?;
    let selection = args.select.selection(|wanted| store.find_campaign(wanted).map(|campaign| campaign.uuid))?;
    let set = store.read_series(&selection, Vec::new())?;
    let valid = |run: &&crate::domain::SeriesRun| run.validity == crate::domain::Validity::Valid;
    let runs: Vec<i64> =
        set.series.iter().flat_map(|series| series.runs.iter().filter(valid)).filter_map(|run| run.run_id).collect();
    if runs.is_empty() {
        return Err(CommandError::new(
            "no valid run is selected",
            "a baseline is made of runs whose validity is `valid`; `benchdb status` counts them",
        )
        .into());
    }
    if !store.save_baseline(&args.name, args.note.as_deref(), &runs, args.replace)? {
        return Err(CommandError::new(
            format!("there is a baseline `{}` already", args.name),
            "`--replace` puts these runs in its place",
        )
        .into());
    }
    let left_out = set.run_count() - runs.len();
    let rest = if left_out > 0 { format!("; {left_out} that are not valid were left out") } else { String::new() };
    context.note(&format!(
        "saved the baseline `{}`: {} of {} series{rest}",
        args.name,
        counted(runs.len(), "run", "runs"),
        set.series.len()
    ));
    Ok(ExitStatus::Ok)
}

fn list(output: &OutputArgs, context: &Context) -> anyhow::Result<ExitStatus> {
    let store = context.open(Access::Read)?;
    let mut table = Table::new("", &["name", "created_at", "runs", "configurations", "note"]);
    for baseline in store.list_baselines()? {
        table.push([
            baseline.name.into(),
            baseline.created_at.into(),
            baseline.runs.into(),
            baseline.configurations.into(),
            baseline.note.into(),
        ]);
    }
    context.print("baselines", &[table], output)?;
    Ok(ExitStatus::Ok)
}

fn show(name: &str, output: &OutputArgs, context: &Context) -> anyhow::Result<ExitStatus> {
    let store = context.open(Access::Read)?;
    if !store.list_baselines()?.iter().any(|baseline| baseline.name == name) {
        return Err(unknown(name).into());
    }
    let selection = Selection { baseline: Some(name.to_owned()), ..Selection::default() };
    let runs = store.list_runs(&selection, Detail::Row)?;
    context.print("baseline", &[super::run::result_table(&runs, output.is_for_people())], output)?;
    Ok(ExitStatus::Ok)
}
