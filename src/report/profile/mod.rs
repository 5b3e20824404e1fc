//! Files of a profile that other programs show: flame graphs, and timelines for speedscope and for Chrome's tracing.

mod flame;
mod speedscope;
mod stacks;
mod trace;

pub use flame::{Flame, Frames, difference_graph, flame_graph};
pub use speedscope::speedscope;
pub use stacks::{OTHER, cpu_lines, difference_lines, operator_lines};
pub use trace::chrome_trace;

#[cfg(test)]
mod samples {
    //! A small profile: one block of two operators, and an optimizer's step.

    use crate::domain::profile::{PartKind, Profile, ProfiledPart, TimelineSpan};

    fn part(phase: &str, path: &str, kind: PartKind, total: u64, own: u64) -> ProfiledPart {
        ProfiledPart {
            phase: phase.into(),
            path: path.into(),
            kind,
            calls: 2,
            total_nanoseconds: total,
            own_nanoseconds: own,
            multiply_adds: 0,
            bytes: 0,
        }
    }

    /// Of two iterations of 500 ns each.
    pub fn profile() -> Profile {
        let span = |part, start_nanoseconds, nanoseconds| TimelineSpan { part, start_nanoseconds, nanoseconds };
        Profile {
            pairs: vec![[450, 500], [460, 500]],
            parts: vec![
                part("forward", "", PartKind::Phase, 800, 100),
                part("forward", "layer1.0", PartKind::Module, 700, 100),
                part("forward", "layer1.0.conv1", PartKind::Operator, 400, 400),
                part("forward", "layer1.0.relu()", PartKind::Operator, 200, 200),
                part("optimizer_step", "", PartKind::Phase, 200, 200),
            ],
            timeline: vec![span(0, 0, 400), span(1, 20, 350), span(2, 30, 200), span(3, 230, 100), span(4, 400, 100)],
            ..Profile::default()
        }
    }
}
