//! What the JSON formats share: documents are read whole, and every part knows its line.

use std::io::BufRead;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::{ImportItem, Refusal};
use crate::exchange::head::pass_mark;
use crate::exchange::{ExchangeError, Sink};

/// The text of a document.
///
/// # Errors
/// A file that cannot be read, or is no UTF-8.
pub(super) fn text(path: &str, content: &mut dyn BufRead) -> Result<String, ExchangeError> {
    let unreadable = |source| ExchangeError::Read { path: path.to_owned(), source };
    pass_mark(content).map_err(unreadable)?;
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| ExchangeError::Malformed {
        path: path.to_owned(),
        line: line_at(error.as_bytes(), error.utf8_error().valid_up_to()),
        reason: "it is not UTF-8".to_owned(),
    })
}

/// A whole document as a value of type `T`.
///
/// # Errors
/// A text that is none, with the line.
pub(super) fn document<'t, T: serde::Deserialize<'t>>(path: &str, text: &'t str) -> Result<T, ExchangeError> {
    serde_json::from_str(text).map_err(|error| ExchangeError::Malformed {
        path: path.to_owned(),
        line: (error.line() as u64).max(1),
        reason: error.to_string(),
    })
}

/// The line in which a part of a text stands.
pub(super) fn line_of(text: &str, part: &RawValue) -> u64 {
    let offset = (part.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    line_at(text.as_bytes(), offset)
}

fn line_at(bytes: &[u8], offset: usize) -> u64 {
    bytes[..offset.min(bytes.len())].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1
}

/// Hands the records of an array, of JSON lines, or of a single object to `take`, each with its line. A line that is
/// broken is refused where each line is a record of its own.
///
/// # Errors
/// A document that is broken as a whole, or the error of `sink` or `take`.
pub(super) fn records<E: From<ExchangeError>, T: DeserializeOwned>(
    path: &str,
    text: &str,
    sink: &mut Sink<'_, E>,
    mut take: impl FnMut(u64, T, &mut Sink<'_, E>) -> Result<(), E>,
) -> Result<(), E> {
    let mut one = |line: u64, record: &str, sink: &mut Sink<'_, E>| match serde_json::from_str(record) {
        Ok(record) => take(line, record, sink),
        Err(error) => sink(ImportItem::Refused(Refusal { line, reason: error.to_string() })),
    };
    if text.trim_start().starts_with('[') {
        for record in document::<Vec<&RawValue>>(path, text)? {
            one(line_of(text, record), record.get(), sink)?;
        }
        return Ok(());
    }
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    if lines.clone().next().is_some_and(|(_, line)| serde_json::from_str::<&RawValue>(line).is_ok()) {
        return lines.try_for_each(|(index, line)| one(index as u64 + 1, line, sink));
    }
    let record: &RawValue = document(path, text)?;
    one(line_of(text, record), record.get(), sink)
}

/// A number at a path of keys; `null` and what is no number are nothing.
pub(super) fn number(value: &Value, path: &[&str]) -> Option<f64> {
    at(value, path)?.as_f64()
}

/// A text at a path of keys, without blanks at its ends; an empty one is nothing.
pub(super) fn string<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    at(value, path)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// A whole number at a path of keys.
pub(super) fn whole(value: &Value, path: &[&str]) -> Option<u64> {
    let value = at(value, path)?;
    // 1e3 and 4.0 are whole numbers too.
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|number| number.fract() == 0.0 && (0.0..9e15).contains(number))
            .map(|number| number as u64)
    })
}

/// The value at a path of keys.
pub(super) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// Seconds in whole nanoseconds; `None` for what is no duration.
pub(super) fn nanoseconds(value: f64, per_unit: f64) -> Option<u64> {
    let nanoseconds = (value * per_unit).round();
    (0.0..9.2e18).contains(&nanoseconds).then_some(nanoseconds as u64)
}
