//! Telemetry: the readings of the sensors beside a run, and what becomes of them.

use serde_json::Value;

use crate::support::{Expect as _, Sandbox, number, stderr_of};

/// A run of half a second, read every 20 ms.
const WATCHED: [&str; 8] =
    ["--hardware", "cpu", "--iterations", "3", "--min-time", "500ms", "--telemetry-interval", "20ms"];

/// A folder with such a run.
fn watched() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.benchdb().args(["run", "--model", "cifar_cnn"]).args(WATCHED).succeeds();
    sandbox
}

#[test]
fn readings_are_kept_beside_the_run() {
    let sandbox = watched();
    let sensors = sandbox.sql(
        "SELECT sensor, unit, count(*) AS readings, min(offset_ms) AS first, max(offset_ms) AS last,
             min(value) AS least, max(value) AS most
         FROM telemetry GROUP BY sensor, unit ORDER BY sensor",
    );
    let of = |name: &str| sensors.iter().find(|row| row["sensor"] == name).unwrap_or_else(|| panic!("no {name}"));
    for (sensor, unit) in [("cpu_utilization", "%"), ("host_memory_used", "MB"), ("host_load", "1")] {
        let row = of(sensor);
        assert_eq!(row["unit"], unit);
        assert!(number(row, "readings") >= 5.0, "{row}");
        assert!(number(row, "first") < 0.0, "from before the first sample: {row}");
        assert!(number(row, "last") > 250.0, "to the last: {row}");
        assert!(number(row, "least") >= 0.0, "{row}");
    }
    assert!(number(of("cpu_utilization"), "most") <= 100.0);
    let total = number(&sandbox.sql("SELECT host_memory_bytes FROM environment")[0], "host_memory_bytes") / 1e6;
    let memory = of("host_memory_used");
    assert!(number(memory, "least") > 0.0 && number(memory, "most") <= total, "{memory} of {total} MB");
    let row = &sandbox.sql("SELECT * FROM results")[0];
    let (busy, lowest, highest) = (
        number(row, "cpu_utilization_percent"),
        number(of("cpu_utilization"), "least"),
        number(of("cpu_utilization"), "most"),
    );
    assert!(
        busy > 0.0 && (lowest - 1e-9..=highest + 1e-9).contains(&busy),
        "{busy} is no mean of {lowest} to {highest}"
    );
}

#[test]
fn offsets_go_up_and_each_has_a_value() {
    let sandbox = watched();
    let series = sandbox.sql("SELECT * FROM telemetry_series");
    assert!(series.len() >= 3);
    for row in series {
        let array = |column: &str| -> Vec<f64> { serde_json::from_str(row[column].as_str().unwrap()).unwrap() };
        let columns: Vec<&String> = row.as_object().unwrap().keys().collect();
        let offsets = array(columns.iter().find(|name| name.starts_with("offset")).unwrap());
        let values = array(columns.iter().find(|name| name.starts_with("value")).unwrap());
        assert_eq!(offsets.len(), values.len(), "{row}");
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{row}");
        // 20 ms and not the usual 100: half a second holds more than ten of them even where others take their time.
        assert!(offsets.iter().filter(|offset| **offset > 0.0).count() > 6, "{row}");
    }
}

#[test]
fn an_interval_of_zero_reads_nothing() {
    let sandbox = Sandbox::new();
    sandbox.quick("cifar_cnn").args(["--telemetry-interval", "0"]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM telemetry_series"), 0);
    let row = &sandbox.sql("SELECT * FROM results")[0];
    assert_eq!(row["status"], "ok");
    for metric in
        ["cpu_utilization_percent", "power_mean_w", "power_idle_w", "energy_per_sample_j", "temperature_max_c"]
    {
        assert_eq!(row[metric], Value::Null, "{metric}");
    }
}

#[test]
fn work_that_is_not_done_has_no_telemetry() {
    let sandbox = Sandbox::new();
    sandbox.scripted().succeeds();
    sandbox.quick("cifar_cnn").args(["--precision", "int8"]).ends_with(1);
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 2);
    assert_eq!(sandbox.count("SELECT count(*) FROM telemetry_series"), 0);
    assert_eq!(sandbox.value("SELECT count(cpu_utilization_percent) AS n FROM results"), 0);
}

#[test]
fn energy_needs_a_window_to_be_trusted() {
    let sandbox = watched();
    let row = &sandbox.sql("SELECT * FROM results")[0];
    assert_eq!(row["energy_per_sample_j"], Value::Null, "half a second is too short");
    let power = sandbox.count("SELECT count(*) FROM telemetry WHERE sensor = 'cpu_package_power'");
    assert_eq!(row["power_mean_w"].is_number(), power > 0, "power is there if a sensor told it, and not otherwise");
}

#[test]
fn an_interval_is_a_time() {
    let sandbox = Sandbox::new();
    for wrong in ["soon", "-1", "NaN", "1e400"] {
        let output = sandbox.quick("cifar_cnn").arg(format!("--telemetry-interval={wrong}")).ends_with(2);
        let stderr = stderr_of(&output);
        assert!(stderr.starts_with("error: ") && stderr.contains("--telemetry-interval"), "{wrong}: {stderr}");
    }
    assert!(sandbox.listing().is_empty());
}

#[test]
fn the_readings_are_no_part_of_the_configuration() {
    let sandbox = Sandbox::new();
    sandbox.quick("cifar_cnn").args(["--telemetry-interval", "0"]).succeeds();
    sandbox.quick("cifar_cnn").args(["--telemetry-interval", "10ms"]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM configuration"), 1);
    assert!(sandbox.count("SELECT count(*) FROM telemetry WHERE run_id = 2") > 0);
}

#[test]
fn what_was_read_travels() {
    let here = Sandbox::new();
    here.optimized("prune", &["--amount", "0.5"], "sparse.safetensors");
    here.quick("sparse=cifar_cnn:sparse.safetensors").args(["--precision", "fp32,int8w,int8"]).succeeds();
    here.quick("t5-small").args(["--generate", "2"]).succeeds();
    let export = here.export();
    let there = Sandbox::new();
    there.write("runs.json", &export);
    there.benchdb().args(["import", "runs.json"]).succeeds();
    assert!(there.export() == export, "the second export differs from the first");
    for relation in ["telemetry", "extra_metric", "results", "sample"] {
        let query = format!("SELECT * FROM {relation} ORDER BY 1, 2, 3");
        let rows = here.sql(&query);
        assert!(rows.len() > 3, "{relation}");
        assert_eq!(there.sql(&query), rows, "{relation}");
    }
    let names: Vec<Value> = there
        .sql("SELECT DISTINCT name FROM extra_metric ORDER BY name")
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(
        names,
        [
            "decode_tokens_per_second",
            "fidelity_top1_agreement",
            "multiply_adds",
            "nonzero_share",
            "parameter_count",
            "prefill_tokens_per_second",
        ]
    );
}
