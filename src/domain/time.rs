//! Moments: milliseconds since 1970 and the texts for them.

/// Milliseconds since 1970 of an ISO-8601 time.
pub fn milliseconds(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// ISO-8601 UTC of milliseconds since 1970, without the milliseconds.
pub fn time_text(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// Milliseconds since 1970 as people write a moment: `2026-11-22 03:00:00 UTC`.
pub fn moment(milliseconds: i64) -> String {
    time_text(milliseconds).replace('T', " ").replace('Z', " UTC")
}
