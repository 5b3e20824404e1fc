//! `benchdb analyze`: what the record says of the selected runs, side by side; with `--compare-to`, verdicts.

use std::path::PathBuf;

use clap::ValueEnum;

use super::sides::Against;
use super::verdicts::{JudgeArgs, VerdictOutputArgs, judge_runs, publish};
use super::{CommandError, Context, ExitStatus, SelectArgs};
use crate::analysis::compare::{CONTENDER, Compared, Reference, SAME_WORK, compare, overall, runs_to_resample};
use crate::analysis::facts::{
    Facts, add_samples, facts_of, metrics_of_facts, pooled_versions, single_runs, tell_devices_apart,
};
use crate::analysis::scaling::{KNEE, WORK, rankings, scaling, training_vs_inference};
use crate::domain::{Cell, Identity, Part, Table};
use crate::report::significant;
use crate::report::verdicts::{BencherMeasure, VerdictFormat, write_bencher};
use crate::store::list::Selection;
use crate::store::{Access, Store, StoreError};

/// Runs whose iterations are resampled one by one; a larger record is resampled by runs alone.
const MOST_RESAMPLED_RUNS: usize = 5_000;

/// Metrics of the comparison for programs, beside the spread and the speed-up.
const EXACT_METRICS: [&str; 10] = [
    "latency_p50_ms",
    "latency_mean_ms",
    "throughput_samples_per_second",
    "throughput_tokens_per_second",
    "memory_device_peak_mb",
    "memory_host_peak_mb",
    "energy_per_sample_j",
    "power_mean_w",
    "accuracy_top1",
    "fidelity_relative_error",
];

/// Options of `benchdb analyze`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb analyze --model resnet50
  benchdb analyze --framework 2.4.0 --relative-to device=3090
  benchdb analyze --output analysis.csv
  benchdb analyze --compare-to baseline.csv --regression-alert 0.1")]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,
    /// What speed-ups are relative to: a platform, or `part=value` pairs (`engine=tract`, `device=3090,precision=fp32`)
    #[arg(long, value_name = "REFERENCE", default_value = "cpu", value_parser = Reference::parse)]
    relative_to: Reference,
    /// Rank software that pretends to be a device, too
    #[arg(long)]
    include_software: bool,
    /// Put training steps beside the inference of the same batch
    #[arg(long)]
    compare_training_inference: bool,
    /// Sections to print; all that have something to show without it, the comparison alone in CSV
    #[arg(long, value_enum, value_name = "SECTIONS", value_delimiter = ',', conflicts_with = "compare_to")]
    sections: Vec<Section>,
    /// Places of each ranking
    #[arg(long, value_name = "N", default_value_t = 3)]
    places: usize,
    /// Judge the selected runs against a file: an export, a file that can be imported, any CSV with models and a metric
    #[arg(long, value_name = "FILE")]
    compare_to: Option<PathBuf>,
    #[command(flatten)]
    judging: JudgeArgs,
    #[command(flatten)]
    output: VerdictOutputArgs,
}

/// A part of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Every configuration beside its reference.
    Comparison,
    /// Geometric means of the speed-ups.
    Overall,
    /// Throughput by batch size.
    Scaling,
    /// Training beside inference.
    Training,
    /// The best of each model.
    Rankings,
}

/// Runs the command.
///
/// # Errors
/// A database or a file that cannot be read.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let store = context.open(Access::Read)?;
    let selection = args.select.selection(|wanted| store.find_campaign(wanted).map(|campaign| campaign.uuid))?;
    if let Some(path) = &args.compare_to {
        let judged = judge_runs(&store, &selection, &Against::File(path.clone()), &args.judging, context)?;
        return publish(&judged.report, &[], &args.judging, &args.output, context);
    }
    if args.judging.fdr.is_some() || !args.judging.fail_on.is_empty() || !args.judging.metrics.is_empty() {
        return Err(CommandError::new(
            "`--metrics`, `--fdr` and `--fail-on` belong to a judgement",
            "it needs `--compare-to FILE`; or see `benchdb regress`",
        )
        .into());
    }
    let format = args.output.format();
    let people = matches!(format, VerdictFormat::Table | VerdictFormat::Markdown);
    let Read { facts, versions } = read_facts(&store, &selection)?;
    if format == VerdictFormat::Bencher {
        context.write(args.output.output.as_deref(), |out| Ok(write_bencher(measures(&facts), out)?))?;
        return Ok(if facts.is_empty() { nothing(context) } else { ExitStatus::Ok });
    }
    let Some(table_format) = format.of_tables() else {
        return Err(CommandError::new(
            "that format is one of verdicts",
            "it needs `--compare-to FILE`; or see `benchdb regress`",
        )
        .into());
    };
    let wanted = Wanted {
        sections: match (args.sections.is_empty(), format) {
            (false, _) => args.sections.clone(),
            (true, VerdictFormat::Csv) => vec![Section::Comparison],
            (true, _) => Section::value_variants().to_vec(),
        },
        training: args.compare_training_inference,
        places: args.places,
        include_software: args.include_software,
        people,
        limit: args.output.limit().filter(|_| people),
        same_work: same_work(&args.judging),
    };
    let tables = tables(&store, &facts, &args.relative_to, &wanted)?;
    let output = super::OutputArgs { format: Some(table_format), output: args.output.output.clone() };
    context.print("analysis", &tables, &output)?;
    if let Some(path) = &args.output.output_ci {
        let json = super::OutputArgs { format: Some(crate::report::Format::Json), output: Some(path.clone()) };
        let exact =
            Wanted { people: false, limit: None, sections: Section::value_variants().to_vec(), ..wanted.clone() };
        context.print("analysis", &self::tables(&store, &facts, &args.relative_to, &exact)?, &json)?;
    }
    if facts.is_empty() {
        return Ok(nothing(context));
    }
    if let Some(versions) = versions {
        context.note(&versions);
    }
    if people && args.sections.is_empty() {
        explain(&facts, &args.relative_to, &wanted.same_work, context);
    }
    Ok(ExitStatus::Ok)
}

/// The analysis of a campaign that has just been measured.
pub(super) fn campaign_tables(
    store: &Store,
    campaign: &str,
    context: &Context,
    people: bool,
) -> anyhow::Result<Vec<Table>> {
    let selection = Selection { campaign: Some(campaign.to_owned()), ..Selection::default() };
    let Read { facts, .. } = read_facts(store, &selection)?;
    let wanted = Wanted {
        sections: Section::value_variants().to_vec(),
        training: true,
        places: 3,
        include_software: false,
        people,
        limit: people.then_some(super::verdicts::SHOWN_ROWS),
        same_work: SAME_WORK.to_vec(),
    };
    let reference = Reference::default();
    if people && !facts.is_empty() {
        explain(&facts, &reference, &SAME_WORK, context);
    }
    tables(store, &facts, &reference, &wanted)
}

fn nothing(context: &Context) -> ExitStatus {
    context.complain(
        "no valid run is selected, so there is nothing to compare",
        Some("`benchdb status` shows what the database holds"),
    );
    ExitStatus::NotJudged
}

fn explain(facts: &[Facts], reference: &Reference, same_work: &[Part], context: &Context) {
    if !facts.iter().any(|fact| reference.matches(&fact.identity)) {
        context.note(&format!("no configuration with {reference} is selected, so there are no speed-ups"));
        return;
    }
    let of = if same_work.contains(&Part::BatchSize) { "latency" } else { "throughput" };
    context.note(&format!(
        "speed-up: of {of}, over the fastest configuration with {reference} of the same {}, fp32 where there is one",
        part_names(same_work).join(", ")
    ));
    if facts.iter().any(|fact| fact.by_mean && fact.latency_ms().is_some()) {
        context.note("~ms: the mean stands in for a median that is not known");
    }
    if facts.iter().any(|fact| fact.software) {
        context.note("software that pretends to be a device is compared, but not ranked");
    }
}

/// What was read, and what has to be said about it.
struct Read {
    facts: Vec<Facts>,
    /// That runs of several versions were pooled, where they were.
    versions: Option<String>,
}

fn read_facts(store: &Store, selection: &Selection) -> anyhow::Result<Read> {
    let mut facts: Vec<Facts> = Vec::new();
    let environments = store.for_each_series(selection, &metrics_of_facts(), |series| {
        facts.extend(facts_of(&series));
        Ok::<_, StoreError>(())
    })?;
    let iterations = store.read_iterations(&single_runs(&facts))?;
    add_samples(&mut facts, &iterations);
    tell_devices_apart(&mut facts);
    let versions = pooled_versions(&facts, &environments);
    Ok(Read { facts, versions })
}

/// Which tables are made, and for whom.
#[derive(Clone)]
struct Wanted {
    sections: Vec<Section>,
    training: bool,
    places: usize,
    include_software: bool,
    people: bool,
    limit: Option<usize>,
    /// What two configurations have in common that are compared.
    same_work: Vec<Part>,
}

fn same_work(args: &JudgeArgs) -> Vec<Part> {
    let parts = args.parts();
    SAME_WORK.into_iter().filter(|part| parts.contains(part)).collect()
}

fn tables(store: &Store, facts: &[Facts], reference: &Reference, wanted: &Wanted) -> anyhow::Result<Vec<Table>> {
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
            tables.push(table);
        }
    }
    Ok(tables)
}

/// A number: exact for programs, short for people.
fn number(value: Option<f64>, people: bool) -> Cell {
    if people { value.map(significant).into() } else { value.into() }
}

fn part_names(parts: &[Part]) -> Vec<String> {
    parts.iter().map(Part::to_string).collect()
}

fn part_cells<'i>(parts: &'i [Part], identity: &'i Identity) -> impl Iterator<Item = Cell> + 'i {
    parts.iter().map(|part| identity.cell(*part))
}

fn comparison_for_people(facts: &[Facts], compared: &[Compared], limit: Option<usize>) -> Table {
    let parts = Part::all();
    let names = part_names(parts);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend(["runs", "ms", "95 %", "samples/s", "speed-up", "memory MB", "J/sample", "accuracy"]);
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
            let what = if spread.of == crate::analysis::facts::IntervalOf::Runs { "" } else { spread.of.name() };
            format!("{} to {} {what}", significant(spread.low), significant(spread.high)).trim_end().to_owned()
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
    table.fold_shared(&names.iter().map(String::as_str).collect::<Vec<_>>());
    table.drop_empty(&["95 %", "samples/s", "speed-up", "memory MB", "J/sample", "accuracy", "parameters", "ms"]);
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
    columns.extend(EXACT_METRICS);
    columns.extend(["latency_low_ms", "latency_high_ms", "interval_of", "speed_up", "reference", "newest_run"]);
    let mut table = Table::new("Comparison", &columns);
    for row in compared {
        let fact = &facts[row.index];
        let mut cells: Vec<Cell> = part_cells(parts, &fact.identity).collect();
        cells.extend([i64::from(fact.software).into(), (fact.runs as u64).into()]);
        cells.extend(EXACT_METRICS.iter().map(|metric| Cell::from(fact.median(metric))));
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
pub(super) fn in_words(identity: &Identity) -> String {
    let word = |part: &Part| match (part, identity.get(*part)) {
        (_, "" | "{}") => None,
        (Part::Threads, "0") => None,
        (Part::Threads, threads) => Some(format!("{threads} threads")),
        (_, text) => Some(text.to_owned()),
    };
    CONTENDER.iter().filter_map(word).collect::<Vec<_>>().join(", ")
}

fn overall_table(
    facts: &[Facts],
    compared: &[Compared],
    iterations: &crate::analysis::facts::Iterations,
    wanted: &Wanted,
) -> Table {
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
        table.fold_shared(&names.iter().chain(&how_names).map(String::as_str).collect::<Vec<_>>());
        table.drop_empty(&["parameters", "work"]);
    }
    table
}

fn measures(facts: &[Facts]) -> impl Iterator<Item = (String, BencherMeasure)> + '_ {
    facts.iter().flat_map(|fact| {
        let name = format!(
            "{}, {}, batch {}, {}",
            fact.identity.get(Part::Model),
            fact.identity.get(Part::Mode),
            fact.identity.get(Part::BatchSize),
            in_words(&fact.identity)
        );
        EXACT_METRICS.iter().filter_map(move |metric| {
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
