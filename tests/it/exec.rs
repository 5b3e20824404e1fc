//! `benchdb exec`: whole processes of any command, what the kernel tells of them, and what they print.

use std::process::Command;

use serde_json::Value;

use crate::support::{
    Expect as _, Sandbox, has_program, json_of, lives, number, rows, said, skip, stderr_of, wait_for,
};

/// A short measurement without sensors.
fn exec(sandbox: &Sandbox) -> Command {
    exec_times(sandbox, 3)
}

fn exec_times(sandbox: &Sandbox, runs: u32) -> Command {
    let mut command = sandbox.benchdb();
    command.args(["exec", "--telemetry-interval", "0", "--runs", &runs.to_string()]);
    command
}

fn only(sandbox: &Sandbox) -> Value {
    let rows = sandbox.sql("SELECT * FROM results");
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

fn error(sandbox: &Sandbox) -> String {
    sandbox.value("SELECT error FROM run").as_str().unwrap().to_owned()
}

#[test]
fn a_command_is_a_run_like_any_other() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .benchdb()
        .args(["exec", "--format", "json", "--telemetry-interval", "0", "--", "sleep", "0.05"])
        .succeeds();
    let row = only(&sandbox);
    for (column, value) in [
        ("model", "sleep 0.05"),
        ("engine", "command"),
        ("platform", "cpu"),
        ("mode", "inference"),
        ("validity", "valid"),
        ("parameters", "{}"),
    ] {
        assert_eq!(row[column], value, "{row}");
    }
    let median = number(&row, "latency_p50_ms");
    assert!((50.0..5_000.0).contains(&median), "{row}");
    assert!(number(&row, "first_inference_ms") >= 50.0, "{row}");
    assert_eq!(row["iterations"], 10);
    assert_eq!(row["success_rate"], 1.0);
    assert_eq!(row["engine_version"], Value::Null, "benchdb does not know it");
    for name in ["user_time", "system_time"] {
        // It sleeps, it does not work.
        let seconds = sandbox.extra_metric(&row["run_id"], name).unwrap();
        assert!((0.0..0.05).contains(&seconds), "{name}: {seconds}");
    }
    let printed = rows(&json_of(&output)).remove(0);
    assert_eq!(printed["latency_p50_ms"], row["latency_p50_ms"]);
    assert!(printed["user_time"].is_number(), "{printed}");
    assert_eq!(sandbox.value("SELECT source FROM model"), "external");
    assert_eq!(
        sandbox.value("SELECT group_concat(phase) FROM (SELECT phase FROM sample_series ORDER BY phase)"),
        "iteration,system_time,user_time"
    );
}

#[test]
fn work_is_user_time() {
    let sandbox = Sandbox::new();
    let work = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
    exec(&sandbox).args(["--name", "count", "--", "sh", "-c", work]).succeeds();
    let row = only(&sandbox);
    assert_eq!(row["model"], "count");
    let user = sandbox.extra_metric(&row["run_id"], "user_time").unwrap();
    assert!(user > 0.0 && user * 1e3 <= 2.0 * number(&row, "latency_max_ms"), "{user} {row}");
}

#[test]
fn warm_ups_and_repetitions_are_apart() {
    let sandbox = Sandbox::new();
    let script = "echo x >> count";
    exec(&sandbox).args(["--warmup", "2", "--repeat", "2", "--name", "c", "--", "sh", "-c", script]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM run WHERE iterations = 3 AND warmup_iterations = 2"), 2);
    // One that is apart, two to warm up, three samples; twice.
    assert_eq!(sandbox.read("count").lines().count(), 12);
}

#[cfg(target_os = "linux")]
#[test]
fn peak_memory_is_that_of_the_largest_process() {
    if !has_program("python3") {
        return skip("there is no python3 that takes memory");
    }
    let sandbox = Sandbox::new();
    let hungry = "x = bytearray(b'x') * 120_000_000";
    // The shell itself is small; what it starts is not.
    exec(&sandbox).args(["--", "sh", "-c", &format!("python3 -c \"{hungry}\"; true")]).succeeds();
    let peak = number(&only(&sandbox), "memory_host_peak_mb");
    assert!((120.0..300.0).contains(&peak), "{peak}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_peak_below_what_the_kernel_begins_with_is_not_known() {
    let sandbox = Sandbox::new();
    let output = exec(&sandbox).args(["--", "true"]).succeeds();
    assert_eq!(only(&sandbox)["memory_host_peak_mb"], Value::Null);
    assert!(stderr_of(&output).contains("its peak memory is not known"), "{}", said(&output));
}

#[test]
fn a_command_that_fails_is_a_failed_run() {
    let sandbox = Sandbox::new();
    let output = exec(&sandbox).args(["--", "sh", "-c", "echo oh no >&2; exit 3"]).ends_with(1);
    assert_eq!(only(&sandbox)["status"], "failed");
    let told = error(&sandbox);
    assert!(told.contains("ended with exit code 3 in execution 1; it said: oh no"), "{told}");
    assert!(stderr_of(&output).contains("--ignore-failure"), "{}", said(&output));
}

#[test]
fn failures_may_be_ignored_and_are_counted() {
    let sandbox = Sandbox::new();
    // Every other execution fails.
    let script = "if [ -e flag ]; then rm flag; exit 4; else touch flag; fi";
    exec_times(&sandbox, 4).args(["--ignore-failure", "--", "sh", "-c", script]).succeeds();
    let row = only(&sandbox);
    assert_eq!(row["status"], "ok");
    assert_eq!(row["success_rate"], 0.5);
    assert_eq!(sandbox.value("SELECT sum(value) FROM telemetry WHERE sensor = 'exit_code'"), 8.0);
}

#[test]
fn failures_that_are_ignored_need_no_numbers() {
    let sandbox = Sandbox::new();
    let script = "test -e twice && exit 3; test -e once && touch twice; touch once; echo n=5";
    let mut command = exec_times(&sandbox, 3);
    command.args(["--ignore-failure", "--parse", "n=([0-9])=n", "--", "sh", "-c", script]).succeeds();
    assert_eq!(sandbox.extra_metric(&only(&sandbox)["run_id"], "n"), Some(5.0));
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    exec(&sandbox).args(["--timeout", "0", "--", "true"]).refuses(&["within 0 s"], &["--timeout"]);
    exec(&sandbox).args(["--name", "resnet50", "--", "true"]).refuses(&["a network of benchdb"], &["--name"]);
    exec(&sandbox).args(["--name", "two\nlines", "--", "true"]).refuses(&["control characters"], &["--name"]);
}

#[test]
fn a_program_that_is_not_there_is_a_failed_run() {
    let sandbox = Sandbox::new();
    let output = exec(&sandbox).args(["--", "no-such-program"]).ends_with(1);
    assert!(error(&sandbox).contains("cannot start `no-such-program`"), "{}", said(&output));
}

#[test]
fn numbers_are_read_from_the_output() {
    let sandbox = Sandbox::new();
    let script = "echo 'loss=9 loss=2.5'; echo 'rate: 120 items' >&2";
    exec(&sandbox)
        .args(["--parse", "loss=([0-9.]+)=loss[nats]", "--parse", "rate: ([0-9]+)=rate", "--", "sh", "-c", script])
        .succeeds();
    let metrics =
        sandbox.sql("SELECT name, unit, value FROM extra_metric WHERE name IN ('loss', 'rate') ORDER BY name");
    let found: Vec<_> =
        metrics.iter().map(|row| (row["name"].as_str(), row["unit"].as_str(), row["value"].as_f64())).collect();
    assert_eq!(found, [(Some("loss"), Some("nats"), Some(2.5)), (Some("rate"), Some(""), Some(120.0))]);
    assert_eq!(
        sandbox.count("SELECT count(*) FROM telemetry WHERE sensor = 'output.loss'"),
        3,
        "one number an execution"
    );
}

#[test]
fn output_without_the_number_fails_the_run() {
    for (pattern, script, expected) in [
        ("loss ([0-9.]+)=loss", "echo nothing", "nothing matches"),
        ("loss (.*)=loss", "echo loss is high", "holds `is high`, no number"),
    ] {
        let sandbox = Sandbox::new();
        exec(&sandbox).args(["--parse", pattern, "--", "sh", "-c", script]).ends_with(1);
        let told = error(&sandbox);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn patterns_are_checked_before_anything_runs() {
    let sandbox = Sandbox::new();
    for (pattern, told) in [("(=x", "unclosed group"), ("abc=x", "has no group")] {
        exec(&sandbox).args(["--parse", pattern, "--", "true"]).refuses(&[told], &["the first group is the number"]);
    }
    exec(&sandbox)
        .args(["--parse", "(a)=x", "--parse", "(b)=x", "--", "true"])
        .refuses(&["two patterns"], &["a name of its own"]);
    exec(&sandbox).args(["--parse", "(a)=latency_p50_ms", "--", "true"]).ends_with(2);
    assert_eq!(sandbox.listing(), Vec::<String>::new());
}

#[test]
fn a_shell_is_measured_and_taken_off() {
    let sandbox = Sandbox::new();
    exec(&sandbox).args(["--shell", "--name", "pipe", "--", "echo 1 | cat >> out; sleep 0.1"]).succeeds();
    let row = only(&sandbox);
    assert_eq!(row["parameters"], r#"{"shell":"sh"}"#);
    let shell = sandbox.extra_metric(&row["run_id"], "shell_startup_time").unwrap();
    assert!(shell > 0.0, "{shell}");
    // What is left is the sleep and the pipe, less what the shell takes.
    assert!(number(&row, "latency_p50_ms") > 50.0, "{row}");
    assert_eq!(sandbox.read("out").lines().count(), 4);
    let other = Sandbox::new();
    exec(&other).args(["--shell", "no-such-shell", "--", "true"]).ends_with(1);
    assert!(error(&other).contains("cannot start `no-such-shell`"));
}

#[test]
fn output_is_shown_where_it_is_wanted() {
    let sandbox = Sandbox::new();
    let command = ["--", "sh", "-c", "echo to-out; echo to-err >&2"];
    let silent = exec_times(&sandbox, 1).args(command).succeeds();
    assert!(!said(&silent).contains("to-out\n") && !said(&silent).contains("to-err\n"), "{}", said(&silent));
    let shown = stderr_of(&exec_times(&sandbox, 1).arg("--show-output").args(command).succeeds());
    assert_eq!(shown.matches("to-out\n").count(), 2, "{shown}");
    assert_eq!(shown.matches("to-err\n").count(), 2, "{shown}");
}

#[test]
fn a_flood_of_output_is_no_matter() {
    let sandbox = Sandbox::new();
    let flood = "head -c 60000000 /dev/zero; echo; echo n=7";
    let mut command = exec_times(&sandbox, 1);
    command.args(["--parse", "n=([0-9])=n", "--", "sh", "-c", flood]).succeeds();
    assert_eq!(sandbox.extra_metric(&only(&sandbox)["run_id"], "n"), Some(7.0));
}

#[cfg(unix)]
#[test]
fn who_takes_too_long_is_ended_with_all_that_it_started() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 & echo $! > grandchild; echo working >&2; wait";
    exec(&sandbox).args(["--timeout", "0.5", "--", "sh", "-c", script]).ends_with(1);
    let told = error(&sandbox);
    assert!(told.contains("did not end within 500ms in execution 1 and was ended; it said: working"), "{told}");
    let process_id = sandbox.read("grandchild");
    wait_for("the grandchild's end", || (!lives(&process_id)).then_some(()));
}

#[cfg(unix)]
#[test]
fn what_stays_behind_is_ended() {
    let sandbox = Sandbox::new();
    exec_times(&sandbox, 1).args(["--", "sh", "-c", "sleep 1000 & echo $! > grandchild"]).succeeds();
    let process_id = sandbox.read("grandchild");
    wait_for("the grandchild's end", || (!lives(&process_id)).then_some(()));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_command() {
    let sandbox = Sandbox::new();
    let mut command = exec(&sandbox);
    command.args(["--", "sh", "-c", "echo $$ > leader; sleep 1000"]);
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let leader = sandbox.path("leader");
    let process_id =
        wait_for("the command", || std::fs::read_to_string(&leader).ok().filter(|text| text.ends_with('\n')));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(only(&sandbox)["status"], "interrupted");
    wait_for("the command's end", || (!lives(&process_id)).then_some(()));
}

#[test]
fn commands_are_judged_as_models_are() {
    let sandbox = Sandbox::new();
    let measure = |label: &str, seconds: &str| {
        let mut command = sandbox.benchdb();
        command.args([
            "exec",
            "--runs",
            "10",
            "--repeat",
            "5",
            "--telemetry-interval",
            "0",
            "--name",
            "job",
            "--label",
            label,
        ]);
        command.args(["--", "sleep", seconds]).succeeds();
    };
    measure("before", "0.02");
    sandbox.benchdb().args(["baseline", "save", "main", "--label", "before"]).succeeds();
    measure("after", "0.06");
    let judged =
        sandbox.benchdb().args(["regress", "--baseline", "main", "--label", "after", "--format", "json"]).ends_with(1);
    assert!(String::from_utf8_lossy(&judged.stdout).contains("regressed"), "{}", said(&judged));
    sandbox.benchdb().args(["analyze", "--model", "job"]).succeeds();
    sandbox.benchdb().args(["recommend", "--model", "job"]).succeeds();
}

#[test]
fn a_command_must_be_given() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("exec").ends_with(2);
    sandbox.benchdb().args(["exec", "--name", " ", "--", "true"]).refuses(&["has no name"], &["--name"]);
}
