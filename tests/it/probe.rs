//! `benchdb hardware --probe`: what is measured is real, what is kept is dated, and forecasts know a device by it.

use serde_json::Value;

use crate::predict::{RATE, forecasts, predict, table, two_cards};
use crate::support::{Expect as _, Sandbox, number, rows, said, skip, stderr_of};

/// A probe by the scripted engine, as the script says.
fn scripted(sandbox: &Sandbox) -> std::process::Command {
    let mut command = sandbox.benchdb();
    command.args(["hardware", "--probe", "--engine", "scripted", "--max-time", "0.1", "--format", "json"]);
    command
}

/// Puts a probe of a card into the database, as `hardware --probe` on a machine with that card would.
fn probed(sandbox: &Sandbox, card: &str, probed_at: &str, gflop: f64, bandwidth: f64) {
    let connection = sandbox.connection();
    connection
        .execute(
            "INSERT INTO device (kind, vendor, name, compute_units, memory_bytes, software)
             VALUES ('gpu', 'NVIDIA', ?1, NULL, 24000000000, 0) ON CONFLICT DO NOTHING",
            [card],
        )
        .unwrap();
    for precision in ["fp32", "fp16"] {
        connection
            .execute(
                "INSERT INTO device_probe (device_id, engine, probed_at, precision, peak_gflop_per_second,
                     copy_bandwidth_gb_per_second, tool_version)
                 SELECT id, 'burn-cuda', ?2, ?3, ?4, ?5, '0.1.0' FROM device WHERE name = ?1",
                (card, probed_at, precision, gflop, bandwidth),
            )
            .unwrap();
    }
}

#[test]
fn a_processor_is_measured_kept_and_shown() {
    let sandbox = Sandbox::new();
    let probe = || {
        let mut command = sandbox.benchdb();
        command.args(["hardware", "--probe", "--hardware", "cpu", "--engine", "flex", "--precision", "fp32"]);
        // It ends by itself, long before.
        command.args(["--max-time", "40", "--format", "json"]).json()
    };
    let measured = rows(&probe());
    assert_eq!(measured.len(), 1, "{measured:?}");
    let row = &measured[0];
    assert_eq!((row["engine"].as_str(), row["precision"].as_str()), (Some("burn-flex"), Some("fp32")));
    for rate in ["peak_gflop_per_second", "copy_bandwidth_gb_per_second"] {
        assert!(number(row, rate).is_finite() && number(row, rate) > 0.0, "{row}");
    }
    assert!(number(row, "matrix_side") >= 64.0 && number(row, "threads") >= 1.0, "{row}");
    assert_eq!(sandbox.count("SELECT count(*) FROM device_probe WHERE tool_version IS NOT NULL"), 1);
    // A second one stands beside the first, and is what is shown.
    let again = rows(&probe());
    assert_eq!(sandbox.count("SELECT count(*) FROM device_probe"), 2);
    assert_eq!(sandbox.count("SELECT count(*) FROM device"), 1);
    let shown = table(&sandbox.benchdb().args(["hardware", "--format", "json"]).json(), "probes");
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(shown[0]["peak_gflop_per_second"], again[0]["peak_gflop_per_second"]);
    assert_eq!(shown[0]["probed_at"], sandbox.value("SELECT max(probed_at) FROM device_probe"),);
    // It makes this machine known to forecasts, but the kind of device is still a new one.
    let asked = two_cards();
    let device = row["device"].as_str().unwrap();
    let ask = ["--model", "alpha5", "--device", device];
    if predict(&asked, &ask).outcome().status.code() != Some(2) || in_our_table(&asked, device) {
        skip("the processor of this machine is in data/devices.csv");
        return;
    }
    predict(&asked, &ask).refuses(&["no device `", "none is in the table"], &["--devices"]);
    std::fs::copy(sandbox.db(), asked.path("probes.sqlite")).unwrap();
    let merged = asked.benchdb().args(["merge", "probes.sqlite"]).succeeds();
    assert!(stderr_of(&merged).contains("took 2 probes of devices"), "{}", said(&merged));
    predict(&asked, &ask).refuses(&["no cpu whose rates are known was ever measured"], &["--extrapolate"]);
    let far = forecasts(&asked, &[&ask[..], &["--extrapolate"]].concat());
    assert_eq!(far[0]["tier"], "D");
}

/// Whether a device is known by its data sheet: a new kind of device is what is refused then.
fn in_our_table(sandbox: &Sandbox, device: &str) -> bool {
    let output = predict(sandbox, &["--model", "alpha5", "--device", device]).outcome();
    stderr_of(&output).contains("was ever measured")
}

#[test]
fn what_was_found_before_a_worker_died_or_hung_is_kept_with_the_reason() {
    for (script, reason) in [
        (r#"{"rates": [100, 20], "fault": "abort"}"#, "SIGABRT"),
        (r#"{"rates": [100, 20], "sleep_ms": 600000}"#, "given up"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.script(script);
        let output = scripted(&sandbox).succeeds();
        assert!(stderr_of(&output).contains(reason), "{}", said(&output));
        let row = &sandbox.sql("SELECT * FROM device_probe")[0];
        assert_eq!(
            (row["copy_bandwidth_gb_per_second"].as_f64(), &row["peak_gflop_per_second"]),
            (Some(20.0), &Value::Null)
        );
    }
}

#[test]
fn nothing_measured_is_nothing_kept() {
    let sandbox = Sandbox::new();
    for script in [r#"{"rates": [100, 20], "fault": "error"}"#, r#"{"rates": [100, 20], "fault": "panic"}"#, "{}"] {
        sandbox.script(script);
        let output = scripted(&sandbox).ends_with(1);
        assert!(stderr_of(&output).contains("the script"), "{}", said(&output));
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM device_probe"), 0);
    let output = scripted(&sandbox).args(["--precision", "fp16,int8w"]).ends_with(1);
    assert!(stderr_of(&output).contains("does not compute in it") && stderr_of(&output).contains("int8w"));
    let output = sandbox.benchdb().args(["hardware", "--probe", "--hardware", "tpu"]).ends_with(1);
    assert!(stderr_of(&output).contains("left out tpu"), "{}", said(&output));
    sandbox.benchdb().args(["hardware", "--probe", "--engine", "nonesuch"]).refuses(&["`nonesuch`"], &["burn-flex"]);
    sandbox.benchdb().args(["hardware", "--probe", "--max-time", "0.01"]).ends_with(2);
    sandbox.benchdb().args(["hardware", "--engine", "flex"]).ends_with(2);
}

#[test]
fn software_is_left_out_of_probes_unless_it_is_asked_for_and_of_forecasts_always() {
    let sandbox = two_cards();
    sandbox.script(r#"{"rates": [100, 20]}"#);
    scripted(&sandbox).succeeds();
    assert_eq!(sandbox.count("SELECT software FROM device WHERE name = 'scripted test device'"), 1);
    predict(&sandbox, &["--model", "alpha5", "--device", "scripted test device"])
        .refuses(&["`scripted test device`"], &["--devices"]);
}

#[test]
fn a_probe_makes_an_unknown_card_known() {
    let sandbox = two_cards();
    let ask = ["--model", "beta3", "--device", "Odd Card 7"];
    predict(&sandbox, &ask).refuses(&["`Odd Card 7`"], &["--devices"]);
    probed(&sandbox, "Odd Card 7", "2026-11-20T08:00:00.000Z", 20_000.0, 400.0);
    let slow = forecasts(&sandbox, &ask);
    assert_eq!(slow[0]["tier"], "C");
    assert!(slow[0]["outside"].as_str().unwrap().contains("data sheets"), "{}", slow[0]);
    let notes = stderr_of(&predict(&sandbox, &ask).succeeds());
    assert!(notes.contains("`Odd Card 7` is known by the rates"), "{notes}");
    // The newest probe counts: twice the rates are twice as fast, less what a batch takes in any case.
    probed(&sandbox, "Odd Card 7", "2026-11-21T08:00:00.000Z", 40_000.0, 800.0);
    let fast = forecasts(&sandbox, &ask);
    let ratio = number(&fast[0], RATE) / number(&slow[0], RATE);
    assert!((1.5..=2.2).contains(&ratio), "{ratio}");
    // The user's data sheet goes before, and no scales are mixed then.
    sandbox.write(
        "mine.csv",
        "name,kind,vendor,fp32_tflops,fp16_tflops,bandwidth_gb_per_second\nOdd Card,gpu,NVIDIA,20,40,400\n",
    );
    let sheet = forecasts(&sandbox, &[&ask[..], &["--devices", "mine.csv"]].concat());
    assert_eq!(sheet[0]["outside"], "");
    let width = |row: &Value| number(row, &format!("{RATE}_high_90")) / number(row, &format!("{RATE}_low_90"));
    assert!(width(&sheet[0]) < width(&slow[0]), "{} {}", sheet[0], slow[0]);
    let answer = sandbox
        .benchdb()
        .args(["recommend", "--model", "beta3", "--device", "Odd Card 7", "--include-predicted", "--format", "json"])
        .json();
    assert_eq!(table(&answer, "recommendations")[0]["source"], "predicted (C)");
}

#[test]
fn a_known_card_keeps_its_data_sheet_and_a_fitted_model_its_rates() {
    let sandbox = two_cards();
    let ask = |arguments: &[&str]| forecasts(&sandbox, &[&["--model", "beta3"], arguments].concat());
    let before = ask(&["--device", "RTX 4090"]);
    probed(&sandbox, "NVIDIA GeForce RTX 4090", "2026-11-20T08:00:00.000Z", 1.0, 1.0);
    assert_eq!(ask(&["--device", "RTX 4090"]), before);
    // A device that was measured, and that no table knows; a model is fitted without its rates.
    sandbox.connection().execute("UPDATE device SET name = 'Odd Card 7' WHERE name LIKE '%3090'", []).unwrap();
    predict(&sandbox, &["--fit"]).succeeds();
    let fitted = ask(&["--device", "Odd Card 7", "--prior"]);
    probed(&sandbox, "Odd Card 7", "2026-11-20T08:00:00.000Z", 20_000.0, 400.0);
    assert_eq!(ask(&["--device", "Odd Card 7", "--prior"]), fitted, "rates that the model was not fitted with");
    // What is fitted now knows the rates, and what was measured on the card still holds.
    let again = number(&ask(&["--device", "Odd Card 7"])[0], RATE) / number(&fitted[0], RATE);
    assert!((0.8..=1.25).contains(&again), "{again}");
}
