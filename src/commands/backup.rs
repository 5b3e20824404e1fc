//! `benchdb backup`: a copy of the database, safe while it is in use.

use std::path::PathBuf;

use super::{CommandError, Context, ExitStatus};
use crate::report::bytes;
use crate::store::Access;

/// Options of `benchdb backup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The new file; it must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// A target that is there, or cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let store = context.open(Access::Read)?;
    if args.file.exists() {
        return Err(CommandError::new(
            format!("`{}` is there already", args.file.display()),
            "remove it, or choose another name",
        )
        .into());
    }
    let bar = context.bar(0);
    store.backup(&args.file, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let size = std::fs::metadata(&args.file).map_or(0, |metadata| metadata.len());
    context.note(&format!("copied {} to `{}`", bytes(size), args.file.display()));
    Ok(ExitStatus::Ok)
}
