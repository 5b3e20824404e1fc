//! Precisions: which are real, what they cost in fidelity, and what is said of those that are not.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Expect as _, QUICK_RUN, Sandbox, json_of, number, planned, rows, same, stderr_of};

/// The runs with what went wrong, as they were stored.
fn stored(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.sql("SELECT results.*, run.error, run.hint FROM results JOIN run ON run.id = run_id ORDER BY run_id")
}

/// The only run of an engine in a precision.
#[track_caller]
fn run_of<'a>(rows: &'a [Value], engine: &str, precision: &str) -> &'a Value {
    let found: Vec<&Value> =
        rows.iter().filter(|row| row["engine"] == engine && row["precision"] == precision).collect();
    assert_eq!(found.len(), 1, "{engine} {precision}");
    found[0]
}

/// A run without fidelity.
#[track_caller]
fn no_fidelity(sandbox: &Sandbox, row: &Value) {
    assert_eq!(row["fidelity_cosine"], Value::Null, "{row}");
    assert_eq!(row["fidelity_relative_error"], Value::Null, "{row}");
    assert_eq!(sandbox.extra_metric(&row["run_id"], "fidelity_top1_agreement"), None);
}

/// The relative error of a run, which must agree with its cosine: 1 - cos is about half of its square.
#[track_caller]
fn relative_error(sandbox: &Sandbox, row: &Value) -> f64 {
    let (cosine, error) = (number(row, "fidelity_cosine"), number(row, "fidelity_relative_error"));
    let agreement = sandbox.extra_metric(&row["run_id"], "fidelity_top1_agreement").unwrap();
    assert!((0.0..=1.0).contains(&agreement), "{agreement}");
    assert!(cosine <= 1.0 + 1e-12 && 1.0 - cosine <= error * error, "cosine {cosine}, relative error {error}");
    error
}

#[test]
fn a_matrix_goes_on_over_what_is_not_real() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .quick("cifar_cnn")
        .args(["--precision", "fp32,int8,bf16", "--engine", "flex,ndarray", "--format", "json"])
        .succeeds();
    assert_eq!(rows(&json_of(&output)).len(), 6, "what was left out stands in the table, too");
    let rows = stored(&sandbox);
    assert_eq!(rows.len(), 6);
    for (engine, precision, reason, way_out) in [
        ("burn-flex", "int8", "burn-flex does not support int8", "`--precision int8w`"),
        ("burn-ndarray", "int8", "burn-ndarray does not support int8", "`--precision int8w`"),
        ("burn-ndarray", "bf16", "burn-ndarray does not support bf16", "`--precision fp32`"),
    ] {
        let row = run_of(&rows, engine, precision);
        assert_eq!((&row["status"], &row["validity"]), (&"unsupported".into(), &"not_measured".into()));
        assert!(row["error"].as_str().unwrap().starts_with(reason), "{row}");
        assert!(row["hint"].as_str().unwrap().contains(way_out), "{row}");
        assert_eq!(row["latency_p50_ms"], Value::Null);
        no_fidelity(&sandbox, row);
        assert!(stderr_of(&output).contains(reason), "{}", stderr_of(&output));
    }
    let reference = run_of(&rows, "burn-flex", "fp32");
    assert_eq!(reference["status"], "ok");
    no_fidelity(&sandbox, reference);
    let other_engine = run_of(&rows, "burn-ndarray", "fp32");
    let rounding = relative_error(&sandbox, other_engine);
    assert!(rounding < 1e-4, "single precision on both: {rounding}");
    let half = run_of(&rows, "burn-flex", "bf16");
    let loss = relative_error(&sandbox, half);
    assert!(loss > 1e-4 && loss < 0.1, "8 bits of mantissa: {loss}");
    same(number(half, "model_size_mb"), number(reference, "model_size_mb") / 2.0);
    same(number(other_engine, "model_size_mb"), number(reference, "model_size_mb"));
    assert_eq!(sandbox.count("SELECT count(*) FROM planned_run WHERE state <> 'done'"), 0);
}

#[test]
fn integer_weights_take_a_quarter() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .quick("cifar_cnn")
        .args(["--precision", "fp32,int8w,fp16", "--repeat", "2", "--batch-sizes", "2", "--format", "json"])
        .succeeds();
    assert!(json_of(&output)["rows"].to_string().contains("\"fidelity_cosine\""), "{:?}", output.stdout);
    let rows = stored(&sandbox);
    assert_eq!(rows.len(), 6);
    let of = |precision: &str| -> Vec<&Value> { rows.iter().filter(|row| row["precision"] == precision).collect() };
    let [single, integer, half] = ["fp32", "int8w", "fp16"].map(of);
    for runs in [&single, &integer, &half] {
        assert_eq!(runs.len(), 2);
        assert!(runs.iter().all(|row| row["status"] == "ok"), "{runs:?}");
    }
    let share = number(integer[0], "model_size_mb") / number(single[0], "model_size_mb");
    assert!((0.25..0.26).contains(&share), "int8 weights, and floats that stay: {share}");
    same(number(half[0], "model_size_mb") / number(single[0], "model_size_mb"), 0.5);
    single.iter().for_each(|row| no_fidelity(&sandbox, row));
    for row in integer {
        let loss = relative_error(&sandbox, row);
        assert!(loss > 1e-4 && loss < 0.1, "{loss}");
    }
    let losses: Vec<f64> = half.iter().map(|row| relative_error(&sandbox, row)).collect();
    assert!(losses[0] > 1e-6 && losses[0] < 0.05, "{losses:?}");
    same(losses[0], losses[1]);
}

#[test]
fn the_reference_has_the_weights_of_the_run() {
    let sandbox = Sandbox::new();
    sandbox.optimized("prune", &["--amount", "0.9"], "sparse.safetensors");
    sandbox
        .quick("sparse=cifar_cnn:sparse.safetensors,cifar_cnn")
        .args(["--precision", "bf16", "--seed", "3", "--batch-sizes", "1"])
        .succeeds();
    let rows = stored(&sandbox);
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let loss = relative_error(&sandbox, row);
        assert!(loss < 0.1, "compared with other weights or another input: {row}");
    }
    assert_ne!(rows[0]["fidelity_relative_error"], rows[1]["fidelity_relative_error"]);
}

#[test]
fn adam_has_no_epsilon_in_half_precision() {
    let sandbox = Sandbox::new();
    sandbox.quick("cifar_cnn").args(["--training-mode", "--precision", "fp16"]).ends_with(1);
    let row = &stored(&sandbox)[0];
    assert_eq!((&row["status"], &row["mode"]), (&"unsupported".into(), &"training".into()));
    assert!(row["error"].as_str().unwrap().contains("training in fp16 with Adam"), "{row}");
    for way_out in ["--optimizer sgd", "--precision bf16"] {
        assert!(row["hint"].as_str().unwrap().contains(way_out), "{row}");
    }
    // Both ways out are ways out.
    for arguments in [["--precision", "fp16", "--optimizer", "sgd"], ["--precision", "bf16", "--optimizer", "adam"]] {
        sandbox.quick("cifar_cnn").arg("--training-mode").args(arguments).succeeds();
        let rows = stored(&sandbox);
        let row = rows.last().unwrap();
        assert_eq!((&row["status"], &row["precision"]), (&"ok".into(), &arguments[1].into()));
        for phase in ["forward_ms", "loss_ms", "backward_ms", "optimizer_step_ms"] {
            assert!(number(row, phase) > 0.0, "{phase}: {row}");
        }
        for loss in ["first_loss", "last_loss"] {
            assert!(sandbox.extra_metric(&row["run_id"], loss).unwrap().is_finite());
        }
        assert!(relative_error(&sandbox, row) < 0.1);
    }
}

#[test]
fn integers_are_not_trained() {
    let sandbox = Sandbox::new();
    sandbox.quick("cifar_cnn").args(["--training-mode", "--precision", "int8w,fp32"]).succeeds();
    let rows = stored(&sandbox);
    let row = run_of(&rows, "burn-flex", "int8w");
    assert_eq!(row["status"], "unsupported");
    assert!(row["error"].as_str().unwrap().contains("training in int8w"), "{row}");
    assert_eq!(run_of(&rows, "burn-flex", "fp32")["status"], "ok");
}

#[test]
fn a_category_in_two_precisions_is_planned() {
    let sandbox = Sandbox::new();
    let plan = |arguments: &[&str]| {
        let document = sandbox.benchdb().args(QUICK_RUN).args(["--dry-run", "--format", "json"]).args(arguments).json();
        planned(&document)
    };
    let of = |rows: &[Value], column: &str| -> BTreeSet<String> {
        rows.iter().map(|row| row[column].as_str().unwrap().to_owned()).collect()
    };
    let text = plan(&["--category", "text", "--precision", "fp32,bf16"]);
    let models = of(&text, "model");
    assert!(models.contains("gpt2") && models.contains("smollm2-135m") && !models.contains("resnet18"), "{models:?}");
    assert_eq!(text.len(), 2 * models.len());
    assert_eq!(of(&text, "precision"), ["bf16", "fp32"].map(str::to_owned).into());
    let all = of(&plan(&["--all"]), "model");
    assert_eq!(all.len(), 13);
    let parts = ["vision", "text", "audio", "multimodal"].map(|category| of(&plan(&["--category", category]), "model"));
    assert_eq!(parts.iter().map(BTreeSet::len).sum::<usize>(), 13, "each model in one category");
    assert_eq!(parts.into_iter().flatten().collect::<BTreeSet<String>>(), all);
    assert!(sandbox.listing().is_empty());
}

#[test]
fn the_support_matrix_explains_every_gap() {
    let sandbox = Sandbox::new();
    let document = sandbox.benchdb().args(["hardware", "--format", "json"]).json();
    let support = document["support"].as_array().unwrap();
    for row in support {
        match row["supported"].as_str().unwrap() {
            "yes" => assert!(row["reason"].is_null() && row["way_out"].is_null(), "{row}"),
            "no" => {
                assert!(!row["reason"].as_str().unwrap().is_empty(), "{row}");
                assert!(!row["way_out"].as_str().unwrap().is_empty(), "{row}");
            }
            other => panic!("{other} in {row}"),
        }
    }
    let platforms: BTreeSet<&str> = support.iter().map(|row| row["platform"].as_str().unwrap()).collect();
    for platform in ["cpu", "cuda", "rocm", "mps", "vulkan", "openvino", "webgpu", "webnn", "tpu"] {
        assert!(platforms.contains(platform), "{platform} in {platforms:?}");
    }
    for engine in ["burn-flex", "burn-ndarray"] {
        for precision in ["fp32", "tf32", "fp16", "bf16", "amp", "int8", "int8w"] {
            for mode in ["inference", "training", "explanation"] {
                let row = support.iter().find(|row| {
                    row["platform"] == "cpu"
                        && row["engine"] == engine
                        && row["precision"] == precision
                        && row["mode"] == mode
                });
                assert!(row.is_some(), "{engine} {precision} {mode}");
            }
        }
    }
    assert!(sandbox.listing().is_empty());
}

#[test]
fn the_support_matrix_is_what_runs_find() {
    let sandbox = Sandbox::new();
    let document = sandbox.benchdb().args(["hardware", "--format", "json"]).json();
    let promised = |engine: &str, precision: &str| {
        document["support"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["engine"] == engine && row["precision"] == precision && row["mode"] == "inference")
            .unwrap()["supported"]
            == "yes"
    };
    let precisions = ["fp32", "tf32", "fp16", "bf16", "amp", "int8", "int8w"];
    let engines = ["burn-flex", "burn-ndarray"];
    sandbox.quick("cifar_cnn").args(["--precision", &precisions.join(","), "--engine", &engines.join(",")]).succeeds();
    let rows = stored(&sandbox);
    for (engine, precision) in engines.iter().flat_map(|engine| precisions.map(|precision| (engine, precision))) {
        let found = &run_of(&rows, engine, precision)["status"];
        assert_eq!(found, if promised(engine, precision) { "ok" } else { "unsupported" }, "{engine} {precision}");
    }
}
