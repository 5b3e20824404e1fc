//! `benchdb run`: what is planned, what is measured, what is stored, and how it ends.

use std::process::Command;

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, has_program, json_of, planned, rows, skip, stderr_of, stdout_of};

/// A few iterations of real work are enough to see that it is real.
const SHORT: [&str; 6] = ["--iterations", "12", "--min-time", "0", "--warmup", "1"];

fn dry_run(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    let mut command = sandbox.benchdb();
    planned(&command.args(["run", "--dry-run", "--format", "json", "--hardware", "cpu"]).args(arguments).json())
}

#[test]
fn a_plan_is_printed_and_nothing_is_done() {
    let sandbox = Sandbox::new();
    let plan =
        dry_run(&sandbox, &["--model", "cifar_cnn,gpt2", "--batch-sizes", "1,8", "--engine", "burn-flex,ndarray"]);
    let order: Vec<String> = plan
        .iter()
        .map(|row| format!("{} {} {}", row["model"], row["engine"], row["batch_size"]).replace('"', ""))
        .collect();
    assert_eq!(
        order,
        [
            "cifar_cnn burn-flex 1",
            "cifar_cnn burn-flex 8",
            "cifar_cnn burn-ndarray 1",
            "cifar_cnn burn-ndarray 8",
            "gpt2 burn-flex 1",
            "gpt2 burn-flex 8",
            "gpt2 burn-ndarray 1",
            "gpt2 burn-ndarray 8",
        ]
    );
    assert_eq!(plan[0]["run"], 1);
    assert_eq!(plan[0]["precision"], "fp32");
    assert_eq!(plan[0]["mode"], "inference");
    assert!(sandbox.listing().is_empty());
}

#[test]
fn a_plan_lists_what_it_leaves_out() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .benchdb()
        .args(["run", "--dry-run", "--format", "json", "--model", "cifar_cnn", "--hardware", "cpu,openvino"])
        .args(["--precision", "fp32,int8"])
        .succeeds();
    let document = json_of(&output);
    assert_eq!(planned(&document).len(), 1);
    let left_out = document["left_out"].as_array().unwrap();
    let reason_of = |what: &str| {
        let row = left_out.iter().find(|row| row["what"].as_str().unwrap().contains(what)).unwrap();
        (row["reason"].as_str().unwrap().to_owned(), row["way_out"].as_str().unwrap().to_owned())
    };
    assert!(reason_of("openvino").0.contains("no engine"));
    let (reason, way_out) = reason_of("int8");
    assert!(reason.contains("burn-flex does not support int8") && way_out.contains("int8w"), "{reason}; {way_out}");
    assert!(sandbox.listing().is_empty());
}

#[test]
fn a_plan_of_everything_and_of_a_category() {
    let sandbox = Sandbox::new();
    let all = dry_run(&sandbox, &["--all"]);
    let text = dry_run(&sandbox, &["--category", "text"]);
    assert!(all.len() >= 8);
    assert!(text.len() >= 3 && text.len() < all.len());
    let output = sandbox.benchdb().args(["run", "--dry-run", "--all", "--limit", "3", "--hardware", "cpu"]).succeeds();
    assert!(stderr_of(&output).contains("left out by `--limit 3`"), "{}", stderr_of(&output));
    let audio = dry_run(&sandbox, &["--category", "audio"]);
    assert!(!audio.is_empty() && audio.iter().all(|run| run["model"] == "whisper-tiny"), "{audio:?}");
}

#[test]
fn names_are_forgiving() {
    let sandbox = Sandbox::new();
    for (name, model) in [
        ("bert", "bert-base-uncased"),
        ("distilbert", "distilbert-base-uncased"),
        ("ResNet-18", "resnet18"),
        ("resnet_50", "resnet50"),
        ("VIT", "vit_b_16"),
        ("gpt", "gpt2"),
        ("mobilenet", "mobilenet_v2"),
        ("CIFAR", "cifar_cnn"),
    ] {
        let plan = dry_run(&sandbox, &["--model", name]);
        assert_eq!(plan.len(), 1, "{name}");
        assert_eq!(plan[0]["model"], model, "{name}");
    }
    assert_eq!(dry_run(&sandbox, &["--model", "bert,bert-base-uncased"]).len(), 1, "the same model once");
    assert_eq!(dry_run(&sandbox, &["--model", "gpt2", "--batch-sizes", "2,1,2"]).len(), 2, "the same size once");
}

#[test]
fn wrong_names_suggest_the_right_ones() {
    let sandbox = Sandbox::new();
    let run = |arguments: &[&str]| {
        let mut command = sandbox.benchdb();
        command.arg("run").args(arguments);
        command
    };
    run(&["--model", "resnet"]).refuses(&["no model `resnet`"], &["`resnet18`", "`resnet50`"]);
    run(&["--model", "resent18"]).refuses(&["no model `resent18`"], &["did you mean `resnet18`?"]);
    run(&["--model", "xyzzy"]).refuses(&["no model `xyzzy`"], &["benchdb models"]);
    run(&["--model", "cifar_cnn,xyzzy"]).refuses(&["no model `xyzzy`"], &["benchdb models"]);
    run(&[]).refuses(&["no model was named"], &["--model"]);
    let stderr = stderr_of(&run(&["--model", ""]).ends_with(2));
    assert!(stderr.starts_with("error: ") && stderr.contains("the model has no name"), "{stderr}");
    run(&["--model", "gpt2", "--engine", "brun-flex"]).refuses(&["no engine `brun-flex`"], &["`burn-flex`"]);
    run(&["--model", "gpt2", "--engine", "xyzzy"]).refuses(&["no engine `xyzzy`"], &["burn-flex, burn-ndarray"]);
    for (arguments, words) in [
        (["--hardware", "cpuu"], "did you mean `cpu`?"),
        (["--hardware", "xyzzy"], "vulkan"),
        (["--precision", "fp3"], "fp32"),
        (["--mode", "train"], "training"),
        (["--batch-sizes", "0"], "0"),
        (["--repeat", "0"], "0"),
        (["--iterations", "0"], "0"),
        (["--min-time", "soon"], "500ms"),
        (["--precision-target", "2"], "between 0 and 1"),
        (["--batches-in-flight", "3"], "--throughput-mode"),
    ] {
        let output = run(&["--model", "gpt2"]).args(arguments).ends_with(2);
        let stderr = stderr_of(&output);
        assert!(stderr.starts_with("error: ") && stderr.contains(words), "{arguments:?}: {stderr}");
    }
    run(&["--model", "gpt2", "--max-time", "1", "--min-time", "2"]).refuses(&["`--max-time` is shorter"], &["raise"]);
    run(&["--model", "gpt2,bert", "--weights", "x.pt"]).refuses(&["`--weights` belongs to one model"], &["--model"]);
    assert!(sandbox.listing().is_empty(), "no database was made for nothing");
}

#[test]
fn hardware_that_is_not_here_says_why() {
    let sandbox = Sandbox::new();
    for (platform, reason, way_out) in [
        ("cuda", "burn-cuda is not in this build", "--features cuda"),
        ("rocm", "burn-rocm is not in this build", "--features rocm"),
        ("mps", "no engine of benchdb", "macOS"),
        ("openvino", "no engine of benchdb", "benchdb hardware"),
        ("webgpu", "no engine of benchdb", "benchdb hardware"),
        ("tpu", "no engine of benchdb", "benchdb hardware"),
    ] {
        if cfg!(feature = "cuda") && platform == "cuda" || cfg!(feature = "rocm") && platform == "rocm" {
            continue;
        }
        let output = sandbox.benchdb().args(["run", "--model", "cifar_cnn", "--hardware", platform]).ends_with(1);
        let stderr = stderr_of(&output);
        assert!(stderr.contains(platform) && stderr.contains(reason) && stderr.contains(way_out), "{stderr}");
    }
    assert!(sandbox.listing().is_empty(), "no database was made for nothing");
}

#[test]
fn a_device_that_is_not_here_says_so() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .benchdb()
        .args(["run", "--model", "cifar_cnn", "--hardware", "cpu", "--device-index", "7"])
        .ends_with(1);
    assert!(stderr_of(&output).contains("no device 7"), "{}", stderr_of(&output));
    let output = sandbox
        .benchdb()
        .args(["run", "--model", "cifar_cnn", "--hardware", "cpu", "--engine", "burn-wgpu"])
        .ends_with(1);
    assert!(stderr_of(&output).contains("burn-wgpu does not serve the platform `cpu`"), "{}", stderr_of(&output));
    assert!(sandbox.listing().is_empty());
}

#[test]
fn what_is_left_out_of_a_list_does_not_fail_it() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .benchdb()
        .args(["run", "--model", "cifar_cnn", "--engine", "scripted", "--hardware", "cpu,tpu", "--format", "json"])
        .succeeds();
    assert_eq!(rows(&json_of(&output)).len(), 1);
    assert!(stderr_of(&output).contains("left out: tpu"), "{}", stderr_of(&output));
}

#[test]
fn an_unsupported_precision_is_an_outcome() {
    let sandbox = Sandbox::new();
    let output = sandbox.scripted().args(["--precision", "fp32,fp16", "--repeat", "2", "--format", "json"]).succeeds();
    let statuses: Vec<Value> = rows(&json_of(&output)).iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses.iter().filter(|status| *status == "ok").count(), 2);
    assert_eq!(statuses.iter().filter(|status| *status == "unsupported").count(), 1, "once is enough");
    let run = &sandbox.sql(
        "SELECT run.error, run.hint, run.validity, configuration.precision, metrics.latency_p50_ms
         FROM run JOIN configuration ON configuration.id = configuration_id LEFT JOIN metrics ON run_id = run.id
         WHERE status = 'unsupported'",
    )[0];
    assert_eq!(run["precision"], "fp16");
    assert_eq!(run["validity"], "not_measured");
    assert_eq!(run["latency_p50_ms"], Value::Null);
    assert!(run["error"].as_str().unwrap().contains("does not support"));
    assert!(run["hint"].as_str().unwrap().contains("fp32"));
}

#[test]
fn nothing_but_unsupported_is_a_failure() {
    let sandbox = Sandbox::new();
    sandbox.scripted().args(["--precision", "int8w"]).ends_with(1);
    assert_eq!(sandbox.value("SELECT status FROM run"), "unsupported");
    let explanation = Sandbox::new();
    explanation.scripted().args(["--mode", "explanation"]).ends_with(1);
    assert_eq!(explanation.value("SELECT status FROM run"), "unsupported");
}

#[test]
fn a_run_is_printed_and_stored() {
    let sandbox = Sandbox::new();
    let output = sandbox.scripted().args(["--batch-sizes", "4", "--format", "json"]).succeeds();
    let row = &rows(&json_of(&output))[0];
    assert_eq!(row["model"], "cifar_cnn");
    assert_eq!(row["status"], "ok");
    assert_eq!(row["batch_size"], 4);
    assert!((row["latency_p50_ms"].as_f64().unwrap() - 10.1).abs() < 1e-9);
    assert!(stderr_of(&output).contains("created `benchdb.sqlite`"));
    let stored = &sandbox.sql("SELECT * FROM results")[0];
    assert_eq!(stored["run_id"], row["run_id"]);
    assert_eq!(stored["latency_p50_ms"], row["latency_p50_ms"]);
    assert_eq!(stored["validity"], "valid");
    assert_eq!(stored["iterations"], 99, "one second of some ten milliseconds each");
    assert_eq!(stored["input_shape"], "3x32x32");
    assert_eq!(stored["category"], "vision");
    assert_eq!(stored["software"], 1, "the scripted device says what it is");
    assert!((stored["throughput_samples_per_second"].as_f64().unwrap() - 4.0 / 0.01012).abs() < 1.0);
    let uuid = stored["run_uuid"].as_str().unwrap();
    assert_eq!((uuid.len(), &uuid[14..15]), (36, "7"), "a UUID of version 7");
    let started = stored["started_at"].as_str().unwrap();
    assert!(started.ends_with('Z') && started.contains('T') && started.len() >= 20, "{started}");
    assert_eq!(sandbox.value("SELECT state FROM planned_run"), "done");
    assert_eq!(sandbox.count("SELECT count(*) FROM planned_run WHERE run_id = 1 AND lease_host IS NULL"), 1);
}

#[test]
fn quiet_prints_results_alone() {
    let sandbox = Sandbox::new();
    let output = sandbox.scripted().args(["--quiet", "--format", "csv"]).succeeds();
    assert!(stderr_of(&output).is_empty(), "{}", stderr_of(&output));
    assert_eq!(stdout_of(&output).lines().count(), 2);
    assert!(!stdout_of(&output).contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn warmup_and_first_call_are_kept_apart() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"iterations_ms": [500, 100, 100, 100, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20]}"#);
    sandbox.scripted().args(["--warmup", "3", "--iterations", "10", "--min-time", "0"]).succeeds();
    let row = &sandbox.sql("SELECT results.*, warmup_iterations FROM results JOIN run ON run.id = run_id")[0];
    assert_eq!(row["first_inference_ms"], 500.0);
    assert_eq!(row["warmup_iterations"], 3);
    assert_eq!(row["iterations"], 10);
    assert_eq!(row["latency_max_ms"], 20.0);
    let phases = sandbox.sql("SELECT phase, count(*) AS n FROM sample GROUP BY phase ORDER BY phase");
    assert_eq!(
        phases,
        [serde_json::json!({"phase": "iteration", "n": 10}), serde_json::json!({"phase": "warmup", "n": 3})]
    );
}

#[test]
fn outliers_are_counted_and_kept() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"iterations_ms": [10, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6, 10.7, 10.8, 500]}"#);
    sandbox.scripted().args(["--iterations", "100", "--min-time", "0"]).succeeds();
    assert_eq!(sandbox.count("SELECT outlier_count FROM run"), 10);
    assert_eq!(sandbox.count("SELECT count(*) FROM sample WHERE phase = 'iteration'"), 100);
    assert_eq!(sandbox.value("SELECT latency_max_ms FROM results"), 500.0);
}

#[test]
fn repetitions_are_interleaved() {
    let sandbox = Sandbox::new();
    sandbox.scripted().args(["--repeat", "3", "--batch-sizes", "1,2"]).succeeds();
    let order: Vec<(i64, i64)> = sandbox
        .sql("SELECT repetition, batch_size FROM run JOIN results ON run_id = run.id ORDER BY run.id")
        .iter()
        .map(|row| (row["repetition"].as_i64().unwrap(), row["batch_size"].as_i64().unwrap()))
        .collect();
    assert_eq!(order, [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]);
    assert_eq!(sandbox.count("SELECT count(*) FROM configuration"), 2);
    assert_eq!(sandbox.count("SELECT count(*) FROM campaign"), 1);
}

#[test]
fn a_limit_cuts_the_plan() {
    let sandbox = Sandbox::new();
    let output = sandbox.scripted().args(["--repeat", "2", "--batch-sizes", "1,2,4", "--limit", "4"]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 4);
    assert!(stderr_of(&output).contains("2 of 6 runs are left out"), "{}", stderr_of(&output));
}

#[test]
fn sampling_stops_for_a_reason() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"iterations_ms": [10]}"#);
    let reason = |arguments: &[&str]| {
        sandbox.scripted().args(arguments).succeeds();
        let row = &sandbox.sql("SELECT stop_reason, iterations FROM run ORDER BY id DESC LIMIT 1")[0];
        (row["stop_reason"].as_str().unwrap().to_owned(), row["iterations"].as_i64().unwrap())
    };
    assert_eq!(reason(&[]), ("completed".into(), 100));
    assert_eq!(reason(&["--num-samples", "150"]), ("completed".into(), 150));
    assert_eq!(reason(&["--iterations", "10", "--min-time", "500ms"]), ("completed".into(), 50));
    let (stop, precise) = reason(&["--precision-target", "0.01"]);
    assert_eq!(stop, "precision_reached");
    assert!(precise >= 50, "{precise}");
    // As many short as long ones, in turn: the median's interval spans both for ever.
    sandbox.script(r#"{"iterations_ms": [10, 100]}"#);
    let (stop, count) = reason(&["--precision-target", "0.001", "--max-time", "20"]);
    assert_eq!(stop, "max_time");
    assert!(count > 300, "{count}");
    let (stop, count) = reason(&["--iterations", "1000", "--min-time", "0", "--max-time", "3s"]);
    assert_eq!(stop, "max_time");
    assert!(count < 60, "{count}");
}

#[test]
fn fewer_than_ten_samples_are_too_few() {
    let sandbox = Sandbox::new();
    sandbox.scripted().args(["--iterations", "9", "--min-time", "0"]).succeeds();
    sandbox.scripted().args(["--iterations", "10", "--min-time", "0"]).succeeds();
    let validity: Vec<Value> =
        sandbox.sql("SELECT validity FROM results ORDER BY run_id").iter().map(|row| row["validity"].clone()).collect();
    assert_eq!(validity, ["too_few_samples", "valid"]);
    assert_eq!(sandbox.count("SELECT run_id FROM latest_results"), 2);
}

#[test]
fn throughput_mode_has_no_latency() {
    let sandbox = Sandbox::new();
    sandbox.scripted().args(["--throughput-mode", "--batch-sizes", "2"]).succeeds();
    sandbox.scripted().args(["--throughput-mode", "--batches-in-flight", "8", "--batch-sizes", "2"]).succeeds();
    for (row, in_flight) in sandbox.sql("SELECT * FROM results ORDER BY run_id").iter().zip([4, 8]) {
        for metric in ["latency_mean_ms", "latency_p50_ms", "latency_p99_ms", "latency_min_ms"] {
            assert_eq!(row[metric], Value::Null, "{metric}");
        }
        assert!(row["throughput_samples_per_second"].as_f64().unwrap() > 0.0);
        let parameters: Value = serde_json::from_str(row["parameters"].as_str().unwrap()).unwrap();
        assert_eq!(parameters, serde_json::json!({"batches_in_flight": in_flight}));
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM configuration"), 2);
}

#[track_caller]
fn phases_sum_to_the_step(sandbox: &Sandbox) {
    let steps = sandbox.sql(
        "SELECT step.run_id, step.iteration, step.nanoseconds AS step,
             sum(part.nanoseconds) AS parts, count(*) AS phases
         FROM sample AS step JOIN sample AS part USING (run_id, iteration)
         WHERE step.phase = 'iteration' AND part.phase IN ('forward', 'loss', 'backward', 'optimizer_step')
         GROUP BY step.run_id, step.iteration",
    );
    assert!(steps.len() >= 12);
    for row in steps {
        let (step, parts) = (row["step"].as_f64().unwrap(), row["parts"].as_f64().unwrap());
        assert_eq!(row["phases"], 4);
        assert!((parts / step - 1.0).abs() < 0.02, "{row}");
    }
}

#[test]
fn the_phases_of_training_sum_to_the_step() {
    let sandbox = Sandbox::new();
    sandbox.scripted().args(["--training-mode", "--optimizer", "sgd"]).succeeds();
    phases_sum_to_the_step(&sandbox);
    let row = &sandbox.sql("SELECT * FROM results")[0];
    assert_eq!(row["mode"], "training");
    assert_eq!(row["parameters"], r#"{"optimizer":"sgd"}"#);
    let of = |metric: &str| row[metric].as_f64().unwrap();
    assert!((of("forward_ms") / of("latency_mean_ms") - 0.3).abs() < 1e-6, "{row}");
    let sum = of("forward_ms") + of("loss_ms") + of("backward_ms") + of("optimizer_step_ms");
    assert!((sum / of("latency_mean_ms") - 1.0).abs() < 1e-9, "{row}");
    sandbox.scripted().args(["--mode", "training"]).succeeds();
    let adam = sandbox.value("SELECT parameters FROM results ORDER BY run_id DESC LIMIT 1");
    assert_eq!(adam, r#"{"optimizer":"adam"}"#);
}

#[test]
fn a_run_remembers_its_surroundings() {
    let sandbox = Sandbox::new();
    sandbox.scripted().args(["--label", "first light", "--seed", "7", "--threads", "1"]).succeeds();
    let row = &sandbox.sql("SELECT * FROM environment")[0];
    for column in ["host", "os", "kernel", "architecture", "cpu_name", "cpu_logical", "host_memory_bytes", "tool_build"]
    {
        assert_ne!(row[column], Value::Null, "{column}");
    }
    assert_eq!(row["tool_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(row["git_commit"], Value::Null, "no repository is around");
    assert_eq!(row["git_dirty"], Value::Null);
    let campaign = &sandbox.sql("SELECT * FROM campaign")[0];
    assert_eq!(campaign["label"], "first light");
    assert_eq!(campaign["seed"], 7);
    let command_line = campaign["command_line"].as_str().unwrap();
    assert!(command_line.ends_with("--label 'first light' --seed 7 --threads 1"), "{command_line}");
    assert_eq!(sandbox.value("SELECT weight_seed FROM run"), 7);
    assert_eq!(sandbox.value("SELECT label FROM results"), "first light");
    assert_eq!(sandbox.value("SELECT threads FROM results"), 1);
    assert_eq!(sandbox.value("SELECT engine_version FROM results"), "1");
}

#[test]
fn a_run_remembers_the_commit() {
    if !has_program("git") {
        skip("there is no git to make a repository with");
        return;
    }
    let sandbox = Sandbox::new();
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(sandbox.folder())
            .env_remove("GIT_DIR")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    git(&["init", "--quiet"]);
    sandbox.write("code.txt", "one");
    git(&["add", "code.txt"]);
    git(&["commit", "--quiet", "--no-verify", "-m", "one"]);
    let commit = git(&["rev-parse", "HEAD"]);
    sandbox.scripted().succeeds();
    sandbox.write("code.txt", "two");
    sandbox.scripted().succeeds();
    let rows = sandbox.sql(
        "SELECT git_commit, git_dirty FROM run JOIN environment ON environment.id = environment_id ORDER BY run.id",
    );
    assert_eq!(
        rows[0],
        serde_json::json!({"git_commit": commit, "git_dirty": 0}),
        "the database itself does not count"
    );
    assert_eq!(rows[1], serde_json::json!({"git_commit": commit, "git_dirty": 1}));
    assert_eq!(sandbox.value("SELECT count(DISTINCT git_commit) FROM results"), 1);
}

#[test]
fn the_same_work_is_the_same_configuration() {
    let sandbox = Sandbox::new();
    sandbox.scripted().succeeds();
    sandbox.scripted().args(["--seed", "3", "--label", "other", "--iterations", "60"]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM configuration"), 1, "seed, label and sampling are not the work");
    sandbox.scripted().args(["--batch-sizes", "2"]).succeeds();
    sandbox.scripted().args(["--threads", "3"]).succeeds();
    sandbox.scripted().arg("--training-mode").succeeds();
    sandbox.scripted().args(["--training-mode", "--optimizer", "sgd"]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM configuration"), 5);
    let two = Sandbox::with_a_run();
    assert_eq!(
        two.value("SELECT fingerprint FROM configuration"),
        sandbox.value("SELECT fingerprint FROM configuration WHERE id = 1"),
        "in every database"
    );
}

#[test]
fn a_failed_run_does_not_stop_the_others() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"fault": "error", "fault_at": 0, "fault_batch_size": 1}"#);
    let output = sandbox.scripted().args(["--batch-sizes", "1,2", "--format", "json"]).ends_with(1);
    let statuses: Vec<Value> = rows(&json_of(&output)).iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, ["failed", "ok"]);
    assert!(stderr_of(&output).contains("the script says so"), "{}", stderr_of(&output));
}

#[test]
fn resume_needs_a_campaign_that_is_there() {
    let sandbox = Sandbox::with_a_run();
    sandbox.benchdb().args(["run", "--resume", "no such"]).refuses(&["no campaign `no such`"], &["last"]);
    let output = sandbox.benchdb().args(["run", "--resume", "last"]).succeeds();
    assert!(stderr_of(&output).contains("nothing left to measure"), "{}", stderr_of(&output));
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 1);
    Sandbox::new().benchdb().args(["run", "--resume", "last"]).refuses(&["no database"], &[]);
}

#[test]
fn weights_that_are_not_there_are_noticed_first() {
    let sandbox = Sandbox::new();
    let output = sandbox.scripted().args(["--weights", "missing.safetensors"]).ends_with(2);
    assert!(stderr_of(&output).contains("`missing.safetensors`"), "{}", stderr_of(&output));
    assert!(sandbox.listing().is_empty());
}

#[test]
fn weights_of_a_file_are_remembered() {
    let sandbox = Sandbox::new();
    sandbox.write("weights.safetensors", "not looked into by the scripted engine");
    sandbox.scripted().args(["--weights", "weights.safetensors"]).succeeds();
    let row = &sandbox.sql("SELECT artifact.*, weight_seed FROM run JOIN artifact ON artifact.id = artifact_id")[0];
    assert_eq!(row["format"], "safetensors");
    assert_eq!(row["size_bytes"], 38);
    // The whole path: the campaign may be resumed from another folder.
    assert!(
        row["path"].as_str().unwrap().ends_with("/weights.safetensors")
            && row["path"].as_str().unwrap().starts_with('/')
    );
    assert_eq!(row["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(row["weight_seed"], Value::Null);
}

#[track_caller]
fn plausible(row: &Value) {
    let of = |metric: &str| row[metric].as_f64().unwrap_or_else(|| panic!("no {metric}: {row}"));
    assert_eq!(row["status"], "ok");
    assert_eq!(row["validity"], "valid");
    assert!(of("latency_min_ms") > 0.0 && of("latency_min_ms") <= of("latency_p50_ms"));
    assert!(of("latency_p50_ms") <= of("latency_p99_ms") && of("latency_p99_ms") <= of("latency_max_ms"));
    let expected = of("batch_size") * 1e3 / of("latency_mean_ms");
    assert!((of("throughput_samples_per_second") / expected - 1.0).abs() < 1e-6);
    assert!((5.0..2000.0).contains(&of("memory_host_peak_mb")), "{}", of("memory_host_peak_mb"));
    assert!(of("startup_ms") > 0.0 && of("first_inference_ms") > 0.0);
    assert!((of("model_size_mb") - 814_122.0 * 4.0 / 1e6).abs() < 0.1, "{}", of("model_size_mb"));
    assert_eq!(row["success_rate"], 1.0);
}

#[test]
fn a_real_network_is_measured_on_both_processor_engines() {
    let sandbox = Sandbox::new();
    let both = ["run", "--model", "cifar_cnn", "--hardware", "cpu", "--engine", "burn-flex,burn-ndarray"];
    sandbox.benchdb().args(both).args(SHORT).args(["--batch-sizes", "1,4"]).succeeds();
    sandbox.benchdb().args(both).args(SHORT).args(["--batch-sizes", "4", "--training-mode"]).succeeds();
    let results = sandbox.sql("SELECT * FROM results");
    assert_eq!(results.len(), 6);
    for row in &results {
        plausible(row);
        assert_eq!(row["software"], 0);
        assert_eq!(row["device_kind"], "cpu");
        let version = row["framework_version"].as_str().unwrap();
        assert!(version.starts_with("burn "), "{version}");
        for phase in ["forward_ms", "loss_ms", "backward_ms", "optimizer_step_ms"] {
            assert_eq!(row[phase].is_number(), row["mode"] == "training", "{phase}: {row}");
        }
    }
    assert_eq!(sandbox.count("SELECT count(DISTINCT engine) FROM results"), 2);
    assert_eq!(sandbox.count("SELECT count(*) FROM device"), 1, "one processor, whatever drives it");
    assert_eq!(sandbox.count("SELECT count(*) FROM leaderboard WHERE mode = 'inference'"), 4);
    phases_sum_to_the_step(&sandbox);
    let model = &sandbox.sql("SELECT * FROM model")[0];
    assert_eq!(model["parameter_count"], 814_122);
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn software_vulkan_is_measured_and_marked() {
    let sandbox = Sandbox::new();
    let hardware = sandbox.benchdb().args(["hardware", "--format", "json"]).json();
    let device = hardware["devices"].as_array().unwrap().iter().find(|row| row["platform"] == "vulkan").cloned();
    let Some(device) = device else {
        skip("no Vulkan device is here (Debian: apt-get install mesa-vulkan-drivers)");
        return;
    };
    if device["software"] == "no" {
        skip("the first Vulkan device is a real one");
        return;
    }
    sandbox
        .benchdb()
        .args(["run", "--model", "cifar_cnn", "--hardware", "vulkan", "--max-time", "300"])
        .args(SHORT)
        .succeeds();
    let row = &sandbox.sql("SELECT * FROM results")[0];
    assert_eq!(row["platform"], "vulkan");
    assert_eq!(row["engine"], "burn-wgpu");
    assert_eq!(row["software"], 1);
    assert!(row["latency_p50_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(sandbox.count("SELECT count(*) FROM latest_results"), 1);
    assert_eq!(sandbox.count("SELECT count(*) FROM leaderboard"), 0, "software is in no ranking");
    // `auto` does not take it either.
    let output = sandbox.benchdb().args(["run", "--dry-run", "--model", "cifar_cnn", "--format", "json"]).succeeds();
    assert!(stderr_of(&output).contains("`auto` took `cpu`"), "{}", stderr_of(&output));
    let output = sandbox.benchdb().args(["run", "--dry-run", "--model", "cifar_cnn", "--include-software"]).succeeds();
    assert!(stderr_of(&output).contains("`auto` took `vulkan`"), "{}", stderr_of(&output));
}
