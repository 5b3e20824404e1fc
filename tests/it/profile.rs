//! `benchdb profile`: operators that add up, files that other programs read, two profiles beside each other.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::made::Made;
use crate::support::{Expect as _, Sandbox, number, rows, same, skip, stderr_of, stdout_of};

/// A short profile of the smallest network; peaks are not measured, the processor is not sampled.
fn profile(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    profile_of_pairs(sandbox, 2, arguments)
}

/// The same, of so many pairs.
fn profile_of_pairs(sandbox: &Sandbox, pairs: u32, arguments: &[&str]) -> Command {
    let mut command = sandbox.benchdb();
    command.args(["profile", "--model", "cifar_cnn", "--peak-time", "0", "--sampling-rate", "0"]);
    command.args(["--iterations", &pairs.to_string()]).args(arguments);
    command
}

fn table(document: &Value, name: &str) -> Vec<Value> {
    document[name].as_array().unwrap_or_else(|| panic!("no `{name}` in {document}")).clone()
}

/// The rows of a phase, by operator.
fn phase<'d>(operators: &'d [Value], name: &str) -> Vec<(&'d str, &'d Value)> {
    operators.iter().filter(|row| row["phase"] == name).map(|row| (row["operator"].as_str().unwrap(), row)).collect()
}

const LAYERS: [&str; 8] = ["conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "fc1", "fc2"];

#[test]
fn the_operators_of_a_forward_pass_add_up_and_are_stored() {
    let sandbox = Sandbox::new();
    let document = profile_of_pairs(&sandbox, 4, &["--format", "json"]).json();
    let [summary] = &table(&document, "profile")[..] else { panic!("one row: {document}") };
    let operators = table(&document, "operators");
    let names: Vec<&str> = phase(&operators, "forward").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), operators.len(), "inference is one phase");
    for name in LAYERS.into_iter().chain(["relu()", "max_pool()", "(other)"]) {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let sum = |column: &str| operators.iter().map(|row| number(row, column)).sum::<f64>();
    same(sum("share"), 1.0);
    let relu = operators.iter().find(|row| row["operator"] == "relu()").unwrap();
    assert_eq!(relu["calls"], 7);
    let between = operators.iter().find(|row| row["operator"] == "(other)").unwrap();
    assert_eq!(between["total_ms"], between["own_ms"]);
    // Both are the mean over the middle two of these pairs; what lies between operators is not theirs.
    let of_operators = operators.iter().filter(|row| row["operator"] != "(other)").map(|row| number(row, "own_ms"));
    same(number(summary, "operator_sum_ms"), of_operators.sum());
    same(number(summary, "timed_iteration_ms"), sum("own_ms"));
    same(number(summary, "outside_operators"), number(between, "share"));
    // Both kinds of iterations were measured, and their ratio is what is said of them.
    assert_eq!(summary["pairs"], 4);
    let difference = number(summary, "operator_sum_ms") / number(summary, "latency_p50_ms") - 1.0;
    same(number(summary, "difference"), difference);
    assert_eq!(summary["agrees"], if difference.abs() <= 0.1 { "yes" } else { "no" });
    assert!(summary["overhead_ratio_low"].is_null(), "four pairs are no ground for a claim");

    let stored = sandbox.sql("SELECT path, calls, total_nanoseconds, own_nanoseconds FROM operator_time");
    assert_eq!(stored.len(), operators.len());
    let of = |path: &str| stored.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("{path}"));
    assert_eq!(of("forward/relu()")["calls"], 28);
    let own: f64 = stored.iter().map(|row| number(row, "own_nanoseconds")).sum();
    same(number(of("forward"), "total_nanoseconds"), own);
    let timed = sandbox.sql("SELECT nanoseconds FROM sample WHERE phase = 'profiled_iteration'");
    let mut timed: Vec<f64> = timed.iter().map(|row| number(row, "nanoseconds")).collect();
    timed.sort_by(f64::total_cmp);
    // As many as there are pairs, each as long as those in the middle are.
    same(own, 2.0 * (timed[1] + timed[2]));
}

#[test]
fn a_training_step_is_timed_forward_and_backward() {
    let sandbox = Sandbox::new();
    let document = profile(&sandbox, &["--mode", "training", "--batch-size", "2", "--format", "json"]).json();
    let operators = table(&document, "operators");
    for name in ["forward", "backward"] {
        let found = phase(&operators, name);
        for layer in LAYERS.into_iter().chain(["relu()", "max_pool()"]) {
            let row = found.iter().find(|(operator, _)| *operator == layer);
            assert!(row.is_some_and(|(_, row)| number(row, "own_ms") > 0.0), "{layer} in {name}");
        }
    }
    let calls = |phase_name: &str, operator: &str| {
        phase(&operators, phase_name).iter().find(|(name, _)| *name == operator).unwrap().1["calls"].clone()
    };
    assert_eq!(calls("backward", "relu()"), calls("forward", "relu()"));
    assert_eq!(calls("backward", "conv1"), 1);
    assert!(phase(&operators, "loss").iter().any(|(name, _)| *name == "cross_entropy()"));
    assert!(phase(&operators, "backward").iter().any(|(name, _)| *name == "cross_entropy()"));
    assert_eq!(phase(&operators, "optimizer_step").len(), 1);
    // The plain iterations have the phases of every training run.
    for metric in ["forward_ms", "loss_ms", "backward_ms", "optimizer_step_ms"] {
        assert!(
            sandbox.value(&format!("SELECT {metric} FROM results")).as_f64().is_some_and(|ms| ms > 0.0),
            "{metric}"
        );
    }
}

#[test]
fn a_profile_is_no_plain_run() {
    let sandbox = Sandbox::new();
    sandbox.quick("cifar_cnn").succeeds();
    profile(&sandbox, &[]).succeeds();
    let parameters = sandbox.sql("SELECT parameters, status FROM results ORDER BY run_id");
    assert_eq!(parameters[0]["parameters"], "{}");
    assert_eq!(parameters[1]["parameters"], r#"{"profile":"operators"}"#);
    assert_eq!(sandbox.count("SELECT count(*) FROM configuration"), 2);
    let plain = profile(&sandbox, &[]).args(["--hardware", "cpu"]).succeeds();
    assert!(stdout_of(&plain).contains("Operators, in one iteration"));
    assert_eq!(sandbox.count("SELECT count(*) FROM configuration"), 2, "two profiles are of one configuration");
}

#[test]
fn a_profile_is_compared_with_no_plain_run() {
    let sandbox = Sandbox::new();
    let on_processor = |milliseconds| Made::taking(milliseconds).device("cpu", "Xeon Made");
    let profile = on_processor(5.0).with("/configuration/parameters", json!({ "profile": "operators" }));
    sandbox.take(&[on_processor(10.0), profile, Made::taking(2.0)]);

    let compared = table(&sandbox.benchdb().args(["analyze", "--format", "json"]).json(), "comparison");
    let speed_up = |platform: &str, parameters: &str| {
        let row = compared.iter().find(|row| row["platform"] == platform && row["parameters"] == parameters);
        number(row.unwrap_or_else(|| panic!("{platform} {parameters}: {compared:?}")), "speed_up")
    };
    // The profile is faster than the plain run, and a reference for itself alone.
    same(speed_up("cuda", "{}"), 5.0);
    same(speed_up("cpu", "{}"), 1.0);
    same(speed_up("cpu", r#"{"profile":"operators"}"#), 1.0);

    let recommended = table(&sandbox.benchdb().args(["recommend", "--format", "json"]).json(), "recommendations");
    assert_eq!(recommended.len(), 2, "{recommended:?}");
    assert!(recommended.iter().all(|row| row["parameters"] == "{}"), "{recommended:?}");

    let matrix = sandbox.benchdb().args(["query", "--name", "speedup_matrix", "--format", "json"]).json();
    let speed_ups: Vec<f64> = rows(&matrix).iter().map(|row| number(row, "speedup")).collect();
    assert_eq!(speed_ups, [5.0, 1.0], "{matrix}");
}

#[test]
fn a_profile_that_the_database_refuses_is_shown_and_kept_beside_it() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("init-db").succeeds();
    let connection = sandbox.connection();
    connection
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON run BEGIN SELECT RAISE(ABORT, 'no more runs'); END")
        .unwrap();
    let output = profile(&sandbox, &["--output", "out"]).ends_with(2);
    assert!(stdout_of(&output).contains("not stored") && stdout_of(&output).contains("conv6"), "{output:?}");
    assert!(sandbox.read("out/operators.svg").contains("conv6"));
    let told = stderr_of(&output);
    assert!(told.contains("could not be stored") && told.contains("hint: once the cause is gone: `benchdb import"));
    let unsaved = sandbox.listing().into_iter().find(|name| name.starts_with("benchdb-unsaved-")).unwrap();
    connection.execute_batch("DROP TRIGGER full").unwrap();
    sandbox.benchdb().args(["import", &unsaved]).succeeds();
    assert!(sandbox.count("SELECT count(*) FROM operator_time") > 0);
    assert_eq!(sandbox.value("SELECT status FROM results"), "ok");
}

#[test]
fn other_programs_find_what_they_read() {
    let sandbox = Sandbox::new();
    profile(&sandbox, &["--output", "out/here"]).succeeds();
    let file = |name: &str| sandbox.read(&format!("out/here/{name}"));

    let svg = file("operators.svg");
    assert!(svg.starts_with("<?xml") && svg.contains("conv6") && svg.contains("(other)"));
    assert!(!sandbox.path("out/here/samples.svg").exists(), "nobody sampled");

    let speedscope: Value = serde_json::from_str(&file("operators.speedscope.json")).unwrap();
    assert_eq!(speedscope["$schema"], "https://www.speedscope.app/file-format-schema.json");
    let (mut open, mut last) = (Vec::new(), 0);
    for event in speedscope["profiles"][0]["events"].as_array().unwrap() {
        assert!(event["at"].as_u64().unwrap() >= last);
        last = event["at"].as_u64().unwrap();
        match event["type"].as_str().unwrap() {
            "O" => open.push(event["frame"].clone()),
            _ => assert_eq!(open.pop().as_ref(), Some(&event["frame"])),
        }
    }
    assert!(open.is_empty() && last > 0);

    let trace: Value = serde_json::from_str(&file("operators.trace.json")).unwrap();
    let complete: Vec<&Value> =
        trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X").collect();
    let calls = |name: &str| complete.iter().filter(|event| event["name"] == name).count();
    assert_eq!((calls("relu()"), calls("conv4"), calls("forward")), (7, 1, 1));
    let whole = complete.iter().find(|event| event["name"] == "forward").unwrap();
    assert!(complete.iter().all(|event| {
        number(event, "ts") >= number(whole, "ts")
            && number(event, "ts") + number(event, "dur") <= number(whole, "ts") + number(whole, "dur") + 1e-3
    }));

    let csv = file("operators.csv");
    assert!(csv.starts_with("phase,operator,calls,total_ms,own_ms,share,"), "{csv}");
    assert_eq!(csv.lines().count() as i64, 1 + sandbox.count("SELECT count(*) FROM operator_time"));
}

#[cfg(unix)]
#[test]
fn the_processor_is_seen_at_work() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.benchdb();
    command.args(["profile", "--model", "cifar_cnn", "--iterations", "2", "--peak-time", "0", "--batch-size", "8"]);
    let output = command.args(["--sampling-rate", "500", "--output", "out"]).succeeds();
    assert!(stdout_of(&output).contains("stacks of the processor"), "{}", stdout_of(&output));
    let svg = sandbox.read("out/samples.svg");
    for frame in ["iterations", "startup", "burn_flex"] {
        assert!(svg.contains(frame), "{frame}");
    }
    // Whoever is looked at while loading takes longer for it.
    let of = |metric: &str, run: u32| sandbox.value(&format!("SELECT {metric} FROM results WHERE run_id = {run}"));
    profile(&sandbox, &[]).succeeds();
    for metric in ["startup_ms", "first_inference_ms"] {
        assert!(of(metric, 1).is_null(), "{metric}");
        assert!(of(metric, 2).as_f64().is_some_and(|ms| ms > 0.0), "{metric}");
    }
}

#[test]
fn two_profiles_stand_beside_each_other() {
    let sandbox = Sandbox::new();
    profile(&sandbox, &[]).succeeds();
    profile(&sandbox, &["--batch-size", "4"]).succeeds();
    let uuid = sandbox.value("SELECT run_uuid FROM results WHERE run_id = 2");
    let mut command = sandbox.benchdb();
    command.args(["profile", "--compare", "1", uuid.as_str().unwrap(), "--format", "json", "--output", "out"]);
    let output = command.succeeds();
    assert!(stderr_of(&output).contains("the batch sizes differ: `1` in run 1, `4` in run 2"));
    assert!(stderr_of(&output).contains("run 1 has 2 and run 2 has 2 pairs of iterations"));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let profiles = table(&document, "profiles");
    assert!(profiles.len() == 2 && profiles.iter().all(|run| run["pairs"] == 2), "{profiles:?}");
    let changes = table(&document, "changes");
    assert_eq!(changes.len() as i64, sandbox.count("SELECT count(*) FROM operator_time WHERE run_id = 1"));
    for change in &changes {
        same(number(change, "change_ms"), number(change, "own_ms_after") - number(change, "own_ms_before"));
        assert_eq!(change["calls_before"], change["calls_after"]);
    }
    let sizes: Vec<f64> = changes.iter().map(|change| number(change, "change_ms").abs()).collect();
    assert!(sizes.is_sorted_by(|one, other| one >= other), "{sizes:?}");
    assert!(sandbox.read("out/difference.svg").contains("conv6"));
}

#[test]
fn csv_is_one_table() {
    let sandbox = Sandbox::new();
    let one_table = |output: &Output, columns: &str| {
        let text = stdout_of(output);
        let mut lines = text.lines();
        let header = lines.next().unwrap();
        assert!(header.starts_with(columns), "{text}");
        // Names of parts hold no comma.
        let count = header.split(',').count();
        assert!(lines.clone().count() > LAYERS.len() && lines.all(|line| line.split(',').count() == count), "{text}");
    };
    let output = profile(&sandbox, &["--format", "csv"]).succeeds();
    one_table(&output, "phase,operator,calls,total_ms,own_ms,share,");
    assert!(stderr_of(&output).contains("the operators add up to"), "{}", stderr_of(&output));
    profile(&sandbox, &[]).succeeds();
    let mut command = sandbox.benchdb();
    one_table(
        &command.args(["profile", "--compare", "1", "2", "--format", "csv"]).succeeds(),
        "phase,operator,calls_before,",
    );
}

#[test]
fn what_cannot_be_compared_is_told_in_one_sentence() {
    let sandbox = Sandbox::new();
    let compare = |before: &str, after: &str| {
        let mut command = sandbox.benchdb();
        command.args(["profile", "--compare", before, after]);
        command
    };
    compare("1", "2").refuses(&["no database"], &[]);
    sandbox.quick("cifar_cnn").succeeds();
    profile(&sandbox, &[]).succeeds();
    compare("2", "77").refuses(&["there is no run `77`"], &["operator_time"]);
    compare("2", "2").refuses(&["both sides are run 2"], &["before and the run after"]);
    compare("1", "2").refuses(&["run 1 (cifar_cnn) has no operator times"], &["benchdb profile --model cifar_cnn"]);
    let connection = sandbox.connection();
    connection
        .execute_batch(
            "INSERT INTO operator_time SELECT 1, path, calls, total_nanoseconds, own_nanoseconds FROM operator_time",
        )
        .unwrap();
    compare("1", "2").succeeds();
    profile(&sandbox, &["--batch-size", "2"]).succeeds();
    connection
        .execute_batch(
            "INSERT INTO model (name, source) VALUES ('other', 'zoo');
             UPDATE configuration SET model_id = (SELECT id FROM model WHERE name = 'other')
             WHERE id = (SELECT configuration_id FROM run WHERE id = 3)",
        )
        .unwrap();
    compare("2", "3").refuses(&["run 2 is of cifar_cnn", "run 3 is of other"], &["one model"]);
    profile(&sandbox, &["--mode", "training", "--batch-size", "2"]).succeeds();
    compare("2", "4").refuses(&["run 2 is inference and run 4 is training"], &["one mode"]);
}

#[test]
fn what_has_no_profile_is_told_in_one_sentence() {
    let sandbox = Sandbox::new();
    profile(&sandbox, &["--mode", "explanation"]).refuses(&["explanations have no profile"], &["--mode inference"]);
    let of = |model: &str| {
        let mut command = sandbox.benchdb();
        command.args(["profile", "--model", model]);
        command
    };
    of("some.onnx").refuses(&["an ONNX file has no profile"], &["name the model of benchdb"]);
    of("no such model").refuses(&["there is no model"], &[]);
    sandbox.benchdb().arg("profile").ends_with(2);
    let refused = profile(&sandbox, &["--engine", "scripted"]).ends_with(1);
    assert!(stderr_of(&refused).contains("not a tree of modules"), "{}", stderr_of(&refused));
    assert_eq!(sandbox.value("SELECT status FROM results"), "unsupported");
    assert_eq!(sandbox.count("SELECT count(*) FROM operator_time"), 0);
}

#[test]
fn every_engine_of_burn_has_operators() {
    let sandbox = Sandbox::new();
    for engine in ["burn-flex", "burn-ndarray", "burn-wgpu"] {
        let output = profile(&sandbox, &["--engine", engine, "--mode", "training", "--format", "json"]).outcome();
        if engine == "burn-wgpu" && output.status.code() == Some(2) {
            skip(&format!("no Vulkan device: {}", stderr_of(&output)));
            continue;
        }
        assert!(output.status.success(), "{engine}: {}", stderr_of(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let operators = table(&document, "operators");
        for name in LAYERS {
            let rows = operators.iter().filter(|row| row["operator"] == name && number(row, "own_ms") > 0.0);
            assert_eq!(rows.count(), 2, "{engine}: {name} forward and backward");
        }
    }
}
