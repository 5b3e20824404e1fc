//! `benchdb report`: what stands in it, that its SQL gives its tables again, and that it fits where it has to.

use serde_json::Value;

use crate::made::{FIVE, Made, all_taking, of_campaign, times};
use crate::support::{Expect as _, Sandbox, json_of, number, said, same, stderr_of, stdout_of};
use crate::visualize::CHARTS;

/// What GitHub takes.
const PULL_REQUEST: usize = 65_536;

/// A name that is HTML, Markdown and SQL at once.
const HOSTILE: &str = "<script>alert('1')</script> | `rm` *x*";

/// Two models on two cards and a processor, inference and training, three batch sizes; one run broke, one device is
/// software, one name is hostile.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut runs = Vec::new();
    for (model, factor) in [("resnet18", 1.0), (HOSTILE, 3.0)] {
        for (device, platform, slow) in [("RTX Made", "cuda", 1.0), ("Old Card", "cuda", 2.5), ("Some CPU", "cpu", 8.0)]
        {
            for batch in [1_u32, 4, 16] {
                let time = 10.0 * factor * slow * f64::from(batch).powf(0.7);
                // An even count: the median is between two runs.
                for milliseconds in times(&[1.0, 1.02, 1.05, 1.01], time) {
                    runs.push(
                        Made::taking(milliseconds)
                            .model(model)
                            .device(platform, device)
                            .batch(batch)
                            .metric("memory_host_peak_mb", 100.0 * factor + f64::from(batch))
                            .metric("energy_per_sample_j", factor * slow),
                    );
                }
            }
            let step = Made::taking(35.0 * factor * slow).model(model).device(platform, device).batch(4);
            runs.push(
                step.with("/configuration/mode", "training")
                    .with("/configuration/parameters", serde_json::json!({"optimizer": "adam"}))
                    .metric("memory_host_peak_mb", 400.0 * factor),
            );
        }
    }
    runs.push(Made::taking(1.0).device("vulkan", "llvmpipe").with("/configuration/device/software", true));
    runs.push(Made::taking(10.0).model("breaks").failed());
    runs.push(Made::taking(10.0).model("alone").with("/environment/cpu_governor", "powersave"));
    sandbox.take(&of_campaign(runs, 1, "made"));
    sandbox
}

pub fn report(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    sandbox.benchdb().args(["report", "--format", "json"]).args(arguments).json()
}

#[track_caller]
fn section(document: &Value, name: &str) -> Value {
    let sections = document["sections"].as_array().unwrap();
    let found = sections.iter().find(|section| section["name"] == name);
    found.unwrap_or_else(|| panic!("no section {name} in {document}")).clone()
}

/// The tables of a report under the names of their sections.
fn tables(document: &Value) -> Vec<(String, Value)> {
    let sections = document["sections"].as_array().unwrap();
    let of = |section: &Value| -> Vec<(String, Value)> {
        let name = section["name"].as_str().unwrap();
        let tables = section["tables"].as_array().cloned().unwrap_or_default();
        tables.into_iter().map(|table| (name.to_owned(), table)).collect()
    };
    sections.iter().flat_map(of).collect()
}

#[track_caller]
pub fn table(document: &Value, title: &str) -> Value {
    let found = tables(document).into_iter().find(|(_, table)| table["title"] == title);
    found.unwrap_or_else(|| panic!("no table {title}")).1
}

pub fn rows(table: &Value) -> Vec<Value> {
    table["rows"].as_array().unwrap().clone()
}

/// The rows that a table's statement gives.
fn again(sandbox: &Sandbox, table: &Value) -> Vec<Value> {
    sandbox.sql(table["statement"]["sql"].as_str().unwrap_or_else(|| panic!("no statement: {table}")))
}

/// Whether two cells say the same: an empty text says nothing.
fn is_same(left: &Value, right: &Value) -> bool {
    let nothing = |value: &Value| value.is_null() || *value == "";
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => (left - right).abs() <= 1e-9 * right.abs().max(1e-9),
        _ => left == right || (nothing(left) && nothing(right)),
    }
}

#[test]
fn every_statement_gives_its_rows_again() {
    let sandbox = filled();
    let narrow = ["--hardware", "cuda", "--batch-sizes", "1,4"];
    for selection in [&[][..], &["--model", "resnet18"], &narrow, &["--include-software"]] {
        let document = report(&sandbox, selection);
        let mut exact = 0;
        for (section, table) in tables(&document) {
            let answered = again(&sandbox, &table);
            if table["statement"]["gives"] != "rows" {
                continue;
            }
            exact += 1;
            let title = &table["title"];
            assert_eq!(table["rows_left_out"], 0);
            let shown = rows(&table);
            assert_eq!(shown.len(), answered.len(), "{section}: {title}: {answered:?}");
            for (shown, answered) in shown.iter().zip(&answered) {
                for (column, value) in shown.as_object().unwrap() {
                    assert!(is_same(value, &answered[column]), "{section}: {title}: {column}: {shown} {answered}");
                }
            }
        }
        assert!(exact >= 10, "only {exact} tables are given again");
    }
    // The tables that are hard to give again have something to show.
    let document = report(&sandbox, &[]);
    for (title, least) in [("Batch size scaling", 6), ("Training and inference", 6), ("Rankings", 30)] {
        assert!(rows(&table(&document, title)).len() >= least, "{title}");
    }
}

#[test]
fn devices_of_one_name_are_told_apart_in_sql_too() {
    let sandbox = Sandbox::new();
    let with_units = |time: f64, units: u32| Made::taking(time).with("/configuration/device/compute_units", units);
    sandbox.take(&[with_units(10.0, 10), with_units(20.0, 20)]);
    let document = report(&sandbox, &[]);
    let rankings = table(&document, "Rankings");
    assert_eq!(rows(&rankings)[0]["device"], "RTX Made (10 units)");
    assert_eq!(again(&sandbox, &rankings)[0]["device"], "RTX Made (10 units)");
}

/// The same configuration in both rows.
fn is_same_configuration(left: &Value, right: &Value) -> bool {
    ["model", "mode", "platform", "device", "engine", "precision", "batch_size", "parameters"]
        .iter()
        .all(|part| is_same(&left[part], &right[part]))
}

#[test]
fn the_numbers_of_a_comparison_are_given_again() {
    let sandbox = filled();
    for (reference, with_speed_up) in [("cpu", 26), ("device=old card,platform=cuda", 26), ("engine=nobody", 0)] {
        let document = report(&sandbox, &["--relative-to", reference]);
        let comparison = table(&document, "Comparison");
        let answered = again(&sandbox, &comparison);
        let shown = rows(&comparison);
        assert_eq!(shown.len(), answered.len());
        let mut compared = 0;
        for row in &shown {
            let own =
                answered.iter().find(|other| is_same_configuration(row, other)).unwrap_or_else(|| panic!("{row}"));
            for (column, in_sql) in [
                ("latency_p50_ms", "latency_ms"),
                ("throughput_samples_per_second", "samples_per_second"),
                ("memory_host_peak_mb", "memory_mb"),
                ("energy_per_sample_j", "energy_per_sample_j"),
                ("speed_up", "speed_up"),
                ("runs", "runs"),
            ] {
                assert!(is_same(&row[column], &own[in_sql]), "{reference}: {column}: {row}\n{own}");
            }
            compared += usize::from(row["speed_up"].is_number());
        }
        assert!(compared >= with_speed_up.min(24), "{reference}: {compared}");
        assert_eq!(compared == 0, with_speed_up == 0);
    }
}

#[test]
fn recommendations_and_verdicts_name_what_they_rest_on() {
    let sandbox = filled();
    for (options, with_software) in [(&[][..], false), (&["--include-software"], true)] {
        let recommendations = table(&report(&sandbox, options), "Recommendations");
        let answered = again(&sandbox, &recommendations);
        let shown = rows(&recommendations);
        assert_eq!(shown.len(), answered.len(), "{options:?}");
        for (shown, answered) in shown.iter().zip(&answered) {
            assert_eq!((&shown["model"], &shown["place"]), (&answered["model"], &answered["place"]));
            assert_eq!(shown["device"], answered["device"]);
            same(number(shown, "value"), number(answered, "samples_per_second"));
        }
        assert_eq!(answered.iter().any(|row| row["device"] == "llvmpipe"), with_software, "{options:?}");
    }
    let document = report(&sandbox, &[]);
    let verdicts = table(&document, "Verdicts");
    assert_eq!(verdicts["statement"]["gives"], "runs");
    let all = sandbox.count("SELECT count(*) FROM run");
    assert_eq!(again(&sandbox, &verdicts).len() as i64, all);
}

#[test]
fn verdicts_are_against_the_baseline_or_of_the_history() {
    let sandbox = Sandbox::new();
    sandbox.take(&of_campaign(all_taking(&FIVE), 1, "before"));
    sandbox.benchdb().args(["baseline", "save", "main"]).succeeds();
    sandbox.take(&of_campaign(all_taking(&times(&FIVE, 1.5)), 2, "after"));
    let judged = |arguments: &[&str]| {
        let document = report(&sandbox, arguments);
        let verdict = rows(&table(&document, "Verdicts"))[0]["verdict"].clone();
        (document, verdict)
    };
    let (document, verdict) = judged(&["--label", "after", "--baseline", "main"]);
    assert_eq!(verdict, "regressed");
    let notes = section(&document, "verdicts")["notes"].to_string();
    assert!(notes.contains("against baseline main") && notes.contains("1 regressed"), "{notes}");
    let behind = again(&sandbox, &table(&document, "Verdicts"));
    assert_eq!(behind.len(), 10, "the runs of both sides");
    let (document, verdict) = judged(&[]);
    assert_eq!(verdict, "regressed", "the history has a step");
    assert_eq!(rows(&table(&document, "Changes"))[0]["kind"], "step");
    let (_, verdict) = judged(&["--regression-alert", "90%"]);
    assert_ne!(verdict, "regressed");
    assert_eq!(sandbox.count("SELECT count(*) FROM verdict"), 0, "a report is a question: nothing is kept");
    sandbox.benchdb().args(["report", "--baseline", "nobody"]).refuses(&["no baseline `nobody`"], &["baseline list"]);
}

#[test]
fn what_was_left_out_stands_there_with_its_reason() {
    let sandbox = filled();
    let document = report(&sandbox, &[]);
    let environment = section(&document, "environment");
    let notes = environment["notes"].to_string();
    for expected in [
        "1 run is left out of comparisons, rankings and verdicts: 1 failed.",
        "governor `powersave`",
        "imported from 1 file",
        "Software that pretends to be a device",
        "valid run alone",
    ] {
        assert!(notes.contains(expected), "`{expected}` in {notes}");
    }
    let left_out = rows(&table(&document, "Runs that do not count"));
    assert_eq!((&left_out[0]["reason"], &left_out[0]["runs"]), (&"the device was lost".into(), &1.into()));
    let counts = rows(&table(&document, "Counts"));
    assert!(counts.iter().any(|row| row["what"] == "models" && row["value"] == 4), "{counts:?}");
}

#[test]
fn charts_come_as_data_or_say_why_not() {
    let sandbox = filled();
    let charts = section(&report(&sandbox, &[]), "charts");
    let names = |list: &str| -> Vec<String> {
        let list = charts[list].as_array().cloned().unwrap_or_default();
        list.iter().map(|chart| chart["name"].as_str().unwrap().to_owned()).collect()
    };
    let (drawn, missing) = (names("charts"), names("charts_with_nothing_to_show"));
    assert!(drawn.iter().any(|name| name.starts_with("throughput")), "{drawn:?}");
    assert!(missing.iter().any(|name| name.starts_with("telemetry")), "{missing:?}");
    let reasons = charts["charts_with_nothing_to_show"].as_array().unwrap();
    assert!(reasons.iter().all(|one| !one["reason"].as_str().unwrap().is_empty()));
    // What is not even tried is named, with the command that draws it.
    let notes = charts["notes"].to_string();
    for chart in CHARTS {
        let is_named = notes.contains(&format!("left out, because they take their time; `benchdb visualize {chart}`"));
        let is_there = drawn.iter().chain(&missing).any(|name| name == chart);
        assert!(is_there != is_named, "{chart}: {notes}");
    }
    assert!(notes.contains("visualize predicted"), "{notes}");
}

/// The values of a series of a panel, those that are there.
fn values(chart: &Value, panel: usize, series: usize) -> Vec<f64> {
    let content = &chart["panels"][panel]["content"];
    let series = &content["series"][series];
    let values = match content["kind"].as_str().unwrap() {
        "rows" => series["values"].as_array().unwrap().iter().filter(|value| value.is_object()).cloned().collect(),
        _ => series["points"].as_array().unwrap().iter().map(|point| point["y"].clone()).collect::<Vec<_>>(),
    };
    values.iter().map(|value| number(value, "value")).collect()
}

/// The numbers of a column, in ascending order.
fn ascending(rows: &[Value], column: &str) -> Vec<f64> {
    let mut numbers: Vec<f64> = rows.iter().filter_map(|row| row[column].as_f64()).collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

#[test]
fn every_chart_can_be_asked_for_again() {
    let sandbox = filled();
    let watched = Made::taking(2.5)
        .model("watched")
        .with("/samples", serde_json::json!([{"phase": "iteration", "nanoseconds": [2_000_000, 3_000_000, 2_500_000]}]))
        .with(
            "/telemetry",
            serde_json::json!([{"sensor": "power", "unit": "W", "offsets_ms": [0.0, 5.0], "values": [30.0, 40.0]}]),
        );
    sandbox.take(&[watched]);
    for (selection, runs) in [(&[][..], 80), (&["--model", "resnet18", "--batch-sizes", "4"], 15)] {
        let charts = section(&report(&sandbox, selection), "charts")["charts"].as_array().unwrap().clone();
        for chart in &charts {
            let (name, answered) = (chart["name"].as_str().unwrap(), again(&sandbox, chart));
            let own = ["history", "samples", "telemetry"].contains(&name);
            assert_eq!(chart["statement"]["gives"], if own { "numbers" } else { "runs" }, "{name}");
            assert!(!answered.is_empty(), "{name}: {chart}");
            match name {
                "throughput" => {
                    assert_eq!(answered.len(), runs, "valid runs on what is no software");
                    // A value is the median of the four runs of its configuration.
                    let (rates, shown) = (ascending(&answered, "throughput_samples_per_second"), values(chart, 0, 0));
                    assert!(shown.iter().all(|rate| (rates[0]..=rates[rates.len() - 1]).contains(rate)), "{shown:?}");
                }
                "history" => {
                    let times: Vec<f64> = answered.iter().map(|row| number(row, "latency_p50_ms")).collect();
                    assert_eq!(values(chart, 0, 0), times);
                }
                "samples" => assert_eq!(ascending(&answered, "latency_ms"), [2.0, 2.5, 3.0]),
                "telemetry" => assert_eq!(ascending(&answered, "value"), [30.0, 40.0]),
                _ => {}
            }
        }
        let names: Vec<&str> = charts.iter().map(|chart| chart["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"throughput") && names.contains(&"history"), "{names:?}");
        assert_eq!(names.contains(&"samples") && names.contains(&"telemetry"), selection.is_empty(), "{names:?}");
    }
    // A page says what the statement gives.
    sandbox.benchdb().arg("report").succeeds();
    let page = sandbox.read("report.html");
    assert!(page.contains("SQL for the runs behind them: Throughput"), "labels of statements name their chart");
}

#[test]
fn a_page_is_written_to_a_file_and_the_rest_to_standard_output() {
    let sandbox = filled();
    let output = sandbox.benchdb().arg("report").succeeds();
    assert!(output.stdout.is_empty());
    assert!(stderr_of(&output).contains("wrote `report.html`"), "{}", said(&output));
    let page = sandbox.read("report.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    // The name of a language is no address.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http://", "https://", "src=\"/", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let markdown = sandbox.benchdb().args(["report", "--format", "markdown"]).succeeds();
    assert!(stdout_of(&markdown).starts_with("# Benchmark report"));
    for (file, beginning) in [("a.md", "# T"), ("a.json", "{"), ("a.htm", "<!DOCTYPE"), ("a", "<!DOCTYPE")] {
        sandbox.benchdb().args(["report", "--title", "T", "--output", file]).succeeds();
        assert!(sandbox.read(file).starts_with(beginning), "{file}");
    }
    let output = sandbox.benchdb().args(["report", "--output", "-"]).succeeds();
    assert!(stdout_of(&output).starts_with("<!DOCTYPE html>"));
}

#[test]
fn a_hostile_name_is_text_everywhere() {
    let sandbox = filled();
    sandbox.benchdb().args(["report", "--title", "<b>`|"]).succeeds();
    let page = sandbox.read("report.html");
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert('1')&lt;/script&gt;"));
    assert!(!page.contains("<b>"));
    let output = sandbox.benchdb().args(["report", "--format", "markdown", "--title", "<b>`|"]).succeeds();
    let markdown = stdout_of(&output);
    assert!(markdown.starts_with("# &lt;b>\\`\\|"), "{}", &markdown[..60]);
    assert!(markdown.contains("&lt;script>alert('1')&lt;/script> \\| \\`rm\\` \\*x\\*"));
    let outside_of_code: String = markdown.split("```").step_by(2).collect();
    assert!(!outside_of_code.contains("<script"));
    // Whoever selects it gets a statement that still means it.
    let document = report(&sandbox, &["--model", HOSTILE]);
    assert_eq!(rows(&table(&document, "Models"))[0]["model"], HOSTILE);
    assert_eq!(again(&sandbox, &table(&document, "Models"))[0]["model"], HOSTILE);
}

#[test]
fn markdown_fits_a_pull_request_and_says_what_was_cut() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(300);
    let many: Vec<Made> =
        (0..400).map(|index| Made::taking(10.0 + f64::from(index)).model(&format!("model_{index}_{long}"))).collect();
    sandbox.take(&many);
    let output = sandbox.benchdb().args(["report", "--format", "markdown", "--limit", "0"]).succeeds();
    let text = stdout_of(&output);
    let length = text.chars().count();
    assert!(length <= PULL_REQUEST && length > PULL_REQUEST / 8, "{length} characters");
    assert!(text.contains("*Cut to fit: ") && text.contains("more rows are left out."), "{}", &text[..1000]);
    assert!(text.contains("## Recommendations"), "every section is there");
    let small = filled();
    let output = small.benchdb().args(["report", "--format", "markdown", "--model", "alone"]).succeeds();
    let text = stdout_of(&output);
    assert!(!text.contains("Cut to fit") && text.contains("```sql"), "{text}");
}

#[test]
fn rows_are_limited_and_the_rest_is_counted() {
    let sandbox = Sandbox::new();
    let many: Vec<Made> = (0..30).map(|index| Made::taking(10.0).model(&format!("model_{index:02}"))).collect();
    sandbox.take(&many);
    sandbox.benchdb().args(["report", "--limit", "10"]).succeeds();
    let page = sandbox.read("report.html");
    assert!(page.contains("20 more rows are left out"));
    sandbox.benchdb().args(["report", "--limit", "0"]).succeeds();
    assert!(!sandbox.read("report.html").contains("left out:"));
    let document = report(&sandbox, &["--limit", "10"]);
    assert_eq!(rows(&table(&document, "Models")).len(), 30, "programs get all");
}

#[test]
fn nothing_is_reported_of_nothing() {
    let sandbox = filled();
    let output = sandbox.benchdb().args(["report", "--label", "nobody"]).ends_with(3);
    assert!(stderr_of(&output).contains("no run is selected"), "{}", said(&output));
    assert!(!sandbox.path("report.html").exists());
    let empty = Sandbox::new();
    empty.benchdb().arg("report").refuses(&["no database at"], &["benchdb"]);
    // Runs that all broke can be reported.
    let broken = Sandbox::new();
    broken.take(&[Made::taking(1.0).failed()]);
    let document = json_of(&broken.benchdb().args(["report", "--format", "json"]).succeeds());
    assert!(rows(&table(&document, "Comparison")).is_empty());
    broken.benchdb().arg("report").succeeds();
    assert!(broken.read("report.html").contains("the device was lost"));
}

#[test]
fn what_explanations_cost_stands_in_the_report() {
    let sandbox = Sandbox::new();
    let explained = |method: &str, time: f64| {
        Made::taking(time)
            .with("/configuration/mode", "explanation")
            .with("/configuration/parameters", serde_json::json!({"method": method}))
    };
    sandbox.take(&[explained("saliency", 10.0), explained("occlusion", 500.0), Made::taking(4.0)]);
    let document = report(&sandbox, &[]);
    let costs = section(&document, "explanations");
    let costs = &costs["tables"][0];
    let answered = again(&sandbox, costs);
    assert_eq!(answered.len(), 2);
    for (shown, answered) in rows(costs).iter().zip(&answered) {
        assert_eq!(shown["method"], answered["method"]);
        same(number(shown, "time_per_explanation_p50_ms"), number(answered, "time_per_explanation_p50_ms"));
    }
    let without = report(&sandbox, &["--mode", "inference"]);
    assert!(!without["sections"].as_array().unwrap().iter().any(|section| section["name"] == "explanations"));
}
