//! `benchdb predict` and forecasts in `recommend`, on small databases in the form of timm's files: times by arithmetic, with a
//! jitter, so that what a forecast should say is known.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, json_of, said, stderr_of, stdout_of};

const R3090: &str = "benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv";
const R4090: &str = "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv";

/// Models of six families in ten sizes, less those that `keep` drops; a device that does `speed` 1e9 multiply-adds a second.
fn results(speed: f64, keep: impl Fn(&str) -> bool) -> String {
    let mut csv = String::from(
        "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count,infer_gmacs,infer_macts\n",
    );
    for (place, family) in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"].into_iter().enumerate() {
        for size in 1..=10 {
            let model = format!("{family}{size}");
            let work = f64::from(size) * 0.7 + 0.1 * place as f64;
            let jitter = 1.0 + 0.02 * f64::from((size * 7 + place as u32 * 3) % 5);
            let rate = speed / (work * jitter * (1.0 + 0.05 * place as f64));
            if keep(&model) {
                let batch = 256;
                let step = f64::from(batch) / rate * 1e3;
                let (parameters, activations) = (work * 6.0, work * 3.0);
                writeln!(csv, "{model},224,{rate:.2},{step:.3},{batch},{parameters:.2},{work:.2},{activations:.2}")
                    .unwrap();
            }
        }
    }
    csv
}

/// Two cards; the faster one lacks the family `beta` and two models more.
pub fn two_cards() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(R3090, results(4000.0, |_| true));
    sandbox.write(R4090, results(8000.0, |model| !model.starts_with("beta") && model != "alpha5" && model != "zeta7"));
    sandbox.benchdb().args(["import", R3090, R4090]).succeeds();
    sandbox
}

pub fn predict(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Command {
    let mut command = sandbox.benchdb();
    command.arg("predict").args(arguments);
    command
}

pub fn forecasts(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    table(&predict(sandbox, arguments).args(["--format", "json"]).json(), "forecasts")
}

/// The rows of one of several tables.
pub fn table(document: &Value, name: &str) -> Vec<Value> {
    document[name].as_array().unwrap_or_else(|| panic!("no `{name}` in {document}")).clone()
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("{name} in {row}"))
}

pub const RATE: &str = "throughput_samples_per_second";

#[test]
fn a_model_that_was_measured_on_the_other_card_is_forecast_with_intervals() {
    let sandbox = two_cards();
    let rows = forecasts(&sandbox, &["--model", "alpha5", "--hardware", "RTX 4090"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!((row["tier"].as_str(), row["batch_size"].as_i64()), (Some("A"), Some(256)));
    let truth = 8000.0 / (3.5 * 1.0);
    assert!((number(row, RATE) / truth - 1.0).abs() < 0.15, "{row}");
    let ends = ["low_90", "low_50", "", "high_50", "high_90"];
    let values: Vec<f64> = ends
        .iter()
        .map(|end| number(row, if end.is_empty() { RATE.to_owned() } else { format!("{RATE}_{end}") }.as_str()))
        .collect();
    assert!(values.windows(2).all(|pair| pair[0] <= pair[1]) && values[0] > 0.0, "{values:?}");
    assert!((values[0]..=values[4]).contains(&truth), "{truth} in {values:?}");
    // The time of a batch is what the rate says.
    assert!((number(row, "latency_ms") * number(row, RATE) / 256e3 - 1.0).abs() < 1e-6, "{row}");
    assert!(number(row, "memory_device_peak_mb") > 100.0);
    let text = stdout_of(&predict(&sandbox, &["--model", "alpha5", "--hardware", "RTX 4090"]).succeeds());
    assert!(text.contains("samples/s"), "{text}");
}

#[test]
fn tiers_follow_what_is_known() {
    let sandbox = two_cards();
    let tier = |arguments: &[&str]| forecasts(&sandbox, arguments)[0]["tier"].as_str().unwrap().to_owned();
    assert_eq!(tier(&["--model", "beta3", "--device", "RTX 4090"]), "A");
    assert_eq!(
        tier(&["--model", "new", "--multiply-adds", "2e9", "--parameter-count", "1e7", "--device", "4090"]),
        "B"
    );
    assert_eq!(tier(&["--model", "beta3", "--device", "RTX 3080"]), "C");
    predict(&sandbox, &["--model", "beta3", "--device", "EPYC 7763"])
        .refuses(&["no cpu whose rates are known was ever measured"], &["--extrapolate"]);
    let far = forecasts(&sandbox, &["--model", "beta3", "--device", "EPYC 7763", "--extrapolate"]);
    assert_eq!(far[0]["tier"], "D");
    let spread = number(&far[0], &format!("{RATE}_high_90")) / number(&far[0], &format!("{RATE}_low_90"));
    assert!(spread > 100.0, "{spread}");
    // Every device that was measured is asked about where none is named.
    assert_eq!(forecasts(&sandbox, &["--model", "beta3"]).len(), 2);
}

#[test]
fn the_further_from_what_was_measured_the_wider() {
    let sandbox = two_cards();
    let spread = |arguments: &[&str]| {
        let rows = forecasts(&sandbox, &[&["--model", "alpha5", "--device", "RTX 4090"], arguments].concat());
        (
            number(&rows[0], &format!("{RATE}_high_90")) / number(&rows[0], &format!("{RATE}_low_90")),
            rows[0]["outside"].clone(),
        )
    };
    let (near, nothing) = spread(&[]);
    assert_eq!(nothing, "");
    let (one, reason) = spread(&["--batch-sizes", "1"]);
    assert!(one > near && reason.as_str().unwrap().contains("batch size 1"), "{one} {near} {reason}");
    let (int8, reason) = spread(&["--precision", "int8", "--mode", "training"]);
    assert!(int8 > 4.0 * near && reason.as_str().unwrap().contains("int8"), "{int8} {near} {reason}");
}

#[test]
fn nothing_is_made_up() {
    let sandbox = two_cards();
    predict(&sandbox, &["--model", "alpha55"]).refuses(&["`alpha55`"], &["did you mean", "--multiply-adds"]);
    predict(&sandbox, &["--model", "alpha5", "--device", "Nonesuch 9"]).refuses(&["`Nonesuch 9`"], &["--devices"]);
    predict(&sandbox, &["--model", "x", "--multiply-adds", "-5", "--device", "4090"]).ends_with(2);
    predict(&sandbox, &["--model", "x", "--multiply-adds", "1e30", "--device", "4090"]).ends_with(2);
    predict(&sandbox, &["--model", "alpha5", "--batch-sizes", "0"]).ends_with(2);
    predict(&sandbox, &[]).refuses(&["nothing is asked"], &["--model"]);
    let little = Sandbox::new();
    let few: String = results(4000.0, |_| true).lines().take(4).flat_map(|line| [line, "\n"]).collect();
    little.write(R3090, few);
    little.benchdb().args(["import", R3090]).succeeds();
    predict(&little, &["--model", "alpha5"]).refuses(&["3 usable measurements are too few"], &["benchdb run"]);
    predict(&Sandbox::new(), &["--model", "alpha5"]).ends_with(2);
}

#[test]
fn many_questions_come_from_a_file() {
    let sandbox = two_cards();
    sandbox.write(
        "questions.csv",
        "model,hardware,batch_size,multiply_adds,parameter_count\nalpha5,RTX 4090,256,,\nnew,cuda,64,2e9,1e7\nunheard,cuda,1,,\n",
    );
    let output = predict(&sandbox, &["--file", "questions.csv", "--format", "json"]).succeeds();
    let document = json_of(&output);
    assert_eq!(table(&document, "forecasts").len(), 3, "{}", said(&output));
    let refused = table(&document, "refused");
    assert_eq!(refused.len(), 1);
    assert!(refused[0]["reason"].as_str().unwrap().contains("`unheard`"));
    sandbox.write("wrong.csv", "modell\nx\n");
    predict(&sandbox, &["--file", "wrong.csv"]).refuses(&["wrong.csv"], &["the columns are model"]);
    sandbox.write("empty.csv", "model\n");
    predict(&sandbox, &["--file", "empty.csv"]).refuses(&["it holds no row"], &[]);
}

#[test]
fn a_fitted_model_goes_to_another_machine_and_into_the_database() {
    let sandbox = two_cards();
    let asked = ["--model", "alpha5", "--hardware", "RTX 4090"];
    let here = forecasts(&sandbox, &asked);
    predict(&sandbox, &["--export", "model.json"]).succeeds();
    let elsewhere = Sandbox::new();
    std::fs::copy(sandbox.path("model.json"), elsewhere.path("model.json")).unwrap();
    let there = forecasts(&elsewhere, &[&asked[..], &["--model-file", "model.json"]].concat());
    assert_eq!(number(&here[0], RATE), number(&there[0], RATE));
    predict(&sandbox, &["--fit"]).succeeds();
    assert_eq!(sandbox.count("SELECT row_count FROM fitted_model WHERE name = 'prior'"), 108);
    assert!(sandbox.value("SELECT provenance ->> '$.rows' FROM fitted_model").as_i64() == Some(108));
    let kept = forecasts(&sandbox, &[&asked[..], &["--prior"]].concat());
    assert_eq!(number(&here[0], RATE), number(&kept[0], RATE));
    predict(&sandbox, &["--model", "alpha5", "--prior=other"]).refuses(&["`other`"], &["--fit other"]);
    elsewhere.write("broken.json", "{}");
    predict(&elsewhere, &["--model", "alpha5", "--model-file", "broken.json"]).refuses(&["broken.json"], &["--export"]);
}

#[test]
fn an_evaluation_names_who_errs_least() {
    let sandbox = two_cards();
    let output = predict(&sandbox, &["--evaluate", "--folds", "1"]).succeeds();
    let said = stderr_of(&output);
    for protocol in ["pair", "family", "device", "own"] {
        assert!(said.contains(protocol) && stdout_of(&output).contains(protocol), "{said}");
    }
    assert!(said.contains("errs least"), "{said}");
    let rows = table(&predict(&sandbox, &["--evaluate", "--folds", "1", "--format", "json"]).json(), "evaluation");
    let answerers: Vec<&str> =
        rows.iter().filter(|row| row["protocol"] == "pair").map(|row| row["answerer"].as_str().unwrap()).collect();
    assert!(answerers.contains(&"learned") && answerers.contains(&"same-model ratio"), "{answerers:?}");
    assert!(rows.iter().all(|row| row["median_error_percent"].as_f64().is_some_and(|error| error >= 0.0)));
}

#[test]
fn anchors_are_suggested_of_what_was_not_measured() {
    let sandbox = two_cards();
    let models = "alpha1,alpha5,beta1,beta2,beta5,beta9";
    let plan = predict(
        &sandbox,
        &["--suggest-anchors", "3", "--device", "RTX 4090", "--model", models, "--output", "plan.json"],
    )
    .succeeds();
    assert!(stderr_of(&plan).contains("wrote `plan.json`"), "{}", said(&plan));
    let document: Value = serde_json::from_str(&sandbox.read("plan.json")).unwrap();
    let rows = table(&document, "measure_next");
    assert_eq!(rows.len(), 3);
    let left: Vec<f64> = rows.iter().map(|row| number(row, "variance_left")).collect();
    assert!(left.windows(2).all(|pair| pair[1] <= pair[0]), "{left:?}");
    assert!(rows.iter().all(|row| row["model"] != "alpha1"), "{rows:?}");
}

#[test]
fn rows_of_the_user_make_a_device_known() {
    let sandbox = two_cards();
    sandbox.write(
        "mine.csv",
        "name,kind,vendor,fp32_tflops,fp16_tflops,bandwidth_gb_per_second\nMyCard 7,gpu,NVIDIA,40,80,1000\n",
    );
    let rows = forecasts(&sandbox, &["--model", "beta3", "--device", "MyCard 7", "--devices", "mine.csv"]);
    assert_eq!(rows[0]["tier"], "C");
    sandbox.write("bad.csv", "name,kind,tdp_w\nX,gpu,-1\n");
    predict(&sandbox, &["--model", "beta3", "--devices", "bad.csv"])
        .refuses(&["`X` has the number -1"], &["data/devices.csv"]);
}

#[test]
fn recommendations_join_forecasts_and_never_put_them_before_what_they_overlap() {
    let sandbox = two_cards();
    let document =
        sandbox.benchdb().args(["recommend", "--model", "alpha5", "--include-predicted", "--format", "json"]).json();
    let rows = table(&document, "recommendations");
    let sources: Vec<&str> = rows.iter().map(|row| row["source"].as_str().unwrap()).collect();
    assert!(sources.contains(&"measured") && sources.contains(&"predicted (A)"), "{sources:?}");
    // The faster card is forecast at twice the rate: its whole interval lies beyond what was measured.
    assert_eq!(sources[0], "predicted (A)");
    let owned = sandbox.benchdb().args(["recommend", "--model", "alpha5", "--format", "json"]).json();
    assert!(!owned.to_string().contains("predicted"));
    let not_mine = sandbox
        .benchdb()
        .args(["recommend", "--model", "alpha5", "--device", "RTX 3080", "--include-predicted", "--format", "json"])
        .json();
    assert_eq!(table(&not_mine, "recommendations")[0]["source"], "predicted (C)");
}

/// A model from elsewhere knows the data sheet of a card; what was measured on it here says by how much that is off.
#[test]
fn own_measurements_anchor_a_model_from_elsewhere() {
    let elsewhere = two_cards();
    predict(&elsewhere, &["--export", "model.json"]).succeeds();
    let here = Sandbox::new();
    here.write("model.json", elsewhere.read("model.json"));
    let ask = || {
        let mut command = predict(&here, &["--model-file", "model.json", "--model", "alpha5", "--device", "RTX 3080"]);
        let row = table(&command.args(["--precision", "amp", "--format", "json"]).json(), "forecasts").remove(0);
        assert_eq!(row["tier"], "C", "{row}");
        row
    };
    let blind = ask();

    // A card that does a third of what its data sheet would let one think.
    let slow = number(&blind, RATE) / 3.0;
    let made = Sandbox::new();
    made.write(R3090, results(slow * 3.5, |model| model.ends_with('3') || model.ends_with('8')));
    made.benchdb().args(["import", R3090]).succeeds();
    made.benchdb().args(["export", "--output", "runs.csv"]).succeeds();
    here.write("runs.csv", made.read("runs.csv").replace("RTX 3090", "RTX 3080"));
    here.benchdb().args(["import", "runs.csv"]).succeeds();
    let anchored = ask();
    assert!((number(&anchored, RATE) / slow - 1.0).abs() < 0.3, "{anchored}");
    assert!(anchored["learned_from"].as_str().unwrap().contains("12 of your own"), "{anchored}");
}

#[test]
fn a_fitted_model_travels_with_a_merge() {
    let elsewhere = two_cards();
    predict(&elsewhere, &["--fit", "cards"]).succeeds();
    let here = Sandbox::new();
    predict(&here, &["--prior", "cards", "--model", "alpha5"]).refuses(&["no database"], &[]);
    let other = elsewhere.db();
    let merge = || said(&here.benchdb().arg("merge").arg(&other).succeeds());
    assert!(merge().contains("took 1 fitted model"));
    assert!(merge().contains("left out 1 fitted model"), "a name that is taken stays");
    let rows =
        |arguments: &[&str]| forecasts(&here, &[&["--model", "alpha5", "--device", "RTX 4090"], arguments].concat());
    assert_eq!(rows(&["--prior", "cards"])[0][RATE], rows(&[])[0][RATE], "the same rows, the same seed");
    predict(&here, &["--prior", "other", "--model", "alpha5"]).refuses(&["no fitted model `other`"], &["`cards`"]);
}

/// What a sceptic asks: nothing that is not known may look as if it were.
#[test]
fn questions_about_what_is_not_known_or_cannot_be_are_refused() {
    let sandbox = two_cards();
    let refuses = |arguments: &[&str], error: &[&str], hint: &[&str]| {
        predict(&sandbox, arguments).refuses(error, hint);
    };
    sandbox.write("bare.csv", "name,kind\nFooCard,gpu\n");
    let bare = ["--model", "alpha5", "--device", "FooCard", "--devices", "bare.csv"];
    refuses(&bare, &["nothing is known", "FooCard"], &["--probe"]);
    sandbox.write("misspelt.csv", "name,kind,banwidth\nFooCard,gpu,1\n");
    refuses(&["--model", "alpha5", "--devices", "misspelt.csv"], &["banwidth"], &["data/devices.csv"]);
    sandbox.write("absurd.csv", "name,kind,fp32_tflops\nFooCard,gpu,1e300\n");
    refuses(&["--model", "alpha5", "--devices", "absurd.csv"], &["FooCard", "number"], &["data/devices.csv"]);
    let mine = ["--model", "mine", "--hardware", "RTX 4090", "--batch-sizes", "64", "--multiply-adds"];
    for (work, option, value, what) in [
        ("5e9", "--parameter-count", "1e18", "parameters"),
        ("5e9", "--activation-count", "1e16", "activations"),
        ("5e9", "--input-shape", "3x99999999x99999999", "input"),
        ("1e30", "--parameter-count", "1e6", "multiply-adds"),
        ("0", "--parameter-count", "1e6", "--multiply-adds"),
    ] {
        refuses(&[&mine[..], &[work, option, value]].concat(), &[what], &[]);
    }
    refuses(&["--model", "alpha5", "--multiply-adds", "4e12"], &["alpha5", "not known"], &["leave it out"]);
    refuses(&["--model", "alpha5", "--device", "Quadro"], &["could be"], &["Quadro RTX"]);
    predict(&sandbox, &["--export", "model.json"]).succeeds();
    let model = sandbox.read("model.json").replace("\"settings\":[{", "\"settings\":[],\"others\":[{");
    sandbox.write("model.json", model);
    refuses(&["--model", "alpha5", "--model-file", "model.json"], &["no fitted model"], &["--export"]);
}

/// A card that nobody measured says how much fits into it, and one that was measured does, too.
#[test]
fn memory_of_a_card_is_what_its_data_sheet_says() {
    let sandbox = two_cards();
    let rows = forecasts(&sandbox, &["--model", "alpha5", "--hardware", "RTX 4090", "--batch-sizes", "256,100000000"]);
    assert_eq!(rows.iter().map(|row| row["fits"].as_str()).collect::<Vec<_>>(), [Some("yes"), Some("no")], "{rows:?}");
}
