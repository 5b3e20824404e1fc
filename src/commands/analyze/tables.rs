//! The tables of `benchdb analyze`: a section each, for people and for programs.

use serde_json::{Map, Value};

use super::Section;
use crate::analysis::compare::{CONTENDER, Compared, Reference, SAME_WORK, compare, overall, runs_to_resample};
use crate::analysis::facts::{Facts, IntervalOf, Iterations, compared_metrics};
use crate::analysis::scaling::{KNEE, WORK, rankings, scaling, training_vs_inference};
use crate::commands::verdicts::JudgeArgs;
use crate::domain::{Cell, Identity, Part, Table};
use crate::report::significant;
use crate::report::verdicts::BencherMeasure;
use crate::store::Store;

/// Runs whose iterations are resampled one by one; a larger record is resampled by runs alone.
const MOST_RESAMPLED_RUNS: usize = 5_000;

/// Which tables are made, and for whom.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) sections: Vec<Section>,
    pub(super) training: bool,
    pub(super) places: usize,
    pub(super) include_software: bool,
    pub(super) people: bool,
    pub(super) limit: Option<usize>,
    /// What two configurations have in common that are compared.
    pub(super) same_work: Vec<Part>,
}

pub(super) fn same_work(args: &JudgeArgs) -> Vec<Part> {
    let parts = args.parts();
    SAME_WORK.into_iter().filter(|part| parts.contains(part)).collect()
}

pub(super) fn tables(
    store: &Store,
    facts: &[Facts],
    reference: &Reference,
    wanted: &Wanted,
) -> anyhow::Result<Vec<Table>> {
    let tables = tables_of_sections(store, facts, reference, wanted)?;
    Ok(tables.into_iter().map(|(_, table)| table).collect())
}

/// The tables, each with its section.
pub(super) fn tables_of_sections(
    store: &Store,
    facts: &[Facts],
    reference: &Reference,
    wanted: &Wanted,
) -> anyhow::Result<Vec<(Section, Table)>> {
    let compared = compare(facts, reference, &wanted.same_work);
    let mut tables = Vec::new();
    for section in &wanted.sections {
        let mut table = match section {
            Section::Comparison if wanted.people => comparison_for_people(facts, &compared, wanted.limit),
            Section::Comparison => comparison_for_programs(facts, &compared),
            Section::Overall => {
                let runs = runs_to_resample(facts, &compared, MOST_RESAMPLED_RUNS);
                overall_table(facts, &compared, &store.read_iterations(&runs)?, wanted)
            }
            Section::Scaling => scaling_table(facts, wanted),
            Section::Training if wanted.training || wanted.sections == [Section::Training] => {
                training_table(facts, wanted)
            }
            Section::Training => continue,
            Section::Rankings => ranking_table(facts, wanted),
        };
        if let Some(limit) = wanted.limit.filter(|limit| table.rows.len() > *limit) {
            let rest = table.rows.len() - limit;
            table.rows.truncate(limit);
            table.title = format!("{} (the first {limit}, {rest} more: `--limit 0`)", table.title);
        }
        // An empty section says nothing to people; programs find it empty.
        if !wanted.people || !table.rows.is_empty() || *section == Section::Comparison {
            tables.push((*section, table));
        }
    }
    Ok(tables)
}

/// A number: exact for programs, short for people.
fn number(value: Option<f64>, people: bool) -> Cell {
    if people { value.map(significant).into() } else { value.into() }
}

pub(super) fn part_names(parts: &[Part]) -> Vec<String> {
    parts.iter().map(Part::to_string).collect()
}

fn part_cells<'i>(parts: &'i [Part], identity: &'i Identity) -> impl Iterator<Item = Cell> + 'i {
    parts.iter().map(|part| identity.cell(*part))
}

/// Parameters as people read them, and as `--parameter` takes them: `compiled=true, memory_layout=nchw`. What is no
/// object stays as it is.
pub(in crate::commands) fn parameters_in_words(table: &mut Table) {
    table.map_column("parameters", |cell| {
        let Cell::Text(text) = cell else { return cell.clone() };
        let Ok(parameters) = serde_json::from_str::<Map<String, Value>>(text) else { return cell.clone() };
        let word = |(name, value): (&String, &Value)| match value.as_str() {
            Some(text) => [name, "=", text].concat(),
            None => [name, "=", &value.to_string()].concat(),
        };
        parameters.iter().map(word).collect::<Vec<_>>().join(", ").into()
    });
}

fn comparison_for_people(facts: &[Facts], compared: &[Compared], limit: Option<usize>) -> Table {
    let parts = Part::all();
    let names = part_names(parts);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend(["runs", "ms", "interval", "samples/s", "speed-up", "memory MB", "J/sample", "accuracy"]);
    let mut table = Table::new("Comparison", &columns);
    let shown = limit.unwrap_or(usize::MAX);
    for row in compared.iter().take(shown) {
        let fact = &facts[row.index];
        let mut cells: Vec<Cell> = part_cells(parts, &fact.identity).collect();
        if fact.software {
            cells[4] = format!("{} (software)", fact.identity.get(Part::Device)).into();
        }
        let latency = fact
            .latency_ms()
            .map(|value| if fact.by_mean { ["~", &significant(value)].concat() } else { significant(value) });
        let spread = fact.spread.map(|spread| {
            // The smallest and the largest of a few runs are no interval at 95 %.
            let what = match spread.of {
                IntervalOf::Runs => "at 95 %",
                IntervalOf::Range => "range",
                IntervalOf::Samples => "at 95 % of samples",
            };
            format!("{} to {} {what}", significant(spread.low), significant(spread.high))
        });
        let speed_up = match row.reference {
            Some(reference) if reference == row.index => Some("reference".to_owned()),
            _ => row.speed_up.map(|ratio| format!("{} x", significant(ratio))),
        };
        cells.extend([
            (fact.runs as u64).into(),
            latency.into(),
            spread.into(),
            number(fact.throughput(), true),
            speed_up.into(),
            number(fact.memory_mb(), true),
            number(fact.energy_j(), true),
            number(fact.median("accuracy_top1"), true),
        ]);
        table.push(cells);
    }
    parameters_in_words(&mut table);
    table.fold_shared(&names.iter().map(String::as_str).collect::<Vec<_>>());
    table.drop_empty(&["interval", "samples/s", "speed-up", "memory MB", "J/sample", "accuracy", "parameters", "ms"]);
    if compared.len() > table.rows.len() {
        let (count, rest) = (table.rows.len(), compared.len() - table.rows.len());
        table.title = format!("{} (the first {count}, {rest} more: `--limit 0`)", table.title);
    }
    table
}

fn comparison_for_programs(facts: &[Facts], compared: &[Compared]) -> Table {
    let parts = Part::all();
    let names = part_names(parts);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend(["software", "runs"]);
    columns.extend(compared_metrics());
    columns.extend(["latency_low_ms", "latency_high_ms", "interval_of", "speed_up", "reference", "newest_run"]);
    let mut table = Table::new("Comparison", &columns);
    for row in compared {
        let fact = &facts[row.index];
        let mut cells: Vec<Cell> = part_cells(parts, &fact.identity).collect();
        cells.extend([i64::from(fact.software).into(), (fact.runs as u64).into()]);
        cells.extend(compared_metrics().iter().map(|metric| Cell::from(fact.median(metric))));
        cells.extend([
            fact.spread.map(|spread| spread.low).into(),
            fact.spread.map(|spread| spread.high).into(),
            fact.spread.map(|spread| spread.of.name()).into(),
            row.speed_up.into(),
            row.reference.map(|reference| in_words(&facts[reference].identity)).into(),
            fact.newest_run.into(),
        ]);
        table.push(cells);
    }
    table
}

/// How the work is done, in words: `cpu, Xeon, burn-flex, fp32, 2 threads`.
fn in_words(identity: &Identity) -> String {
    let word = |part: &Part| match (part, identity.get(*part)) {
        (_, "" | "{}") => None,
        (Part::Threads, "0") => None,
        (Part::Threads, threads) => Some(format!("{threads} threads")),
        (_, text) => Some(text.to_owned()),
    };
    CONTENDER.iter().filter_map(word).collect::<Vec<_>>().join(", ")
}

fn overall_table(facts: &[Facts], compared: &[Compared], iterations: &Iterations, wanted: &Wanted) -> Table {
    let names = part_names(&CONTENDER);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend(["relative to", "matched", "geometric mean", "low", "high", "median"]);
    let people = ["geometric mean", "relative to"];
    let exact = ["geometric_mean_speed_up", "relative_to"];
    let mut table = Table::new("Overall", &columns);
    let rows = overall(facts, compared, &wanted.same_work, iterations);
    for row in rows {
        let mut cells: Vec<Cell> = part_cells(&CONTENDER, &row.contender).collect();
        cells.extend([
            in_words(&row.reference).into(),
            (row.matched as u64).into(),
            number(Some(row.speed_up), wanted.people),
            number(row.interval.map(|interval| interval.low), wanted.people),
            number(row.interval.map(|interval| interval.high), wanted.people),
            number(Some(row.median), wanted.people),
        ]);
        table.push(cells);
    }
    if wanted.people {
        parameters_in_words(&mut table);
        table.fold_shared(&names.iter().map(String::as_str).chain(["relative to"]).collect::<Vec<_>>());
        table.drop_empty(&["low", "high", "parameters"]);
    } else {
        for (old, new) in people.iter().zip(exact) {
            table.rename_column(old, new);
        }
    }
    table
}

fn scaling_table(facts: &[Facts], wanted: &Wanted) -> Table {
    let parts: Vec<Part> = Part::all().iter().copied().filter(|part| *part != Part::BatchSize).collect();
    let names = part_names(&parts);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend(["batch_sizes", "best_samples_per_second", "best_batch", "knee_batch", "efficiency"]);
    let mut table = Table::new("Batch size scaling", &columns);
    for row in scaling(facts) {
        let mut cells: Vec<Cell> = part_cells(&parts, &row.identity).collect();
        let sizes: Vec<String> = row.points.iter().map(|(batch, _)| batch.to_string()).collect();
        cells.extend([
            sizes.join(" ").into(),
            number(Some(row.best_throughput), wanted.people),
            row.best_batch.into(),
            row.knee_batch.into(),
            number(Some(row.efficiency), wanted.people),
        ]);
        table.push(cells);
    }
    if wanted.people {
        parameters_in_words(&mut table);
        table.fold_shared(&names.iter().map(String::as_str).collect::<Vec<_>>());
        table.drop_empty(&["parameters"]);
        table.rename_column("best_samples_per_second", "best samples/s");
        table.rename_column("best_batch", "at batch");
        table.rename_column("knee_batch", &format!("{} % at", KNEE * 100.0));
        table.rename_column("batch_sizes", "batch sizes");
    }
    table
}

fn training_table(facts: &[Facts], wanted: &Wanted) -> Table {
    let parts: Vec<Part> =
        Part::all().iter().copied().filter(|part| !matches!(part, Part::Mode | Part::Parameters)).collect();
    let names = part_names(&parts);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend(["training", "inference_ms", "training_ms", "time_ratio", "memory_ratio"]);
    let mut table = Table::new("Training and inference", &columns);
    for row in training_vs_inference(facts) {
        let mut cells: Vec<Cell> = part_cells(&parts, &row.identity).collect();
        cells.extend([
            facts[row.training].identity.work().into(),
            number(facts[row.inference].latency_ms(), wanted.people),
            number(facts[row.training].latency_ms(), wanted.people),
            number(row.time_ratio, wanted.people),
            number(row.memory_ratio, wanted.people),
        ]);
        table.push(cells);
    }
    if wanted.people {
        table.fold_shared(&names.iter().map(String::as_str).chain(["training"]).collect::<Vec<_>>());
        table.rename_column("inference_ms", "inference ms");
        table.rename_column("training_ms", "training ms");
        table.rename_column("time_ratio", "time x");
        table.rename_column("memory_ratio", "memory x");
    }
    table
}

fn ranking_table(facts: &[Facts], wanted: &Wanted) -> Table {
    let about = WORK;
    let how: Vec<Part> = CONTENDER.iter().copied().chain([Part::BatchSize]).collect();
    let names: Vec<String> = part_names(&about).into_iter().chain(["work".to_owned()]).collect();
    let how_names = part_names(&how);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend(["criterion", "place", "value"]);
    columns.extend(how_names.iter().map(String::as_str));
    let mut table = Table::new("Rankings", &columns);
    for place in rankings(facts, wanted.places, wanted.include_software) {
        let mut cells: Vec<Cell> = part_cells(&about, &place.identity).collect();
        cells.extend([
            place.work.clone().into(),
            place.criterion.name().into(),
            (place.place as u64).into(),
            number(Some(place.value), wanted.people),
        ]);
        cells.extend(part_cells(&how, &facts[place.index].identity));
        table.push(cells);
    }
    if wanted.people {
        parameters_in_words(&mut table);
        table.fold_shared(&names.iter().chain(&how_names).map(String::as_str).collect::<Vec<_>>());
        table.drop_empty(&["parameters", "work"]);
    }
    table
}

pub(super) fn measures(facts: &[Facts]) -> impl Iterator<Item = (String, BencherMeasure)> + '_ {
    facts.iter().flat_map(|fact| {
        let name = format!(
            "{}, {}, batch {}, {}",
            fact.identity.get(Part::Model),
            fact.identity.get(Part::Mode),
            fact.identity.get(Part::BatchSize),
            in_words(&fact.identity)
        );
        compared_metrics().iter().filter_map(move |metric| {
            let is_latency = *metric == if fact.by_mean { "latency_mean_ms" } else { "latency_p50_ms" };
            let spread = fact.spread.filter(|_| is_latency);
            let measure = BencherMeasure {
                name: (*metric).to_owned(),
                value: fact.median(metric)?,
                low: spread.map(|spread| spread.low),
                high: spread.map(|spread| spread.high),
            };
            Some((name.clone(), measure))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_without_braces() {
        let mut table = Table::new("", &["parameters"]);
        for text in ["{\"compiled\":true,\"memory_layout\":\"nchw\"}", "{}", "<not JSON>"] {
            table.push([text.into()]);
        }
        parameters_in_words(&mut table);
        let words: Vec<Cell> = ["compiled=true, memory_layout=nchw", "", "<not JSON>"].map(Cell::from).into();
        assert_eq!(table.rows.concat(), words);
    }
}
