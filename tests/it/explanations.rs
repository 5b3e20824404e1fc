//! `benchdb run --mode explanation`: attribution methods as work that is measured, stored and compared like any other.

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, number, rows, stderr_of};

const MEASURE: [&str; 10] = [
    "--model",
    "cifar_cnn",
    "--mode",
    "explanation",
    "--warmup",
    "1",
    "--iterations",
    "3",
    "--telemetry-interval",
    "0",
];

fn explanations(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Command {
    let mut command = sandbox.benchdb();
    command.args(["run", "--hardware", "cpu", "--engine", "burn-flex", "--min-time", "0", "--max-time", "20"]);
    command.args(MEASURE).args(arguments);
    command
}

/// The rows of one of several tables.
fn table(document: &Value, title: &str) -> Vec<Value> {
    document[title].as_array().unwrap_or_else(|| panic!("no `{title}` in {document}")).clone()
}

fn methods(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["method"].as_str().unwrap()).collect()
}

#[test]
fn every_method_that_fits_is_measured_stored_and_ranked() {
    let sandbox = Sandbox::new();
    let light = ["--set", "integrated_gradients.steps=3", "--set", "occlusion.window=[3,16,16]"];
    let mut command = explanations(&sandbox, &["--methods", "all", "--format", "json"]);
    command.args(light).args(["--set", "occlusion.stride=[3,16,16]", "--export-json", "h_YYYYMMDD_HHMMSS.json"]);
    let output = command.succeeds();
    assert!(stderr_of(&output).contains("attention_rollout does not fit this network: it has no attention"));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();

    let costs = table(&document, "explanations");
    assert_eq!(costs.len(), 13, "{costs:?}");
    for row in &costs {
        assert_eq!(row["status"], "ok", "{row}");
        let times = ["min", "p50", "p90", "p95", "p99", "p999", "max"]
            .map(|name| number(row, &format!("time_per_explanation_{name}_ms")));
        assert!(times[0] > 0.0 && times.windows(2).all(|pair| pair[0] <= pair[1]), "{row}");
        assert!(number(row, "time_per_explanation_mean_ms") > 0.0);
        assert_eq!(number(row, "success_rate"), 1.0);
        assert!(number(row, "explanations_per_second") > 0.0 && number(row, "peak_memory_mb") > 1.0, "{row}");
        assert!(number(row, "cost_in_inferences") > 0.0 && number(row, "memory_per_explanation_mb") >= 0.0, "{row}");
    }
    let passes = |method: &str| {
        let row = costs.iter().find(|row| row["method"] == method).unwrap();
        [number(row, "forward_passes"), number(row, "backward_passes")]
    };
    assert_eq!(passes("saliency"), [1.0, 1.0]);
    assert_eq!(passes("integrated_gradients"), [3.0, 3.0]);
    assert_eq!(passes("occlusion"), [5.0, 0.0], "four windows and the whole picture");
    assert_eq!(passes("deeplift"), [2.0, 1.0]);

    let ranked = table(&document, "efficiency");
    assert_eq!(ranked.len(), 13);
    let speeds: Vec<f64> = ranked.iter().map(|row| number(row, "explanations_per_second")).collect();
    assert!(speeds.windows(2).all(|pair| pair[0] >= pair[1]), "{speeds:?}");
    assert_eq!(number(&ranked[0], "times_the_fastest"), 1.0);

    // The record is one like any other.
    assert_eq!(sandbox.count("SELECT count(*) FROM results WHERE mode = 'explanation' AND status = 'ok'"), 13);
    let query = "SELECT DISTINCT json_extract(parameters, '$.method') AS method FROM results ORDER BY 1";
    assert_eq!(methods(&sandbox.sql(query)).len(), 13);
    let measured = sandbox.sql("SELECT run_id FROM results WHERE parameters LIKE '%\"saliency\"%'");
    let of = |name: &str| sandbox.extra_metric(&measured[0]["run_id"], name).unwrap();
    let median = format!("SELECT latency_p50_ms FROM results WHERE run_id = {}", measured[0]["run_id"]);
    let cost = sandbox.value(&median).as_f64().unwrap() / of("inference_ms");
    assert!((cost / of("cost_in_inferences") - 1.0).abs() < 1e-9);
    sandbox.benchdb().args(["analyze", "--compare-to", "last"]).outcome();
    sandbox.benchdb().arg("check").succeeds();

    // The export has the campaign's time in its name, and another database reads it.
    let names = sandbox.listing();
    let export = names.iter().find(|name| name.starts_with("h_")).unwrap_or_else(|| panic!("{names:?}"));
    assert!(export.len() == "h_20261121_080910.json".len() && !export.contains('Y'), "{export}");
    sandbox.benchdb().args(["--db", "other.sqlite", "import", export]).succeeds();
    let query = ["--db", "other.sqlite", "query", "--format", "json", "SELECT * FROM results"];
    assert_eq!(rows(&sandbox.benchdb().args(query).json()).len(), 13);
}

#[test]
fn what_does_not_fit_is_a_record_where_it_was_named() {
    let sandbox = Sandbox::new();
    explanations(&sandbox, &["--methods", "saliency,attention_rollout"]).succeeds();
    let query = "SELECT json_extract(results.parameters, '$.method') AS method, run.status, run.error FROM results \
                 JOIN run ON run.id = results.run_id ORDER BY 1";
    let found = sandbox.sql(query);
    assert_eq!(methods(&found), ["attention_rollout", "saliency"]);
    assert_eq!((&found[0]["status"], &found[1]["status"]), (&"unsupported".into(), &"ok".into()));
    assert_eq!(found[0]["error"], "attention_rollout does not fit this network: it has no attention");
    // Alone there is nothing to measure, and the record is kept all the same.
    assert!(!explanations(&sandbox, &["--methods", "attention_rollout"]).outcome().status.success());
    assert_eq!(sandbox.count("SELECT count(*) FROM results WHERE status = 'unsupported'"), 2);
}

#[test]
fn an_ablation_measures_each_feature_beside_the_complete_version() {
    let sandbox = Sandbox::new();
    let arguments = [
        "--methods",
        "integrated_gradients",
        "--set",
        "steps=4",
        "--ablation",
        "--batch-sizes",
        "2",
        "--threads",
        "2",
        "--repeat",
        "2",
        "--format",
        "json",
    ];
    let document = explanations(&sandbox, &arguments).json();
    let effects = table(&document, "ablation");
    let mut variants: Vec<&str> = effects.iter().map(|row| row["variant"].as_str().unwrap()).collect();
    variants.sort_unstable();
    let expected = [
        "cached",
        "half precision",
        "no inner batching",
        "one by one",
        "parallel workers",
        "tracked weights",
        "tuned inner batch",
    ];
    assert_eq!(variants, expected);
    let cached = effects.iter().find(|row| row["variant"] == "cached").unwrap();
    assert!(number(cached, "speed_up") > 1.0, "{cached}");
    assert!(number(cached, "smallest_speed_up") <= number(cached, "largest_speed_up"));
    // Each version does what it says: the rows of its passes, its precision, its passes.
    let of = |variant: &str, column: &str| {
        sandbox.sql(&format!("SELECT {column} AS value, run_id FROM results WHERE variant = '{variant}'")).remove(0)
    };
    let rows = |variant: &str| sandbox.extra_metric(&of(variant, "run_id")["run_id"], "inner_batch_rows").unwrap();
    assert_eq!((rows("no inner batching"), rows("complete")), (1.0, 16.0));
    assert_ne!(of("half precision", "precision")["value"], "fp32");
    let passes = |variant: &str| sandbox.extra_metric(&of(variant, "run_id")["run_id"], "forward_passes").unwrap();
    assert_eq!((passes("complete"), passes("one by one"), passes("cached")), (4.0, 4.0, 0.0));
    assert_eq!(sandbox.count("SELECT count(*) FROM results WHERE status = 'ok'"), 16);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_measured() {
    let sandbox = Sandbox::new();
    let refused = |arguments: &[&str], says: &[&str], hints: &[&str]| {
        explanations(&sandbox, arguments).refuses(says, hints);
    };
    refused(&["--methods", "gradcam"], &["unknown attribution method `gradcam`"], &["grad_cam"]);
    refused(&["--methods", "all,saliency"], &["`all`"], &["other names"]);
    refused(&["--methods", "saliency", "--set", "lrp.epsilon=1"], &["`lrp.epsilon`"], &["saliency"]);
    refused(&["--methods", "saliency", "--set", "steps=5"], &["parameters of saliency", "steps"], &["absolute"]);
    assert!(stderr_of(&explanations(&sandbox, &["--inner-batch", "0"]).ends_with(2)).contains("`auto`"));
    refused(&["--workers", "3", "--threads", "2"], &["3 workers cannot share 2 threads"], &["--workers 2"]);
    let onnx = crate::support::root().join("fixtures/onnx/cnn.onnx");
    sandbox
        .benchdb()
        .args(["run", "--mode", "explanation", "--model", onnx.to_str().unwrap()])
        .refuses(&["an ONNX file cannot be explained"], &["--weights"]);
    sandbox
        .benchdb()
        .args(["run", "--model", "cifar_cnn", "--methods", "saliency"])
        .refuses(&["`--methods` is for explanations"], &["--mode explanation"]);
    assert!(!sandbox.db().exists());
    // A class that does not exist is known when the network has answered.
    let output = explanations(&sandbox, &["--methods", "saliency", "--target", "10"]).outcome();
    assert!(!output.status.success());
    assert!(stderr_of(&output).contains("there is no class 10: the network tells 10 apart"), "{}", stderr_of(&output));
}

#[test]
fn the_methods_are_listed_with_what_they_fit() {
    let sandbox = Sandbox::new();
    let found =
        rows(&sandbox.benchdb().args(["models", "--methods", "--model", "cifar-cnn", "--format", "json"]).json());
    assert_eq!(found.len(), 14);
    for row in &found {
        let expected = if row["method"] == "attention_rollout" { "unsupported" } else { "works" };
        assert_eq!(row["fit"], expected, "{row}");
    }
    let reason = found.iter().find(|row| row["fit"] == "unsupported").unwrap()["reason"].clone();
    assert_eq!(reason, "it has no attention");
    let shown = sandbox.benchdb().args(["models", "--methods", "--model", "cifar-cnn"]).succeeds();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("13 of 14") && shown.contains("steps=50"), "{shown}");
    sandbox.benchdb().args(["models", "--model", "nosuch"]).refuses(&["`nosuch`"], &["benchdb models"]);
}
