//! `benchdb check`: looks for damage.

use super::{Context, ExitStatus, OutputArgs};
use crate::domain::Table;
use crate::store::Access;

/// Options of `benchdb check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// A database that cannot be read.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let store = context.open(Access::Read)?;
    let findings = store.check()?;
    let mut table = Table::new("", &["check", "problem"]);
    for finding in &findings {
        table.push([finding.check.clone().into(), finding.problem.clone().into()]);
    }
    if findings.is_empty() {
        context.note(&format!("`{}` is in order", context.db().display()));
        if args.output.format.is_some() || args.output.output.is_some() {
            context.print("check", &[table], &args.output)?;
        }
        return Ok(ExitStatus::Ok);
    }
    context.print("check", &[table], &args.output)?;
    Ok(ExitStatus::Failed)
}
