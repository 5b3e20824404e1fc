//! What charts say of what they do not show, and that they compare like with like.

use super::*;

fn noted(chart: &Chart, words: &str) {
    assert!(chart.notes.iter().any(|note| note.contains(words)), "{words}: {:?}", chart.notes);
}

fn tried(model: &str, set: &str, rate: f64, share: f64) -> Sample {
    Sample::new(model).with(Part::Parameters, &format!(r#"{{"data":"{set}"}}"#)).run(&[
        ("throughput_samples_per_second", rate),
        ("latency_p50_ms", 1e3 / rate),
        ("accuracy_top1", share),
    ])
}

#[test]
fn accuracies_on_different_pictures_have_fronts_of_their_own() {
    let chart = chart(accuracy(&record(vec![
        tried("a", "easy@1", 10.0, 0.9),
        tried("b", "easy@1", 20.0, 0.8),
        tried("a", "hard@2", 10.0, 0.3),
        tried("c", "hard@2", 5.0, 0.2),
        tried("d", "hard@2", 5.0, 0.1).with(Part::Mode, "training"),
    ])));
    let titles: Vec<&str> = chart.panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["on easy@1, inference", "on hard@2, inference", "on hard@2, training"]);
    let names: Vec<&str> = plane(&chart, 0).series.iter().map(|series| series.name.as_str()).collect();
    assert_eq!(names, ["Pareto front", "a", "b"]);
    let hard = plane(&chart, 1);
    assert!(hard.series.iter().all(|series| series.name != "Pareto front"), "one is better in both");
    assert_eq!(hard.series[0].points[0].label, "a", "the title says the set and the mode");
    noted(&chart, "a is at least as good as all others in both (on hard@2, inference).");
}

#[test]
fn one_set_is_said_once() {
    let chart = chart(accuracy(&record(vec![tried("a", "easy@1", 10.0, 0.9), tried("b", "easy@1", 20.0, 0.8)])));
    assert!(chart.panels[0].title.is_empty() && chart.subtitle.contains("data=easy@1"), "{}", chart.subtitle);
    let unnamed = Sample::new("c").run(&[("throughput_samples_per_second", 1.0), ("accuracy_top1", 0.5)]);
    let mixed = self::chart(accuracy(&record(vec![tried("a", "easy@1", 10.0, 0.9), unnamed])));
    let titles: Vec<&str> = mixed.panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["test set not named", "on easy@1"]);
}

#[test]
fn what_is_hidden_is_no_false_reason() {
    let soft = |sample: Sample| sample.software().latencies(&[1.0, 2.0]);
    let step = || Sample::new("m").with(Part::Mode, "training").with(Part::Parameters, r#"{"optimizer":"adam"}"#);
    let record = record(vec![
        Sample::new("real").latencies(&[1.0]),
        soft(Sample::new("m")),
        soft(Sample::new("m").with(Part::BatchSize, "8")),
        soft(Sample::new("m").with(Part::Precision, "bf16")),
        soft(step()),
        soft(Sample::new("m").with(Part::Mode, "explanation")),
    ]);
    for build in [batch_scaling, training_inference, precision, explanations] {
        let why = reason(build(&record));
        assert!(why.starts_with("only software") && why.contains("--include-software"), "{why}");
        let shown = Record { include_software: true, ..record.clone() };
        assert!(numbers(&chart(build(&shown))) > 0);
    }
    let hidden = HistoryFacts { hidden: 2, ..HistoryFacts::default() };
    let why = reason(history(&hidden, 0.1));
    assert!(why.contains("in 2 configurations; `--include-software`"), "{why}");
    let reference = Reference::parse("device=soft").unwrap();
    let mut soft_reference = self::record(vec![
        Sample::new("m").latencies(&[1.0]),
        Sample::new("m").with(Part::Device, "soft").software().latencies(&[2.0]),
    ]);
    let why = reason(speedup(&soft_reference, &reference));
    assert!(why.contains("is software that pretends") && why.contains("--include-software"), "{why}");
    soft_reference.include_software = true;
    assert_eq!(matrix(&chart(speedup(&soft_reference, &reference))).rows, ["m"]);
}

#[test]
fn an_accuracy_without_a_throughput_is_no_missing_accuracy() {
    let alone = record(vec![Sample::new("m").run(&[("accuracy_top1", 0.5)])]);
    assert_eq!(reason(accuracy(&alone)), "no selected configuration with an accuracy has a throughput, too");
    let slow = record(vec![Sample::new("m").with(Part::Mode, "explanation").run(&[("success_rate", 1.0)])]);
    assert_eq!(reason(explanations(&slow)), "no selected explanation has a time");
}

#[test]
fn different_optimizers_are_different_works() {
    let step = |sample: Sample, optimizer: &str, latency: f64| {
        let parameters = format!(r#"{{"optimizer":"{optimizer}"}}"#);
        sample.with(Part::Mode, "training").with(Part::Parameters, &parameters).latencies(&[latency])
    };
    let record = record(vec![
        step(Sample::new("m"), "adam", 10.0),
        step(Sample::new("m"), "sgd", 8.0),
        step(on_gpu("m"), "adam", 1.0),
        step(on_gpu("m"), "sgd", 2.0),
    ]);
    assert_eq!(matrix(&chart(speedup(&record, &Reference::default()))).rows, ["adam", "sgd"]);
}

#[test]
fn no_column_of_a_map_is_empty() {
    let training = Sample::new("m").with(Part::Mode, "training").with(Part::Parameters, r#"{"optimizer":"sgd"}"#);
    let record =
        record(vec![Sample::new("m").latencies(&[9.0]), on_gpu("m").latencies(&[3.0]), training.latencies(&[30.0])]);
    let chart = chart(speedup(&record, &Reference::default()));
    let map = matrix(&chart);
    assert_eq!((map.rows.len(), map.columns.len()), (1, 2));
    assert!(map.cells.iter().flatten().all(Option::is_some));
}

#[test]
fn memory_of_the_device_and_of_the_process_are_not_mixed() {
    let (device, host) = ("memory_device_peak_mb", "memory_host_peak_mb");
    let of = |precision: &str, memory: &[(&'static str, f64)]| {
        Sample::new("m").with(Part::Precision, precision).run(memory).latencies(&[10.0])
    };
    let ratios = |fp32: &[(&'static str, f64)], other: &[(&'static str, f64)]| {
        chart(precision(&record(vec![of("fp32", fp32), of("bf16", other)])))
    };
    let none = ratios(&[(host, 100.0)], &[(device, 900.0)]);
    assert_eq!(none.panels.len(), 1, "speed alone: {none:?}");
    let same = ratios(&[(host, 100.0), (device, 900.0)], &[(host, 50.0)]);
    let value = value(rows(&same, 1), 0, 0);
    assert!((value.value - 0.5).abs() < 1e-12 && value.detail.contains("MB of the process"), "{value:?}");

    let method = |method: &str, memory: &[(&'static str, f64)]| {
        let parameters = format!(r#"{{"method":"{method}"}}"#);
        let sample = Sample::new("m").with(Part::Mode, "explanation").with(Part::Parameters, &parameters);
        sample.run(memory).latencies(&[10.0])
    };
    let one = chart(explanations(&record(vec![method("saliency", &[(host, 1.0)])])));
    assert_eq!(rows(&one, 2).axis.label, "peak memory of the process");
    let both = chart(explanations(&record(vec![method("a", &[(host, 1.0)]), method("b", &[(device, 2.0)])])));
    let names: Vec<&str> = rows(&both, 2).series.iter().map(|series| series.name.as_str()).collect();
    assert_eq!(names, ["on the device", "of the process"]);
    let points: Vec<(&str, f64)> =
        plane(&both, 3).series.iter().map(|series| (series.name.as_str(), series.points[0].x)).collect();
    assert_eq!(points, [("on the device", 2.0), ("of the process", 1.0)]);
}

#[test]
fn a_cold_start_without_its_first_inference_has_no_place() {
    let chart = chart(cold_start(&record(vec![
        Sample::new("half").run(&[("startup_ms", 1.0)]),
        Sample::new("whole").run(&[("startup_ms", 20.0), ("first_inference_ms", 30.0)]),
        Sample::new("whole").with(Part::BatchSize, "8").run(&[("first_inference_ms", 60.0)]),
    ])));
    assert_eq!(rows(&chart, 0).names, ["batch 1", "batch 8"]);
    noted(&chart, "Left out: 1 configuration whose first inference was not timed.");
    noted(&chart, "The time to build is not known of 1 configuration");
}

#[test]
fn unknown_numbers_of_iterations_are_not_zero() {
    let tail = |model: &str| Sample::new(model).run(&[("latency_p50_ms", 10.0), ("latency_p99_ms", 15.0)]);
    let chart = chart(latency(&record(vec![tail("a").iterations(0), tail("b").iterations(1_000)])));
    assert_eq!(value(rows(&chart, 0), 1, 0).detail, "number of iterations not known; 1 run");
    noted(&chart, "On how many iterations p99 of 1 configuration rests is not known.");
    assert!(chart.notes.iter().all(|note| !note.contains("fewer")), "{:?}", chart.notes);
}

#[test]
fn percentiles_and_cold_starts_of_several_runs_have_bars() {
    let run = |factor: f64| {
        [
            ("latency_p50_ms", 10.0),
            ("latency_p99_ms", 15.0 * factor),
            ("startup_ms", 5.0 * factor),
            ("first_inference_ms", 9.0),
        ]
    };
    let record = record(vec![Sample::new("m").run(&run(1.0)).run(&run(2.0))]);
    let tails = chart(latency(&record));
    assert_eq!(value(rows(&tails, 0), 1, 0).interval, Some((15.0, 30.0)));
    let start = chart(cold_start(&record));
    assert_eq!(value(rows(&start, 0), 0, 0).interval, Some((5.0, 10.0)));
    assert!(start.subtitle.contains("bars: range of the runs"), "{}", start.subtitle);
}

#[test]
fn generated_tokens_share_the_rows_and_are_counted() {
    let samples = (0..70).map(|index| {
        let rate = 1.0 + f64::from(index);
        let metrics = [("throughput_samples_per_second", rate), ("throughput_tokens_per_second", 10.0 * rate)];
        Sample::new(&format!("m{index:02}")).run(&metrics)
    });
    let chart = chart(throughput(&record(samples.collect())));
    assert_eq!([rows(&chart, 0).names.len(), rows(&chart, 1).names.len()], [30, 30]);
    assert_eq!((chart.panels[1].title.as_str(), rows(&chart, 1).axis.unit.as_str()), ("generated tokens", "tokens/s"));
    assert!((value(rows(&chart, 1), 0, 0).value - 700.0).abs() < 1e-9);
    noted(&chart, "the 30 fastest of 70 configurations that generate tokens");
}

#[test]
fn a_history_counts_the_runs_without_a_number() {
    let mut facts = history_of(&[10.0, f64::NAN, 11.0, f64::NAN, 12.0, f64::NAN, 13.0]);
    for (index, status) in [(1, RunStatus::Failed), (3, RunStatus::OutOfMemory), (5, RunStatus::Failed)] {
        let run = &mut facts.set.series[0].runs[index];
        (run.validity, run.status) = (Validity::NotMeasured, status);
    }
    noted(&chart(history(&facts, 0.1)), "3 runs have no number here: 2 failed, 1 out_of_memory.");
    noted(&chart(history(&HistoryFacts { hidden: 1, ..facts }, 0.1)), "1 history of software");
}

#[test]
fn the_alert_of_a_history_is_the_one_that_was_asked_for() {
    let latencies: Vec<f64> =
        (0..25).map(|index| if index < 12 { 100.0 } else { 120.0 } + f64::from(index % 3)).collect();
    let facts = history_of(&latencies);
    let title = |alert: f64| chart(history(&facts, alert)).panels[0].title.clone();
    assert!(title(0.1).contains("regressed"), "{}", title(0.1));
    assert!(!title(0.9).contains("regressed"), "{}", title(0.9));
}

#[test]
fn steps_before_the_runs_that_are_shown_are_not_drawn() {
    let level = |index: usize| if index < 40 { 100.0 } else { 150.0 } + (index * 7919 % 13) as f64 / 10.0;
    let facts = history_of(&(0..MOST_RUNS + 100).map(level).collect::<Vec<_>>());
    let chart = chart(history(&facts, 0.1));
    let plane = plane(&chart, 0);
    let first = 100.0 * 86_400_000.0;
    let points = plane.series.iter().flat_map(|series| &series.points);
    assert!(points.map(|point| point.x).all(|x| x >= first - 0.5), "nothing stretches the axis");
    assert!(plane.marks.is_empty(), "{:?}", plane.marks);
}
