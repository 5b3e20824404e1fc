//! `benchdb export`: runs as JSON, with everything, or as CSV, with the columns of `results`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Context, ExitStatus, SelectArgs, TransferError, format_of};
use crate::exchange::{Exporter, OwnCsv, OwnJson};
use crate::report::Format;
use crate::store::list::{Detail, Selection};
use crate::store::{Access, Store};

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// Everything, samples and telemetry too.
    Json,
    /// One row a run, the columns of `results`.
    Csv,
}

/// Options of `benchdb export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,
    /// The format; by the ending of `--output`, JSON otherwise
    #[arg(long, value_enum)]
    format: Option<ExportFormat>,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// A database that cannot be read, a file that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let store = context.open(Access::Read)?;
    let selection = args.select.selection(|wanted| store.find_campaign(wanted).map(|campaign| campaign.uuid))?;
    let by_ending = args.output.as_deref().and_then(format_of);
    let format = args.format.unwrap_or(match by_ending {
        Some(Format::Csv) => ExportFormat::Csv,
        _ => ExportFormat::Json,
    });
    let (mut exporter, detail): (Box<dyn Exporter>, Detail) = match format {
        ExportFormat::Json => (Box::new(OwnJson::default()), Detail::Whole),
        ExportFormat::Csv => (Box::new(OwnCsv), Detail::Row),
    };
    let count = write_runs(&store, &selection, exporter.as_mut(), detail, context, args.output.as_deref())?;
    context.note(&match &args.output {
        Some(path) => format!("wrote {count} runs to `{}`", path.display()),
        None => format!("wrote {count} runs"),
    });
    if count == 0 {
        context.note("no run was selected");
    }
    Ok(ExitStatus::Ok)
}

/// Writes the runs of a selection to a file, or to standard output; answers how many.
///
/// # Errors
/// A database that cannot be read, a file that cannot be written.
pub(super) fn write_runs(
    store: &Store,
    selection: &Selection,
    exporter: &mut dyn Exporter,
    detail: Detail,
    context: &Context,
    output: Option<&Path>,
) -> anyhow::Result<u64> {
    let mut count = 0_u64;
    context.write(output, |out| {
        exporter.begin(out)?;
        store
            .for_each_run(selection, detail, |id, record| {
                count += 1;
                exporter.write(out, id, &record).map_err(TransferError::from)
            })
            .map_err(TransferError::into_cause)?;
        Ok(exporter.end(out)?)
    })?;
    Ok(count)
}
