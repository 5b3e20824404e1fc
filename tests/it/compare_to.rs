//! `--compare-to FILE`: which files are baselines, what is passed over, what is refused, and that nothing passes where
//! nothing was compared.

use serde_json::Value;

use crate::made::{FIVE, Made, all_taking, close, of_campaign, only_verdict, times, verdicts};
use crate::support::{Expect as _, Sandbox, json_of, root, said, stderr_of, stdout_of};

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
    // Zero has no ratio to anything and is held against the floor; nothing is no number.
    for (nothing, code) in [("0", 1), ("", 3)] {
        let sandbox = with_file(format!("model,latency_p50_ms\nresnet18,{nothing}\n"));
        against(&sandbox, "base.csv", &[], code);
    }
    // Spellings differ, what they name does not; what names nothing is refused.
    let sandbox = with_file("model,precision,latency_p50_ms\nresnet18,FP32,10.2\n");
    assert_eq!(only_verdict(&against(&sandbox, "base.csv", &[], 1))["verdict"], "regressed");
    let sandbox = with_file("model,precision,latency_p50_ms\nresnet18,single,10.2\n");
    let output = sandbox.benchdb().args(["analyze", "--label", "after", "--compare-to", "base.csv"]).ends_with(3);
    assert!(stderr_of(&output).contains("base.csv:2: `single` is no precision"), "{}", said(&output));
    // A row that is refused takes its model out of the comparison; whoever minds says so.
    let sandbox = with_file("model,batch_size,latency_p50_ms\nresnet18,1,12.2\nvgg,1,NaN\n");
    against(&sandbox, "base.csv", &[], 0);
    against(&sandbox, "base.csv", &["--fail-on", "refused"], 3);
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
