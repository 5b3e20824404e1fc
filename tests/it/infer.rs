//! `benchdb infer`: tensors in, tensors out, the same on every engine and the same as the public implementation.

use std::process::Command;

use benchdb::zoo::rule;
use serde_json::Value;

use crate::support::{Expect as _, Sandbox, floats_npy, npy, read_npy, root, stderr_of};

fn picture(batch: usize) -> Vec<u8> {
    let shape = [batch, 3, 32, 32];
    floats_npy(&shape, &rule::floats("input.image", shape.iter().product(), 0))
}

fn infer(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.benchdb();
    command.args(["infer", "--model", "cifar_cnn", "--input", "x.npy", "--output", "y.npy"]).args(arguments);
    command
}

fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    norm(&mut found.iter().zip(expected).map(|(a, b)| f64::from(*a) - b)) / norm(&mut expected.iter().copied())
}

#[test]
fn both_processor_engines_answer_what_pytorch_answers() {
    let golden: Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("fixtures/golden/cifar_cnn.json")).unwrap()).unwrap();
    let output = &golden["outputs"]["logits"];
    assert_eq!(output["stride"], 1);
    let expected: Vec<f64> = output["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    let sandbox = Sandbox::new();
    sandbox.write("x.npy", picture(2));
    for engine in ["burn-flex", "ndarray"] {
        infer(&sandbox, &["--engine", engine]).succeeds();
        let (shape, values) = read_npy(&std::fs::read(sandbox.path("y.npy")).unwrap());
        assert_eq!(shape, "(2,10)");
        let error = relative_error(&values, &expected);
        assert!(error < 1e-4, "{engine}: {error}");
    }
    assert_eq!(sandbox.listing(), ["x.npy", "y.npy"], "no database is needed");
}

#[test]
fn a_seed_makes_other_weights() {
    let sandbox = Sandbox::new();
    sandbox.write("x.npy", picture(1));
    let answer = |arguments: &[&str]| {
        infer(&sandbox, arguments).succeeds();
        read_npy(&std::fs::read(sandbox.path("y.npy")).unwrap()).1
    };
    let first = answer(&[]);
    assert_eq!(first, answer(&["--seed", "0"]));
    assert_ne!(first, answer(&["--seed", "1"]));
}

#[test]
fn weights_of_a_file_are_used() {
    let sandbox = Sandbox::new();
    sandbox.write("x.npy", picture(1));
    sandbox.write("other.safetensors", "{}");
    let output = infer(&sandbox, &["--weights", "other.safetensors"]).ends_with(2);
    assert!(stderr_of(&output).contains("`other.safetensors`"), "{}", stderr_of(&output));
    infer(&sandbox, &["--weights", "missing.safetensors"]).outcome();
    let output = infer(&sandbox, &["--weights", "missing.safetensors"]).ends_with(2);
    assert!(stderr_of(&output).contains("`missing.safetensors`"), "{}", stderr_of(&output));
    assert_eq!(sandbox.listing(), ["other.safetensors", "x.npy"]);
}

#[test]
fn inputs_that_do_not_fit_say_what_would() {
    let sandbox = Sandbox::new();
    let with = |content: Vec<u8>| {
        sandbox.write("x.npy", content);
        infer(&sandbox, &[])
    };
    let zeros = |shape: &[usize]| floats_npy(shape, &vec![0.0; shape.iter().product()]);
    with(zeros(&[2, 3, 16, 32])).refuses(&["`image` has the shape 2x3x16x32, expected batch x 3"], &["batch"]);
    with(zeros(&[3, 32, 32])).refuses(&["`image` has the shape 3x32x32"], &["the first dimension is the batch"]);
    with(zeros(&[0, 3, 32, 32])).refuses(&["`image` has the shape 0x3x32x32"], &["batch"]);
    let integers = npy("<i8", &[1, 3, 32, 32], &[0; 3 * 32 * 32 * 8]);
    let stderr = stderr_of(&with(integers).ends_with(2));
    assert!(stderr.starts_with("error: ") && stderr.contains("`image` must hold floats"), "{stderr}");
    with(npy("<c8", &[1, 3, 32, 32], &[0; 3 * 32 * 32 * 8])).refuses(&["elements of type"], &[".astype"]);
    with(b"no tensors".to_vec()).refuses(&["`x.npy` is neither .npy nor .npz"], &["numpy.save"]);
    let stderr = stderr_of(&with(zeros(&[1, 3, 32, 32])[..200].to_vec()).ends_with(2));
    assert!(stderr.contains("cannot read the tensors in `x.npy`"), "{stderr}");
    std::fs::remove_file(sandbox.path("x.npy")).unwrap();
    let stderr = stderr_of(&infer(&sandbox, &[]).ends_with(2));
    assert!(stderr.starts_with("error: cannot read the tensors in `x.npy`"), "{stderr}");
    assert!(sandbox.listing().is_empty());
}

#[test]
fn double_precision_is_taken_too() {
    let sandbox = Sandbox::new();
    let values = rule::floats("input.image", 3 * 32 * 32, 0);
    let wide: Vec<u8> = values.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect();
    sandbox.write("x.npy", npy("<f8", &[1, 3, 32, 32], &wide));
    infer(&sandbox, &[]).succeeds();
    let wide = std::fs::read(sandbox.path("y.npy")).unwrap();
    sandbox.write("x.npy", picture(1));
    infer(&sandbox, &[]).succeeds();
    assert_eq!(std::fs::read(sandbox.path("y.npy")).unwrap(), wide);
}

#[test]
fn an_archive_holds_tensors_by_name() {
    let sandbox = Sandbox::new();
    sandbox.write("x.npy", picture(1));
    infer(&sandbox, &[]).succeeds();
    sandbox.benchdb().args(["infer", "--model", "cifar_cnn", "--input", "x.npy", "--output", "y.npz"]).succeeds();
    let archive = std::fs::read(sandbox.path("y.npz")).unwrap();
    assert!(archive.starts_with(b"PK") && archive.windows(10).any(|bytes| bytes == b"logits.npy"));
    let single = std::fs::read(sandbox.path("y.npy")).unwrap();
    assert!(archive.windows(40).any(|bytes| bytes == &single[single.len() - 40..]), "stored, as numpy.savez does");
    // What one call wrote is the next one's input, by its name: not one that this model has.
    sandbox
        .benchdb()
        .args(["infer", "--model", "cifar_cnn", "--input", "y.npz", "--output", "z.npy"])
        .refuses(&["unknown input `logits`"], &["`image`"]);
}

#[test]
fn several_outputs_need_an_archive_or_a_choice() {
    let sandbox = Sandbox::new();
    let ids: Vec<u8> = rule::tokens("input.ids", 128, 30522, 0).iter().flat_map(|id| id.to_le_bytes()).collect();
    sandbox.write("x.npy", npy("<i8", &[1, 128], &ids));
    let bert = |output: &str| {
        let mut command = sandbox.benchdb();
        command.args(["infer", "--model", "bert", "--input", "x.npy", "--output", output]);
        command
    };
    bert("y.npy").refuses(&["`y.npy` can hold one tensor, there are 2"], &[".npz"]);
    bert("y.npy").args(["--select", "pooler"]).refuses(&["no output `pooler`"], &["pooler_output"]);
    bert("y.npy").args(["--select", "pooler_output"]).succeeds();
    assert_eq!(read_npy(&std::fs::read(sandbox.path("y.npy")).unwrap()).0, "(1,768)");
    let ids: Vec<u8> = std::iter::repeat_n(30522_i64, 128).flat_map(i64::to_le_bytes).collect();
    sandbox.write("x.npy", npy("<i8", &[1, 128], &ids));
    bert("z.npz").refuses(&["token 30522", "vocabulary of 30522"], &["tokenizer"]);
    assert_eq!(sandbox.listing(), ["x.npy", "y.npy"]);
}
