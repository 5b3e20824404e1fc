//! `benchdb import`: runs from files, each file in one transaction; and `--undo`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{CommandError, Context, ExitStatus, OutputArgs, TransferError, files_in, path_text, unreadable};
use crate::domain::configuration::sha256_hex;
use crate::domain::{Cell, Refusal, Table};
use crate::exchange::{Content, ExchangeError, importer_for};
use crate::store::imports::{ImportOutcome, ImportSource};
use crate::store::{Access, Store};

/// Refusals of a file that are shown.
const SHOWN_REFUSALS: usize = 20;

/// Options of `benchdb import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, or folders of them
    #[arg(value_name = "FILE", required_unless_present = "undo")]
    files: Vec<PathBuf>,
    /// Take nothing of a file in which any row is wrong
    #[arg(long)]
    strict: bool,
    /// Take an import back: its number
    #[arg(long, value_name = "BATCH", conflicts_with_all = ["files", "strict"])]
    undo: Option<i64>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or is in no known format, a database that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    if let Some(batch) = args.undo {
        return undo(batch, context);
    }
    let files = files_in(&args.files)?;
    let folder = args.files.iter().any(|path| path.is_dir());
    // Every file is looked at before a database is made for nothing.
    if let [only] = files.as_slice() {
        importer_for::<TransferError>(Content { path: &path_text(only), bytes: &read(only)? })?;
    }
    let mut store = context.open(Access::Create)?;
    let mut table = Table::new("", &["file", "format", "taken", "known", "refused", "batch"]);
    let mut status = ExitStatus::Ok;
    for file in &files {
        match import(file, args.strict, &mut store, context) {
            Ok((row, complete)) => {
                table.push(row);
                if !complete {
                    status = ExitStatus::Failed;
                }
            }
            Err(error) if folder && is_unknown(&error) => {
                context.note(&format!("passed over `{}`: benchdb does not know its format", file.display()));
            }
            Err(error) => return Err(error),
        }
    }
    context.print("import", &[table], &args.output)?;
    Ok(status)
}

fn is_unknown(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ExchangeError::UnknownFormat { .. }))
}

fn undo(batch: i64, context: &Context) -> anyhow::Result<ExitStatus> {
    let mut store = context.open(Access::Write)?;
    match store.undo_import(batch)? {
        Some(runs) => {
            context.note(&format!("took import {batch} back: {runs} runs were removed"));
            Ok(ExitStatus::Ok)
        }
        None => Err(CommandError::new(
            format!("there is no import {batch}"),
            "`benchdb query \"SELECT id, path, imported_at FROM import_batch\"` lists them",
        )
        .into()),
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| unreadable(file))
}

/// Imports one file; answers its row of the table, and whether everything in it was taken or known.
fn import(file: &Path, strict: bool, store: &mut Store, context: &Context) -> anyhow::Result<(Vec<Cell>, bool)> {
    let bytes = read(file)?;
    let path = path_text(file);
    let content = Content { path: &path, bytes: &bytes };
    let importer = importer_for::<TransferError>(content)?;
    let source =
        ImportSource { path: path.clone(), format: importer.format().to_owned(), content_sha256: sha256_hex(&bytes) };
    let mut notes = Vec::new();
    let outcome = store
        .import_runs(&source, strict, |sink| {
            notes = importer.read(content, sink)?;
            Ok::<_, TransferError>(())
        })
        .map_err(TransferError::into_cause)?;
    for note in notes {
        context.note(&format!("`{path}`: {note}"));
    }
    let format: Cell = source.format.into();
    Ok(match outcome {
        ImportOutcome::Done { batch, taken, known, refused } => {
            show(&path, &refused, context);
            let row =
                vec![path.into(), format, taken.into(), known.into(), (refused.len() as u64).into(), batch.into()];
            (row, refused.is_empty())
        }
        ImportOutcome::NothingTaken { refused } => {
            show(&path, &refused, context);
            context.note(&format!("`{path}`: nothing was taken, because `--strict` was given"));
            let row = vec![path.into(), format, 0_u64.into(), 0_u64.into(), (refused.len() as u64).into(), Cell::Null];
            (row, false)
        }
        ImportOutcome::Repeated { batch, imported_at } => {
            context.note(&format!("`{path}` was imported before, as {batch} at {imported_at}; nothing was added"));
            (vec![path.into(), format, 0_u64.into(), Cell::Null, 0_u64.into(), batch.into()], true)
        }
    })
}

fn show(path: &str, refused: &[Refusal], context: &Context) {
    for refusal in refused.iter().take(SHOWN_REFUSALS) {
        context.note(&format!("refused: {path}:{}: {}", refusal.line, refusal.reason));
    }
    if refused.len() > SHOWN_REFUSALS {
        context.note(&format!("and {} more; all are in `import_batch.refusals`", refused.len() - SHOWN_REFUSALS));
    }
}
