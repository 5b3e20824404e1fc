//! `benchdb export` and `benchdb import`: nothing is lost, nothing comes in twice, and a bad row says where it is.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, json_of, root, rows, said, stderr_of, wait_for};

/// A database that holds all that a run can hold.
fn origin() -> Sandbox {
    let sandbox = Sandbox::with_broken_runs();
    sandbox.scripted().args(["--label", "a \"quoted\", ünusual label", "--seed", "9223372036854775807"]).succeeds();
    sandbox.write("weights.pt", "weights");
    sandbox.scripted().args(["--weights", "weights.pt", "--throughput-mode"]).succeeds();
    sandbox
        .connection()
        .execute_batch(
            "INSERT INTO extra_metric VALUES (2, 'loss', '', 'lower', 0.1), (2, 'words', 'words/s', 'higher', 1e300);
             INSERT INTO telemetry_series VALUES (2, 'power', 'W', '[-100.0,0.5,100.25]', '[11.5,0.1,13.0]');
             INSERT INTO operator_time VALUES (2, 'layer1.conv', 100, 123456789, 23456789), (2, 'fc', 1, 2, 1);
             UPDATE metrics SET power_mean_w = 0.1, fidelity_relative_error = 1e-7, fidelity_cosine = -0.30000000000000004 WHERE run_id = 2;",
        )
        .unwrap();
    sandbox
}

/// What `import` says of its only file.
fn imported(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let output = sandbox.benchdb().arg("import").args(arguments).args(["--format", "json"]).succeeds();
    let rows = rows(&json_of(&output));
    assert_eq!(rows.len(), 1);
    rows[0].clone()
}

fn numbers(row: &Value) -> (i64, i64, i64) {
    (row["taken"].as_i64().unwrap(), row["known"].as_i64().unwrap_or(-1), row["refused"].as_i64().unwrap())
}

/// An export with these runs, one a line.
fn document(runs: &[String]) -> String {
    format!("{{\"schema\":\"benchdb/1\",\"kind\":\"runs\",\"runs\":[\n{}\n]}}\n", runs.join(",\n"))
}

/// The runs of an export, each as its line.
fn lines_of(export: &[u8]) -> Vec<String> {
    let text = String::from_utf8(export.to_vec()).unwrap();
    text.lines().skip(1).filter(|line| *line != "]}").map(|line| line.trim_end_matches(',').to_owned()).collect()
}

/// A run with one thing changed.
fn changed(line: &str, pointer: &str, value: Value) -> String {
    let mut run: Value = serde_json::from_str(line).unwrap();
    *run.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    run.to_string()
}

/// The same document with its keys in the same order, laid out over many lines, as `python -m json.tool` does.
fn spread(export: &[u8]) -> String {
    let (mut laid_out, mut quoted, mut escaped) = (String::new(), false, false);
    for character in std::str::from_utf8(export).unwrap().chars() {
        quoted ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        laid_out.push(character);
        if !quoted && matches!(character, ',' | '{' | '[' | ':') {
            laid_out.push_str(if character == ':' { " " } else { "\n    " });
        }
    }
    laid_out
}

#[test]
fn a_json_round_trip_loses_nothing() {
    let here = origin();
    let export = here.export();
    let there = Sandbox::new();
    there.write("runs.json", &export);
    assert_eq!(numbers(&imported(&there, &["runs.json"])), (9, 0, 0));
    assert!(there.export() == export, "the second export differs from the first");
    there.benchdb().arg("check").succeeds();
    for relation in ["results", "sample", "telemetry", "latest_results", "operator_time", "extra_metric"] {
        let query = format!("SELECT * FROM {relation} ORDER BY 1, 2, 3");
        assert_eq!(there.sql(&query), here.sql(&query), "{relation}");
    }
}

#[test]
fn nothing_comes_in_twice() {
    let here = origin();
    here.write("runs.json", here.export());
    here.benchdb().args(["export", "--output", "runs.csv"]).succeeds();
    let before = here.export();
    assert_eq!(numbers(&imported(&here, &["runs.json"])), (0, 9, 0), "the runs are known where they come from");
    assert_eq!(numbers(&imported(&here, &["runs.csv"])), (0, 9, 0));
    assert!(here.export() == before);
    let there = Sandbox::new();
    let path = here.path("runs.json");
    let path = path.to_str().unwrap();
    let first = imported(&there, &[path]);
    assert_eq!(numbers(&first), (9, 0, 0));
    let output = there.benchdb().args(["import", path, "--format", "json"]).succeeds();
    assert_eq!(rows(&json_of(&output))[0]["batch"], first["batch"]);
    assert!(stderr_of(&output).contains("was imported before"), "{}", said(&output));
    // The same runs in another layout are another file, and still the same runs.
    there.write("spread.json", spread(&before));
    assert_eq!(numbers(&imported(&there, &["spread.json"])), (0, 9, 0));
    assert_eq!(there.count("SELECT count(*) FROM run"), 9);
    assert!(there.export() == before);
}

#[test]
fn another_layout_of_the_json_is_read() {
    let here = origin();
    let export = here.export();
    let there = Sandbox::new();
    there.write("spread.json", spread(&export));
    assert_eq!(numbers(&imported(&there, &["spread.json"])), (9, 0, 0));
    assert!(there.export() == export);
}

#[test]
fn keys_in_any_order_are_read() {
    let export: Value = serde_json::from_slice(&Sandbox::with_a_run().export()).unwrap();
    // Alphabetical order puts `kind` and `runs` before `schema`, as jq -S does.
    let sandbox = Sandbox::new();
    sandbox.write("sorted.json", serde_json::to_string_pretty(&export).unwrap());
    assert_eq!(numbers(&imported(&sandbox, &["sorted.json"])), (1, 0, 0));
}

#[test]
fn a_csv_round_trip_keeps_the_columns_of_results() {
    let here = origin();
    let csv = here.benchdb().args(["export", "--format", "csv"]).succeeds().stdout;
    let mut header = csv::Reader::from_reader(&*csv).headers().unwrap().iter().map(str::to_owned).collect::<Vec<_>>();
    header.retain(|name| name != "error");
    let columns: Vec<String> = here
        .sql("SELECT name FROM pragma_table_info('results')")
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(header, columns, "the columns are those of the view");
    let there = Sandbox::new();
    there.write("runs.csv", &csv);
    assert_eq!(numbers(&imported(&there, &["runs.csv"])), (9, 0, 0));
    let results = "SELECT * FROM results ORDER BY run_uuid";
    let (ours, theirs) = (here.sql(results), there.sql(results));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    let again = there.benchdb().args(["export", "--format", "csv"]).succeeds().stdout;
    assert!(again == csv);
    there.benchdb().arg("check").succeeds();
}

#[test]
fn a_selection_is_exported() {
    let here = origin();
    let count = |arguments: &[&str]| {
        let output = here.benchdb().arg("export").args(arguments).succeeds();
        lines_of(&output.stdout).len()
    };
    assert_eq!(count(&[]), 9);
    assert_eq!(count(&["--status", "failed"]), 2);
    assert_eq!(count(&["--mode", "training"]), 1);
    assert_eq!(count(&["--run", "1,2,3"]), 3);
    assert_eq!(count(&["--model", "resnet18"]), 0);
    here.benchdb().args(["export", "--campaign", "last", "--output", "last.json"]).succeeds();
    let there = Sandbox::new();
    assert_eq!(numbers(&imported(&there, &[here.path("last.json").to_str().unwrap()])), (1, 0, 0));
}

#[test]
fn bad_rows_of_json_are_named_and_the_rest_is_kept() {
    let lines = lines_of(&Sandbox::with_broken_runs().export());
    // The first one is the unsupported outcome.
    let good = &lines[1];
    let wrong = [
        ("{\"uuid\": ".to_owned(), "EOF"),
        (changed(good, "/uuid", "not-a-uuid".into()), "`not-a-uuid` is not a UUID"),
        (changed(good, "/status", "great".into()), "great"),
        (changed(good, "/configuration/batch_size", 0.into()), "batch size is 0"),
        (changed(good, "/configuration/precision", "fp31".into()), "fp31"),
        (changed(good, "/metrics/success_rate", 2.into()), "not between 0 and 1"),
        (good.replace("\"success_rate\":1.0", "\"success_rate\":NaN"), "expected value"),
        (good.replace("\"latency_p50_ms\"", "\"latency_p51_ms\""), "no standard metric `latency_p51_ms`"),
        (changed(good, "/configuration/device/name", "".into()), "device has no name"),
        (changed(good, "/configuration/engine", "".into()), "engine has no name"),
        (changed(good, "/model/name", "other".into()), "different models"),
        (changed(good, "/repetition", 0.into()), "repetitions"),
        (changed(good, "/duration_s", (-1).into()), "duration"),
        (changed(good, "/campaign/uuid", "x".into()), "not a UUID"),
        ("[]".to_owned(), "invalid"),
        ("null".to_owned(), "invalid"),
    ];
    let mut runs: Vec<String> = wrong.iter().map(|(line, _)| line.clone()).collect();
    runs.insert(3, lines[0].clone());
    runs.push(lines[2].clone());
    let sandbox = Sandbox::new();
    sandbox.write("bad.json", document(&runs));
    let output = sandbox.benchdb().args(["import", "bad.json", "--format", "json"]).ends_with(1);
    assert_eq!(numbers(&rows(&json_of(&output))[0]), (2, 0, wrong.len() as i64), "{}", said(&output));
    let refusals: Value =
        serde_json::from_str(sandbox.value("SELECT refusals FROM import_batch").as_str().unwrap()).unwrap();
    for (index, (_, reason)) in wrong.iter().enumerate() {
        // The header is line 1; the good run stands between the third and the fourth.
        let line = index + 2 + usize::from(index >= 3);
        assert_eq!(refusals[index]["line"], line);
        let said_reason = refusals[index]["reason"].as_str().unwrap();
        assert!(said_reason.contains(reason), "line {line}: `{reason}` in `{said_reason}`");
        let named = format!("refused: bad.json:{line}: ");
        assert!(stderr_of(&output).contains(&named), "{named}{}", said(&output));
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 2);
    sandbox.benchdb().arg("check").succeeds();

    let strict = Sandbox::new();
    strict.write("bad.json", document(&runs));
    let output = strict.benchdb().args(["import", "--strict", "bad.json", "--format", "json"]).ends_with(1);
    assert!(stderr_of(&output).contains("nothing was taken"), "{}", said(&output));
    for table in ["run", "import_batch", "model", "configuration"] {
        assert_eq!(strict.count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

/// What the database itself refuses must be a refusal of the row, not the end of the import.
#[test]
fn what_the_database_would_refuse_is_a_refusal_too() {
    let sandbox = origin();
    let lines = lines_of(&sandbox.export());
    let (whole, artifact) = (&lines[1], lines.iter().find(|line| line.contains("\"sha256\"")).unwrap());
    let twice = |pointer: &str| {
        let run: Value = serde_json::from_str(whole).unwrap();
        let first = run.pointer(pointer).unwrap()[0].clone();
        changed(whole, pointer, Value::Array(vec![first.clone(), first]))
    };
    let wrong = [
        ("own metric twice", twice("/extra_metrics")),
        ("sensor twice", twice("/telemetry")),
        ("operator twice", twice("/operator_times")),
        ("phase twice", twice("/samples")),
        ("short digest", changed(artifact, "/artifact/sha256", "abc".into())),
        ("artifact without format", changed(artifact, "/artifact/format", "".into())),
        ("cosine of -7", changed(whole, "/metrics/fidelity_cosine", (-7).into())),
        ("error of -7", changed(whole, "/metrics/fidelity_relative_error", (-7).into())),
        ("no compute units", changed(whole, "/configuration/device/compute_units", 0.into())),
        ("no memory", changed(whole, "/configuration/device/memory_bytes", 0.into())),
    ];
    let mut ended = Vec::new();
    for (what, line) in wrong {
        let there = Sandbox::new();
        there.write("bad.json", document(&[line, lines[2].clone()]));
        let output = there.benchdb().args(["import", "bad.json", "--format", "json"]).outcome();
        if output.status.code() != Some(1) {
            ended.push(format!("{what}: {}", said(&output)));
            continue;
        }
        assert_eq!(numbers(&rows(&json_of(&output))[0]), (1, 0, 1), "{what}: {}", said(&output));
        assert!(stderr_of(&output).contains("refused: bad.json:2: "), "{what}: {}", said(&output));
    }
    assert!(ended.is_empty(), "{}", ended.join("\n\n"));
}

#[test]
fn bad_rows_of_csv_are_named_and_the_rest_is_kept() {
    let csv = Sandbox::with_broken_runs().benchdb().args(["--quiet", "export", "--format", "csv"]).succeeds().stdout;
    let mut reader = csv::Reader::from_reader(&*csv);
    let header = reader.headers().unwrap().clone();
    let good: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let with = |column: &str, text: &str| {
        let at = header.iter().position(|name| name == column).unwrap();
        good[0]
            .iter()
            .enumerate()
            .map(|(index, cell)| if index == at { text } else { cell })
            .collect::<csv::StringRecord>()
    };
    let wrong = [
        (with("run_uuid", "not-a-uuid"), "`not-a-uuid` is not a UUID"),
        (with("run_uuid", ""), "`run_uuid` is empty"),
        (with("status", "great"), "`status` is `great`, not one of ok"),
        (with("precision", "fp31"), "`precision` is `fp31`"),
        (with("batch_size", "0"), "batch size is 0"),
        (with("batch_size", "many"), "`batch_size` is `many`, not a number"),
        (with("batch_size", "-1"), "`batch_size` is `-1`"),
        (with("latency_p50_ms", "NaN"), "`latency_p50_ms` is NaN"),
        (with("latency_p50_ms", "inf"), "`latency_p50_ms` is inf"),
        (with("latency_p50_ms", "fast"), "`latency_p50_ms` is `fast`, not a number"),
        (with("success_rate", "2"), "not between 0 and 1"),
        (with("parameters", "{"), "not a JSON object"),
        (with("validity", "perhaps"), "`validity` is `perhaps`"),
        (good[0].iter().take(7).collect(), "it has 7 fields"),
        (good[0].iter().chain(["one more"]).collect(), "fields, the header has"),
    ];
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer.write_record(&header).unwrap();
    writer.write_record(&good[0]).unwrap();
    for (record, _) in &wrong {
        writer.write_record(record).unwrap();
    }
    writer.write_record(&good[1]).unwrap();
    let bad = writer.into_inner().unwrap();
    let sandbox = Sandbox::new();
    sandbox.write("bad.csv", &bad);
    let output = sandbox.benchdb().args(["import", "bad.csv", "--format", "json"]).ends_with(1);
    assert_eq!(numbers(&rows(&json_of(&output))[0]), (2, 0, wrong.len() as i64), "{}", said(&output));
    for (index, (_, reason)) in wrong.iter().enumerate() {
        let named = format!("refused: bad.csv:{}: ", index + 3);
        let stderr = stderr_of(&output);
        let line =
            stderr.lines().find_map(|line| line.strip_prefix(&named)).unwrap_or_else(|| panic!("{named}{stderr}"));
        assert!(line.contains(reason), "`{reason}` in `{line}`");
    }
    let strict = Sandbox::new();
    strict.write("bad.csv", &bad);
    strict.benchdb().args(["import", "--strict", "bad.csv"]).ends_with(1);
    assert_eq!(strict.count("SELECT count(*) FROM run"), 0);
}

#[test]
fn many_refusals_are_cut_in_the_talk_and_kept_in_the_record() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.json", document(&vec!["{}".to_owned(); 50]));
    let output = sandbox.benchdb().args(["import", "bad.json"]).ends_with(1);
    let stderr = stderr_of(&output);
    assert_eq!(stderr.matches("refused: ").count(), 20, "{stderr}");
    assert!(stderr.contains("and 30 more"), "{stderr}");
    assert_eq!(sandbox.count("SELECT json_array_length(refusals) FROM import_batch"), 50);
}

#[test]
fn a_file_that_ends_too_early_is_noticed() {
    let export = Sandbox::with_broken_runs().export();
    let sandbox = Sandbox::new();
    let end = export.iter().rposition(|&byte| byte == b',').unwrap();
    sandbox.write("cut.json", &export[..end]);
    let output = sandbox.benchdb().args(["import", "cut.json"]).ends_with(1);
    assert!(stderr_of(&output).contains("refused: cut.json:"), "{}", said(&output));
    assert!(sandbox.count("SELECT count(*) FROM run") >= 5);
    let strict = Sandbox::new();
    strict.write("cut.json", &export[..end]);
    strict.benchdb().args(["import", "--strict", "cut.json"]).ends_with(1);
    assert_eq!(strict.count("SELECT count(*) FROM run"), 0);
}

#[test]
fn an_import_can_be_taken_back() {
    let here = Sandbox::with_a_run();
    let before = here.export();
    let there = Sandbox::with_broken_runs();
    let path = there.write("runs.json", there.export());
    let first = imported(&here, &[path.to_str().unwrap()]);
    assert_eq!(numbers(&first), (7, 0, 0));
    let batch = first["batch"].to_string();
    let output = here.benchdb().args(["import", "--undo", &batch]).succeeds();
    assert!(stderr_of(&output).contains("7 runs were removed"), "{}", said(&output));
    assert!(here.export() == before);
    assert_eq!(here.count("SELECT count(*) FROM campaign"), 1);
    here.benchdb().arg("check").succeeds();
    here.benchdb().args(["import", "--undo", &batch]).refuses(&["there is no import"], &["import_batch"]);
    assert_eq!(numbers(&imported(&here, &[path.to_str().unwrap()])), (7, 0, 0), "it can be imported again");
}

#[test]
fn files_of_another_kind_are_refused() {
    let sandbox = Sandbox::new();
    for (content, error, hint) in [
        ("", "in no format", "benchdb export"),
        ("Dear diary,\n", "in no format", "benchdb export"),
        ("{\"rows\": []}", "in no format", "benchdb export"),
        ("{\"schema\":\"benchdb/2\",\"kind\":\"runs\",\"runs\":[]}", "has the schema `benchdb/2`", "newer"),
        ("{\"schema\":\"benchdb/1\",\n\"kind\":\"runs\",\n\"runs\":[}", "line 3", "mend"),
        ("run_uuid,model,engine\n", "lacks the columns platform, device", "results"),
    ] {
        let name = "file.txt";
        sandbox.write(name, content);
        sandbox.benchdb().args(["import", name]).refuses(&["`file.txt`", error], &[hint]);
    }
    let output = sandbox.benchdb().args(["import", "missing.json"]).ends_with(2);
    assert!(stderr_of(&output).starts_with("error: cannot read `missing.json`: No such file"), "{}", said(&output));
    if sandbox.db().exists() {
        assert_eq!(sandbox.count("SELECT count(*) FROM run"), 0);
        assert_eq!(sandbox.count("SELECT count(*) FROM import_batch"), 0);
    }
}

#[test]
fn an_unknown_file_makes_no_database() {
    let sandbox = Sandbox::new();
    sandbox.write("diary.txt", "Dear diary,\n");
    sandbox.benchdb().args(["import", "diary.txt"]).ends_with(2);
    assert_eq!(sandbox.listing(), ["diary.txt"]);
}

#[test]
fn answers_of_other_commands_are_no_runs() {
    let sandbox = Sandbox::with_a_run();
    sandbox.benchdb().args(["query", "SELECT * FROM results", "--output", "answer.json"]).succeeds();
    let output = sandbox.benchdb().args(["import", "answer.json"]).ends_with(2);
    assert!(stderr_of(&output).contains("`answer.json`"), "{}", said(&output));
    // The answer in CSV has the columns of an export, and is one.
    sandbox.benchdb().args(["query", "SELECT * FROM results", "--output", "answer.csv"]).succeeds();
    assert_eq!(numbers(&imported(&sandbox, &["answer.csv"])), (0, 1, 0));
}

#[test]
fn a_folder_is_imported_whole() {
    let here = Sandbox::with_broken_runs();
    let there = Sandbox::new();
    std::fs::create_dir(there.path("incoming")).unwrap();
    there.write("incoming/a.json", here.export());
    there.write("incoming/b.json", Sandbox::with_a_run().export());
    there.write("incoming/c.csv", here.benchdb().args(["export", "--format", "csv"]).succeeds().stdout);
    there.write("incoming/readme.txt", "what lies here");
    let output = there.benchdb().args(["import", "incoming", "--format", "json"]).succeeds();
    let taken: Vec<_> = rows(&json_of(&output)).iter().map(numbers).collect();
    assert_eq!(taken, [(7, 0, 0), (1, 0, 0), (0, 7, 0)]);
    assert!(stderr_of(&output).contains("passed over `incoming/readme.txt`"), "{}", said(&output));
    assert_eq!(there.count("SELECT count(*) FROM run"), 8);
    assert_eq!(there.count("SELECT count(*) FROM import_batch"), 3);
}

#[test]
fn columns_that_are_not_known_are_passed_over_aloud() {
    let sandbox = Sandbox::with_a_run();
    let csv = String::from_utf8(sandbox.benchdb().args(["export", "--format", "csv"]).succeeds().stdout).unwrap();
    let mut lines = csv.lines();
    let (header, row) = (lines.next().unwrap(), lines.next().unwrap());
    let there = Sandbox::new();
    // With a byte-order mark and the line ends of Windows, as a spreadsheet leaves them.
    there.write("sheet.csv", format!("\u{feff}{header},mood\r\n{row},good\r\n"));
    let output = there.benchdb().args(["import", "sheet.csv"]).succeeds();
    assert!(stderr_of(&output).contains("passed over: mood"), "{}", said(&output));
    assert_eq!(there.count("SELECT count(*) FROM run"), 1);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let sandbox = Sandbox::new();
    sandbox.scripted().args(["--iterations", "20000", "--repeat", "3", "--max-time", "1h"]).succeeds();
    for format in ["json", "csv"] {
        let mut child = sandbox
            .benchdb()
            .args(["--quiet", "export", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let status = wait_for("the end", || child.try_wait().unwrap());
        let mut words = String::new();
        child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        assert!(words.is_empty(), "{format}: {words}");
        assert!(status.success(), "{format}: {status}");
    }
}

#[test]
fn a_compact_document_is_read_too() {
    let sandbox = Sandbox::with_a_run();
    let document: Value = serde_json::from_slice(&sandbox.export()).unwrap();
    sandbox.write("compact.json", document.to_string());
    sandbox.benchdb().args(["--db", "other.sqlite", "import", "compact.json"]).succeeds();
    let other = Sandbox::new();
    std::fs::copy(sandbox.path("other.sqlite"), other.db()).unwrap();
    assert_eq!(other.count("SELECT count(*) FROM run"), sandbox.count("SELECT count(*) FROM run"));
}

#[test]
fn deleted_runs_come_back_from_their_file() {
    let sandbox = Sandbox::with_a_run();
    sandbox.write("all.json", sandbox.export());
    sandbox.benchdb().args(["import", "all.json"]).succeeds();
    sandbox.benchdb().args(["delete", "--everything", "--yes"]).succeeds();
    sandbox.benchdb().args(["import", "all.json"]).succeeds();
    assert!(sandbox.count("SELECT count(*) FROM run") > 0);
}

#[test]
fn times_that_are_none_are_refused() {
    let sandbox = Sandbox::with_a_run();
    for time in ["garbage", "2026-13-45"] {
        let output = sandbox.benchdb().args(["export", "--since", time]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
    let all = sandbox.export();
    let since = |time: &str| sandbox.benchdb().args(["export", "--since", time]).output().unwrap().stdout;
    assert_eq!(since("2026-01-01"), all);
    assert_eq!(since("2026-01-01T00:00:00+02:00"), all);
    assert_ne!(since("2999-01-01"), all);
}

#[test]
fn an_output_does_not_overwrite_the_database() {
    let sandbox = Sandbox::with_a_run();
    let database = sandbox.db();
    for command in [vec!["export"], vec!["query", "SELECT 1"], vec!["status"]] {
        let output = sandbox.benchdb().args(command).arg("--output").arg(&database).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 1);
}

#[test]
fn files_of_other_tools_are_imported() {
    let sandbox = Sandbox::new();
    let foreign = |name: &str| root().join("fixtures/foreign").join(name);
    // Two rows have no batch size.
    let output = sandbox.benchdb().arg("import").arg(foreign("timm")).args(["--format", "json"]).ends_with(1);
    let taken: Vec<_> = rows(&json_of(&output)).iter().map(numbers).collect();
    assert_eq!(taken, [(5, 0, 2), (3, 0, 0), (3, 0, 0)], "{}", said(&output));
    assert!(stderr_of(&output).contains(":7: `batch_size` is missing"), "{}", said(&output));
    let map = ["--map", "platform==cuda", "--map", "device==NVIDIA H200", "--format", "json"];
    let output = sandbox.benchdb().arg("import").arg(foreign("hyperfine/result.json")).args(map).succeeds();
    assert_eq!(numbers(&rows(&json_of(&output))[0]), (2, 0, 0));
    assert!(stderr_of(&output).contains("precision==fp32"), "{}", said(&output));
    assert_eq!(sandbox.count("SELECT count(*) FROM results WHERE device = 'NVIDIA H200' AND platform = 'cuda'"), 2);
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn a_map_is_checked_before_any_file_is_read() {
    let sandbox = Sandbox::new();
    sandbox.write("t.csv", "net,lat\na,1\n");
    for (entry, reason) in
        [("lateness=lat", "no `lateness`"), ("latency_p50_ms=lat*x", "no factor"), ("platform==warp", "warp")]
    {
        let output = sandbox.benchdb().args(["import", "t.csv", "--map", entry]).ends_with(2);
        assert!(stderr_of(&output).contains(reason), "{}", said(&output));
    }
    assert_eq!(sandbox.listing(), ["t.csv"]);
    let map = ["--map", "model=net", "--map", "latency_p50_ms=lat*1000"];
    let output = sandbox.benchdb().args(["import", "t.csv"]).args(map).ends_with(2);
    assert!(stderr_of(&output).contains("`--map precision==fp32`"), "{}", said(&output));
}
