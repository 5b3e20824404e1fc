//! What the tables and sentences of a profile say.

use super::*;
use crate::domain::RunStatus;
use crate::domain::profile::CpuStack;

fn told(sum_ms: f64, outside: f64, interval: Option<(f64, f64)>) -> String {
    let difference = sum_ms / 10.0 - 1.0;
    verdict(&Agreement { plain_ms: 10.0, sum_ms, difference, timed_ms: 10.0, outside, ratio: 1.0, interval })
}

#[test]
fn the_verdict_says_by_how_much_and_whether_that_agrees() {
    let near = told(10.4, 0.02, Some((1.0, 1.1)));
    assert!(near.contains("4.0 % more than the 10.00 ms") && near.ends_with("they agree within 10.0 %"), "{near}");
    let short = told(8.0, 0.2, Some((0.99, 1.01)));
    assert!(short.contains("20.0 % less") && short.contains("beyond 10.0 %"), "{short}");
    assert!(short.ends_with("20.0 % of an iteration with their timing lies outside of them, in `(other)`"), "{short}");
    let long = told(20.0, 0.3, Some((2.5, 3.0)));
    assert!(long.contains("100.0 % more") && long.contains("waiting for each operator costs that"), "{long}");
    assert!(told(12.0, 0.0, Some((0.9, 1.4))).contains("something else disturbed them"));
    assert!(told(12.0, 0.0, None).contains("fewer than 20 pairs"));
}

#[test]
fn a_rate_that_was_not_reached_is_told() {
    let stack = CpuStack { frames: Vec::new(), count: 98 };
    let of = |hertz| {
        let cpu = CpuSamples {
            hertz,
            processor_nanoseconds: Some(500_000_000),
            stacks: vec![stack.clone()],
            ..CpuSamples::default()
        };
        Profile { cpu: Some(cpu), ..Profile::default() }
    };
    let told = fewer_stacks(&of(10_000)).unwrap();
    assert!(told.contains("98 stacks, 196 for each second of its time (10000 asked for)"), "{told}");
    assert_eq!(fewer_stacks(&of(250)), None);
    assert_eq!(fewer_stacks(&Profile::default()), None);
}

#[test]
fn what_is_above_its_roof_is_explained() {
    let relu = ProfiledPart {
        phase: "forward".into(),
        path: "relu()".into(),
        kind: PartKind::Operator,
        calls: 1,
        total_nanoseconds: 100,
        own_nanoseconds: 100,
        multiply_adds: 0,
        bytes: 2397,
    };
    let told = |part: ProfiledPart, peaks, top| {
        let profile = Profile { pairs: vec![[100, 100]], parts: vec![part], ..Profile::default() };
        beyond_roof(&profile, peaks, top)
    };
    let peaks = Peaks { gflop_per_second: Some(1.0), gb_per_second: Some(10.0) };
    let caches = told(relu.clone(), peaks, 1).unwrap();
    assert!(caches.contains("more than 100 %") && caches.contains("caches") && !caches.contains("peak"), "{caches}");
    let product = ProfiledPart { multiply_adds: 1000, bytes: 100, ..relu.clone() };
    assert!(told(product, peaks, 1).unwrap().contains("the peak was measured too low"));
    // Neither what is not shown nor what has no roof, nor what is as fast as it.
    assert_eq!(told(relu.clone(), peaks, 0), None);
    assert_eq!(told(relu.clone(), Peaks::default(), 1), None);
    assert_eq!(told(ProfiledPart { bytes: 1000, ..relu }, peaks, 1), None);
}

#[test]
fn what_lies_between_parts_is_other_only_where_there_is_any() {
    let of = |path, has_parts, took_any, people| named(path, is_other(path, has_parts, took_any, people));
    for people in [true, false] {
        assert_eq!(of("", true, true, people), Cell::from("(other)"));
        assert_eq!(of("", false, true, people), Cell::from(""));
        assert_eq!(of("layer1", true, false, people), Cell::from("layer1"));
        assert_eq!(of("fc", false, true, people), Cell::from("fc"));
    }
    assert_eq!(of("layer1.0", true, true, true), Cell::from("layer1.0 (other)"));
    assert_eq!(of("layer1.0", true, true, false), Cell::from("layer1.0"));
    assert_eq!((calls(Some(2.0)), calls(Some(0.0)), calls(None)), (Cell::Integer(2), Cell::Null, Cell::Null));
}

#[test]
fn what_is_stored_of_operators_is_shown_by_iteration() {
    let time = |path: &str, calls, total, own| OperatorTime {
        path: path.to_owned(),
        calls,
        total_nanoseconds: total,
        own_nanoseconds: own,
    };
    let measurement = Measurement {
        iterations: 20,
        operator_times: vec![
            time("forward", 20, 100_000_000, 10_000_000),
            time("forward/block", 20, 90_000_000, 20_000_000),
            time("forward/block.conv", 40, 70_000_000, 70_000_000),
        ],
        ..Measurement::without_numbers(RunStatus::Ok, String::new(), None)
    };
    let table = stored_operators(&measurement, 2);
    assert_eq!(table.columns, ["phase", "operator", "calls", "total ms", "own ms", "share"]);
    let text = |text: &str| Cell::from(text);
    assert_eq!(
        table.rows,
        [
            [text("forward"), text("block.conv"), 2_u32.into(), text("3.500"), text("3.500"), text("70.0 %")],
            [text("forward"), text("block (other)"), 1_u32.into(), text("1.000"), text("1.000"), text("20.0 %")],
            [Cell::Null, text("1 other"), Cell::Null, Cell::Null, text("0.5000"), text("10.0 %")],
        ]
    );
}
