//! What `analyze --compare-to` and `regress` share: two sets of runs are judged and the verdicts printed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

pub(super) use super::sides::Against;
use super::sides::sides;
use super::{CommandError, Context, ExitStatus, format_of};
use crate::analysis::judge::{JudgeOptions, expected_false_alarms, judge};
use crate::analysis::metrics::metrics_of;
use crate::analysis::noise::noise;
use crate::analysis::{MetricChoice, judge};
use crate::domain::text::counted;
use crate::domain::verdict::VerdictReport;
use crate::domain::{Part, SeriesSet, Table, Verdict};
use crate::report::Format;
use crate::report::verdicts::{VerdictFormat, annotations, write_ci_json, write_summary, write_verdicts};
use crate::store::Store;
use crate::store::judging::{JudgedAgainst, NoiseFloor};
use crate::store::list::Selection;

/// Rows that people see without asking for more.
pub(super) const SHOWN_ROWS: usize = 40;
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
    /// Judge differences below the metrics' absolute floors (0.01 ms of a latency), too: for benchmarks of nanoseconds
    #[arg(long)]
    pub no_floors: bool,
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
    /// A series that the baseline does not have.
    New,
    /// Two sides that are different work.
    Incomparable,
    /// Rows of the baseline's file that were refused.
    Refused,
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

/// A threshold: a share, or per cent.
pub(super) fn alert(text: &str) -> Result<f64, String> {
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
    /// The defaults, with another threshold.
    pub(super) fn with_alert(alert: f64) -> Self {
        Self {
            regression_alert: alert,
            metrics: Vec::new(),
            match_on: Vec::new(),
            ignore: Vec::new(),
            fdr: None,
            fail_on: Vec::new(),
            no_floors: false,
            all_runs: false,
        }
    }

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
    let sides = sides(store, selection, against, &metrics_of(&choices), args.all_runs, context)?;
    let mut noise = store.read_noise_floors()?;
    let floors = noise_floors(&[&sides.baseline, &sides.candidate]);
    noise.extend(floors.iter().map(|floor| ((floor.configuration_id, floor.metric.clone()), floor.relative_deviation)));
    let options = JudgeOptions {
        alert: args.regression_alert,
        metrics: choices,
        matched_on: args.parts(),
        false_discovery_rate: args.fdr,
        floors: !args.no_floors,
        noise,
    };
    let mut comparison = judge(&sides.baseline, &sides.candidate, &options);
    if matches!(against, Against::Earlier) {
        // A series that was not measured this time is not missing: nobody said that it should be.
        comparison.judgements.retain(|judgement| judgement.verdict != Verdict::Missing);
    }
    let mut notes = sides.notes;
    notes.extend(what_to_say(&comparison, args));
    let report = VerdictReport {
        candidate: sides.candidate_text,
        against: against.text(),
        alert: args.regression_alert,
        matched_on: comparison.matched_on,
        verdicts: comparison.judgements,
        tested: comparison.tested,
        by_threshold: comparison.by_threshold,
        expected_false_alarms: args.fdr.is_none().then(|| expected_false_alarms(comparison.tested)),
        accepted: sides.accepted,
        refused_rows: sides.refused_rows,
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
    let below = comparison.judgements.iter().filter(|judgement| judgement.below_floor).count();
    if below > 0 {
        notes.push(format!(
            "{} past the threshold but below the metric's floor, and {} unchanged: `--no-floors` judges these, too",
            counted(below, "change is", "changes are"),
            if below == 1 { "counts as" } else { "count as" }
        ));
    }
    if let Some(rate) = args.fdr {
        notes.push(format!(
            "q values decide: at most {} % of what a test calls changed is expected to be chance",
            rate * 100.0
        ));
    }
    notes
}

/// The noise of both sides; of a series that both have the estimate from more runs.
fn noise_floors(sets: &[&SeriesSet]) -> Vec<NoiseFloor> {
    let mut floors: HashMap<(i64, String), NoiseFloor> = HashMap::new();
    for set in sets {
        for found in noise(set) {
            let Some(configuration_id) = set.series[found.series].configuration_id else { continue };
            let metric = set.metrics[found.metric].name.clone();
            let floor = NoiseFloor {
                configuration_id,
                metric: metric.clone(),
                relative_deviation: found.deviation,
                runs: found.runs,
            };
            let known = floors.entry((configuration_id, metric)).or_insert_with(|| floor.clone());
            if known.runs < floor.runs {
                *known = floor;
            }
        }
    }
    floors.into_values().collect()
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

fn unwritable(path: &Path) -> CommandError {
    CommandError::new(format!("cannot write `{}`", path.display()), "the folder must be there and writable")
}

fn exit_status(report: &VerdictReport, args: &JudgeArgs, context: &Context) -> ExitStatus {
    if report.count(Verdict::Regressed) > 0 {
        return ExitStatus::Failed;
    }
    if report.broken() > 0 {
        let series = counted(report.broken(), "series that the baseline has", "series that the baseline has");
        context.complain(&format!("all runs of {series} broke"), Some("`benchdb query --name failures` says why"));
        return ExitStatus::Failed;
    }
    if report.judged() == 0 && report.accepted > 0 {
        return ExitStatus::Ok;
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
    let fails = |fail: &FailOn| match fail {
        FailOn::Suspect => report.count(Verdict::Suspect) > 0,
        FailOn::Inconclusive => report.count(Verdict::Inconclusive) > 0,
        FailOn::Invalid => report.count(Verdict::Invalid) > 0,
        FailOn::Missing => report.count(Verdict::Missing) > 0,
        FailOn::New => report.count(Verdict::New) > 0,
        FailOn::Incomparable => report.count(Verdict::Incomparable) > 0,
        FailOn::Refused => report.refused_rows > 0,
    };
    if args.fail_on.iter().any(fails) { ExitStatus::NotJudged } else { ExitStatus::Ok }
}
