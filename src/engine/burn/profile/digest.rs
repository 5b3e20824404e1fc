//! What the notes of an iteration mean: how often each part ran, and for how long.
//!
//! Forward, parts lie in each other as they were called. What a part took without those within is its own time; of a
//! module that is what no operator accounts for, such as an addition.
//!
//! Backward there are operators alone, one after the other (see [`boundary`](crate::zoo::observe)). The time between
//! two of them belongs to the smallest module that holds both. An operator whose inputs need no gradient does not tell
//! when it is left, and ends where the next one begins, or the pass.
//!
//! Of the iterations only the middle half counts for times, by how long they took as a whole: what else the machine did falls
//! on few of them, and would fall on whichever operator was running.
//!
//! Modules that hold several parts and that nobody calls as a whole, such as a list of blocks, are known by the paths of
//! their parts: they have a total, and neither calls nor a time of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::names::{Names, common_path};
use super::recorder::{Note, Notes, What};
use crate::domain::profile::{PartKind, ProfiledPart, TimelineSpan, have_parts, is_below, middle_half};
use crate::zoo::observe::{Part, Side, Work};

/// The phase that goes backward.
pub(super) const BACKWARD: &str = "backward";

/// Adds up iterations.
#[derive(Debug)]
pub(super) struct Digest<'n> {
    names: &'n Names,
    phases: Vec<&'static str>,
    /// Calls and work are sums over all iterations, own times are those of the one that is being read.
    parts: Vec<ProfiledPart>,
    iterations: Vec<Iteration>,
    places: HashMap<(&'static str, String), usize>,
    /// Which of the parts have parts of their own, as far as they were known when that was looked at.
    have_parts: Vec<bool>,
    /// Of the iteration that is being read.
    timeline: Vec<TimelineSpan>,
    /// Of the iteration nearest to the middle of those so far, and how long that took.
    shown: Option<(u64, Vec<TimelineSpan>)>,
    /// How long the iterations took, in ascending order.
    ascending: Vec<u64>,
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

/// Nanoseconds of one iteration that is over.
#[derive(Debug)]
struct Iteration {
    whole: u64,
    /// Each part's own time, as far as parts were known then.
    own: Vec<u64>,
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
            iterations: Vec::new(),
            places: HashMap::new(),
            have_parts: Vec::new(),
            timeline: Vec::new(),
            shown: None,
            ascending: Vec::new(),
            waits: 0,
            is_tangled: false,
        }
    }

    /// Adds an iteration.
    pub fn add(&mut self, notes: Notes) -> Added {
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
        let added = Added { whole: ended - began, operators: self.in_operators() };
        self.keep(added.whole);
        added
    }

    /// Keeps the iteration that was read, and makes room for the next.
    fn keep(&mut self, whole: u64) {
        let own = self.parts.iter_mut().map(|part| std::mem::take(&mut part.own_nanoseconds)).collect();
        self.iterations.push(Iteration { whole, own });
        self.ascending.insert(self.ascending.partition_point(|other| *other < whole), whole);
        let middle = self.ascending[(self.ascending.len() - 1) / 2];
        if self.shown.as_ref().is_none_or(|(shown, _)| whole.abs_diff(middle) <= shown.abs_diff(middle)) {
            self.shown = Some((whole, std::mem::take(&mut self.timeline)));
        }
    }

    /// Nanoseconds of all operators of the iteration that is being read, and of all else that is of one piece.
    fn in_operators(&mut self) -> u64 {
        if self.have_parts.len() != self.parts.len() {
            self.have_parts = have_parts(self.parts.iter().map(ProfiledPart::place));
        }
        let parts = self.parts.iter().zip(&self.have_parts);
        parts.filter(|(_, has_parts)| !**has_parts).map(|(part, _)| part.own_nanoseconds).sum()
    }

    /// The parts, with their totals, and the iteration nearest to the middle. Times are the mean over the middle half of the
    /// iterations, times the number of all.
    pub fn finish(mut self) -> (Vec<ProfiledPart>, Vec<TimelineSpan>) {
        self.count_the_middle();
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
        let timeline = self.shown.map(|(_, timeline)| timeline).unwrap_or_default();
        (self.parts, timeline)
    }

    /// The parts' own times from the iterations that count.
    fn count_the_middle(&mut self) {
        let wholes: Vec<u64> = self.iterations.iter().map(|iteration| iteration.whole).collect();
        let middle = middle_half(&wholes);
        let (all, counted) = (wholes.len() as u128, middle.len().max(1) as u128);
        for (number, part) in self.parts.iter_mut().enumerate() {
            let own = |place: &usize| self.iterations[*place].own.get(number).copied().unwrap_or_default();
            let sum: u128 = middle.iter().map(|place| u128::from(own(place))).sum();
            part.own_nanoseconds = u64::try_from((sum * all + counted / 2) / counted).unwrap_or(u64::MAX);
        }
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
mod tests;
