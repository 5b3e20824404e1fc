//! `benchdb report`: everything that the record says of the selected runs, in one file: a page, Markdown or JSON.

mod notes;
pub(super) mod sections;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use self::sections::{Subject, document};
use super::verdicts::alert;
use super::{CommandError, Context, ExitStatus, SelectArgs};
use crate::analysis::compare::Reference;
use crate::report::document::{MOST_CHARACTERS, json_text, markdown_text};
use crate::report::{bytes, html};
use crate::store::Access;
use crate::store::list::Selection;

/// Rows of a table that people see without asking for more.
pub(super) const SHOWN_ROWS: usize = 200;

/// Where a page is written, if nobody says.
const DEFAULT_OUTPUT: &str = "report.html";

/// Options of `benchdb report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb report                                      all runs, to report.html
  benchdb report --campaign last --baseline main --output nightly.html
  benchdb report --model resnet50 --format markdown | gh pr comment --body-file -
  benchdb report --format json --output report.json")]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    subject: SubjectArgs,
    /// The heading
    #[arg(long, value_name = "TEXT", default_value = "Benchmark report")]
    title: String,
    /// Rows of each table of a page or of Markdown; 0 for all
    #[arg(long, value_name = "N", default_value_t = SHOWN_ROWS)]
    limit: usize,
    /// What to write; by the ending of `--output` (.html, .md, .json), HTML without one
    #[arg(long, value_enum)]
    format: Option<ReportFormat>,
    /// Write to this file: report.html for HTML, standard output for Markdown and JSON without it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What a report holds the selected runs against.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SubjectArgs {
    /// What speed-ups are relative to: a platform, or `part=value` pairs (`engine=tract`, `device=3090,precision=fp32`)
    #[arg(long, value_name = "REFERENCE", default_value = "cpu", value_parser = Reference::parse)]
    relative_to: Reference,
    /// Rank and recommend software that pretends to be a device, too
    #[arg(long)]
    include_software: bool,
    /// Judge against a stored baseline instead of the history of each series
    #[arg(long, value_name = "NAME")]
    pub(super) baseline: Option<String>,
    /// A change by this share of the cost is too much: 0.1 is ten per cent
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = alert)]
    regression_alert: f64,
}

impl SubjectArgs {
    /// What a report of these runs is about; for people with so many rows of each table, or exact and whole.
    pub(super) fn subject<'s>(&self, selection: &'s Selection, people: bool, limit: Option<usize>) -> Subject<'s> {
        Subject {
            selection,
            reference: self.relative_to.clone(),
            include_software: self.include_software,
            baseline: self.baseline.clone(),
            alert: self.regression_alert,
            people,
            limit,
        }
    }
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One page that needs nothing else: no network, no other file.
    #[default]
    Html,
    /// What fits a pull request: 65,536 characters at most.
    Markdown,
    /// Versioned JSON, exact numbers.
    Json,
}

impl ReportFormat {
    /// In a word of a sentence.
    fn name(self) -> &'static str {
        match self {
            Self::Html => "HTML",
            Self::Markdown => "Markdown",
            Self::Json => "JSON",
        }
    }

    /// What the ending of a file says, in lower case.
    fn of_ending(ending: &str) -> Option<Self> {
        match ending {
            "html" | "htm" => Some(Self::Html),
            "md" | "markdown" => Some(Self::Markdown),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl Args {
    /// The format: what was asked for, what the file's ending says, HTML for what has none.
    ///
    /// # Errors
    /// An ending that no report has, and no format named.
    fn format(&self, context: &Context) -> Result<ReportFormat, CommandError> {
        let path = self.output.as_deref();
        let ending = path.and_then(Path::extension).map(|ending| ending.to_string_lossy().to_lowercase());
        let by_ending = ending.as_deref().and_then(ReportFormat::of_ending);
        let file = path.map(|path| path.display().to_string()).unwrap_or_default();
        match (self.format, by_ending) {
            (None, None) if ending.is_some() => Err(CommandError::new(
                format!("a report is HTML, Markdown or JSON, which the ending of `{file}` is none of"),
                "end it in .html, .md or .json, or name the `--format`",
            )),
            (Some(asked), Some(said)) if asked != said => {
                context.note(&format!("`{file}` holds {}, which its ending does not say", asked.name()));
                Ok(asked)
            }
            (asked, said) => Ok(asked.or(said).unwrap_or_default()),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// An ending that no report has, a database that cannot be read, a baseline that is not there, a file that cannot be
/// written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let format = args.format(context)?;
    let mut store = context.open(Access::Read)?;
    let selection = args.select.selection(|wanted| store.find_campaign(wanted).map(|campaign| campaign.uuid))?;
    let people = format != ReportFormat::Json;
    let subject = args.subject.subject(&selection, people, Some(args.limit).filter(|limit| people && *limit > 0));
    let Some(document) = document(&mut store, &subject, &args.title, context)? else {
        context.complain(
            "no run is selected, so there is nothing to report",
            Some("`benchdb status` shows what the database holds; `benchdb run --model resnet18` measures"),
        );
        return Ok(ExitStatus::NotJudged);
    };
    drop(store);
    let text = match format {
        ReportFormat::Html => html::document_page(&document)?,
        ReportFormat::Markdown => markdown_text(&document, MOST_CHARACTERS),
        ReportFormat::Json => json_text(&document)?,
    };
    let output = match format {
        ReportFormat::Html => Some(args.output.clone().unwrap_or_else(|| DEFAULT_OUTPUT.into())),
        ReportFormat::Markdown | ReportFormat::Json => args.output.clone(),
    };
    context.write(output.as_deref(), |out| Ok(out.write_all(text.as_bytes())?))?;
    if let Some(path) = output.filter(|path| path.as_os_str() != "-") {
        context.note(&format!("wrote `{}` ({})", path.display(), bytes(text.len() as u64)));
    }
    Ok(ExitStatus::Ok)
}
