//! `benchdb run --generate`: what writing token by token takes, and who can do it.

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, json_of, number, planned, same, stderr_of, stdout_of};

/// The networks of the zoo that write.
const WRITERS: [&str; 4] = ["t5-small", "gpt2", "smollm2-135m", "whisper-tiny"];

/// The durations of a phase in ms, by iteration.
fn milliseconds(sandbox: &Sandbox, run_id: &Value, phase: &str) -> Vec<f64> {
    let query =
        format!("SELECT nanoseconds FROM sample WHERE run_id = {run_id} AND phase = '{phase}' ORDER BY iteration");
    sandbox.sql(&query).iter().map(|row| number(row, "nanoseconds") / 1e6).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

#[test]
fn the_numbers_of_writing_follow_from_its_phases() {
    let sandbox = Sandbox::new();
    let output = sandbox.quick("t5-small").args(["--generate", "3", "--batch-sizes", "2"]).succeeds();
    for heading in ["first token ms", "token ms", "tokens/s"] {
        assert!(stdout_of(&output).contains(heading), "{}", stdout_of(&output));
    }
    let row = &sandbox.sql("SELECT * FROM results")[0];
    assert_eq!(row["parameters"], r#"{"generate":3}"#);
    let run = &row["run_id"];
    let [prefill, decode, iteration] =
        ["prefill", "decode", "iteration"].map(|phase| milliseconds(&sandbox, run, phase));
    assert!(iteration.len() >= 3);
    assert_eq!(row["iterations"], iteration.len());
    assert_eq!((prefill.len(), decode.len()), (iteration.len(), iteration.len()));
    for ((prefill, decode), whole) in prefill.iter().zip(&decode).zip(&iteration) {
        assert!(*prefill > 0.0 && *decode > 0.0);
        assert!((prefill + decode - whole).abs() < 0.001 * whole, "{prefill} + {decode} is not {whole}");
    }
    same(number(row, "latency_p50_ms"), median(iteration.clone()));
    let (first, further) = (number(row, "time_to_first_token_ms"), number(row, "time_per_output_token_ms"));
    same(first, median(prefill));
    same(further, median(decode) / 2.0);
    let seconds = iteration.iter().sum::<f64>() / 1e3;
    same(number(row, "throughput_samples_per_second"), 2.0 * iteration.len() as f64 / seconds);
    same(number(row, "throughput_tokens_per_second"), 3.0 * number(row, "throughput_samples_per_second"));
    same(sandbox.extra_metric(run, "decode_tokens_per_second").unwrap(), 2.0 * 1e3 / further);
    // The prompt is read whole: as many tokens in each of the two texts.
    let read = sandbox.extra_metric(run, "prefill_tokens_per_second").unwrap() * first / 1e3;
    assert!(read >= 2.0 && (read / 2.0 - (read / 2.0).round()).abs() < 1e-6, "{read} tokens of two prompts");
}

#[test]
fn one_token_has_none_after_it_and_others_do_not_write() {
    let sandbox = Sandbox::new();
    let output = sandbox.quick("cifar_cnn,t5-small").args(["--generate", "1"]).succeeds();
    let stderr = stderr_of(&output);
    assert!(stderr.contains("cifar_cnn does not write tokens"), "{stderr}");
    let rows = sandbox.sql("SELECT results.*, error, hint FROM results JOIN run ON run.id = run_id ORDER BY model");
    assert_eq!(rows.len(), 2);
    let [silent, writer] = [&rows[0], &rows[1]];
    assert_eq!((&silent["model"], &silent["status"]), (&"cifar_cnn".into(), &"unsupported".into()));
    assert_eq!(silent["validity"], "not_measured");
    assert_eq!(silent["latency_p50_ms"], Value::Null);
    assert_eq!(silent["error"], "cifar_cnn does not write tokens");
    for model in WRITERS {
        assert!(silent["hint"].as_str().unwrap().contains(model), "{silent}");
    }
    assert_eq!((&writer["model"], &writer["status"]), (&"t5-small".into(), &"ok".into()));
    assert_eq!(writer["time_per_output_token_ms"], Value::Null);
    assert_eq!(sandbox.extra_metric(&writer["run_id"], "decode_tokens_per_second"), None);
    assert!(sandbox.extra_metric(&writer["run_id"], "prefill_tokens_per_second").unwrap() > 0.0);
    same(number(writer, "throughput_tokens_per_second"), number(writer, "throughput_samples_per_second"));
    assert!(number(writer, "time_to_first_token_ms") > 0.0);
}

#[test]
fn writing_is_another_configuration_than_a_forward_pass() {
    let sandbox = Sandbox::new();
    for arguments in [&[][..], &["--generate", "2"], &["--generate", "3"]] {
        let mut command = sandbox.benchdb();
        command.args(["run", "--engine", "scripted", "--hardware", "cpu", "--model", "gpt2"]).args(arguments);
        command.succeeds();
    }
    let parameters: Vec<Value> = sandbox
        .sql("SELECT parameters FROM results ORDER BY run_id")
        .iter()
        .map(|row| row["parameters"].clone())
        .collect();
    assert_eq!(parameters, ["{}", r#"{"generate":2}"#, r#"{"generate":3}"#]);
    assert_eq!(sandbox.count("SELECT count(*) FROM configuration"), 3);
}

#[test]
fn who_does_not_write_is_left_out_of_all() {
    let sandbox = Sandbox::new();
    let document = json_of(
        &sandbox
            .benchdb()
            .args(["run", "--all", "--hardware", "cpu", "--generate", "2", "--dry-run", "--format", "json"])
            .succeeds(),
    );
    let mut found: Vec<String> =
        planned(&document).iter().map(|row| row["model"].as_str().unwrap().to_owned()).collect();
    found.sort_unstable();
    let mut writers = WRITERS;
    writers.sort_unstable();
    assert_eq!(found, writers);
    let left_out = document["left_out"].as_array().unwrap();
    assert_eq!(left_out.len(), 13 - WRITERS.len(), "the rest of the zoo");
    for row in left_out {
        let model = row["what"].as_str().unwrap();
        assert!(!WRITERS.contains(&model), "{row}");
        assert_eq!(row["reason"], format!("{model} does not write tokens"));
        assert!(row["way_out"].as_str().unwrap().contains("t5-small"), "{row}");
    }
    assert!(sandbox.listing().is_empty());
}

#[test]
fn nobody_who_writes_is_a_failure() {
    let sandbox = Sandbox::new();
    sandbox.quick("cifar_cnn").args(["--generate", "2"]).ends_with(1);
    let run = &sandbox.sql("SELECT status, error FROM run")[0];
    assert_eq!((&run["status"], &run["error"]), (&"unsupported".into(), &"cifar_cnn does not write tokens".into()));
}

#[test]
fn writing_is_inference_of_one_batch_at_a_time() {
    let sandbox = Sandbox::new();
    for other in ["--training-mode", "--throughput-mode"] {
        sandbox
            .quick("gpt2")
            .args(["--generate", "2", other])
            .refuses(&["`--generate` measures inference"], &["leave out", other]);
    }
    for count in ["0", "-1", "many"] {
        let output = sandbox.quick("gpt2").arg(format!("--generate={count}")).ends_with(2);
        let stderr = stderr_of(&output);
        assert!(stderr.contains("--generate") && stderr.contains(&format!("'{count}'")), "{stderr}");
    }
    assert!(sandbox.listing().is_empty());
}

#[test]
fn a_text_that_does_not_fit_is_known_beforehand() {
    let sandbox = Sandbox::new();
    sandbox.quick("whisper-tiny").args(["--generate", "442"]).ends_with(1);
    let run = &sandbox.sql("SELECT status, error, hint FROM run")[0];
    assert_eq!(run["status"], "unsupported");
    // The last of 441 tokens after a prompt of 8 is written from the 448th position, and not read again.
    for words in ["448 positions", "a prompt of 8 tokens", "cannot write 442"] {
        assert!(run["error"].as_str().unwrap().contains(words), "{run}");
    }
    assert!(run["hint"].as_str().unwrap().contains("`--generate 441`"), "{run}");
    let document = sandbox.quick("whisper-tiny").args(["--generate", "441", "--dry-run", "--format", "json"]).json();
    assert_eq!(planned(&document).len(), 1);
}
