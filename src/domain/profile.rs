//! Where the time of a network goes: its operators, one iteration in time, and what the processor did meanwhile.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::run::OperatorTime;

/// What separates a phase from the path of a part in it: `forward/layer1.0.conv1`.
pub const PHASE_MARK: char = '/';

/// The parameter of a configuration that tells a profile from a plain run, and its value.
pub const PROFILE_PARAMETER: (&str, &str) = ("profile", "operators");

/// Everything that one profile measured, beside what every run has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Pairs of iterations: nanoseconds without and with the timing of operators, in the order in which they were taken.
    pub pairs: Vec<[u64; 2]>,
    /// Nanoseconds of all operators in the timed iteration of each pair, without what lies between them.
    pub operators: Vec<u64>,
    /// Phases and what runs in them, for as many iterations as there are pairs: calls and work are sums over all of them,
    /// times the mean over the [`middle`](Self::middle) of them, times their number.
    pub parts: Vec<ProfiledPart>,
    /// The profiled iteration nearest to the middle, in order of the beginnings.
    pub timeline: Vec<TimelineSpan>,
    /// How often the device was waited for in one profiled iteration.
    pub waits: u64,
    /// Nanoseconds of waiting for a device that has nothing to do, the median of many.
    pub idle_wait_nanoseconds: Option<u64>,
    /// What the processor did.
    pub cpu: Option<CpuSamples>,
    /// What whoever reads the numbers should know.
    pub remarks: Vec<String>,
}

impl Profile {
    /// Which of the pairs count for the times of operators: the middle half by how long the timed iteration took.
    pub fn middle(&self) -> Vec<usize> {
        middle_half(&self.pairs.iter().map(|[_, timed]| *timed).collect::<Vec<u64>>())
    }
}

/// The places of the middle half of these values, in ascending order of values: without the lowest and the highest quarter,
/// which of three or more are one each at least. The mean of what is left is the interquartile mean.
pub fn middle_half(values: &[u64]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by_key(|place| values[*place]);
    let cut = if values.len() < 3 { 0 } else { (values.len() / 4).max(1) };
    places[cut..values.len() - cut].to_vec()
}

/// A phase of an iteration, a module or an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfiledPart {
    /// `forward`, `loss`, `backward`, `optimizer_step`.
    pub phase: String,
    /// The path in the model: `layer1.0.conv1`; a function is called within its module, `layer1.0.relu()`; empty for the
    /// phase itself.
    pub path: String,
    /// What it is.
    pub kind: PartKind,
    /// How often it ran; 0 for a module that nobody calls as a whole, such as a list of blocks.
    pub calls: u64,
    /// Nanoseconds with its parts: its own time and that of all paths below its own.
    pub total_nanoseconds: u64,
    /// Nanoseconds without them. Of what has parts that is what none of them accounts for, see [`have_parts`].
    pub own_nanoseconds: u64,
    /// Multiply-adds; 0 for what multiplies nothing.
    pub multiply_adds: u64,
    /// Bytes that it had to read and write at least; 0 where that is not known.
    pub bytes: u64,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// A phase of the iteration.
    Phase,
    /// A module, with parts of its own.
    Module,
    /// What computes by itself: a layer or a function.
    Operator,
}

impl ProfiledPart {
    /// Its phase and its path.
    pub fn place(&self) -> (&str, &str) {
        (&self.phase, &self.path)
    }

    /// The part as it is stored.
    pub fn time(&self) -> OperatorTime {
        OperatorTime {
            path: stored_path(&self.phase, &self.path),
            calls: self.calls,
            total_nanoseconds: self.total_nanoseconds,
            own_nanoseconds: self.own_nanoseconds,
        }
    }
}

/// The path of a part with its phase: `forward`, `forward/layer1.0.conv1`.
pub fn stored_path(phase: &str, path: &str) -> String {
    if path.is_empty() { phase.to_owned() } else { format!("{phase}{PHASE_MARK}{path}") }
}

/// The phase and the path of what [`stored_path`] made.
pub fn split_path(stored: &str) -> (&str, &str) {
    stored.split_once(PHASE_MARK).unwrap_or((stored, ""))
}

/// Whether `inner` lies below `outer` in the model, both without their phase; everything lies below the empty path.
pub fn is_below(inner: &str, outer: &str) -> bool {
    if outer.is_empty() {
        return !inner.is_empty();
    }
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether each of these - phase and path - has others below it. What it took itself is then what lies between those; what
/// has none is of one piece: an operator, or a phase such as an optimizer's step.
pub fn have_parts<'p>(parts: impl Iterator<Item = (&'p str, &'p str)> + Clone) -> Vec<bool> {
    let mut outer = HashSet::new();
    for (phase, path) in parts.clone() {
        let mut inner = path;
        while !inner.is_empty() {
            inner = inner.rsplit_once('.').map_or("", |(outer, _)| outer);
            if !outer.insert((phase, inner)) {
                // What that lies in is known, too.
                break;
            }
        }
    }
    parts.map(|part| outer.contains(&part)).collect()
}

/// One call of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineSpan {
    /// Which of [`Profile::parts`].
    pub part: usize,
    /// Nanoseconds since the iteration began.
    pub start_nanoseconds: u64,
    /// How long it took.
    pub nanoseconds: u64,
}

/// Stacks of calls of all threads of a process, seen at regular steps of its processor time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuSamples {
    /// Looks for each second of processor time, as they were asked for.
    pub hertz: u32,
    /// Nanoseconds of processor time in which it was looked at; `None` where the system does not tell.
    #[serde(default)]
    pub processor_nanoseconds: Option<u64>,
    /// The stacks.
    pub stacks: Vec<CpuStack>,
    /// Nanoseconds of each iteration that was looked at.
    pub iterations: Vec<u64>,
}

impl CpuSamples {
    /// How many stacks were seen.
    pub fn seen(&self) -> u64 {
        self.stacks.iter().map(|stack| stack.count).sum()
    }

    /// Stacks that were seen for each second of processor time; `None` where that time is not known.
    pub fn seen_hertz(&self) -> Option<f64> {
        let nanoseconds = self.processor_nanoseconds.filter(|&nanoseconds| nanoseconds > 0)?;
        Some(self.seen() as f64 * 1e9 / nanoseconds as f64)
    }

    /// Whether fewer than half of the stacks that were asked for were seen.
    pub fn fell_short(&self) -> bool {
        self.seen_hertz().is_some_and(|hertz| 2.0 * hertz < f64::from(self.hertz))
    }
}

/// One stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CpuStack {
    /// What the process was about, the thread, and the functions, the outermost first.
    pub frames: Vec<String>,
    /// How often it was seen.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_and_a_path_come_apart_as_they_were_put_together() {
        for (phase, path) in [("forward", ""), ("backward", "layer1.0.conv1"), ("loss", "cross_entropy()")] {
            assert_eq!(split_path(&stored_path(phase, path)), (phase, path));
        }
    }

    #[test]
    fn the_middle_half_is_without_a_quarter_at_either_end() {
        assert_eq!(middle_half(&[5, 1, 900, 3, 4, 2, 6, 7]), [3, 4, 0, 6]);
        assert_eq!(middle_half(&[900, 1, 3]), [2]);
        assert_eq!(middle_half(&[4, 4, 900, 1]), [0, 1]);
        assert_eq!((middle_half(&[9, 1]), middle_half(&[9]), middle_half(&[])), (vec![1, 0], vec![0], vec![]));
        assert_eq!(middle_half(&[7; 20]).len(), 10);
    }

    #[test]
    fn stacks_are_counted_for_each_second_of_processor_time() {
        let stack = CpuStack { frames: Vec::new(), count: 98 };
        let of = |hertz, processor_nanoseconds| CpuSamples {
            hertz,
            processor_nanoseconds,
            stacks: vec![stack.clone()],
            ..CpuSamples::default()
        };
        let short = of(10_000, Some(500_000_000));
        assert_eq!((short.seen_hertz(), short.fell_short()), (Some(196.0), true));
        assert!(!of(99, Some(1_000_000_000)).fell_short());
        assert_eq!((of(99, None).seen_hertz(), of(99, Some(0)).seen_hertz()), (None, None));
    }

    #[test]
    fn what_has_parts_is_known_by_its_phase_and_by_whole_names() {
        let parts = [
            ("forward", ""),
            ("forward", "layer1"),
            ("forward", "layer1.0.conv1"),
            ("forward", "layer10.relu()"),
            ("forward", "fc"),
            ("backward", "fc.weight"),
            ("backward", "fc"),
            ("optimizer_step", ""),
        ];
        let found = have_parts(parts.into_iter());
        assert_eq!(found, [true, true, false, false, false, false, true, false]);
    }

    #[test]
    fn below_is_by_whole_names() {
        assert!(is_below("layer1.0", "layer1"));
        assert!(is_below("layer1", ""));
        for (inner, outer) in [("layer10", "layer1"), ("layer1", "layer1"), ("", "")] {
            assert!(!is_below(inner, outer), "{inner} {outer}");
        }
    }
}
