//! Verdicts for people and for programs of continuous integration: one file a format.

mod bencher;
mod ci_json;
mod github;
mod junit;
mod rows;

use std::io::Write;

use clap::ValueEnum;

use super::{Format, Style, renderer};
use crate::domain::text::{capitalised, printable, sentence};
use crate::domain::{Judgement, Table, VerdictReport};

pub use bencher::{BencherMeasure, write_bencher};
pub use ci_json::write_ci_json;
pub use github::{annotations, write_summary};
pub use junit::write_junit;
pub use rows::{change_text, verdict_table};

/// How verdicts are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum VerdictFormat {
    /// A table for people.
    #[default]
    Table,
    /// Versioned JSON, exact numbers.
    Json,
    /// CSV, exact numbers.
    Csv,
    /// A Markdown table.
    Markdown,
    /// JUnit's XML: a test case a verdict.
    Junit,
    /// GitHub: annotations, and a summary in Markdown.
    Github,
    /// Bencher's metric format.
    Bencher,
}

impl VerdictFormat {
    /// The format of plain tables, where it is one.
    pub fn of_tables(self) -> Option<Format> {
        match self {
            Self::Table => Some(Format::Table),
            Self::Json => Some(Format::Json),
            Self::Csv => Some(Format::Csv),
            Self::Markdown => Some(Format::Markdown),
            Self::Junit | Self::Github | Self::Bencher => None,
        }
    }
}

/// Writes a report in a format. `more` are tables that stand beside the verdicts; `limit` cuts what people read.
///
/// # Errors
/// What the writer refuses.
pub fn write_verdicts(
    report: &VerdictReport,
    more: &[Table],
    format: VerdictFormat,
    style: Style,
    limit: Option<usize>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    match format {
        VerdictFormat::Table | VerdictFormat::Markdown => {
            let mut tables = vec![verdict_table(report, true, limit)];
            tables.extend(more.iter().cloned());
            let format = format.of_tables().unwrap_or_default();
            renderer(format, style).render("verdicts", &tables, out)?;
            writeln!(out)?;
            for line in summary(report) {
                writeln!(out, "{line}")?;
            }
            Ok(())
        }
        VerdictFormat::Csv => {
            renderer(Format::Csv, style).render("verdicts", &[verdict_table(report, false, None)], out)
        }
        VerdictFormat::Json => write_ci_json(report, more, out),
        VerdictFormat::Junit => write_junit(report, out),
        VerdictFormat::Github => {
            for annotation in annotations(report) {
                writeln!(out, "{annotation}")?;
            }
            write_summary(report, more, out)
        }
        VerdictFormat::Bencher => {
            let measured = report.verdicts.iter().filter_map(|judgement| {
                let value = judgement.candidate.median?;
                Some((
                    name_of(judgement),
                    BencherMeasure { name: judgement.metric.clone(), value, low: None, high: None },
                ))
            });
            write_bencher(measured, out)
        }
    }
}

/// What has to be said about the verdicts as a whole, a sentence a line.
pub fn summary(report: &VerdictReport) -> Vec<String> {
    let mut lines = vec![
        format!("{}.", report.counts()),
        format!(
            "{} against {}; alert at {} % of the cost (a rate counts by its reciprocal; + is worse).",
            capitalised(&report.candidate),
            report.against,
            (report.alert * 1e4).round() / 100.0
        ),
    ];
    let common = rows::common_differences(report);
    if !common.is_empty() {
        lines.push(format!("The environments of the sides differ: {}.", common.join("; ")));
    }
    if let (true, Some(expected)) = (report.tested > 0, report.expected_false_alarms) {
        lines.push(format!(
            "{} judged by a test at p <= 0.01: if nothing had changed, at most {} of them would look regressed by chance.",
            report.tested,
            crate::report::significant(expected)
        ));
    }
    if report.verdicts.iter().any(|judgement| judgement.absolute) {
        lines.push("Proportions are judged by their difference and the metric's floor, not by the alert.".to_owned());
    }
    if report.by_threshold > 0 {
        lines.push(format!(
            "{} judged by the threshold alone: too few runs for a test (5 a side, or 10 of the baseline), so chance was \
             not ruled out.",
            report.by_threshold
        ));
    }
    lines.extend(report.notes.iter().map(|note| sentence(note)));
    lines.iter().map(|line| printable(line)).collect()
}

/// What a judgement is about, in one line: `resnet50, RTX 4090, pytorch, amp, inference, batch 256`.
pub(super) fn name_of(judgement: &Judgement) -> String {
    use crate::domain::Part;
    let part = |part: &Part| {
        let text = judgement.identity.get(*part);
        match part {
            _ if text.is_empty() => None,
            Part::BatchSize => Some(["batch ", text].concat()),
            Part::Threads => (text != "0").then(|| [text, " threads"].concat()),
            Part::Parameters => (text != "{}").then(|| text.to_owned()),
            _ => Some(text.to_owned()),
        }
    };
    printable(&Part::all().iter().filter_map(part).collect::<Vec<_>>().join(", "))
}
