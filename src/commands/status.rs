//! `benchdb status`: what the database holds.

use std::time::Duration;

use super::{Context, ExitStatus, OutputArgs};
use crate::domain::{Cell, Table};
use crate::report::{Format, bytes};
use crate::store::named::find_named;
use crate::store::query::QueryLimits;
use crate::store::{Access, Store, StoreError};

/// Campaigns that are listed.
const CAMPAIGNS: u32 = 5;

/// Failures that are listed.
const FAILURES: usize = 5;

/// Newest runs that are listed.
const NEWEST: usize = 10;

/// Options of `benchdb status`.
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
    // Runs that died are marked where that can be done; a database that is read-only is shown as it is.
    let mut store = match context.open(Access::Write) {
        Err(StoreError::ReadOnly { .. } | StoreError::Locked { .. } | StoreError::CannotOpen { .. }) => {
            context.open(Access::Read)?
        }
        opened => opened?,
    };
    let people = matches!(args.output.format(), Format::Table | Format::Markdown);
    let mut tables = vec![
        summary(&store, people)?,
        coverage(&store)?,
        named(&mut store, "newest", "Newest runs", NEWEST)?,
        campaigns(&store)?,
        named(&mut store, "failures", "Failures", FAILURES)?,
    ];
    if people {
        tables.retain(|table| !table.rows.is_empty());
        tables.iter_mut().for_each(shorten);
    }
    context.print("status", &tables, &args.output)?;
    Ok(ExitStatus::Ok)
}

pub(super) fn summary(store: &Store, people: bool) -> Result<Table, StoreError> {
    let summary = store.summary()?;
    let mut table = Table::new("Database", &["what", "value"]);
    let size: Cell = if people { bytes(summary.size_bytes).into() } else { summary.size_bytes.into() };
    for (what, value) in [
        ("file", store.path().display().to_string().into()),
        ("schema", summary.schema.into()),
        (if people { "size" } else { "size_bytes" }, size),
        ("runs", summary.runs.into()),
        ("runs measured", summary.ok.into()),
        ("runs that broke or were stopped", summary.not_ok.into()),
        ("unsupported outcomes", summary.unsupported.into()),
        ("configurations", summary.configurations.into()),
        ("models", summary.models.into()),
        ("devices", summary.devices.into()),
        ("campaigns", summary.campaigns.into()),
        ("planned runs still open", summary.open_runs.into()),
    ] {
        table.push([what.into(), value]);
    }
    Ok(table)
}

/// Models down, platforms across; each cell holds the number of measured runs.
pub(super) fn coverage(store: &Store) -> Result<Table, StoreError> {
    let counts = store.list_coverage()?;
    let mut platforms: Vec<&str> = counts.iter().map(|count| count.platform.as_str()).collect();
    platforms.sort_unstable();
    platforms.dedup();
    let columns: Vec<&str> = std::iter::once("model").chain(platforms.iter().copied()).collect();
    let mut table = Table::new("Measured runs by model and platform", &columns);
    let mut models: Vec<&str> = counts.iter().map(|count| count.model.as_str()).collect();
    models.dedup();
    for model in models {
        let cells = platforms.iter().map(|platform| {
            let found = counts.iter().find(|count| count.model == model && count.platform == *platform);
            found.map(|count| count.ok).into()
        });
        table.push(std::iter::once(model.into()).chain(cells));
    }
    Ok(table)
}

/// Leaves out what a glance does not need, so that rows fit a terminal, and cuts times to minutes.
fn shorten(table: &mut Table) {
    table.drop_columns(&["mode", "platform", "precision", "validity", "hint"]);
    if let Some(started_at) = table.columns.iter().position(|name| name == "started_at") {
        for row in &mut table.rows {
            if let Some(Cell::Text(time)) = row.get_mut(started_at) {
                *time = time.chars().take("2026-11-21T08:00".len()).collect::<String>().replace('T', " ");
            }
        }
    }
    for (name, short) in [("latency_p50_ms", "p50 ms"), ("throughput_samples_per_second", "samples/s")] {
        table.columns.iter_mut().filter(|column| *column == name).for_each(|column| short.clone_into(column));
    }
}

fn campaigns(store: &Store) -> Result<Table, StoreError> {
    let mut table = Table::new("Newest campaigns", &["campaign", "started_at", "label", "done", "planned"]);
    for progress in store.list_campaigns(CAMPAIGNS)? {
        table.push([
            progress.campaign.uuid.into(),
            progress.campaign.started_at.into(),
            progress.campaign.label.into(),
            progress.done.into(),
            progress.planned.into(),
        ]);
    }
    Ok(table)
}

fn named(store: &mut Store, name: &str, title: &str, rows: usize) -> Result<Table, StoreError> {
    let Some(query) = find_named(name) else {
        return Ok(Table::new(title, &[]));
    };
    let limits = QueryLimits { time: Duration::from_secs(60), rows: Some(rows) };
    let mut table = store.query(query.sql, &[], limits)?.table;
    title.clone_into(&mut table.title);
    Ok(table)
}
