//! Every rule of docs/verdicts.md on series that a test made.

use super::*;
use crate::analysis::metrics::metrics_of;
use crate::domain::{DeviceKind, Environment, RunGroup, RunStatus, SeriesRun};

/// A set with one series a name, each with these values of a metric, in 100 iterations each.
fn set(metric: &str, series: &[(&str, &[f64])]) -> SeriesSet {
    let choice = MetricChoice::parse(metric).unwrap();
    let metrics = metrics_of(std::slice::from_ref(&choice));
    let column = metrics.iter().position(|known| known.name == choice.name()).unwrap();
    let width = metrics.len();
    let mut set = SeriesSet::new(metrics);
    set.environments.push(Environment::default());
    for (name, values) in series {
        let mut identity = Identity::default();
        for part in Part::all() {
            identity.set(*part, if *part == Part::BatchSize { "8".into() } else { String::new() });
        }
        identity.set(Part::Model, (*name).to_owned());
        let mut one = Series::new(Some(1), identity);
        for (index, value) in values.iter().enumerate() {
            let run = SeriesRun {
                run_id: Some(index as i64),
                uuid: None,
                group: RunGroup::Alone,
                started_at_ms: None,
                environment: 0,
                iterations: 100,
                validity: Validity::Valid,
                status: RunStatus::Ok,
            };
            let mut row = vec![f64::NAN; width];
            row[column] = *value;
            one.push(run, row);
        }
        set.series.push(one);
    }
    set
}

fn options(metric: &str) -> JudgeOptions {
    JudgeOptions {
        alert: 0.1,
        metrics: vec![MetricChoice::parse(metric).unwrap()],
        matched_on: Part::all().to_vec(),
        false_discovery_rate: None,
        floors: true,
        noise: HashMap::new(),
    }
}

fn verdict(metric: &str, before: &[f64], after: &[f64]) -> Judgement {
    let comparison = judge(&set(metric, &[("m", before)]), &set(metric, &[("m", after)]), &options(metric));
    assert_eq!(comparison.judgements.len(), 1);
    comparison.judgements[0].clone()
}

#[test]
fn a_profile_is_not_judged_against_a_plain_run() {
    let before = set("latency", &[("m", &STEADY)]);
    let mut after = set("latency", &[("m", &STEADY), ("m", &times(&STEADY, 3.0))]);
    after.series[1].identity.set(Part::Parameters, r#"{"profile":"operators"}"#.into());
    // As of a file that knows no parameters.
    let matched_on = Part::all().iter().copied().filter(|part| *part != Part::Parameters).collect();
    let judged = judge(&before, &after, &JudgeOptions { matched_on, ..options("latency") }).judgements;
    let mut verdicts: Vec<Verdict> = judged.iter().map(|judgement| judgement.verdict).collect();
    verdicts.sort();
    let mut expected = vec![Verdict::New, Verdict::Unchanged];
    expected.sort();
    assert_eq!(verdicts, expected);
}

const STEADY: [f64; 6] = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2];

fn times(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

#[test]
fn five_runs_a_side_are_tested() {
    let judged = verdict("latency", &STEADY, &times(&STEADY, 1.2));
    assert_eq!((judged.verdict, judged.evidence), (Verdict::Regressed, Some(Evidence::TwoSamples)));
    assert!((judged.effect.unwrap() - 1.2_f64.ln()).abs() < 1e-12);
    // Two samples of six that do not overlap: 2 of C(12, 6) = 924 arrangements.
    assert!((judged.p_value.unwrap() - 2.0 / 924.0).abs() < 1e-12);
    assert!(judged.effect_low.unwrap() < 1.2_f64.ln() && judged.effect_high.unwrap() > 1.2_f64.ln());
    assert_eq!(verdict("latency", &STEADY, &times(&STEADY, 0.8)).verdict, Verdict::Improved);
    assert_eq!(verdict("latency", &STEADY, &times(&STEADY, 1.02)).verdict, Verdict::Unchanged);
}

#[test]
fn a_rate_that_falls_is_a_regression() {
    let judged = verdict("throughput", &STEADY, &times(&STEADY, 0.8));
    assert_eq!(judged.verdict, Verdict::Regressed);
    assert!((judged.effect.unwrap() - 1.25_f64.ln()).abs() < 1e-12);
}

#[test]
fn a_change_in_noise_is_suspect_and_says_what_would_decide() {
    let noisy = [100.0, 140.0, 80.0, 120.0, 95.0];
    let judged = verdict("latency", &noisy, &times(&noisy, 1.15));
    assert_eq!(judged.verdict, Verdict::Suspect);
    assert!(judged.more_runs.unwrap() > 5);
    assert!(judged.smallest_effect.unwrap() > 0.3);
    let judged = verdict("latency", &noisy, &times(&noisy, 1.02));
    assert_eq!(judged.verdict, Verdict::Inconclusive);
    assert!(judged.more_runs.is_some());
}

#[test]
fn new_runs_are_held_against_many_old_ones() {
    let history: Vec<f64> = STEADY.iter().chain(&STEADY).copied().collect();
    let judged = verdict("latency", &history, &[120.0, 121.0]);
    assert_eq!((judged.verdict, judged.evidence), (Verdict::Regressed, Some(Evidence::Prediction)));
    // One of two inside: it may be chance. The median of the two is past the threshold.
    let judged = verdict("latency", &history, &[100.0, 121.0]);
    assert_eq!(judged.verdict, Verdict::Suspect);
    assert_eq!(verdict("latency", &history, &[100.3]).verdict, Verdict::Unchanged);
}

#[test]
fn a_single_number_a_side_is_judged_by_the_threshold() {
    for (after, wanted) in [
        (110.0, Verdict::Regressed),
        (109.9, Verdict::Unchanged),
        (100.0 / 1.1, Verdict::Improved),
        (91.0, Verdict::Unchanged),
    ] {
        let judged = verdict("latency", &[100.0], &[after]);
        assert_eq!((judged.verdict, judged.evidence), (wanted, Some(Evidence::ThresholdOnly)), "{after}");
        assert_eq!((judged.p_value, judged.effect_low), (None, None));
    }
}

#[test]
fn four_runs_a_side_are_not_tested() {
    let judged = verdict("latency", &STEADY[..4], &times(&STEADY[..4], 1.2));
    assert_eq!(judged.evidence, Some(Evidence::ThresholdOnly));
}

#[test]
fn the_kept_noise_tells_what_a_threshold_alone_would_find() {
    let before = set("latency", &[("m", &[100.0])]);
    let after = set("latency", &[("m", &[120.0])]);
    let mut options = options("latency");
    options.noise.insert((1, "latency_p50_ms".into()), 0.03);
    let judged = judge(&before, &after, &options).judgements.remove(0);
    assert_eq!(judged.evidence, Some(Evidence::ThresholdOnly));
    // (2.5758 + 0.8416) * 0.03 * sqrt(1/1 + 1/1)
    assert!((judged.smallest_effect.unwrap() - 0.144_987).abs() < 1e-4, "{judged:?}");
}

#[test]
fn below_the_floor_nothing_matters() {
    // 0.005 ms is 50 % of 0.01 ms, and below the floor of 0.01 ms.
    let judged = verdict("latency", &times(&STEADY, 1e-4), &times(&STEADY, 1.5e-4));
    assert_eq!(judged.verdict, Verdict::Unchanged);
    assert!(judged.notes[0].contains("floor"));
}

#[test]
fn proportions_are_judged_by_their_difference() {
    let before = [0.760, 0.761, 0.759, 0.760, 0.7605, 0.7595];
    let judged = verdict("accuracy", &before, &before.map(|value| value - 0.02));
    assert_eq!((judged.verdict, judged.absolute), (Verdict::Regressed, true));
    assert!((judged.effect.unwrap() - 0.02).abs() < 1e-12);
    assert_eq!(verdict("accuracy", &before, &before.map(|value| value + 0.02)).verdict, Verdict::Improved);
}

#[test]
fn what_only_one_side_has_is_listed() {
    let before = set("latency", &[("gone", &STEADY), ("both", &STEADY)]);
    let after = set("latency", &[("both", &STEADY), ("fresh", &STEADY)]);
    let comparison = judge(&before, &after, &options("latency"));
    let found: Vec<(&str, Verdict)> = comparison
        .judgements
        .iter()
        .map(|judgement| (judgement.identity.get(Part::Model), judgement.verdict))
        .collect();
    assert_eq!(found, [("both", Verdict::Unchanged), ("fresh", Verdict::New), ("gone", Verdict::Missing)]);
}

#[test]
fn a_side_without_valid_runs_is_invalid() {
    let before = set("latency", &[("m", &STEADY)]);
    let mut after = set("latency", &[("m", &STEADY)]);
    for run in &mut after.series[0].runs {
        run.validity = Validity::Throttled;
    }
    let judged = judge(&before, &after, &options("latency")).judgements.remove(0);
    assert_eq!(judged.verdict, Verdict::Invalid);
    assert!(judged.notes[0].contains("6 throttled"), "{:?}", judged.notes);
}

#[test]
fn a_batch_time_is_not_compared_across_batch_sizes_but_a_rate_is() {
    let without_batch: Vec<Part> = Part::all().iter().copied().filter(|part| *part != Part::BatchSize).collect();
    for (metric, wanted) in [("latency", Verdict::Incomparable), ("throughput", Verdict::Regressed)] {
        let before = set(metric, &[("m", &STEADY)]);
        let mut after = set(metric, &[("m", &times(&STEADY, if metric == "latency" { 2.0 } else { 0.5 }))]);
        after.series[0].identity.set(Part::BatchSize, "16".into());
        let options = JudgeOptions { matched_on: without_batch.clone(), ..options(metric) };
        let comparison = judge(&before, &after, &options);
        assert_eq!(comparison.judgements[0].verdict, wanted);
        assert!(comparison.judgements[0].notes[0].contains("batch_size was 8, now 16"));
        assert_eq!(comparison.differing_parts[&Part::BatchSize], 1);
    }
}

#[test]
fn several_configurations_on_one_side_are_not_mixed() {
    let without_batch: Vec<Part> = Part::all().iter().copied().filter(|part| *part != Part::BatchSize).collect();
    let mut before = set("throughput", &[("m", &STEADY), ("m", &STEADY)]);
    before.series[1].identity.set(Part::BatchSize, "16".into());
    let options = JudgeOptions { matched_on: without_batch, ..options("throughput") };
    let judged = judge(&before, &set("throughput", &[("m", &STEADY)]), &options).judgements.remove(0);
    assert_eq!(judged.verdict, Verdict::Incomparable);
    assert!(judged.notes[0].contains("batch_size"), "{:?}", judged.notes);
}

#[test]
fn another_kind_of_device_is_another_thing() {
    let mut before = set("latency", &[("m", &STEADY)]);
    let mut after = set("latency", &[("m", &STEADY)]);
    before.series[0].device_kind = Some(DeviceKind::Cpu);
    after.series[0].device_kind = Some(DeviceKind::Gpu);
    assert_eq!(judge(&before, &after, &options("latency")).judgements[0].verdict, Verdict::Incomparable);
}

#[test]
fn a_percentile_without_the_samples_is_not_judged() {
    let before = set("latency_p99_ms", &[("m", &STEADY)]);
    let judged = judge(&before, &before.clone(), &options("latency_p99_ms")).judgements.remove(0);
    assert_eq!(judged.verdict, Verdict::Invalid);
    assert!(judged.notes[0].contains("299 samples"), "{:?}", judged.notes);
}

#[test]
fn q_values_may_decide() {
    let names: Vec<String> = (0..40).map(|index| format!("m{index:02}")).collect();
    let before: Vec<(&str, &[f64])> = names.iter().map(|name| (name.as_str(), &STEADY[..])).collect();
    let slower = times(&STEADY, 1.2);
    // One of forty is slower: its p value is small, its q value forty times as large.
    let after: Vec<(&str, &[f64])> =
        names.iter().map(|name| (name.as_str(), if name == "m00" { slower.as_slice() } else { &STEADY[..] })).collect();
    let (before, after) = (set("latency", &before), set("latency", &after));
    let plain = judge(&before, &after, &options("latency"));
    assert_eq!(plain.judgements[0].verdict, Verdict::Regressed);
    let q_value = plain.judgements[0].q_value.unwrap();
    assert!((q_value - 40.0 * 2.0 / 924.0).abs() < 1e-9, "{q_value}");
    let strict = JudgeOptions { false_discovery_rate: Some(0.05), ..options("latency") };
    assert_eq!(judge(&before, &after, &strict).judgements[0].verdict, Verdict::Suspect);
}

#[test]
fn what_differs_between_the_environments_is_named() {
    let mut before = set("latency", &[("m", &STEADY)]);
    let mut after = set("latency", &[("m", &times(&STEADY, 1.3))]);
    before.environments[0].driver_version = Some("550".into());
    after.environments[0].driver_version = Some("560".into());
    before.environments[0].host = Some("a".into());
    let judged = judge(&before, &after, &options("latency")).judgements.remove(0);
    let wanted = Difference { what: "driver_version".into(), baseline: "550".into(), candidate: "560".into() };
    assert_eq!(judged.differences, [wanted]);
}

/// The promise of docs/verdicts.md: without a change, a test calls hardly anything regressed.
#[test]
fn unchanged_noise_is_hardly_ever_called_regressed() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut noise = |spread: f64| {
        let sum: f64 = (0..12).map(|_| random.f64()).sum();
        100.0 * (spread * (sum - 6.0)).exp()
    };
    let (mut regressed, mut judged) = (0, 0);
    for spread in [0.03, 0.1, 0.3] {
        for _ in 0..700 {
            let before: Vec<f64> = (0..8).map(|_| noise(spread)).collect();
            let after: Vec<f64> = (0..6).map(|_| noise(spread)).collect();
            judged += 1;
            regressed += usize::from(verdict("latency", &before, &after).verdict == Verdict::Regressed);
        }
    }
    // Half of one per cent at most; three standard deviations of room.
    assert!(regressed as f64 <= 0.005 * f64::from(judged) + 3.0 * (0.005 * f64::from(judged)).sqrt(), "{regressed}");
}
