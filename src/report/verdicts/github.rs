//! GitHub's workflow commands, which annotate a change, and the summary of a step.

use std::io::Write;

use super::junit::sentence;
use super::{name_of, summary, verdict_table};
use crate::domain::{Table, Verdict, VerdictReport};
use crate::report::{Format, Style, renderer};

/// Rows of the summary; all regressions are shown besides.
const SUMMARY_ROWS: usize = 50;

/// One workflow command a regression (`::error`) and a suspect (`::warning`); an error, too, where nothing was judged.
pub fn annotations(report: &VerdictReport) -> Vec<String> {
    let mut commands: Vec<String> = report
        .verdicts
        .iter()
        .filter_map(|judgement| {
            let command = match judgement.verdict {
                Verdict::Regressed => "error",
                _ if judgement.broken => "error",
                Verdict::Suspect | Verdict::Missing => "warning",
                _ => return None,
            };
            let title = format!("{}: {}", judgement.verdict, name_of(judgement));
            Some(format!("::{command} title={}::{}", property(&title), message(&sentence(judgement))))
        })
        .collect();
    if report.judged() == 0 {
        commands.push("::error title=benchdb::nothing could be judged".to_owned());
    }
    commands
}

/// The summary of a step, in Markdown.
///
/// # Errors
/// What the writer refuses.
pub fn write_summary(report: &VerdictReport, more: &[Table], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## benchdb: {}\n", report.counts())?;
    for line in summary(report).into_iter().skip(1) {
        writeln!(out, "{line}\n")?;
    }
    let mut tables = vec![verdict_table(report, true, Some(SUMMARY_ROWS))];
    tables.extend(more.iter().cloned());
    renderer(Format::Markdown, Style::default()).render("verdicts", &tables, out)
}

/// The escapes of a workflow command's message.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Those of a property, which ends at a comma or colon.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(message("10 %\nslower"), "10 %25%0Aslower");
        assert_eq!(property("a,b:c"), "a%2Cb%3Ac");
    }
}
