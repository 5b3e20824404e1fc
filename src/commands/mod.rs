//! One file a subcommand: its options and what it does. Here is what they share: the context of an invocation, groups of
//! options, exit codes and hints. This is the only layer that joins engines, database and reports.

pub mod accept;
pub mod analyze;
pub mod backup;
pub mod baseline;
pub mod check;
pub mod completions;
pub mod delete;
pub mod exec;
pub mod explain;
pub mod export;
pub mod hardware;
pub mod import;
pub mod infer;
pub mod init_db;
pub mod man;
pub mod merge;
pub mod models;
pub mod optimize;
mod options;
pub mod predict;
pub mod profile;
pub mod query;
pub mod recommend;
mod recovery;
pub mod regress;
pub mod report;
pub mod run;
pub mod serve;
mod sheets;
mod sides;
pub mod status;
mod verdicts;
pub mod visualize;

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::ColorChoice;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cache::CacheError;
use crate::dataset::DatasetError;
use crate::domain::Table;
use crate::domain::text::{folder_of, printable};
use crate::engine::EngineError;
use crate::exchange::ExchangeError;
use crate::exchange::tensors::TensorFileError;
use crate::explain::ExplainError;
use crate::optimize::OptimizeError;
use crate::predict::PredictError;
use crate::report::{Format, Style, renderer};
use crate::serve::ServeError;
use crate::store::{Access, Opened, Store, StoreError};
use crate::zoo::{WeightError, ZooError};

pub use options::{GlobalArgs, OutputArgs, SelectArgs};

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// All well.
    Ok,
    /// A regression was found; or a run failed; or nothing that was asked for could run.
    Failed,
    /// The command could not be done.
    Error,
    /// Nothing could be judged, or a verdict is not as sure as `--fail-on` wants it.
    NotJudged,
    /// Ctrl-C.
    Interrupted,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Ok => 0,
            ExitStatus::Failed => 1,
            ExitStatus::Error => 2,
            ExitStatus::NotJudged => 3,
            // What shells answer for a program that SIGINT ended.
            ExitStatus::Interrupted => 130,
        })
    }
}

/// An error of a command itself, with its way out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    message: String,
    hint: Option<String>,
}

impl CommandError {
    /// An error with a hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

/// Files of runs go through two layers, and either may stop it.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

impl TransferError {
    fn into_cause(self) -> anyhow::Error {
        match self {
            Self::Store(error) => error.into(),
            Self::Exchange(error) => error.into(),
        }
    }
}

/// The way out of an error, from whichever layer has one.
pub fn hint_of(error: &anyhow::Error) -> Option<String> {
    // A context is no link of the chain that can be recognised; only the error as a whole knows it.
    let context = error.downcast_ref::<CommandError>().and_then(|error| error.hint.clone());
    context.or_else(|| {
        error.chain().find_map(|cause| {
            let store = cause.downcast_ref::<StoreError>().and_then(StoreError::hint);
            let engine = || cause.downcast_ref::<EngineError>().and_then(EngineError::hint);
            let exchange = || cause.downcast_ref::<ExchangeError>().and_then(ExchangeError::hint);
            let zoo = || cause.downcast_ref::<ZooError>().and_then(ZooError::hint);
            let weights = || cause.downcast_ref::<WeightError>().and_then(WeightError::hint);
            let tensors = || cause.downcast_ref::<TensorFileError>().and_then(TensorFileError::hint);
            let dataset = || cause.downcast_ref::<DatasetError>().and_then(DatasetError::hint);
            let optimize = || cause.downcast_ref::<OptimizeError>().and_then(OptimizeError::hint);
            let predict = || cause.downcast_ref::<PredictError>().and_then(PredictError::hint);
            let explain = || cause.downcast_ref::<ExplainError>().and_then(ExplainError::hint);
            let cache = || cause.downcast_ref::<CacheError>().and_then(CacheError::hint);
            let served = || cause.downcast_ref::<ServeError>().and_then(ServeError::hint);
            let command = || cause.downcast_ref::<CommandError>().and_then(|error| error.hint.clone());
            let files = || exchange().or_else(tensors).or_else(dataset);
            let networks = || zoo().or_else(weights).or_else(optimize).or_else(explain).or_else(cache);
            store.or_else(engine).or_else(files).or_else(networks).or_else(predict).or_else(served).or_else(command)
        })
    })
}

/// What every command knows of its invocation.
#[derive(Debug)]
pub struct Context {
    global: GlobalArgs,
}

impl Context {
    /// The context of these options.
    pub fn new(global: GlobalArgs) -> Self {
        Self { global }
    }

    /// The database's path.
    pub fn db(&self) -> &Path {
        &self.global.db
    }

    /// Opens the database; says what it did to it. Whoever writes also cleans up after processes that died.
    ///
    /// # Errors
    /// What [`Store::open`] refuses.
    pub fn open(&self, access: Access) -> Result<Store, StoreError> {
        let (mut store, opened) = match Store::open(self.db(), access) {
            // Our own database is migrated by whatever command comes first.
            Err(StoreError::OlderSchema { .. }) => {
                self.open(Access::Write)?;
                Store::open(self.db(), access)?
            }
            opened => opened?,
        };
        match opened {
            Opened::Created => self.note(&format!("created `{}`", self.db().display())),
            Opened::Migrated { from } => {
                self.note(&format!("migrated `{}` from schema {from}", self.db().display()));
            }
            Opened::Existing => {}
        }
        if access != Access::Read {
            recovery::mark_interrupted(&mut store, self)?;
        }
        Ok(store)
    }

    /// A word to the user on standard error, unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.global.quiet {
            // Notes are a courtesy; a closed standard error is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{}", printable(text));
        }
    }

    /// A word for those who asked for more.
    pub fn detail(&self, text: &str) {
        if self.global.verbose {
            self.note(text);
        }
    }

    /// An error and its way out, on standard error.
    pub fn complain(&self, message: &str, hint: Option<&str>) {
        let mut err = std::io::stderr().lock();
        // There is nothing left to do if even this cannot be written.
        let _ = writeln!(err, "{} {}", self.emphasis(console::style("error:").red()), printable(message));
        if let Some(hint) = hint {
            let _ = writeln!(err, "{} {}", self.emphasis(console::style("hint:").cyan()), printable(hint));
        }
    }

    /// Whether a progress bar may be drawn.
    pub fn shows_progress(&self) -> bool {
        !self.global.quiet && std::io::stderr().is_terminal()
    }

    /// A progress bar of this many steps; hidden where nobody would see it.
    pub fn bar(&self, length: u64) -> ProgressBar {
        if !self.shows_progress() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(length);
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg} {elapsed}, {per_sec}, left {eta}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// A word that stands out, where colours may be used on standard error.
    fn emphasis(&self, word: console::StyledObject<&str>) -> String {
        word.bold().force_styling(self.color_on(std::io::stderr().is_terminal())).to_string()
    }

    fn color_on(&self, terminal: bool) -> bool {
        match self.global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
                terminal && !forbidden && !dumb
            }
        }
    }

    /// Writes to a file or to standard output, but never over the database.
    ///
    /// # Errors
    /// As [`write_to`]; and a path that is the database.
    pub fn write(
        &self,
        path: Option<&Path>,
        write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let same = |other: &Path| {
            path.and_then(|path| std::fs::canonicalize(path).ok())
                .zip(std::fs::canonicalize(other).ok())
                .is_some_and(|(path, other)| path == other)
        };
        let log = |suffix: &str| {
            let mut name = self.db().as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        if same(self.db()) || same(&log("-wal")) || same(&log("-shm")) {
            return Err(
                CommandError::new("the output would overwrite the database", "choose another `--output`").into()
            );
        }
        write_to(path, write)
    }

    /// How to write to where `output` says: colours and a width for a terminal alone.
    fn style(&self, output: Option<&Path>) -> Style {
        let to_terminal = output.is_none() && std::io::stdout().is_terminal();
        Style { color: self.color_on(to_terminal), width: to_terminal.then(|| console::Term::stdout().size().1) }
    }

    /// Writes tables where `output` says, in its format.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn print(&self, kind: &str, tables: &[Table], output: &OutputArgs) -> anyhow::Result<()> {
        let style = self.style(output.output.as_deref());
        let format = output.format();
        self.write(output.output.as_deref(), |out| Ok(renderer(format, style).render(kind, tables, out)?))?;
        if let Some(path) = &output.output {
            self.note(&format!("wrote `{}`", path.display()));
        }
        Ok(())
    }
}

/// Writes to a file or to standard output. A file appears whole or not at all.
///
/// # Errors
/// What the file system refuses, or the first error of `write`.
pub fn write_to(path: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        let mut out = BufWriter::new(Pipe { out: std::io::stdout().lock(), closed: false });
        let written = write(&mut out).and_then(|()| Ok(out.flush()?));
        let closed = out.get_ref().closed;
        // What is left in the buffer has nowhere to go.
        let _ = out.into_parts();
        return if closed { Err(std::io::Error::from(ErrorKind::BrokenPipe).into()) } else { written };
    };
    let failed = || {
        CommandError::new(
            format!("cannot write `{}`", path.display()),
            "the folder must be there and writable, with room on its disk",
        )
    };
    // What has a cause and a hint of its own keeps them.
    let named = |error: anyhow::Error| if error.is::<std::io::Error>() { error.context(failed()) } else { error };
    if path.exists() && !path.is_file() {
        // A device or a pipe is written to as it is.
        let mut out = BufWriter::new(File::options().write(true).open(path).with_context(failed)?);
        write(&mut out).map_err(named)?;
        return out.flush().with_context(failed);
    }
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".benchdb-");
    // Private is tempfile's default; a result is a file like any other, less what the process's mask takes.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let draft = builder.tempfile_in(folder).with_context(failed)?;
    let mut out = BufWriter::new(draft);
    write(&mut out).map_err(named)?;
    let draft = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(failed)?;
    draft.as_file().sync_all().with_context(failed)?;
    draft.persist(path).map_err(|error| error.error).with_context(failed)?;
    Ok(())
}

/// Standard output; remembers that its reader went away, whatever the layers above make of the error.
struct Pipe<W> {
    out: W,
    closed: bool,
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write(bytes).inspect_err(|error| self.closed |= error.kind() == ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush().inspect_err(|error| self.closed |= error.kind() == ErrorKind::BrokenPipe)
    }
}

/// The format that a file's ending names, where it names one.
fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_lowercase().as_str() {
        "json" => Some(Format::Json),
        "csv" => Some(Format::Csv),
        "md" | "markdown" => Some(Format::Markdown),
        _ => None,
    }
}

/// The context of a file that cannot be read.
fn unreadable(path: &Path) -> CommandError {
    CommandError::new(format!("cannot read `{}`", path.display()), "check the path and its permissions")
}

/// A path as text, for records.
fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The files that paths mean: files as they are, folders with all files in them, in order.
///
/// # Errors
/// A path that is not there.
fn files_in(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let failed = || unreadable(path);
        if path.is_dir() {
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(path).with_context(failed)? {
                let entry = entry.with_context(failed)?.path();
                if entry.is_file() {
                    inside.push(entry);
                }
            }
            inside.sort();
            files.extend(inside);
        } else {
            std::fs::metadata(path).with_context(failed)?;
            files.push(path.clone());
        }
    }
    Ok(files)
}
