//! What the record itself says against its numbers: environments that move them, runs that do not count.

use std::collections::BTreeMap;

use super::sections::{cell, count};
use crate::commands::analyze::Analysis;
use crate::domain::text::{counted, sentence};
use crate::domain::{Cell, Table};

/// What the environments mean for the numbers.
pub(super) fn about_environments(environments: &Table) -> Vec<String> {
    let mut governors: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut changed, mut unknown) = (0, 0);
    for row in &environments.rows {
        let runs = count(environments, row, "runs");
        if let Cell::Text(governor) = cell(environments, row, "cpu_governor")
            && governor != "performance"
        {
            *governors.entry(governor).or_default() += runs;
        }
        if *cell(environments, row, "git_dirty") == Cell::Integer(1) {
            changed += runs;
        }
        if *cell(environments, row, "host") == Cell::Null {
            unknown += runs;
        }
    }
    let mut notes: Vec<String> = governors
        .into_iter()
        .map(|(governor, runs)| {
            let were = counted(runs, "run was", "runs were");
            format!("{were} made under the CPU governor `{governor}`: the clock may have moved between them.")
        })
        .collect();
    if changed > 0 {
        let were = counted(changed, "run was", "runs were");
        notes.push(format!("{were} made from a working tree with changes that are in no commit."));
    }
    if unknown > 0 {
        notes.push(format!("The host of {} is not known.", counted(unknown, "run", "runs")));
    }
    notes
}

/// What was left out, where numbers come from, and how sure they are.
pub(super) fn about_validity(left_out: &Table, imports: &Table, analysis: &Analysis) -> Vec<String> {
    let mut notes = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for row in &left_out.rows {
        let text = |column: &str| match cell(left_out, row, column) {
            Cell::Text(text) => text.replace('_', " "),
            _ => String::new(),
        };
        let (status, validity) = (text("status"), text("validity"));
        *reasons.entry(if status == "ok" { validity } else { status }).or_default() += count(left_out, row, "runs");
    }
    if !reasons.is_empty() {
        let all: usize = reasons.values().sum();
        let each: Vec<String> = reasons.iter().map(|(reason, runs)| format!("{runs} {reason}")).collect();
        let are = if all == 1 { "is" } else { "are" };
        notes.push(format!(
            "{} {are} left out of comparisons, rankings and verdicts: {}.",
            counted(all, "run", "runs"),
            each.join(", ")
        ));
    }
    let imported: usize = imports.rows.iter().map(|row| count(imports, row, "runs")).sum();
    if imported > 0 {
        let were = counted(imported, "run was", "runs were");
        let files = counted(imports.rows.len(), "file", "files");
        notes.push(format!("{were} imported from {files}: they are as good as what their tools measured."));
    }
    let facts = &analysis.facts;
    let single = facts.iter().filter(|fact| fact.runs == 1).count();
    if single > 0 {
        notes.push(format!(
            "{} of {} one valid run alone: an interval of its samples does not tell how runs differ.",
            single,
            counted(facts.len(), "configuration has", "configurations have")
        ));
    }
    let means = facts.iter().filter(|fact| fact.by_mean && fact.latency_ms().is_some()).count();
    if means > 0 {
        let have = counted(means, "configuration has", "configurations have");
        notes.push(format!("{have} no median latency: the mean stands in for it and is marked `~`."));
    }
    if facts.iter().any(|fact| fact.software) {
        notes.push("Software that pretends to be a device is compared; ranked only if that was asked for.".to_owned());
    }
    if let Some(versions) = &analysis.versions {
        notes.push(sentence(versions));
    }
    notes
}
