//! `benchdb recommend`: the best by each objective, what is ruled out and why, and how sure that is.

use serde_json::Value;

use crate::made::{FIVE, Made, all_taking, close, table, times};
use crate::support::{Expect as _, Sandbox, json_of, said, stderr_of, stdout_of};

/// Four devices that run one model. Beta beats Gamma in every respect; nobody else is beaten in all.
///
/// | device | ms | samples/s | MB | J | W | accuracy |
/// | Alpha | 10 | 100 | 4000 | 2 | 200 | 0.80 |
/// | Beta | 20 | 50 | 1000 | 1 | 100 | 0.75 |
/// | Gamma | 25 | 40 | 2000 | 3 | 50 | 0.70 |
/// | Delta | 40 | 25 | 500 | 4 | (mean 30) | not measured |
fn four_devices() -> Sandbox {
    let sandbox = Sandbox::new();
    let made = |platform: &str, name: &str, [time, megabytes, joules]: [f64; 3]| {
        Made::taking(time)
            .device(platform, name)
            .metric("memory_device_peak_mb", megabytes)
            .metric("energy_per_sample_j", joules)
    };
    sandbox.take(&[
        made("cuda", "Alpha 100", [10.0, 4000.0, 2.0]).metric("power_peak_w", 200.0).metric("accuracy_top1", 0.80),
        made("cuda", "Beta 50", [20.0, 1000.0, 1.0]).metric("power_peak_w", 100.0).metric("accuracy_top1", 0.75),
        made("vulkan", "Gamma 40", [25.0, 2000.0, 3.0]).metric("power_peak_w", 50.0).metric("accuracy_top1", 0.70),
        made("cpu", "Delta 25", [40.0, 500.0, 4.0]).metric("power_mean_w", 30.0),
    ]);
    sandbox
}

fn recommended(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    sandbox.benchdb().args(["recommend", "--format", "json"]).args(arguments).json()
}

/// The first words of the devices in their order.
fn order(document: &Value) -> Vec<String> {
    let first_word = |row: &Value| row["device"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    table(document, "recommendations").iter().map(first_word).collect()
}

/// Why a device was ruled out.
fn reason(document: &Value, device: &str) -> String {
    let rows = table(document, "ruled_out");
    let row = rows.iter().find(|row| row["device"].as_str().unwrap().starts_with(device));
    row.unwrap_or_else(|| panic!("{device} is not ruled out: {document}"))["reason"].as_str().unwrap().to_owned()
}

#[test]
fn every_objective_has_its_best() {
    let sandbox = four_devices();
    for (objective, expected, value, unit) in [
        ("throughput", ["Alpha", "Beta", "Gamma", "Delta"], 100.0, "samples/s"),
        ("latency", ["Alpha", "Beta", "Gamma", "Delta"], 10.0, "ms"),
        ("memory", ["Delta", "Beta", "Gamma", "Alpha"], 500.0, "MB"),
        ("energy", ["Beta", "Alpha", "Gamma", "Delta"], 1.0, "J/sample"),
    ] {
        let document = recommended(&sandbox, &["--objective", objective]);
        assert_eq!(order(&document), expected, "{objective}");
        let first = &table(&document, "recommendations")[0];
        close(&first["value"], value);
        assert_eq!(first["unit"], unit);
        assert_eq!(first["place"], 1);
        assert_eq!(first["source"], "measured");
        assert_eq!(first["runs"], 1);
    }
    assert_eq!(order(&recommended(&sandbox, &[]))[0], "Alpha", "throughput, if nobody says");
    let output = sandbox.benchdb().args(["recommend", "--objective", "beauty"]).outcome();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn the_pareto_set_is_what_nothing_beats_in_every_respect() {
    let sandbox = four_devices();
    for objective in ["throughput", "latency", "memory", "energy"] {
        let document = recommended(&sandbox, &["--objective", objective]);
        for row in table(&document, "recommendations") {
            let expected = if row["device"] == "Gamma 40" { "" } else { "yes" };
            assert_eq!(row["pareto"], expected, "{objective}: {row}");
        }
    }
    // Where the one that beats it may not be taken, it is in the set.
    let document = recommended(&sandbox, &["--max-power-w", "60"]);
    assert!(table(&document, "recommendations").iter().all(|row| row["pareto"] == "yes"), "{document}");
    // The set is shown whole, however few places are asked for.
    let output = sandbox.benchdb().args(["recommend", "--runners-up", "0"]).succeeds();
    let shown = stdout_of(&output);
    assert!(shown.contains("Delta 25") && shown.contains("Beta 50") && !shown.contains("Gamma 40"), "{shown}");
}

#[test]
fn every_constraint_rules_out_with_its_reason() {
    let sandbox = four_devices();
    let document = recommended(&sandbox, &["--memory-constrained", "1500"]);
    assert_eq!(order(&document), ["Beta", "Delta"]);
    assert_eq!(reason(&document, "Alpha"), "peak memory is 4000 MB, more than 1500 MB");
    assert_eq!(reason(&document, "Gamma"), "peak memory is 2000 MB, more than 1500 MB");
    let document = recommended(&sandbox, &["--max-latency-ms", "20"]);
    assert_eq!(order(&document), ["Alpha", "Beta"], "20 ms are not more than 20 ms");
    assert_eq!(reason(&document, "Gamma"), "latency is 25 ms, more than 20 ms");
    let document = recommended(&sandbox, &["--min-accuracy", "0.75"]);
    assert_eq!(order(&document), ["Alpha", "Beta"]);
    assert_eq!(reason(&document, "Gamma"), "accuracy is 0.7, less than 0.75");
    assert_eq!(reason(&document, "Delta"), "accuracy was not measured");
    let document = recommended(&sandbox, &["--max-power-w", "60"]);
    assert_eq!(order(&document), ["Gamma", "Delta"], "a mean stands in for a peak that is not known");
    assert_eq!(reason(&document, "Alpha"), "power is 200 W, more than 60 W");
}

#[test]
fn a_platform_that_was_not_asked_for_is_ruled_out_and_not_forgotten() {
    let sandbox = four_devices();
    let document = recommended(&sandbox, &["--platforms", "cpu,vulkan"]);
    assert_eq!(order(&document), ["Gamma", "Delta"]);
    assert_eq!(reason(&document, "Alpha"), "the platform cuda was not asked for");
    // What is selected is another question than what may be recommended.
    let document = recommended(&sandbox, &["--hardware", "cpu"]);
    assert_eq!(order(&document), ["Delta"]);
    assert!(table(&document, "ruled_out").is_empty(), "{document}");
    let arguments = ["recommend", "--hardware", "cpu,cuda", "--platforms", "cuda", "--format", "json"];
    let document = json_of(&sandbox.benchdb().args(arguments).succeeds());
    assert_eq!(order(&document), ["Alpha", "Beta"]);
    assert_eq!(reason(&document, "Delta"), "the platform cpu was not asked for");
}

#[test]
fn all_reasons_are_given() {
    let sandbox = four_devices();
    let output = sandbox
        .benchdb()
        .args(["recommend", "--format", "json", "--memory-constrained", "1500", "--max-latency-ms", "5"])
        .ends_with(3);
    let document = json_of(&output);
    assert!(table(&document, "recommendations").is_empty());
    assert_eq!(
        reason(&document, "Gamma"),
        "peak memory is 2000 MB, more than 1500 MB; latency is 25 ms, more than 5 ms"
    );
    assert!(stderr_of(&output).contains("nothing that was measured can be recommended"), "{}", said(&output));
    assert!(stderr_of(&output).contains("hint: loosen the constraints"), "{}", said(&output));
    let output = sandbox.benchdb().args(["recommend", "--max-latency-ms", "5"]).ends_with(3);
    assert!(stdout_of(&output).contains("Ruled out"), "people see it, too: {}", said(&output));
}

#[test]
fn constraints_are_numbers_that_make_sense() {
    let sandbox = four_devices();
    for wrong in [
        "--memory-constrained=0",
        "--memory-constrained=-1",
        "--memory-constrained=much",
        "--max-latency-ms=nan",
        "--max-latency-ms=inf",
        "--max-power-w=-5",
        "--min-accuracy=75",
        "--min-accuracy=-0.1",
        "--platforms=moon",
    ] {
        let output = sandbox.benchdb().args(["recommend", wrong]).outcome();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", said(&output));
    }
}

#[test]
fn money_counts_with_a_price_list() {
    let sandbox = four_devices();
    sandbox
        .write("prices.csv", "device,usd_per_hour,source,as_of\nAlpha,3.6,a shop,2026-01\n# a word\nBeta 50,0.9,,\n");
    let cost = ["--objective", "cost", "--prices", "prices.csv"];
    let document = recommended(&sandbox, &cost);
    assert_eq!(order(&document), ["Beta", "Alpha"]);
    let rows = table(&document, "recommendations");
    // 0.9 USD an hour at 50 a second: a million takes 20,000 seconds.
    close(&rows[0]["value"], 5.0);
    close(&rows[1]["value"], 10.0);
    assert_eq!(rows[0]["unit"], "USD/million samples");
    assert_eq!(reason(&document, "Gamma"), "no price of `Gamma 40` is known");
    let output = sandbox.benchdb().arg("recommend").args(cost).succeeds();
    assert!(stderr_of(&output).contains("Alpha 100: 3.6 USD an hour (a shop, 2026-01)"), "{}", said(&output));
    // The list that comes with benchdb knows none of them.
    let output = sandbox.benchdb().args(["recommend", "--objective", "cost"]).ends_with(3);
    assert!(stdout_of(&output).contains("no price of"), "{}", said(&output));
    assert!(stderr_of(&output).contains("--prices"), "the way out is a price list: {}", said(&output));
}

#[test]
fn a_bad_price_list_is_refused() {
    let sandbox = four_devices();
    let ask = |content: &[u8]| {
        sandbox.write("prices.csv", content);
        let mut command = sandbox.benchdb();
        command.args(["recommend", "--objective", "cost", "--prices", "prices.csv"]);
        command
    };
    let hint = "a price list is a CSV with the columns device and usd_per_hour";
    ask(b"name,price\nAlpha,1\n").refuses(&["`prices.csv` is no price list", "device"], &[hint]);
    ask(b"device,usd_per_hour\n").refuses(&["it holds no price"], &[hint]);
    ask(b"").refuses(&["it holds no price"], &[hint]);
    for price in ["0", "-1", "nan", "inf", "dear", ""] {
        ask(format!("device,usd_per_hour\nAlpha,{price}\n").as_bytes()).refuses(&["is no price list"], &[hint]);
    }
    ask(b"device,usd_per_hour\n,1\n").refuses(&["is no price list"], &[hint]);
    ask(&[0xff, 0xfe, 0x00, 0x41]).refuses(&["prices.csv"], &[]);
    sandbox.benchdb().args(["recommend", "--prices", "nowhere.csv"]).refuses(&["cannot read `nowhere.csv`"], &["path"]);
}

#[test]
fn how_sure_the_first_place_is() {
    let fast = || all_taking(&FIVE).into_iter().map(|run| run.device("cuda", "Fast"));
    let slow = |factor: f64| all_taking(&times(&FIVE, factor)).into_iter().map(|run| run.device("cuda", "Slow"));
    let certainty = |runs: Vec<Made>| {
        let sandbox = Sandbox::new();
        sandbox.take(&runs);
        let document = recommended(&sandbox, &[]);
        let rows = table(&document, "recommendations");
        assert!(rows.iter().skip(1).all(|row| row["certainty"].is_null()), "{document}");
        let output = sandbox.benchdb().arg("recommend").succeeds();
        let said_to_people = stderr_of(&output);
        assert!(!said_to_people.contains("is there is"), "no sentence: {said_to_people}");
        rows[0]["certainty"].as_str().unwrap().split(':').next().unwrap().to_owned()
    };
    assert_eq!(certainty(fast().chain(slow(1.5)).collect()), "clear");
    assert_eq!(certainty(fast().chain(slow(1.01)).collect()), "close");
    let single = |name: &str, time: f64| Made::taking(time).device("cuda", name);
    assert_eq!(certainty(fast().chain([single("Slow", 20.0)]).collect()), "not known");
    assert_eq!(certainty(fast().collect()), "there is nothing else to choose from");
    let samples = |time: f64| {
        let nanoseconds: Vec<u64> = (0..50).map(|index| (time * 1e6) as u64 + index * 1000).collect();
        serde_json::json!([{"phase": "iteration", "nanoseconds": nanoseconds}])
    };
    let sampled = |name: &str, time: f64| single(name, time).with("/samples", samples(time));
    assert_eq!(
        certainty(vec![sampled("Fast", 10.0), sampled("Slow", 12.0)]),
        "clear within single runs, whose intervals do not overlap; `--repeat` would tell how runs differ"
    );
}

#[test]
fn two_runs_a_side_make_nothing_clear() {
    let sandbox = Sandbox::new();
    let on = |name: &str, times: &[f64]| {
        all_taking(times).into_iter().map(|run| run.device("cuda", name)).collect::<Vec<_>>()
    };
    sandbox.take(&[on("Fast", &[10.0, 10.1]), on("Slow", &[10.2, 10.3])].concat());
    let document = recommended(&sandbox, &[]);
    let certainty = table(&document, "recommendations")[0]["certainty"].as_str().unwrap().to_owned();
    // Of two equal devices each third comparison looks like this.
    assert!(!certainty.starts_with("clear:"), "the ends of two runs are no interval at 95 %: {certainty}");
}

#[test]
fn software_and_broken_runs_are_ruled_out_with_the_reason() {
    let sandbox = four_devices();
    sandbox.take(&[
        Made::taking(1.0).device("vulkan", "llvmpipe").with("/configuration/device/software", true),
        Made::taking(1.0).device("cuda", "Broken").failed(),
        Made::taking(1.0).device("cuda", "Hot").with("/validity", "throttled"),
    ]);
    let document = recommended(&sandbox, &[]);
    assert_eq!(order(&document), ["Alpha", "Beta", "Gamma", "Delta"]);
    assert_eq!(reason(&document, "llvmpipe"), "software pretends to be the device");
    assert!(reason(&document, "Broken").contains("no valid run: 1 broke"), "{document}");
    assert!(reason(&document, "Hot").contains("no valid run: 1 was throttled"), "{document}");
    assert_eq!(order(&recommended(&sandbox, &["--include-software"]))[0], "llvmpipe");
}

#[test]
fn pooled_versions_are_said() {
    let sandbox = Sandbox::new();
    sandbox.take(&[Made::taking(10.0), Made::taking(12.0).with("/environment/engine_version", "2.9.1")]);
    for command in ["recommend", "analyze"] {
        let output = sandbox.benchdb().args([command]).succeeds();
        assert!(stderr_of(&output).contains("runs of several versions (2.9.1, 2.4.0)"), "{command}: {}", said(&output));
    }
}

#[test]
fn tokens_are_no_samples() {
    let sandbox = Sandbox::new();
    let of_tokens = Made::taking(10.0)
        .with("/configuration/engine", "llama.cpp")
        .with("/metrics", serde_json::json!({"throughput_tokens_per_second": 2000.0}));
    sandbox.take(&[Made::taking(100.0), of_tokens]);
    let document = recommended(&sandbox, &[]);
    assert_eq!(table(&document, "recommendations").len(), 1, "{document}");
    assert!(table(&document, "ruled_out")[0]["reason"].as_str().unwrap().contains("not measured"), "{document}");
    let document = recommended(&sandbox, &["--objective", "tokens"]);
    assert_eq!(table(&document, "recommendations")[0]["engine"], "llama.cpp");
    let analysis = sandbox.benchdb().args(["analyze", "--relative-to", "engine=pytorch", "--format", "json"]).json();
    assert!(table(&analysis, "overall").is_empty(), "{analysis}");
}

#[test]
fn a_larger_picture_is_another_work_and_no_slower_choice() {
    let sandbox = Sandbox::new();
    let of_shape = |time: f64, shape: &str| Made::taking(time).with("/configuration/input_shape", shape);
    sandbox.take(&[of_shape(10.0, "3x224x224"), of_shape(5.0, "3x160x160")]);
    let document = recommended(&sandbox, &[]);
    let places: Vec<Value> = table(&document, "recommendations").iter().map(|row| row["place"].clone()).collect();
    assert_eq!(places, [1, 1], "nobody asked for smaller pictures: {document}");
}

#[test]
fn batch_sizes_precisions_and_engines_compete() {
    let sandbox = Sandbox::new();
    sandbox.take(&[
        Made::taking(10.0),
        Made::taking(40.0).batch(8),
        Made::taking(6.0).with("/configuration/precision", "fp16"),
        Made::taking(50.0).batch(8).with("/configuration/engine", "tract"),
    ]);
    let best = |objective: &str| {
        let document = recommended(&sandbox, &["--objective", objective]);
        let first = table(&document, "recommendations")[0].clone();
        (first["batch_size"].clone(), first["precision"].clone(), first["engine"].clone())
    };
    let text = |text: &str| Value::from(text);
    assert_eq!(best("throughput"), (Value::from(8), text("fp32"), text("pytorch")));
    assert_eq!(best("latency"), (Value::from(1), text("fp16"), text("pytorch")));
}

#[test]
fn each_model_and_mode_has_an_answer() {
    let sandbox = Sandbox::new();
    sandbox.take(&[
        Made::taking(10.0).model("one"),
        Made::taking(11.0).model("two"),
        Made::taking(30.0).model("two").with("/configuration/mode", "training"),
    ]);
    let document = recommended(&sandbox, &[]);
    let found: Vec<(Value, Value)> = table(&document, "recommendations")
        .iter()
        .map(|row| {
            assert_eq!(row["place"], 1);
            (row["model"].clone(), row["mode"].clone())
        })
        .collect();
    let pair = |model: &str, mode: &str| (Value::from(model), Value::from(mode));
    assert_eq!(found, [pair("one", "inference"), pair("two", "inference"), pair("two", "training")]);
    assert_eq!(table(&recommended(&sandbox, &["--model", "two", "--mode", "training"]), "recommendations").len(), 1);
    let output = sandbox.benchdb().args(["recommend", "--model", "three"]).ends_with(3);
    assert!(stderr_of(&output).contains("no run is selected"), "{}", said(&output));
}

#[test]
fn what_was_not_measured_cannot_be_best() {
    let sandbox = Sandbox::new();
    sandbox.take(&[Made::taking(10.0).device("cuda", "Alpha")]);
    let output = sandbox.benchdb().args(["recommend", "--objective", "energy", "--format", "json"]).ends_with(3);
    assert_eq!(reason(&json_of(&output), "Alpha"), "its energy was not measured");
    let document = recommended(&sandbox, &["--objective", "latency"]);
    let row = &table(&document, "recommendations")[0];
    for absent in ["memory_mb", "energy_j", "cost_usd", "accuracy", "low", "high"] {
        assert!(row[absent].is_null(), "{absent}: {row}");
    }
}

#[test]
fn recommendations_come_in_every_format() {
    let sandbox = four_devices();
    for (file, beginning) in [("a.json", "{"), ("a.csv", "model,"), ("a.md", "")] {
        let output = sandbox.benchdb().args(["recommend", "--output", file]).succeeds();
        assert!(output.stdout.is_empty());
        assert!(sandbox.read(file).starts_with(beginning) && sandbox.read(file).contains("Alpha 100"), "{file}");
    }
    // One table a CSV file: what was ruled out has other columns.
    let output = sandbox.benchdb().args(["recommend", "--format", "csv", "--max-latency-ms", "15"]).succeeds();
    let mut reader = csv::Reader::from_reader(&*output.stdout);
    assert_eq!(reader.records().map(Result::unwrap).count(), 1, "{}", said(&output));
}
