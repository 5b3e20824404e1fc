//! Stacks in folded form, one a line: the frames from the outermost to the innermost, and what it counts for.

use crate::domain::profile::{CpuSamples, have_parts, is_below, split_path};
use crate::domain::run::OperatorTime;

/// The frame of what a module or a phase took beside its parts.
pub const OTHER: &str = "(other)";

/// A frame may hold what separates frames.
fn frame(text: &str) -> String {
    text.chars().map(|character| if character == ';' || character.is_control() { ':' } else { character }).collect()
}

fn line(frames: &[String]) -> String {
    frames.iter().map(|name| frame(name)).collect::<Vec<_>>().join(";")
}

/// The frames of a part: its phase, the modules around it, and itself, each by what its path adds to the one before.
fn frames(stored: &str, has_parts: bool, all: &[&str]) -> Vec<String> {
    let (phase, path) = split_path(stored);
    let same = all.iter().map(|other| split_path(other)).filter(|(other, _)| *other == phase).map(|(_, path)| path);
    let mut around: Vec<&str> = same.filter(|outer| !outer.is_empty() && is_below(path, outer)).collect();
    around.sort_by_key(|outer| outer.len());
    around.dedup();
    around.extend(Some(path).filter(|path| !path.is_empty()));
    let mut frames = vec![phase.to_owned()];
    let mut last = "";
    for step in around {
        frames.push(step.strip_prefix(last).unwrap_or(step).trim_start_matches('.').to_owned());
        last = step;
    }
    if has_parts {
        frames.push(OTHER.to_owned());
    }
    frames
}

/// Every part with its own nanoseconds in one of `iterations`.
pub fn operator_lines(times: &[OperatorTime], iterations: u64) -> Vec<String> {
    let all: Vec<&str> = times.iter().map(|time| time.path.as_str()).collect();
    let each = |time: &OperatorTime| time.own_nanoseconds / iterations.max(1);
    times
        .iter()
        .zip(have_parts(all.iter().map(|path| split_path(path))))
        .filter(|(time, _)| each(time) > 0)
        .map(|(time, has_parts)| format!("{} {}", line(&frames(&time.path, has_parts, &all)), each(time)))
        .collect()
}

/// Every part of either profile with its own nanoseconds in one iteration before and after.
pub fn difference_lines(before: (&[OperatorTime], u64), after: (&[OperatorTime], u64)) -> Vec<String> {
    let mut all: Vec<&str> = before.0.iter().chain(after.0).map(|time| time.path.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    let own = |(times, iterations): (&[OperatorTime], u64), path: &str| {
        let found = times.iter().find(|time| time.path == path);
        found.map_or(0, |time| time.own_nanoseconds / iterations.max(1))
    };
    all.iter()
        .zip(have_parts(all.iter().map(|path| split_path(path))))
        .map(|(path, has_parts)| (path, has_parts, own(before, path), own(after, path)))
        .filter(|(_, _, before, after)| before + after > 0)
        .map(|(path, has_parts, before, after)| format!("{} {before} {after}", line(&frames(path, has_parts, &all))))
        .collect()
}

/// Every stack that was seen, with how often.
pub fn cpu_lines(samples: &CpuSamples) -> Vec<String> {
    samples.stacks.iter().map(|stack| format!("{} {}", line(&stack.frames), stack.count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::profile::{CpuStack, ProfiledPart};
    use crate::report::profile::samples::profile;

    fn times() -> Vec<OperatorTime> {
        profile().parts.iter().map(ProfiledPart::time).collect()
    }

    #[test]
    fn a_stack_is_the_way_to_a_part_and_nothing_is_lost() {
        let lines = operator_lines(&times(), 2);
        assert_eq!(
            lines,
            [
                "forward;(other) 50",
                "forward;layer1.0;(other) 50",
                "forward;layer1.0;conv1 200",
                "forward;layer1.0;relu() 100",
                "optimizer_step 100",
            ]
        );
        let sum: u64 = lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
        assert_eq!(sum, times().iter().map(|time| time.own_nanoseconds).sum::<u64>() / 2);
    }

    #[test]
    fn both_sides_of_a_difference_stand_in_one_line() {
        let mut after = times();
        after.retain(|time| !time.path.ends_with("relu()"));
        after[2].own_nanoseconds = 900;
        let lines = difference_lines((&times(), 2), (&after, 1));
        assert!(lines.contains(&"forward;layer1.0;conv1 200 900".to_owned()), "{lines:?}");
        assert!(lines.contains(&"forward;layer1.0;relu() 100 0".to_owned()), "{lines:?}");
    }

    #[test]
    fn what_separates_frames_is_taken_out_of_them() {
        let stack = CpuStack { frames: vec!["main".into(), "<[u8; 4] as A>::b".into()], count: 3 };
        let samples = CpuSamples { stacks: vec![stack], ..CpuSamples::default() };
        assert_eq!(cpu_lines(&samples), ["main;<[u8: 4] as A>::b 3"]);
    }
}
