//! `benchdb query`: answers questions, changes nothing, says when it cuts.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use crate::support::{Expect as _, Sandbox, json_of, rows, stderr_of, stdout_of, wait_for};

const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";

fn named_queries(sandbox: &Sandbox) -> Vec<String> {
    let list = rows(&sandbox.benchdb().args(["query", "--list", "--format", "json"]).json());
    assert!(list.len() >= 13);
    assert!(list.iter().all(|row| row["question"].as_str().unwrap().contains('?')));
    list.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_named_query_runs_on_every_kind_of_database() {
    let empty = Sandbox::new();
    empty.benchdb().arg("init-db").succeeds();
    for (sandbox, has_rows) in [(empty, false), (Sandbox::with_a_run(), true), (Sandbox::with_broken_runs(), true)] {
        let mut answered = 0;
        for name in named_queries(&sandbox) {
            answered += rows(&sandbox.benchdb().args(["query", "--format", "json", "--name", &name]).json()).len();
        }
        assert_eq!(answered > 0, has_rows);
    }
}

#[test]
fn named_queries_are_found_by_forgiving_names() {
    let sandbox = Sandbox::with_a_run();
    sandbox.benchdb().args(["query", "--name", "batch-scaling"]).succeeds();
    sandbox.benchdb().args(["query", "--name", "leaderbord"]).refuses(&["`leaderbord`"], &["`leaderboard`"]);
    sandbox.benchdb().args(["query", "--name", "xyzzy"]).refuses(&["`xyzzy`"], &["--list"]);
}

#[test]
fn whatever_is_more_than_reading_is_refused() {
    let sandbox = Sandbox::with_a_run();
    let before = sandbox.export();
    let attached = sandbox.path("attached.sqlite");
    for statement in [
        "INSERT INTO baseline (name, created_at) VALUES ('x', 'now')",
        "UPDATE run SET error = 'x'",
        "DELETE FROM run",
        "WITH old AS (SELECT id FROM run) DELETE FROM run WHERE id IN (SELECT id FROM old)",
        "DELETE FROM run RETURNING id",
        "REPLACE INTO baseline (name, created_at) VALUES ('x', 'now')",
        "DROP TABLE run",
        "CREATE TABLE mine (id)",
        "CREATE TEMP TABLE mine (id)",
        "ALTER TABLE run ADD COLUMN mine",
        &format!("ATTACH '{}' AS other", attached.display()),
        &format!("VACUUM INTO '{}'", attached.display()),
        "DETACH main",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = ON",
        "PRAGMA user_version = 7",
        "BEGIN",
        "REINDEX",
        "ANALYZE",
        "SELECT load_extension('x')",
        "SELECT writefile('x', 'y')",
        "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM run",
        "",
        "   ",
        "not sql at all",
        "SELECT * FROM",
    ] {
        let output = sandbox.benchdb().args(["query", statement]).ends_with(2);
        let stderr = stderr_of(&output);
        assert!(stderr.starts_with("error: the query was refused: "), "{statement}: {stderr}");
        assert_eq!(stderr.matches("error:").count(), 1, "{statement}: {stderr}");
        assert!(output.stdout.is_empty(), "{statement}");
    }
    assert_eq!(sandbox.export(), before);
    assert_eq!(sandbox.listing(), ["benchdb.sqlite"]);
}

#[test]
fn a_refused_change_names_the_way_out() {
    let sandbox = Sandbox::with_a_run();
    sandbox.benchdb().args(["query", "DELETE FROM run"]).refuses(&["refused"], &["only reads"]);
    sandbox.benchdb().args(["query", "SELECT 1; SELECT 2"]).refuses(&["more than one statement"], &["one at a time"]);
}

#[test]
fn a_slip_in_a_name_is_recognised() {
    let sandbox = Sandbox::with_a_run();
    sandbox.benchdb().args(["query", "SELECT * FROM reslts"]).refuses(&["no such table: reslts"], &["`results`"]);
    sandbox
        .benchdb()
        .args(["query", "SELECT latency_p50 FROM results"])
        .refuses(&["no such column: latency_p50"], &["`latency_p50_ms`"]);
    sandbox.benchdb().args(["query", "SELECT * FROM xyzzy"]).refuses(&["xyzzy"], &["--schema"]);
    sandbox.benchdb().args(["query", "SELECT xyzzy FROM results"]).refuses(&["xyzzy"], &["--schema"]);
}

#[test]
fn the_row_limit_says_that_it_cut() {
    let sandbox = Sandbox::with_a_run();
    let query = format!("{ENDLESS} SELECT i FROM n");
    let output = sandbox.benchdb().args(["query", "--max-rows", "5", "--format", "json", &query]).succeeds();
    assert_eq!(rows(&json_of(&output)).len(), 5);
    assert!(stderr_of(&output).contains("cut after 5 rows"), "{}", stderr_of(&output));
    let whole = format!("{ENDLESS} SELECT i FROM n LIMIT 5");
    let output = sandbox.benchdb().args(["query", "--max-rows", "5", "--format", "json", &whole]).succeeds();
    assert!(stderr_of(&output).is_empty(), "nothing was cut: {}", stderr_of(&output));
}

#[test]
fn there_is_a_row_limit_unless_it_is_lifted() {
    let sandbox = Sandbox::with_a_run();
    let query = format!("{ENDLESS} SELECT i FROM n LIMIT 10001");
    let output = sandbox.benchdb().args(["query", "--format", "csv", &query]).succeeds();
    assert_eq!(stdout_of(&output).lines().count(), 1 + 10_000);
    assert!(stderr_of(&output).contains("--max-rows 0"));
    let output = sandbox.benchdb().args(["query", "--max-rows", "0", "--format", "csv", &query]).succeeds();
    assert_eq!(stdout_of(&output).lines().count(), 1 + 10_001);
    assert!(stderr_of(&output).is_empty());
}

#[test]
fn the_time_limit_says_that_it_cut() {
    let sandbox = Sandbox::with_a_run();
    let query = format!("{ENDLESS} SELECT max(i) FROM n");
    let output = sandbox.benchdb().args(["query", "--max-time", "0.2", "--format", "json", &query]).ends_with(1);
    assert!(rows(&json_of(&output)).is_empty());
    assert!(stderr_of(&output).contains("cut after 0.2 seconds"), "{}", stderr_of(&output));
}

#[test]
fn parameters_are_bound_not_pasted() {
    let sandbox = Sandbox::with_a_run();
    let query = "SELECT count(*) AS found FROM results WHERE model = :model";
    for (value, found) in [("cifar_cnn", 1), ("resnet18", 0), ("' OR 1 = 1 --", 0)] {
        let parameter = format!("model={value}");
        let answer = sandbox.benchdb().args(["query", "--format", "json", "--param", &parameter, query]).json();
        assert_eq!(rows(&answer)[0]["found"], found, "{value}");
    }
    let answer = sandbox
        .benchdb()
        .args([
            "query",
            "--format",
            "json",
            "--param",
            "n=3",
            "--param",
            "x=1.5",
            "SELECT :n + 1 AS n, :x AS x, :y AS y",
        ])
        .json();
    assert_eq!(rows(&answer)[0], serde_json::json!({"n": 4, "x": 1.5, "y": null}));
    sandbox.benchdb().args(["query", "--param", "z=1", "SELECT 1"]).refuses(&["no parameter `:z`"], &[":name"]);
    let answer =
        sandbox.benchdb().args(["query", "--format", "json", "--name", "history", "--param", "model=cifar_cnn"]).json();
    assert_eq!(rows(&answer).len(), 1);
}

#[test]
fn a_dash_reads_standard_input() {
    let sandbox = Sandbox::with_a_run();
    let output = assert_cmd::Command::from_std(sandbox.benchdb())
        .args(["query", "--format", "json", "-"])
        .write_stdin("-- how many?\nSELECT count(*) AS runs\nFROM run;\n")
        .output()
        .unwrap();
    assert_eq!(rows(&json_of(&output))[0]["runs"], 1);
}

#[test]
fn rows_come_in_every_format() {
    let sandbox = Sandbox::with_a_run();
    let query = "SELECT 'a,\"b\"|c' AS text, 1 AS whole, 0.5 AS real, NULL AS absent";
    let in_format = |format: &str| stdout_of(&sandbox.benchdb().args(["query", "--format", format, query]).succeeds());
    assert_eq!(in_format("csv"), "text,whole,real,absent\n\"a,\"\"b\"\"|c\",1,0.5,\n");
    let json: serde_json::Value = serde_json::from_str(&in_format("json")).unwrap();
    let expected = serde_json::json!({"text": "a,\"b\"|c", "whole": 1, "real": 0.5, "absent": null});
    assert_eq!(json["rows"][0], expected);
    let markdown = in_format("markdown");
    assert!(markdown.contains("| text") && markdown.contains("a,\"b\"\\|c"), "{markdown}");
    assert!(in_format("table").contains("a,\"b\"|c"));
}

#[test]
fn a_file_takes_the_format_of_its_ending() {
    let sandbox = Sandbox::with_a_run();
    for (file, beginning) in [("a.json", "{"), ("a.csv", "model\n"), ("a.md", "|")] {
        let output = sandbox.benchdb().args(["query", "SELECT model FROM results", "--output", file]).succeeds();
        assert!(output.stdout.is_empty());
        assert!(sandbox.read(file).trim_start().starts_with(beginning), "{file}: {}", sandbox.read(file));
    }
    let output = sandbox.benchdb().args(["query", "SELECT 1", "--output", "no/such/folder.csv"]).ends_with(2);
    assert!(stderr_of(&output).contains("cannot write `no/such/folder.csv`"));
}

#[test]
fn samples_can_be_taken_apart_in_sql() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"iterations_ms": [10, 20]}"#);
    sandbox.scripted().args(["--iterations", "100"]).succeeds();
    let medians = sandbox.sql(
        "SELECT avg(value) / 1e6 AS mean_ms, count(*) AS samples
         FROM sample_series, json_each(sample_series.nanoseconds) WHERE phase = 'iteration'",
    );
    assert_eq!(medians[0]["samples"], 100);
    assert!((medians[0]["mean_ms"].as_f64().unwrap() - 15.0).abs() < 1e-9);
}

#[test]
fn the_schema_can_be_looked_at() {
    let sandbox = Sandbox::with_a_run();
    let tables = rows(&sandbox.benchdb().args(["query", "--schema", "--format", "json"]).json());
    let results = tables.iter().find(|row| row["name"] == "results").unwrap();
    assert_eq!(results["type"], "view");
    assert!(results["columns"].as_str().unwrap().contains("latency_p50_ms"));
    assert!(tables.iter().any(|row| row["name"] == "planned_run"));
    assert_eq!(sandbox.sql("SELECT name FROM pragma_table_info('run') WHERE name = 'uuid'").len(), 1);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let sandbox = Sandbox::with_a_run();
    let query = format!("{ENDLESS} SELECT i, 'some text to fill the pipe' AS text FROM n LIMIT 200000");
    for format in ["csv", "json", "markdown", "table"] {
        let mut child = sandbox
            .benchdb()
            .args(["query", "--max-rows", "0", "--format", format, &query])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let status = wait_for("the end", || child.try_wait().unwrap());
        let mut words = String::new();
        child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        assert!(words.is_empty(), "{format}: {words}");
        assert!(status.success(), "{format}: {status}");
    }
}

#[test]
fn it_needs_a_database() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().args(["query", "SELECT 1"]).refuses(&["no database at `benchdb.sqlite`"], &["benchdb run"]);
    sandbox.benchdb().args(["--db", "there.sqlite", "status"]).refuses(&["`there.sqlite`"], &["init-db"]);
    assert!(sandbox.listing().is_empty());
}

#[test]
fn the_database_may_be_named_by_the_environment() {
    let sandbox = Sandbox::new();
    sandbox.scripted().env("BENCHDB_PATH", "elsewhere.sqlite").succeeds();
    assert_eq!(sandbox.listing(), ["elsewhere.sqlite"]);
    sandbox.benchdb().args(["--db", "elsewhere.sqlite", "query", "SELECT 1"]).succeeds();
}
