//! `benchdb explain`: pictures, arrays and tables of attributions, the cache behind them, and bad input.

use std::path::Path;
use std::process::Command;

use benchdb::zoo::rule;
use serde_json::Value;

use crate::support::{
    Expect as _, Sandbox, floats_npy, has_program, npy, number, program, read_npy, root, rows, said, skip, stderr_of,
    test_set,
};

/// `benchdb explain` of cifar_cnn with a cache in the sandbox.
fn explain(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.benchdb();
    command.args(["explain", "--model", "cifar_cnn", "--cache", "cache"]).args(arguments);
    command
}

/// A .npy of the golden files' picture.
fn golden_input(sandbox: &Sandbox, samples: usize) {
    let shape = [samples, 3, 32, 32];
    sandbox.write("x.npy", floats_npy(&shape, &rule::floats("input.image", shape.iter().product(), 0)));
}

/// What an attribution file of a picture holds.
fn floats(path: &Path) -> Vec<f32> {
    let (shape, values) = read_npy(&std::fs::read(path).unwrap());
    assert_eq!(shape, "(3,32,32)");
    values
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The first of the drawn shapes.
fn picture(sandbox: &Sandbox, name: &str) {
    let class = names_in(Path::new(&test_set("shapes10/test"))).remove(0);
    let folder = Path::new(&test_set("shapes10/test")).join(class);
    std::fs::copy(folder.join(names_in(&folder).remove(0)), sandbox.path(name)).unwrap();
}

/// The cache's row.
fn statistics(sandbox: &Sandbox) -> Value {
    let command = &mut sandbox.benchdb();
    rows(&command.args(["explain", "--cache", "cache", "--cache-stats", "--format", "json"]).json()).remove(0)
}

#[test]
fn a_picture_is_explained_by_every_method_that_fits() {
    let sandbox = Sandbox::new();
    picture(&sandbox, "shape.png");
    let arguments = ["--method", "all", "--set", "occlusion.window=[3,8,8]", "shape.png", "--format", "json"];
    let explained = rows(&explain(&sandbox, &arguments).json());
    let methods = |status: &str| {
        let of = |row: &&Value| row["status"] == status;
        explained.iter().filter(of).map(|row| row["method"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(methods("unsupported"), ["attention_rollout"]);
    assert!(methods("ok").len() >= 13, "{explained:?}");
    assert!(methods("failed").is_empty(), "{explained:?}");
    let mut expected: Vec<String> =
        methods("ok").iter().flat_map(|name| ["npy", "png"].map(|ending| format!("shape.{name}.{ending}"))).collect();
    expected.push("shape.contact_sheet.png".into());
    expected.sort();
    assert_eq!(names_in(&sandbox.path("explanations")), expected);
    for name in expected.iter().filter(|name| name.ends_with(".png")) {
        let picture = image::open(sandbox.path("explanations").join(name)).unwrap();
        assert!(picture.width() > 500 && picture.height() > 300, "{name}");
    }
    assert!(stderr_of(&explain(&sandbox, &arguments).succeeds()).contains("shape.contact_sheet.png"));
    let again = rows(&explain(&sandbox, &arguments).json());
    assert!(again.iter().filter(|row| row["status"] == "ok").all(|row| row["cached"] == "yes"), "{again:?}");
    assert!(explained.iter().filter(|row| row["status"] == "ok").all(|row| row["cached"] == "no"));
    assert_eq!(explained[0]["class"], again[0]["class"]);
    assert_eq!(explained[0]["forward_passes"], again[0]["forward_passes"], "what it took is kept, too");
}

#[test]
fn what_is_written_is_what_captum_computes_from_the_cache_too() {
    let text = std::fs::read_to_string(root().join("fixtures/golden/explanations-cifar_cnn.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let expected = &golden["methods"]["saliency"]["attribution"];
    let stride = expected["stride"].as_u64().unwrap() as usize;
    let expected: Vec<f64> =
        expected["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    let sandbox = Sandbox::new();
    golden_input(&sandbox, 2);
    for cached in ["no", "yes"] {
        let arguments = ["--method", "saliency", "--target", "3,7", "x.npy", "--format", "json"];
        let explained = rows(&explain(&sandbox, &arguments).json());
        for (row, class) in explained.iter().zip([3.0, 7.0]) {
            assert_eq!((&row["cached"], &row["predicted"]), (&cached.into(), &"no".into()));
            assert_eq!(number(row, "class"), class);
        }
        let of = |sample| floats(&sandbox.path(&format!("explanations/x_{sample}.saliency.npy")));
        let found: Vec<f32> = [of(0), of(1)].concat().into_iter().step_by(stride).collect();
        assert_eq!(found.len(), expected.len());
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let error = norm(&mut found.iter().zip(&expected).map(|(found, expected)| f64::from(*found) - expected));
        assert!(error < 1e-3 * norm(&mut expected.iter().copied()), "{error}");
        std::fs::remove_dir_all(sandbox.path("explanations")).unwrap();
    }
}

#[test]
fn many_inputs_go_through_batches_and_each_is_explained_as_if_alone() {
    let sandbox = Sandbox::new();
    golden_input(&sandbox, 3);
    let arguments = ["--method", "integrated_gradients,grad_cam", "--set", "integrated_gradients.steps=8", "x.npy"];
    explain(&sandbox, &arguments).args(["--no-cache", "--output", "together"]).succeeds();
    explain(&sandbox, &arguments).args(["--no-cache", "--batch-size", "1", "--output", "alone"]).succeeds();
    assert_eq!(names_in(&sandbox.path("together")), names_in(&sandbox.path("alone")));
    for sample in 0..3 {
        let of = |folder: &str| floats(&sandbox.path(folder).join(format!("x_{sample}.integrated_gradients.npy")));
        let (together, alone) = (of("together"), of("alone"));
        let largest = alone.iter().map(|value| value.abs()).fold(0.0, f32::max);
        assert!(together.iter().zip(&alone).all(|(one, other)| (one - other).abs() < 1e-4 * largest), "{sample}");
    }
    assert_eq!(sandbox.listing(), ["alone", "together", "x.npy"], "no cache, no database");
}

#[test]
fn one_picture_and_one_array_may_be_asked_for_by_name() {
    let sandbox = Sandbox::new();
    picture(&sandbox, "shape.png");
    let arguments =
        ["--method", "saliency", "--input", "shape.png", "--output", "map.png", "--save-attribution", "a.npy"];
    explain(&sandbox, &arguments).arg("--profile").succeeds();
    assert_eq!(sandbox.listing(), ["a.npy", "cache", "map.png", "shape.png"]);
    explain(&sandbox, &["--method", "saliency", "shape.png", "--output", "shape.png"])
        .refuses(&["the output would overwrite an input"], &["--output"]);
}

#[test]
fn the_cache_counts_is_limited_and_can_be_emptied() {
    let sandbox = Sandbox::new();
    golden_input(&sandbox, 4);
    let command = &mut sandbox.benchdb();
    command
        .args(["explain", "--cache", "cache", "--cache-stats"])
        .refuses(&["there is no explanation cache in `cache`"], &[]);
    let arguments = ["--method", "saliency", "x.npy"];
    explain(&sandbox, &arguments).succeeds();
    explain(&sandbox, &arguments).succeeds();
    let found = statistics(&sandbox);
    assert_eq!([number(&found, "hits"), number(&found, "misses"), number(&found, "entries")], [4.0, 4.0, 4.0]);
    assert!((number(&found, "utilisation") - number(&found, "size_bytes") / 1e9).abs() < 1e-12);
    // One entry takes 16 384 bytes.
    let output =
        explain(&sandbox, &["--method", "saliency", "--target", "1", "--cache-limit", "0", "x.npy"]).succeeds();
    assert!(stderr_of(&output).contains("4 explanations were not kept"), "{}", said(&output));
    let entry =
        sandbox.path("cache").join(names_in(&sandbox.path("cache")).into_iter().find(|name| name.len() == 68).unwrap());
    let mut bytes = std::fs::read(&entry).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&entry, bytes).unwrap();
    explain(&sandbox, &arguments).succeeds();
    let found = statistics(&sandbox);
    assert_eq!([number(&found, "damaged"), number(&found, "entries")], [1.0, 4.0]);
    let command = &mut sandbox.benchdb();
    let output = command.args(["explain", "--cache", "cache", "--clear-cache"]).succeeds();
    assert!(stderr_of(&output).contains("removed 4 explanations"), "{}", said(&output));
    assert_eq!(number(&statistics(&sandbox), "entries"), 0.0);
}

#[test]
fn a_full_disk_under_the_cache_costs_no_explanation() {
    if !has_program("prlimit") {
        return skip("there is no prlimit (util-linux) to limit the size of files");
    }
    let sandbox = Sandbox::new();
    golden_input(&sandbox, 1);
    let mut command = sandbox.wrapped("sh");
    // An attribution takes 12 kB: it cannot be kept, nor written. grad_cam's map is small.
    command.args(["-c", "trap '' XFSZ; exec prlimit --fsize=\"$0\" \"$@\"", "4000"]).arg(program());
    command.args([
        "explain",
        "--model",
        "cifar_cnn",
        "--cache",
        "cache",
        "--method",
        "saliency",
        "x.npy",
        "--output",
        "map.png",
    ]);
    let stderr = stderr_of(&command.ends_with(2));
    assert!(stderr.contains("cannot write `map.png`"), "the picture itself does not fit: {stderr}");
    sandbox.write("file", "");
    let mut command = sandbox.benchdb();
    command.args(["explain", "--model", "cifar_cnn", "--method", "saliency", "x.npy", "--cache", "file/cache"]);
    let output = command.succeeds();
    assert!(stderr_of(&output).contains("the explanation cache `file/cache` cannot be used"), "{}", said(&output));
    assert_eq!(names_in(&sandbox.path("explanations")), ["x.saliency.npy", "x.saliency.png"]);
}

#[test]
fn bad_input_is_one_clear_sentence() {
    let sandbox = Sandbox::new();
    golden_input(&sandbox, 1);
    let refused = |arguments: &[&str], what: &str, hint: &str| {
        explain(&sandbox, arguments).refuses(&[what], &[hint]);
    };
    refused(
        &["--method", "saliency", "--target", "10", "x.npy"],
        "there is no class 10: the network tells 10 apart",
        "0 to 9",
    );
    refused(&["--method", "gradcam", "x.npy"], "unknown attribution method `gradcam`", "grad_cam");
    refused(&["--method", "saliency", "--set", "steps=3", "x.npy"], "the parameters of saliency cannot be used", "");
    refused(&["--method", "saliency"], "there is nothing to explain", "name pictures");
    refused(&["--method", "saliency", "missing.png"], "cannot read `missing.png`", "check the path");
    sandbox.write("broken.png", "no picture");
    refused(&["--method", "saliency", "broken.png"], "the picture `broken.png` cannot be used", "");
    sandbox.write("wrong.npy", floats_npy(&[1, 4, 32, 32], &[0.0; 4 * 32 * 32]));
    refused(&["--method", "saliency", "wrong.npy"], "`image` has the shape 1x4x32x32", "");
    let mut values = vec![0.0; 3 * 32 * 32];
    values[7] = f32::NAN;
    sandbox.write("nan.npy", floats_npy(&[1, 3, 32, 32], &values));
    refused(&["--method", "saliency", "nan.npy"], "`nan.npy` holds values that are not finite", "numpy.isfinite");
    let output = explain(&sandbox, &["--method", "attention_rollout", "x.npy"]).ends_with(1);
    assert!(said(&output).contains("attention"), "{}", said(&output));
    // One of several inputs: the others are explained.
    let output = explain(&sandbox, &["--method", "saliency", "x.npy", "nan.npy", "--format", "json"]).ends_with(1);
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut statuses: Vec<&str> =
        explained["rows"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["failed", "ok"]);
}

#[test]
fn a_text_is_explained_word_by_word() {
    let sandbox = Sandbox::new();
    let ids: Vec<u8> = [101_i64, 2023, 2003, 102].iter().flat_map(|id| id.to_le_bytes()).collect();
    sandbox.write("text.npy", npy("<i8", &[1, 4], &ids));
    let mut command = sandbox.benchdb();
    command.args([
        "explain",
        "--model",
        "distilbert",
        "--no-cache",
        "--method",
        "saliency",
        "text.npy",
        "--format",
        "json",
    ]);
    let answer = command.json();
    let tokens = answer["tokens"].as_array().unwrap();
    assert_eq!(tokens.iter().map(|row| number(row, "token")).collect::<Vec<_>>(), [101.0, 2023.0, 2003.0, 102.0]);
    assert!(tokens.iter().all(|row| row["attribution"].is_number()));
    assert_eq!(names_in(&sandbox.path("explanations")), ["text.saliency.npy"]);
}

/// Whether a Vulkan adapter is here, as this program sees it.
fn has_vulkan(sandbox: &Sandbox) -> bool {
    let hardware = sandbox.benchdb().args(["hardware", "--format", "json"]).json();
    hardware["devices"].as_array().unwrap().iter().any(|device| device["platform"] == "vulkan")
}

#[test]
fn every_engine_gives_the_same_explanation_and_keeps_its_own() {
    let sandbox = Sandbox::new();
    golden_input(&sandbox, 2);
    let mut places = vec![
        (vec!["--engine", "flex"], "burn-flex fp32", 0.0),
        (vec!["--hardware", "cpu", "--threads", "1"], "burn-flex fp32", 1e-4),
        (vec!["--workers", "2"], "burn-flex fp32", 1e-4),
        (vec!["--engine", "ndarray", "--workers", "2", "--threads", "2"], "burn-ndarray fp32", 1e-3),
        (vec!["--precision", "fp16"], "burn-flex fp16", 0.1),
    ];
    match has_vulkan(&sandbox) {
        true => places.push((vec!["--engine", "wgpu"], "burn-wgpu fp32", 1e-3)),
        false => skip("there is no Vulkan adapter for burn-wgpu"),
    }
    let usual = ["--method", "saliency,occlusion", "--target", "3", "x.npy", "--format", "json"];
    explain(&sandbox, &usual).args(["--output", "usual"]).succeeds();
    for (place, engine, tolerance) in places {
        let explained = rows(&explain(&sandbox, &usual).args(["--output", "other"]).args(&place).json());
        let own = engine != "burn-flex fp32";
        for row in &explained {
            let cached = if own { "no" } else { "yes" };
            assert_eq!((&row["engine"], &row["cached"]), (&engine.into(), &cached.into()), "{place:?}");
            assert_eq!(row["inner_batch"].is_number(), own, "{place:?}");
        }
        if !own {
            // What was served proves nothing about the place.
            let computed = explain(&sandbox, &usual).args(["--output", "other", "--no-cache"]).args(&place).succeeds();
            assert!(!said(&computed).contains("panicked"), "{}", said(&computed));
        }
        for name in ["x_0.saliency.npy", "x_1.occlusion.npy"] {
            let of = |folder: &str| floats(&sandbox.path(folder).join(name));
            let (found, expected) = (of("other"), of("usual"));
            let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
            let error = norm(&mut found.iter().zip(&expected).map(|(one, other)| one - other));
            assert!(error <= tolerance * norm(&mut expected.iter().copied()), "{place:?}, {name}: {error}");
        }
    }
}

#[test]
fn hardware_that_is_not_here_is_one_clear_sentence() {
    let sandbox = Sandbox::new();
    golden_input(&sandbox, 1);
    let refused = |arguments: &[&str], what: &str, hint: &str| {
        let mut command = explain(&sandbox, &["--method", "saliency", "x.npy"]);
        command.args(arguments).refuses(&[what], &[hint]);
    };
    if !cfg!(feature = "cuda") {
        refused(&["--hardware", "cuda"], "engine burn-cuda is not in this build", "--features cuda");
    }
    refused(&["--engine", "flax"], "there is no engine `flax`", "burn-flex");
    refused(&["--engine", "flex", "--hardware", "vulkan"], "burn-flex does not serve the platform `vulkan`", "cpu");
    refused(&["--hardware", "cpu", "--device-index", "7"], "no device 7 here", "benchdb hardware");
    refused(&["--precision", "int8w"], "does not support explanations in int8w", "fp16");
    refused(&["--memory-limit", "1MB"], "one row of saliency alone takes about", "allow more memory");
    if has_vulkan(&sandbox) {
        refused(&["--engine", "wgpu", "--workers", "2"], "`--workers` is for the host's processor", "--inner-batch");
    }
}

#[test]
fn the_inner_batch_is_found_or_as_large_as_fits() {
    let sandbox = Sandbox::new();
    golden_input(&sandbox, 1);
    let arguments = ["--method", "integrated_gradients", "--no-cache", "x.npy", "--format", "json"];
    let output = explain(&sandbox, &arguments).args(["--inner-batch", "auto"]).succeeds();
    let said = stderr_of(&output);
    assert!(said.contains("integrated_gradients: ") && said.contains(" rows in a pass (1: "), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = &found["rows"][0];
    assert!(number(row, "inner_batch") >= 1.0);
    assert_eq!(number(row, "forward_passes"), 51.0, "50 steps and the prediction; the search does not count");
    // What a process takes that explains one row, and a little.
    let alone = explain(&sandbox, &arguments).args(["--inner-batch", "1"]).json();
    assert_eq!(number(&rows(&alone)[0], "inner_batch"), 1.0);
    let refusal = explain(&sandbox, &arguments).args(["--memory-limit", "1MB"]).ends_with(2);
    let words = stderr_of(&refusal);
    let needed: u64 = words.split("takes about ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let tight = format!("{}MB", needed + 24);
    let output = explain(&sandbox, &arguments).args(["--inner-batch", "512", "--memory-limit", &tight]).succeeds();
    assert!(stderr_of(&output).contains("rows in a pass, not 512: more do not fit into the memory"), "{words}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&found["rows"][0], "inner_batch") < 512.0);
}

#[test]
fn slips_are_told_at_once_and_good_inputs_go_on() {
    let sandbox = Sandbox::new();
    golden_input(&sandbox, 1);
    let refused = |arguments: &[&str], says: &[&str], hints: &[&str]| {
        explain(&sandbox, arguments).refuses(says, hints);
    };
    let plain = ["--method", "saliency", "x.npy"];
    refused(&[&plain[..], &["-o", "map.jpg"]].concat(), &["`map.jpg`", "as .png"], &[".png"]);
    refused(&[&plain[..], &["--threads", "2", "--workers", "3"]].concat(), &["3 workers"], &["--workers 2"]);
    assert!(std::process::Command::new("mkfifo").arg(sandbox.path("pipe.png")).status().unwrap().success());
    refused(&["--method", "saliency", "pipe.png"], &["`pipe.png`", "no regular file"], &[]);
    for parameters in ["smooth_grad.samples=1000000000", "integrated_gradients.steps=0", "gradient_shap.noise_std=1e30"]
    {
        let (method, _) = parameters.split_once('.').unwrap();
        let output = explain(&sandbox, &["--method", method, "--set", parameters, "x.npy"]).outcome();
        assert!(!output.status.success());
        assert!(
            stderr_of(&output).contains(&format!("the parameters of {method} cannot be used")),
            "{}",
            said(&output)
        );
    }
    // A token that no vocabulary has does not take the other text with it.
    for (name, token) in [("bad.npy", 99_999_999), ("good.npy", 2003_i64)] {
        let bytes: Vec<u8> = [101, token, 102].into_iter().flat_map(i64::to_le_bytes).collect();
        sandbox.write(name, npy("<i8", &[1, 3], &bytes));
    }
    let mut command = sandbox.benchdb();
    command.args(["explain", "--model", "distilbert", "--no-cache", "--method", "saliency", "bad.npy", "good.npy"]);
    let output = command.args(["--format", "json"]).outcome();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = document.to_string();
    assert!(text.contains("token 99999999") && text.contains("\"ok\""), "{text}");
}
