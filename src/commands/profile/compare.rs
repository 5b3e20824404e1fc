//! What became of the operators between two profiles that are stored.

use std::fmt::Display;

use super::super::{CommandError, Context, ExitStatus};
use super::{Args, files, tables};
use crate::analysis::profile::{FEWEST_PAIRS, Timed, changes, sum_of_operators};
use crate::domain::{Cell, RunRecord, Table};
use crate::report::{Format, significant};
use crate::store::list::{Detail, Selection};
use crate::store::{Access, Store};

/// Runs the command.
///
/// # Errors
/// Runs that are not there, are the same, have no operator times or are of different models or modes; a file that cannot be
/// written.
pub(super) fn execute([before, after]: [&String; 2], args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let store = context.open(Access::Read)?;
    let (before, after) = (profiled(&store, before)?, profiled(&store, after)?);
    let [one, other] = [&before.1, &after.1].map(|run| &run.configuration);
    let sides =
        |one: &dyn Display, other: &dyn Display| format!("run {} is {one} and run {} is {other}", before.0, after.0);
    let refusals = [
        (
            one.model != other.model,
            format!(
                "{}: their operators are not the same",
                sides(&format!("of {}", one.model), &format!("of {}", other.model))
            ),
            "`--compare` is for two profiles of one model",
        ),
        (
            one.mode != other.mode,
            format!("{}: they do not do the same work", sides(&one.mode, &other.mode)),
            "`--compare` is for two profiles of one mode",
        ),
        (
            before.0 == after.0,
            format!("both sides are run {}: there is nothing to compare", before.0),
            "`--compare` takes the run before and the run after a change",
        ),
    ];
    if let Some((_, sentence, hint)) = refusals.into_iter().find(|(is_so, ..)| *is_so) {
        return Err(CommandError::new(sentence, hint).into());
    }
    for difference in differences(&before, &after) {
        context.note(&difference);
    }
    if let Some(few) = few_pairs([&before, &after].map(|(id, run)| (*id, run.measurement.iterations))) {
        context.note(&few);
    }
    let timed = |run: &'_ (i64, RunRecord)| (run.1.measurement.iterations.max(1), run.0);
    let ((iterations_before, id_before), (iterations_after, id_after)) = (timed(&before), timed(&after));
    let times = [&before.1.measurement.operator_times[..], &after.1.measurement.operator_times[..]];
    let found = changes(
        Timed { operators: times[0], iterations: iterations_before },
        Timed { operators: times[1], iterations: iterations_after },
    );
    let people = args.printed().is_for_people();
    let mut shown = vec![tables::changes(&found, args.top as usize, people)];
    if args.format != Format::Csv {
        // A CSV is one table.
        shown.insert(0, runs(&[&before, &after], people));
    }
    context.print("profile_comparison", &shown, &args.printed())?;
    if let Some(folder) = &args.output {
        let title = format!("Operators of {}, {}: run {id_before} to run {id_after}", one.model, one.mode);
        let subtitle = format!("as wide as run {id_after}; red took longer there, blue less long");
        let sides = [(times[0], iterations_before), (times[1], iterations_after)];
        files::write_difference(folder, &title, &subtitle, sides, context)?;
    }
    Ok(ExitStatus::Ok)
}

/// The run of an id or a UUID, with its operator times.
fn profiled(store: &Store, name: &str) -> anyhow::Result<(i64, RunRecord)> {
    let selection = Selection { runs: vec![name.to_owned()], ..Selection::default() };
    let Some((id, run)) = store.list_runs(&selection, Detail::Whole)?.pop() else {
        return Err(CommandError::new(
            format!("there is no run `{name}`"),
            "`benchdb query \"SELECT DISTINCT run_id FROM operator_time\"` lists those that have a profile",
        )
        .into());
    };
    if run.measurement.operator_times.is_empty() {
        return Err(CommandError::new(
            format!("run {id} ({}) has no operator times", run.configuration.model),
            format!("`benchdb profile --model {}` measures them", run.configuration.model),
        )
        .into());
    }
    Ok((id, run))
}

/// What beside time differs between two profiles of one model, one sentence each.
fn differences((before, one): &(i64, RunRecord), (after, other): &(i64, RunRecord)) -> Vec<String> {
    let (one, other) = (&one.configuration, &other.configuration);
    let pairs = [
        ("variants", one.variant.clone(), other.variant.clone()),
        ("engines", one.engine.clone(), other.engine.clone()),
        ("devices", one.device.name.clone(), other.device.name.clone()),
        ("precisions", one.precision.to_string(), other.precision.to_string()),
        ("batch sizes", one.batch_size.to_string(), other.batch_size.to_string()),
        ("input shapes", one.input_shape.clone(), other.input_shape.clone()),
        ("threads", one.threads.to_string(), other.threads.to_string()),
    ];
    pairs
        .into_iter()
        .filter(|(_, one, other)| one != other)
        .map(|(what, one, other)| format!("the {what} differ: `{one}` in run {before}, `{other}` in run {after}"))
        .collect()
}

/// That chance may be the cause of a difference between two runs - id and pairs of each - in one sentence.
fn few_pairs(sides: [(i64, u64); 2]) -> Option<String> {
    let [(before, pairs_before), (after, pairs_after)] = sides;
    (pairs_before.min(pairs_after) < FEWEST_PAIRS as u64).then(|| {
        format!(
            "run {before} has {pairs_before} and run {after} has {pairs_after} pairs of iterations: with fewer than \
             {FEWEST_PAIRS} chance is not ruled out as the cause of what differs"
        )
    })
}

/// Both runs, one below the other.
fn runs(sides: &[&(i64, RunRecord); 2], people: bool) -> Table {
    let columns = if people {
        ["", "run", "started", "model", "mode", "engine", "batch", "precision", "pairs", "p50 ms", "operators ms"]
    } else {
        [
            "side",
            "run_id",
            "started_at",
            "model",
            "mode",
            "engine",
            "batch_size",
            "precision",
            "pairs",
            "latency_p50_ms",
            "operator_sum_ms",
        ]
    };
    let mut table = Table::new(if people { "" } else { "profiles" }, &columns);
    for (side, (id, run)) in ["before", "after"].into_iter().zip(sides) {
        let (configuration, measurement) = (&run.configuration, &run.measurement);
        let operators = &measurement.operator_times[..];
        let sum = sum_of_operators(Timed { operators, iterations: measurement.iterations });
        let number = |value: Option<f64>| -> Cell { if people { value.map(significant).into() } else { value.into() } };
        table.push([
            side.into(),
            (*id).into(),
            run.started_at.clone().into(),
            configuration.model.clone().into(),
            configuration.mode.to_string().into(),
            configuration.engine.clone().into(),
            configuration.batch_size.into(),
            configuration.precision.to_string().into(),
            measurement.iterations.into(),
            number(measurement.metrics.get("latency_p50_ms")),
            number(Some(sum)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pairs_on_either_side_are_told() {
        let few = few_pairs([(1, 2), (7, 20)]).unwrap();
        assert!(few.starts_with("run 1 has 2 and run 7 has 20 pairs") && few.contains("fewer than 20 chance"), "{few}");
        assert!(few_pairs([(1, 20), (7, 19)]).is_some());
        assert_eq!(few_pairs([(1, 20), (7, 20)]), None);
    }
}
