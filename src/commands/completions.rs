//! `benchdb completions`: a completion script, generated from the command line itself.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Context, ExitStatus, write_to};

/// Options of `benchdb completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// An output that cannot be written.
pub fn execute(args: &Args, _: &Context) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::cli::Cli::command(), "benchdb", &mut script);
    write_to(None, |out| Ok(out.write_all(&script)?))?;
    Ok(ExitStatus::Ok)
}
