//! `benchdb baseline` and `benchdb accept`: runs to compare with, by name, and changes that a person takes.

use serde_json::Value;

use crate::made::{FIVE, Made, all_taking, close, of_campaign, only_verdict, times};
use crate::support::{Expect as _, Sandbox, json_of, rows, said, stderr_of, stdout_of};

fn baselines(sandbox: &Sandbox) -> Vec<Value> {
    rows(&sandbox.benchdb().args(["baseline", "list", "--format", "json"]).json())
}

#[test]
fn a_baseline_is_a_name_for_runs() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    let output =
        sandbox.benchdb().args(["baseline", "save", "main", "--label", "before", "--note", "the first"]).succeeds();
    assert!(stderr_of(&output).contains("saved the baseline `main`: 5 runs of 1 series"), "{}", said(&output));
    let listed = baselines(&sandbox);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["name"], "main");
    assert_eq!(listed[0]["runs"], 5);
    assert_eq!(listed[0]["configurations"], 1);
    assert_eq!(listed[0]["note"], "the first");
    assert!(listed[0]["created_at"].as_str().unwrap().ends_with('Z'));
    let shown = rows(&sandbox.benchdb().args(["baseline", "show", "main", "--format", "json"]).json());
    let ids: Vec<i64> = shown.iter().map(|row| row["run_id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    for arguments in [&["--baseline", "main"][..], &["--baseline", "main", "--label", "after"]] {
        let output = sandbox.benchdb().args(["regress", "--format", "json"]).args(arguments).ends_with(1);
        let document = json_of(&output);
        assert_eq!(document["against"], "baseline main");
        let verdict = only_verdict(&document);
        close(&verdict["effect"], 1.2_f64.ln());
        assert_eq!((&verdict["baseline"]["runs"], &verdict["candidate"]["runs"]), (&5.into(), &5.into()));
    }
    sandbox.benchdb().args(["regress", "--baseline", "main", "--regression-alert", "0.3"]).succeeds();
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn a_name_that_is_taken_is_replaced_on_demand_alone() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    sandbox.benchdb().args(["baseline", "save", "main", "--label", "before"]).succeeds();
    let save = ["baseline", "save", "main", "--label", "after"];
    sandbox.benchdb().args(save).refuses(&["there is a baseline `main` already"], &["--replace"]);
    assert_eq!(sandbox.count("SELECT min(run_id) FROM baseline_run"), 1, "it is as it was");
    sandbox.benchdb().args(save).arg("--replace").succeeds();
    assert_eq!(sandbox.count("SELECT min(run_id) FROM baseline_run"), 6);
    assert_eq!(baselines(&sandbox).len(), 1);
    // Nothing in place of something: it is as it was.
    sandbox.benchdb().args(["baseline", "save", "main", "--label", "none", "--replace"]).ends_with(2);
    assert_eq!(sandbox.count("SELECT count(*) FROM baseline_run"), 5);
}

#[test]
fn nothing_makes_no_baseline() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &FIVE);
    let save = |name: &str| {
        let mut command = sandbox.benchdb();
        command.args(["baseline", "save", name]);
        command
    };
    save("main").args(["--label", "nowhere"]).refuses(&["no valid run is selected"], &["valid"]);
    save("").refuses(&["a baseline needs a name"], &["baseline save"]);
    save("  ").refuses(&["a baseline needs a name"], &["baseline save"]);
    save("main").args(["--campaign", "nowhere"]).refuses(&["no campaign `nowhere`"], &[]);
    assert!(baselines(&sandbox).is_empty());
}

#[test]
fn runs_whose_numbers_do_not_count_are_left_out() {
    let sandbox = Sandbox::new();
    sandbox.take(&[Made::taking(10.0), Made::taking(99.0).with("/validity", "throttled"), Made::taking(10.0).failed()]);
    let output = sandbox.benchdb().args(["baseline", "save", "main"]).succeeds();
    let words = stderr_of(&output);
    assert!(words.contains("2 that are not valid were left out"), "{words}");
    assert!(words.contains("1 run of 1 series"), "one run is no `1 runs`: {words}");
    assert_eq!(sandbox.count("SELECT count(*) FROM baseline_run"), 1);
}

#[test]
fn what_is_not_there_is_neither_shown_nor_forgotten() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &FIVE);
    for action in ["show", "delete"] {
        sandbox
            .benchdb()
            .args(["baseline", action, "main"])
            .refuses(&["there is no baseline `main`"], &["baseline list"]);
    }
    sandbox
        .benchdb()
        .args(["regress", "--baseline", "main"])
        .refuses(&["there is no baseline `main`"], &["baseline list", "baseline save"]);
}

#[test]
fn a_baseline_that_is_forgotten_leaves_its_runs_and_verdicts() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    sandbox.benchdb().args(["baseline", "save", "main", "--label", "before"]).succeeds();
    sandbox.benchdb().args(["baseline", "save", "other"]).succeeds();
    sandbox.benchdb().args(["regress", "--baseline", "main"]).ends_with(1);
    sandbox.benchdb().args(["baseline", "delete", "main"]).succeeds();
    let names: Vec<Value> = baselines(&sandbox).iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["other"]);
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 10);
    assert_eq!(sandbox.count("SELECT count(*) FROM verdict"), 1);
    sandbox.benchdb().args(["regress", "--baseline", "main"]).ends_with(2);
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn names_may_be_anything_that_is_text() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    for name in ["release 1.0", "ünïcode", "a'b\"c;--", "--main"] {
        sandbox.benchdb().args(["baseline", "save", "--label", "before", "--", name]).succeeds();
        sandbox.benchdb().args(["regress", &format!("--baseline={name}")]).ends_with(1);
        sandbox.benchdb().args(["baseline", "delete", "--", name]).succeeds();
    }
    assert!(baselines(&sandbox).is_empty());
}

#[test]
fn a_baseline_survives_the_end_of_its_runs() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    sandbox.benchdb().args(["baseline", "save", "main", "--label", "before"]).succeeds();
    sandbox.benchdb().args(["delete", "--label", "before", "--yes"]).succeeds();
    sandbox.benchdb().args(["baseline", "list"]).succeeds();
    let output = sandbox.benchdb().args(["regress", "--baseline", "main"]).ends_with(3);
    assert!(stderr_of(&output).contains("nothing could be judged"), "{}", said(&output));
    sandbox.benchdb().arg("check").succeeds();
}

/// Three campaigns: the second is slower, the third as slow as that.
fn three_levels() -> Sandbox {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.3));
    sandbox.benchdb().arg("regress").ends_with(1);
    sandbox
}

#[test]
fn what_waits_is_listed() {
    let sandbox = three_levels();
    let open = rows(&sandbox.benchdb().args(["accept", "--format", "json"]).json());
    assert_eq!(open.len(), 1);
    assert_eq!(open[0]["model"], "resnet18");
    assert_eq!(open[0]["metric"], "latency_p50_ms");
    assert_eq!(open[0]["verdict"], "regressed");
    assert_eq!(open[0]["cost"], "+30 %");
    assert_eq!(open[0]["run"], 6);
    let output = sandbox.benchdb().arg("accept").succeeds();
    let words = stderr_of(&output);
    assert!(words.contains("1 change waits to be accepted"), "one change waits, it does not `wait`: {words}");
}

#[test]
fn an_accepted_change_restarts_the_history() {
    let sandbox = three_levels();
    // Asked again, it is still there.
    sandbox.benchdb().arg("regress").ends_with(1);
    let output = sandbox.benchdb().args(["accept", "--all", "--note", "new driver"]).succeeds();
    assert!(stderr_of(&output).contains("the history of each series starts anew"), "{}", said(&output));
    assert!(stdout_of(&output).contains("+30 %"), "{}", said(&output));
    let output = sandbox.benchdb().args(["accept", "--format", "json"]).succeeds();
    assert!(rows(&json_of(&output)).is_empty(), "nothing waits any more: {}", said(&output));
    let note = sandbox.sql("SELECT * FROM verdict WHERE accepted_at IS NOT NULL");
    assert!(!note.is_empty() && note[0].to_string().contains("new driver"), "{note:?}");
    sandbox.take(&of_campaign(all_taking(&times(&FIVE, 1.3)), 3, "third"));
    let document = sandbox.benchdb().args(["regress", "--format", "json"]).json();
    let verdict = only_verdict(&document);
    assert_eq!(verdict["verdict"], "unchanged");
    assert_eq!(verdict["baseline"]["runs"], 5, "the runs before the change do not count");
    close(&verdict["baseline"]["median"], 10.2 * 1.3);
    assert!(document["notes"].to_string().contains("a change that was accepted"), "{document}");
    // What gets worse again is found again.
    sandbox.take(&of_campaign(all_taking(&times(&FIVE, 1.6)), 4, "fourth"));
    let output = sandbox.benchdb().args(["regress", "--format", "json"]).ends_with(1);
    assert_eq!(only_verdict(&json_of(&output))["baseline"]["runs"], 10);
}

#[test]
fn without_an_acceptance_old_runs_count() {
    let sandbox = three_levels();
    sandbox.take(&of_campaign(all_taking(&times(&FIVE, 1.3)), 3, "third"));
    let output = sandbox.benchdb().args(["regress", "--format", "json"]).outcome();
    assert_eq!(only_verdict(&json_of(&output))["baseline"]["runs"], 10);
}

#[test]
fn a_step_of_the_history_is_accepted_by_its_run() {
    let sandbox = Sandbox::new();
    let steps = [&FIVE[..], &FIVE, &times(&FIVE, 1.3), &times(&FIVE, 1.3)].concat();
    sandbox.take(&all_taking(&steps));
    let output = sandbox.benchdb().args(["regress", "--history", "--format", "json"]).ends_with(1);
    assert_eq!(json_of(&output)["changes"][0]["run"], 11);
    sandbox.benchdb().args(["accept", "11", "--note", "known"]).succeeds();
    let document = sandbox.benchdb().args(["regress", "--history", "--format", "json"]).json();
    let verdict = only_verdict(&document);
    assert_eq!(verdict["verdict"], "unchanged");
    assert_eq!(verdict["candidate"]["runs"], 10);
    assert!(verdict["notes"].to_string().contains("a change was accepted"), "{verdict}");
    assert_eq!(document["changes"], serde_json::json!([]));
}

#[test]
fn accepting_needs_something_to_accept() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &FIVE);
    sandbox.benchdb().args(["accept", "99"]).refuses(&["there is no run 99"], &["benchdb query"]);
    sandbox.benchdb().args(["accept", "1"]).refuses(&["run 1 is the first of its series"], &["first run of the new"]);
    let output = sandbox.benchdb().args(["accept", "--all"]).succeeds();
    assert!(stderr_of(&output).contains("nothing was accepted"), "{}", said(&output));
    let output = sandbox.benchdb().args(["accept", "1", "--all"]).outcome();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_a_history_found_is_accepted_by_all() {
    let sandbox = Sandbox::new();
    sandbox.take(&all_taking(&[&FIVE[..], &FIVE, &times(&FIVE, 1.3), &times(&FIVE, 1.3)].concat()));
    sandbox.benchdb().args(["regress", "--history"]).ends_with(1);
    let output = sandbox.benchdb().args(["accept", "--all"]).succeeds();
    let words = stderr_of(&output);
    assert!(!words.contains("found no change"), "the last `regress` found one: {words}");
    sandbox.benchdb().args(["regress", "--history"]).succeeds();
}

#[test]
fn a_run_that_is_accepted_counts_for_every_metric() {
    let sandbox = Sandbox::new();
    sandbox.take(&all_taking(&[&FIVE[..], &FIVE, &times(&FIVE, 1.3), &times(&FIVE, 1.3)].concat()));
    let history = ["regress", "--history", "--metrics", "throughput"];
    sandbox.benchdb().args(history).ends_with(1);
    sandbox.benchdb().args(["accept", "11"]).succeeds();
    // The series starts anew with that run, whatever is asked about it.
    sandbox.benchdb().args(history).succeeds();
}

#[test]
fn the_same_build_passes_after_its_change_was_accepted() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.3));
    sandbox.benchdb().arg("regress").ends_with(1);
    sandbox.benchdb().args(["accept", "--all"]).succeeds();
    let output = sandbox.benchdb().arg("regress").succeeds();
    assert!(stdout_of(&output).contains("the change was accepted"), "{}", said(&output));
    // What was accepted does not wait again, whatever it is held against.
    sandbox.benchdb().args(["regress", "--label", "after", "--against", "label:before"]).ends_with(1);
    assert!(rows(&sandbox.benchdb().args(["accept", "--format", "json"]).json()).is_empty());
}

#[test]
fn a_baseline_says_what_it_loses() {
    let sandbox = Sandbox::new();
    sandbox.take(&all_taking(&FIVE));
    sandbox.benchdb().args(["baseline", "save", "main"]).succeeds();
    let output = sandbox.benchdb().args(["delete", "--run", "1", "--yes"]).succeeds();
    assert!(stderr_of(&output).contains("the baseline `main` loses 1 run"), "{}", said(&output));
    let output = sandbox.benchdb().args(["import", "--undo", "1"]).succeeds();
    assert!(stderr_of(&output).contains("the baseline `main` lost 4 runs"), "{}", said(&output));
}

#[test]
fn accepting_is_all_or_nothing() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.3));
    sandbox.benchdb().args(["accept", "6", "99"]).refuses(&["there is no run 99"], &[]);
    assert_eq!(sandbox.count("SELECT count(*) FROM verdict"), 0, "nothing was left behind");
    sandbox.benchdb().args(["accept", "6", "6"]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM verdict WHERE accepted_at IS NOT NULL"), 1);
}

#[test]
fn changes_of_proportions_are_said_as_such() {
    let sandbox = Sandbox::new();
    let side = |share: f64| all_taking(&FIVE).into_iter().map(move |run| run.metric("accuracy_top1", share)).collect();
    sandbox.take(&of_campaign(side(0.76), 1, "before"));
    sandbox.take(&of_campaign(side(0.74), 2, "after"));
    sandbox.benchdb().args(["regress", "--metrics", "accuracy"]).ends_with(1);
    let open = rows(&sandbox.benchdb().args(["accept", "--format", "json"]).json());
    assert_eq!(open[0]["cost"], "+0.0200", "it is no ratio of anything");
}

#[test]
fn waiting_changes_are_exact_for_programs() {
    let sandbox = three_levels();
    let open = rows(&sandbox.benchdb().args(["accept", "--format", "json"]).json());
    close(&open[0]["effect"], 1.3_f64.ln());
}
