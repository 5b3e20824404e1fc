//! Rankings, constraints, certainty and the Pareto set on candidates that a test made.

use super::*;
use crate::analysis::facts::Iterations;
use crate::analysis::samples::{Sample, facts_of};

/// Three ways: small and slow, large and fast, and one that is worse in everything.
fn candidates() -> Vec<Candidate> {
    let way = |engine: &str, latency: f64, memory: f64| {
        let mut sample = Sample::new("m").with(Part::Engine, engine);
        for factor in [0.99, 1.0, 1.01, 0.995, 1.005] {
            sample = sample.run(&[
                ("latency_p50_ms", latency * factor),
                ("throughput_samples_per_second", 1e3 / latency / factor),
                ("memory_host_peak_mb", memory),
            ]);
        }
        sample
    };
    let facts = facts_of(
        vec![way("small", 20.0, 100.0), way("fast", 5.0, 900.0), way("worse", 25.0, 950.0)],
        &Iterations::new(),
    );
    facts.iter().map(|facts| Candidate::measured(facts, &[])).collect()
}

#[test]
fn the_best_comes_first_and_the_dominated_are_not_pareto() {
    let found = recommend(&candidates(), Objective::Throughput, &Constraints::default()).remove(0);
    assert_eq!(found.ranked, [1, 0, 2]);
    assert_eq!(found.pareto, [1, 0]);
    assert_eq!(found.certainty, Certainty::Clear);
    let found = recommend(&candidates(), Objective::Memory, &Constraints::default()).remove(0);
    assert_eq!(found.ranked, [0, 1, 2]);
}

#[test]
fn constraints_rule_out_with_a_reason() {
    let constraints = Constraints { memory_mb: Some(500.0), ..Constraints::default() };
    let found = recommend(&candidates(), Objective::Throughput, &constraints).remove(0);
    assert_eq!(found.ranked, [0]);
    assert_eq!(found.ruled_out.len(), 2);
    assert!(found.ruled_out[0].1.contains("peak memory is 900"), "{}", found.ruled_out[0].1);
    assert_eq!(found.certainty, Certainty::Alone);
    let constraints = Constraints { accuracy: Some(0.7), ..Constraints::default() };
    let found = recommend(&candidates(), Objective::Throughput, &constraints).remove(0);
    assert!(found.ranked.is_empty());
    assert!(found.ruled_out.iter().all(|(_, reason)| reason.contains("accuracy was not measured")));
}

#[test]
fn a_cost_needs_a_price() {
    let found = recommend(&candidates(), Objective::Cost, &Constraints::default()).remove(0);
    assert!(found.ruled_out.iter().all(|(_, reason)| reason.contains("no price of `Xeon`")));
    let price = Price { device: "Xeon".into(), usd_per_hour: 3.6, source: String::new(), as_of: String::new() };
    let facts = facts_of(vec![Sample::new("m").latencies(&[1.0])], &Iterations::new());
    let priced = [Candidate::measured(&facts[0], &[price])];
    let found = recommend(&priced, Objective::Cost, &Constraints::default()).remove(0);
    assert_eq!(found.ranked, [0]);
    assert!((priced[0].cost_usd.unwrap().value - 1.0).abs() < 1e-9);
}

#[test]
fn overlapping_intervals_are_close_and_single_runs_are_not_known() {
    let facts = facts_of(
        vec![
            Sample::new("m").latencies(&[10.0, 11.0, 12.0]),
            Sample::new("m").with(Part::Engine, "other").latencies(&[10.5, 11.5, 12.5]),
        ],
        &Iterations::new(),
    );
    let close: Vec<Candidate> = facts.iter().map(|facts| Candidate::measured(facts, &[])).collect();
    let found = recommend(&close, Objective::Latency, &Constraints::default()).remove(0);
    assert_eq!(found.certainty, Certainty::Close);
    let facts = facts_of(
        vec![Sample::new("m").latencies(&[10.0]), Sample::new("m").with(Part::Engine, "other").latencies(&[20.0])],
        &Iterations::new(),
    );
    let single: Vec<Candidate> = facts.iter().map(|facts| Candidate::measured(facts, &[])).collect();
    let found = recommend(&single, Objective::Latency, &Constraints::default()).remove(0);
    assert_eq!(found.certainty, Certainty::Unknown);
}

#[test]
fn a_forecast_stands_beside_measurements_under_its_own_name() {
    let mut with_forecast = candidates();
    let mut forecast = with_forecast[1].clone();
    forecast.source = Source::Predicted { tier: "near".into() };
    forecast.identity.set(Part::Engine, "predicted".into());
    with_forecast.push(forecast);
    let found = recommend(&with_forecast, Objective::Throughput, &Constraints::default()).remove(0);
    assert!(found.ranked.contains(&3));
    assert_eq!(with_forecast[3].source.name(), "predicted (near)");
}

#[test]
fn a_forecast_outranks_a_measurement_by_its_whole_interval_alone() {
    let measured = candidates();
    let first = recommend(&measured, Objective::Throughput, &Constraints::default()).remove(0).ranked[0];
    let best = measured[first].estimate(Objective::Throughput).unwrap();
    let top = best.interval.map_or(best.value, |(_, high)| high);
    let place = |low: f64, high: f64| {
        let mut all = measured.clone();
        let mut forecast = all[first].clone();
        forecast.source = Source::Predicted { tier: "B".into() };
        forecast.identity.set(Part::Engine, "other".into());
        forecast.throughput =
            Some(Estimate { value: 0.5 * (low + high), interval: Some((low, high)), knows: Knows::Runs });
        all.push(forecast);
        let ranked = recommend(&all, Objective::Throughput, &Constraints::default()).remove(0).ranked;
        ranked.iter().position(|index| *index == all.len() - 1).unwrap()
    };
    assert_eq!(place(1.1 * top, 2.0 * top), 0);
    assert!(place(0.9 * best.value, 3.0 * top) > 0);
    // What is ruled out by a limit is so by the end of the interval.
    let mut forecast = measured[first].clone();
    forecast.source = Source::Predicted { tier: "B".into() };
    forecast.memory_mb = Some(Estimate { value: 100.0, interval: Some((50.0, 300.0)), knows: Knows::Runs });
    let tight = Constraints { memory_mb: Some(200.0), ..Constraints::default() };
    assert!(recommend(&[forecast], Objective::Throughput, &tight)[0].ranked.is_empty());
}
