//! JUnit's XML: a regression is a failed test case, what could not be judged is skipped.

use std::io::Write;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{change_text, name_of, summary};
use crate::domain::text::printable;
use crate::domain::{Judgement, Verdict, VerdictReport};

/// Writes the report.
///
/// # Errors
/// What the writer refuses.
pub fn write_junit(report: &VerdictReport, out: &mut dyn Write) -> std::io::Result<()> {
    let mut suite = TestSuite::new("benchdb verdicts");
    for judgement in &report.verdicts {
        let mut case = TestCase::new(judgement.metric.as_str(), status(judgement));
        case.set_classname(name_of(judgement));
        case.set_system_out(sentence(judgement));
        suite.add_test_case(case);
    }
    if report.judged() == 0 {
        // A server that reads this file alone would show a green build.
        let mut error = TestCaseStatus::non_success(NonSuccessKind::Error);
        error.set_type("not judged").set_message("nothing could be judged");
        suite.add_test_case(TestCase::new("benchdb", error));
    }
    suite.set_system_out(summary(report).join("\n"));
    let mut document = Report::new("benchdb");
    document.add_test_suite(suite);
    document.serialize(&mut *out).map_err(std::io::Error::other)?;
    writeln!(out)
}

fn status(judgement: &Judgement) -> TestCaseStatus {
    match judgement.verdict {
        _ if judgement.broken => {
            let mut error = TestCaseStatus::non_success(NonSuccessKind::Error);
            error.set_type("broken").set_message(sentence(judgement));
            error
        }
        Verdict::Regressed => {
            let mut failure = TestCaseStatus::non_success(NonSuccessKind::Failure);
            failure.set_type("regressed").set_message(sentence(judgement));
            failure
        }
        _ if judgement.is_judged() => TestCaseStatus::success(),
        verdict => {
            let mut skipped = TestCaseStatus::skipped();
            let words = std::iter::once(verdict.to_string()).chain(judgement.notes.iter().cloned());
            skipped.set_message(words.collect::<Vec<_>>().join("; "));
            skipped
        }
    }
}

/// A verdict in one sentence.
pub(super) fn sentence(judgement: &Judgement) -> String {
    let mut parts = vec![judgement.verdict.to_string()];
    if let (Some(before), Some(now), Some(effect)) =
        (judgement.baseline.median, judgement.candidate.median, judgement.effect)
    {
        parts.push(format!(
            "{} {} -> {} (cost {})",
            judgement.metric,
            crate::report::significant(before),
            crate::report::significant(now),
            change_text(effect, judgement.absolute)
        ));
    }
    if let Some(evidence) = judgement.evidence {
        let p_value = judgement.p_value.map(|p_value| format!(", p {p_value:.4}")).unwrap_or_default();
        parts.push(format!(
            "{}{p_value}, {} and {} runs",
            evidence.to_string().replace('_', " "),
            judgement.baseline.runs,
            judgement.candidate.runs
        ));
    }
    parts.extend(judgement.notes.iter().cloned());
    let differs = |difference: &crate::domain::Difference| {
        format!("{} {} -> {}", difference.what, difference.baseline, difference.candidate)
    };
    parts.extend(judgement.differences.iter().map(differs));
    printable(&parts.join("; "))
}
