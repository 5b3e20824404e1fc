//! `benchdb analyze`: configurations side by side: speed-ups, geometric means, scaling, rankings.

use serde_json::Value;

use crate::made::{FIVE, Made, all_taking, close, table, times};
use crate::support::{Expect as _, Sandbox, said, stderr_of, stdout_of};

fn analysis(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    sandbox.benchdb().args(["analyze", "--format", "json"]).args(arguments).json()
}

#[test]
fn speed_ups_are_relative_to_the_processor() {
    let sandbox = Sandbox::new();
    sandbox.take(&[
        Made::taking(100.0).device("cpu", "Slow CPU"),
        Made::taking(80.0).device("cpu", "Fast CPU"),
        // Faster still, but fp32 goes first.
        Made::taking(50.0).device("cpu", "Fast CPU").with("/configuration/precision", "bf16"),
        Made::taking(10.0).metric("energy_per_sample_j", 0.5).metric("memory_device_peak_mb", 300.0),
        Made::taking(30.0).model("alone"),
    ]);
    let document = analysis(&sandbox, &[]);
    let comparison = table(&document, "comparison");
    assert_eq!(comparison.len(), 5);
    let of = |milliseconds: f64| {
        comparison.iter().find(|row| row["latency_p50_ms"] == milliseconds).unwrap_or_else(|| panic!("{document}"))
    };
    close(&of(10.0)["speed_up"], 8.0);
    close(&of(100.0)["speed_up"], 0.8);
    close(&of(50.0)["speed_up"], 1.6);
    close(&of(80.0)["speed_up"], 1.0);
    assert!(of(10.0)["reference"].as_str().unwrap().starts_with("cpu, Fast CPU, pytorch, fp32"), "it is named");
    assert!(of(30.0)["speed_up"].is_null(), "nobody did that on a processor");
    close(&of(10.0)["energy_per_sample_j"], 0.5);
    close(&of(10.0)["memory_device_peak_mb"], 300.0);
    let output = sandbox.benchdb().arg("analyze").succeeds();
    assert!(stdout_of(&output).contains("8.000 x") && stdout_of(&output).contains("reference"), "{}", said(&output));
}

#[test]
fn another_reference_can_be_chosen() {
    let sandbox = Sandbox::new();
    let on = |name: &str, time: f64| Made::taking(time).device("cuda", name);
    sandbox.take(&[
        on("RTX 3090", 20.0),
        on("RTX 4090", 10.0),
        on("RTX 4090", 8.0).with("/configuration/engine", "tract"),
    ]);
    for (reference, expected) in [
        ("device=3090", [1.0, 2.0, 2.5]),
        ("device=4090,engine=pytorch", [0.5, 1.0, 1.25]),
        ("engine=tract", [0.4, 0.8, 1.0]),
        ("cuda", [0.4, 0.8, 1.0]),
        ("hardware=cuda", [0.4, 0.8, 1.0]),
    ] {
        let document = analysis(&sandbox, &["--relative-to", reference]);
        for (time, expected) in [20.0, 10.0, 8.0].iter().zip(expected) {
            let rows = table(&document, "comparison");
            close(&rows.iter().find(|row| row["latency_p50_ms"] == *time).unwrap()["speed_up"], expected);
        }
    }
    let output = sandbox.benchdb().args(["analyze", "--relative-to", "colour=red"]).outcome();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr_of(&output).contains("`colour` is no part of a configuration"), "{}", said(&output));
}

#[test]
fn a_reference_that_nothing_has_is_noticed() {
    let sandbox = Sandbox::new();
    sandbox.take(&[Made::taking(10.0)]);
    for wrong in ["cqu", "device=1080"] {
        let output = sandbox.benchdb().args(["analyze", "--relative-to", wrong]).outcome();
        let words = stderr_of(&output);
        assert!(
            words.contains("no ") && words.contains(wrong.split('=').next_back().unwrap()),
            "{wrong}: {}",
            said(&output)
        );
    }
}

#[test]
fn geometric_means_are_of_what_both_did() {
    let sandbox = Sandbox::new();
    let both = |model: &str, before: &[f64], after: &[f64]| -> Vec<Made> {
        let on = |times: &[f64], name: &str| {
            all_taking(times).into_iter().map(|run| run.model(model).device("cuda", name)).collect::<Vec<_>>()
        };
        [on(before, "Old"), on(after, "New")].concat()
    };
    sandbox.take(
        &[
            both("a", &times(&FIVE, 2.0), &FIVE),
            both("b", &times(&FIVE, 8.0), &FIVE),
            both("c", &FIVE, &[]),
            both("d", &[], &FIVE),
        ]
        .concat(),
    );
    let document = analysis(&sandbox, &["--relative-to", "device=old", "--sections", "overall,rankings"]);
    let overall = table(&document, "overall");
    assert_eq!(overall.len(), 1);
    assert_eq!(overall[0]["matched"], 2);
    close(&overall[0]["geometric_mean_speed_up"], 4.0);
    close(&overall[0]["median"], 5.0);
    let (low, high) = (overall[0]["low"].as_f64().unwrap(), overall[0]["high"].as_f64().unwrap());
    assert!(low < 4.0 && 4.0 < high && low > 3.8 && high < 4.2, "{low} to {high}");
    let again = analysis(&sandbox, &["--relative-to", "device=old", "--sections", "overall,rankings"]);
    assert_eq!(again, document, "the seed of the bootstrap is fixed");
}

#[test]
fn the_key_of_a_section_does_not_depend_on_the_others() {
    let sandbox = Sandbox::with_a_run();
    for section in ["comparison", "overall", "rankings"] {
        let document = analysis(&sandbox, &["--sections", section]);
        assert!(document.get(section).is_some(), "a program must know where to look: {document}");
    }
}

#[test]
fn a_section_that_is_asked_for_by_name_is_there() {
    let sandbox = Sandbox::with_a_run();
    sandbox.scripted().arg("--training-mode").succeeds();
    let output = sandbox.benchdb().args(["analyze", "--sections", "training"]).succeeds();
    assert!(stdout_of(&output).contains("Training and inference"), "an empty answer is none: {}", said(&output));
}

#[test]
fn scaling_knows_the_best_batch_and_the_knee() {
    let sandbox = Sandbox::new();
    // 100, 195, 300 and 310 samples a second.
    let sized = |size: u32, rate: f64| Made::taking(f64::from(size) * 1e3 / rate).batch(size);
    sandbox.take(&[sized(1, 100.0), sized(2, 195.0), sized(4, 300.0), sized(8, 310.0)]);
    let document = analysis(&sandbox, &[]);
    let scaling = &table(&document, "batch_size_scaling")[0];
    assert_eq!(scaling["batch_sizes"], "1 2 4 8");
    close(&scaling["best_samples_per_second"], 310.0);
    assert_eq!(scaling["best_batch"], 8);
    assert_eq!(scaling["knee_batch"], 4, "300 is more than 90 per cent of 310");
}

#[test]
fn rankings_leave_software_out() {
    let sandbox = Sandbox::new();
    sandbox.take(&[
        Made::taking(10.0).metric("memory_device_peak_mb", 100.0),
        Made::taking(20.0).device("cuda", "Second").metric("memory_device_peak_mb", 50.0),
        Made::taking(1.0).device("vulkan", "llvmpipe").with("/configuration/device/software", true),
    ]);
    let first = |document: &Value, criterion: &str| {
        let rows = table(document, "rankings");
        let row = rows.iter().find(|row| row["place"] == 1 && row["criterion"].as_str().unwrap().contains(criterion));
        row.unwrap_or_else(|| panic!("{criterion}: {document}"))["device"].as_str().unwrap().to_owned()
    };
    let document = analysis(&sandbox, &[]);
    assert_eq!(first(&document, "fastest"), "RTX Made");
    assert_eq!(first(&document, "throughput"), "RTX Made");
    assert_eq!(first(&document, "memory"), "Second");
    assert_eq!(first(&analysis(&sandbox, &["--include-software"]), "fastest"), "llvmpipe", "it was asked for");
}

#[test]
fn medians_and_intervals_say_what_they_are_of() {
    let sandbox = Sandbox::new();
    let model =
        |times: &[f64], name: &str| all_taking(times).into_iter().map(|run| run.model(name)).collect::<Vec<_>>();
    sandbox.take(
        &[
            model(&[10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0], "seven"),
            model(&[10.0, 11.0, 14.0], "three"),
            model(&[10.0], "one"),
        ]
        .concat(),
    );
    let document = analysis(&sandbox, &[]);
    let of = |model: &str| table(&document, "comparison").into_iter().find(|row| row["model"] == model).unwrap();
    close(&of("seven")["latency_p50_ms"], 13.0);
    assert_eq!((&of("seven")["interval_of"], &of("seven")["runs"]), (&"runs".into(), &7.into()));
    assert_eq!((&of("three")["interval_of"], &of("three")["latency_high_ms"]), (&"range".into(), &14.0.into()));
    assert!(of("one")["interval_of"].is_null() && of("one")["latency_low_ms"].is_null());
}

#[test]
fn formats_of_verdicts_need_something_to_judge() {
    let sandbox = Sandbox::with_a_run();
    for format in ["junit", "github"] {
        sandbox
            .benchdb()
            .args(["analyze", "--format", format])
            .refuses(&["format"], &["--compare-to", "benchdb regress"]);
    }
}

#[test]
fn an_analysis_is_written_in_every_format() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    for (file, beginning) in [("a.csv", "model,variant,"), ("a.json", "{"), ("a.md", "**Comparison")] {
        let output = sandbox.benchdb().args(["analyze", "--output", file, "--output-ci", "ci.json"]).succeeds();
        assert!(output.stdout.is_empty(), "{}", said(&output));
        assert!(sandbox.read(file).starts_with(beginning), "{file}: {}", sandbox.read(file));
        let document: Value = serde_json::from_str(&sandbox.read("ci.json")).unwrap();
        assert_eq!((&document["schema"], &document["kind"]), (&"benchdb/1".into(), &"analysis".into()));
    }
    let csv = sandbox.read("a.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.records().map(Result::unwrap).count(), 1, "one table a file: {csv}");
}
