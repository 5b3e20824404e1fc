//! Engines that are programs of others: one that behaves, and those that lie, hang, flood, or die, at every request.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, lives, number, program, root, said, same, skip, stderr_of, wait_for};

/// Options of a short run on the processor.
const SHORT: [&str; 9] =
    ["run", "--hardware", "cpu", "--iterations", "12", "--min-time", "0", "--telemetry-interval", "0"];

fn python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        skip("there is no python3 for external engines");
    }
    found
}

/// The command line of the test engine with this fault.
fn engine(fault: &str) -> String {
    format!("python3 '{}' {fault}", root().join("fixtures/external/engine.py").display())
}

/// A short run with the test engine.
fn run(sandbox: &Sandbox, fault: &str) -> Command {
    let mut command = sandbox.benchdb();
    command.args(SHORT).args(["--model", "mine", "--external", &engine(fault)]);
    command.args(["--external-timeout", "hello=20s,prepare=20s,steps=20s,outputs=60s,bye=20s"]);
    command
}

/// The only run of a folder.
fn only(sandbox: &Sandbox) -> Value {
    let rows = sandbox.sql("SELECT * FROM results");
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

#[test]
fn a_program_is_measured_as_any_engine() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    run(&sandbox, "").args(["--external-option", "speed=9"]).succeeds();
    let row = only(&sandbox);
    for (column, value) in [
        ("engine", "tester"),
        ("engine_version", "1.2.3"),
        ("framework_version", "Testing 4"),
        ("model", "mine"),
        ("validity", "valid"),
    ] {
        assert_eq!(row[column], value, "{row}");
    }
    assert_eq!(row["parameters"], r#"{"layout":"test","speed":9}"#);
    // Every step took two milliseconds, by the program's word.
    same(number(&row, "latency_p50_ms"), 2.0);
    same(number(&row, "latency_max_ms"), 2.0);
    same(number(&row, "first_inference_ms"), 2.0);
    same(number(&row, "throughput_samples_per_second"), 500.0);
    same(number(&row, "compile_ms"), 7.0);
    same(number(&row, "model_size_mb"), 4.0);
    same(number(&row, "memory_device_peak_mb"), 5.0);
    assert!(number(&row, "iterations") >= 12.0, "{row}");
    assert_eq!(sandbox.value("SELECT source FROM model"), "external");
    assert_eq!(sandbox.extra_metric(&row["run_id"], "queue_depth"), Some(3.0));
    assert_eq!(sandbox.listing(), ["benchdb.sqlite"], "nothing is left behind");
    assert_eq!(std::fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn its_memory_is_its_own() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    run(&sandbox, "memory").succeeds();
    let peak = number(&only(&sandbox), "memory_host_peak_mb");
    assert!((150.0..400.0).contains(&peak), "150 MB are held: {peak}");
}

#[test]
fn training_steps_come_in_phases() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    run(&sandbox, "").arg("--training-mode").succeeds();
    let row = only(&sandbox);
    for phase in ["forward_ms", "loss_ms", "backward_ms", "optimizer_step_ms"] {
        same(number(&row, phase), 0.5);
    }
    let losses = ["first_loss", "last_loss"].map(|name| sandbox.extra_metric(&row["run_id"], name).unwrap());
    assert!(losses[0] > losses[1], "{losses:?}");
}

#[test]
fn outputs_are_compared_with_the_reference() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut command = sandbox.benchdb();
    command.args(SHORT).args(["--model", "cifar_cnn", "--batch-sizes", "6", "--external", &engine("")]);
    command.env("BENCHDB", program()).succeeds();
    let row = only(&sandbox);
    assert!(number(&row, "fidelity_cosine") > 0.999_999, "{row}");
    assert_eq!(number(&row, "fidelity_relative_error"), 0.0, "the same network computed them: {row}");
    assert_eq!(row["input_shape"], "3x32x32");
}

#[test]
fn a_program_without_outputs_has_no_fidelity() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    let output = sandbox.benchdb().args(SHORT).args(["--model", "cifar_cnn", "--external", &engine("")]).succeeds();
    assert!(stderr_of(&output).contains("it has no outputs"), "{}", said(&output));
    assert_eq!(only(&sandbox)["fidelity_cosine"], Value::Null);
}

#[test]
fn what_it_does_wrong_is_one_sentence_and_a_status() {
    if !python() {
        return;
    }
    let cases = [
        // Whatever it is asked, it may die, hang, flood or talk nonsense. Time-outs are short where they must pass.
        ("exit hello", "failed", "tester"),
        ("crash hello", "failed", "SIGABRT"),
        ("garbage hello", "failed", "is no JSON"),
        ("flood hello", "failed", "flooded its standard output"),
        ("version_2", "failed", "version 2 of the protocol"),
        ("bad_name", "failed", "`My Engine`"),
        ("taken_name", "failed", "burn-flex"),
        ("no_device", "failed", "no device"),
        ("exec_name", "failed", "`command` is the engine of `benchdb exec`"),
        ("escape", "failed", "control characters"),
        ("other_version", "failed", "it is version 2, and was 1 when the run was planned"),
        ("long_compilation", "failed", "compiling took"),
        ("exit prepare", "failed", "the engine is on fire"),
        ("close prepare", "failed", "closed its output"),
        ("chatter prepare", "failed", "is no JSON"),
        ("other prepare", "failed", "it answered `bye`"),
        ("unsupported prepare", "unsupported", "it is Sunday"),
        ("error prepare", "failed", "the kernel is not there"),
        ("out_of_memory prepare", "out_of_memory", "CUDA out of memory"),
        ("odd_phases", "failed", "the phases are `think`"),
        (
            "exit steps",
            "failed",
            "ended with exit code 3 where an answer to `steps` was awaited; it said: working | the engine is on fire",
        ),
        ("crash steps", "failed", "SIGABRT"),
        ("flood steps", "failed", "flooded"),
        ("garbage steps", "failed", "is no JSON"),
        ("error steps", "failed", "the kernel is not there"),
        ("nan", "failed", "is no JSON"),
        ("negative", "failed", "step 1 took `-5` nanoseconds"),
        ("fraction", "failed", "step 1 took `0.5` nanoseconds"),
        ("text", "failed", "step 1 took `\"2 ms\"` nanoseconds"),
        ("zero", "failed", "step 1 took no time"),
        ("too_long", "failed", "together, but its answer came after"),
        ("overflow", "failed", "together, but its answer came after"),
        ("too_many", "failed", "2 steps were told, 1 were asked for"),
        ("too_few", "failed", "0 steps were told, 1 were asked for"),
        ("undeclared", "failed", "never said that it has a metric `secret`"),
        ("unasked", "failed", "by the way"),
        ("exit bye", "failed", "ended with exit code 3"),
    ];
    for (fault, status, error) in cases {
        let sandbox = Sandbox::new();
        let output = run(&sandbox, fault).outcome();
        let row = only(&sandbox);
        assert_eq!(row["status"], status, "{fault}: {}", said(&output));
        let told = sandbox.value("SELECT error FROM run").as_str().unwrap().to_owned();
        if fault != "exit hello" {
            assert!(told.contains(error), "{fault}: {told}");
        }
        assert!(!told.contains('\n'), "{fault}: one line: {told}");
        assert_eq!(output.status.code(), Some(1), "{fault}: {}", said(&output));
    }
}

#[test]
fn who_hangs_is_ended() {
    if !python() {
        return;
    }
    for request in ["hello", "prepare", "steps", "bye"] {
        let sandbox = Sandbox::new();
        let grandchild = sandbox.path("grandchild");
        let mut command = sandbox.benchdb();
        let external = engine(&format!("hang {request} '{}'", grandchild.display()));
        command.args(SHORT).args(["--model", "mine", "--external", &external]);
        command.args(["--external-timeout", &format!("{request}=1s")]);
        let output = command.ends_with(1);
        let told = sandbox.value("SELECT error FROM run").as_str().unwrap().to_owned();
        let expected = format!("did not answer `{request}` within 1s and was ended; it said: thinking hard");
        assert!(told.contains(&expected), "{told}: {}", said(&output));
        let process_id = std::fs::read_to_string(&grandchild).unwrap();
        wait_for("the grandchild's end", || (!lives(&process_id)).then_some(()));
    }
}

#[test]
fn who_leaves_processes_behind_takes_them_along() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    let grandchild = sandbox.path("grandchild");
    run(&sandbox, &format!("exit steps '{}'", grandchild.display())).ends_with(1);
    let process_id = std::fs::read_to_string(&grandchild).unwrap();
    wait_for("the grandchild's end", || (!lives(&process_id)).then_some(()));
}

#[test]
fn phases_that_do_not_fit_their_step_are_refused() {
    if !python() {
        return;
    }
    for (fault, error) in [("no_phases", "the phases are []"), ("short_phases", "its phases 4 together")] {
        let sandbox = Sandbox::new();
        run(&sandbox, fault).arg("--training-mode").ends_with(1);
        let told = sandbox.value("SELECT error FROM run").as_str().unwrap().to_owned();
        assert!(told.contains(error), "{told}");
    }
}

#[test]
fn steps_that_are_a_small_part_of_the_answers_are_remarked_on() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    run(&sandbox, "tiny").succeeds();
    assert_eq!(only(&sandbox)["status"], "ok");
    assert!(sandbox.value("SELECT hint FROM run").as_str().unwrap().contains("look at what it times"));
}

#[test]
fn outputs_of_another_shape_void_the_run() {
    if !python() {
        return;
    }
    for (fault, error) in [
        ("wrong_shape", "its outputs are [logits 1x3], the model has [logits 1x10]"),
        ("no_file", "cannot exchange tensors with tester"),
        ("exit outputs", "the engine is on fire"),
    ] {
        let sandbox = Sandbox::new();
        let mut command = sandbox.benchdb();
        command.args(SHORT).args(["--model", "cifar_cnn", "--external", &engine(fault)]).ends_with(1);
        let row = only(&sandbox);
        assert_eq!((&row["status"], &row["validity"]), (&Value::from("failed"), &Value::from("not_measured")), "{row}");
        let told = sandbox.value("SELECT error FROM run").as_str().unwrap().to_owned();
        assert!(told.contains(error), "{told}");
    }
}

#[test]
fn a_precision_that_it_does_not_do_is_unsupported() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    // bf16 is told in the hello and not done; fp16 is not told.
    run(&sandbox, "wrong_precision").args(["--precision", "fp32,bf16,fp16"]).succeeds();
    let statuses: Vec<(Value, Value)> = sandbox
        .sql("SELECT precision, status FROM results ORDER BY precision")
        .into_iter()
        .map(|row| (row["precision"].clone(), row["status"].clone()))
        .collect();
    let expected = [("bf16", "unsupported"), ("fp16", "unsupported"), ("fp32", "ok")];
    assert_eq!(statuses, expected.map(|(precision, status)| (precision.into(), status.into())));
}

#[test]
fn what_it_cannot_do_is_unsupported_with_the_reason() {
    if !python() {
        return;
    }
    for (fault, options, error) in [
        ("listed", vec!["--model", "cifar_cnn"], "it does not have this model"),
        ("", vec!["--model", "gpt2", "--generate", "4"], "does not write tokens"),
        ("", vec!["--model", "cifar_cnn", "--throughput-mode"], "waits after every batch"),
        ("", vec!["--model", "cifar_cnn", "--external-option", "colour=red"], "its options are speed"),
        ("", vec!["--model", "cifar_cnn", "--mode", "explanation"], "it does inference, training"),
    ] {
        let sandbox = Sandbox::new();
        let output = sandbox.benchdb().args(SHORT).args(["--external", &engine(fault)]).args(options).ends_with(1);
        let row = sandbox.sql("SELECT status, error FROM run").remove(0);
        assert_eq!(row["status"], "unsupported", "{}", said(&output));
        assert!(row["error"].as_str().unwrap().contains(error), "{row}");
    }
}

#[test]
fn the_rest_of_the_matrix_goes_on() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut command = sandbox.benchdb();
    command.args(SHORT).args(["--model", "cifar_cnn", "--engine", "burn-flex"]);
    for external in ["no-such-program --x".to_owned(), engine("exit hello"), engine("exit steps"), engine("")] {
        command.args(["--external", &external]);
    }
    let output = command.ends_with(1);
    let found: Vec<(String, String)> = sandbox
        .sql("SELECT engine, status FROM results ORDER BY engine, status")
        .iter()
        .map(|row| (row["engine"].as_str().unwrap().to_owned(), row["status"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        ("burn-flex", "ok"),
        ("engine", "failed"),
        ("no-such-program", "failed"),
        ("tester", "failed"),
        ("tester", "ok"),
    ];
    assert_eq!(found, expected.map(|(engine, status)| (engine.to_owned(), status.to_owned())), "{}", said(&output));
    let refused = sandbox.value("SELECT error FROM run JOIN configuration ON configuration.id = configuration_id WHERE engine = 'no-such-program'");
    assert!(refused.as_str().unwrap().contains("cannot start the external program `no-such-program --x`"), "{refused}");
}

#[test]
fn broken_programs_alone_measure_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().args(SHORT).args(["--model", "cifar_cnn", "--external", "no-such-program"]).ends_with(1);
    assert_eq!(only(&sandbox)["engine"], "no-such-program", "no engine of benchdb's own was asked for");
}

#[test]
fn a_command_line_that_is_none_is_refused() {
    let sandbox = Sandbox::new();
    for (command, error) in [("python3 'x", "has no partner"), (" ", "names no program")] {
        let mut run = sandbox.benchdb();
        run.args(SHORT)
            .args(["--model", "cifar_cnn", "--external", command])
            .refuses(&[error], &["adapters/pytorch.py"]);
    }
}

#[test]
fn time_is_up_for_all_steps_together() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    let started = std::time::Instant::now();
    let mut command = sandbox.benchdb();
    command.args([
        "run",
        "--hardware",
        "cpu",
        "--iterations",
        "1000000",
        "--max-time",
        "2",
        "--telemetry-interval",
        "0",
    ]);
    command.args(["--model", "mine", "--external", &engine("")]).succeeds();
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    assert_eq!(sandbox.value("SELECT stop_reason FROM run"), "max_time");
}

/// Interrupts benchdb while its program hangs at a request; the whole group of the program has to go.
#[cfg(unix)]
fn interrupted_at(request: &str) -> Option<Sandbox> {
    if !python() {
        return None;
    }
    let sandbox = Sandbox::new();
    let grandchild = sandbox.path("grandchild");
    let mut command = sandbox.benchdb();
    let external = engine(&format!("hang {request} '{}'", grandchild.display()));
    command.args(SHORT).args(["--model", "mine", "--external", &external]);
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let process_id =
        wait_for("the program", || std::fs::read_to_string(&grandchild).ok().filter(|text| !text.is_empty()));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    wait_for("the grandchild's end", || (!lives(&process_id)).then_some(()));
    Some(sandbox)
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_program_too() {
    let Some(sandbox) = interrupted_at("steps") else { return };
    assert_eq!(only(&sandbox)["status"], "interrupted");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_a_program_that_does_not_say_hello() {
    interrupted_at("hello");
}

/// The example of docs/external.md.
fn example(sandbox: &Sandbox) -> PathBuf {
    let page = std::fs::read_to_string(root().join("docs/external.md")).unwrap();
    let code = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(code.lines().count() <= 25, "an example is short");
    sandbox.write("mine.py", code)
}

#[test]
fn the_example_of_the_page_works() {
    if !python() {
        return;
    }
    let sandbox = Sandbox::new();
    example(&sandbox);
    let mut command = sandbox.benchdb();
    command.args(SHORT).args(["--model", "sum_of_squares", "--batch-sizes", "1,4", "--external", "python3 mine.py"]);
    command.succeeds();
    let rows = sandbox.sql("SELECT status, latency_p50_ms FROM results ORDER BY batch_size");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["status"] == "ok"), "{rows:?}");
    assert!(number(&rows[1], "latency_p50_ms") > number(&rows[0], "latency_p50_ms"), "four times the work: {rows:?}");
}

/// A Python with PyTorch: `BENCHDB_TEST_PYTORCH` names one, else that of the path.
fn pytorch() -> Option<String> {
    let python = std::env::var("BENCHDB_TEST_PYTORCH").unwrap_or_else(|_| "python3".to_owned());
    let imports = "import torch, torchvision, transformers, safetensors, numpy";
    let found = Command::new(&python).args(["-c", imports]).output().is_ok_and(|output| output.status.success());
    if !found {
        skip(&format!(
            "`{python}` cannot import torch, torchvision, transformers, safetensors and numpy, so the PyTorch adapter was not \
             run; BENCHDB_TEST_PYTORCH names another Python"
        ));
    }
    found.then_some(python)
}

#[test]
fn the_pytorch_adapter_computes_what_burn_computes() {
    let Some(python) = pytorch() else { return };
    let sandbox = Sandbox::new();
    let adapter = format!("'{python}' '{}'", root().join("adapters/pytorch.py").display());
    let mut command = sandbox.benchdb();
    command.args(SHORT).args(["--model", "cifar_cnn,resnet18", "--batch-sizes", "2", "--external", &adapter]);
    command.succeeds();
    let rows = sandbox.sql("SELECT * FROM results");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(number(&row, "fidelity_relative_error") <= 1e-3, "{row}");
        assert!(number(&row, "fidelity_cosine") >= 0.9999, "{row}");
        assert_eq!(row["engine"], "pytorch");
    }
}
