//! Verdicts for machines of continuous integration: versioned JSON, JUnit, GitHub, Bencher, and CSV.

use serde_json::Value;

use crate::made::{FIVE, Made, all_taking, close, of_campaign, only_verdict, times, verdicts};
use crate::support::{Expect as _, Sandbox, said, stderr_of, stdout_of};

/// A name that every format has to escape somewhere.
const AWKWARD: &str = "<script>&\"|%,::a\nb";

/// `regress` of the label `after` against the label `before`.
fn regress(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Command {
    let mut command = sandbox.benchdb();
    command.env_remove("GITHUB_STEP_SUMMARY");
    command.args(["regress", "--label", "after", "--against", "label:before"]).args(arguments);
    command
}

/// One series of each verdict.
fn of_each_verdict() -> Sandbox {
    let sandbox = Sandbox::new();
    let model =
        |times: &[f64], name: &str| -> Vec<Made> { all_taking(times).into_iter().map(|run| run.model(name)).collect() };
    let before = [
        model(&FIVE, "slower"),
        model(&FIVE, "faster"),
        model(&FIVE, "same"),
        model(&[10.0], "gone"),
        model(&[10.0, 10.1, 10.2, 10.3, 13.0], "doubtful"),
    ];
    let after = [
        model(&times(&FIVE, 1.5), "slower"),
        model(&times(&FIVE, 0.5), "faster"),
        model(&FIVE, "same"),
        model(&[10.0], "fresh"),
        model(&[10.15, 11.9, 12.0, 12.1, 12.2], "doubtful"),
    ];
    sandbox.take(&of_campaign(before.concat(), 1, "before"));
    sandbox.take(&of_campaign(after.concat(), 2, "after"));
    sandbox
}

/// A regression of a model with an awkward name.
fn awkward() -> Sandbox {
    let sandbox = Sandbox::new();
    let side = |factor: f64| all_taking(&times(&FIVE, factor)).into_iter().map(|run| run.model(AWKWARD)).collect();
    sandbox.take(&of_campaign(side(1.0), 1, "before"));
    sandbox.take(&of_campaign(side(1.5), 2, "after"));
    sandbox
}

/// The elements of a document and their depth, where it is XML that a simple parser takes.
fn elements(xml: &str) -> Vec<(usize, String)> {
    let mut open: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut rest = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").expect("it declares itself").trim();
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(text.trim().is_empty() || !open.is_empty(), "text outside the root: {text}");
        references(text);
        let end = rest[start..].find('>').expect("a tag ends") + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{name} was not open");
            continue;
        }
        assert!(!tag.contains('<'), "a `<` inside a tag: {tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "a quote is open: {tag}");
        references(tag);
        found.push((open.len(), tag.trim_end_matches('/').to_owned()));
        if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap().to_owned());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    found
}

/// Every ampersand begins one of the references that XML knows, and there is no character that it forbids.
fn references(text: &str) {
    for part in text.split('&').skip(1) {
        let name = part.split_once(';').map(|(name, _)| name).unwrap_or_else(|| panic!("a bare `&`: {text}"));
        assert!(["lt", "gt", "amp", "quot", "apos"].contains(&name) || name.starts_with('#'), "{name}: {text}");
    }
    assert!(text.chars().all(|character| character >= ' ' || "\n\t\r".contains(character)), "{text:?}");
}

fn attribute<'t>(tag: &'t str, name: &str) -> &'t str {
    let start = format!(" {name}=\"");
    let begin = tag.find(&start).unwrap_or_else(|| panic!("no {name}: {tag}")) + start.len();
    &tag[begin..begin + tag[begin..].find('"').unwrap()]
}

#[test]
fn the_json_of_continuous_integration_has_a_schema() {
    let sandbox = of_each_verdict();
    let output = regress(&sandbox, &["--output-ci", "ci.json"]).ends_with(1);
    assert!(stdout_of(&output).contains("Verdicts"), "the table is there all the same: {}", said(&output));
    assert!(stderr_of(&output).contains("wrote `ci.json`"), "{}", said(&output));
    let document: Value = serde_json::from_str(&sandbox.read("ci.json")).unwrap();
    assert_eq!(document["schema"], "benchdb/1");
    assert_eq!(document["kind"], "verdicts");
    let counts = serde_json::json!({
        "regressed": 1, "suspect": 1, "improved": 1, "inconclusive": 0, "unchanged": 1, "new": 1, "missing": 1,
        "invalid": 0, "incomparable": 0,
    });
    assert_eq!(document["counts"], counts);
    assert_eq!(document["judged"], 4);
    assert_eq!(document["tested"], 4);
    assert_eq!(document["alert"], 0.1);
    assert_eq!(document["against"], "label before");
    assert_eq!(document["matched_on"].as_array().unwrap().len(), 11);
    let order: Vec<(Value, Value)> = verdicts(&document)
        .into_iter()
        .map(|verdict| (verdict["verdict"].clone(), verdict["identity"]["model"].clone()))
        .collect();
    let pair = |verdict: &str, model: &str| (Value::from(verdict), Value::from(model));
    assert_eq!(order[..3], [pair("regressed", "slower"), pair("suspect", "doubtful"), pair("improved", "faster")]);
    for verdict in verdicts(&document) {
        for field in [
            "identity",
            "metric",
            "verdict",
            "evidence",
            "baseline",
            "candidate",
            "effect",
            "effect_low",
            "effect_high",
            "p_value",
            "q_value",
            "smallest_effect",
            "more_runs",
            "notes",
            "differences",
            "first_candidate_run",
            "absolute",
        ] {
            assert!(verdict.as_object().unwrap().contains_key(field), "{field}: {verdict}");
        }
    }
    // It is what `--format json` prints.
    let printed: Value = serde_json::from_slice(&regress(&sandbox, &["--format", "json"]).ends_with(1).stdout).unwrap();
    assert_eq!(printed, document);
}

#[test]
fn the_file_is_written_even_where_nothing_could_be_judged() {
    let sandbox = Sandbox::with_a_run();
    sandbox.benchdb().args(["regress", "--output-ci", "ci.json"]).ends_with(3);
    let document: Value = serde_json::from_str(&sandbox.read("ci.json")).unwrap();
    assert_eq!(document["judged"], 0);
    let output = sandbox.benchdb().args(["regress", "--output-ci", "no/such/folder.json"]).ends_with(2);
    assert!(stderr_of(&output).contains("cannot write `no/such/folder.json`"), "{}", said(&output));
}

#[test]
fn junit_has_a_test_case_a_verdict() {
    let sandbox = of_each_verdict();
    let output = regress(&sandbox, &["--format", "junit"]).ends_with(1);
    let elements = elements(&stdout_of(&output));
    let named = |name: &str| -> Vec<&(usize, String)> {
        elements.iter().filter(|(_, tag)| tag.split_whitespace().next() == Some(name)).collect()
    };
    let suite = &named("testsuite")[0].1;
    assert_eq!(attribute(suite, "tests"), "6");
    assert_eq!(attribute(suite, "failures"), "1");
    assert_eq!(attribute(suite, "skipped"), "2");
    assert_eq!(attribute(suite, "errors"), "0");
    let cases = named("testcase");
    assert_eq!(cases.len(), 6);
    assert!(cases.iter().all(|(depth, _)| *depth == 2));
    assert_eq!(attribute(&cases[0].1, "name"), "latency_p50_ms");
    assert!(attribute(&cases[0].1, "classname").starts_with("slower"));
    let failure = &named("failure")[0].1;
    assert_eq!(attribute(failure, "type"), "regressed");
    assert!(attribute(failure, "message").contains("10.20 -&gt; 15.30"), "{failure}");
    assert!(attribute(failure, "message").contains("+50 %"), "{failure}");
    assert_eq!(named("skipped").len(), 2);
    // A file whose name ends so is enough.
    regress(&sandbox, &["--output", "verdicts.xml"]).ends_with(1);
    assert!(sandbox.read("verdicts.xml").starts_with("<?xml"));
}

#[test]
fn junit_escapes_names() {
    let sandbox = awkward();
    let output = regress(&sandbox, &["--format", "junit"]).ends_with(1);
    let xml = stdout_of(&output);
    let elements = elements(&xml);
    assert!(!elements.iter().any(|(_, tag)| tag.starts_with("script")), "{xml}");
    let case = elements.iter().find(|(_, tag)| tag.starts_with("testcase")).unwrap();
    assert!(attribute(&case.1, "classname").starts_with("&lt;script&gt;&amp;&quot;|%,::a"), "{xml}");
}

#[test]
fn github_is_told_in_annotations_and_a_summary() {
    let sandbox = of_each_verdict();
    let output = regress(&sandbox, &["--format", "github"]).ends_with(1);
    let printed = stdout_of(&output);
    let commands: Vec<&str> = printed.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(commands.len(), 3, "{printed}");
    assert!(commands[2].starts_with("::warning title=missing%3A gone%2C "), "{}", commands[2]);
    assert!(commands[0].starts_with("::error title=regressed%3A slower%2C "), "{}", commands[0]);
    assert!(commands[0].contains("latency_p50_ms 10.20 -> 15.30 (cost +50 %25)"), "{}", commands[0]);
    assert!(commands[1].starts_with("::warning title=suspect%3A doubtful%2C "), "{}", commands[1]);
    assert!(printed.contains("## benchdb: 1 regressed"), "{printed}");
    assert!(printed.contains("| regressed"), "{printed}");
}

#[test]
fn the_summary_of_a_step_is_appended_to() {
    let sandbox = of_each_verdict();
    sandbox.write("summary.md", "what was there\n");
    let summary = sandbox.path("summary.md");
    for count in 1..=2 {
        let output = regress(&sandbox, &["--format", "github"]).env("GITHUB_STEP_SUMMARY", &summary).ends_with(1);
        let text = sandbox.read("summary.md");
        assert!(text.starts_with("what was there\n"), "{text}");
        assert_eq!(text.matches("## benchdb: ").count(), count, "{text}");
        assert!(!stdout_of(&output).contains("## benchdb"), "the annotations alone: {}", said(&output));
        assert!(stdout_of(&output).contains("::error "), "{}", said(&output));
    }
    // In other formats it is nobody's business.
    regress(&sandbox, &[]).env("GITHUB_STEP_SUMMARY", &summary).ends_with(1);
    assert_eq!(sandbox.read("summary.md").matches("## benchdb: ").count(), 2);
    let output =
        regress(&sandbox, &["--format", "github"]).env("GITHUB_STEP_SUMMARY", sandbox.path("no/where.md")).ends_with(2);
    assert!(stderr_of(&output).contains("cannot write"), "{}", said(&output));
    // A file of its own goes before the variable.
    regress(&sandbox, &["--format", "github", "--output", "own.md"]).env("GITHUB_STEP_SUMMARY", &summary).ends_with(1);
    assert!(sandbox.read("own.md").contains("## benchdb: "));
}

#[test]
fn github_commands_are_escaped() {
    let sandbox = awkward();
    let output = regress(&sandbox, &["--format", "github"]).ends_with(1);
    let printed = stdout_of(&output);
    let command = printed.lines().find(|line| line.starts_with("::error ")).unwrap();
    assert!(command.starts_with("::error title=regressed%3A <script>&\"|%25%2C%3A%3Aa%0Ab%2C "), "{command}");
    assert_eq!(printed.lines().filter(|line| line.starts_with("::")).count(), 1, "{printed}");
    let summary = printed.split_once("## benchdb").unwrap().1;
    assert!(summary.contains("\\|%,::a"), "a `|` would end the cell: {summary}");
    assert!(!summary.contains("<script>"), "Markdown is HTML: {summary}");
    let table: Vec<&str> = summary.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(table.len(), 3, "a line is a row: {summary}");
}

#[test]
fn nothing_judged_is_an_error_for_github_and_junit() {
    let sandbox = Sandbox::with_a_run();
    let output =
        sandbox.benchdb().args(["regress", "--format", "github"]).env_remove("GITHUB_STEP_SUMMARY").ends_with(3);
    assert!(stdout_of(&output).contains("::error title=benchdb::nothing could be judged"), "{}", said(&output));
    let output = sandbox.benchdb().args(["regress", "--format", "junit"]).ends_with(3);
    let elements = elements(&stdout_of(&output));
    let suite = &elements.iter().find(|(_, tag)| tag.starts_with("testsuite ")).unwrap().1;
    // A server that reads this file alone would show a green build.
    let failed = |name: &str| attribute(suite, name).parse::<u32>().unwrap();
    assert!(failed("failures") + failed("errors") > 0, "an empty comparison never passes: {}", said(&output));
}

#[test]
fn bencher_gets_the_candidate() {
    let sandbox = of_each_verdict();
    let output = regress(&sandbox, &["--format", "bencher"]).ends_with(1);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let benchmarks = document.as_object().unwrap();
    assert_eq!(benchmarks.len(), 5, "what is gone has no numbers: {document}");
    let (name, slower) = benchmarks.iter().find(|(name, _)| name.starts_with("slower")).unwrap();
    assert_eq!(name, "slower, inference, cuda, RTX Made, pytorch, fp32, batch 1, 3x224x224");
    close(&slower["latency_p50_ms"]["value"], 15.3);
    // The analysis has every metric, with intervals.
    let output = sandbox.benchdb().args(["analyze", "--label", "before", "--format", "bencher"]).succeeds();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (_, slower) = document.as_object().unwrap().iter().find(|(name, _)| name.starts_with("slower")).unwrap();
    close(&slower["latency_p50_ms"]["value"], 10.2);
    close(&slower["latency_p50_ms"]["lower_value"], 10.0);
    close(&slower["latency_p50_ms"]["upper_value"], 10.4);
    assert!(slower["throughput_samples_per_second"]["value"].is_number());
}

#[test]
fn bencher_output_can_be_imported_again() {
    let sandbox = of_each_verdict();
    regress(&sandbox, &["--format", "bencher", "--output", "bencher.json"]).ends_with(1);
    let there = Sandbox::new();
    let path = sandbox.path("bencher.json");
    there.benchdb().args(["import", path.to_str().unwrap()]).succeeds();
    assert_eq!(there.count("SELECT count(*) FROM run"), 5);
}

#[test]
fn verdicts_are_rows_of_csv() {
    let sandbox = of_each_verdict();
    let output = regress(&sandbox, &["--format", "csv"]).ends_with(1);
    let mut reader = csv::Reader::from_reader(&*output.stdout);
    let header = reader.headers().unwrap().clone();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 6);
    let cell = |row: usize, name: &str| {
        let at = header.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}"));
        records[row][at].to_owned()
    };
    assert_eq!(cell(0, "verdict"), "regressed");
    assert_eq!(cell(0, "model"), "slower");
    assert_eq!(cell(0, "baseline_runs"), "5");
    let percent: f64 = cell(0, "change_percent").parse().unwrap();
    assert!((percent - 50.0).abs() < 1e-9, "{percent}");
    for (file, beginning) in [("v.csv", "verdict,"), ("v.json", "{"), ("v.md", "**Verdicts")] {
        let output = regress(&sandbox, &["--output", file]).ends_with(1);
        assert!(sandbox.read(file).starts_with(beginning), "{file}: {}", sandbox.read(file));
        assert!(output.stdout.is_empty(), "{}", said(&output));
        assert!(stderr_of(&output).contains("1 regressed"), "how it went is said: {}", said(&output));
    }
}

#[test]
fn awkward_names_do_not_break_tables() {
    let sandbox = awkward();
    let output = regress(&sandbox, &["--format", "json"]).ends_with(1);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(only_verdict(&document)["identity"]["model"], AWKWARD);
    let output = regress(&sandbox, &["--format", "csv"]).ends_with(1);
    let mut reader = csv::Reader::from_reader(&*output.stdout);
    assert_eq!(&reader.records().next().unwrap().unwrap()[1], AWKWARD);
    // What a file says must not steer the terminal.
    let escape = Sandbox::new();
    let side =
        |factor: f64| all_taking(&times(&FIVE, factor)).into_iter().map(|run| run.model("a\u{1b}[31mb")).collect();
    escape.take(&of_campaign(side(1.0), 1, "before"));
    escape.take(&of_campaign(side(1.5), 2, "after"));
    for format in ["table", "markdown", "junit", "github"] {
        let output = regress(&escape, &["--format", format]).ends_with(1);
        assert!(!stdout_of(&output).contains('\u{1b}'), "{format}: {}", said(&output));
    }
}
