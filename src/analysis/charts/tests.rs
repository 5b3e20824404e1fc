use super::super::compare::Reference;
use super::super::facts::{Iterations, add_samples};
use super::super::samples::{Sample, facts_of};
use super::*;
use crate::domain::chart::{Content, Join, Matrix, Plane, RowShape, Rows, Scale, Value};
use crate::domain::{RunGroup, RunStatus, Series, SeriesRun, SeriesSet, Validity, Verdict};

mod honest;

fn record(samples: Vec<Sample>) -> Record {
    Record { facts: facts_of(samples, &Iterations::new()), ..Record::default() }
}

#[track_caller]
fn chart(sheet: Sheet) -> Chart {
    match sheet {
        Sheet::Chart(chart) => chart,
        Sheet::Nothing { reason, .. } => panic!("{reason}"),
    }
}

#[track_caller]
fn reason(sheet: Sheet) -> String {
    match sheet {
        Sheet::Nothing { reason, .. } => reason,
        Sheet::Chart(chart) => panic!("{chart:?}"),
    }
}

fn rows(chart: &Chart, panel: usize) -> &Rows {
    match &chart.panels[panel].content {
        Content::Rows(rows) => rows,
        other => panic!("{other:?}"),
    }
}

fn plane(chart: &Chart, panel: usize) -> &Plane {
    match &chart.panels[panel].content {
        Content::Plane(plane) => plane,
        other => panic!("{other:?}"),
    }
}

fn matrix(chart: &Chart) -> &Matrix {
    match &chart.panels[0].content {
        Content::Matrix(matrix) => matrix,
        other => panic!("{other:?}"),
    }
}

fn value(rows: &Rows, series: usize, row: usize) -> &Value {
    rows.series[series].values[row].as_ref().unwrap()
}

fn on_gpu(model: &str) -> Sample {
    Sample::new(model).with(Part::Platform, "cuda").with(Part::Device, "RTX").with(Part::Engine, "burn-cuda")
}

fn at_batch(model: &str, batch: u32, milliseconds: f64) -> Sample {
    let rate = 1e3 * f64::from(batch) / milliseconds;
    Sample::new(model)
        .with(Part::BatchSize, &batch.to_string())
        .run(&[("latency_p50_ms", milliseconds), ("throughput_samples_per_second", rate)])
}

/// Every name and value of a sheet, whatever its panels are.
fn numbers(chart: &Chart) -> usize {
    let count = |panel: &Panel| match &panel.content {
        Content::Rows(rows) => rows.series.iter().flat_map(|series| series.values.iter().flatten()).count(),
        Content::Plane(plane) => plane.series.iter().map(|series| series.points.len()).sum(),
        Content::Matrix(matrix) => matrix.cells.iter().flatten().flatten().count(),
        Content::Histogram(histogram) => histogram.counts.len(),
    };
    chart.panels.iter().map(count).sum()
}

#[test]
fn the_fastest_stands_first_with_the_interval_of_its_latency() {
    let record = record(vec![Sample::new("slow").latencies(&[20.0]), Sample::new("fast").latencies(&[10.0, 8.0])]);
    let chart = chart(throughput(&record));
    let rows = rows(&chart, 0);
    assert_eq!(rows.names, ["fast", "slow"]);
    assert_eq!(rows.axis.text(), "throughput [samples/s]");
    // The median of 100 and 125; its bar is that of the latencies 8 to 10 around 9.
    let fast = value(rows, 0, 0);
    assert!((fast.value - 112.5).abs() < 1e-9);
    let (low, high) = fast.interval.unwrap();
    assert!((low - 112.5 * 0.9).abs() < 1e-9 && (high - 112.5 * 9.0 / 8.0).abs() < 1e-9, "{low} {high}");
    assert!(fast.detail.contains("2 runs") && fast.detail.contains("range"), "{}", fast.detail);
    assert_eq!(value(rows, 0, 1).interval, None);
    assert!(
        chart.subtitle.contains("inference, Xeon, burn-flex") && chart.subtitle.contains("bars: range"),
        "{}",
        chart.subtitle
    );
    let columns = vec!["throughput_samples_per_second", "throughput_tokens_per_second"];
    assert_eq!(chart.behind, Some(Behind::Configurations { ids: vec![0, 1], columns }));
    // However many runs there are.
    let many = self::chart(throughput(&self::record(vec![Sample::new("m").latencies(&[10.0; 2_000])])));
    assert!(many.behind.is_some());
}

#[test]
fn of_a_single_run_the_iterations_give_the_interval_and_they_alone_are_read() {
    let mut record = record(vec![
        Sample::new("one").latencies(&[10.0]),
        Sample::new("two").latencies(&[10.0, 11.0]),
        Sample::new("soft").software().latencies(&[1.0]),
    ]);
    assert_eq!(record.single_runs(&[ChartName::Latency, ChartName::Throughput]), [1]);
    assert_eq!(record.single_runs(&[ChartName::Memory]), Vec::<i64>::new());
    let iterations = Iterations::from([(1, (0..50).map(|index| 9.5 + f64::from(index) / 50.0).collect())]);
    add_samples(&mut record.facts, &iterations);
    let chart = chart(latency(&record));
    let one = value(rows(&chart, 0), 0, 0);
    assert!(one.detail.contains("within the only run"), "{}", one.detail);
    assert!(one.interval.unwrap().0 < 10.0 && one.interval.unwrap().1 >= 10.0);
}

#[test]
fn percentiles_that_rest_on_too_little_are_told() {
    let with = |model: &str| {
        Sample::new(model).run(&[
            ("latency_p50_ms", 10.0),
            ("latency_p95_ms", 12.0),
            ("latency_p99_ms", 15.0),
            ("throughput_samples_per_second", 100.0),
        ])
    };
    let chart = chart(latency(&record(vec![with("a"), Sample::new("b").run(&[("latency_mean_ms", 3.0)])])));
    let rows = rows(&chart, 0);
    assert_eq!(rows.shape, RowShape::Dots);
    assert_eq!(
        rows.series.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(),
        ["median", "mean", "p95", "p99"]
    );
    assert_eq!(rows.names, ["b", "a"]);
    assert!(rows.series[0].values[0].is_none() && rows.series[1].values[1].is_none());
    assert!((value(rows, 3, 1).value - 15.0).abs() < 1e-12);
    assert!(value(rows, 3, 1).detail.contains("fewer than it needs"));
    for words in ["p99 of 1 configuration rests on fewer than the 299", "Means stand in"] {
        assert!(chart.notes.iter().any(|note| note.contains(words)), "{words}: {:?}", chart.notes);
    }
}

#[test]
fn one_two_sixty_and_more_rows_are_shown_up_to_the_limit() {
    for count in [1, 2, MOST, MOST + 1, 200] {
        let samples = (0..count).map(|index| Sample::new(&format!("m{index:03}")).latencies(&[1.0 + index as f64]));
        let chart = chart(throughput(&record(samples.collect())));
        let rows = rows(&chart, 0);
        assert_eq!(rows.names.len(), count.min(MOST));
        assert_eq!(rows.series[0].values.len(), rows.names.len());
        assert_eq!(rows.names[0], "m000", "the fastest of {count}");
        let said = chart.notes.iter().any(|note| note.contains(&format!("the 60 fastest of {count} configurations")));
        assert_eq!(said, count > MOST, "{:?}", chart.notes);
    }
}

#[test]
fn panels_share_the_rows_of_a_sheet() {
    let of = |mode: &str, count: usize| {
        let sample =
            |index| Sample::new(&format!("m{index:03}")).with(Part::Mode, mode).latencies(&[1.0 + index as f64]);
        (0..count).map(sample).collect::<Vec<_>>()
    };
    for (inference, training, shown) in [(100, 2, [58, 2]), (100, 100, [30, 30]), (10, 100, [10, 50]), (3, 4, [3, 4])] {
        let chart =
            chart(latency(&record(of("inference", inference).into_iter().chain(of("training", training)).collect())));
        assert_eq!([rows(&chart, 0).names.len(), rows(&chart, 1).names.len()], shown);
        let notes = chart.notes.iter().filter(|note| note.starts_with("Shown")).count();
        assert_eq!(notes, usize::from(inference > shown[0]) + usize::from(training > shown[1]));
    }
}

#[test]
fn modes_have_panels_of_their_own_and_explanations_a_sheet() {
    let of = |mode: &str| Sample::new("m").with(Part::Mode, mode).latencies(&[10.0]);
    let chart = chart(throughput(&record(vec![of("training"), of("explanation"), of("inference")])));
    let titles: Vec<&str> = chart.panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["inference", "training"]);
    let alone = self::chart(throughput(&record(vec![of("explanation")])));
    assert_eq!(numbers(&alone), 1);
}

#[test]
fn what_is_left_out_is_told() {
    let mut record = record(vec![Sample::new("m").latencies(&[10.0]), Sample::new("m").software().latencies(&[1.0])]);
    record.not_valid = 3;
    record.versions = Some("2 configurations pool runs".to_owned());
    let shown = chart(throughput(&record));
    assert_eq!(numbers(&shown), 1);
    for words in ["1 configuration of software", "3 runs that failed", "2 configurations pool runs."] {
        assert!(shown.notes.iter().any(|note| note.contains(words)), "{words}: {:?}", shown.notes);
    }
    record.include_software = true;
    assert_eq!(numbers(&chart(throughput(&record))), 2);
    record.facts.retain(|fact| fact.software);
    record.include_software = false;
    assert!(reason(throughput(&record)).contains("only software"));
}

#[test]
fn every_chart_says_why_it_has_nothing_to_show() {
    let builders: [fn(&Record) -> Sheet; 10] = [
        throughput,
        latency,
        memory,
        batch_scaling,
        training_inference,
        precision,
        energy,
        accuracy,
        cold_start,
        explanations,
    ];
    let empty = Record::default();
    let broken = Record { not_valid: 2, ..Record::default() };
    let bare = record(vec![Sample::new("m").run(&[("model_size_mb", 1.0)])]);
    for (index, build) in builders.into_iter().enumerate() {
        assert_eq!(reason(build(&empty)), "no run is selected", "{index}");
        assert!(reason(build(&broken)).contains("2 selected runs are not valid"), "{index}");
        let words = reason(build(&bare));
        assert!(words.starts_with("no ") && !words.contains('\n'), "{index}: {words}");
    }
    let reference = Reference::default();
    assert_eq!(reason(speedup(&empty, &reference)), "no run is selected");
    let gpu = record(vec![on_gpu("m").latencies(&[1.0])]);
    assert!(reason(speedup(&gpu, &reference)).contains("no configuration with platform cpu"));
    let cpu = record(vec![Sample::new("m").latencies(&[1.0])]);
    assert!(reason(speedup(&cpu, &reference)).contains("nothing else does the same work"));
    assert!(reason(history(&HistoryFacts::default(), 0.1)).contains("two valid runs"));
}

#[test]
fn scaling_has_a_line_a_configuration_on_both_panels() {
    for count in [1, 2, MOST, MOST + 5] {
        let samples = (0..count).flat_map(|index| {
            let model = format!("m{index:03}");
            // The second model has three batch sizes.
            let batches: &[u32] = if index == 1 { &[1, 4, 16] } else { &[8, 1] };
            batches.iter().map(|batch| at_batch(&model, *batch, 10.0 + index as f64)).collect::<Vec<_>>()
        });
        let chart = chart(batch_scaling(&record(samples.chain([Sample::new("alone").latencies(&[1.0])]).collect())));
        let (rate, time) = (plane(&chart, 0), plane(&chart, 1));
        assert_eq!((rate.series.len(), time.series.len(), chart.columns), (count.min(MOST), count.min(MOST), 2));
        assert_eq!(rate.x.scale, Scale::PowersOfTwo);
        assert!(rate.series.iter().zip(&time.series).all(|(one, other)| one.name == other.name));
        assert!(rate.series.iter().all(|series| series.join == Join::LineAndPoints));
        let first = rate.series.iter().find(|series| count == 1 || series.name == "m000").unwrap();
        assert_eq!(first.points.iter().map(|point| point.x).collect::<Vec<_>>(), [1.0, 8.0]);
        assert!((first.points[1].y.value - 800.0).abs() < 1e-9);
    }
}

#[test]
fn training_stands_beside_the_inference_of_the_same_batch() {
    let step = Sample::new("m")
        .with(Part::Mode, "training")
        .with(Part::Parameters, r#"{"optimizer":"adam"}"#)
        .run(&[("latency_p50_ms", 35.0), ("memory_host_peak_mb", 300.0)]);
    let pass = Sample::new("m").run(&[("latency_p50_ms", 10.0), ("memory_host_peak_mb", 100.0)]);
    let chart = chart(training_inference(&record(vec![pass, step, Sample::new("other").latencies(&[1.0])])));
    let times = rows(&chart, 0);
    assert_eq!((value(times, 0, 0).value, value(times, 1, 0).value), (10.0, 35.0));
    assert!(value(times, 1, 0).detail.contains("3.500 times the inference"), "{}", value(times, 1, 0).detail);
    let memory = rows(&chart, 1);
    assert!(value(memory, 1, 0).detail.contains("3.000 times"));
    assert!(chart.subtitle.contains("adam"), "{}", chart.subtitle);
}

#[test]
fn precisions_are_ratios_to_fp32_of_the_same_work() {
    let of = |precision: &str, latencies: &[f64]| {
        latencies.iter().fold(Sample::new("m").with(Part::Precision, precision), |sample, latency| {
            sample.run(&[("latency_p50_ms", *latency), ("memory_host_peak_mb", 10.0 * latency)])
        })
    };
    let chart = chart(precision(&record(vec![
        of("fp32", &[10.0, 12.0]),
        of("bf16", &[5.0, 6.0]),
        of("int8w", &[22.0]),
        on_gpu("m").with(Part::Precision, "fp16").latencies(&[1.0]),
    ])));
    let speed = rows(&chart, 0);
    assert_eq!(speed.series.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(), ["bf16", "int8w"]);
    let bf16 = value(speed, 0, 0);
    assert!((bf16.value - 2.0).abs() < 1e-12);
    // 10 to 12 over 5 to 6.
    let (low, high) = bf16.interval.unwrap();
    assert!((low - 10.0 / 6.0).abs() < 1e-12 && (high - 12.0 / 5.0).abs() < 1e-12);
    assert!((value(speed, 1, 0).value - 0.5).abs() < 1e-12);
    assert!((value(rows(&chart, 1), 0, 0).value - 0.5).abs() < 1e-12, "half the memory");
    assert_eq!(chart.panels.len(), 2, "neither energy nor errors were measured");
}

#[test]
fn the_map_of_speed_ups_has_a_row_a_work_and_a_column_a_way() {
    let record = record(vec![
        Sample::new("a").latencies(&[40.0]),
        Sample::new("a").with(Part::Precision, "bf16").latencies(&[80.0]),
        on_gpu("a").latencies(&[4.0]),
        Sample::new("b").latencies(&[10.0]),
        on_gpu("b").latencies(&[5.0]),
        on_gpu("c").latencies(&[5.0]),
    ]);
    let chart = chart(speedup(&record, &Reference::default()));
    let map = matrix(&chart);
    assert_eq!(map.rows, ["a", "b"]);
    assert_eq!(map.columns, ["Xeon, burn-flex, bf16", "Xeon, burn-flex, fp32", "RTX, burn-cuda, fp32"]);
    let values: Vec<Vec<Option<f64>>> =
        map.cells.iter().map(|row| row.iter().map(|cell| cell.as_ref().map(|cell| cell.value)).collect()).collect();
    assert_eq!(values, [[Some(0.5), Some(1.0), Some(10.0)], [None, Some(1.0), Some(2.0)]]);
    assert!((map.neutral - 1.0).abs() < f64::EPSILON);
    assert_eq!(map.cells[0][1].as_ref().unwrap().detail, "the reference");
    assert!(chart.notes.iter().any(|note| note.contains("1 configuration does work")), "{:?}", chart.notes);
}

#[test]
fn without_a_common_batch_size_the_best_rates_are_compared() {
    let record = record(vec![
        at_batch("m", 1, 10.0),
        on_gpu("m")
            .with(Part::BatchSize, "64")
            .run(&[("latency_p50_ms", 64.0), ("throughput_samples_per_second", 1000.0)]),
        on_gpu("m")
            .with(Part::BatchSize, "32")
            .run(&[("latency_p50_ms", 64.0), ("throughput_samples_per_second", 500.0)]),
    ]);
    let chart = chart(speedup(&record, &Reference::default()));
    let best = matrix(&chart).cells[0].iter().flatten().map(|cell| cell.value).fold(0.0, f64::max);
    assert!((best - 10.0).abs() < 1e-9);
    assert!(chart.notes[0].contains("with its best one"), "{:?}", chart.notes);
}

#[test]
fn the_front_goes_from_the_fastest_to_the_most_accurate() {
    let of = |variant: &str, rate: f64, share: f64| {
        Sample::new("m").with(Part::Variant, variant).run(&[
            ("throughput_samples_per_second", rate),
            ("latency_p50_ms", 1e3 / rate),
            ("accuracy_top1", share),
        ])
    };
    let chart =
        chart(accuracy(&record(vec![of("original", 100.0, 0.9), of("narrow", 300.0, 0.7), of("worse", 90.0, 0.6)])));
    let plane = plane(&chart, 0);
    assert_eq!((plane.x.label.as_str(), plane.y.text().as_str()), ("throughput", "top-1 accuracy [%]"));
    let front = &plane.series[0];
    assert_eq!((front.name.as_str(), front.join), ("Pareto front", Join::Steps));
    assert_eq!(
        front.points.iter().map(|point| (point.x, point.y.value)).collect::<Vec<_>>(),
        [(300.0, 70.0), (100.0, 90.0)]
    );
    let labels: Vec<&str> =
        plane.series.iter().flat_map(|series| &series.points).map(|point| point.label.as_str()).collect();
    assert!(labels.contains(&"original") && labels.contains(&"worse"), "{labels:?}");
}

#[test]
fn a_cold_start_is_the_sum_of_its_parts() {
    let cold = |model: &str, build: f64, first: f64| {
        Sample::new(model).run(&[("latency_p50_ms", 1.0), ("startup_ms", build), ("first_inference_ms", first)])
    };
    let chart = chart(cold_start(&record(vec![cold("long", 100.0, 50.0), cold("short", 20.0, 90.0)])));
    let rows = rows(&chart, 0);
    assert_eq!(rows.names, ["short", "long"]);
    assert_eq!((rows.shape, rows.axis.scale), (RowShape::Stacked, Scale::Linear));
    assert_eq!(rows.series.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(), ["build", "first inference"]);
}

#[test]
fn explanations_have_a_panel_a_question_and_name_what_was_not_measured() {
    let of = |method: &str, latency: f64, memory: f64| {
        Sample::new("m")
            .with(Part::Mode, "explanation")
            .with(Part::BatchSize, "2")
            .with(Part::Parameters, &format!(r#"{{"method":"{method}"}}"#))
            .run(&[
                ("latency_p50_ms", latency),
                ("throughput_samples_per_second", 2e3 / latency),
                ("memory_host_peak_mb", memory),
                ("success_rate", 1.0),
            ])
    };
    let chart = chart(explanations(&record(vec![of("occlusion", 80.0, 90.0), of("saliency", 8.0, 100.0)])));
    let titles: Vec<&str> = chart.panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["time", "throughput", "memory", "success rate", "speed against memory"]);
    assert_eq!(rows(&chart, 0).names, ["saliency", "occlusion"]);
    // Of one explanation, not of the batch.
    assert!((value(rows(&chart, 0), 0, 0).value - 4.0).abs() < 1e-12);
    assert!((value(rows(&chart, 3), 0, 0).value - 100.0).abs() < 1e-12);
    assert_eq!(plane(&chart, 4).series[0].points[1].label, "occlusion");
    assert!(chart.notes.iter().any(|note| note == "Not measured: power."), "{:?}", chart.notes);
}

#[test]
fn models_with_several_ways_stand_together() {
    let of = |model: &str, batch: u32, latency: f64| at_batch(model, batch, latency);
    let chart = chart(memory(&record(
        [("a", 100.0), ("b", 50.0)]
            .into_iter()
            .flat_map(|(model, size)| {
                [1, 2]
                    .map(|batch| of(model, batch, 1.0).run(&[("memory_host_peak_mb", size * f64::from(batch * batch))]))
            })
            .collect(),
    )));
    assert_eq!(rows(&chart, 0).names, ["b, batch 1", "b, batch 2", "a, batch 1", "a, batch 2"]);
    // The only series has no legend: the axis says what it is.
    assert_eq!(rows(&chart, 0).axis.text(), "peak memory of the process [MB]");
}

/// A history of runs a day apart with these latencies; the last run is not valid.
fn history_of(latencies: &[f64]) -> HistoryFacts {
    let mut set = SeriesSet::new(metrics_of_history());
    let width = set.metrics.len();
    let sample = record(vec![Sample::new("m").latencies(&[1.0])]);
    let mut series = Series::new(Some(7), sample.facts[0].identity.clone());
    set.environments.push(crate::domain::Environment::default());
    for (index, latency) in latencies.iter().enumerate() {
        let mut values = vec![f64::NAN; width];
        values[0] = *latency;
        let last = index + 1 == latencies.len();
        let run = SeriesRun {
            run_id: Some(index as i64),
            uuid: None,
            group: RunGroup::Alone,
            started_at_ms: Some(index as i64 * 86_400_000),
            environment: 0,
            iterations: 50,
            validity: if last { Validity::Throttled } else { Validity::Valid },
            status: RunStatus::Ok,
        };
        series.push(run, values);
    }
    set.series.push(series);
    HistoryFacts { set, ..HistoryFacts::default() }
}

#[test]
fn a_history_shows_its_steps_levels_and_verdicts() {
    let noise = |index: i32| 1.0 + 0.01 * (f64::from(index * 7919 % 13) / 6.0 - 1.0);
    let latencies: Vec<f64> = (0..25).map(|index| if index < 12 { 100.0 } else { 120.0 } * noise(index)).collect();
    let mut facts = history_of(&latencies);
    facts.iterations.insert(3, (0..50).map(f64::from).collect());
    facts.verdicts = vec![
        (5, "latency_p50_ms".to_owned(), Verdict::Suspect),
        (12, "latency_p50_ms".to_owned(), Verdict::Regressed),
        (6, "memory_host_peak_mb".to_owned(), Verdict::Regressed),
    ];
    facts.others = 2;
    let chart = chart(history(&facts, 0.1));
    let plane = plane(&chart, 0);
    assert_eq!(plane.x.scale, Scale::Time);
    let names: Vec<&str> = plane.series.iter().map(|series| series.name.as_str()).collect();
    assert_eq!(names, ["run", "run that does not count", "level"]);
    assert_eq!((plane.series[0].points.len(), plane.series[1].points.len()), (24, 1));
    assert!(plane.series[0].points[3].y.interval.is_some() && plane.series[0].points[4].y.interval.is_none());
    let levels = &plane.series[2].points;
    assert_eq!(levels.len(), 3);
    assert!((levels[0].y.value - 100.0).abs() < 2.0 && (levels[1].y.value - 120.0).abs() < 2.0);
    assert!((levels[1].x - 12.0 * 86_400_000.0).abs() < 1.0);
    let labels: Vec<&str> = plane.marks.iter().map(|mark| mark.label.as_str()).collect();
    assert_eq!(labels, ["step +20 %", "suspect"], "a verdict at a step that is shown adds nothing");
    assert!(chart.panels[0].title.starts_with("median latency: regressed, cost +"), "{}", chart.panels[0].title);
    assert!(chart.notes.iter().any(|note| note.contains("2 other configurations")), "{:?}", chart.notes);
    assert_eq!(chart.behind, Some(Behind::History { configuration: 7, columns: vec!["latency_p50_ms"] }));
}

#[test]
fn runs_without_a_date_stand_in_their_order() {
    let mut facts = history_of(&[10.0, 11.0, 12.0]);
    for run in &mut facts.set.series[0].runs {
        run.started_at_ms = None;
    }
    let chart = chart(history(&facts, 0.1));
    assert_eq!(plane(&chart, 0).series[0].points.iter().map(|point| point.x).collect::<Vec<_>>(), [1.0, 2.0]);
    assert!(chart.notes.iter().any(|note| note.contains("order")), "{:?}", chart.notes);
    assert!(chart.panels[0].title.contains("too few runs"), "{}", chart.panels[0].title);
}
