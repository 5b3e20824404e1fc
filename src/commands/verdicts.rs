//! What `analyze --compare-to` and `regress` share: two sets of runs are judged and the verdicts printed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{CommandError, Context, ExitStatus, TransferError, format_of, path_text};
use crate::analysis::judge::{JudgeOptions, expected_false_alarms, judge};
use crate::analysis::metrics::metrics_of;
use crate::analysis::noise::noise;
use crate::analysis::{MetricChoice, judge};
use crate::domain::series::SeriesBuilder;
use crate::domain::text::counted;
use crate::domain::verdict::VerdictReport;
use crate::domain::{ImportItem, Metric, Part, Refusal, RunGroup, Series, SeriesSet, Table, Verdict};
use crate::exchange::{ColumnMap, Head, Importer, OwnCsv, importer_for, is_identity_csv, read_identity_csv};
use crate::report::Format;
use crate::report::verdicts::{VerdictFormat, annotations, write_ci_json, write_summary, write_verdicts};
use crate::store::Store;
use crate::store::judging::{JudgedAgainst, NoiseFloor};
use crate::store::list::Selection;

/// Rows that people see without asking for more.
pub(super) const SHOWN_ROWS: usize = 40;
/// Refusals of a file that are shown.
const SHOWN_REFUSALS: usize = 20;

/// How strictly two sets of runs are compared.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Judging")]
pub struct JudgeArgs {
    /// A change by this share of the cost is too much: 0.1 is ten per cent
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = alert)]
    pub regression_alert: f64,
    /// What is judged: latency, throughput, memory, energy, or columns of `results`; latency and peak memory without it
    #[arg(long, value_name = "METRICS", value_delimiter = ',', value_parser = MetricChoice::parse)]
    pub metrics: Vec<MetricChoice>,
    /// The parts of a configuration that both sides must have in common; all without it
    #[arg(long, value_enum, value_name = "PARTS", value_delimiter = ',', conflicts_with = "ignore")]
    pub match_on: Vec<Part>,
    /// Parts in which the sides may differ: what the comparison is about
    #[arg(long, value_enum, value_name = "PARTS", value_delimiter = ',')]
    pub ignore: Vec<Part>,
    /// Let q values decide, at this rate of false discoveries, where there are many series
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub fdr: Option<f64>,
    /// Exit with 3 on these verdicts, too
    #[arg(long, value_enum, value_name = "VERDICTS", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,
    /// Judge all runs, and not only the newest campaign or import of each series
    #[arg(long)]
    pub all_runs: bool,
}

/// What else is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A change past the threshold that may be chance.
    Suspect,
    /// Data that cannot tell.
    Inconclusive,
    /// A series without a run that counts, on either side.
    Invalid,
    /// A series that the candidate does not have.
    Missing,
}

/// Where and how verdicts are printed.
#[derive(Clone, Debug, Default, Args)]
pub struct VerdictOutputArgs {
    /// How to print; by the ending of `--output` where that is given, a table otherwise
    #[arg(long, value_enum)]
    pub format: Option<VerdictFormat>,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the answer to this file as versioned JSON, besides
    #[arg(long, value_name = "FILE")]
    pub output_ci: Option<PathBuf>,
    /// Rows of a table for people; 0 for all
    #[arg(long, value_name = "N", default_value_t = SHOWN_ROWS)]
    pub limit: usize,
}

impl VerdictOutputArgs {
    /// The format: what was asked for, what the file's ending says, a table.
    pub(super) fn format(&self) -> VerdictFormat {
        let by_ending = || {
            let path = self.output.as_deref()?;
            if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("xml")) {
                return Some(VerdictFormat::Junit);
            }
            Some(match format_of(path)? {
                Format::Table => VerdictFormat::Table,
                Format::Json => VerdictFormat::Json,
                Format::Csv => VerdictFormat::Csv,
                Format::Markdown => VerdictFormat::Markdown,
            })
        };
        self.format.or_else(by_ending).unwrap_or_default()
    }

    /// The rows that people see.
    pub(super) fn limit(&self) -> Option<usize> {
        (self.limit > 0).then_some(self.limit)
    }
}

fn alert(text: &str) -> Result<f64, String> {
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    let is_percent = text.ends_with('%');
    match parsed {
        Ok(share) if share > 0.0 && (share <= 1.0 || (is_percent && share <= 100.0)) => Ok(share),
        _ => Err("it is a share between 0 and 1, or has a `%`: 0.1 and `10%` are ten per cent".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate < 1.0 => Ok(rate),
        _ => Err("it is a rate between 0 and 1: 0.05".to_owned()),
    }
}

impl JudgeArgs {
    /// The metrics that are judged; without a choice the primary ones, and throughput where batch sizes may differ.
    pub(super) fn choices(&self) -> Vec<MetricChoice> {
        if !self.metrics.is_empty() {
            return self.metrics.clone();
        }
        if self.parts().contains(&Part::BatchSize) {
            return MetricChoice::primary();
        }
        vec![MetricChoice::throughput()]
    }

    /// The parts that both sides must have in common.
    pub(super) fn parts(&self) -> Vec<Part> {
        if !self.match_on.is_empty() {
            return self.match_on.clone();
        }
        Part::all().iter().copied().filter(|part| !self.ignore.contains(part)).collect()
    }
}

/// What the candidate is held against.
#[derive(Clone, Debug)]
pub(super) enum Against {
    /// A file.
    File(PathBuf),
    /// A baseline of the database.
    Baseline(String),
    /// Other runs of the database.
    Runs { selection: Box<Selection>, text: String },
    /// The earlier runs of each series.
    Earlier,
}

impl Against {
    fn text(&self) -> String {
        match self {
            Self::File(path) => format!("file {}", path.display()),
            Self::Baseline(name) => format!("baseline {name}"),
            Self::Runs { text, .. } => text.clone(),
            Self::Earlier => "the earlier runs of each series".to_owned(),
        }
    }
}

/// What was judged, ready to be printed and kept.
pub(super) struct Judged {
    pub(super) report: VerdictReport,
    pub(super) against: JudgedAgainst,
    pub(super) noise: Vec<NoiseFloor>,
}

/// Judges the selected runs.
pub(super) fn judge_runs(
    store: &Store,
    selection: &Selection,
    against: &Against,
    args: &JudgeArgs,
    context: &Context,
) -> anyhow::Result<Judged> {
    let choices = args.choices();
    let metrics = metrics_of(&choices);
    let named = selection.names_runs();
    let mut notes = Vec::new();
    let (baseline, candidate, candidate_text) = match against {
        Against::Earlier => {
            let (wanted, text) = if named || args.all_runs {
                (Some(selection.clone()), "the selected runs".to_owned())
            } else {
                let newest = store.newest_together(selection)?;
                let text = match &newest {
                    Some(Selection { imports, .. }) if !imports.is_empty() => {
                        format!("import {}, the newest", imports[0])
                    }
                    Some(Selection { campaign: Some(_), .. }) => "the newest campaign".to_owned(),
                    _ => "the newest run".to_owned(),
                };
                (newest, text)
            };
            let candidate = match &wanted {
                Some(wanted) => store.read_series(wanted, metrics.clone())?,
                None => SeriesSet::new(metrics.clone()),
            };
            let ids: Vec<i64> = candidate.series.iter().filter_map(|series| series.configuration_id).collect();
            let pool = if ids.is_empty() {
                SeriesSet::new(metrics)
            } else {
                store.read_series(&Selection { configurations: ids, ..Selection::default() }, metrics)?
            };
            (earlier_than(pool, &candidate, &restarts(store)?, &mut notes), candidate, text)
        }
        other => {
            let baseline = match other {
                Against::File(path) => read_baseline(path, metrics.clone(), context, &mut notes)?,
                Against::Baseline(name) => {
                    if !store.list_baselines()?.iter().any(|known| known.name == *name) {
                        return Err(CommandError::new(
                            format!("there is no baseline `{name}`"),
                            "`benchdb baseline list` shows them; `benchdb baseline save NAME` makes one",
                        )
                        .into());
                    }
                    let wanted = Selection { baseline: Some(name.clone()), ..selection.of_series() };
                    store.read_series(&wanted, metrics.clone())?
                }
                Against::Runs { selection: wanted, .. } => store.read_series(wanted, metrics.clone())?,
                Against::Earlier => SeriesSet::default(),
            };
            let mut candidate = store.read_series(selection, metrics)?;
            let known: HashSet<u128> =
                baseline.series.iter().flat_map(|series| &series.runs).filter_map(|run| run.uuid).collect();
            let before = candidate.run_count();
            candidate.retain_runs(|run| run.uuid.is_none_or(|uuid| !known.contains(&uuid)));
            if before > candidate.run_count() {
                notes.push(format!(
                    "{} on the side of the baseline alone",
                    counted(before - candidate.run_count(), "run is", "runs are")
                ));
            }
            let text = if named {
                "the selected runs"
            } else if args.all_runs {
                "all runs"
            } else {
                newest_of_each(&mut candidate);
                "the newest campaign or import of each series"
            };
            (baseline, candidate, text.to_owned())
        }
    };
    let mut stored_noise = store.read_noise_floors()?;
    let floors = noise_floors(&[&baseline, &candidate]);
    stored_noise
        .extend(floors.iter().map(|floor| ((floor.configuration_id, floor.metric.clone()), floor.relative_deviation)));
    let options = JudgeOptions {
        alert: args.regression_alert,
        metrics: choices,
        matched_on: args.parts(),
        false_discovery_rate: args.fdr,
        noise: stored_noise,
    };
    let mut comparison = judge(&baseline, &candidate, &options);
    if matches!(against, Against::Earlier) {
        // A series that was not measured this time is not missing: nobody said that it should be.
        comparison.judgements.retain(|judgement| judgement.verdict != Verdict::Missing);
    }
    notes.extend(what_to_say(&comparison, args));
    let report = VerdictReport {
        candidate: candidate_text,
        against: against.text(),
        alert: args.regression_alert,
        matched_on: comparison.matched_on,
        verdicts: comparison.judgements,
        tested: comparison.tested,
        by_threshold: comparison.by_threshold,
        expected_false_alarms: expected_false_alarms(comparison.tested),
        notes,
    };
    let against = JudgedAgainst {
        source: against.text(),
        baseline: match against {
            Against::Baseline(name) => Some(name.clone()),
            _ => None,
        },
        alert: args.regression_alert,
    };
    Ok(Judged { report, against, noise: floors })
}

fn what_to_say(comparison: &judge::Comparison, args: &JudgeArgs) -> Vec<String> {
    let mut notes = Vec::new();
    let listed = |parts: &[Part]| parts.iter().map(Part::to_string).collect::<Vec<_>>().join(", ");
    if !comparison.not_known.is_empty() {
        notes.push(format!(
            "not matched on {}: one side does not tell {}",
            listed(&comparison.not_known),
            if comparison.not_known.len() == 1 { "it" } else { "them" }
        ));
    }
    if !args.match_on.is_empty() || !args.ignore.is_empty() {
        notes.push(format!("matched on {}", listed(&comparison.matched_on)));
    }
    for (part, count) in &comparison.differing_parts {
        notes.push(format!("{part} differs in {count} of the matched pairs"));
    }
    if let Some(rate) = args.fdr {
        notes.push(format!(
            "q values decide: at most {} % of what is called changed is expected to be chance",
            rate * 100.0
        ));
    }
    notes
}

/// The changes that were accepted: where each series starts anew.
pub(super) fn restarts(store: &Store) -> anyhow::Result<crate::analysis::history::Restarts> {
    let mut restarts = crate::analysis::history::Restarts::new();
    for change in store.list_acceptances()? {
        restarts.entry(change.configuration_id).or_default().push(change.run_id);
    }
    Ok(restarts)
}

/// Of each series the runs that belong together with its newest run.
fn newest_of_each(set: &mut SeriesSet) {
    for series in &mut set.series {
        let Some(newest) = series.runs.iter().max_by_key(|run| run.run_id).copied() else { continue };
        series.retain(|run| {
            if newest.group == RunGroup::Alone { run.run_id == newest.run_id } else { run.group == newest.group }
        });
    }
}

/// The runs of the candidate's series that are older than the candidate, from the last change on that was accepted.
fn earlier_than(
    mut pool: SeriesSet,
    candidate: &SeriesSet,
    restarts: &crate::analysis::history::Restarts,
    notes: &mut Vec<String>,
) -> SeriesSet {
    let mut restarted = 0;
    pool.series.retain_mut(|series| {
        let Some(newer) = candidate.series.iter().find(|other| other.configuration_id == series.configuration_id)
        else {
            return false;
        };
        let position = |series: &Series, id: Option<i64>| series.runs.iter().position(|run| run.run_id == id);
        let first = newer.runs.iter().filter_map(|run| position(series, run.run_id)).min().unwrap_or(0);
        let accepted = series.configuration_id.and_then(|id| restarts.get(&id)).into_iter().flatten();
        let start = accepted.filter_map(|run| position(series, Some(*run))).filter(|start| *start <= first).max();
        restarted += usize::from(start.is_some());
        let kept: HashSet<i64> = series.runs[start.unwrap_or(0)..first].iter().filter_map(|run| run.run_id).collect();
        series.retain(|run| run.run_id.is_some_and(|id| kept.contains(&id)));
        !series.runs.is_empty()
    });
    if restarted > 0 {
        notes.push(format!("{restarted} series start with a change that was accepted"));
    }
    pool
}

fn noise_floors(sets: &[&SeriesSet]) -> Vec<NoiseFloor> {
    let of_set = |set: &&SeriesSet| {
        noise(set)
            .into_iter()
            .filter_map(|found| {
                Some(NoiseFloor {
                    configuration_id: set.series[found.series].configuration_id?,
                    metric: set.metrics[found.metric].name.clone(),
                    relative_deviation: found.deviation,
                    runs: found.runs,
                })
            })
            .collect::<Vec<_>>()
    };
    sets.iter().flat_map(of_set).collect()
}

/// Reads the baseline of a file: runs in any format that can be imported, or any table with models and a metric.
fn read_baseline(
    path: &Path,
    metrics: Vec<&'static Metric>,
    context: &Context,
    notes: &mut Vec<String>,
) -> anyhow::Result<SeriesSet> {
    let (head, mut content) = super::import::open(path)?;
    let name = path_text(path);
    let mut refused = Vec::new();
    // A table that is no export of ours is taken as it is: its rows need not be whole runs.
    let head = Head::new(&name, &head);
    let is_export = Importer::<TransferError>::recognises(&OwnCsv, &head);
    let set = if is_identity_csv(&head) && !is_export {
        let table = read_identity_csv(&name, &mut content, metrics)?;
        notes.extend(table.notes.into_iter().map(|note| format!("`{name}`: {note}")));
        refused = table.refused;
        table.set
    } else {
        let importer =
            importer_for::<TransferError>(&head, &ColumnMap::default()).map_err(|error| no_baseline(error.into()))?;
        let mut builder = SeriesBuilder::new(metrics);
        let mut seen: HashSet<String> = HashSet::new();
        let said = importer
            .read(&name, &mut content, &mut |item| {
                match item {
                    ImportItem::Run(record) if !seen.insert(record.uuid.clone()) => {
                        let line = line_of_second(path, &record.uuid);
                        refused.push(Refusal { line, reason: format!("the run {} is there twice", record.uuid) });
                    }
                    ImportItem::Run(record) => builder.push(&record),
                    ImportItem::Refused(refusal) => refused.push(refusal),
                }
                Ok(())
            })
            .map_err(|error| no_baseline(error.into_cause()))?;
        notes.extend(said.into_iter().map(|note| format!("`{name}`: {note}")));
        builder.finish()
    };
    for refusal in refused.iter().take(SHOWN_REFUSALS) {
        let line = if refusal.line > 0 { format!(":{}", refusal.line) } else { String::new() };
        context.note(&format!("refused: {name}{line}: {}", refusal.reason));
    }
    if !refused.is_empty() {
        let were = if refused.len() == 1 { "was" } else { "were" };
        notes.push(format!("{} of `{name}` {were} refused", counted(refused.len(), "row", "rows")));
    }
    Ok(set)
}

/// Prints a report where it is wanted, and answers how the command ends.
pub(super) fn publish(
    report: &VerdictReport,
    more: &[Table],
    args: &JudgeArgs,
    output: &VerdictOutputArgs,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    let format = output.format();
    let style = context.style(output.output.as_deref());
    let summary_file = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|_| format == VerdictFormat::Github);
    match (&output.output, summary_file) {
        (Some(path), _) if format == VerdictFormat::Github => {
            context.write(Some(path), |out| Ok(write_summary(report, more, out)?))?;
            context
                .write(None, |out| Ok(annotations(report).iter().try_for_each(|line| writeln!(out, "{line}"))?))?;
        }
        (None, Some(summary)) => {
            let path = PathBuf::from(summary);
            let mut file =
                std::fs::File::options().append(true).create(true).open(&path).with_context(|| unwritable(&path))?;
            write_summary(report, more, &mut file).with_context(|| unwritable(&path))?;
            context
                .write(None, |out| Ok(annotations(report).iter().try_for_each(|line| writeln!(out, "{line}"))?))?;
        }
        (path, _) => {
            context
                .write(path.as_deref(), |out| Ok(write_verdicts(report, more, format, style, output.limit(), out)?))?;
        }
    }
    if let Some(path) = &output.output {
        context.note(&format!("wrote `{}`", path.display()));
    }
    if let Some(path) = &output.output_ci {
        context.write(Some(path), |out| Ok(write_ci_json(report, more, out)?))?;
        context.note(&format!("wrote `{}`", path.display()));
    }
    let is_people = matches!(format, VerdictFormat::Table | VerdictFormat::Markdown);
    if !is_people || output.output.is_some() {
        context.note(&report.counts());
    }
    Ok(exit_status(report, args, context))
}

/// What is wrong with a file that was to be a baseline; the way out is another than that of an import.
fn no_baseline(error: anyhow::Error) -> anyhow::Error {
    let reason = crate::domain::text::one_line(error.as_ref());
    CommandError::new(
        reason,
        "a baseline is an export of benchdb, a file of another tool that `benchdb import` takes, or a CSV with a column \
         `model` and a metric such as latency_p50_ms",
    )
    .into()
}

/// The line on which a text stands for the second time; 0 where it cannot be found.
fn line_of_second(path: &Path, text: &str) -> u64 {
    let Ok(file) = std::fs::File::open(path) else { return 0 };
    let lines = std::io::BufRead::lines(std::io::BufReader::new(file)).map_while(Result::ok);
    (1..).zip(lines).filter(|(_, line)| line.contains(text)).nth(1).map_or(0, |(line, _)| line)
}

fn unwritable(path: &Path) -> CommandError {
    CommandError::new(format!("cannot write `{}`", path.display()), "the folder must be there and writable")
}

fn exit_status(report: &VerdictReport, args: &JudgeArgs, context: &Context) -> ExitStatus {
    if report.count(Verdict::Regressed) > 0 {
        return ExitStatus::Failed;
    }
    if report.judged() == 0 {
        let reason = if report.verdicts.is_empty() {
            "neither side has a run with the metric"
        } else {
            "no series of one side could be compared with one of the other; the verdicts say why"
        };
        context.complain(
            &format!("nothing could be judged: {reason}"),
            Some("select other runs, or match on fewer parts (`--match-on model,batch_size`)"),
        );
        return ExitStatus::NotJudged;
    }
    let fails = |fail: &FailOn| {
        let verdict = match fail {
            FailOn::Suspect => Verdict::Suspect,
            FailOn::Inconclusive => Verdict::Inconclusive,
            FailOn::Invalid => Verdict::Invalid,
            FailOn::Missing => Verdict::Missing,
        };
        report.count(verdict) > 0
    };
    if args.fail_on.iter().any(fails) { ExitStatus::NotJudged } else { ExitStatus::Ok }
}
