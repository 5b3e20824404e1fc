//! `benchdb run --memory-constrained`: the largest batch that fits, found by measuring; and what `run` says at its end.

use serde_json::Value;

use crate::support::{
    Expect as _, SCRIPTED_RUN, Sandbox, json_of, program, rows, said, stderr_of, stdout_of, wait_for,
};

/// Few iterations: the memory is what counts.
const SHORT: [&str; 4] = ["--iterations", "10", "--min-time", "0"];

/// What was found: the table that has the largest batch, and its name.
#[track_caller]
fn found(document: &Value) -> (String, Vec<Value>) {
    let tables = document.as_object().unwrap().iter();
    let is_answer = |value: &Value| value.get(0).is_some_and(|row| row.get("largest_batch").is_some());
    let (name, table) = tables.clone().find(|(_, value)| is_answer(value)).unwrap_or_else(|| panic!("{document}"));
    (name.clone(), table.as_array().unwrap().clone())
}

fn search(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Command {
    let mut command = sandbox.scripted();
    command.args(SHORT).args(["--format", "json"]).args(arguments);
    command
}

/// The batch sizes in the order in which they were measured.
fn tried(sandbox: &Sandbox) -> Vec<i64> {
    let sizes = sandbox.sql("SELECT batch_size FROM results ORDER BY run_id");
    sizes.iter().map(|row| row["batch_size"].as_i64().unwrap()).collect()
}

/// 100 MB a sample, and about 16 MB for the process.
fn hungry() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"memory_mb_per_sample": 100}"#);
    sandbox
}

#[test]
fn the_largest_batch_that_fits_is_found() {
    for (limit, largest, expected) in
        [("670", 6, &[1, 2, 4, 8, 6, 7][..]), ("460", 4, &[1, 2, 4, 8, 6, 5]), ("170", 1, &[1, 2])]
    {
        let sandbox = hungry();
        let document = search(&sandbox, &["--memory-constrained", limit]).json();
        let (_, rows) = found(&document);
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!(row["largest_batch"], largest, "{limit}: {document}");
        assert_eq!(row["fastest_batch"], largest, "the same time for more samples");
        assert_eq!(row["precision"], "fp32");
        assert_eq!(row["runs"], expected.len());
        let memory = row["memory_mb"].as_f64().unwrap();
        let samples = 100.0 * f64::from(largest);
        assert!((samples..samples + 60.0).contains(&memory), "{memory} MB for {largest}");
        assert_eq!(tried(&sandbox), expected, "doubling, then bisection");
        assert_eq!(sandbox.count("SELECT count(*) FROM campaign"), 1);
        sandbox.benchdb().arg("check").succeeds();
    }
}

#[test]
fn the_name_of_the_answer_does_not_depend_on_the_limit() {
    let name = |limit: &str| found(&search(&hungry(), &["--memory-constrained", limit]).json()).0;
    assert_eq!(name("170"), name("171.5"), "a program must know where to look");
    let document = search(&hungry(), &["--memory-constrained", "170"]).json();
    assert!(document.get("").is_none(), "the runs have a name, too: {document}");
}

#[test]
fn what_was_found_is_written_for_machines_too() {
    let sandbox = hungry();
    search(&sandbox, &["--memory-constrained", "170", "--output-ci", "ci.json"]).succeeds();
    let document: Value = serde_json::from_str(&sandbox.read("ci.json")).unwrap();
    assert_eq!(found(&document).1[0]["largest_batch"], 1);
}

#[test]
fn the_search_ends_where_it_was_told_to() {
    let sandbox = hungry();
    let document = search(&sandbox, &["--memory-constrained", "5000", "--max-batch-size", "3"]).json();
    let row = &found(&document).1[0];
    assert_eq!((&row["largest_batch"], &row["ended_by"]), (&3.into(), &"`--max-batch-size`".into()));
    assert_eq!(tried(&sandbox), [1, 2, 3]);
}

#[test]
fn the_search_starts_where_it_was_told_to() {
    let sandbox = hungry();
    let document = search(&sandbox, &["--memory-constrained", "670", "--batch-sizes", "4"]).json();
    assert_eq!(found(&document).1[0]["largest_batch"], 6);
    assert_eq!(tried(&sandbox), [4, 8, 6, 7]);
    // From above it comes down.
    let sandbox = hungry();
    let document = search(&sandbox, &["--memory-constrained", "270", "--batch-sizes", "8"]).json();
    assert_eq!(found(&document).1[0]["largest_batch"], 2, "{document}");
    assert_eq!(tried(&sandbox), [8, 4, 2, 3]);
}

#[test]
fn that_nothing_fits_is_said() {
    let sandbox = hungry();
    let output = search(&sandbox, &["--memory-constrained", "50"]).ends_with(1);
    let row = &found(&json_of(&output)).1[0];
    assert_eq!(row["largest_batch"], Value::Null);
    assert_ne!(row["ended_by"], "bisection", "there was none");
    let words = stderr_of(&output);
    assert!(words.contains("error: ") && words.contains("50 MB"), "a failure has a reason: {words}");
    assert_eq!(tried(&sandbox), [1]);
}

#[test]
fn no_more_memory_is_an_answer() {
    let sandbox = Sandbox::new();
    // The process may have two gigabytes of addresses; a sample takes 300 MB of them.
    sandbox.script(r#"{"memory_mb_per_sample": 300}"#);
    let output = sandbox
        .wrapped("sh")
        .args(["-c", "ulimit -v 2000000; exec \"$0\" \"$@\""])
        .arg(program())
        .args(SCRIPTED_RUN)
        .args(SHORT)
        .args(["--format", "json", "--memory-constrained", "100000", "--max-batch-size", "64"])
        .outcome();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let row = &found(&json_of(&output)).1[0];
    let largest = row["largest_batch"].as_i64().unwrap();
    assert!((1..=6).contains(&largest), "{row}");
    let statuses = sandbox.sql("SELECT batch_size, status FROM results");
    for run in statuses {
        let expected = if run["batch_size"].as_i64().unwrap() <= largest { "ok" } else { "out_of_memory" };
        assert_eq!(run["status"], expected, "{run}: {}", said(&output));
    }
}

#[test]
fn a_run_that_breaks_ends_the_search_with_what_was_found() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"memory_mb_per_sample": 10, "fault": "error", "fault_batch_size": 4}"#);
    let output = search(&sandbox, &["--memory-constrained", "1000"]).outcome();
    let row = &found(&json_of(&output)).1[0];
    assert_eq!(row["largest_batch"], 2, "{row}");
    assert!(row["ended_by"].as_str().unwrap().contains("a run broke"), "{row}");
    assert_eq!(output.status.code(), Some(1), "a run failed, and not for memory: {}", said(&output));
}

#[test]
fn what_an_engine_cannot_do_is_not_searched() {
    let sandbox = hungry();
    let document = search(&sandbox, &["--memory-constrained", "170", "--precision", "fp32,int8"]).json();
    assert_eq!(found(&document).1.len(), 1);
    assert_eq!(sandbox.count("SELECT count(*) FROM run WHERE status = 'unsupported'"), 1);
}

#[test]
fn limits_are_numbers_that_make_sense() {
    let sandbox = hungry();
    for wrong in [
        &["--memory-constrained=0"][..],
        &["--memory-constrained=-5"],
        &["--memory-constrained=nan"],
        &["--memory-constrained=much"],
        &["--memory-constrained=100", "--max-batch-size=0"],
        &["--max-batch-size=8"],
        &["--memory-constrained=100", "--repeat=2"],
        &["--memory-constrained=100", "--limit=2"],
    ] {
        let output = sandbox.scripted().args(wrong).outcome();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", said(&output));
    }
    assert!(sandbox.listing().is_empty());
}

#[test]
fn what_was_found_can_be_recommended() {
    let sandbox = hungry();
    search(&sandbox, &["--memory-constrained", "670"]).succeeds();
    let document = sandbox
        .benchdb()
        .args(["recommend", "--memory-constrained", "670", "--include-software", "--format", "json"])
        .json();
    assert_eq!(document["recommendations"][0]["batch_size"], 6);
}

#[test]
fn a_campaign_is_compared_at_its_end() {
    let sandbox = Sandbox::new();
    let output = sandbox.scripted().args(SHORT).args(["--batch-sizes", "1,4", "--compare"]).succeeds();
    let printed = stdout_of(&output);
    for words in ["Comparison", "Batch size scaling", "reference"] {
        assert!(printed.contains(words), "{words}: {}", said(&output));
    }
    // It is about this campaign, and not about all that was ever measured.
    sandbox.script(r#"{"iterations_ms": [20]}"#);
    let output = sandbox.scripted().args(SHORT).args(["--compare", "--format", "json"]).succeeds();
    let document = json_of(&output);
    let comparison = document["comparison"].as_array().unwrap();
    assert_eq!(comparison.len(), 1, "{document}");
    assert_eq!(comparison[0]["runs"], 1);
    assert_eq!(comparison[0]["latency_p50_ms"], 20.0);
}

#[test]
fn training_and_inference_of_a_campaign_are_compared() {
    let sandbox = Sandbox::new();
    sandbox.scripted().args(SHORT).succeeds();
    sandbox.scripted().args(SHORT).arg("--training-mode").succeeds();
    let document = sandbox.benchdb().args(["analyze", "--compare-training-inference", "--format", "json"]).json();
    let rows = document["training_and_inference"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{document}");
    assert_eq!(rows[0]["training"], "adam");
    assert_eq!(rows[0]["time_ratio"], 1.0);
}

#[test]
fn the_results_of_a_campaign_are_written_for_machines() {
    let sandbox = Sandbox::new();
    let output = sandbox.scripted().args(SHORT).args(["--batch-sizes", "1,4", "--output-ci", "ci.json"]).succeeds();
    assert!(stdout_of(&output).contains("peak MB"), "the table is there all the same: {}", said(&output));
    let document: Value = serde_json::from_str(&sandbox.read("ci.json")).unwrap();
    assert_eq!(document["schema"], "benchdb/1");
    assert_eq!(rows(&document).len(), 2);
    assert_eq!(rows(&document)[1]["batch_size"], 4);
    sandbox.script(r#"{"fault": "error", "fault_at": 0}"#);
    sandbox.scripted().args(SHORT).args(["--output-ci", "ci.json"]).ends_with(1);
    let document: Value = serde_json::from_str(&sandbox.read("ci.json")).unwrap();
    assert_eq!(rows(&document)[0]["status"], "failed", "failures are results, too");
    let output = sandbox.scripted().args(SHORT).args(["--output-ci", "no/such/folder.json"]).ends_with(2);
    assert!(stderr_of(&output).contains("no/such/folder.json"), "{}", said(&output));
}

#[test]
fn a_search_that_was_interrupted_promises_what_it_keeps() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"memory_mb_per_sample": 50, "sleep_ms": 25}"#);
    let child = search(&sandbox, &["--memory-constrained", "300"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the first run", || {
        let count = "SELECT count(*) FROM run";
        sandbox
            .db()
            .exists()
            .then(|| sandbox.connection().query_row(count, [], |row| row.get(0)).unwrap_or(0_i64))
            .filter(|count| *count > 0)
    });
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    let measured = sandbox.count("SELECT count(*) FROM run WHERE status = 'ok'");
    assert!((1..5).contains(&measured), "{measured}");
    if stderr_of(&output).contains("--resume") {
        sandbox.script(r#"{"memory_mb_per_sample": 50}"#);
        let output = sandbox.benchdb().args(["run", "--resume", "last", "--format", "json"]).succeeds();
        assert_eq!(found(&json_of(&output)).1[0]["largest_batch"], 5, "it was said to go on: {}", said(&output));
    }
}
