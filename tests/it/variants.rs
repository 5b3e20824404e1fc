//! Versions of a model side by side: `--model NAME=MODEL:FILE`.

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, json_of, number, planned, same, stderr_of, stdout_of, test_set};

/// Three versions of one network.
const THREE: &str =
    "original=cifar_cnn:original.safetensors,narrow=cifar_cnn:narrow.safetensors,sparse=cifar_cnn:sparse.safetensors";

/// A folder with the weight files of these versions.
fn with_files() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.optimized("prune", &["--amount", "0"], "original.safetensors");
    sandbox.optimized("channels", &["--weights", "original.safetensors", "--amount", "0.5"], "narrow.safetensors");
    sandbox.optimized("prune", &["--weights", "original.safetensors", "--amount", "0.75"], "sparse.safetensors");
    sandbox
}

/// The rows of the comparison that are about this version.
fn of<'a>(document: &'a Value, variant: &str) -> Vec<&'a Value> {
    document["variants"].as_array().unwrap().iter().filter(|row| row["variant"] == variant).collect()
}

/// The only one.
#[track_caller]
fn only<'a>(document: &'a Value, variant: &str) -> &'a Value {
    let rows = of(document, variant);
    assert_eq!(rows.len(), 1, "{variant} in {document}");
    rows[0]
}

#[test]
fn versions_are_compared_in_one_table() {
    let sandbox = with_files();
    let data = test_set("shapes10/test");
    let document =
        sandbox.quick(THREE).args(["--batch-sizes", "3", "--data", &data, "--seed", "5", "--format", "json"]).json();
    let [original, narrow, sparse] = ["original", "narrow", "sparse"].map(|variant| only(&document, variant));
    assert_eq!(number(original, "parameters"), 814_122.0);
    assert_eq!(number(sparse, "parameters"), 814_122.0);
    assert!(number(narrow, "parameters") < 0.3 * 814_122.0, "half the channels on both sides: {narrow}");
    for (row, share) in [(original, 1.0), (narrow, 1.0), (sparse, 0.25)] {
        assert!((number(row, "nonzero_share") - share).abs() < 0.01, "biases stay: {row}");
        assert_eq!(
            (&row["model"], &row["status"], &row["precision"]),
            (&"cifar_cnn".into(), &"ok".into(), &"fp32".into())
        );
        assert_eq!(number(row, "batch_size"), 3.0);
        let (top_1, top_5) = (number(row, "accuracy_top1"), number(row, "accuracy_top5"));
        assert!((0.0..=1.0).contains(&top_1) && top_1 <= top_5 && top_5 <= 1.0, "{row}");
        let name = format!("{}.safetensors", row["variant"].as_str().unwrap());
        let bytes = std::fs::metadata(sandbox.path(&name)).unwrap().len();
        same(number(row, "file_size_mb"), bytes as f64 / 1e6);
        // The numbers of the two runs behind the row.
        let run = |batch: u32| {
            let query = format!("SELECT * FROM results WHERE variant = {} AND batch_size = {batch}", row["variant"]);
            let rows = sandbox.sql(&query.replace('"', "'"));
            assert_eq!(rows.len(), 1, "batch 1 is measured besides what was asked for");
            rows[0].clone()
        };
        let (single, batch) = (run(1), run(3));
        assert_eq!(row["batch_1_latency_p50_ms"], single["latency_p50_ms"]);
        assert_eq!(row["latency_p50_ms"], batch["latency_p50_ms"]);
        assert_eq!(row["throughput_samples_per_second"], batch["throughput_samples_per_second"]);
        assert_eq!(row["peak_memory_mb"], batch["memory_host_peak_mb"]);
        assert_eq!(row["model_size_mb"], batch["model_size_mb"]);
        for stored in [&single, &batch] {
            assert_eq!(stored["accuracy_top1"], row["accuracy_top1"]);
            for (name, column) in [("parameter_count", "parameters"), ("nonzero_share", "nonzero_share")] {
                same(sandbox.extra_metric(&stored["run_id"], name).unwrap(), number(row, column));
            }
        }
    }
    let multiply_adds = |variant: &str| {
        let query = format!("SELECT run_id FROM results WHERE variant = '{variant}' AND batch_size = 1");
        sandbox.extra_metric(&sandbox.value(&query), "multiply_adds").unwrap()
    };
    assert!(multiply_adds("narrow") < 0.3 * multiply_adds("original"));
    same(multiply_adds("sparse"), multiply_adds("original"));
    assert!(number(narrow, "model_size_mb") < 0.3 * number(original, "model_size_mb"));
    assert_eq!(document["runs"].as_array().unwrap().len(), 6);
    assert_eq!(sandbox.count("SELECT count(*) FROM artifact"), 3);
}

#[test]
fn a_person_reads_the_trade_off() {
    let sandbox = with_files();
    let data = test_set("shapes10/test");
    let output = sandbox.quick(THREE).args(["--batch-sizes", "1", "--data", &data]).succeeds();
    let stdout = stdout_of(&output);
    let first = stdout.lines().next().unwrap();
    assert!(first.starts_with("Variants: model cifar_cnn") && first.contains("fp32"), "{stdout}");
    for heading in ["parameters", "nonzero", "size MB", "file MB", "top-1", "top-5", "batch 1 ms", "samples/s"] {
        assert!(stdout.contains(heading), "{heading}: {stdout}");
    }
    let line = stdout.lines().find(|line| line.trim_start().starts_with("sparse")).unwrap();
    // A quarter of the weights, and all biases.
    assert!(line.contains("25.1 %") && line.contains("814 k"), "{line}");
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 3, "batch 1 was asked for already");
}

#[test]
fn versions_of_a_model_are_series_of_their_own() {
    let sandbox = with_files();
    for _ in 0..2 {
        sandbox.quick("a=cifar_cnn:original.safetensors,b=cifar_cnn:sparse.safetensors").succeeds();
    }
    sandbox.quick("cifar_cnn").succeeds();
    let variants: Vec<Value> = sandbox
        .sql("SELECT variant, count(*) AS runs FROM results JOIN run ON run.id = run_id GROUP BY configuration_id ORDER BY variant")
        .iter()
        .map(|row| serde_json::json!([row["variant"], row["runs"]]))
        .collect();
    assert_eq!(variants, [serde_json::json!(["", 1]), serde_json::json!(["a", 2]), serde_json::json!(["b", 2])]);
    let unnamed = sandbox.value("SELECT run_id FROM results WHERE variant = ''");
    assert_eq!(sandbox.extra_metric(&unnamed, "nonzero_share"), None, "no weight file was looked at");
}

#[test]
fn integer_weights_of_a_file_are_a_version_too() {
    let sandbox = with_files();
    sandbox.optimized("int8", &["--weights", "original.safetensors"], "int8.safetensors");
    let document = sandbox
        .quick("original=cifar_cnn:original.safetensors,int8=cifar_cnn:int8.safetensors")
        .args(["--data", &test_set("shapes10.npz"), "--precision", "fp32,int8w", "--format", "json"])
        .json();
    for precision in ["fp32", "int8w"] {
        let row = |variant| *of(&document, variant).iter().find(|row| row["precision"] == precision).unwrap();
        let (original, int8) = (row("original"), row("int8"));
        assert!(number(int8, "file_size_mb") < 0.26 * number(original, "file_size_mb"), "{int8}");
        same(number(int8, "model_size_mb"), number(original, "model_size_mb"));
        assert!((0.0..=1.0).contains(&number(int8, "accuracy_top1")));
        let zeros = 1.0 - number(int8, "nonzero_share");
        assert!(zeros > 0.0 && zeros < 0.05, "the smallest weights are rounded to zero: {zeros}");
    }
}

#[test]
fn a_file_of_another_network_fails_its_version_alone() {
    let sandbox = with_files();
    sandbox.write("garbage.safetensors", "no weights");
    let output = sandbox
        .quick("good=cifar_cnn:original.safetensors,wrong=resnet18:original.safetensors,garbage=cifar_cnn:garbage.safetensors,fine=cifar_cnn:narrow.safetensors")
        .args(["--format", "json"])
        .ends_with(1);
    let document = json_of(&output);
    for (variant, status, words) in [
        ("good", "ok", ""),
        ("fine", "ok", ""),
        ("wrong", "failed", "the weights do not fit the network"),
        ("garbage", "failed", "garbage.safetensors"),
    ] {
        assert_eq!(only(&document, variant)["status"], status, "{variant}");
        let query =
            format!("SELECT results.*, run.error FROM results JOIN run ON run.id = run_id WHERE variant = '{variant}'");
        let run = &sandbox.sql(&query)[0];
        assert_eq!(run["status"], status);
        if status == "ok" {
            assert!(run["error"].is_null() && run["latency_p50_ms"].is_number(), "{run}");
            continue;
        }
        assert!(run["latency_p50_ms"].is_null() && run["validity"] == "not_measured", "{run}");
        let sentence = run["error"].as_str().unwrap();
        assert!(sentence.contains(words) && !sentence.contains('\n'), "{sentence}");
        assert!(stderr_of(&output).contains(sentence), "{}", stderr_of(&output));
        assert_eq!(only(&document, variant)["latency_p50_ms"], Value::Null);
    }
}

#[test]
fn names_and_files_are_looked_at_first() {
    let sandbox = with_files();
    let listing = sandbox.listing();
    sandbox
        .quick("a=cifar_cnn:original.safetensors,b=cifar_cnn:missing.safetensors")
        .refuses(&["cannot read `missing.safetensors`"], &["check the path"]);
    sandbox
        .quick("a=cifar_cnn:original.safetensors,a=cifar_cnn:narrow.safetensors")
        .refuses(&["two versions", "are called `a`"], &["a name of its own"]);
    sandbox
        .quick("a=cifar_cnn:original.safetensors")
        .args(["--weights", "sparse.safetensors"])
        .refuses(&["`--weights`"], &["--model"]);
    sandbox.quick("a=xyzzy:original.safetensors").refuses(&["no model `xyzzy`"], &["benchdb models"]);
    for (model, words) in
        [("a=cifar_cnn:", "no file after `:`"), ("=cifar_cnn:original.safetensors", "before `=` has no name")]
    {
        let output = sandbox.quick(model).ends_with(2);
        assert!(stderr_of(&output).contains(words), "{model}: {}", stderr_of(&output));
    }
    assert_eq!(sandbox.listing(), listing);
}

#[test]
fn a_plan_tells_versions_apart() {
    let sandbox = with_files();
    let listing = sandbox.listing();
    let document = sandbox.quick(THREE).args(["--batch-sizes", "2", "--dry-run", "--format", "json"]).json();
    let found: Vec<Value> =
        planned(&document).iter().map(|row| serde_json::json!([row["variant"], row["batch_size"]])).collect();
    let expected: Vec<Value> = ["original", "narrow", "sparse"]
        .iter()
        .flat_map(|variant| [1, 2].map(|batch| serde_json::json!([variant, batch])))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(sandbox.listing(), listing);
}
