//! ONNX files, shapes and libraries that cannot be used: one sentence and a status each, and the rest goes on.

use std::process::Command;

use crate::onnx::{fixture, only, present, run, says, stored};
use crate::support::{Expect as _, Sandbox, number, stderr_of};

#[test]
fn a_bad_file_has_a_status_and_the_others_go_on() {
    let sandbox = Sandbox::new();
    let whole = std::fs::read(fixture("cnn.onnx")).unwrap();
    sandbox.write("cut.onnx", &whole[..whole.len() / 2]);
    sandbox.write("text.onnx", "this is no network\n");
    sandbox.write("empty.onnx", "");
    sandbox.write("alone.onnx", std::fs::read(fixture("external.onnx")).unwrap());
    let models = [
        fixture("cnn.onnx"),
        "cut.onnx".to_owned(),
        "text.onnx".to_owned(),
        "empty.onnx".to_owned(),
        "alone.onnx".to_owned(),
        fixture("custom.onnx"),
        fixture("future.onnx"),
        fixture("embedding.onnx"),
        fixture("external.onnx"),
    ];
    for engine in present() {
        let one = Sandbox::new();
        for name in ["cut.onnx", "text.onnx", "empty.onnx", "alone.onnx"] {
            std::fs::copy(sandbox.path(name), one.path(name)).unwrap();
        }
        let output = run(&one, engine, &models.join(",")).args(["--format", "json"]).ends_with(1);
        let rows = stored(&one);
        assert_eq!(rows.len(), models.len(), "{engine}");
        for model in ["cnn", "external"] {
            assert_eq!(only(&rows, &[("model", model)])["status"], "ok", "{engine}");
        }
        for (model, status, words) in [
            ("cut", "failed", "cut off"),
            ("text", "failed", "is no ONNX file"),
            ("empty", "failed", "is no ONNX file"),
            ("alone", "failed", "external.bin"),
            ("embedding", "failed", "leaves the shape of `tokens` open: batch x length"),
            ("custom", "unsupported", "Mystery"),
        ] {
            says(only(&rows, &[("model", model)]), status, &[words]);
        }
        let future = only(&rows, &[("model", "future")]);
        // OpenVINO takes what it knows of any version.
        if engine != "openvino" {
            says(future, "unsupported", &["99"]);
        }
        assert_eq!(one.count("SELECT count(*) FROM planned_run WHERE state <> 'done'"), 0);
        assert!(stderr_of(&output).contains("is no ONNX file"), "{}", stderr_of(&output));
    }
}

#[test]
fn shapes_must_fit() {
    let sandbox = Sandbox::new();
    let cnn = fixture("cnn.onnx");
    for shape in ["image=1,3,8", "image=1,4,8,8"] {
        let one = Sandbox::new();
        run(&one, "tract", &cnn).args(["--shape", shape]).ends_with(1);
        says(&stored(&one)[0], "failed", &["does not take the shape", "batch x 3 x 8 x 8"]);
    }
    run(&sandbox, "tract", &cnn).args(["--shape", "picture=1,3,8,8"]).refuses(&["`picture`"], &["`image`"]);
    run(&sandbox, "burn-flex", "cifar_cnn").args(["--shape", "image=1,3,8,8"]).refuses(&["`image`"], &["ONNX"]);
    let output = run(&sandbox, "tract", &cnn).args(["--shape", "image=1,three"]).ends_with(2);
    assert!(stderr_of(&output).contains("`three` is no extent"), "{}", stderr_of(&output));
    run(&sandbox, "tract", &cnn).args(["--shape", "1,3,8,8", "--batch-sizes", "5"]).succeeds();
    assert_eq!(number(&stored(&sandbox)[0], "batch_size"), 5.0);
    let fixed = Sandbox::new();
    run(&fixed, "tract", &fixture("fixed.onnx")).args(["--batch-sizes", "1,2"]).succeeds();
    let rows = stored(&fixed);
    let row = |batch: f64| rows.iter().find(|row| number(row, "batch_size") == batch).unwrap();
    says(row(1.0), "unsupported", &["fixes its batch at 2"]);
    assert_eq!((&row(2.0)["status"], &row(2.0)["input_shape"]), (&"ok".into(), &"3x8x8".into()));
    assert_eq!(number(&fixed.sql("SELECT * FROM model")[0], "multiply_adds"), 6932.0, "of one sample");
}

#[test]
fn a_campaign_does_not_go_on_with_another_file() {
    let sandbox = Sandbox::new();
    std::fs::copy(fixture("cnn.onnx"), sandbox.path("net.onnx")).unwrap();
    let mut first = run(&sandbox, "tract", "net.onnx");
    first.args(["--repeat", "2"]).succeeds();
    std::fs::copy(fixture("cnn-fp16.onnx"), sandbox.path("net.onnx")).unwrap();
    // As if it had been stopped after its first run.
    let stopped = "DELETE FROM run WHERE repetition = 2;
                   UPDATE planned_run SET state = 'pending', run_id = NULL WHERE position = 1";
    sandbox.connection().execute_batch(stopped).unwrap();
    sandbox.benchdb().args(["run", "--resume", "last"]).ends_with(1);
    let row = &stored(&sandbox)[1];
    says(row, "failed", &["another file than the one that this campaign began with"]);
}

#[test]
fn a_shape_with_another_batch_than_asked_for_is_refused() {
    let sandbox = Sandbox::new();
    run(&sandbox, "tract", &fixture("cnn.onnx")).args(["--shape", "image=4,3,8,8"]).refuses(&["a batch of 4"], &["4"]);
    run(&sandbox, "tract", &fixture("cnn.onnx")).args(["--shape", "image=4,3,8,8", "--batch-sizes", "4"]).succeeds();
}

#[test]
fn a_file_of_another_size_is_not_the_model_that_it_is_called() {
    let sandbox = Sandbox::new();
    run(&sandbox, "tract", &format!("resnet50={}", fixture("cnn.onnx"))).ends_with(1);
    says(&stored(&sandbox)[0], "failed", &["137 parameters", "resnet50 has 25557032"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_file() {
    let sandbox = Sandbox::new();
    for name in ["pipe.onnx", "pipe.npy"] {
        assert!(Command::new("mkfifo").arg(sandbox.path(name)).status().unwrap().success());
    }
    run(&sandbox, "tract", "pipe.onnx").refuses(&["no regular file"], &["copy"]);
    run(&sandbox, "tract", &fixture("cnn.onnx")).args(["--input", "pipe.npy"]).refuses(&["no regular file"], &["copy"]);
}

#[test]
fn a_library_that_cannot_be_used_is_told_and_the_others_go_on() {
    let sandbox = Sandbox::new();
    sandbox.write("libonnxruntime.so", "no library");
    for path in ["/does/not/exist.so", sandbox.path("libonnxruntime.so").to_str().unwrap()] {
        let one = Sandbox::new();
        let output = run(&one, "onnxruntime,tract", &fixture("cnn.onnx")).env("ORT_DYLIB_PATH", path).succeeds();
        let rows = stored(&one);
        assert_eq!(only(&rows, &[("engine", "tract")])["status"], "ok");
        let missing = only(&rows, &[("engine", "onnxruntime")]);
        says(missing, "unsupported", &["ONNX Runtime's library", path]);
        assert!(missing["hint"].as_str().unwrap().contains("pip install onnxruntime"), "{missing}");
        assert!(stderr_of(&output).contains("left out: cnn on cpu by onnxruntime"), "{}", stderr_of(&output));
    }
    let one = Sandbox::new();
    run(&one, "openvino,tract", &fixture("cnn.onnx")).env("OPENVINO_INSTALL_DIR", one.folder()).outcome();
    let rows = stored(&one);
    assert_eq!(only(&rows, &[("engine", "tract")])["status"], "ok");
}

#[test]
fn what_an_engine_of_files_cannot_do_is_unsupported() {
    let sandbox = Sandbox::new();
    run(&sandbox, "tract", &fixture("cnn.onnx")).args(["--training-mode"]).ends_with(1);
    says(&stored(&sandbox)[0], "unsupported", &["training", "forward pass"]);
    run(&sandbox, "tract", &fixture("cnn.onnx")).args(["--precision", "tf32"]).ends_with(1);
    says(&stored(&sandbox)[1], "unsupported", &["tf32"]);
}
