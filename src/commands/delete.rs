//! `benchdb delete`: removes what was selected, after showing it.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::{CommandError, Context, ExitStatus, OutputArgs, SelectArgs};
use crate::domain::Table;
use crate::domain::text::counted;
use crate::store::Access;
use crate::store::list::{Detail, Selection};

/// Runs that are shown before they are removed.
const SHOWN: usize = 20;

/// Options of `benchdb delete`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,
    /// Remove every run of the database
    #[arg(long)]
    everything: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Show what would be removed, and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// A selection of nothing in particular, a database that cannot be written, nobody to ask.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let mut store = context.open(Access::Write)?;
    let selection = args.select.selection(|wanted| store.find_campaign(wanted).map(|campaign| campaign.uuid))?;
    if selection.is_everything() && !args.everything {
        return Err(CommandError::new(
            "nothing was selected",
            "narrow it down (`--run 3`, `--campaign last`, `--model resnet18`), or say `--everything`",
        )
        .into());
    }
    let runs = store.list_runs(&selection, Detail::Row)?;
    // A selection that is narrower than a campaign is about runs, not about the campaign's plan.
    let whole_campaign = Selection { campaign: selection.campaign.clone(), ..Selection::default() } == selection;
    let campaign = selection.campaign.as_deref().filter(|_| whole_campaign);
    let open_plan = match campaign {
        Some(campaign) => store.list_open_runs(campaign)?.len(),
        None => 0,
    };
    if runs.is_empty() && open_plan == 0 {
        context.note("no run is selected; nothing was removed");
        return Ok(ExitStatus::Ok);
    }
    let mut table = Table::new("", &["run_id", "started_at", "model", "engine", "mode", "batch_size", "status"]);
    for (id, run) in runs.iter().take(SHOWN) {
        table.push([
            (*id).into(),
            run.started_at.clone().into(),
            run.configuration.model.clone().into(),
            run.configuration.engine.clone().into(),
            run.configuration.mode.to_string().into(),
            run.configuration.batch_size.into(),
            run.measurement.status.to_string().into(),
        ]);
    }
    context.print("delete", &[table], &OutputArgs::default())?;
    if runs.len() > SHOWN {
        context.note(&format!("... and {} more", runs.len() - SHOWN));
    }
    if open_plan > 0 {
        context.note(&format!("and {open_plan} runs of the campaign's plan that are not measured yet"));
    }
    let ids: Vec<i64> = runs.iter().map(|(id, _)| *id).collect();
    for (name, count) in store.list_baselines_of(&ids)? {
        context.note(&format!("the baseline `{name}` loses {}", counted(count as usize, "run", "runs")));
    }
    if args.dry_run {
        context.note(&format!("{} runs would be removed", runs.len()));
        return Ok(ExitStatus::Ok);
    }
    if !args.yes && !confirmed(runs.len())? {
        context.note("nothing was removed");
        return Ok(ExitStatus::Ok);
    }
    let removed = store.delete_runs(&ids)?;
    if let Some(campaign) = campaign {
        store.delete_open_plan(campaign)?;
    }
    context.note(&format!("removed {removed} runs"));
    Ok(ExitStatus::Ok)
}

fn confirmed(count: usize) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::new(
            format!("{count} runs would be removed, and there is nobody to ask"),
            "say `--yes` to remove them",
        )
        .into());
    }
    let mut err = std::io::stderr();
    write!(err, "remove these {count} runs? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
