//! Verdicts as rows.

use crate::domain::verdict::relative_change;
use crate::domain::{Cell, Evidence, Judgement, Part, Table, Verdict, VerdictReport};
use crate::report::{significant, sparkline};

/// Notes of a judgement in one cell, in a table for people.
const MOST_NOTES: usize = 3;

/// One row a judgement. For people the columns are fewer and the numbers short, parts that all rows share stand in the
/// title, and after `limit` rows only what regressed is shown.
pub fn verdict_table(report: &VerdictReport, people: bool, limit: Option<usize>) -> Table {
    if people { for_people(report, limit) } else { for_programs(report) }
}

fn for_programs(report: &VerdictReport) -> Table {
    let parts: Vec<Part> = Part::all().iter().copied().filter(|part| report.matched_on.contains(part)).collect();
    let names: Vec<String> = parts.iter().map(Part::to_string).collect();
    let mut columns = vec!["verdict"];
    columns.extend(names.iter().map(String::as_str));
    columns.extend([
        "metric",
        "baseline_runs",
        "baseline_median",
        "candidate_runs",
        "candidate_median",
        "effect",
        "effect_low",
        "effect_high",
        "change_percent",
        "evidence",
        "p_value",
        "q_value",
        "smallest_effect",
        "more_runs",
        "first_candidate_run",
        "notes",
        "differences",
    ]);
    let mut table = Table::new("Verdicts", &columns);
    for judgement in &report.verdicts {
        let mut row: Vec<Cell> = vec![judgement.verdict.to_string().into()];
        row.extend(parts.iter().map(|part| judgement.identity.cell(*part)));
        row.extend([
            judgement.metric.as_str().into(),
            (judgement.baseline.runs as u64).into(),
            judgement.baseline.median.into(),
            (judgement.candidate.runs as u64).into(),
            judgement.candidate.median.into(),
            judgement.effect.into(),
            judgement.effect_low.into(),
            judgement.effect_high.into(),
            judgement.effect.filter(|_| !judgement.absolute).map(|effect| relative_change(effect) * 100.0).into(),
            judgement.evidence.map(|evidence| evidence.to_string()).into(),
            judgement.p_value.into(),
            judgement.q_value.into(),
            judgement.smallest_effect.into(),
            judgement.more_runs.into(),
            judgement.first_candidate_run.into(),
            judgement.notes.join("; ").into(),
            differences(judgement).join("; ").into(),
        ]);
        table.push(row);
    }
    table
}

fn for_people(report: &VerdictReport, limit: Option<usize>) -> Table {
    let parts: Vec<Part> = Part::all().iter().copied().filter(|part| report.matched_on.contains(part)).collect();
    let names: Vec<String> = parts.iter().map(|part| short(*part)).collect();
    let mut columns = vec!["verdict"];
    columns.extend(names.iter().map(String::as_str));
    let measures =
        ["metric", "before", "now", "cost", "course", "95 %", "runs", "evidence", "p", "q", "finds from", "notes"];
    columns.extend(measures);
    let mut table = Table::new("Verdicts", &columns);
    let limit = limit.unwrap_or(usize::MAX);
    let common = common_differences(report);
    let alarming = |judgement: &Judgement| matches!(judgement.verdict, Verdict::Regressed | Verdict::Suspect);
    let shown = report.verdicts.iter().enumerate().filter(|(index, judgement)| *index < limit || alarming(judgement));
    for (_, judgement) in shown {
        let mut row: Vec<Cell> = vec![judgement.verdict.to_string().into()];
        row.extend(parts.iter().map(|part| judgement.identity.cell(*part)));
        row.extend([
            judgement.metric.as_str().into(),
            judgement.baseline.median.map(significant).into(),
            judgement.candidate.median.map(significant).into(),
            judgement.effect.map(|effect| change_text(effect, judgement.absolute)).into(),
            // Two points are no course: before and now tell them.
            Some(sparkline(&judgement.recent)).filter(|_| judgement.recent.len() > 2).into(),
            judgement
                .effect_low
                .zip(judgement.effect_high)
                .map(|(low, high)| {
                    [change_text(low, judgement.absolute), " to ".to_owned(), change_text(high, judgement.absolute)]
                        .concat()
                })
                .into(),
            format!("{}/{}", judgement.baseline.runs, judgement.candidate.runs).into(),
            judgement.evidence.map(|evidence| evidence.to_string().replace('_', " ")).into(),
            judgement.p_value.map(probability).into(),
            judgement.q_value.map(probability).into(),
            judgement.smallest_effect.map(|effect| change_text(effect, judgement.absolute)).into(),
            notes(judgement, &common).into(),
        ]);
        table.push(row);
    }
    let rest = report.verdicts.len() - table.rows.len();
    table.fold_shared(&names.iter().map(String::as_str).collect::<Vec<_>>());
    table.fold_shared(&["metric", "evidence"]);
    table.drop_empty(&["course", "95 %", "p", "q", "finds from", "notes", "evidence"]);
    if rest > 0 {
        table.title = format!("{} (the first {}, {rest} more: `--limit 0`)", table.title, table.rows.len());
    }
    table
}

/// The parts' names as people read them.
fn short(part: Part) -> String {
    match part {
        Part::BatchSize => "batch".to_owned(),
        Part::InputShape => "shape".to_owned(),
        other => other.to_string(),
    }
}

/// What differs between the sides of everything that was judged: said once.
pub(super) fn common_differences(report: &VerdictReport) -> Vec<String> {
    let mut judged = report.verdicts.iter().filter(|judgement| judgement.is_judged());
    let mut common = judged.next().map(differences).unwrap_or_default();
    for judgement in judged {
        let own = differences(judgement);
        common.retain(|difference| own.contains(difference));
    }
    common
}

fn notes(judgement: &Judgement, common: &[String]) -> String {
    let mut notes: Vec<String> = judgement.notes.iter().take(MOST_NOTES).cloned().collect();
    if let Some(more) = judgement.more_runs {
        let runs = if more == 1 { "run" } else { "runs" };
        // A history has no sides.
        let history = matches!(judgement.evidence, Some(Evidence::ChangePoints) | None);
        let side = if history { "" } else { " a side" };
        notes.push(if more >= 1000 {
            format!("1000 runs or more{side} would decide")
        } else {
            format!("some {more} {runs} more{side} would decide")
        });
    }
    if matches!(judgement.verdict, Verdict::Regressed | Verdict::Suspect) {
        notes.extend(differences(judgement).into_iter().filter(|difference| !common.contains(difference)));
    }
    notes.join("; ")
}

fn differences(judgement: &Judgement) -> Vec<String> {
    judgement
        .differences
        .iter()
        .map(|difference| format!("{} {} -> {}", difference.what, difference.baseline, difference.candidate))
        .collect()
}

/// An effect as people say it: `+10.2 %` of the cost, or an absolute change for the worse.
pub fn change_text(effect: f64, absolute: bool) -> String {
    if absolute {
        return format!("{effect:+.4}");
    }
    // No minus zero.
    let percent = (relative_change(effect) * 1000.0).round() / 10.0 + 0.0;
    if percent.abs() < 9.95 { format!("{percent:+.1} %") } else { format!("{percent:+.0} %") }
}

fn probability(value: f64) -> String {
    if value < 0.0001 { "<0.0001".to_owned() } else { format!("{value:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_said_in_per_cent_of_the_cost() {
        assert_eq!(change_text(1.1_f64.ln(), false), "+10 %");
        assert_eq!(change_text(1.012_f64.ln(), false), "+1.2 %");
        assert_eq!(change_text(-0.002, true), "-0.0020");
        assert_eq!(probability(0.000_01), "<0.0001");
    }
}
