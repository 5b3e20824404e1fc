//! Groups of options that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice};
use serde_json::Value;

use super::{CommandError, format_of};
use crate::domain::{Mode, PlannedRun, Platform, Precision, RunStatus};
use crate::engine::plan::{HardwareChoice, PlanRequest, find_model, plan};
use crate::engine::{EngineError, Runner};
use crate::report::Format;
use crate::store::list::Selection;

/// Options of every command.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// The database file
    #[arg(long, global = true, value_name = "PATH", env = "BENCHDB_PATH", hide_env_values = true, default_value = crate::store::DEFAULT_FILE)]
    pub db: PathBuf,
    /// Print results and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more of what happens
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Colours: on a terminal, always, never (NO_COLOR is respected)
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
}

/// A model with its weights.
#[derive(Clone, Debug, Args)]
pub struct ModelArgs {
    /// The model, by a forgiving name
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// Weight file: safetensors, .pt or .pth (seeded random weights without)
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Seed of the weights where there is no file
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
}

/// Where and how rows are printed.
#[derive(Clone, Debug, Default, Args)]
pub struct OutputArgs {
    /// How to print; by the ending of `--output` where that is given, a table otherwise
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl OutputArgs {
    /// The format: what was asked for, what the file's ending says, a table.
    pub fn format(&self) -> Format {
        self.format.or_else(|| self.output.as_deref().and_then(format_of)).unwrap_or_default()
    }

    /// Whether people read it: short names and numbers instead of exact ones.
    pub fn is_for_people(&self) -> bool {
        matches!(self.format(), Format::Table | Format::Markdown)
    }
}

/// Which runs are meant.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub struct SelectArgs {
    /// Run ids or UUIDs
    #[arg(long = "run", value_name = "ID", value_delimiter = ',')]
    pub runs: Vec<String>,
    /// A campaign: its UUID or the beginning of it, its label, or `last`
    #[arg(long, value_name = "CAMPAIGN")]
    pub campaign: Option<String>,
    /// The label of a campaign
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
    /// Models, by forgiving names
    #[arg(long = "model", value_name = "MODEL", value_delimiter = ',')]
    pub models: Vec<String>,
    /// A model's variant
    #[arg(long, value_name = "VARIANT")]
    pub variant: Option<String>,
    /// Platforms
    #[arg(long = "hardware", value_enum, value_delimiter = ',')]
    pub platforms: Vec<Platform>,
    /// Part of a device's name
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Engines
    #[arg(long = "engine", value_name = "ENGINE", value_delimiter = ',')]
    pub engines: Vec<String>,
    /// Precisions
    #[arg(long = "precision", value_enum, value_delimiter = ',')]
    pub precisions: Vec<Precision>,
    /// Modes
    #[arg(long = "mode", value_enum, value_delimiter = ',')]
    pub modes: Vec<Mode>,
    /// Batch sizes
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub batch_sizes: Vec<u32>,
    /// How the runs ended
    #[arg(long = "status", value_enum, value_delimiter = ',')]
    pub statuses: Vec<RunStatus>,
    /// The host that measured
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// The beginning of a git commit
    #[arg(long, value_name = "COMMIT")]
    pub git_commit: Option<String>,
    /// Started at this time or later, UTC if it names no zone: 2026-11-21, 2026-11-21T08:00, 2026-11-21T08:00:00+02:00
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<String>,
    /// Started before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<String>,
    /// Part of the engine's or framework's version: `2.4.0`
    #[arg(long, value_name = "VERSION")]
    pub framework: Option<String>,
    /// A parameter of the work: `memory_layout=nchw`; `compiled=` is one that the configuration does not have
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    pub parameters: Vec<(String, Value)>,
    /// What these imports brought, by their numbers
    #[arg(long = "import", value_name = "BATCH", value_delimiter = ',')]
    pub imports: Vec<i64>,
}

/// A name and a value, which is JSON (`true`, `64`) or a text; nothing is JSON's null.
pub(super) fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("it has the form `name=value`")?;
    let value = match value {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    Ok((name.trim().to_owned(), value))
}

/// The hardware that is meant where one thing is computed: that of the engine, if nobody names any, and else the processor.
pub(super) fn hardware_of(platform: Option<Platform>, engine: Option<&str>) -> HardwareChoice {
    match (platform, engine) {
        (Some(platform), _) => HardwareChoice::Platform(platform),
        (None, Some(_)) => HardwareChoice::Auto,
        (None, None) => HardwareChoice::Platform(Platform::Cpu),
    }
}

/// The run of a request for one.
///
/// # Errors
/// The reason why there is none.
pub(super) fn only_run(request: &PlanRequest, runner: &Runner) -> anyhow::Result<PlannedRun> {
    let mut made = plan(request, runner)?;
    if let Some(planned) = made.runs.pop() {
        return Ok(planned);
    }
    let refused = made.unsupported.pop().map(|(_, reason)| reason);
    let reason = refused.or_else(|| made.left_out.pop().map(|left_out| left_out.reason));
    Err(match reason {
        Some(reason) => reason.into(),
        None => CommandError::new("nothing here can run it", "`benchdb hardware` lists what can").into(),
    })
}

/// More workers than threads would only wait for each other.
pub(super) fn too_many_workers(workers: u32, threads: u32) -> CommandError {
    CommandError::new(
        format!("{workers} workers cannot share {threads} threads"),
        format!("`--workers {threads}` is the most; `--threads` names other threads"),
    )
}

/// A length of time: seconds, or with a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(365 * 24 * 3600);
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .map_err(|_| "it is a number of seconds, or has a unit: `500ms`, `30s`, `2m`".to_owned())
            .and_then(|parsed| Duration::try_from(parsed).map_err(|_| "it is negative".to_owned())),
    }?;
    if parsed > MOST { Err("it is more than a year".to_owned()) } else { Ok(parsed) }
}

/// A time as it is stored: ISO-8601 UTC with milliseconds.
fn time(text: &str) -> Result<String, String> {
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let civil = || {
        let plain =
            text.parse::<jiff::civil::DateTime>().or_else(|_| text.parse().map(jiff::civil::Date::into)).ok()?;
        plain.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    match zoned.or_else(civil) {
        Some(time) => Ok(format!("{time:.3}")),
        None => Err("it is a date (2026-11-21) or a time (2026-11-21T08:00:00Z)".to_owned()),
    }
}

impl SelectArgs {
    /// The selection; `resolve_campaign` turns what names a campaign into its UUID.
    ///
    /// # Errors
    /// A campaign that is not there, an ambiguous model.
    pub fn selection<E>(&self, resolve_campaign: impl FnOnce(&str) -> Result<String, E>) -> anyhow::Result<Selection>
    where
        E: Into<anyhow::Error>,
    {
        Ok(Selection {
            runs: self.runs.clone(),
            campaign: self.campaign.as_deref().map(resolve_campaign).transpose().map_err(Into::into)?,
            label: self.label.clone(),
            models: self.models.iter().flat_map(|name| stored_model_names(name)).collect(),
            variant: self.variant.clone(),
            platforms: self.platforms.clone(),
            device: self.device.clone(),
            engines: self.engines.iter().map(|name| stored_engine_name(name)).collect(),
            precisions: self.precisions.clone(),
            modes: self.modes.clone(),
            batch_sizes: self.batch_sizes.clone(),
            statuses: self.statuses.clone(),
            host: self.host.clone(),
            git_commit: self.git_commit.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
            framework: self.framework.clone(),
            parameters: self.parameters.iter().cloned().collect(),
            imports: self.imports.clone(),
            baseline: None,
            configurations: Vec::new(),
        })
    }
}

/// The names under which a model may be stored: as it was given (an imported model), and the canonical one of the zoo.
fn stored_model_names(name: &str) -> Vec<String> {
    let canonical = find_model(name).ok().map(|entry| entry.name.to_owned()).filter(|canonical| canonical != name);
    std::iter::once(name.to_owned()).chain(canonical).collect()
}

fn stored_engine_name(name: &str) -> String {
    match crate::engine::find_engine(name) {
        Ok(engine) => engine.name().to_owned(),
        Err(EngineError::UnknownEngine { name, .. }) => name,
        Err(_) => name.to_owned(),
    }
}
