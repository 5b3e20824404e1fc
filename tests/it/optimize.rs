//! `benchdb optimize`: weight files made from weight files, and what it refuses to make.

use std::process::Command;

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, number, rows, same, stderr_of, stdout_of, test_set};

/// A method on `cifar_cnn`, to a file.
fn optimize(sandbox: &Sandbox, method: &str, to: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.benchdb();
    command.args(["optimize", method, "--model", "cifar_cnn", "--to", to]).args(arguments);
    command
}

/// What such a command says in JSON: before, and after.
#[track_caller]
fn report(sandbox: &Sandbox, method: &str, to: &str, arguments: &[&str]) -> [Value; 2] {
    let document = optimize(sandbox, method, to, arguments).args(["--format", "json"]).json();
    assert_eq!(document["kind"], "optimize");
    let rows: [Value; 2] = rows(&document).try_into().unwrap();
    assert_eq!((&rows[0]["weights"], &rows[1]["weights"]), (&"before".into(), &"after".into()));
    rows
}

fn bytes(sandbox: &Sandbox, name: &str) -> Vec<u8> {
    std::fs::read(sandbox.path(name)).unwrap()
}

/// Name, type, shape and bytes of every tensor of a safetensors file: a length, a header in JSON, the data.
fn tensors(file: &[u8]) -> Vec<(String, String, String, Vec<u8>)> {
    let length = usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let data = &file[8 + length..];
    let mut tensors = Vec::new();
    for (name, about) in header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
        let at = |index: usize| usize::try_from(about["data_offsets"][index].as_u64().unwrap()).unwrap();
        let kind = about["dtype"].as_str().unwrap().to_owned();
        tensors.push((name.clone(), kind, about["shape"].to_string(), data[at(0)..at(1)].to_vec()));
    }
    tensors
}

/// The numbers of weights, and of zeros among them.
fn zeros(file: &[u8]) -> (usize, usize) {
    let weights = tensors(file).into_iter().filter(|(_, _, shape, _)| shape.contains(','));
    let values: Vec<f32> = weights
        .flat_map(|(.., data)| {
            data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect::<Vec<f32>>()
        })
        .collect();
    (values.len(), values.iter().filter(|value| **value == 0.0).count())
}

#[test]
fn pruning_sets_the_share_to_zero_that_was_asked_for() {
    let sandbox = Sandbox::new();
    let [before, after] = report(&sandbox, "prune", "half.safetensors", &["--amount", "0.5"]);
    assert_eq!(before["parameters"], after["parameters"]);
    assert_eq!(before["multiply_adds"], after["multiply_adds"]);
    same(number(&before, "nonzero_share"), 1.0);
    let (weights, zero) = zeros(&bytes(&sandbox, "half.safetensors"));
    assert_eq!(zero, (weights as f64 * 0.5).round() as usize);
    same(number(&after, "nonzero_share"), 1.0 - zero as f64 / number(&after, "parameters"));
    same(number(&after, "file_size_mb"), bytes(&sandbox, "half.safetensors").len() as f64 / 1e6);
    // Within each tensor it is others that go.
    report(&sandbox, "prune", "each.safetensors", &["--amount", "0.5", "--scope", "tensor"]);
    assert_ne!(bytes(&sandbox, "each.safetensors"), bytes(&sandbox, "half.safetensors"));
    for (name, _, shape, data) in tensors(&bytes(&sandbox, "each.safetensors")) {
        let zero = data.chunks_exact(4).filter(|four| **four == [0; 4] || **four == [0, 0, 0, 0x80]).count();
        let expected = if shape.contains(',') { (data.len() / 4) as f64 * 0.5 } else { zero as f64 };
        assert!((zero as f64 - expected).abs() <= 0.5, "{name}: {zero} of {}", data.len() / 4);
    }
    // What is left is as it was.
    optimize(&sandbox, "prune", "whole.safetensors", &["--amount", "0"]).succeeds();
    let whole = tensors(&bytes(&sandbox, "whole.safetensors"));
    for (pruned, original) in tensors(&bytes(&sandbox, "half.safetensors")).iter().zip(&whole) {
        assert_eq!((&pruned.0, &pruned.2), (&original.0, &original.2));
        let kept = pruned
            .3
            .chunks_exact(4)
            .zip(original.3.chunks_exact(4))
            .filter(|(new, _)| new.iter().any(|byte| *byte & 0x7f != 0));
        assert!(kept.into_iter().all(|(new, old)| new == old), "{}", pruned.0);
    }
}

#[test]
fn fewer_channels_are_less_of_everything() {
    let sandbox = Sandbox::new();
    let [before, after] = report(&sandbox, "channels", "narrow.safetensors", &["--amount", "0.5"]);
    for column in ["parameters", "multiply_adds"] {
        let share = number(&after, column) / number(&before, column);
        assert!(share > 0.2 && share < 0.3, "half of the channels that are read and written: {column} {share}");
    }
    same(number(&after, "file_size_mb"), bytes(&sandbox, "narrow.safetensors").len() as f64 / 1e6);
    let shape_of =
        |file: &str, name: &str| tensors(&bytes(&sandbox, file)).into_iter().find(|tensor| tensor.0 == name).unwrap().2;
    assert_eq!(shape_of("narrow.safetensors", "conv1.weight"), "[16,3,3,3]");
    assert_eq!(shape_of("narrow.safetensors", "conv2.weight"), "[16,16,3,3]");
    assert_eq!(shape_of("narrow.safetensors", "fc2.bias"), "[10]", "classes stay");
    optimize(&sandbox, "channels", "odd.safetensors", &["--amount", "0.7", "--multiple", "1"]).succeeds();
    assert_eq!(shape_of("odd.safetensors", "conv1.weight"), "[10,3,3,3]", "not rounded up to eight");
    sandbox
        .benchdb()
        .args(["optimize", "channels", "--model", "t5-small", "--amount", "0.5", "--to", "t5.safetensors"])
        .refuses(&["no channels of this network"], &["prune single weights"]);
    assert!(!sandbox.path("t5.safetensors").exists());
}

#[test]
fn integers_take_a_quarter_of_the_file() {
    let sandbox = Sandbox::new();
    optimize(&sandbox, "prune", "whole.safetensors", &["--amount", "0"]).succeeds();
    let [before, after] = report(&sandbox, "int8", "int8.safetensors", &["--weights", "whole.safetensors"]);
    assert_eq!(before["parameters"], after["parameters"]);
    let share = number(&after, "file_size_mb") / number(&before, "file_size_mb");
    assert!(share > 0.25 && share < 0.26, "{share}");
    // What is rounded to zero is zero in the file, and counted by whoever loads it.
    assert!(number(&after, "nonzero_share") < 1.0, "{after}");
    sandbox.quick("int8=cifar_cnn:int8.safetensors").succeeds();
    same(sandbox.extra_metric(&1.into(), "nonzero_share").unwrap(), number(&after, "nonzero_share"));
    let whole = tensors(&bytes(&sandbox, "whole.safetensors"));
    let quantized = tensors(&bytes(&sandbox, "int8.safetensors"));
    for (name, _, shape, data) in whole {
        let found = quantized.iter().find(|tensor| tensor.0 == name).unwrap();
        assert_eq!((&found.1 == "I8", &found.2), (shape.contains(','), &shape), "{name}");
        if found.1 == "I8" {
            assert_eq!(found.3.len() * 4, data.len(), "{name}");
            assert!(found.3.iter().any(|step| step.cast_signed().unsigned_abs() == 127), "the whole range: {name}");
            assert!(quantized.iter().any(|tensor| tensor.0 == format!("{name}.scale")), "{name}");
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    let sandbox = Sandbox::new();
    let data = test_set("shapes10/train");
    let train = |to: &str, seed: &str| {
        let output = optimize(&sandbox, "train", to, &["--data", &data, "--epochs", "1", "--seed", seed]).succeeds();
        assert!(stderr_of(&output).contains("epoch 1 of 1: mean loss"), "{}", stderr_of(&output));
        bytes(&sandbox, to)
    };
    let first = train("a.safetensors", "1");
    assert!(first == train("b.safetensors", "1"), "the same seed, other weights");
    assert!(first != train("c.safetensors", "2"), "another seed, the same weights");
    let teacher = ["--data", &data, "--epochs", "1", "--teacher", "cifar_cnn", "--teacher-weights", "a.safetensors"];
    let distill = |to: &str, more: &[&str]| {
        optimize(&sandbox, "distill", to, &teacher).args(more).succeeds();
        bytes(&sandbox, to)
    };
    let student = distill("d.safetensors", &["--seed", "2"]);
    assert!(student == distill("e.safetensors", &["--seed", "2"]), "the same seed, other weights");
    assert!(student != bytes(&sandbox, "c.safetensors"), "a teacher teaches something");
    let alone = distill("f.safetensors", &["--seed", "2", "--alpha", "0"]);
    assert!(student != alone, "the share of the teacher counts");
}

#[test]
fn training_goes_on_from_a_file_and_learns() {
    let sandbox = Sandbox::new();
    let data = test_set("shapes10/train");
    let losses = |to: &str, arguments: &[&str]| -> Vec<f64> {
        let output = optimize(&sandbox, "train", to, &["--data", &data]).args(arguments).succeeds();
        let of = |line: &str| line.strip_prefix("epoch ")?.rsplit(' ').next()?.parse().ok();
        stderr_of(&output).lines().filter_map(of).collect()
    };
    let first = losses("a.safetensors", &["--epochs", "4"]);
    assert_eq!(first.len(), 4);
    assert!(first[3] < 0.9 * first[0], "{first:?}");
    let second = losses("b.safetensors", &["--epochs", "1", "--weights", "a.safetensors"]);
    assert!(second[0] < first[0], "it forgot: {second:?} after {first:?}");
    // A narrow network is tuned as it is.
    optimize(&sandbox, "channels", "n.safetensors", &["--weights", "b.safetensors", "--amount", "0.5"]).succeeds();
    let [before, after] =
        report(&sandbox, "train", "t.safetensors", &["--weights", "n.safetensors", "--data", &data, "--epochs", "1"]);
    assert!(number(&before, "parameters") < 300_000.0);
    assert_eq!(before["parameters"], after["parameters"]);
    assert_ne!(bytes(&sandbox, "n.safetensors"), bytes(&sandbox, "t.safetensors"));
}

#[test]
fn before_and_after_stand_in_a_table() {
    let sandbox = Sandbox::new();
    let output = optimize(&sandbox, "prune", "a.safetensors", &["--amount", "0.25"]).succeeds();
    let stdout = stdout_of(&output);
    assert!(stdout.starts_with("cifar_cnn\n"), "{stdout}");
    for heading in ["weights", "parameters", "nonzero_share", "multiply_adds", "file_size_mb"] {
        assert!(stdout.contains(heading), "{stdout}");
    }
    let line = |start: &str| stdout.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
    assert!(line("before").contains("100.0 %") && line("after").contains("75.0 %"), "{stdout}");
    assert!(line("after").contains("3.258") && !line("before").contains("3.258"), "there was no file: {stdout}");
    assert!(stderr_of(&output).contains("benchdb run --model NAME=cifar_cnn:a.safetensors"), "{}", stderr_of(&output));
    assert_eq!(sandbox.listing(), ["a.safetensors"], "no database is needed");
}

#[test]
fn shares_and_rates_have_their_range() {
    let sandbox = Sandbox::new();
    let refused = |method: &str, arguments: &[&str], words: &str| {
        let output = optimize(&sandbox, method, "x.safetensors", arguments).ends_with(2);
        let stderr = stderr_of(&output);
        assert!(stderr.contains("error: ") && stderr.contains(words), "{method} {arguments:?}: {stderr}");
    };
    for amount in ["2", "NaN", "-0.1", "inf"] {
        for method in ["prune", "channels"] {
            let argument = format!("--amount={amount}");
            refused(method, &[&argument], &format!("the share {amount} is not between 0 and 1"));
        }
    }
    optimize(&sandbox, "prune", "teacher.safetensors", &["--amount", "0"]).succeeds();
    let data = test_set("shapes10/train");
    let teacher = ["--data", &data, "--teacher", "cifar_cnn", "--teacher-weights", "teacher.safetensors"];
    for (option, value, words) in [
        ("--temperature", "0", "the temperature 0"),
        ("--temperature", "NaN", "the temperature NaN"),
        ("--alpha", "2", "the alpha 2"),
        ("--alpha", "NaN", "the alpha NaN"),
        ("--learning-rate", "NaN", "the learning rate NaN"),
        ("--learning-rate", "0", "the learning rate 0"),
        ("--epochs", "0", "--epochs"),
        ("--batch-size", "0", "--batch-size"),
    ] {
        let arguments: Vec<&str> = teacher.iter().copied().chain([option, value]).collect();
        refused("distill", &arguments, words);
    }
    assert_eq!(sandbox.listing(), ["teacher.safetensors"]);
}

#[test]
fn files_are_not_mistaken() {
    let sandbox = Sandbox::new();
    optimize(&sandbox, "prune", "a.safetensors", &["--amount", "0"]).succeeds();
    let original = bytes(&sandbox, "a.safetensors");
    std::os::unix::fs::symlink("a.safetensors", sandbox.path("link.safetensors")).unwrap();
    let halve = |to: &str| optimize(&sandbox, "prune", to, &["--amount", "0.5", "--weights", "a.safetensors"]);
    for target in ["a.safetensors", "./a.safetensors", "tmp/../a.safetensors", "link.safetensors"] {
        halve(target).refuses(&["would overwrite"], &["another `--to`"]);
    }
    assert!(bytes(&sandbox, "a.safetensors") == original);
    for target in ["b.pt", "b", "b.npz"] {
        halve(target).refuses(&[&format!("`{target}` does not end in .safetensors")], &["that format"]);
    }
    halve("nowhere/b.safetensors").refuses(&["cannot write `nowhere/b.safetensors`"], &["the folder must be there"]);
    let output = optimize(&sandbox, "int8", "b.safetensors", &["--weights", "missing.safetensors"]).ends_with(2);
    assert!(stderr_of(&output).contains("`missing.safetensors`"), "{}", stderr_of(&output));
    sandbox
        .benchdb()
        .args(["optimize", "prune", "--model", "resnet18", "--weights", "a.safetensors", "--amount", "0.5"])
        .args(["--to", "b.safetensors"])
        .refuses(&["the weights do not fit the network"], &["is the file of this model?"]);
    assert_eq!(sandbox.listing(), ["a.safetensors", "link.safetensors"]);
}

#[test]
fn pictures_and_teachers_must_fit() {
    let sandbox = Sandbox::new();
    let data = test_set("shapes10/train");
    let train = |data: &str| optimize(&sandbox, "train", "x.safetensors", &["--data", data]);
    train("missing").refuses(&["cannot read `missing`"], &["check the path"]);
    std::fs::create_dir_all(sandbox.path("one/circle")).unwrap();
    std::fs::copy(test_set("shapes10/train/circle/00.png"), sandbox.path("one/circle/00.png")).unwrap();
    train("one").refuses(&["has 1 class"], &["the model's classes"]);
    let output = optimize(&sandbox, "train", "x.safetensors", &[]).ends_with(2);
    assert!(stderr_of(&output).contains("--data"), "{}", stderr_of(&output));
    sandbox
        .benchdb()
        .args(["optimize", "train", "--model", "gpt2", "--to", "x.safetensors", "--data", &data])
        .refuses(&["`gpt2`"], &["image classifiers"]);
    sandbox
        .benchdb()
        .args(["optimize", "prune", "--model", "resnet18", "--amount", "0", "--to", "teacher.safetensors"])
        .succeeds();
    let teacher = |weights: &str, model: &str| {
        let arguments = ["--data", &data, "--teacher", model, "--teacher-weights", weights];
        optimize(&sandbox, "distill", "x.safetensors", &arguments)
    };
    teacher("teacher.safetensors", "resnet18")
        .refuses(&["the teacher tells 1000 classes apart, the student 10"], &["the same classes"]);
    let output = teacher("missing.safetensors", "cifar_cnn").ends_with(2);
    assert!(stderr_of(&output).contains("`missing.safetensors`"), "{}", stderr_of(&output));
    assert_eq!(sandbox.listing(), ["one", "teacher.safetensors"]);
}
