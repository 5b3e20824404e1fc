//! The trace event format of Chrome (`about:tracing`) and Perfetto: complete events, "Trace Event Format", Google 2016.

use std::io::Write;

use serde_json::{Value, json};

use crate::domain::profile::{PartKind, Profile, stored_path};
use crate::domain::text::printable;

/// Nanoseconds of the unit of times in a trace.
const MICROSECOND: f64 = 1e3;

/// Writes the profiled iteration nearest to the middle, one complete event for each call of a part.
///
/// # Errors
/// What the writer refuses.
pub fn chrome_trace(profile: &Profile, name: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let process = json!({ "name": "process_name", "ph": "M", "pid": 1, "args": { "name": printable(name) } });
    let calls = profile.timeline.iter().filter_map(|span| {
        let part = profile.parts.get(span.part)?;
        Some(json!({
            "name": printable(last_name(&part.phase, &part.path)),
            "cat": match part.kind {
                PartKind::Phase => "phase",
                PartKind::Module => "module",
                PartKind::Operator => "operator",
            },
            "ph": "X",
            "ts": span.start_nanoseconds as f64 / MICROSECOND,
            "dur": span.nanoseconds as f64 / MICROSECOND,
            "pid": 1,
            "tid": 1,
            "args": { "path": printable(&stored_path(&part.phase, &part.path)) },
        }))
    });
    let events: Vec<Value> = std::iter::once(process).chain(calls).collect();
    serde_json::to_writer(&mut *out, &json!({ "traceEvents": events, "displayTimeUnit": "ms" }))?;
    writeln!(out)
}

/// What a narrow box has room for.
fn last_name<'p>(phase: &'p str, path: &'p str) -> &'p str {
    if path.is_empty() {
        return phase;
    }
    let last = path.rsplit('.').next().unwrap_or(path);
    // A number alone tells nothing: `layer1.0`.
    if last.chars().all(|character| character.is_ascii_digit()) { path } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::profile::samples::profile;

    #[test]
    fn every_call_is_a_complete_event_in_microseconds() {
        let mut out = Vec::new();
        chrome_trace(&profile(), "resnet18", &mut out).unwrap();
        let document: Value = serde_json::from_slice(&out).unwrap();
        let events = document["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 6);
        assert_eq!(events[3]["name"], "conv1");
        assert_eq!((events[3]["ts"].as_f64(), events[3]["dur"].as_f64()), (Some(0.03), Some(0.2)));
        assert_eq!(events[2]["name"], "layer1.0");
        assert!(events[1..].iter().all(|event| event["ph"] == "X" && event["pid"] == 1 && event["tid"] == 1));
    }
}
