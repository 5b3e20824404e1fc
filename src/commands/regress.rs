//! `benchdb regress`: verdicts for continuous integration, against a baseline, other runs or the history.

use std::path::PathBuf;

use super::sides::{Against, restarts};
use super::verdicts::{JudgeArgs, Judged, VerdictOutputArgs, judge_runs, publish};
use super::{Context, ExitStatus, SelectArgs};
use crate::analysis::MetricChoice;
use crate::analysis::history::{ChangePoint, Histories, histories};
use crate::analysis::metrics::metrics_of;
use crate::domain::text::counted;
use crate::domain::verdict::VerdictReport;
use crate::domain::{Part, Table};
use crate::report::significant;
use crate::report::verdicts::{VerdictFormat, change_text};
use crate::stats::ChangePointOptions;
use crate::store::judging::JudgedAgainst;
use crate::store::list::Selection;
use crate::store::{Access, Store};

/// Options of `benchdb regress`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all well, 1 a regression, 2 the command could not be done, 3 nothing could be judged.

Examples:
  benchdb regress                                      the newest campaign against the runs before it
  benchdb regress --campaign last --baseline main      against `benchdb baseline save main`
  benchdb regress --compare-to baseline.csv --format github
  benchdb regress --framework 2.9.1 --against framework:2.4.0 --metrics throughput
  benchdb regress --history                            steps and drifts of every series"
)]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,
    /// Judge against a stored baseline
    #[arg(long, value_name = "NAME", group = "other_side")]
    baseline: Option<String>,
    /// Judge against a file: an export, a file that can be imported, or any CSV with models and a metric
    #[arg(long, value_name = "FILE", group = "other_side")]
    compare_to: Option<PathBuf>,
    /// Judge against other runs: label:NAME, commit:HASH, campaign:UUID, import:NUMBER, framework:VERSION
    #[arg(long, value_name = "KIND:VALUE", group = "other_side", value_parser = kind_and_value)]
    against: Option<(String, String)>,
    /// Look for steps and drifts in the sequence of runs
    #[arg(long, group = "other_side", conflicts_with_all = ["fdr", "match_on", "ignore", "all_runs", "no_floors"])]
    history: bool,
    /// Do not keep the verdicts in the database
    #[arg(long)]
    no_record: bool,
    #[command(flatten)]
    judging: JudgeArgs,
    #[command(flatten)]
    output: VerdictOutputArgs,
}

fn kind_and_value(text: &str) -> Result<(String, String), String> {
    const KINDS: [&str; 5] = ["label", "commit", "campaign", "import", "framework"];
    match text.split_once(':') {
        Some((kind, value)) if KINDS.contains(&kind) && !value.is_empty() => Ok((kind.to_owned(), value.to_owned())),
        _ => Err(format!("it has the form KIND:VALUE, with one of the kinds {}", KINDS.join(", "))),
    }
}

/// Runs the command.
///
/// # Errors
/// A baseline that is not there, a file that cannot be read, a database that cannot be read.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let store = context.open(Access::Read)?;
    let selection = args.select.selection(|wanted| store.find_campaign(wanted).map(|campaign| campaign.uuid))?;
    if args.history {
        return history(args, store, &selection, context);
    }
    let against = match (&args.baseline, &args.compare_to, &args.against) {
        (Some(name), ..) => Against::Baseline(name.clone()),
        (_, Some(path), _) => Against::File(path.clone()),
        (_, _, Some((kind, value))) => other_runs(&store, &selection, kind, value)?,
        _ => Against::Earlier,
    };
    let judged = judge_runs(&store, &selection, &against, &args.judging, context)?;
    drop(store);
    // The answer first: whoever waits for it need not wait for another's lock.
    let status = publish(&judged.report, &[], &args.judging, &args.output, context)?;
    if !args.no_record {
        keep(&judged, context);
    }
    Ok(status)
}

fn other_runs(store: &Store, selection: &Selection, kind: &str, value: &str) -> anyhow::Result<Against> {
    let mut other = selection.of_series();
    match kind {
        "label" => other.label = Some(value.to_owned()),
        "commit" => other.git_commit = Some(value.to_owned()),
        "campaign" => other.campaign = Some(store.find_campaign(value)?.uuid),
        "framework" => other.framework = Some(value.to_owned()),
        _ => {
            let batch = value.parse().map_err(|_| {
                super::CommandError::new(
                    format!("`{value}` is no number of an import"),
                    "`benchdb query \"SELECT id, path FROM import_batch\"` lists them",
                )
            })?;
            other.imports = vec![batch];
        }
    }
    Ok(Against::Runs { selection: Box::new(other), text: format!("{kind} {value}") })
}

/// Keeps verdicts and noise; a database that cannot be written to is no reason to withhold them.
fn keep(judged: &Judged, context: &Context) {
    let kept = context.open(Access::Write).and_then(|mut store| {
        store.save_noise_floors(&judged.noise)?;
        store.insert_verdicts(&judged.report.verdicts, &judged.against)
    });
    if let Err(error) = kept {
        context.note(&format!("the verdicts were not kept: {}", crate::domain::text::one_line(&error)));
    }
}

fn history(args: &Args, store: Store, selection: &Selection, context: &Context) -> anyhow::Result<ExitStatus> {
    let (report, changes) = judge_history(&store, selection, &args.judging.choices(), args.judging.regression_alert)?;
    drop(store);
    let people = matches!(args.output.format(), VerdictFormat::Table | VerdictFormat::Markdown | VerdictFormat::Github);
    let table = change_table(&changes, people, args.output.limit().filter(|_| people));
    let more = if people && changes.is_empty() { vec![] } else { vec![table] };
    if !args.no_record {
        let against = JudgedAgainst { source: "history".to_owned(), baseline: None, alert: report.alert };
        let judged = Judged { report, against, noise: Vec::new() };
        let status = publish(&judged.report, &more, &args.judging, &args.output, context)?;
        keep(&judged, context);
        return Ok(status);
    }
    publish(&report, &more, &args.judging, &args.output, context)
}

/// Judges the newest level of each selected series by its history, and finds the steps and drifts in it.
///
/// # Errors
/// A database that cannot be read.
pub(super) fn judge_history(
    store: &Store,
    selection: &Selection,
    choices: &[MetricChoice],
    alert: f64,
) -> anyhow::Result<(VerdictReport, Vec<ChangePoint>)> {
    let set = store.read_series(selection, metrics_of(choices))?;
    let options = ChangePointOptions::default();
    let Histories { judgements, changes } = histories(&set, choices, alert, &restarts(store)?, &options);
    let series = judgements.len();
    let report = VerdictReport {
        candidate: "the newest level of each series".to_owned(),
        against: "its history".to_owned(),
        alert,
        matched_on: Part::all().to_vec(),
        verdicts: judgements,
        tested: 0,
        by_threshold: 0,
        expected_false_alarms: None,
        accepted: 0,
        refused_rows: 0,
        notes: vec![format!(
            "{} in {series} series; of series without a change at most {} % would show one by chance",
            counted(changes.len(), "step or drift", "steps and drifts"),
            options.false_alarm_rate * 100.0
        )],
    };
    Ok((report, changes))
}

/// The steps and drifts as rows, the first `limit` of them.
pub(super) fn change_table(changes: &[ChangePoint], people: bool, limit: Option<usize>) -> Table {
    let names: Vec<String> = Part::all().iter().map(Part::to_string).collect();
    let mut columns = vec!["kind"];
    columns.extend(names.iter().map(String::as_str));
    columns.extend(["metric", "run", "started_at", "commit_before", "commit_after", "before", "after"]);
    columns.extend(if people { ["cost"] } else { ["effect"] });
    columns.extend(["p_value", "points", "differences"]);
    let mut table = Table::new("Changes", &columns);
    for change in changes.iter().take(limit.unwrap_or(usize::MAX)) {
        let commit = |commit: &Option<String>| {
            let short = |commit: &String| if people { commit.chars().take(10).collect() } else { commit.clone() };
            crate::domain::Cell::from(commit.as_ref().map(short))
        };
        let number = |value: f64| if people { significant(value).into() } else { crate::domain::Cell::from(value) };
        let mut row = vec![if change.is_drift { "drift" } else { "step" }.into()];
        row.extend(Part::all().iter().map(|part| change.identity.cell(*part)));
        let differences: Vec<String> = change
            .differences
            .iter()
            .map(|difference| format!("{} {} -> {}", difference.what, difference.baseline, difference.candidate))
            .collect();
        row.extend([
            change.metric.as_str().into(),
            change.run_id.into(),
            change.started_at.clone().into(),
            commit(&change.commits.0),
            commit(&change.commits.1),
            number(change.before),
            number(change.after),
            if people { change_text(change.effect, change.absolute).into() } else { change.effect.into() },
            number(change.p_value),
            (change.points as u64).into(),
            differences.join("; ").into(),
        ]);
        table.push(row);
    }
    if people {
        table.fold_shared(&names.iter().map(String::as_str).chain(["metric"]).collect::<Vec<_>>());
        table.drop_empty(&["commit_before", "commit_after", "differences", "started_at"]);
        if changes.len() > table.rows.len() {
            table.title = format!("{} (the largest {} of {})", table.title, table.rows.len(), changes.len());
        }
    }
    table
}
