//! Speed-ups over a reference as a heat map: a row a work, a column a way of doing it.

use std::collections::BTreeMap;

use super::super::compare::{CONTENDER, Compared, Reference, SAME_WORK, compare};
use super::super::facts::Facts;
use super::names::names;
use super::{ChartName, MOST, Record, note_of_limit, rests_on};
use crate::domain::chart::{Axis, Content, Matrix, Panel, Sheet, Value};
use crate::domain::text::counted;
use crate::domain::{Identity, Part};
use crate::stats::geometric_mean;

/// The most columns of the map.
const MOST_COLUMNS: usize = 16;

/// The best speed-up of each work and contender: which of the compared it is.
type Cells<'c> = BTreeMap<(Identity, Identity), &'c Compared>;

/// Speed-ups of every work by every way of doing it, over the fastest configuration of the reference that does the same
/// work.
pub fn speedup(record: &Record, reference: &Reference) -> Sheet {
    let name = ChartName::Speedup;
    // What is hidden is no reference either.
    let facts: Vec<Facts> = record.shown().into_iter().cloned().collect();
    let same_batch = compare(&facts, reference, &SAME_WORK);
    // A processor beside another one says little where cards were asked about: the same batch size goes before the same
    // work only if something else than the reference did it.
    let known = |row: &&Compared| row.speed_up.is_some();
    let tells =
        |compared: &[Compared]| compared.iter().filter(known).any(|row| !reference.matches(&facts[row.index].identity));
    let any_batch: Vec<Part> = SAME_WORK.into_iter().filter(|part| *part != Part::BatchSize).collect();
    let (mut compared, mut work) = (same_batch, SAME_WORK.to_vec());
    if !tells(&compared) {
        let by_rate = compare(&facts, reference, &any_batch);
        if tells(&by_rate) {
            (compared, work) = (by_rate, any_batch);
        }
    }
    let mut cells: Cells<'_> = BTreeMap::new();
    for row in compared.iter().filter(known) {
        let identity = &facts[row.index].identity;
        let best = cells.entry((of_work(identity, &work), identity.only(&CONTENDER))).or_insert(row);
        if best.speed_up < row.speed_up {
            *best = row;
        }
    }
    let others = cells.values().filter(|row| row.reference != Some(row.index)).count();
    // A work that the reference alone did has nothing to show, nor has a way of doing it that did nothing else.
    let mut ways: BTreeMap<Identity, usize> = BTreeMap::new();
    for (work, _) in cells.keys() {
        *ways.entry(work.clone()).or_default() += 1;
    }
    cells.retain(|(work, _), _| ways[work] > 1);
    let (rows, row_count) = best_of(&cells, |(work, _)| work, MOST, true);
    cells.retain(|(work, _), _| rows.contains(work));
    if others == 0 || rows.is_empty() {
        return name.nothing(nothing(record, reference));
    }
    let (columns, column_count) = best_of(&cells, |(_, contender)| contender, MOST_COLUMNS, false);
    let work_names = names(&rows.iter().collect::<Vec<_>>(), &[]);
    let contender_names = names(&columns.iter().collect::<Vec<_>>(), &[]);
    let value = |row: &Compared| {
        let is_reference = row.reference == Some(row.index);
        let over = row.reference.map(|index| &facts[index].identity);
        let over = over
            .map(|identity| [Part::Device, Part::Engine, Part::Precision].map(|part| identity.get(part)).join(", "));
        let detail =
            if is_reference { "the reference".to_owned() } else { format!("over {}", over.unwrap_or_default()) };
        Some(Value { value: row.speed_up?, interval: None, detail })
    };
    let matrix = Matrix {
        axis: Axis::new("speed-up", "times"),
        cells: rows
            .iter()
            .map(|work| {
                let cell =
                    |contender: &Identity| cells.get(&(work.clone(), contender.clone())).and_then(|row| value(row));
                columns.iter().map(cell).collect()
            })
            .collect(),
        rows: work_names.names,
        columns: contender_names.names,
        neutral: 1.0,
    };
    let over =
        format!("over the fastest configuration with {reference} that does the same work, fp32 where there is one");
    let common = [work_names.common, contender_names.common].join(", ");
    let mut chart = name.chart(
        &[common.trim_matches([',', ' ']), &over],
        vec![Panel { title: String::new(), content: Content::Matrix(matrix) }],
    );
    if !work.contains(&Part::BatchSize) {
        chart.notes.push(
            "Nothing else was measured at a batch size of the reference: each side counts with its best one, by samples per \
             second."
                .to_owned(),
        );
    }
    chart.notes.extend(note_of_limit(rows.len(), row_count, "with the largest speed-ups", "works"));
    chart.notes.extend(note_of_limit(columns.len(), column_count, "with the most works", "ways to do them"));
    let alone = compared.iter().filter(|row| row.reference.is_none()).count();
    if alone > 0 {
        let configurations = counted(alone, "configuration does work", "configurations do work");
        chart.notes.push(format!("Left out: {configurations} that nothing with {reference} did."));
    }
    chart.notes.extend(record.left_out(|_| true));
    let behind: Vec<_> = cells
        .iter()
        .filter(|((_, contender), _)| columns.contains(contender))
        .flat_map(|(_, row)| [Some(row.index), row.reference].into_iter().flatten())
        .map(|index| &facts[index])
        .collect();
    chart.behind = rests_on(&["latency_p50_ms", "latency_mean_ms", "throughput_samples_per_second"], &behind);
    Sheet::Chart(chart)
}

/// The work of a row: an optimizer or a method of explanation makes another work of it.
fn of_work(identity: &Identity, work: &[Part]) -> Identity {
    let mut of_work = identity.only(work);
    let kind = identity.work();
    if !kind.is_empty() {
        // Names say a method as it is.
        of_work.set(Part::Parameters, serde_json::json!({ "method": kind }).to_string());
    }
    of_work
}

/// Why there is no speed-up.
fn nothing(record: &Record, reference: &Reference) -> String {
    if record.shown().is_empty() {
        return record.why_nothing("a latency", "", |fact| fact.cost().is_some());
    }
    let matches = |fact: &&Facts| reference.matches(&fact.identity);
    if record.shown().iter().any(matches) {
        return format!("nothing else does the same work as what was measured with {reference}");
    }
    if record.facts.iter().any(|fact| matches(&fact)) {
        return format!(
            "what was measured with {reference}, which speed-ups would be relative to, is software that pretends to be a \
             device; `--include-software` shows it, `--relative-to` names another"
        );
    }
    format!(
        "no configuration with {reference} is selected, which speed-ups would be relative to; `--relative-to` names another"
    )
}

/// The works or the contenders that are shown, and how many there are: those with the largest geometric mean of their
/// speed-ups (`by_size`), or with the most of them. In the order of their names.
fn best_of(
    cells: &Cells<'_>,
    side: impl Fn(&(Identity, Identity)) -> &Identity,
    most: usize,
    by_size: bool,
) -> (Vec<Identity>, usize) {
    let mut found: BTreeMap<&Identity, Vec<f64>> = BTreeMap::new();
    for (key, row) in cells {
        found.entry(side(key)).or_default().extend(row.speed_up);
    }
    let of = found.len();
    let mut sides: Vec<(f64, &Identity)> = found
        .into_iter()
        .map(|(identity, speed_ups)| {
            let size = if by_size { geometric_mean(&speed_ups).unwrap_or(0.0) } else { speed_ups.len() as f64 };
            (size, identity)
        })
        .collect();
    sides.sort_by(|left, right| right.0.total_cmp(&left.0));
    sides.truncate(most);
    let mut sides: Vec<Identity> = sides.into_iter().map(|(_, identity)| identity.clone()).collect();
    sides.sort();
    (sides, of)
}
