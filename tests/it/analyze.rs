//! `benchdb analyze`: configurations side by side, and against a file; the answers for timm's results.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::made::{FIVE, Made, all_taking, close, of_campaign, only_verdict, table, times, verdicts};
use crate::support::{Expect as _, Sandbox, json_of, root, rows, said, skip, stderr_of, stdout_of};

fn analysis(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    sandbox.benchdb().args(["analyze", "--format", "json"]).args(arguments).json()
}

/// `analyze --compare-to FILE` of the label `after`, in JSON.
#[track_caller]
fn against(sandbox: &Sandbox, file: &str, arguments: &[&str], code: i32) -> Value {
    let mut command = sandbox.benchdb();
    command.args(["analyze", "--label", "after", "--compare-to", file, "--format", "json"]).args(arguments);
    json_of(&command.ends_with(code))
}

/// A database with five runs of the label `after`, with a median of 12.24 ms, and a file beside it.
fn with_file(content: impl AsRef<[u8]>) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.take(&of_campaign(all_taking(&times(&FIVE, 1.2)), 2, "after"));
    sandbox.write("base.csv", content);
    sandbox
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
fn every_kind_of_file_is_a_baseline() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    for (file, format) in [("runs.csv", "csv"), ("runs.json", "json")] {
        sandbox.benchdb().args(["export", "--label", "before", "--format", format, "--output", file]).succeeds();
        let document = against(&sandbox, file, &[], 1);
        let verdict = only_verdict(&document);
        assert_eq!(verdict["evidence"], "two_samples", "{file}: five runs a side");
        assert_eq!(verdict["verdict"], "regressed");
        close(&verdict["effect"], 1.2_f64.ln());
        close(&verdict["p_value"], 2.0 / 252.0);
        assert_eq!(document["by_threshold"], 0);
    }
    sandbox.benchdb().args(["analyze", "--label", "before", "--output", "analysis.csv"]).succeeds();
    sandbox.write("hand.csv", "model,batch_size,latency_p50_ms\nresnet18,1,10.2\n");
    for file in ["analysis.csv", "hand.csv"] {
        let document = against(&sandbox, file, &[], 1);
        let verdict = only_verdict(&document);
        assert_eq!(verdict["evidence"], "threshold_only", "{file}: a file without spread");
        assert_eq!(verdict["verdict"], "regressed");
        close(&verdict["effect"], 1.2_f64.ln());
        assert!(verdict["p_value"].is_null() && verdict["effect_low"].is_null(), "{verdict}");
        assert_eq!(document["by_threshold"], 1);
        let output = sandbox.benchdb().args(["analyze", "--label", "after", "--compare-to", file]).ends_with(1);
        assert!(stdout_of(&output).contains("1 judged by the threshold alone"), "{file}: {}", said(&output));
        assert!(stdout_of(&output).contains("chance was not ruled out"), "{file}: {}", said(&output));
    }
    // What a file does not tell is not matched, and that is said.
    let notes = against(&sandbox, "hand.csv", &[], 1)["notes"].to_string();
    assert!(notes.contains("not matched on") && notes.contains("precision"), "{notes}");
}

#[test]
fn regress_and_analyze_judge_alike() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    sandbox.benchdb().args(["export", "--label", "before", "--output", "runs.csv"]).succeeds();
    let arguments = ["--label", "after", "--compare-to", "runs.csv", "--format", "json"];
    let by_analyze = sandbox.benchdb().arg("analyze").args(arguments).ends_with(1).stdout;
    let by_regress = sandbox.benchdb().args(["regress", "--no-record"]).args(arguments).ends_with(1).stdout;
    assert_eq!(by_analyze, by_regress);
}

#[test]
fn runs_of_the_file_are_no_candidates() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    for file in ["base.csv", "base.json"] {
        sandbox.benchdb().args(["export", "--label", "before", "--output", file]).succeeds();
        for more in [&[][..], &["--all-runs"]] {
            let output =
                sandbox.benchdb().args(["analyze", "--compare-to", file, "--format", "json"]).args(more).ends_with(1);
            let document = json_of(&output);
            let verdict = only_verdict(&document);
            assert_eq!((&verdict["baseline"]["runs"], &verdict["candidate"]["runs"]), (&5.into(), &5.into()));
            assert!(
                document["notes"].to_string().contains("5 runs are on the side of the baseline alone"),
                "{document}"
            );
        }
    }
    // All of them: nothing is left to be judged, and that does not pass.
    sandbox.benchdb().args(["export", "--output", "all.json"]).succeeds();
    let output = sandbox.benchdb().args(["analyze", "--compare-to", "all.json"]).ends_with(3);
    assert!(stderr_of(&output).contains("nothing could be judged"), "{}", said(&output));
}

#[test]
fn a_file_with_repetitions_is_tested() {
    let lines: Vec<String> = FIVE.iter().enumerate().map(|(index, time)| format!("resnet18,{index},{time}")).collect();
    let sandbox = with_file(format!("model,repetition,latency_p50_ms\n{}\n", lines.join("\n")));
    let verdict = only_verdict(&against(&sandbox, "base.csv", &[], 1));
    assert_eq!(verdict["evidence"], "two_samples");
    assert_eq!(verdict["baseline"]["runs"], 5);
}

#[test]
fn columns_that_nobody_knows_are_passed_over_aloud() {
    let sandbox = with_file("model,colour,latency_p50_ms,mood\nresnet18,red,10.2,good\n");
    let document = against(&sandbox, "base.csv", &[], 1);
    let notes = document["notes"].to_string();
    assert!(notes.contains("colour, mood"), "{notes}");
    let output = sandbox.benchdb().args(["analyze", "--label", "after", "--compare-to", "base.csv"]).ends_with(1);
    assert!(said(&output).contains("colour, mood"), "{}", said(&output));
}

#[test]
fn other_units_are_refused() {
    for (header, ours) in [
        ("model,latency_p50_s", "latency_p50_ms"),
        ("model,latency_p50_us", "latency_p50_ms"),
        ("model,batch_size,latency_mean_ns", "latency_mean_ms"),
        ("model,latency_p50_ms,memory_device_peak_gb", "memory_device_peak_mb"),
    ] {
        let sandbox = with_file(format!("{header}\nresnet18{}\n", ",1".repeat(header.matches(',').count())));
        let wrong = header.rsplit(',').next().unwrap();
        sandbox
            .benchdb()
            .args(["analyze", "--label", "after", "--compare-to", "base.csv"])
            .refuses(&[&format!("`{wrong}`"), "another unit", &format!("`{ours}`")], &[]);
    }
}

#[test]
fn duplicate_keys_are_refused_with_their_lines() {
    let sandbox =
        with_file("model,batch_size,latency_p50_ms\nresnet18,1,10.2\nvgg,1,3\nresnet18,1,9\nresnet18,1.0,8\n");
    let mut command = sandbox.benchdb();
    command.args(["analyze", "--label", "after", "--compare-to", "base.csv"]);
    // Which of the three counts nobody knows, so that there is nothing left to compare with.
    let output = command.ends_with(3);
    let words = stderr_of(&output);
    for line in [2, 4, 5] {
        assert!(words.contains(&format!("refused: base.csv:{line}: ")), "line {line}: {words}");
    }
    assert!(words.contains("same configuration as line 2"), "{words}");
    assert!(said(&output).contains("3 rows of `base.csv` were refused"), "{}", said(&output));
    let sandbox = with_file("model,repetition,latency_p50_ms\nresnet18,1,10.2\nresnet18,2,10.3\nresnet18,1,99\n");
    let output = sandbox.benchdb().args(["analyze", "--label", "after", "--compare-to", "base.csv"]).ends_with(1);
    assert!(stderr_of(&output).contains("base.csv:4: it is the same run as line 2"), "{}", said(&output));
}

#[test]
fn a_run_that_is_twice_in_an_export_counts_once() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    sandbox.benchdb().args(["export", "--label", "before", "--output", "runs.csv"]).succeeds();
    let csv = sandbox.read("runs.csv");
    let first = csv.lines().nth(1).unwrap();
    sandbox.write("runs.csv", format!("{csv}{first}\n"));
    let output = sandbox.benchdb().args(["analyze", "--label", "after", "--compare-to", "runs.csv"]).ends_with(1);
    assert!(stderr_of(&output).contains("runs.csv:7: "), "with its line: {}", said(&output));
    assert_eq!(only_verdict(&against(&sandbox, "runs.csv", &[], 1))["baseline"]["runs"], 5);
}

#[test]
fn numbers_that_nobody_measured_are_refused() {
    for wrong in ["NaN", "-1", "inf", "-inf", "1e999", "fast", "10 ms", "1,5"] {
        let sandbox = with_file(format!("model,latency_p50_ms\nresnet18,\"{wrong}\"\nvgg,1\n"));
        let output = sandbox.benchdb().args(["analyze", "--label", "after", "--compare-to", "base.csv"]).ends_with(3);
        let words = stderr_of(&output);
        assert!(words.contains("refused: base.csv:2: ") && words.contains(&format!("`{wrong}`")), "{wrong}: {words}");
    }
    // Zero is measured and has no ratio to anything; nothing is no number.
    for nothing in ["0", ""] {
        let sandbox = with_file(format!("model,latency_p50_ms\nresnet18,{nothing}\n"));
        against(&sandbox, "base.csv", &[], 3);
    }
    let sandbox = with_file(
        "model,batch_size,threads,latency_p50_ms\nresnet18,1.5,0,1\nresnet18,1,-1,1\nresnet18,x,0,1\n,1,0,1\nresnet18,1,0\nresnet18,1,0,10.2\n",
    );
    let document = against(&sandbox, "base.csv", &[], 1);
    assert!(document["notes"].to_string().contains("5 rows of `base.csv` were refused"), "{document}");
}

#[test]
fn no_overlap_does_not_pass() {
    let sandbox = with_file("model,latency_p50_ms\nvgg,10.2\n");
    let document = against(&sandbox, "base.csv", &[], 3);
    let mut found: Vec<String> =
        verdicts(&document).iter().map(|verdict| verdict["verdict"].as_str().unwrap().to_owned()).collect();
    found.sort();
    assert_eq!(found, ["missing", "new"]);
    let output = sandbox.benchdb().args(["analyze", "--label", "after", "--compare-to", "base.csv"]).ends_with(3);
    assert!(stderr_of(&output).contains("nothing could be judged"), "{}", said(&output));
    // Rows that do not speak of the metric that was asked for.
    let sandbox = with_file("model,latency_p50_ms,memory_device_peak_mb\nresnet18,10.2,\n");
    against(&sandbox, "base.csv", &["--metrics", "memory"], 3);
    // Nor do the rows that are not there.
    let sandbox = with_file("model,latency_p50_ms\n");
    against(&sandbox, "base.csv", &[], 3);
}

#[test]
fn what_is_no_table_is_refused() {
    let sandbox = with_file("");
    let compare = |file: &str| {
        let mut command = sandbox.benchdb();
        command.args(["analyze", "--compare-to", file]);
        command
    };
    compare("base.csv").refuses(&["`base.csv`"], &[]);
    compare("nowhere.csv").refuses(&["cannot read `nowhere.csv`", "No such file"], &["path"]);
    compare("tmp").refuses(&["`tmp`", "directory"], &[]);
    compare("benchdb.sqlite").refuses(&["`benchdb.sqlite`"], &[]);
    let mut unclear = Vec::new();
    for (content, words) in [
        (&b"\x7fELF\x02\x01\x01\x00\x00\x00"[..], "`base.csv`"),
        (b"\x00\x00\x00\x00", "`base.csv`"),
        (b"\n\n\n", "`base.csv`"),
        (b"just some words\n", "`base.csv`"),
        (b"{", "`base.csv`"),
        (b"[]", "`base.csv`"),
        (b"{\"schema\":\"benchdb/2\",\"kind\":\"runs\",\"runs\":[]}", "`base.csv`"),
        (b"{\"schema\":\"benchdb/1\",\"kind\":\"runs\",\"runs\":[", "`base.csv`"),
        (b"model,speed\nresnet18,10\n", "`base.csv`"),
        (b"name,latency_p50_ms\nresnet18,10\n", "model"),
        (b"model,latency_p50_ms,model\nresnet18,10,x\n", "twice"),
        (b"model,latency_p50_ms,latency_p50_ms\nresnet18,10,11\n", "twice"),
    ] {
        sandbox.write("base.csv", content);
        let output = compare("base.csv").outcome();
        let is_clear = output.status.code() == Some(2)
            && [words, "error: ", "hint: "].iter().all(|word| stderr_of(&output).contains(word))
            // No option of this command.
            && !stderr_of(&output).contains("--map");
        if !is_clear {
            unclear.push(format!("{}: {}", String::from_utf8_lossy(content), said(&output)));
        }
    }
    assert!(unclear.is_empty(), "{}", unclear.join("\n\n"));
    // A metric that the file does not have.
    sandbox.write("base.csv", "model,latency_p50_ms\nresnet18,10\n");
    compare("base.csv").args(["--metrics", "energy"]).refuses(&["energy_per_sample_j", "`base.csv`"], &[]);
}

#[test]
fn what_spreadsheets_write_is_read() {
    for content in [
        "\u{feff}model,latency_p50_ms\r\nresnet18,10.2\r\n",
        "model, latency_p50_ms\nresnet18, 10.2\n",
        "\"model\",\"latency_p50_ms\"\n\"resnet18\",\"10.2\"\n",
        "model;latency_p50_ms\nresnet18;10.2\n",
        "model\tlatency_p50_ms\nresnet18\t10.2\n",
    ] {
        let sandbox = with_file(content);
        let verdict = only_verdict(&against(&sandbox, "base.csv", &[], 1));
        close(&verdict["effect"], 1.2_f64.ln());
    }
}

#[test]
fn what_is_said_keeps_the_names_of_columns() {
    let sandbox = with_file("model,batch_size,throughput_samples_per_second\nresnet18,8,100\n");
    let output = sandbox
        .benchdb()
        .args(["analyze", "--label", "after", "--compare-to", "base.csv", "--ignore", "batch_size"])
        .ends_with(1);
    let printed = stdout_of(&output);
    assert!(printed.contains("batch_size differs in 1 of the matched pairs"), "no `Batch_size`: {printed}");
}

#[test]
fn whatever_file_is_named_nothing_panics() {
    let sandbox = Sandbox::with_a_run();
    let mut files = Vec::new();
    let mut folders = vec![root().join("fixtures"), root().join("data"), root().join("queries")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 20);
    for file in files {
        let output = sandbox.benchdb().args(["analyze", "--format", "json", "--compare-to"]).arg(&file).outcome();
        let name = file.display();
        assert!(matches!(output.status.code(), Some(0..=3)), "{name}: {}", said(&output));
        if output.status.code() == Some(2) {
            assert!(
                stderr_of(&output).contains(file.file_name().unwrap().to_str().unwrap()),
                "{name}: {}",
                said(&output)
            );
            assert!(output.stdout.is_empty(), "{name}");
        } else {
            json_of(&output);
        }
    }
}

#[test]
fn few_identity_columns_meet_many_configurations() {
    let sandbox = with_file("model,latency_p50_ms\nresnet18,10.2\n");
    sandbox.take(&[Made::taking(6.0).with("/configuration/precision", "fp16").campaign(2, "after")]);
    let document = against(&sandbox, "base.csv", &[], 3);
    let verdict = only_verdict(&document);
    assert_eq!(verdict["verdict"], "incomparable");
    assert!(
        verdict["notes"].to_string().contains("the candidate is 2 configurations: precision fp16, fp32"),
        "{verdict}"
    );
    // A selection makes it one.
    let verdict = only_verdict(&against(&sandbox, "base.csv", &["--precision", "fp32"], 1));
    assert_eq!(verdict["verdict"], "regressed");
}

#[test]
fn a_mean_stands_in_for_a_median_aloud() {
    let sandbox = with_file("model,latency_mean_ms\nresnet18,10.2\n");
    let verdict = only_verdict(&against(&sandbox, "base.csv", &[], 1));
    assert_eq!(verdict["metric"], "latency_mean_ms");
    assert!(verdict["notes"].to_string().contains("latency_mean_ms stands in for latency_p50_ms"), "{verdict}");
    let sandbox = with_file("model,throughput_samples_per_second\nresnet18,100\n");
    let verdict = only_verdict(&against(&sandbox, "base.csv", &[], 1));
    assert_eq!(verdict["metric"], "throughput_samples_per_second");
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

// timm's results.

const PT240: &str = "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv";
const PT291: &str = "benchmark-infer-amp-nchw-pt291-cu128-4090.csv";
const NHWC_4090: &str = "benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv";
const NHWC_3090: &str = "benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv";

fn timm() -> Option<PathBuf> {
    let folder = root().join("../shared/data/timm");
    if folder.is_dir() {
        return Some(folder.canonicalize().unwrap());
    }
    skip("the folder ../shared/data/timm with timm's results is not there");
    None
}

/// Batch size and samples a second, by model and image size.
fn results(folder: &Path, file: &str) -> BTreeMap<(String, String), (f64, f64)> {
    let mut reader = csv::Reader::from_path(folder.join(file)).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let columns = ["model", "infer_img_size", "infer_batch_size", "infer_samples_per_sec"].map(at);
    let mut results = BTreeMap::new();
    for record in reader.records() {
        let record = record.unwrap();
        let [model, size, batch, rate] = columns.map(|column| record[column].to_owned());
        let known = results.insert((model, size), (batch.parse().unwrap(), rate.parse().unwrap()));
        assert_eq!(known, None, "{record:?}");
    }
    results
}

#[test]
fn all_of_timm_comes_in_once() {
    let Some(folder) = timm() else { return };
    let sandbox = Sandbox::new();
    let sums = |output: &std::process::Output| {
        let rows = rows(&json_of(output));
        let sum = |name: &str| rows.iter().map(|row| row[name].as_i64().unwrap_or(0)).sum::<i64>();
        (rows.len(), sum("taken"), sum("refused"))
    };
    let import = || {
        let mut command = sandbox.benchdb();
        command.arg("import").arg(&folder).args(["--format", "json"]);
        command
    };
    let output = import().ends_with(1);
    assert_eq!(sums(&output), (16, 20_677, 2), "two rows have no batch size: {}", said(&output));
    for line in [1293, 1294] {
        let named = format!("benchmark-infer-amp-nchw-pt210-cu121-rtx3090.csv:{line}: `batch_size` is missing");
        assert!(stderr_of(&output).contains(&named), "{}", said(&output));
    }
    let output = import().outcome();
    assert_eq!(sums(&output).1, 0, "{}", said(&output));
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 20_677);
    assert_eq!(sandbox.count("SELECT count(*) FROM import_batch"), 16);
    assert_eq!(sandbox.count("SELECT count(DISTINCT device) FROM results"), 4);
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn timm_on_the_4090_against_the_3090() {
    let Some(folder) = timm() else { return };
    let (before, after) = (results(&folder, NHWC_3090), results(&folder, NHWC_4090));
    let mut ratios: Vec<f64> = after.iter().filter_map(|(key, (_, rate))| Some(rate / before.get(key)?.1)).collect();
    ratios.sort_by(f64::total_cmp);
    assert_eq!(ratios.len(), 1429);
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("import").arg(&folder).ends_with(1);
    let document = analysis(
        &sandbox,
        &[
            "--framework",
            "2.4.0",
            "--parameter",
            "memory_layout=nhwc",
            "--precision",
            "amp",
            "--mode",
            "inference",
            "--relative-to",
            "device=3090",
            "--ignore",
            "batch_size",
            "--sections",
            "overall",
        ],
    );
    let overall = table(&document, "overall");
    assert_eq!(overall.len(), 1, "{document}");
    assert!(overall[0]["device"].as_str().unwrap().contains("4090"));
    assert!(overall[0]["relative_to"].as_str().unwrap().contains("3090"));
    assert_eq!(overall[0]["matched"], 1429);
    close(&overall[0]["geometric_mean_speed_up"], mean);
    close(&overall[0]["median"], ratios[714]);
}

#[test]
fn timm_on_pytorch_291_against_240() {
    let Some(folder) = timm() else { return };
    let (before, after) = (results(&folder, PT240), results(&folder, PT291));
    let matched: Vec<(&(String, String), (f64, f64), (f64, f64))> =
        before.iter().filter_map(|(key, was)| Some((key, *was, *after.get(key)?))).collect();
    assert_eq!(matched.len(), 1442);
    let differing = matched.iter().filter(|(_, was, is)| was.0 != is.0).count();
    let fallen: BTreeSet<(String, String)> = matched
        .iter()
        .filter(|(_, was, is)| was.1 / is.1 >= 1.1)
        .map(|((model, size), ..)| (model.clone(), format!("3x{size}x{size}")))
        .collect();
    assert_eq!(fallen.len(), 34);
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("import").arg(&folder).ends_with(1);
    let baseline = folder.join(PT240);
    let arguments = [
        "analyze",
        "--compare-to",
        baseline.to_str().unwrap(),
        "--regression-alert",
        "0.1",
        "--framework",
        "2.9.1",
        "--parameter",
        "memory_layout=nchw",
        "--parameter",
        "compiled=",
        "--metrics",
        "throughput",
        "--match-on",
        "model,input_shape",
    ];
    let document = json_of(&sandbox.benchdb().args(arguments).args(["--format", "json"]).ends_with(1));
    assert_eq!(document["judged"], 1442);
    assert_eq!(document["by_threshold"], 1442);
    assert_eq!(document["counts"]["missing"], before.len() - 1442);
    assert_eq!(document["counts"]["new"], after.len() - 1442);
    let found: BTreeSet<(String, String)> = verdicts(&document)
        .iter()
        .filter(|verdict| verdict["verdict"] == "regressed")
        .map(|verdict| {
            let part = |name: &str| verdict["identity"][name].as_str().unwrap().to_owned();
            (part("model"), part("input_shape"))
        })
        .collect();
    assert_eq!(found, fallen);
    for verdict in verdicts(&document).iter().filter(|verdict| verdict["verdict"] == "regressed").take(5) {
        let model = verdict["identity"]["model"].as_str().unwrap().to_owned();
        let size = verdict["identity"]["input_shape"].as_str().unwrap().rsplit('x').next().unwrap().to_owned();
        let key = (model, size);
        close(&verdict["effect"], (before[&key].1 / after[&key].1).ln());
    }
    assert!((90..=110).contains(&differing), "{differing}");
    let said_of_batches = format!("batch_size differs in {differing} of the matched pairs");
    assert!(document["notes"].to_string().contains(&said_of_batches), "{}", document["notes"]);
    let output = sandbox.benchdb().args(arguments).ends_with(1);
    let printed = stdout_of(&output);
    assert!(printed.contains("34 regressed"), "{printed}");
    assert!(printed.contains("2.4.0 -> ") && printed.contains("2.9.1"), "the versions are suspects: {printed}");
    assert!(printed.contains("1442 judged by the threshold alone"), "{printed}");
    // Where nobody chose a metric it is throughput, as batch sizes may differ; of latencies they may not.
    let judged = |metrics: &[&str], code: i32| {
        let mut command = sandbox.benchdb();
        command.args(&arguments[..11]).args(metrics).args(["--match-on", "model,input_shape", "--format", "json"]);
        json_of(&command.ends_with(code))
    };
    assert_eq!(judged(&[], 1)["counts"], document["counts"]);
    let by_latency = judged(&["--metrics", "latency_mean_ms"], 1);
    assert_eq!(by_latency["judged"], 1442 - differing);
    assert_eq!(by_latency["counts"]["incomparable"], differing);
}

#[test]
fn timm_as_a_folder_is_fast_to_ask() {
    let Some(folder) = timm() else { return };
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("import").arg(&folder).ends_with(1);
    for command in [
        &["analyze"][..],
        &["analyze", "--model", "resnet50"],
        &["regress", "--history"],
        &["recommend", "--model", "resnet50"],
        &["recommend", "--objective", "cost"],
        &["baseline", "save", "all"],
        &["regress", "--baseline", "all"],
        &["regress", "--import", "7", "--against", "import:5", "--ignore", "batch_size"],
    ] {
        let start = std::time::Instant::now();
        let output = sandbox.benchdb().args(command).outcome();
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{command:?}: {}", said(&output));
        assert!(start.elapsed().as_secs() < 20, "{command:?} took {:?}", start.elapsed());
    }
}
