//! `benchdb accept`: a person takes a change; the history of the series starts anew there.

use super::{CommandError, Context, ExitStatus, OutputArgs};
use crate::analysis::judge::{JudgeOptions, judge};
use crate::analysis::metrics::metrics_of;
use crate::domain::{Table, Verdict};
use crate::report::verdicts::change_text;
use crate::store::judging::{JudgedAgainst, OpenVerdict};
use crate::store::list::Selection;
use crate::store::{Access, Store};

/// Options of `benchdb accept`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb accept                                 list the changes that wait to be accepted
  benchdb accept --all --note 'new tokenizer'    accept what the last `regress` found
  benchdb accept 57                              the series of run 57 starts anew with that run")]
pub struct Args {
    /// Runs with which their series start anew
    #[arg(value_name = "RUN", conflicts_with = "all")]
    runs: Vec<i64>,
    /// Accept every change that the last `regress` found
    #[arg(long)]
    all: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// A run that is not there or has nothing before it, a database that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    if args.runs.is_empty() && !args.all {
        let store = context.open(Access::Read)?;
        let open = store.list_open_verdicts(false)?;
        context.print("open_verdicts", &[table(&open)], &args.output)?;
        context.note(&format!("{} changes wait to be accepted", open.len()));
        return Ok(ExitStatus::Ok);
    }
    let mut store = context.open(Access::Write)?;
    let open = if args.all {
        store.list_open_verdicts(true)?
    } else {
        let mut open = Vec::new();
        for run in &args.runs {
            open.extend(verdicts_at(&mut store, *run)?);
        }
        open
    };
    if open.is_empty() {
        context.note("the last `regress` found no change; nothing was accepted");
        return Ok(ExitStatus::Ok);
    }
    let ids: Vec<i64> = open.iter().map(|verdict| verdict.id).collect();
    let accepted = store.accept_verdicts(&ids, args.note.as_deref())?;
    context.print("accepted", &[table(&open)], &args.output)?;
    context.note(&format!("accepted {accepted} changes; the history of each series starts anew with its run"));
    Ok(ExitStatus::Ok)
}

fn table(open: &[OpenVerdict]) -> Table {
    let mut table = Table::new("", &["model", "configuration", "metric", "verdict", "cost", "run"]);
    for verdict in open {
        table.push([
            verdict.model.clone().into(),
            verdict.configuration.clone().into(),
            verdict.metric.clone().into(),
            verdict.verdict.clone().into(),
            verdict.effect.map(|effect| change_text(effect, false)).into(),
            verdict.run_id.into(),
        ]);
    }
    table
}

/// The verdicts that begin with this run. Where there is none, the series is judged from there on, so that what is
/// accepted is on record with its numbers.
fn verdicts_at(store: &mut Store, run: i64) -> anyhow::Result<Vec<OpenVerdict>> {
    let there = |store: &Store| -> anyhow::Result<Vec<OpenVerdict>> {
        Ok(store.list_open_verdicts(false)?.into_iter().filter(|verdict| verdict.run_id == run).collect())
    };
    let known = there(store)?;
    if !known.is_empty() {
        return Ok(known);
    }
    let choices = crate::analysis::MetricChoice::primary();
    let metrics = metrics_of(&choices);
    let only = Selection { runs: vec![run.to_string()], ..Selection::default() };
    let Some(series) = store.read_series(&only, Vec::new())?.series.into_iter().next() else {
        return Err(
            CommandError::new(format!("there is no run {run}"), "`benchdb query --name newest` lists some").into()
        );
    };
    let models = vec![series.identity.get(crate::domain::Part::Model).to_owned()];
    let mut before = store.read_series(&Selection { models, ..Selection::default() }, metrics)?;
    before.series.retain(|other| other.configuration_id == series.configuration_id);
    let mut after = before.clone();
    let position = before.series.iter().flat_map(|series| &series.runs).position(|other| other.run_id == Some(run));
    let first = position.unwrap_or(0);
    let (mut index, mut other_index) = (0, 0);
    before.retain_runs(|_| {
        index += 1;
        index <= first
    });
    after.retain_runs(|_| {
        other_index += 1;
        other_index > first
    });
    if before.series.is_empty() {
        return Err(CommandError::new(
            format!("run {run} is the first of its series; there is nothing to start anew from"),
            "name the first run of the new level",
        )
        .into());
    }
    let options = JudgeOptions {
        alert: 0.1,
        metrics: choices,
        matched_on: crate::domain::Part::all().to_vec(),
        false_discovery_rate: None,
        noise: Default::default(),
    };
    let mut judgements = judge(&before, &after, &options).judgements;
    for judgement in &mut judgements {
        // Whatever the numbers say, a person takes it for a change: it has to be found again.
        if judgement.verdict.is_judged() && !matches!(judgement.verdict, Verdict::Regressed | Verdict::Improved) {
            judgement.verdict = Verdict::Suspect;
        }
    }
    store.insert_verdicts(
        &judgements,
        &JudgedAgainst { source: "the runs before it, by `accept`".to_owned(), baseline: None, alert: options.alert },
    )?;
    there(store)
}
