//! ONNX files as models: read for what they are, run by every engine that is here, refused with one sentence.

use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::{
    Expect as _, QUICK_RUN, Sandbox, json_of, npy, number, planned, root, rows, same, skip, stderr_of,
};

/// Set where skipping is no choice: the libraries were installed for these tests.
const REQUIRED: &str = "BENCHDB_TESTS_NEED_ONNX_LIBRARIES";

/// A file of the fixtures.
pub fn fixture(name: &str) -> String {
    root().join("fixtures/onnx").join(name).to_str().unwrap().to_owned()
}

/// The engines for ONNX files that work here, each with the platform that it serves.
fn engines() -> &'static [(String, String)] {
    static FOUND: OnceLock<Vec<(String, String)>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let document = Sandbox::new().benchdb().args(["hardware", "--format", "json"]).json();
        let devices = document["devices"].as_array().unwrap().clone();
        let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        devices.iter().map(|row| (word(row, "engine"), word(row, "platform"))).collect()
    })
}

/// Whether an engine is here; if not, that is said aloud.
fn is_here(engine: &str) -> bool {
    let found = engines().iter().any(|(name, _)| name == engine);
    if !found {
        assert!(std::env::var_os(REQUIRED).is_none(), "{engine} was installed for these tests and is not found");
        skip(&format!("{engine} is not on this machine: pip install onnxruntime openvino"));
    }
    found
}

/// Those of the engines that are here; tract always is.
pub fn present() -> Vec<&'static str> {
    ["tract", "onnxruntime", "openvino"].into_iter().filter(|engine| *engine == "tract" || is_here(engine)).collect()
}

/// A short run of a model on engines.
pub fn run(sandbox: &Sandbox, engines: &str, model: &str) -> Command {
    let mut command = sandbox.benchdb();
    command.arg("run").args(&QUICK_RUN[3..]).args(["--engine", engines, "--model", model]);
    command
}

/// All runs with what went wrong.
pub fn stored(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.sql("SELECT results.*, run.error, run.hint FROM results JOIN run ON run.id = run_id ORDER BY run_id")
}

/// The only row whose columns are these.
#[track_caller]
pub fn only<'r>(rows: &'r [Value], columns: &[(&str, &str)]) -> &'r Value {
    let found: Vec<&Value> =
        rows.iter().filter(|row| columns.iter().all(|(name, value)| row[*name] == *value)).collect();
    assert_eq!(found.len(), 1, "{columns:?} in {rows:?}");
    found[0]
}

/// One clear sentence: it holds these words, and no line break.
#[track_caller]
pub fn says(row: &Value, status: &str, words: &[&str]) {
    assert_eq!(row["status"], status, "{row}");
    let sentence = row["error"].as_str().unwrap_or_else(|| panic!("no error in {row}"));
    for word in words {
        assert!(sentence.contains(word), "`{word}` in {sentence}");
    }
    assert!(!sentence.contains('\n') && sentence.len() < 500, "{sentence}");
    assert!(row["hint"].is_string(), "{row}");
    assert!(row["latency_p50_ms"].is_null() && row["validity"] == "not_measured", "{row}");
}

#[test]
fn a_file_is_a_model_of_its_own() {
    let sandbox = Sandbox::new();
    let output =
        run(&sandbox, "tract", &fixture("cnn.onnx")).args(["--batch-sizes", "1,4", "--format", "json"]).succeeds();
    assert_eq!(rows(&json_of(&output)).len(), 2);
    for (row, batch) in stored(&sandbox).iter().zip([1.0, 4.0]) {
        assert_eq!((&row["model"], &row["status"], &row["precision"]), (&"cnn".into(), &"ok".into(), &"fp32".into()));
        assert_eq!((&row["engine"], &row["input_shape"]), (&"tract".into(), &"3x8x8".into()));
        assert_eq!(number(row, "batch_size"), batch);
        for metric in ["latency_p50_ms", "first_inference_ms", "startup_ms", "memory_host_peak_mb"] {
            assert!(number(row, metric) > 0.0, "{metric}: {row}");
        }
        // 137 floats, as its script writes them.
        assert!((number(row, "model_size_mb") - 137.0 * 4.0 / 1e6).abs() < 1e-4, "{row}");
        same(number(row, "throughput_samples_per_second") * number(row, "latency_mean_ms"), 1e3 * batch);
        assert!(row["engine_version"].as_str().is_some_and(|version| version.starts_with("0.")), "{row}");
    }
    let model = &sandbox.sql("SELECT * FROM model")[0];
    assert_eq!(model["source"], "onnx");
    // A kernel of 4 x 3 x 3 x 3 at 64 places, and 4 x 5 in the linear layer.
    assert_eq!(number(model, "multiply_adds"), 64.0 * 108.0 + 20.0);
    assert_eq!(number(model, "parameter_count"), 108.0 + 4.0 + 20.0 + 5.0);
    assert_eq!(number(model, "activation_count"), 64.0 * 4.0 + 5.0);
    let artifact = &sandbox.sql("SELECT * FROM artifact")[0];
    let bytes = std::fs::metadata(fixture("cnn.onnx")).unwrap().len();
    assert_eq!((&artifact["format"], number(artifact, "size_bytes")), (&"onnx".into(), bytes as f64));
    assert_eq!(sandbox.count("SELECT count(*) FROM artifact"), 1);
}

#[test]
fn all_engines_answer_alike() {
    let sandbox = Sandbox::new();
    let engines = present();
    let cnn = fixture("cnn.onnx");
    let embedding = fixture("embedding.onnx");
    run(&sandbox, &engines.join(","), &format!("{cnn},{embedding}"))
        .args(["--shape", "tokens=1,7", "--shape", "attention_mask=1,7", "--batch-sizes", "3"])
        .succeeds();
    let rows = stored(&sandbox);
    assert_eq!(rows.len(), 2 * engines.len());
    for model in ["cnn", "embedding"] {
        for engine in &engines {
            let row = only(&rows, &[("model", model), ("engine", engine)]);
            assert_eq!(row["status"], "ok", "{row}");
            if *engine == "tract" {
                assert!(row["fidelity_cosine"].is_null(), "it is the reference: {row}");
                continue;
            }
            assert!(number(row, "fidelity_relative_error") < 1e-4, "{row}");
            assert!(number(row, "fidelity_cosine") > 0.9999, "{row}");
            assert!(row["engine_version"].as_str().is_some_and(|version| !version.is_empty()), "{row}");
        }
    }
    let shape = &only(&rows, &[("model", "embedding"), ("engine", "tract")])["input_shape"];
    assert_eq!(shape, "tokens=7,attention_mask=7");
}

#[test]
fn a_pass_over_given_tensors_is_the_same_everywhere() {
    let sandbox = Sandbox::new();
    let values: Vec<f32> = benchdb::zoo::rule::floats("input.image", 2 * 3 * 8 * 8, 0);
    sandbox.write("x.npy", npy("<f4", &[2, 3, 8, 8], &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()));
    let mut answers = Vec::new();
    for engine in present() {
        sandbox
            .benchdb()
            .args(["infer", "--model", &fixture("cnn.onnx"), "--engine", engine])
            .args(["--input", "x.npy", "--output", "y.npy"])
            .succeeds();
        let bytes = std::fs::read(sandbox.path("y.npy")).unwrap();
        let floats = &bytes[bytes.len() - 2 * 5 * 4..];
        let answer: Vec<f32> = floats.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert!(answer.iter().all(|value| value.is_finite()) && answer.iter().any(|value| *value != 0.0));
        answers.push((engine, answer));
    }
    let (_, first) = &answers[0];
    for (engine, answer) in &answers[1..] {
        let far = answer.iter().zip(first).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-5, "{engine}: {far}");
    }
}

/// The four arithmetics of one network.
fn four() -> [String; 4] {
    ["cnn", "cnn-fp16", "cnn-int8", "cnn-int8w"].map(|name| fixture(&format!("{name}.onnx")))
}

#[test]
fn files_are_recognised_for_their_arithmetic() {
    let sandbox = Sandbox::new();
    let files = four();
    let plan = run(&sandbox, "tract", &files.join(",")).args(["--dry-run", "--format", "json"]).json();
    let found: Vec<Value> =
        planned(&plan).iter().map(|row| serde_json::json!([row["model"], row["precision"]])).collect();
    let expected = [["cnn", "fp32"], ["cnn-fp16", "fp16"], ["cnn-int8", "int8"], ["cnn-int8w", "int8w"]];
    assert_eq!(found, expected.map(|pair| serde_json::json!(pair)));
    // tract restores the weights while it loads, and multiplies floats: that is no int8.
    run(&sandbox, "tract", &files[2]).args(["--precision", "fp32,int8"]).ends_with(1);
    let rows = stored(&sandbox);
    says(only(&rows, &[("precision", "fp32")]), "unsupported", &["cnn-int8", "computes in int8"]);
    says(only(&rows, &[("precision", "int8")]), "unsupported", &["tract does not compute cnn-int8 in int8", "fp32"]);
    run(&sandbox, "tract", &files[1]).args(["--reference", &files[2]]).refuses(&["no reference", "fp32"], &["ONNX"]);
    sandbox.write("weights.safetensors", "");
    run(&sandbox, "tract", &files[1])
        .args(["--reference", "weights.safetensors"])
        .refuses(&["no reference for cnn-fp16"], &["`--reference`"]);
    run(&sandbox, "burn-flex", "cifar_cnn").args(["--reference", &files[0]]).refuses(&["`--reference`"], &["--model"]);
}

#[test]
fn integers_are_really_multiplied() {
    if !is_here("onnxruntime") || !is_here("openvino") {
        return;
    }
    let sandbox = Sandbox::new();
    let files = four();
    run(&sandbox, "onnxruntime,openvino", &files.join(",")).args(["--reference", &files[0]]).outcome();
    let rows = stored(&sandbox);
    for engine in ["onnxruntime", "openvino"] {
        for (model, error) in [("cnn", 1e-4), ("cnn-int8", 0.1), ("cnn-int8w", 0.1)] {
            let row = only(&rows, &[("model", model), ("engine", engine)]);
            assert_eq!(row["status"], "ok", "{row}");
            let found = number(row, "fidelity_relative_error");
            assert!(found < error && (model == "cnn" || found > 1e-4), "{row}");
        }
        // Where the processor has no products of half precision the library converts, and that is no fp16.
        let half = only(&rows, &[("model", "cnn-fp16"), ("engine", engine)]);
        if half["status"] != "ok" {
            says(half, "unsupported", &[engine, "fp16"]);
        }
    }
    let size = |model| number(only(&rows, &[("model", model), ("engine", "onnxruntime")]), "model_size_mb");
    assert!(size("cnn-int8") < 0.4 * size("cnn"));
}

#[test]
fn tensors_that_were_given_are_measured() {
    let sandbox = Sandbox::new();
    let bytes: Vec<u8> = (0..2 * 3 * 8 * 8).flat_map(|at| (at as f32 / 400.0).to_le_bytes()).collect();
    sandbox.write("x.npy", npy("<f4", &[2, 3, 8, 8], &bytes));
    run(&sandbox, "tract", &fixture("cnn.onnx")).args(["--input", "x.npy", "--batch-sizes", "3"]).succeeds();
    let row = &stored(&sandbox)[0];
    assert!(row["parameters"].as_str().unwrap().contains("\"input\":\"x.npy@"), "{row}");
    sandbox.write("x.npy", npy("<f4", &[2, 3, 7, 8], &bytes[..2 * 3 * 7 * 8 * 4]));
    run(&sandbox, "tract", &fixture("cnn.onnx")).args(["--input", "x.npy"]).ends_with(1);
    says(&stored(&sandbox)[1], "failed", &["2x3x7x8", "batch x 3 x 8 x 8"]);
    run(&sandbox, "tract", &fixture("cnn.onnx")).args(["--input", "y.npy"]).refuses(&["y.npy"], &[]);
    // Length and batch of texts come from the tensors, too.
    let ids: Vec<u8> = (0..2 * 4_i64).flat_map(|at| at.to_le_bytes()).collect();
    sandbox
        .write("ids.npz", npz(&[("tokens", npy("<i8", &[2, 4], &ids)), ("attention_mask", npy("<i8", &[2, 4], &ids))]));
    run(&sandbox, "tract", &fixture("embedding.onnx")).args(["--input", "ids.npz", "--batch-sizes", "2"]).succeeds();
    let row = &stored(&sandbox)[2];
    assert_eq!((&row["status"], &row["input_shape"]), (&"ok".into(), &"tokens=4,attention_mask=4".into()));
}

#[test]
fn tensors_of_two_first_extents_are_taken_as_they_are() {
    let sandbox = Sandbox::new();
    let floats = |count: usize| (0..count).flat_map(|at| (at as f32).to_le_bytes()).collect::<Vec<u8>>();
    let [a, b] = [2, 5].map(|rows| npy("<f4", &[rows, 4], &floats(4 * rows)));
    sandbox.write("x.npz", npz(&[("a", a), ("b", b)]));
    for engine in present() {
        let mut command = sandbox.benchdb();
        command.args(["infer", "--model", &fixture("sides.onnx"), "--input", "x.npz", "--engine", engine]);
        let said = stderr_of(&command.args(["--output", "y.npz"]).succeeds());
        assert!(said.contains("2x5"), "{engine}: {said}");
    }
    run(&sandbox, "tract", &fixture("sides.onnx")).args(["--input", "x.npz", "--batch-sizes", "2"]).succeeds();
    assert_eq!(stored(&sandbox)[0]["input_shape"], "a=4,b=5x4");
}

#[test]
fn a_fixed_batch_is_taken_where_none_is_asked_for() {
    let sandbox = Sandbox::new();
    run(&sandbox, "tract", &fixture("fixed.onnx")).succeeds();
    assert_eq!(number(&stored(&sandbox)[0], "batch_size"), 2.0);
}

#[test]
fn every_shape_has_its_own_counts() {
    let sandbox = Sandbox::new();
    for length in [7, 70] {
        let shapes = ["tokens", "attention_mask"].map(|input| format!("{input}=1,{length}"));
        let mut command = run(&sandbox, "tract", &fixture("embedding.onnx"));
        command.args(["--shape", &shapes[0], "--shape", &shapes[1]]).succeeds();
    }
    for (row, length) in stored(&sandbox).iter().zip([7.0, 70.0]) {
        assert_eq!(sandbox.extra_metric(&row["run_id"], "multiply_adds"), Some(length * 24.0));
        assert!(sandbox.extra_metric(&row["run_id"], "activations_per_sample").is_some());
    }
}

/// An archive of arrays.
fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    use std::io::Write as _;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn the_default_engine_is_one_that_reads_files() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.benchdb();
    command
        .args(QUICK_RUN)
        .args(["--model", &fixture("cnn.onnx")])
        .env("ORT_DYLIB_PATH", "/does/not/exist.so")
        .succeeds();
    assert_eq!(stored(&sandbox)[0]["engine"], "tract");
    if is_here("onnxruntime") {
        sandbox.quick(&fixture("cnn.onnx")).succeeds();
        assert_eq!(stored(&sandbox)[1]["engine"], "onnxruntime");
    }
}

/// What a plan leaves out, one line each.
fn left_out(output: &Output) -> Vec<String> {
    let text = stderr_of(output);
    text.lines().filter(|line| line.contains("left out")).map(str::to_owned).collect()
}

#[test]
fn engines_are_paired_with_what_they_read() {
    let sandbox = Sandbox::new();
    let cnn = fixture("cnn.onnx");
    let output = run(&sandbox, "burn-flex,burn-ndarray,tract", &format!("cifar_cnn,{cnn}")).succeeds();
    let lines = left_out(&output);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("cifar_cnn: tract cannot run networks that are no ONNX files")));
    assert!(lines.iter().any(|line| line.contains("cnn (cnn.onnx): burn-flex, burn-ndarray cannot run ONNX files")));
    let pairs: Vec<Value> = sandbox
        .sql("SELECT model, engine FROM results ORDER BY model, engine")
        .iter()
        .map(|row| serde_json::json!([row["model"], row["engine"]]))
        .collect();
    let expected = [["cifar_cnn", "burn-flex"], ["cifar_cnn", "burn-ndarray"], ["cnn", "tract"]];
    assert_eq!(pairs, expected.map(|pair| serde_json::json!(pair)));
    let nothing = run(&sandbox, "burn-flex", &cnn).ends_with(1);
    assert!(stderr_of(&nothing).contains("burn-flex cannot run ONNX files"), "{}", stderr_of(&nothing));
    let nothing = run(&sandbox, "tract", "cifar_cnn").ends_with(1);
    assert!(stderr_of(&nothing).contains("tools/export_onnx.py"), "{}", stderr_of(&nothing));
}

#[test]
fn a_file_may_be_that_of_a_model_of_benchdb() {
    let sandbox = Sandbox::new();
    // It reads pictures of another size, which the zoo's network takes, too; as a variant it may be much smaller.
    let cnn = fixture("cnn.onnx");
    let plan = run(&sandbox, "burn-flex,tract", "cifar_cnn")
        .args(["--model", &format!("tiny=cifar_cnn:{cnn}"), "--dry-run", "--format", "json"])
        .json();
    let pairs: Vec<Value> = planned(&plan).iter().map(|row| serde_json::json!([row["model"], row["engine"]])).collect();
    assert_eq!(pairs, [["cifar_cnn", "burn-flex"], ["cifar_cnn", "tract"]].map(|pair| serde_json::json!(pair)));
    run(&sandbox, "tract", &format!("bert={cnn}")).ends_with(1);
    says(&stored(&sandbox)[0], "failed", &["does not read what bert-base-uncased reads", "ids"]);
    let named = Sandbox::new();
    run(&named, "tract", &format!("mine={cnn}")).args(["--model", &format!("small=mine:{cnn}")]).succeeds();
    let names: Vec<Value> =
        stored(&named).iter().map(|row| serde_json::json!([row["model"], row["variant"]])).collect();
    assert_eq!(names, [["mine", ""], ["mine", "small"]].map(|pair| serde_json::json!(pair)));
}

#[test]
fn hardware_lists_the_engines_of_files() {
    let document = Sandbox::new().benchdb().args(["hardware", "--format", "json"]).json();
    let support = document["support"].as_array().unwrap();
    for engine in ["tract", "onnxruntime", "onnxruntime-cuda", "openvino"] {
        let rows: Vec<&Value> = support.iter().filter(|row| row["engine"] == engine).collect();
        assert!(!rows.is_empty(), "{engine}");
        assert!(rows.iter().all(|row| row["supported"] == "yes" || row["reason"].is_string()), "{rows:?}");
    }
    assert!(engines().iter().any(|(engine, platform)| engine == "tract" && platform == "cpu"));
    let without = Sandbox::new().benchdb().env("ORT_DYLIB_PATH", "/does/not/exist.so").args(["hardware"]).succeeds();
    let text = String::from_utf8_lossy(&without.stdout).into_owned();
    assert!(text.contains("pip install onnxruntime"), "{text}");
}
