//! `benchdb analyze`: what the record says of the selected runs, side by side; with `--compare-to`, verdicts.

mod tables;

use std::path::PathBuf;

use clap::ValueEnum;

pub(super) use self::tables::parameters_in_words;
use self::tables::{Wanted, measures, part_names, same_work, tables, tables_of_sections};
use super::sides::Against;
use super::verdicts::{JudgeArgs, VerdictOutputArgs, judge_runs, publish};
use super::{CommandError, Context, ExitStatus, SelectArgs};
use crate::analysis::compare::{Reference, SAME_WORK};
use crate::analysis::facts::{
    Facts, add_samples, facts_of, metrics_of_facts, pooled_versions, single_runs, tell_devices_apart,
};
use crate::domain::{Part, Table};
use crate::report::verdicts::{VerdictFormat, write_bencher};
use crate::store::list::Selection;
use crate::store::{Access, Store, StoreError};

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
    #[arg(long, value_name = "N", default_value_t = PLACES)]
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
    let answer = tables(&store, &facts, &args.relative_to, &wanted)?;
    let output = super::OutputArgs { format: Some(table_format), output: args.output.output.clone() };
    context.print("analysis", &answer, &output)?;
    if let Some(path) = &args.output.output_ci {
        let json = super::OutputArgs { format: Some(crate::report::Format::Json), output: Some(path.clone()) };
        let exact =
            Wanted { people: false, limit: None, sections: Section::value_variants().to_vec(), ..wanted.clone() };
        context.print("analysis", &tables(&store, &facts, &args.relative_to, &exact)?, &json)?;
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
        places: PLACES,
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

/// What has to be said about the tables.
fn notes(facts: &[Facts], reference: &Reference, same_work: &[Part]) -> Vec<String> {
    if !facts.iter().any(|fact| reference.matches(&fact.identity)) {
        return vec![format!("no configuration with {reference} is selected, so there are no speed-ups")];
    }
    let of = if same_work.contains(&Part::BatchSize) { "latency" } else { "throughput" };
    let mut notes = vec![format!(
        "speed-up: of {of}, over the fastest configuration with {reference} of the same {}, fp32 where there is one",
        part_names(same_work).join(", ")
    )];
    if facts.iter().any(|fact| fact.by_mean && fact.latency_ms().is_some()) {
        notes.push("~ms: the mean stands in for a median that is not known".to_owned());
    }
    if facts.iter().any(|fact| fact.software) {
        notes.push("software that pretends to be a device is compared, but not ranked".to_owned());
    }
    notes
}

fn explain(facts: &[Facts], reference: &Reference, same_work: &[Part], context: &Context) {
    notes(facts, reference, same_work).iter().for_each(|note| context.note(note));
}

/// Places of each ranking.
pub(super) const PLACES: usize = 3;

/// The whole analysis of a selection: what a report shows of it.
pub(super) struct Analysis {
    /// What every configuration says.
    pub(super) facts: Vec<Facts>,
    /// A table a section, uncut.
    pub(super) tables: Vec<(Section, Table)>,
    /// What has to be said about them.
    pub(super) notes: Vec<String>,
    /// That runs of several versions were pooled, where they were.
    pub(super) versions: Option<String>,
}

/// Analyses what is selected, in every section.
///
/// # Errors
/// A database that cannot be read.
pub(super) fn analyze(
    store: &Store,
    selection: &Selection,
    reference: &Reference,
    include_software: bool,
    people: bool,
) -> anyhow::Result<Analysis> {
    let Read { facts, versions } = read_facts(store, selection)?;
    let wanted = Wanted {
        sections: Section::value_variants().to_vec(),
        training: true,
        places: PLACES,
        include_software,
        people,
        limit: None,
        same_work: SAME_WORK.to_vec(),
    };
    let tables = tables_of_sections(store, &facts, reference, &wanted)?;
    let notes = notes(&facts, reference, &wanted.same_work);
    Ok(Analysis { facts, tables, notes, versions })
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
