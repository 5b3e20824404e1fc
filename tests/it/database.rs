//! The file itself: any SQLite client reads it, it has the promised shape, it refuses what makes no sense, and old
//! files stay readable.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, has_program, root, rows, skip};

/// What people read with other programs.
const RELATIONS: [&str; 5] = ["results", "sample", "latest_results", "leaderboard", "telemetry"];

/// The tables of DESIGN.md, section 3, and the summaries behind its views.
const TABLES: [&str; 22] = [
    "artifact",
    "baseline",
    "baseline_run",
    "campaign",
    "configuration",
    "device",
    "device_probe",
    "environment",
    "environment_summary",
    "extra_metric",
    "fitted_model",
    "import_batch",
    "metrics",
    "model",
    "noise_floor",
    "operator_time",
    "planned_run",
    "run",
    "sample_series",
    "series_summary",
    "telemetry_series",
    "verdict",
];

/// The first columns of `results`, as DESIGN.md lists them.
const IDENTITY: &str = "run_id run_uuid campaign_uuid label started_at model variant category platform device \
    device_kind software engine engine_version framework_version driver_version precision mode method batch_size \
    input_shape threads parameters status validity host git_commit tool_version iterations";

/// A database in which every relation has rows.
fn filled() -> Sandbox {
    let sandbox = Sandbox::with_broken_runs();
    // What no scripted run has: real silicon and sensors.
    sandbox
        .connection()
        .execute_batch(
            "UPDATE device SET software = 0;
             INSERT INTO telemetry_series (run_id, sensor, unit, offsets_ms, \"values\")
                 VALUES (1, 'power', 'W', '[0.0, 100.5, 200.25]', '[11.5, 12.25, 13.0]');",
        )
        .unwrap();
    sandbox
}

fn our_counts(sandbox: &Sandbox) -> BTreeMap<&'static str, i64> {
    RELATIONS
        .into_iter()
        .map(|relation| (relation, rows_in(sandbox, relation)))
        .inspect(|(relation, count)| assert!(*count > 0, "{relation} is empty"))
        .collect()
}

fn rows_in(sandbox: &Sandbox, relation: &str) -> i64 {
    sandbox.count(&format!("SELECT count(*) FROM {relation}"))
}

#[test]
fn pythons_sqlite3_reads_it() {
    if !has_program("python3") {
        skip("there is no python3 to read the database with");
        return;
    }
    let sandbox = filled();
    let reader = sandbox.write(
        "read.py",
        r#"
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
answer = {}
for relation in sys.argv[2:]:
    rows = connection.execute("SELECT * FROM " + relation).fetchall()
    answer[relation] = len(rows)
connection.row_factory = sqlite3.Row
for row in connection.execute("SELECT * FROM results WHERE status = 'ok' AND mode = 'inference' AND validity = 'valid'"):
    samples = [s[0] for s in connection.execute(
        "SELECT nanoseconds FROM sample WHERE run_id = ? AND phase = 'iteration' ORDER BY iteration", (row["run_id"],))]
    assert len(samples) == row["iterations"], (len(samples), row["iterations"])
    assert abs(sum(samples) / len(samples) / 1e6 - row["latency_mean_ms"]) < 1e-9
power = connection.execute("SELECT offset_ms, value FROM telemetry ORDER BY offset_ms").fetchall()
assert [tuple(p) for p in power] == [(0.0, 11.5), (100.5, 12.25), (200.25, 13.0)], power
print(json.dumps(answer))
"#,
    );
    let output = Command::new("python3").arg(reader).arg(sandbox.db()).args(RELATIONS).output().unwrap();
    if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("No module named") {
        skip("this python3 was built without sqlite3");
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: BTreeMap<String, i64> = serde_json::from_slice(&output.stdout).unwrap();
    let ours = our_counts(&sandbox).into_iter().map(|(relation, count)| (relation.to_owned(), count)).collect();
    assert_eq!(theirs, ours);
}

#[test]
fn the_stock_shell_reads_it() {
    if !has_program("sqlite3") {
        skip("there is no sqlite3 shell to read the database with");
        return;
    }
    let sandbox = filled();
    for (relation, ours) in our_counts(&sandbox) {
        let output = Command::new("sqlite3")
            .arg("-readonly")
            .arg(sandbox.db())
            .arg(format!("SELECT count(*) FROM (SELECT * FROM {relation})"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{relation}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), ours.to_string(), "{relation}");
    }
}

#[test]
fn it_says_whose_it_is() {
    let sandbox = Sandbox::with_a_run();
    let id: i64 = sandbox.connection().query_row("PRAGMA application_id", [], |row| row.get(0)).unwrap();
    assert_eq!(id, i64::from(u32::from_be_bytes(*b"BDb1")));
}

#[test]
fn it_keeps_a_write_ahead_log() {
    let sandbox = Sandbox::with_a_run();
    let mode: String = sandbox.connection().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn every_table_is_there_and_strict() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("init-db").succeeds();
    let connection = sandbox.connection();
    let mut statement = connection
        .prepare("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name")
        .unwrap();
    let found: Vec<(String, bool)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .filter(|(name, _): &(String, bool)| name != "refinery_schema_history" && !name.starts_with("sqlite_"))
        .collect();
    let strict: Vec<(String, bool)> = TABLES.iter().map(|name| ((*name).to_owned(), true)).collect();
    assert_eq!(found, strict);
    let mut views: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'view'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    views.sort();
    assert_eq!(views, ["latest_results", "leaderboard", "results", "sample", "telemetry"]);
}

#[test]
fn tables_refer_to_each_other() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("init-db").succeeds();
    let connection = sandbox.connection();
    for (table, parents) in [
        ("artifact", &["model"][..]),
        ("device_probe", &["device"]),
        ("configuration", &["device", "model"]),
        ("run", &["artifact", "campaign", "configuration", "environment", "import_batch"]),
        ("planned_run", &["campaign", "run"]),
        ("metrics", &["run"]),
        ("extra_metric", &["run"]),
        ("sample_series", &["run"]),
        ("telemetry_series", &["run"]),
        ("operator_time", &["run"]),
        ("baseline_run", &["baseline", "run"]),
        ("verdict", &["baseline", "configuration", "run"]),
        ("noise_floor", &["configuration"]),
        ("series_summary", &["configuration"]),
        ("environment_summary", &["environment"]),
    ] {
        let mut found: Vec<String> = connection
            .prepare("SELECT \"table\" FROM pragma_foreign_key_list(?1)")
            .unwrap()
            .query_map([table], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        found.sort();
        assert_eq!(found, parents, "{table}");
    }
}

fn columns_of(connection: &rusqlite::Connection, relation: &str) -> Vec<String> {
    let statement = connection.prepare(&format!("SELECT * FROM {relation} LIMIT 0")).unwrap();
    statement.column_names().map(str::to_owned).collect()
}

#[test]
fn one_list_of_metrics_serves_all() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("init-db").succeeds();
    let connection = sandbox.connection();
    let listed: Vec<String> = csv::Reader::from_path(root().join("data/metrics.csv"))
        .unwrap()
        .records()
        .map(|record| record.unwrap()[0].to_owned())
        .collect();
    assert!(listed.len() > 30);
    assert_eq!(columns_of(&connection, "metrics")[1..], listed, "the table");
    let results = columns_of(&connection, "results");
    assert_eq!(results[results.len() - listed.len()..], listed, "the view");
    let insert = std::fs::read_to_string(root().join("src/store/sql/insert_metrics.sql")).unwrap();
    let (columns, placeholders) = insert.split_once("VALUES").unwrap();
    let bound: Vec<&str> =
        placeholders.split([',', '(', ')']).map(str::trim).filter_map(|word| word.strip_prefix(':')).skip(1).collect();
    assert_eq!(bound, listed, "the placeholders of the insertion");
    let named: Vec<&str> = columns.rsplit('(').next().unwrap().split([',', ')']).map(str::trim).skip(1).collect();
    assert_eq!(named[..listed.len()], listed, "the columns of the insertion");
}

#[test]
fn results_begins_with_the_promised_columns() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("init-db").succeeds();
    let results = columns_of(&sandbox.connection(), "results");
    let promised: Vec<&str> = IDENTITY.split_whitespace().collect();
    assert_eq!(results[..promised.len()], promised);
}

#[test]
fn rows_that_make_no_sense_are_refused() {
    let sandbox = Sandbox::with_a_run();
    let connection = sandbox.connection();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    for statement in [
        "UPDATE run SET status = 'x'",
        "UPDATE run SET status = 'failed'",
        "UPDATE run SET validity = 'perhaps'",
        "UPDATE run SET repetition = 0",
        "UPDATE run SET duration_s = -1.0",
        "UPDATE run SET uuid = 'short'",
        "UPDATE run SET configuration_id = 99",
        "UPDATE run SET iterations = 'many'",
        "UPDATE configuration SET batch_size = 0",
        "UPDATE configuration SET precision = 'fp31'",
        "UPDATE configuration SET mode = 'sleeping'",
        "UPDATE configuration SET engine = ''",
        "UPDATE configuration SET parameters = '{'",
        "UPDATE configuration SET variant = NULL",
        "UPDATE metrics SET success_rate = 2",
        "UPDATE metrics SET latency_p50_ms = 'fast'",
        "UPDATE device SET kind = 'abacus'",
        "UPDATE model SET category = 'smell'",
        "UPDATE sample_series SET nanoseconds = '[1,'",
        "UPDATE planned_run SET state = 'running'",
        "DELETE FROM configuration",
        "INSERT INTO sample_series (run_id, phase, nanoseconds) VALUES (99, 'iteration', '[]')",
    ] {
        let outcome = connection.execute(statement, []);
        assert!(
            matches!(&outcome, Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)),
            "{statement}: {outcome:?}"
        );
    }
}

#[test]
fn a_run_takes_its_measurements_with_it() {
    let sandbox = filled();
    let connection = sandbox.connection();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    connection.execute("DELETE FROM run", []).unwrap();
    for table in ["metrics", "sample_series", "telemetry_series", "extra_metric", "operator_time"] {
        let left: i64 = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

#[test]
fn the_newest_valid_run_is_the_latest_result() {
    let sandbox = Sandbox::new();
    sandbox.scripted().args(["--repeat", "3"]).succeeds();
    // Newer, but not valid.
    sandbox.scripted().args(["--iterations", "5", "--min-time", "0"]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM results"), 4);
    assert_eq!(sandbox.count("SELECT count(DISTINCT batch_size) FROM results"), 1);
    let latest = sandbox.sql("SELECT run_id FROM latest_results");
    assert_eq!(latest.len(), 1);
    assert_eq!(latest[0]["run_id"], 3);
}

#[test]
fn percentiles_are_those_of_the_samples() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"iterations_ms": [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]}"#);
    sandbox.scripted().args(["--iterations", "100", "--min-time", "0"]).succeeds();
    let row = &sandbox.sql("SELECT * FROM results")[0];
    assert_eq!(row["iterations"], 100);
    assert_eq!(row["latency_min_ms"], 10.0);
    assert_eq!(row["latency_max_ms"], 100.0);
    assert_eq!(row["latency_mean_ms"], 55.0);
    assert_eq!(row["latency_p50_ms"], 55.0);
    assert!((row["throughput_samples_per_second"].as_f64().unwrap() - 1e3 / 55.0).abs() < 1e-9);
    assert_eq!(row["success_rate"], 1.0);
    assert_eq!(row["power_mean_w"], Value::Null, "not measured is NULL");
}

#[test]
fn a_database_of_schema_1_still_answers() {
    still_answers("schema-1.sqlite");
}

#[test]
fn a_database_of_the_edited_schema_1_still_answers() {
    still_answers("schema-1-edited.sqlite");
}

#[test]
fn a_database_of_schema_2_still_answers() {
    still_answers("schema-2.sqlite");
}

/// The kept databases: scripted runs in both modes, two failed, one unsupported.
fn still_answers(kept: &str) {
    let sandbox = Sandbox::new();
    std::fs::copy(root().join("fixtures/databases").join(kept), sandbox.db()).unwrap();
    sandbox.benchdb().arg("check").succeeds();
    sandbox.benchdb().args(["status", "--format", "json"]).json();
    let statuses = sandbox.sql("SELECT status, count(*) AS runs FROM results GROUP BY status ORDER BY status");
    let counts: Vec<(String, i64)> = statuses
        .iter()
        .map(|row| (row["status"].as_str().unwrap().to_owned(), row["runs"].as_i64().unwrap()))
        .collect();
    assert_eq!(counts, [("failed".into(), 2), ("ok".into(), 5), ("unsupported".into(), 1)]);
    assert_eq!(sandbox.count("SELECT count(*) FROM sample WHERE phase = 'backward'"), 99);
    for query in rows(&sandbox.benchdb().args(["query", "--list", "--format", "json"]).json()) {
        sandbox.benchdb().args(["query", "--name", query["name"].as_str().unwrap()]).succeeds();
    }
    let before = sandbox.export();
    sandbox.scripted().succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 9);
    let after = sandbox.export();
    let old_runs = before.strip_suffix(b"\n]}\n").unwrap();
    assert!(after.starts_with(old_runs), "the old runs are what they were");
}
