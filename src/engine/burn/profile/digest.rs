//! What the notes of an iteration mean: how often each part ran, and for how long.
//!
//! Forward, parts lie in each other as they were called. What a part took without those within is its own time; of a
//! module that is what no operator accounts for, such as an addition.
//!
//! Backward there are operators alone, one after the other (see [`boundary`](crate::zoo::observe)). The time between
//! two of them belongs to the smallest module that holds both. An operator whose inputs need no gradient does not tell
//! when it is left, and ends where the next one begins, or the pass.
//!
//! Modules that hold several parts and that nobody calls as a whole, such as a list of blocks, are known by the paths of
//! their parts: they have a total, and neither calls nor a time of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::names::{Names, common_path};
use super::recorder::{Note, Notes, What};
use crate::domain::profile::{PartKind, ProfiledPart, TimelineSpan, have_parts, is_below};
use crate::zoo::observe::{Part, Side, Work};

/// The phase that goes backward.
pub(super) const BACKWARD: &str = "backward";

/// Adds up iterations.
#[derive(Debug)]
pub(super) struct Digest<'n> {
    names: &'n Names,
    phases: Vec<&'static str>,
    parts: Vec<ProfiledPart>,
    places: HashMap<(&'static str, String), usize>,
    /// Which of the parts have parts of their own, as far as they were known when that was looked at.
    have_parts: Vec<bool>,
    /// Of the last iteration.
    timeline: Vec<TimelineSpan>,
    /// Of the last iteration.
    pub waits: u64,
    /// Whether operators were left in another order than they were come to.
    pub is_tangled: bool,
}

/// Nanoseconds of one iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    /// From its beginning to its end.
    pub whole: u64,
    /// Of its operators alone, without what lies between them.
    pub operators: u64,
}

/// A part that did not end yet.
struct Open {
    part: usize,
    start: u64,
    /// What those within took.
    within: u64,
    /// Its place in the timeline; `None` for a module that has no path of its own.
    span: Option<usize>,
}

/// One iteration that is being read.
struct Reading {
    began: u64,
    phase: &'static str,
    open: Vec<Open>,
    /// Path and work of each operator of the forward pass.
    operators: Vec<(String, Work)>,
    backward: Backward,
}

/// Where the backward pass is.
#[derive(Default)]
struct Backward {
    /// The operator that it came to last, its part and its place in the timeline.
    last: Option<(usize, usize, usize)>,
    /// Whether it did not leave that one yet.
    is_inside: bool,
    /// When it was told of last.
    at: u64,
}

impl<'n> Digest<'n> {
    /// For work of these phases.
    pub fn new(names: &'n Names, phases: Vec<&'static str>) -> Self {
        Self {
            names,
            phases,
            parts: Vec::new(),
            places: HashMap::new(),
            have_parts: Vec::new(),
            timeline: Vec::new(),
            waits: 0,
            is_tangled: false,
        }
    }

    /// Adds an iteration.
    pub fn add(&mut self, notes: Notes) -> Added {
        let before = self.in_operators();
        self.waits = notes.waits;
        self.timeline.clear();
        let began = notes.notes.first().map_or(0, |note| note.at);
        let mut reading =
            Reading { began, phase: "", open: Vec::new(), operators: Vec::new(), backward: Backward::default() };
        let mut phase = 0;
        let mut ended = began;
        for Note { at, what } in notes.notes {
            ended = at;
            match what {
                What::Phase => {
                    self.end_phase(&mut reading, at);
                    reading.phase = self.phases.get(phase).copied().unwrap_or("after");
                    phase += 1;
                    self.begin(&mut reading, String::new(), PartKind::Phase, at);
                }
                What::Begin(part) => self.begin_part(&mut reading, &part, at),
                What::End(work) => {
                    let part = self.end(&mut reading, at);
                    if let (Some(work), Some(part)) = (work, part) {
                        let part = &mut self.parts[part];
                        part.multiply_adds += work.multiply_adds;
                        part.bytes += work.bytes;
                        reading.operators.push((part.path.clone(), work));
                    }
                }
                What::Backward(operator, side) => self.backward(&mut reading, operator, side, at),
                What::Finish => self.end_phase(&mut reading, at),
            }
        }
        Added { whole: ended - began, operators: self.in_operators().saturating_sub(before) }
    }

    /// Nanoseconds of all operators so far, and of all else that is of one piece.
    fn in_operators(&mut self) -> u64 {
        if self.have_parts.len() != self.parts.len() {
            self.have_parts = have_parts(self.parts.iter().map(ProfiledPart::place));
        }
        let parts = self.parts.iter().zip(&self.have_parts);
        parts.filter(|(_, has_parts)| !**has_parts).map(|(part, _)| part.own_nanoseconds).sum()
    }

    /// The parts, with their totals, and the last iteration.
    pub fn finish(mut self) -> (Vec<ProfiledPart>, Vec<TimelineSpan>) {
        self.add_modules_of_the_backward_pass();
        self.add_modules_that_nobody_calls();
        let own: Vec<(String, String, u64)> =
            self.parts.iter().map(|part| (part.phase.clone(), part.path.clone(), part.own_nanoseconds)).collect();
        for part in &mut self.parts {
            let belongs = |(phase, path, _): &&(String, String, u64)| {
                *phase == part.phase && (*path == part.path || is_below(path, &part.path))
            };
            part.total_nanoseconds = own.iter().filter(belongs).map(|(.., own)| own).sum();
        }
        (self.parts, self.timeline)
    }

    /// The modules that hold operators of the backward pass, which nobody called.
    fn add_modules_of_the_backward_pass(&mut self) {
        let modules: Vec<(String, u64)> = self
            .parts
            .iter()
            .filter(|part| part.phase != BACKWARD && part.kind == PartKind::Module)
            .map(|part| (part.path.clone(), part.calls))
            .collect();
        for (path, calls) in modules {
            let holds = |part: &ProfiledPart| part.phase == BACKWARD && is_below(&part.path, &path);
            if self.parts.iter().any(holds) {
                let part = self.place(BACKWARD, path, PartKind::Module);
                self.parts[part].calls = calls;
            }
        }
    }

    /// The modules that hold several parts and that nobody calls as a whole. One that holds a single part is that part.
    fn add_modules_that_nobody_calls(&mut self) {
        let mut held: BTreeMap<(&'static str, String), BTreeSet<String>> = BTreeMap::new();
        for (phase, path) in self.places.keys() {
            let mut inner = path.as_str();
            while let Some((outer, _)) = inner.rsplit_once('.') {
                held.entry((phase, outer.to_owned())).or_default().insert(inner.to_owned());
                inner = outer;
            }
        }
        for ((phase, path), _) in held.into_iter().filter(|(_, parts)| parts.len() > 1) {
            self.place(phase, path, PartKind::Module);
        }
    }

    /// The part of this path, new or known.
    fn place(&mut self, phase: &'static str, path: String, kind: PartKind) -> usize {
        let next = self.parts.len();
        let place = *self.places.entry((phase, path.clone())).or_insert(next);
        if place == next {
            self.parts.push(ProfiledPart {
                phase: phase.to_owned(),
                path,
                kind,
                calls: 0,
                total_nanoseconds: 0,
                own_nanoseconds: 0,
                multiply_adds: 0,
                bytes: 0,
            });
        }
        place
    }

    fn span(&mut self, part: usize, start: u64) -> usize {
        self.timeline.push(TimelineSpan { part, start_nanoseconds: start, nanoseconds: 0 });
        self.timeline.len() - 1
    }

    fn begin_part(&mut self, reading: &mut Reading, part: &Part, at: u64) {
        let Some(outer) = reading.open.last().map(|open| open.part) else { return };
        let outer_path = self.parts[outer].path.clone();
        let path = self.names.path(part, &outer_path);
        let is_module = matches!(part, Part::Module(_));
        if is_module && (path.is_empty() || path == outer_path) {
            // What runs in it belongs to what it is called from.
            reading.open.push(Open { part: outer, start: at, within: 0, span: None });
            return;
        }
        let kind = if is_module { PartKind::Module } else { PartKind::Operator };
        self.begin(reading, path, kind, at);
    }

    fn begin(&mut self, reading: &mut Reading, path: String, kind: PartKind, at: u64) {
        let part = self.place(reading.phase, path, kind);
        self.parts[part].calls += 1;
        let span = self.span(part, at - reading.began);
        reading.open.push(Open { part, start: at, within: 0, span: Some(span) });
    }

    /// Ends what began last; answers its part.
    fn end(&mut self, reading: &mut Reading, at: u64) -> Option<usize> {
        let Open { part, start, within, span } = reading.open.pop()?;
        let took = at.saturating_sub(start);
        self.parts[part].own_nanoseconds += took.saturating_sub(within);
        if let Some(span) = span {
            self.timeline[span].nanoseconds = took;
        }
        if let Some(outer) = reading.open.last_mut() {
            outer.within += took;
        }
        Some(part)
    }

    fn end_phase(&mut self, reading: &mut Reading, at: u64) {
        if reading.phase == BACKWARD {
            self.leave_backward(reading, at);
        }
        while !reading.open.is_empty() {
            self.end(reading, at);
        }
    }

    /// The backward pass is at a side of an operator.
    fn backward(&mut self, reading: &mut Reading, operator: usize, side: Side, at: u64) {
        let Some((path, work)) = reading.operators.get(operator).cloned() else { return };
        match side {
            Side::Output => {
                let part = self.place(BACKWARD, path.clone(), PartKind::Operator);
                self.to(reading, &path, at);
                let found = &mut self.parts[part];
                found.calls += 1;
                found.multiply_adds += work.backward_multiply_adds;
                found.bytes += work.backward_bytes;
                let span = self.span(part, at - reading.began);
                reading.backward.last = Some((operator, part, span));
                reading.backward.is_inside = true;
            }
            Side::Input => match reading.backward.last {
                // Of several inputs the last one ends it.
                Some((last, part, span)) if last == operator => {
                    self.spend(reading, part, Some(span), at);
                    reading.backward.is_inside = false;
                }
                _ => self.is_tangled = true,
            },
        }
    }

    /// Accounts for the time until the pass comes to the operator of a path.
    fn to(&mut self, reading: &mut Reading, path: &str, at: u64) {
        match reading.backward.last {
            Some((_, part, span)) if reading.backward.is_inside => self.spend(reading, part, Some(span), at),
            Some((_, part, _)) => {
                let last = self.parts[part].path.clone();
                let holder = holder(&last, path);
                let kind = if holder.is_empty() { PartKind::Phase } else { PartKind::Module };
                let part = self.place(BACKWARD, holder.to_owned(), kind);
                self.spend(reading, part, None, at);
            }
            // Before the first operator: the phase's own time, which is what is left of it.
            None => reading.backward.at = at,
        }
    }

    /// The time since the pass was told of last is that of a part.
    fn spend(&mut self, reading: &mut Reading, part: usize, span: Option<usize>, at: u64) {
        let took = at.saturating_sub(reading.backward.at);
        reading.backward.at = at;
        self.parts[part].own_nanoseconds += took;
        if let Some(span) = span {
            self.timeline[span].nanoseconds += took;
        }
        if let Some(phase) = reading.open.last_mut() {
            phase.within += took;
        }
    }

    fn leave_backward(&mut self, reading: &mut Reading, at: u64) {
        if let Some((_, part, span)) = reading.backward.last.filter(|_| reading.backward.is_inside) {
            self.spend(reading, part, Some(span), at);
        }
        reading.backward = Backward::default();
    }
}

/// The smallest module that holds two operators, which may be one and the same.
fn holder<'p>(one: &'p str, other: &str) -> &'p str {
    let shared = common_path(one, other);
    if shared == one || shared == other { shared.rsplit_once('.').map_or("", |(module, _)| module) } else { shared }
}

#[cfg(test)]
mod tests {
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
        // The last iteration alone, from its own beginning.
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
        digest.add(notes(vec![
            (0, What::Phase),
            (0, function(0, "a")),
            (0, done(0)),
            (0, function(1, "b")),
            (0, done(0)),
            (0, function(2, "c")),
            (0, done(0)),
            (0, What::Phase),
            (0, What::Backward(2, Side::Output)),
            (10, What::Backward(2, Side::Input)),
            (12, What::Backward(2, Side::Input)),
            (20, What::Backward(1, Side::Output)),
            (50, What::Backward(0, Side::Output)),
            (90, What::Finish),
        ]));
        assert!(!digest.is_tangled);
        let (parts, _) = digest.finish();
        let own = |path| found(&parts, BACKWARD, path).own_nanoseconds;
        assert_eq!((own("c()"), own(""), own("b()"), own("a()")), (12, 8, 30, 40));
    }

    #[test]
    fn operators_that_are_left_out_of_turn_are_noticed() {
        let names = Names::default();
        let mut digest = Digest::new(&names, TRAINING.to_vec());
        digest.add(notes(vec![
            (0, What::Phase),
            (0, function(0, "a")),
            (0, done(0)),
            (0, function(1, "b")),
            (0, done(0)),
            (0, What::Phase),
            (0, What::Backward(1, Side::Output)),
            (1, What::Backward(0, Side::Output)),
            (2, What::Backward(1, Side::Input)),
            (3, What::Finish),
        ]));
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
}
