//! `benchdb import`: runs from files, each file in one transaction; and `--undo`.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};

use super::{CommandError, Context, ExitStatus, OutputArgs, TransferError, files_in, path_text, unreadable};
use crate::domain::configuration::hex;
use crate::domain::text::counted;
use crate::domain::{Cell, Refusal, Table};
use crate::exchange::{ColumnMap, ExchangeError, Head, MapError, importer_for, read_ahead};
use crate::store::imports::{ImportOutcome, ImportSource};
use crate::store::list::Selection;
use crate::store::{Access, Store};

/// Refusals of a file that are shown.
const SHOWN_REFUSALS: usize = 20;

/// Files below this size are read before a bar could be seen.
const SHOWN_FROM_BYTES: u64 = 1 << 22;

/// Options of `benchdb import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, or folders of them
    #[arg(value_name = "FILE", required_unless_present = "undo")]
    files: Vec<PathBuf>,
    /// Take nothing of a file in which any row is wrong
    #[arg(long)]
    strict: bool,
    /// What a foreign file does not say itself: `TARGET=COLUMN`, `TARGET=COLUMN*FACTOR` or `TARGET==VALUE`, as in
    /// `latency_p50_ms=lat_s*1000` and `platform==cuda`; repeatable
    #[arg(long, value_name = "ENTRY", value_parser = map_entry)]
    map: Vec<String>,
    /// Take an import back: its number
    #[arg(long, value_name = "BATCH", conflicts_with_all = ["files", "strict", "map"])]
    undo: Option<i64>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Checks an entry of the map where it stands on the command line.
fn map_entry(entry: &str) -> Result<String, MapError> {
    entry.parse::<ColumnMap>().map(|_| entry.to_owned())
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or is in no known format, a database that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    if let Some(batch) = args.undo {
        return undo(batch, context);
    }
    let map = ColumnMap::new(args.map.iter().map(String::as_str))
        .map_err(|error| CommandError::new(error.to_string(), "docs/importing.md has the syntax of `--map`"))?;
    let files = files_in(&args.files)?;
    let folder = args.files.iter().any(|path| path.is_dir());
    // Every file is looked at before a database is made for nothing.
    if let [only] = files.as_slice()
        && only.is_file()
    {
        let (head, _) = open(only)?;
        importer_for::<TransferError>(&Head::new(&path_text(only), &head), &map)?;
    }
    let mut store = context.open(Access::Create)?;
    let mut table = Table::new("", &["file", "format", "taken", "known", "refused", "batch"]);
    let mut status = ExitStatus::Ok;
    for file in &files {
        match import(file, args.strict, &map, &mut store, context) {
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
    let selection = Selection { imports: vec![batch], ..Selection::default() };
    let set = store.read_series(&selection, Vec::new())?;
    let ids: Vec<i64> = set.series.iter().flat_map(|series| series.runs.iter().filter_map(|run| run.run_id)).collect();
    let baselines = store.list_baselines_of(&ids)?;
    match store.undo_import(batch)? {
        Some(runs) => {
            for (name, count) in baselines {
                context.note(&format!("the baseline `{name}` lost {}", counted(count as usize, "run", "runs")));
            }
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

/// What can be read twice: once for its digest, once for its runs.
pub(super) trait Content: Read + Seek + Send {}

impl<T: Read + Seek + Send> Content for T {}

/// A file at its beginning.
pub(super) type Opened = BufReader<Box<dyn Content>>;

/// Opens a file; answers how it begins, too. A pipe, which can be read once, is kept in memory.
pub(super) fn open(file: &Path) -> anyhow::Result<(Vec<u8>, Opened)> {
    let failed = || unreadable(file);
    let mut opened = File::open(file).with_context(failed)?;
    let content: Box<dyn Content> = if opened.metadata().with_context(failed)?.is_file() {
        Box::new(opened)
    } else {
        let mut bytes = Vec::new();
        opened.read_to_end(&mut bytes).with_context(failed)?;
        Box::new(Cursor::new(bytes))
    };
    let mut content = BufReader::with_capacity(1 << 16, content);
    let head = Head::bytes_of(&mut content).with_context(failed)?;
    content.seek(SeekFrom::Start(0)).with_context(failed)?;
    Ok((head, content))
}

/// SHA-256 (hex) of all that is left of a stream, which is then at its beginning again.
fn digest(content: &mut Opened) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(content, &mut hasher)?;
    content.seek(SeekFrom::Start(0))?;
    Ok(hex(&hasher.finalize()))
}

/// Imports one file; answers its row of the table, and whether everything in it was taken or known.
fn import(
    file: &Path,
    strict: bool,
    map: &ColumnMap,
    store: &mut Store,
    context: &Context,
) -> anyhow::Result<(Vec<Cell>, bool)> {
    let (head, mut content) = open(file)?;
    let path = path_text(file);
    let importer = importer_for::<TransferError>(&Head::new(&path, &head), map)?;
    if map.names_columns() && importer.format() != "csv" {
        context.note(&format!("`{path}`: its columns are known; of `--map`, values alone (`TARGET==VALUE`) may count"));
    }
    let content_sha256 = digest(&mut content).with_context(|| unreadable(file))?;
    let source = ImportSource { path: path.clone(), format: importer.format().to_owned(), content_sha256 };
    drop(importer);
    let mut notes = Vec::new();
    let bar = bar(file, context);
    let mut content = bar.wrap_read(content);
    let outcome = store
        .import_runs(&source, strict, |sink| {
            notes = read_ahead(&Head::new(&path, &head), &mut content, map, sink)?;
            Ok::<_, TransferError>(())
        })
        .map_err(TransferError::into_cause);
    bar.finish_and_clear();
    let outcome = outcome?;
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

/// A bar of what has been read of a file.
fn bar(file: &Path, context: &Context) -> ProgressBar {
    let length = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    if !context.shows_progress() || length < SHOWN_FROM_BYTES {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length).with_message(path_text(file));
    let template = "{spinner} {msg} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} (left {eta})";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn show(path: &str, refused: &[Refusal], context: &Context) {
    for refusal in refused.iter().take(SHOWN_REFUSALS) {
        context.note(&format!("refused: {path}:{}: {}", refusal.line, refusal.reason));
    }
    if refused.len() > SHOWN_REFUSALS {
        context.note(&format!("and {} more; all are in `import_batch.refusals`", refused.len() - SHOWN_REFUSALS));
    }
}
