//! What keeps a database in order: init-db, status, merge, delete, backup, check; and what is generated: completions,
//! manual pages.

use std::process::{Command, Stdio};

use crate::support::{
    Expect as _, SCRIPTED_RUN, Sandbox, has_program, json_of, rows, said, skip, stderr_of, stdout_of,
};

#[test]
fn init_db_says_what_it_did() {
    let sandbox = Sandbox::new();
    let output = sandbox.benchdb().arg("init-db").succeeds();
    assert!(stderr_of(&output).contains("created `benchdb.sqlite` with schema 2"), "{}", stderr_of(&output));
    let bytes = std::fs::read(sandbox.db()).unwrap();
    let output = sandbox.benchdb().arg("init-db").succeeds();
    assert!(stderr_of(&output).contains("there already"), "{}", stderr_of(&output));
    assert_eq!(std::fs::read(sandbox.db()).unwrap(), bytes);
    assert_eq!(sandbox.listing(), ["benchdb.sqlite"]);
}

#[test]
fn an_empty_file_becomes_a_database() {
    let sandbox = Sandbox::new();
    sandbox.write("benchdb.sqlite", "");
    sandbox.benchdb().arg("status").refuses(&["no database"], &["init-db"]);
    sandbox.scripted().succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 1);
}

#[test]
fn status_counts_what_is_there() {
    let sandbox = Sandbox::with_broken_runs();
    let status = sandbox.benchdb().args(["status", "--format", "json"]).json();
    let of = |what: &str| {
        let row = status["database"].as_array().unwrap().iter().find(|row| row["what"] == what).unwrap();
        row["value"].clone()
    };
    assert_eq!(of("schema"), 2);
    assert_eq!(of("runs"), 7);
    assert_eq!(of("runs measured"), 4);
    assert_eq!(of("runs that broke or were stopped"), 2);
    assert_eq!(of("unsupported outcomes"), 1);
    assert_eq!(of("campaigns"), 5);
    assert_eq!(of("planned runs still open"), 0);
    assert!(of("size_bytes").as_i64().unwrap() > 10_000);
    assert_eq!(status["newest_runs"].as_array().unwrap().len(), 7);
    assert_eq!(status["failures"].as_array().unwrap().len(), 3);
    assert_eq!(status["newest_campaigns"].as_array().unwrap().len(), 5);
    sandbox.benchdb().arg("status").succeeds();
}

#[test]
fn status_of_an_empty_database_works() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("init-db").succeeds();
    for format in ["table", "json", "csv", "markdown"] {
        sandbox.benchdb().args(["status", "--format", format]).succeeds();
    }
}

#[test]
fn merge_takes_what_is_not_there_yet() {
    let (here, there) = (Sandbox::with_a_run(), Sandbox::with_broken_runs());
    let other = there.db();
    let their_bytes = std::fs::read(&other).unwrap();
    let output = here.benchdb().arg("merge").arg(&other).succeeds();
    assert!(stderr_of(&output).contains("7 new runs of 7"), "{}", stderr_of(&output));
    assert_eq!(here.count("SELECT count(*) FROM run"), 8);
    let output = here.benchdb().arg("merge").arg(&other).succeeds();
    assert!(stderr_of(&output).contains("0 new runs of 7"), "{}", stderr_of(&output));
    assert_eq!(here.count("SELECT count(*) FROM run"), 8);
    assert_eq!(std::fs::read(&other).unwrap(), their_bytes, "the other database stays as it is");
    let samples = "SELECT run_uuid, count(*) AS samples, sum(nanoseconds) AS total
        FROM sample JOIN results USING (run_id) GROUP BY run_uuid ORDER BY run_uuid";
    let theirs = there.sql(samples);
    let ours = here.sql(samples);
    assert!(!theirs.is_empty() && theirs.iter().all(|row| ours.contains(row)));
    here.benchdb().arg("check").succeeds();
}

#[test]
fn merge_brings_baselines_whose_names_are_free() {
    let (here, there) = (Sandbox::with_a_run(), Sandbox::with_a_run());
    for sandbox in [&here, &there] {
        sandbox.benchdb().args(["baseline", "save", "main"]).succeeds();
    }
    there.benchdb().args(["baseline", "save", "release", "--note", "1.0"]).succeeds();
    let output = here.benchdb().arg("merge").arg(there.db()).succeeds();
    assert!(stderr_of(&output).contains("took 1 baseline"), "{}", said(&output));
    assert!(stderr_of(&output).contains("left out 1 baseline with names that are taken"), "{}", said(&output));
    let runs =
        "SELECT baseline.name, run.uuid FROM baseline_run JOIN baseline ON baseline.id = baseline_run.baseline_id
        JOIN run ON run.id = baseline_run.run_id WHERE baseline.name = 'release'";
    assert_eq!(here.sql(runs), there.sql(runs));
    let ours = "SELECT run_id FROM baseline_run JOIN baseline ON baseline.id = baseline_id WHERE name = 'main'";
    assert_eq!(here.value(ours), 1, "ours stays as it is");
}

#[test]
fn merge_into_nothing_is_a_copy() {
    let (here, there) = (Sandbox::new(), Sandbox::with_broken_runs());
    here.benchdb().arg("merge").arg(there.db()).succeeds();
    assert_eq!(here.export(), there.export());
}

#[test]
fn merge_refuses_itself_and_strangers() {
    let sandbox = Sandbox::with_a_run();
    sandbox.benchdb().args(["merge", "benchdb.sqlite"]).refuses(&["merged with itself"], &["another"]);
    sandbox.benchdb().args(["merge", "./tmp/../benchdb.sqlite"]).refuses(&["merged with itself"], &["another"]);
    sandbox.write("notes.txt", "nothing of the kind, whatever it is called; and more than a hundred bytes of it, too");
    sandbox.benchdb().args(["merge", "notes.txt"]).refuses(&["`notes.txt` is not an SQLite database"], &["--db"]);
    sandbox.benchdb().args(["merge", "missing.sqlite"]).refuses(&["no database at `missing.sqlite`"], &[]);
}

#[test]
fn delete_needs_a_selection() {
    let sandbox = Sandbox::with_a_run();
    sandbox.benchdb().arg("delete").refuses(&["nothing was selected"], &["--run", "--everything"]);
    sandbox.benchdb().args(["delete", "--yes"]).refuses(&["nothing was selected"], &["--everything"]);
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 1);
}

#[test]
fn delete_shows_first_and_asks() {
    let sandbox = Sandbox::with_broken_runs();
    let output = sandbox.benchdb().args(["delete", "--status", "failed", "--dry-run"]).succeeds();
    assert!(stderr_of(&output).contains("2 runs would be removed"), "{}", stderr_of(&output));
    assert!(stdout_of(&output).contains("failed"), "what would go is shown");
    let output = sandbox.benchdb().args(["delete", "--status", "failed"]).stdin(Stdio::null()).ends_with(2);
    assert!(stderr_of(&output).contains("error: ") && stderr_of(&output).contains("--yes"), "{}", stderr_of(&output));
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 7);
    let output = sandbox.benchdb().args(["delete", "--status", "failed", "--yes"]).succeeds();
    assert!(stderr_of(&output).contains("removed 2 runs"), "{}", stderr_of(&output));
    assert_eq!(sandbox.count("SELECT count(*) FROM run WHERE status = 'failed'"), 0);
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 5);
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn delete_sweeps_what_nothing_refers_to() {
    let sandbox = Sandbox::with_broken_runs();
    sandbox.benchdb().args(["delete", "--everything", "--yes"]).succeeds();
    for table in [
        "run",
        "metrics",
        "sample_series",
        "configuration",
        "environment",
        "device",
        "model",
        "campaign",
        "planned_run",
    ] {
        assert_eq!(sandbox.count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    sandbox.scripted().succeeds();
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn delete_finds_runs_by_every_selection() {
    let sandbox = Sandbox::with_broken_runs();
    for (selection, runs) in [
        (["--run", "1,2"], 2),
        (["--campaign", "last"], 1),
        (["--campaign", "mixed"], 2),
        (["--label", "mixed"], 2),
        (["--model", "CIFAR"], 7),
        (["--model", "resnet18"], 0),
        (["--hardware", "cpu"], 7),
        (["--device", "test dev"], 7),
        (["--engine", "Scripted"], 7),
        (["--precision", "int8"], 1),
        (["--mode", "training"], 1),
        (["--batch-sizes", "2"], 1),
        (["--status", "ok,unsupported"], 5),
        (["--host", "no such host"], 0),
        (["--since", "2020-01-01"], 7),
        (["--until", "2020-01-01"], 0),
    ] {
        let output = sandbox.benchdb().arg("delete").args(selection).arg("--dry-run").succeeds();
        let expected =
            if runs == 0 { "no run is selected".to_owned() } else { format!("{runs} runs would be removed") };
        assert!(stderr_of(&output).contains(&expected), "{selection:?}: {}", stderr_of(&output));
    }
    let uuid = sandbox.value("SELECT uuid FROM run WHERE id = 3");
    let output = sandbox.benchdb().args(["delete", "--run", uuid.as_str().unwrap(), "--yes"]).succeeds();
    assert!(stderr_of(&output).contains("removed 1 run"), "{}", stderr_of(&output));
    sandbox.benchdb().args(["delete", "--campaign", "no such", "--yes"]).refuses(&["no campaign `no such`"], &["last"]);
}

#[test]
fn backup_copies_while_somebody_writes() {
    let sandbox = Sandbox::with_a_run();
    let mut writer = sandbox
        .benchdb()
        .args(SCRIPTED_RUN)
        .args(["--repeat", "20"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut copies = 0;
    while writer.try_wait().unwrap().is_none() || copies == 0 {
        copies += 1;
        let name = format!("copy-{copies}.sqlite");
        sandbox.benchdb().args(["backup", &name]).succeeds();
        let rows = rows(
            &sandbox
                .benchdb()
                .args(["--db", &name, "query", "--format", "json", "SELECT count(*) AS n FROM run"])
                .json(),
        );
        assert!(rows[0]["n"].as_i64().unwrap() >= 1);
        sandbox.benchdb().args(["--db", &name, "check"]).succeeds();
    }
    assert!(writer.wait().unwrap().success());
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 21, "the writer was not disturbed");
    sandbox.benchdb().args(["backup", "whole.sqlite"]).succeeds();
    let whole = sandbox.benchdb().args(["--db", "whole.sqlite", "export"]).succeeds().stdout;
    assert_eq!(whole, sandbox.export());
}

#[test]
fn backup_refuses_a_file_that_is_there() {
    let sandbox = Sandbox::with_a_run();
    sandbox.write("copy.sqlite", "precious");
    sandbox.benchdb().args(["backup", "copy.sqlite"]).refuses(&["`copy.sqlite` is there already"], &["another name"]);
    assert_eq!(sandbox.read("copy.sqlite"), "precious");
    let output = sandbox.benchdb().args(["backup", "no/folder/copy.sqlite"]).ends_with(2);
    assert!(stderr_of(&output).contains("no/folder/copy.sqlite"), "{}", stderr_of(&output));
    assert_eq!(sandbox.listing(), ["benchdb.sqlite", "copy.sqlite"]);
}

#[test]
fn check_finds_nothing_in_a_good_database() {
    for sandbox in [Sandbox::with_a_run(), Sandbox::with_broken_runs()] {
        let output = sandbox.benchdb().args(["check", "--format", "json"]).succeeds();
        assert!(rows(&json_of(&output)).is_empty());
        assert!(stderr_of(&output).contains("in order"));
    }
}

#[test]
fn check_finds_what_was_changed_by_hand() {
    for (damage, finding) in [
        ("UPDATE configuration SET batch_size = 77", "fingerprint"),
        ("UPDATE configuration SET fingerprint = hex(zeroblob(32))", "fingerprint"),
        ("UPDATE sample_series SET nanoseconds = '[1,2,3]' WHERE phase = 'iteration'", "samples"),
        ("UPDATE metrics SET latency_mean_ms = latency_mean_ms * 1.01", "mean"),
        ("PRAGMA foreign_keys = OFF; DELETE FROM environment", "missing row of environment"),
        ("DELETE FROM metrics", "no metrics"),
        ("INSERT INTO telemetry_series VALUES (1, 'power', 'W', '[1.0]', '[1.0, 2.0]')", "offsets and values differ"),
    ] {
        let sandbox = Sandbox::with_a_run();
        sandbox.connection().execute_batch(damage).unwrap();
        let output = sandbox.benchdb().args(["check", "--format", "json"]).ends_with(1);
        let found = rows(&json_of(&output));
        let named = found.iter().any(|row| row["problem"].as_str().unwrap().contains(finding));
        assert!(named, "{damage}: {found:?}");
    }
}

#[test]
fn check_finds_a_damaged_page() {
    let sandbox = Sandbox::with_broken_runs();
    let mut bytes = std::fs::read(sandbox.db()).unwrap();
    let last_page = bytes.len() - 4096;
    bytes[last_page..].fill(0x5A);
    std::fs::write(sandbox.db(), bytes).unwrap();
    let output = sandbox.benchdb().arg("check").outcome();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}", crate::support::said(&output));
}

#[test]
fn completions_are_made_for_every_shell() {
    let sandbox = Sandbox::new();
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef benchdb"), ("fish", "complete -c benchdb")] {
        let script = stdout_of(&sandbox.benchdb().args(["completions", shell]).succeeds());
        assert!(script.contains(mark), "{shell}");
        assert!(script.contains("init-db"), "{shell}");
        assert!(!script.contains("__worker"), "{shell} shows what is not for people");
    }
    if !has_program("bash") {
        skip("there is no bash to read its completions");
        return;
    }
    let script = sandbox.benchdb().args(["completions", "bash"]).succeeds().stdout;
    sandbox.write("benchdb.bash", script);
    assert!(Command::new("bash").arg("-n").arg(sandbox.path("benchdb.bash")).status().unwrap().success());
    let output = sandbox.benchdb().args(["completions", "csh"]).ends_with(2);
    assert!(stderr_of(&output).contains("bash"), "the shells are listed");
}

#[test]
fn manual_pages_are_made() {
    let sandbox = Sandbox::new();
    let page = stdout_of(&sandbox.benchdb().arg("man").succeeds());
    assert!(page.contains(".TH benchdb 1") && page.contains("init\\-db"), "{page}");
    sandbox.benchdb().args(["man", "--folder", "pages/man1"]).succeeds();
    for page in ["benchdb.1", "benchdb-run.1", "benchdb-query.1", "benchdb-init-db.1"] {
        assert!(sandbox.path("pages/man1").join(page).is_file(), "{page}");
    }
}

#[test]
fn a_missing_command_shows_the_help() {
    let sandbox = Sandbox::new();
    let output = sandbox.benchdb().ends_with(2);
    assert!(stderr_of(&output).contains("Usage: benchdb"));
    let output = sandbox.benchdb().arg("--version").succeeds();
    assert_eq!(stdout_of(&output).trim(), format!("benchdb {}", env!("CARGO_PKG_VERSION")));
    let output = sandbox.benchdb().arg("qery").ends_with(2);
    assert!(stderr_of(&output).contains("'query'"), "{}", stderr_of(&output));
}

#[test]
fn models_lists_the_zoo() {
    let sandbox = Sandbox::new();
    let models = rows(&sandbox.benchdb().args(["models", "--format", "json"]).json());
    let of = |name: &str| models.iter().find(|row| row["model"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert!(models.len() >= 8);
    assert_eq!(of("resnet50")["parameters"], 25_557_032);
    assert_eq!(of("vit_b_16")["parameters"], 86_567_656);
    assert_eq!(of("bert-base-uncased")["category"], "text");
    let near = |name: &str, expected: f64| {
        let found = of(name)["multiply_adds_per_sample"].as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 0.01, "{name}: {found}");
    };
    near("resnet50", 4.09e9);
    near("vit_b_16", 17.6e9);
    let text = rows(&sandbox.benchdb().args(["models", "--category", "text", "--format", "json"]).json());
    assert!(text.len() < models.len() && text.iter().all(|row| row["category"] == "text"));
    sandbox.benchdb().arg("models").succeeds();
}

#[test]
fn hardware_names_what_is_here_and_what_is_missing() {
    let sandbox = Sandbox::new();
    let hardware = sandbox.benchdb().args(["hardware", "--format", "json"]).json();
    let devices = hardware["devices"].as_array().unwrap();
    for engine in ["burn-flex", "burn-ndarray"] {
        let row = devices.iter().find(|row| row["engine"] == engine).unwrap();
        assert_eq!(row["platform"], "cpu");
        assert_eq!(row["software"], "no");
        assert!(row["precisions"].as_str().unwrap().contains("fp32"));
    }
    assert!(!devices.iter().any(|row| row["engine"] == "scripted"), "the test engine is hidden");
    let missing = hardware["missing"].as_array().unwrap();
    for platform in ["openvino", "webgpu", "webnn", "tpu", "mps"] {
        let row = missing.iter().find(|row| row["platform"] == platform).unwrap();
        assert!(!row["reason"].as_str().unwrap().is_empty() && !row["way_out"].as_str().unwrap().is_empty());
    }
    assert!(sandbox.listing().is_empty());
}

#[test]
fn a_narrow_delete_leaves_the_plan_of_the_campaign() {
    let sandbox = Sandbox::with_a_run();
    let open = "UPDATE planned_run SET state = 'pending', run_id = NULL";
    sandbox.connection().execute(open, []).unwrap();
    let planned = "SELECT count(*) FROM planned_run WHERE state = 'pending'";
    sandbox.benchdb().args(["delete", "--campaign", "last", "--model", "vit", "--yes"]).succeeds();
    assert_eq!(sandbox.count(planned), 1);
    sandbox.benchdb().args(["delete", "--campaign", "last", "--yes"]).succeeds();
    assert_eq!(sandbox.count(planned), 0);
}
