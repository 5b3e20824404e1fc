//! What is made of notes.

use super::*;
use crate::zoo::observe::Operator;

const TRAINING: [&str; 2] = ["forward", BACKWARD];

fn notes(what: Vec<(u64, What)>) -> Notes {
    Notes { notes: what.into_iter().map(|(at, what)| Note { at, what }).collect(), waits: 3 }
}

fn function(number: usize, name: &'static str) -> What {
    What::Begin(Part::Operator { number, operator: Operator::Function(name) })
}

fn done(multiply_adds: u64) -> What {
    let work = Work { multiply_adds, bytes: 10, backward_multiply_adds: 2 * multiply_adds, backward_bytes: 30 };
    What::End(Some(work))
}

/// Forward through functions of these names, all at once, and what comes behind it.
fn after_forward(functions: &[&'static str], what: Vec<(u64, What)>) -> Notes {
    let calls = functions.iter().enumerate().flat_map(|(number, name)| [(0, function(number, name)), (0, done(0))]);
    notes([(0, What::Phase)].into_iter().chain(calls).chain([(0, What::Phase)]).chain(what).collect())
}

fn found<'p>(parts: &'p [ProfiledPart], phase: &str, path: &str) -> &'p ProfiledPart {
    parts.iter().find(|part| part.phase == phase && part.path == path).unwrap_or_else(|| panic!("{phase} {path}"))
}

/// A forward pass of two operators, and backward through both: from 100 on, b from 110 to 140, a from 145 to 170, end at
/// 200.
fn step(began: u64) -> Notes {
    let at = |time: u64, what| (began + time, what);
    notes(vec![
        at(0, What::Phase),
        at(10, function(0, "a")),
        at(30, done(5)),
        at(40, function(1, "b")),
        at(90, done(0)),
        at(100, What::Phase),
        at(110, What::Backward(1, Side::Output)),
        at(140, What::Backward(1, Side::Input)),
        at(145, What::Backward(0, Side::Output)),
        at(170, What::Backward(0, Side::Input)),
        at(200, What::Finish),
    ])
}

#[test]
fn own_times_add_up_to_the_iteration_and_totals_to_their_parts() {
    let names = Names::default();
    let mut digest = Digest::new(&names, TRAINING.to_vec());
    let added = Added { whole: 200, operators: 20 + 50 + 30 + 25 };
    assert_eq!(digest.add(step(1000)), added);
    assert_eq!(digest.add(step(7000)), added);
    let (parts, timeline) = digest.finish();
    let own = |phase, path| found(&parts, phase, path).own_nanoseconds;
    assert_eq!((own("forward", "a()"), own("forward", "b()"), own("forward", "")), (40, 100, 60));
    // Before b, between b and a, and behind a.
    assert_eq!((own(BACKWARD, "b()"), own(BACKWARD, "a()"), own(BACKWARD, "")), (60, 50, 90));
    assert_eq!(parts.iter().map(|part| part.own_nanoseconds).sum::<u64>(), 400);
    assert_eq!(found(&parts, "forward", "").total_nanoseconds, 200);
    assert_eq!(found(&parts, BACKWARD, "").total_nanoseconds, 200);
    let a = found(&parts, BACKWARD, "a()");
    assert_eq!((a.calls, a.multiply_adds, a.bytes), (2, 20, 60));
    // One iteration alone, from its own beginning.
    let told: Vec<(&str, &str, u64, u64)> = timeline
        .iter()
        .map(|span| {
            let part = &parts[span.part];
            (part.phase.as_str(), part.path.as_str(), span.start_nanoseconds, span.nanoseconds)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("forward", "", 0, 100),
            ("forward", "a()", 10, 20),
            ("forward", "b()", 40, 50),
            (BACKWARD, "", 100, 100),
            (BACKWARD, "b()", 110, 30),
            (BACKWARD, "a()", 145, 25),
        ]
    );
}

/// A pass of two operators, of which the second takes 40 and so much more.
fn pass(began: u64, more: u64) -> Notes {
    let at = |time: u64, what| (began + time, what);
    notes(vec![
        at(0, What::Phase),
        at(10, function(0, "a")),
        at(30, done(5)),
        at(40, function(1, "b")),
        at(80 + more, done(0)),
        at(100 + more, What::Finish),
    ])
}

#[test]
fn an_iteration_that_was_disturbed_moves_no_time() {
    let names = Names::default();
    let told = |more: &[u64]| {
        let mut digest = Digest::new(&names, vec!["forward"]);
        let sums: Vec<Added> = more.iter().map(|more| digest.add(pass(5000, *more))).collect();
        (digest.finish(), sums)
    };
    let ((quiet, _), sums) = told(&[0; 8]);
    let ((disturbed, timeline), _) = told(&[0, 0, 0, 0, 0, 0, 0, 900]);
    assert_eq!(quiet, disturbed);
    // What the table shows adds up to what is said of an iteration.
    let of = |path| found(&disturbed, "forward", path);
    assert_eq!(of("a()").own_nanoseconds + of("b()").own_nanoseconds, 8 * sums[0].operators);
    assert_eq!((of("b()").own_nanoseconds, of("b()").calls, of("a()").multiply_adds), (320, 8, 40));
    assert_eq!(of("").total_nanoseconds, 800);
    // The iteration that is shown is one of the others, though it came before.
    assert_eq!(timeline.last().map(|span| span.nanoseconds), Some(40));
    // Of three the one in the middle counts.
    let ((three, _), _) = told(&[900, 0, 3]);
    assert_eq!(found(&three, "forward", "b()").own_nanoseconds, 3 * 43);
}

#[test]
fn what_lies_between_operators_is_not_theirs() {
    let names = Names::default();
    let mut digest = Digest::new(&names, vec!["forward", "optimizer_step"]);
    let added = digest.add(notes(vec![
        (0, What::Phase),
        (10, function(0, "a")),
        (60, done(5)),
        (70, What::Phase),
        (100, What::Finish),
    ]));
    // The optimizer's step has no operators and is of one piece.
    assert_eq!(added, Added { whole: 100, operators: 50 + 30 });
}

#[test]
fn a_module_that_nobody_calls_has_the_total_of_its_parts() {
    let names = Names::default();
    let mut digest = Digest::new(&names, vec!["forward"]);
    for (path, own) in [("layer1.0.conv1", 3), ("layer1.0.conv2", 4), ("layer1.1.conv1", 5), ("head.fc", 6)] {
        let part = digest.place("forward", path.to_owned(), PartKind::Operator);
        digest.parts[part].own_nanoseconds = own;
    }
    digest.keep(18);
    let (parts, _) = digest.finish();
    let of = |path: &str| {
        let part = found(&parts, "forward", path);
        (part.kind, part.calls, part.total_nanoseconds, part.own_nanoseconds)
    };
    assert_eq!(of("layer1"), (PartKind::Module, 0, 12, 0));
    assert_eq!(of("layer1.0"), (PartKind::Module, 0, 7, 0));
    // What holds one part alone says nothing that this part does not.
    assert_eq!(parts.len(), 6);
}

#[test]
fn what_is_never_left_ends_where_the_next_begins_and_several_inputs_end_with_the_last() {
    let names = Names::default();
    let mut digest = Digest::new(&names, TRAINING.to_vec());
    digest.add(after_forward(
        &["a", "b", "c"],
        vec![
            (0, What::Backward(2, Side::Output)),
            (10, What::Backward(2, Side::Input)),
            (12, What::Backward(2, Side::Input)),
            (20, What::Backward(1, Side::Output)),
            (50, What::Backward(0, Side::Output)),
            (90, What::Finish),
        ],
    ));
    assert!(!digest.is_tangled);
    let (parts, _) = digest.finish();
    let own = |path| found(&parts, BACKWARD, path).own_nanoseconds;
    assert_eq!((own("c()"), own(""), own("b()"), own("a()")), (12, 8, 30, 40));
}

#[test]
fn operators_that_are_left_out_of_turn_are_noticed() {
    let names = Names::default();
    let mut digest = Digest::new(&names, TRAINING.to_vec());
    digest.add(after_forward(
        &["a", "b"],
        vec![
            (0, What::Backward(1, Side::Output)),
            (1, What::Backward(0, Side::Output)),
            (2, What::Backward(1, Side::Input)),
            (3, What::Finish),
        ],
    ));
    assert!(digest.is_tangled);
    assert_eq!(digest.finish().0.iter().map(|part| part.own_nanoseconds).sum::<u64>(), 3);
}

#[test]
fn the_smallest_module_holds_what_lies_between_two_operators() {
    for (one, other, module) in [
        ("layer1.0.conv2", "layer1.0.relu()", "layer1.0"),
        ("layer1.1.conv1", "layer1.0.bn2", "layer1"),
        ("layer1.0.relu()", "layer1.0.relu()", "layer1.0"),
        ("fc", "conv1", ""),
        ("fc", "fc", ""),
    ] {
        assert_eq!(holder(one, other), module, "{one} {other}");
    }
}
