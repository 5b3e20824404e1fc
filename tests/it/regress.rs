//! `benchdb regress`: which verdict for which runs, against what, and how the command ends.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use serde_json::Value;

use crate::made::{
    FIVE, Made, all_taking, campaign_uuid, close, export_of, of_campaign, only_verdict, times, verdicts,
};
use crate::support::{Expect as _, Sandbox, json_of, program, said, skip, stderr_of, stdout_of};

/// `regress` of the label `after` against the label `before`, in JSON.
fn judged(sandbox: &Sandbox, arguments: &[&str], code: i32) -> Value {
    let mut command = sandbox.benchdb();
    command.args(["regress", "--label", "after", "--against", "label:before", "--format", "json"]).args(arguments);
    json_of(&command.ends_with(code))
}

#[test]
fn a_slower_side_is_regressed() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    let document = judged(&sandbox, &[], 1);
    let verdict = only_verdict(&document);
    assert_eq!(verdict["verdict"], "regressed");
    assert_eq!(verdict["metric"], "latency_p50_ms");
    assert_eq!(verdict["evidence"], "two_samples");
    assert_eq!((&verdict["baseline"]["runs"], &verdict["candidate"]["runs"]), (&5.into(), &5.into()));
    close(&verdict["baseline"]["median"], 10.2);
    close(&verdict["candidate"]["median"], 10.2 * 1.2);
    close(&verdict["effect"], 1.2_f64.ln());
    // Of the 252 ways to put ten runs on two sides two are as extreme as this one.
    close(&verdict["p_value"], 2.0 / 252.0);
    close(&verdict["q_value"], 2.0 / 252.0);
    let end = |name: &str| verdict[name].as_f64().unwrap();
    assert!(end("effect_low") < 1.2_f64.ln() && 1.2_f64.ln() < end("effect_high"), "{verdict}");
    assert!(end("effect_low") > 0.0, "{verdict}");
    assert!(end("smallest_effect") >= 1.1_f64.ln() - 1e-12, "nothing below the threshold can be found: {verdict}");
    assert_eq!(document["counts"]["regressed"], 1);
    assert_eq!(document["judged"], 1);
    assert_eq!(document["tested"], 1);
    assert_eq!(document["by_threshold"], 0);
    close(&document["expected_false_alarms"], 0.005);
}

#[test]
fn a_faster_side_is_improved_and_no_failure() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 0.8));
    let verdict = only_verdict(&judged(&sandbox, &[], 0));
    assert_eq!(verdict["verdict"], "improved");
    close(&verdict["effect"], 0.8_f64.ln());
}

#[test]
fn a_side_within_the_threshold_is_unchanged() {
    let before = [10.0, 10.01, 10.02, 10.03, 10.04];
    let sandbox = Sandbox::with_two_sides(&before, &times(&before, 1.02));
    let verdict = only_verdict(&judged(&sandbox, &[], 0));
    assert_eq!(verdict["verdict"], "unchanged", "significant, but not relevant");
    close(&verdict["effect"], 1.02_f64.ln());
    close(&verdict["p_value"], 2.0 / 252.0);
}

#[test]
fn a_change_past_the_threshold_that_may_be_chance_is_suspect() {
    let sandbox = Sandbox::with_two_sides(&[10.0, 10.1, 10.2, 10.3, 13.0], &[10.15, 11.9, 12.0, 12.1, 12.2]);
    let document = judged(&sandbox, &[], 0);
    let verdict = only_verdict(&document);
    assert_eq!(verdict["verdict"], "suspect");
    close(&verdict["effect"], (12.0_f64 / 10.2).ln());
    assert!(verdict["p_value"].as_f64().unwrap() > 0.01);
    assert!(verdict["more_runs"].as_u64().unwrap() >= 1, "{verdict}");
    judged(&sandbox, &["--fail-on", "suspect"], 3);
    judged(&sandbox, &["--fail-on", "suspect,inconclusive"], 3);
    judged(&sandbox, &["--fail-on", "inconclusive"], 0);
}

#[test]
fn data_that_cannot_tell_are_inconclusive() {
    let sandbox = Sandbox::with_two_sides(&[8.0, 9.0, 10.0, 11.0, 12.0], &[8.2, 9.2, 10.5, 11.2, 12.5]);
    let verdict = only_verdict(&judged(&sandbox, &[], 0));
    assert_eq!(verdict["verdict"], "inconclusive");
    assert!(verdict["more_runs"].as_u64().unwrap() >= 1, "{verdict}");
    judged(&sandbox, &["--fail-on", "inconclusive"], 3);
    judged(&sandbox, &["--fail-on", "suspect"], 0);
    let output = sandbox.benchdb().args(["regress", "--label", "after", "--against", "label:before"]).succeeds();
    assert!(stdout_of(&output).contains("more a side would decide"), "{}", said(&output));
}

#[test]
fn the_threshold_is_a_share_or_per_cent() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.15));
    for (alert, code) in [("10%", 1), ("0.1", 1), ("20%", 0), ("0.2", 0), ("14.9%", 1), ("10 %", 1)] {
        let document = judged(&sandbox, &["--regression-alert", alert], code);
        let share =
            alert.strip_suffix('%').map_or_else(|| alert.parse(), |text| text.trim().parse::<f64>().map(|p| p / 100.0));
        close(&document["alert"], share.unwrap());
    }
    for wrong in ["10", "0", "-0.1", "-10%", "nan", "ten", "", "inf"] {
        let argument = format!("--regression-alert={wrong}");
        let output = sandbox.benchdb().args(["regress", &argument]).outcome();
        // Ten is 1000 per cent: nobody means that, and it would never alarm.
        assert_eq!(output.status.code(), Some(2), "`{wrong}`: {}", said(&output));
        assert!(stderr_of(&output).contains("10%"), "`{wrong}`: {}", said(&output));
    }
}

#[test]
fn exactly_the_threshold_is_past_it() {
    let sandbox = Sandbox::with_two_sides(&[10.0], &[11.0]);
    assert_eq!(only_verdict(&judged(&sandbox, &[], 1))["verdict"], "regressed");
    let sandbox = Sandbox::new();
    let rate = |value: f64| Made::taking(1.0).metric("throughput_samples_per_second", value);
    sandbox.take(&of_campaign(vec![rate(110.0)], 1, "before"));
    sandbox.take(&of_campaign(vec![rate(100.0)], 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &["--metrics", "throughput"], 1));
    // A rate by its reciprocal: 110/s to 100/s costs a tenth more.
    close(&verdict["effect"], 1.1_f64.ln());
}

#[test]
fn an_unknown_metric_suggests_one() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &FIVE);
    for command in [&["regress"][..], &["analyze", "--compare-to", "x.csv"]] {
        for (wrong, near) in [("latency_p51_ms", "latency_p50_ms"), ("troughput", "throughput"), ("memroy", "memory")] {
            let output = sandbox.benchdb().args(command).args(["--metrics", wrong]).ends_with(2);
            let words = stderr_of(&output);
            assert!(words.contains("did you mean") && words.contains(near), "{wrong}: {words}");
        }
        let output = sandbox.benchdb().args(command).args(["--metrics", "latency_std_ms"]).ends_with(2);
        assert!(stderr_of(&output).contains("neither better nor worse"), "{}", said(&output));
    }
}

#[test]
fn memory_is_judged_beside_latency() {
    let sandbox = Sandbox::new();
    let with_memory = |time: f64, megabytes: f64| Made::taking(time).metric("memory_device_peak_mb", megabytes);
    let side = |megabytes: f64| FIVE.iter().map(|time| with_memory(*time, megabytes + time)).collect::<Vec<_>>();
    sandbox.take(&of_campaign(side(1000.0), 1, "before"));
    sandbox.take(&of_campaign(side(1200.0), 2, "after"));
    let document = judged(&sandbox, &[], 1);
    let found: Vec<(Value, Value)> = verdicts(&document)
        .into_iter()
        .map(|verdict| (verdict["metric"].clone(), verdict["verdict"].clone()))
        .collect();
    assert_eq!(
        found,
        [("memory_device_peak_mb".into(), "regressed".into()), ("latency_p50_ms".into(), "unchanged".into())],
        "the worst first"
    );
    assert_eq!(only_verdict(&judged(&sandbox, &["--metrics", "latency"], 0))["verdict"], "unchanged");
}

#[test]
fn a_change_below_the_floor_is_none() {
    // Four megabytes more of twenty: past any threshold, and nothing that anybody would look for.
    let sandbox = Sandbox::new();
    let side = |megabytes: f64| vec![Made::taking(10.0).metric("memory_host_peak_mb", megabytes)];
    sandbox.take(&of_campaign(side(20.0), 1, "before"));
    sandbox.take(&of_campaign(side(24.0), 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &["--metrics", "memory"], 0));
    assert_eq!(verdict["verdict"], "unchanged");
    assert!(verdict["notes"].to_string().contains("below the floor"), "{verdict}");
}

#[test]
fn accuracy_is_judged_by_its_difference() {
    let sandbox = Sandbox::new();
    let side = |share: f64| {
        (0..5).map(|index| Made::taking(10.0).metric("accuracy_top1", share + f64::from(index) * 1e-5)).collect()
    };
    sandbox.take(&of_campaign(side(0.76), 1, "before"));
    sandbox.take(&of_campaign(side(0.74), 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &["--metrics", "accuracy"], 1));
    assert_eq!(verdict["verdict"], "regressed");
    assert_eq!(verdict["absolute"], true);
    close(&verdict["effect"], 0.02);
    let output = sandbox
        .benchdb()
        .args(["regress", "--label", "after", "--against", "label:before", "--metrics", "accuracy"])
        .ends_with(1);
    assert!(stdout_of(&output).contains("+0.0200"), "{}", said(&output));
}

#[test]
fn few_new_runs_are_held_against_many_old_ones() {
    let old: Vec<f64> = (0..12).map(|index| 10.0 + f64::from(index) * 0.01).collect();
    let sandbox = Sandbox::with_two_sides(&old, &[12.0, 12.1]);
    let verdict = only_verdict(&judged(&sandbox, &[], 1));
    assert_eq!(verdict["evidence"], "prediction");
    assert_eq!(verdict["verdict"], "regressed");
    let one_inside = Sandbox::with_two_sides(&old, &[10.05, 12.5, 12.6]);
    let verdict = only_verdict(&judged(&one_inside, &[], 0));
    assert_eq!(verdict["verdict"], "suspect", "every new run has to be outside: {verdict}");
}

#[test]
fn what_one_side_alone_has_is_new_or_missing() {
    let sandbox = Sandbox::new();
    let side = |models: [&str; 2]| models.map(|model| Made::taking(10.0).model(model)).to_vec();
    sandbox.take(&of_campaign(side(["both", "gone"]), 1, "before"));
    sandbox.take(&of_campaign(side(["both", "fresh"]), 2, "after"));
    let document = judged(&sandbox, &[], 0);
    for (model, expected) in [("both", "unchanged"), ("gone", "missing"), ("fresh", "new")] {
        let verdicts = verdicts(&document);
        let verdict = verdicts.iter().find(|verdict| verdict["identity"]["model"] == model).unwrap();
        assert_eq!(verdict["verdict"], expected, "{model}");
    }
    assert_eq!(document["judged"], 1);
}

#[test]
fn a_side_without_valid_runs_is_invalid_and_nothing_passes() {
    let sandbox = Sandbox::new();
    let broken = Made::taking(10.0).failed();
    sandbox.take(&of_campaign(vec![Made::taking(10.0)], 1, "before"));
    sandbox.take(&of_campaign(vec![broken], 2, "after"));
    let document = judged(&sandbox, &[], 1);
    let verdict = only_verdict(&document);
    assert_eq!(verdict["verdict"], "invalid");
    assert!(verdict["notes"].to_string().contains("no valid run"), "{verdict}");
    assert_eq!(document["judged"], 0);
}

#[test]
fn another_kind_of_device_is_incomparable() {
    let sandbox = Sandbox::new();
    sandbox.take(&of_campaign(vec![Made::taking(10.0).device("cpu", "Chip")], 1, "before"));
    sandbox.take(&of_campaign(vec![Made::taking(20.0).device("cuda", "Chip")], 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &["--ignore", "platform"], 3));
    assert_eq!(verdict["verdict"], "incomparable");
    assert!(verdict["notes"].to_string().contains("the device was a cpu, now it is a gpu"), "{verdict}");
}

#[test]
fn latencies_of_other_batch_sizes_are_incomparable_but_rates_are_not() {
    let sandbox = Sandbox::new();
    sandbox.take(&of_campaign(vec![Made::taking(10.0).batch(8)], 1, "before"));
    sandbox.take(&of_campaign(vec![Made::taking(20.0).batch(16)], 2, "after"));
    let both = judged(&sandbox, &["--ignore", "batch_size"], 0);
    let verdict = only_verdict(&both);
    assert_eq!(verdict["metric"], "throughput_samples_per_second", "what can be compared is");
    close(&verdict["effect"], 0.0);
    assert!(verdict["notes"].to_string().contains("batch_size was 8, now 16"), "{verdict}");
    let verdict = only_verdict(&judged(&sandbox, &["--ignore", "batch_size", "--metrics", "latency_p50_ms"], 3));
    assert_eq!(verdict["verdict"], "incomparable");
}

#[test]
fn several_configurations_on_one_side_are_no_series() {
    let sandbox = Sandbox::new();
    let in_precision = |precision: &str| Made::taking(10.0).with("/configuration/precision", precision);
    sandbox.take(&of_campaign(vec![in_precision("fp32"), in_precision("fp16")], 1, "before"));
    sandbox.take(&of_campaign(vec![in_precision("fp32")], 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &["--ignore", "precision"], 3));
    assert_eq!(verdict["verdict"], "incomparable");
    assert!(verdict["notes"].to_string().contains("precision fp16, fp32"), "{verdict}");
}

#[test]
fn what_else_changed_stands_beside_a_regression() {
    let sandbox = Sandbox::new();
    let after = |run: Made| {
        run.with("/environment/driver_version", "560.2")
            .with("/environment/cpu_governor", "powersave")
            .with("/environment/engine_version", "2.9.1")
            .commit("feedface00112233")
    };
    let before = |run: Made| run.with("/environment/cpu_governor", "performance").commit("c0ffee0011223344");
    sandbox.take(&of_campaign(all_taking(&FIVE).into_iter().map(before).collect(), 1, "before"));
    sandbox.take(&of_campaign(all_taking(&times(&FIVE, 2.0)).into_iter().map(after).collect(), 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &[], 1));
    let difference = |what: &str| {
        let all = verdict["differences"].as_array().unwrap();
        let found =
            all.iter().find(|difference| difference["what"] == what).unwrap_or_else(|| panic!("no {what}: {verdict}"));
        (found["baseline"].as_str().unwrap().to_owned(), found["candidate"].as_str().unwrap().to_owned())
    };
    assert_eq!(difference("driver_version"), ("550.1".into(), "560.2".into()));
    assert_eq!(difference("cpu_governor"), ("performance".into(), "powersave".into()));
    assert_eq!(difference("engine_version"), ("2.4.0".into(), "2.9.1".into()));
    assert_eq!(difference("git_commit"), ("c0ffee0011".into(), "feedface00".into()));
    let output = sandbox.benchdb().args(["regress", "--label", "after", "--against", "label:before"]).ends_with(1);
    for words in ["550.1 -> 560.2", "performance -> powersave", "2.4.0 -> 2.9.1", "c0ffee0011 -> feedface00"] {
        assert!(stdout_of(&output).contains(words), "{words}: {}", said(&output));
    }
}

#[test]
fn the_other_side_has_many_names() {
    let sandbox = Sandbox::new();
    let before = all_taking(&FIVE).into_iter().map(|run| run.commit("aaaa1111"));
    sandbox.take(&of_campaign(before.collect(), 1, "before"));
    let after = all_taking(&times(&FIVE, 1.5)).into_iter();
    let after = after.map(|run| {
        run.commit("bbbb2222")
            .with("/environment/engine_version", "2.9.1")
            .with("/environment/framework_version", "PyTorch 2.9.1")
    });
    sandbox.take(&of_campaign(after.collect(), 2, "after"));
    let campaign = format!("campaign:{}", campaign_uuid(1));
    let batch = format!("import:{}", sandbox.count("SELECT min(id) FROM import_batch"));
    let selections: [&[&str]; 4] =
        [&["--label", "after"], &["--campaign", "after"], &["--framework", "2.9.1"], &["--git-commit", "bbbb"]];
    for against in
        ["label:before", "commit:aaaa", &campaign, "campaign:00000001", "campaign:before", &batch, "framework:2.4.0"]
    {
        for selection in selections {
            let mut command = sandbox.benchdb();
            command.args(["regress", "--format", "json", "--against", against]).args(selection);
            let verdict = only_verdict(&json_of(&command.ends_with(1)));
            close(&verdict["effect"], 1.5_f64.ln());
            assert_eq!(verdict["baseline"]["runs"], 5, "{against}");
        }
        // Without a selection the newest campaign is the candidate.
        let output = sandbox.benchdb().args(["regress", "--format", "json", "--against", against]).ends_with(1);
        assert_eq!(only_verdict(&json_of(&output))["candidate"]["runs"], 5, "{against}");
    }
    for (wrong, words) in [
        ("label", "KIND:VALUE"),
        ("labels:before", "label, commit, campaign, import, framework"),
        ("label:", "KIND:VALUE"),
        ("import:one", "no number of an import"),
        ("campaign:nowhere", "no campaign"),
    ] {
        let output = sandbox.benchdb().args(["regress", "--against", wrong]).ends_with(2);
        assert!(stderr_of(&output).contains(words), "{wrong}: {}", said(&output));
    }
    for nothing in ["label:nowhere", "commit:ffff", "import:99", "framework:7"] {
        let output = sandbox.benchdb().args(["regress", "--against", nothing]).ends_with(3);
        assert!(stderr_of(&output).contains("nothing could be judged"), "{nothing}: {}", said(&output));
    }
    let output = sandbox.benchdb().args(["regress", "--against", "label:before", "--history"]).outcome();
    assert_eq!(output.status.code(), Some(2), "one other side is enough: {}", said(&output));
}

#[test]
fn without_another_side_the_newest_campaign_meets_the_earlier_ones() {
    let sandbox = Sandbox::new();
    let series =
        |factor: f64, number: u32| of_campaign(all_taking(&times(&FIVE, factor)), number, &format!("c{number}"));
    sandbox.take(&series(1.0, 1));
    sandbox.benchdb().args(["regress"]).ends_with(3);
    sandbox.take(&series(1.0, 2));
    let verdict = only_verdict(&sandbox.benchdb().args(["regress", "--format", "json"]).json());
    assert_eq!(verdict["verdict"], "unchanged");
    // A series that is not measured this time is not missing.
    let other = Made::taking(3.0).model("other").campaign(1, "c1");
    sandbox.take(&[other]);
    sandbox.take(&series(1.3, 3));
    let output = sandbox.benchdb().args(["regress", "--format", "json"]).ends_with(1);
    let verdict = only_verdict(&json_of(&output));
    assert_eq!((&verdict["baseline"]["runs"], &verdict["candidate"]["runs"]), (&10.into(), &5.into()));
    close(&verdict["candidate"]["median"], 10.2 * 1.3);
    // A campaign that was selected is held against what was before it, and not against what came later.
    let output = sandbox.benchdb().args(["regress", "--campaign", "c2", "--format", "json"]).succeeds();
    let verdict = only_verdict(&json_of(&output));
    assert_eq!((&verdict["baseline"]["runs"], &verdict["verdict"]), (&5.into(), &"unchanged".into()));
}

#[test]
fn verdicts_and_noise_are_kept() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    judged(&sandbox, &["--no-record"], 1);
    assert_eq!(sandbox.count("SELECT count(*) FROM verdict"), 0);
    assert_eq!(sandbox.count("SELECT count(*) FROM noise_floor"), 0);
    judged(&sandbox, &[], 1);
    let verdict = &sandbox.sql("SELECT * FROM verdict")[0];
    assert_eq!(verdict["verdict"], "regressed");
    assert_eq!(verdict["metric"], "latency_p50_ms");
    close(&verdict["effect"], 1.2_f64.ln());
    let noise = &sandbox.sql("SELECT * FROM noise_floor WHERE metric = 'latency_p50_ms'")[0];
    let deviation = noise["relative_deviation"].as_f64().unwrap();
    // The five runs have a standard deviation of 1.55 %.
    assert!((deviation - 0.0155).abs() < 0.001, "{deviation}");
    judged(&sandbox, &[], 1);
    assert_eq!(sandbox.count("SELECT count(*) FROM noise_floor WHERE metric = 'latency_p50_ms'"), 1);
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn known_noise_tells_what_a_single_run_could_have_found() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &FIVE);
    judged(&sandbox, &[], 0);
    sandbox.take(&of_campaign(vec![Made::taking(10.3)], 3, "single"));
    let verdict = only_verdict(
        &sandbox
            .benchdb()
            .args(["regress", "--label", "single", "--against", "label:before", "--format", "json"])
            .json(),
    );
    assert_eq!(verdict["evidence"], "threshold_only");
    assert!(verdict["smallest_effect"].is_number(), "the noise of the series is known: {verdict}");
}

#[test]
fn a_database_that_cannot_be_written_is_judged_all_the_same() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    // Left by the program as it may be: without the two files beside it, as after a copy.
    sandbox.connection().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut command = sandbox.benchdb();
    if sandbox.owner_is_root() {
        // Root writes where it likes: the program runs as nobody.
        let reachable = program().ancestors().skip(1).all(|folder| {
            folder.as_os_str().is_empty() || std::fs::metadata(folder).unwrap().permissions().mode() & 0o001 != 0
        });
        if !reachable {
            skip("root writes to a read-only file, and nobody else can reach the program");
            return;
        }
        command.uid(65_534).gid(65_534);
    }
    for (path, mode) in [(sandbox.db(), 0o444), (sandbox.folder().to_owned(), 0o555)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let output =
        command.args(["regress", "--label", "after", "--against", "label:before", "--format", "json"]).outcome();
    std::fs::set_permissions(sandbox.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(only_verdict(&json_of(&output))["verdict"], "regressed");
    assert!(stderr_of(&output).contains("were not kept"), "{}", said(&output));
}

#[test]
fn a_file_stands_for_the_other_side() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &times(&FIVE, 1.2));
    sandbox.write("before.json", export_of(&all_taking(&FIVE)));
    for selection in [&["--label", "after"][..], &[]] {
        let mut command = sandbox.benchdb();
        command.args(["regress", "--compare-to", "before.json", "--format", "json"]).args(selection);
        let verdict = only_verdict(&json_of(&command.ends_with(1)));
        close(&verdict["effect"], 1.2_f64.ln());
        assert_eq!(verdict["evidence"], "two_samples");
    }
}

#[test]
fn every_command_of_judging_needs_a_database() {
    let sandbox = Sandbox::new();
    let commands: [&[&str]; 14] = [
        &["analyze"],
        &["analyze", "--compare-to", "base.csv"],
        &["regress"],
        &["regress", "--history"],
        &["regress", "--baseline", "main"],
        &["regress", "--compare-to", "base.csv"],
        &["regress", "--against", "label:x"],
        &["recommend"],
        &["baseline", "save", "main"],
        &["baseline", "list"],
        &["baseline", "show", "main"],
        &["baseline", "delete", "main"],
        &["accept"],
        &["accept", "--all"],
    ];
    for command in commands {
        sandbox.benchdb().args(command).refuses(&["no database at `benchdb.sqlite`"], &["benchdb run"]);
    }
    assert!(sandbox.listing().is_empty(), "nothing is made by asking");
}

#[test]
fn an_empty_database_is_no_reason_to_pass() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("init-db").succeeds();
    sandbox.write("base.csv", "model,latency_p50_ms\nresnet18,10\n");
    let cases: [(&[&str], i32); 15] = [
        (&["analyze"], 3),
        (&["analyze", "--format", "json"], 3),
        (&["analyze", "--format", "bencher"], 3),
        (&["analyze", "--compare-to", "base.csv"], 3),
        (&["regress"], 3),
        (&["regress", "--history"], 3),
        (&["regress", "--compare-to", "base.csv"], 3),
        (&["regress", "--against", "label:x"], 3),
        (&["regress", "--baseline", "main"], 2),
        (&["recommend"], 3),
        (&["recommend", "--format", "json"], 3),
        (&["baseline", "list"], 0),
        (&["baseline", "save", "main"], 2),
        (&["accept"], 0),
        (&["accept", "1"], 2),
    ];
    for (command, code) in cases {
        let output = sandbox.benchdb().args(command).outcome();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", said(&output));
        if code > 0 {
            assert!(stderr_of(&output).contains("error: "), "{command:?}: {}", said(&output));
            assert!(stderr_of(&output).contains("hint: "), "{command:?}: {}", said(&output));
        }
    }
}

#[test]
fn one_run_is_compared_with_nothing() {
    let sandbox = Sandbox::with_a_run();
    sandbox.write("base.csv", "model,latency_p50_ms\ncifar_cnn,10\n");
    let cases: [(&[&str], i32); 9] = [
        (&["analyze"], 0),
        (&["analyze", "--format", "bencher"], 0),
        (&["analyze", "--compare-to", "base.csv"], 0),
        (&["regress"], 3),
        (&["regress", "--against", "label:x"], 3),
        (&["recommend"], 3),
        (&["recommend", "--include-software"], 0),
        (&["baseline", "save", "main"], 0),
        (&["regress", "--baseline", "main"], 3),
    ];
    for (command, code) in cases {
        let output = sandbox.benchdb().args(command).outcome();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", said(&output));
    }
}

#[test]
fn many_series_that_did_not_change_raise_few_alarms() {
    let sandbox = Sandbox::new();
    let side = |factor: f64| -> Vec<Made> {
        let of_model = |index: usize| {
            all_taking(&times(&FIVE, factor)).into_iter().map(move |run| run.model(&format!("m{index}")))
        };
        (0..40).flat_map(of_model).collect()
    };
    sandbox.take(&of_campaign(side(1.0), 1, "before"));
    sandbox.take(&of_campaign(side(1.01), 2, "after"));
    let document = judged(&sandbox, &[], 0);
    assert_eq!(document["counts"]["unchanged"], 40);
    close(&document["expected_false_alarms"], 0.2);
    let output =
        sandbox.benchdb().args(["regress", "--label", "after", "--against", "label:before", "--limit", "3"]).succeeds();
    assert!(stdout_of(&output).contains("37 more: `--limit 0`"), "{}", said(&output));
    let document = judged(&sandbox, &["--fdr", "0.05"], 0);
    assert!(document["notes"].to_string().contains("q values decide"), "{document}");
}

#[test]
fn q_values_may_decide() {
    // Two hundred series, one of which is slower: p is 0.008, q is above 0.05.
    let sandbox = Sandbox::new();
    let mixed = [10.0, 10.3, 10.1, 10.4, 10.2];
    let side = |factor: f64| -> Vec<Made> {
        let of_model = |index: usize| {
            let factor = if index == 0 { factor } else { 1.0 };
            all_taking(&times(&mixed, factor)).into_iter().map(move |run| run.model(&format!("m{index:02}")))
        };
        (0..30).flat_map(of_model).collect()
    };
    sandbox.take(&of_campaign(side(1.0), 1, "before"));
    sandbox.take(&of_campaign(side(1.3), 2, "after"));
    judged(&sandbox, &[], 1);
    let document = judged(&sandbox, &["--fdr", "0.05"], 0);
    let verdict = &verdicts(&document)[0];
    assert_eq!(verdict["verdict"], "suspect");
    close(&verdict["q_value"], 30.0 * 2.0 / 252.0);
    for wrong in ["0", "1", "-1", "5%", "x"] {
        let output = sandbox.benchdb().args(["regress", &format!("--fdr={wrong}")]).outcome();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn a_campaign_that_broke_does_not_pass() {
    let sandbox = Sandbox::new();
    sandbox.take(&of_campaign(all_taking(&FIVE), 1, "before"));
    sandbox.take(&of_campaign(vec![Made::taking(10.0).failed()], 2, "after"));
    let output = sandbox.benchdb().args(["regress", "--format", "json"]).ends_with(1);
    assert_eq!(only_verdict(&json_of(&output))["verdict"], "invalid");
}

#[test]
fn one_series_that_broke_fails_beside_others_that_did_not() {
    let sandbox = Sandbox::new();
    let fine = |name: &str| all_taking(&FIVE).into_iter().map(|run| run.model(name)).collect::<Vec<_>>();
    let broken: Vec<Made> = fine("breaks").into_iter().map(Made::failed).collect();
    sandbox.take(&of_campaign([fine("fine"), fine("breaks")].concat(), 1, "before"));
    sandbox.take(&of_campaign([fine("fine"), broken].concat(), 2, "after"));
    let document = judged(&sandbox, &[], 1);
    assert_eq!(document["counts"]["unchanged"], 1, "{document}");
    let output = sandbox.benchdb().args(["regress", "--label", "after", "--against", "label:before"]).ends_with(1);
    assert!(stderr_of(&output).contains("all runs of 1 series that the baseline has broke"), "{}", said(&output));
    let github = ["regress", "--label", "after", "--against", "label:before", "--format", "github"];
    let output = sandbox.benchdb().args(github).env_remove("GITHUB_STEP_SUMMARY").ends_with(1);
    assert!(stdout_of(&output).contains("::error title=invalid%3A breaks"), "{}", said(&output));
}

#[test]
fn a_label_that_is_used_again_means_its_newest_campaign() {
    let sandbox = Sandbox::with_two_sides(&FIVE, &FIVE);
    sandbox.take(&of_campaign(all_taking(&times(&FIVE, 1.2)), 3, "after"));
    let document = judged(&sandbox, &[], 1);
    assert_eq!(
        only_verdict(&document)["candidate"]["runs"],
        5,
        "the old runs must not dilute the new ones: {document}"
    );
    assert!(document["notes"].to_string().contains("several campaigns have the label"), "{document}");
    let all = sandbox
        .benchdb()
        .args(["regress", "--label", "after", "--against", "label:before", "--all-runs", "--format", "json"])
        .outcome();
    assert_eq!(only_verdict(&json_of(&all))["candidate"]["runs"], 10);
}

#[test]
fn two_sizes_of_a_machine_with_one_name_are_two_devices() {
    let sandbox = Sandbox::new();
    let of_size = |time: f64, units: u32| Made::taking(time).with("/configuration/device/compute_units", units);
    sandbox.take(&of_campaign(vec![of_size(10.0, 64)], 1, "before"));
    sandbox.take(&of_campaign(vec![of_size(30.0, 2)], 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &[], 3));
    assert_eq!(verdict["verdict"], "incomparable", "{verdict}");
    assert!(verdict["notes"].to_string().contains("2 and 64 compute units"), "{verdict}");
}

#[test]
fn below_the_floor_is_said_and_may_be_judged() {
    // A hundred nanoseconds, then nine hundred.
    let sandbox = Sandbox::with_two_sides(&times(&FIVE, 1e-5), &times(&FIVE, 9e-5));
    let document = judged(&sandbox, &[], 0);
    assert_eq!(only_verdict(&document)["verdict"], "unchanged");
    assert!(document["notes"].to_string().contains("`--no-floors`"), "{document}");
    assert_eq!(only_verdict(&judged(&sandbox, &["--no-floors"], 1))["verdict"], "regressed");
}

#[test]
fn where_nothing_was_there_before_the_floor_decides() {
    let sandbox = Sandbox::new();
    let compiled = |time: f64| FIVE.iter().map(|run| Made::taking(*run).metric("compile_ms", time)).collect();
    sandbox.take(&of_campaign(compiled(0.0), 1, "before"));
    sandbox.take(&of_campaign(compiled(20_000.0), 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &["--metrics", "compile_ms"], 1));
    assert_eq!((&verdict["verdict"], &verdict["effect"]), (&"regressed".into(), &Value::Null));
    assert!(verdict["notes"].to_string().contains("judged by the floor of 5 ms"), "{verdict}");
}

#[test]
fn new_runs_on_both_sides_of_the_old_ones_are_no_evidence() {
    let sandbox = Sandbox::new();
    let history: Vec<f64> = FIVE.iter().chain(&FIVE).chain(&[10.2, 10.1]).copied().collect();
    sandbox.take(&of_campaign(all_taking(&history), 1, "before"));
    sandbox.take(&of_campaign(all_taking(&[8.0, 16.0]), 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &["--fdr", "0.05"], 0));
    assert_eq!((&verdict["verdict"], &verdict["p_value"]), (&"suspect".into(), &1.0.into()), "{verdict}");
}

#[test]
fn q_values_promote_in_both_directions() {
    let side = |factor: f64| times(&FIVE, factor);
    // Four runs of five above all old ones: p is 0.0159, above 0.01; as the only p value it is the q value, too.
    let mut slower = side(1.2);
    slower[0] = 10.35;
    let sandbox = Sandbox::with_two_sides(&FIVE, &slower);
    assert_eq!(only_verdict(&judged(&sandbox, &[], 0))["verdict"], "suspect");
    let verdict = only_verdict(&judged(&sandbox, &["--fdr", "0.05"], 1));
    assert_eq!((&verdict["verdict"], &verdict["more_runs"]), (&"regressed".into(), &Value::Null));
    let mut faster = side(0.8);
    faster[0] = 10.05;
    let sandbox = Sandbox::with_two_sides(&FIVE, &faster);
    let document = judged(&sandbox, &["--fdr", "0.05"], 0);
    assert_eq!(only_verdict(&document)["verdict"], "improved", "{document}");
    assert_eq!(document["expected_false_alarms"], Value::Null, "q values promise something else");
}

#[test]
fn percentiles_without_the_samples_for_them_are_not_judged() {
    let sandbox = Sandbox::new();
    let side = |factor: f64, iterations: u32| {
        let made =
            |time: &f64| Made::taking(*time).metric("latency_p99_ms", time * factor).with("/iterations", iterations);
        FIVE.iter().map(made).collect::<Vec<_>>()
    };
    sandbox.take(&of_campaign(side(1.0, 298), 1, "before"));
    sandbox.take(&of_campaign(side(2.0, 298), 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &["--metrics", "latency_p99_ms"], 3));
    assert_eq!(verdict["verdict"], "invalid");
    assert!(verdict["notes"].to_string().contains("299 samples"), "{verdict}");
    let enough = Sandbox::new();
    enough.take(&of_campaign(side(1.0, 299), 1, "before"));
    enough.take(&of_campaign(side(2.0, 299), 2, "after"));
    assert_eq!(only_verdict(&judged(&enough, &["--metrics", "latency_p99_ms"], 1))["verdict"], "regressed");
}

#[test]
fn runs_that_throttled_do_not_count() {
    let sandbox = Sandbox::new();
    sandbox.take(&of_campaign(all_taking(&FIVE), 1, "before"));
    let hot = Made::taking(99.0).with("/validity", "throttled");
    sandbox.take(&of_campaign([all_taking(&FIVE), vec![hot]].concat(), 2, "after"));
    let verdict = only_verdict(&judged(&sandbox, &[], 0));
    assert_eq!(verdict["candidate"]["runs"], 5);
    assert_eq!(verdict["verdict"], "unchanged");
}

#[test]
fn real_runs_are_judged_like_any_other() {
    let sandbox = Sandbox::new();
    let run = |time: &str, label: &str| {
        sandbox.script(&format!("{{\"iterations_ms\": [{time}]}}"));
        let sampling = ["--iterations", "10", "--min-time", "0", "--repeat", "5", "--label", label];
        sandbox.scripted().args(sampling).succeeds();
    };
    run("10", "before");
    run("15", "after");
    let output = sandbox.benchdb().args(["regress", "--metrics", "latency", "--format", "json"]).ends_with(1);
    let verdict = only_verdict(&json_of(&output));
    assert_eq!((&verdict["verdict"], &verdict["evidence"]), (&"regressed".into(), &"two_samples".into()));
    close(&verdict["effect"], 1.5_f64.ln());
}
