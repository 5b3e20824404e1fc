//! `benchdb regress --history`: steps and drifts in the sequence of runs of each configuration.

use serde_json::Value;

use crate::made::{Made, all_taking, only_verdict};
use crate::support::{Expect as _, Sandbox, json_of, said, stdout_of};

/// Twenty runs, one a commit.
fn twenty(time: impl Fn(usize) -> f64) -> Sandbox {
    let sandbox = Sandbox::new();
    // What noise there is has no order: each level has every wobble.
    let wobble = [0.0, 0.6, -0.4, 0.2, -0.8, 0.9, -0.1, 0.5, -0.6, -0.3];
    let run = |index: usize| {
        Made::taking(time(index) * (1.0 + wobble[index * 7 % 10] / 100.0))
            .commit(&format!("{index:02}{}", "a".repeat(38)))
    };
    sandbox.take(&(0..20).map(run).collect::<Vec<_>>());
    sandbox
}

#[test]
fn a_step_in_the_history_is_found_with_its_commits() {
    let sandbox = twenty(|index| if index < 12 { 10.0 } else { 12.0 });
    let output = sandbox.benchdb().args(["regress", "--history", "--format", "json"]).ends_with(1);
    let document = json_of(&output);
    let changes = document["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{document}");
    let change = &changes[0];
    assert_eq!(change["kind"], "step");
    assert_eq!(change["run"], 13, "the thirteenth run is the first of the new level");
    assert_eq!(change["metric"], "latency_p50_ms");
    assert_eq!(change["commit_before"], format!("11{}", "a".repeat(38)));
    assert_eq!(change["commit_after"], format!("12{}", "a".repeat(38)));
    assert!((change["effect"].as_f64().unwrap() - 1.2_f64.ln()).abs() < 0.01, "{change}");
    assert!(change["differences"].to_string().contains("git_commit 11aaaaaaaa -> 12aaaaaaaa"), "{change}");
    let verdict = only_verdict(&document);
    assert_eq!(verdict["verdict"], "regressed");
    assert_eq!(verdict["evidence"], "change_points");
    assert_eq!(verdict["first_candidate_run"], 13);
    let output = sandbox.benchdb().args(["regress", "--history"]).ends_with(1);
    for words in ["step at run 13", "between commits 11aaaaaaaa and 12aaaaaaaa", "Changes"] {
        assert!(stdout_of(&output).contains(words), "{words}: {}", said(&output));
    }
    // An alert that is higher makes it no regression; it is listed all the same.
    let document =
        sandbox.benchdb().args(["regress", "--history", "--regression-alert", "0.5", "--format", "json"]).json();
    assert_eq!(document["changes"].as_array().unwrap().len(), 1);
    assert_eq!(only_verdict(&document)["verdict"], "unchanged");
}

#[test]
fn a_flat_history_has_no_change() {
    let sandbox = twenty(|_| 10.0);
    let document = sandbox.benchdb().args(["regress", "--history", "--format", "json"]).json();
    assert_eq!(document["changes"], serde_json::json!([]));
    assert_eq!(only_verdict(&document)["verdict"], "unchanged");
    let output = sandbox.benchdb().args(["regress", "--history"]).succeeds();
    assert!(stdout_of(&output).contains("0 steps and drifts in 1 series"), "{}", said(&output));
}

#[test]
fn a_step_down_is_an_improvement() {
    let sandbox = twenty(|index| if index < 10 { 12.0 } else { 10.0 });
    let document = sandbox.benchdb().args(["regress", "--history", "--format", "json"]).json();
    assert_eq!(only_verdict(&document)["verdict"], "improved");
}

#[test]
fn a_drift_is_told_from_a_step() {
    let sandbox = twenty(|index| 10.0 * 1.02_f64.powi(index as i32));
    let output = sandbox.benchdb().args(["regress", "--history", "--format", "json"]).ends_with(1);
    let document = json_of(&output);
    let kinds: Vec<&Value> = document["changes"].as_array().unwrap().iter().map(|change| &change["kind"]).collect();
    assert_eq!(kinds, ["drift"], "{document}");
}

#[test]
fn a_history_that_is_too_short_says_so_and_does_not_pass() {
    let sandbox = Sandbox::new();
    sandbox.take(&all_taking(&[10.0]));
    let output = sandbox.benchdb().args(["regress", "--history", "--format", "json"]).outcome();
    let document = json_of(&output);
    let verdict = only_verdict(&document);
    assert_eq!(verdict["verdict"], "inconclusive");
    assert_eq!(verdict["more_runs"], 9);
    let output = sandbox.benchdb().args(["regress", "--history"]).outcome();
    assert!(!stdout_of(&output).contains("a side"), "a history has no sides: {}", said(&output));
    assert_eq!(output.status.code(), Some(3), "no two numbers were compared: {}", said(&output));
}
