//! The file format of speedscope.app: <https://github.com/jlfwong/speedscope/wiki/Importing-from-custom-sources>, an evented
//! profile as `file-format-spec.ts` there defines it.

use std::io::Write;

use serde_json::{Value, json};

use crate::domain::profile::{Profile, stored_path};
use crate::domain::text::printable;

/// Where the format is published.
const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

/// Writes the profiled iteration nearest to the middle: every part opens, and closes before what it lies in.
///
/// # Errors
/// What the writer refuses.
pub fn speedscope(profile: &Profile, name: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let frames: Vec<Value> =
        profile.parts.iter().map(|part| json!({ "name": printable(&stored_path(&part.phase, &part.path)) })).collect();
    let (events, end) = events(profile);
    let document = json!({
        "$schema": SCHEMA,
        "exporter": concat!("benchdb ", env!("CARGO_PKG_VERSION")),
        "name": printable(name),
        "activeProfileIndex": 0,
        "shared": { "frames": frames },
        "profiles": [{
            "type": "evented",
            "name": printable(name),
            "unit": "nanoseconds",
            "startValue": 0,
            "endValue": end,
            "events": events,
        }],
    });
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

/// Opening and closing events in order of time, and the end of the last.
fn events(profile: &Profile) -> (Vec<Value>, u64) {
    let event = |kind: &str, frame: usize, at: u64| json!({ "type": kind, "frame": frame, "at": at });
    let mut events = Vec::new();
    // Frame and end of what is open, the innermost last.
    let mut open: Vec<(usize, u64)> = Vec::new();
    let mut now = 0;
    for span in &profile.timeline {
        while let Some((frame, end)) = open.pop_if(|(_, end)| *end <= span.start_nanoseconds) {
            now = end;
            events.push(event("C", frame, end));
        }
        let start = span.start_nanoseconds.max(now);
        // What lies in another part cannot outlast it.
        let limit = open.last().map_or(u64::MAX, |(_, end)| *end);
        let end = span.start_nanoseconds.saturating_add(span.nanoseconds).clamp(start, limit.max(start));
        now = start;
        events.push(event("O", span.part, start));
        open.push((span.part, end));
    }
    while let Some((frame, end)) = open.pop() {
        now = end;
        events.push(event("C", frame, end));
    }
    (events, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::profile::TimelineSpan;
    use crate::report::profile::samples::profile;

    fn written(profile: &Profile) -> Value {
        let mut out = Vec::new();
        speedscope(profile, "resnet18", &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    /// The rules that the published definition has beyond the types: time does not go back, and what opened last closes
    /// first.
    fn check(document: &Value) -> usize {
        let frames = document["shared"]["frames"].as_array().unwrap().len() as u64;
        let profile = &document["profiles"][0];
        let (mut open, mut now, mut opened) = (Vec::new(), profile["startValue"].as_u64().unwrap(), 0);
        for event in profile["events"].as_array().unwrap() {
            let (frame, at) = (event["frame"].as_u64().unwrap(), event["at"].as_u64().unwrap());
            assert!(at >= now && frame < frames, "{event}");
            now = at;
            if event["type"] == "O" {
                open.push(frame);
                opened += 1;
            } else {
                assert_eq!(event["type"], "C");
                assert_eq!(open.pop(), Some(frame), "{event}");
            }
        }
        assert!(open.is_empty());
        assert!(profile["endValue"].as_u64().unwrap() >= now);
        opened
    }

    #[test]
    fn what_opens_closes_in_turn() {
        let document = written(&profile());
        assert_eq!(check(&document), 5);
        assert_eq!(document["$schema"], SCHEMA);
        assert_eq!(document["profiles"][0]["endValue"], 500);
        assert_eq!(document["shared"]["frames"][2]["name"], "forward/layer1.0.conv1");
    }

    #[test]
    fn a_part_that_would_outlast_what_it_lies_in_is_cut() {
        let span = |part, start_nanoseconds, nanoseconds| TimelineSpan { part, start_nanoseconds, nanoseconds };
        let torn = Profile { timeline: vec![span(0, 0, 100), span(1, 50, 80), span(2, 130, 0)], ..profile() };
        assert_eq!(check(&written(&torn)), 3);
    }

    #[test]
    fn nothing_is_an_empty_profile() {
        assert_eq!(check(&written(&Profile::default())), 0);
    }
}
