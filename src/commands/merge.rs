//! `benchdb merge`: all runs of another database that are not here yet, its baselines, fitted models and probes of
//! devices.

use std::path::PathBuf;

use super::{CommandError, Context, ExitStatus};
use crate::domain::text::counted;
use crate::store::{Access, Store};

/// Options of `benchdb merge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The other database; it stays as it is
    #[arg(value_name = "OTHER.sqlite")]
    other: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Either database cannot be opened.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let same = std::fs::canonicalize(&args.other)
        .ok()
        .zip(std::fs::canonicalize(context.db()).ok())
        .is_some_and(|(other, own)| other == own);
    if same {
        return Err(CommandError::new("a database cannot be merged with itself", "name another file").into());
    }
    let (other, _) = Store::open(&args.other, Access::Read)?;
    let mut store = context.open(Access::Create)?;
    let bar = context.bar(other.count_runs()?);
    let merged = store.merge(&other, |seen| bar.set_position(seen))?;
    bar.finish_and_clear();
    context.note(&format!("took {} new runs of {} from `{}`", merged.new, merged.seen, args.other.display()));
    for (taken, known, one, several) in [
        (merged.baselines, merged.baselines_known, "baseline", "baselines"),
        (merged.models, merged.models_known, "fitted model", "fitted models"),
    ] {
        if taken > 0 {
            context.note(&format!("took {}", counted(taken, one, several)));
        }
        if known > 0 {
            context.note(&format!("left out {} with names that are taken here", counted(known, one, several)));
        }
    }
    if merged.probes > 0 {
        context.note(&format!("took {}", counted(merged.probes, "probe of a device", "probes of devices")));
    }
    Ok(ExitStatus::Ok)
}
