//! `benchdb accept`: a person takes a change; the history of the series starts anew there.

use std::collections::{BTreeSet, HashMap};

use super::{CommandError, Context, ExitStatus, OutputArgs};
use crate::analysis::judge::{JudgeOptions, judge};
use crate::analysis::metrics::metrics_of;
use crate::analysis::{Cost, MetricChoice};
use crate::domain::metric::find_metric;
use crate::domain::text::counted;
use crate::domain::{Judgement, Part, Table};
use crate::report::verdicts::change_text;
use crate::store::judging::{JudgedAgainst, OpenVerdict};
use crate::store::list::Selection;
use crate::store::{Access, Store};

/// The threshold under which a person's change is put on record.
const ALERT: f64 = 0.1;

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
    let people = args.output.is_for_people();
    if args.runs.is_empty() && !args.all {
        let store = context.open(Access::Read)?;
        let open = store.list_open_verdicts(false)?;
        context.print("open_verdicts", &[table(&open, people)], &args.output)?;
        context.note(&format!("{} to be accepted", counted(open.len(), "change waits", "changes wait")));
        return Ok(ExitStatus::Ok);
    }
    let mut store = context.open(Access::Write)?;
    let open = if args.all {
        store.list_open_verdicts(true)?
    } else {
        // All runs are looked at before anything is kept.
        let runs: BTreeSet<i64> = args.runs.iter().copied().collect();
        let judged = runs.iter().map(|run| judged_at(&store, *run)).collect::<anyhow::Result<Vec<_>>>()?;
        let against =
            JudgedAgainst { source: "the runs before it, by `accept`".to_owned(), baseline: None, alert: ALERT };
        store.insert_verdicts(&judged.concat(), &against)?;
        store.list_verdicts_at(&Vec::from_iter(runs))?
    };
    if open.is_empty() {
        context.note("the last `regress` found no change; nothing was accepted");
        return Ok(ExitStatus::Ok);
    }
    let ids: Vec<i64> = open.iter().map(|verdict| verdict.id).collect();
    store.accept_verdicts(&ids, args.note.as_deref())?;
    context.print("accepted", &[table(&open, people)], &args.output)?;
    let changes = counted(open.len(), "change", "changes");
    context.note(&format!("accepted {changes}; the history of each series starts anew with its run"));
    context.note("stored baselines stay as they are; `benchdb baseline save NAME --replace` moves one");
    Ok(ExitStatus::Ok)
}

fn table(open: &[OpenVerdict], people: bool) -> Table {
    let mut table = Table::new("", &["model", "configuration", "metric", "verdict", "cost", "effect", "run"]);
    for verdict in open {
        let absolute = find_metric(&verdict.metric).is_some_and(|metric| Cost::of(metric).is_absolute());
        table.push([
            verdict.model.clone().into(),
            verdict.configuration.clone().into(),
            verdict.metric.clone().into(),
            verdict.verdict.clone().into(),
            verdict.effect.map(|effect| change_text(effect, absolute)).into(),
            verdict.effect.into(),
            verdict.run_id.into(),
        ]);
    }
    if people {
        table.drop_columns(&["effect"]);
    }
    table
}

/// What the series of a run is from that run on, held against what it was before: what is accepted is on record with its
/// numbers. Empty where a verdict that begins with the run waits already.
fn judged_at(store: &Store, run: i64) -> anyhow::Result<Vec<Judgement>> {
    let only = Selection { runs: vec![run.to_string()], ..Selection::default() };
    let id = store.read_series(&only, Vec::new())?.series.first().and_then(|series| series.configuration_id);
    let Some(id) = id else {
        return Err(
            CommandError::new(format!("there is no run {run}"), "`benchdb query --name newest` lists some").into()
        );
    };
    if !store.list_verdicts_at(&[run])?.is_empty() {
        return Ok(Vec::new());
    }
    let choices = MetricChoice::primary();
    let mut before =
        store.read_series(&Selection { configurations: vec![id], ..Selection::default() }, metrics_of(&choices))?;
    let mut after = before.clone();
    let position = before.series.iter().flat_map(|series| &series.runs).position(|other| other.run_id == Some(run));
    let first = position.unwrap_or(0);
    let mut index = 0..;
    before.retain_runs(|_| index.next().is_some_and(|index| index < first));
    let mut index = 0..;
    after.retain_runs(|_| index.next().is_some_and(|index| index >= first));
    if before.series.is_empty() {
        return Err(CommandError::new(
            format!("run {run} is the first of its series; there is nothing to start anew from"),
            "name the first run of the new level",
        )
        .into());
    }
    let options = JudgeOptions {
        alert: ALERT,
        metrics: choices,
        matched_on: Part::all().to_vec(),
        false_discovery_rate: None,
        floors: true,
        noise: HashMap::new(),
    };
    let mut judgements = judge(&before, &after, &options).judgements;
    judgements.retain(Judgement::is_judged);
    if judgements.is_empty() {
        return Err(CommandError::new(
            format!("the series of run {run} has no latency, throughput or memory to be judged"),
            "nothing was accepted",
        )
        .into());
    }
    Ok(judgements)
}
