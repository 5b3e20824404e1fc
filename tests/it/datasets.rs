//! `benchdb run --data`: the accuracy of image classifiers, and sets that cannot be used.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Expect as _, Sandbox, number, same, stderr_of, test_set};

/// The runs with what went wrong, as they were stored.
fn stored(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.sql("SELECT results.*, run.error, run.hint FROM results JOIN run ON run.id = run_id ORDER BY run_id")
}

/// The name of the set of a run, without its digest.
fn set_name(row: &Value) -> String {
    let parameters: Value = serde_json::from_str(row["parameters"].as_str().unwrap()).unwrap();
    parameters["data"].as_str().unwrap().split('@').next().unwrap().to_owned()
}

/// A copy of the test part of the drawn shapes, to be broken.
fn copy_of_shapes(sandbox: &Sandbox, name: &str) -> PathBuf {
    let copy = sandbox.path(name);
    for class in std::fs::read_dir(test_set("shapes10/test")).unwrap() {
        let class = class.unwrap().path();
        let to = copy.join(class.file_name().unwrap());
        std::fs::create_dir_all(&to).unwrap();
        for picture in std::fs::read_dir(class).unwrap() {
            let picture = picture.unwrap().path();
            std::fs::copy(&picture, to.join(picture.file_name().unwrap())).unwrap();
        }
    }
    copy
}

/// The first of what lies in a folder.
fn first_in(folder: &Path) -> PathBuf {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.swap_remove(0)
}

#[test]
fn the_same_pictures_have_the_same_accuracy_however_they_are_stored() {
    let sandbox = Sandbox::new();
    sandbox.optimized("train", &["--data", &test_set("shapes10"), "--epochs", "4"], "a.safetensors");
    for set in ["shapes10/test", "shapes10", "shapes10-binary", "shapes10-binary/test_batch.bin", "shapes10.npz"] {
        sandbox.quick("a=cifar_cnn:a.safetensors").args(["--data", &test_set(set)]).succeeds();
    }
    let rows = stored(&sandbox);
    let names: Vec<String> = rows.iter().map(set_name).collect();
    assert_eq!(names, ["test", "shapes10", "shapes10-binary", "test_batch.bin", "shapes10.npz"]);
    let (top_1, top_5) = (number(&rows[0], "accuracy_top1"), number(&rows[0], "accuracy_top5"));
    assert!(top_1 > 0.2 && top_5 >= top_1 && top_5 <= 1.0, "it has learnt more than a guess: {top_1}, {top_5}");
    same(top_1 * 80.0, (top_1 * 80.0).round());
    for row in &rows {
        same(number(row, "accuracy_top1"), top_1);
        same(number(row, "accuracy_top5"), top_5);
    }
    // Another set is another configuration: these are the pictures that it learnt from, and more of them.
    sandbox.quick("a=cifar_cnn:a.safetensors").args(["--data", &test_set("shapes10/train")]).succeeds();
    let learnt = stored(&sandbox).pop().unwrap();
    let right = 200.0 * number(&learnt, "accuracy_top1");
    same(right, right.round());
    assert_ne!(learnt["parameters"], rows[0]["parameters"]);
}

#[test]
fn accuracy_is_measured_once_a_configuration_and_only_with_a_set() {
    let sandbox = Sandbox::new();
    sandbox.quick("cifar_cnn").succeeds();
    let data = test_set("shapes10/test");
    sandbox.quick("cifar_cnn").args(["--data", &data, "--precision", "fp32,int8w", "--repeat", "2"]).succeeds();
    let rows = stored(&sandbox);
    assert_eq!(rows.len(), 5);
    assert_eq!((&rows[0]["accuracy_top1"], &rows[0]["accuracy_top5"]), (&Value::Null, &Value::Null));
    assert_eq!(rows[0]["parameters"], "{}");
    let repetitions = sandbox.sql("SELECT repetition, id FROM run WHERE id > 1 ORDER BY id");
    for (row, run) in rows[1..].iter().zip(repetitions) {
        let measured = row["accuracy_top1"].is_number() && row["accuracy_top5"].is_number();
        assert_eq!(measured, run["repetition"] == 1, "repetition {}: {row}", run["repetition"]);
    }
}

#[test]
fn batches_of_the_set_can_be_timed() {
    let sandbox = Sandbox::new();
    let data = test_set("shapes10/test");
    let run = |arguments: &[&str]| {
        sandbox.quick("cifar_cnn").args(["--data", &data, "--precision", "bf16"]).args(arguments).succeeds();
        stored(&sandbox).pop().unwrap()
    };
    let made_up = run(&[]);
    let fed = run(&["--feed-data", "--batch-sizes", "4"]);
    let parameters: Value = serde_json::from_str(fed["parameters"].as_str().unwrap()).unwrap();
    assert_eq!(parameters["input"], "data");
    assert_eq!(set_name(&fed), "test");
    assert_eq!(fed["accuracy_top1"], made_up["accuracy_top1"], "accuracy is that of the set in both");
    for row in [&made_up, &fed] {
        let loss = number(row, "fidelity_relative_error");
        assert!(loss > 1e-4 && loss < 0.1, "the reference saw another input: {loss}");
    }
    assert_ne!(fed["fidelity_cosine"], made_up["fidelity_cosine"], "another input has another error");
    let output = sandbox.quick("cifar_cnn").arg("--feed-data").ends_with(2);
    assert!(stderr_of(&output).contains("--data"), "{}", stderr_of(&output));
}

#[test]
fn a_set_that_cannot_be_used_is_a_failed_run() {
    let sandbox = Sandbox::new();
    let broken = copy_of_shapes(&sandbox, "broken");
    let picture = first_in(&first_in(&broken));
    std::fs::write(&picture, &std::fs::read(&picture).unwrap()[..60]).unwrap();
    let nine = copy_of_shapes(&sandbox, "nine");
    std::fs::remove_dir_all(first_in(&nine)).unwrap();
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    let archive = std::fs::read(test_set("shapes10.npz")).unwrap();
    sandbox.write("cut.npz", &archive[..archive.len() / 2]);
    let picture = picture.to_str().unwrap().to_owned();
    for (set, error, hint) in [
        ("broken", ["the picture", &picture], "remove or replace it"),
        ("nine", ["has 9 classes", "the model has 10"], "the model's classes"),
        ("empty", ["is no test set", "neither class folders"], "docs/datasets.md"),
        ("cut.npz", ["cannot read the archive", "cut.npz`"], "numpy.savez"),
    ] {
        let output = sandbox.quick("cifar_cnn").args(["--batch-sizes", "1,2", "--data", set]).ends_with(1);
        let rows: Vec<Value> = stored(&sandbox).into_iter().filter(|row| set_name(row) == set).collect();
        assert_eq!(rows.len(), 2, "{set}: the second run was made, too");
        for row in &rows {
            assert_eq!((&row["status"], &row["validity"]), (&"failed".into(), &"not_measured".into()), "{set}");
            assert_eq!(row["accuracy_top1"], Value::Null, "no accuracy of a part: {set}");
            // A picture is opened when its turn comes: what was measured until then stays.
            assert_eq!(row["latency_p50_ms"].is_number(), set == "broken", "{set}");
            let sentence = row["error"].as_str().unwrap();
            assert!(error.iter().all(|words| sentence.contains(words)), "{set}: {sentence}");
            assert!(!sentence.contains('\n'), "{set}: {sentence}");
            assert!(row["hint"].as_str().unwrap().contains(hint), "{set}: {row}");
            assert!(stderr_of(&output).contains(sentence), "{set}: {}", stderr_of(&output));
        }
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM planned_run WHERE state <> 'done'"), 0);
}

#[test]
fn a_network_of_other_classes_does_not_stop_the_rest() {
    let sandbox = Sandbox::new();
    let data = test_set("shapes10/test");
    sandbox.quick("resnet18,gpt2,cifar_cnn").args(["--data", &data]).ends_with(1);
    let outcome: Value = stored(&sandbox)
        .iter()
        .map(|row| (row["model"].as_str().unwrap().to_owned(), row["status"].clone()))
        .collect::<serde_json::Map<String, Value>>()
        .into();
    assert_eq!(outcome, json!({"resnet18": "failed", "gpt2": "unsupported", "cifar_cnn": "ok"}));
    let of = |model: &str| stored(&sandbox).into_iter().find(|row| row["model"] == model).unwrap();
    assert!(of("resnet18")["error"].as_str().unwrap().contains("has 10 classes"));
    assert!(of("resnet18")["error"].as_str().unwrap().ends_with("the model has 1000"));
    assert_eq!(of("gpt2")["error"], "gpt2 does not sort pictures into classes");
    assert!(of("gpt2")["hint"].as_str().unwrap().contains("image classifiers"));
    assert!((0.0..=1.0).contains(&number(&of("cifar_cnn"), "accuracy_top1")));
}

#[test]
fn a_set_for_what_reads_no_pictures_is_an_outcome() {
    let sandbox = Sandbox::new();
    let data = test_set("shapes10/test");
    let output = sandbox.quick("cifar_cnn,bert").args(["--data", &data]).succeeds();
    assert!(stderr_of(&output).contains("bert-base-uncased does not sort pictures"), "{}", stderr_of(&output));
    sandbox.quick("bert").args(["--data", &data]).ends_with(1);
    assert_eq!(sandbox.count("SELECT count(*) FROM run WHERE status = 'unsupported'"), 2);
    assert_eq!(sandbox.count("SELECT count(*) FROM run WHERE status = 'ok'"), 1);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_done() {
    let sandbox = Sandbox::new();
    let quick = |arguments: &[&str]| {
        let mut command = sandbox.quick("cifar_cnn");
        command.args(arguments);
        command
    };
    quick(&["--data", "missing"]).refuses(&["cannot read `missing`"], &["check the path"]);
    quick(&["--data", &test_set("shapes10"), "--training-mode"])
        .refuses(&["`--data` measures the accuracy of inference"], &["`--training-mode`"]);
    assert!(sandbox.listing().is_empty());
}
