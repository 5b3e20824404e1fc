//! benchdb's JSON: everything of every run, samples and telemetry too. One run a line, so that a broken one can be named
//! and passed over, and so that two exports can be compared; the same document in another layout is read as well.

use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Content, ExchangeError, Exporter, Importer, Sink};
use crate::domain::{ImportItem, Refusal, RunRecord};

/// The version of the layout.
const SCHEMA: &str = "benchdb/1";

/// The first line of an export, up to the runs.
const OPENING: &str = "{\"schema\":\"benchdb/1\",\"kind\":\"runs\",\"runs\":[";

/// Reads and writes the JSON export.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnJson {
    written: u64,
}

#[derive(Deserialize)]
struct Document<'d> {
    schema: String,
    #[serde(borrow)]
    runs: Vec<&'d RawValue>,
}

impl Exporter for OwnJson {
    fn begin(&mut self, out: &mut dyn Write) -> Result<(), ExchangeError> {
        Ok(out.write_all(OPENING.as_bytes())?)
    }

    fn write(&mut self, out: &mut dyn Write, _: i64, record: &RunRecord) -> Result<(), ExchangeError> {
        out.write_all(if self.written == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, record)?;
        self.written += 1;
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> Result<(), ExchangeError> {
        Ok(out.write_all(b"\n]}\n")?)
    }
}

impl<E: From<ExchangeError>> Importer<E> for OwnJson {
    fn format(&self) -> &'static str {
        "benchdb-json"
    }

    fn recognises(&self, content: Content<'_>) -> bool {
        // The schema stands first in what we write; another program may have sorted it to the end.
        let bytes = content.bytes.trim_ascii_start();
        let ends = [&bytes[..bytes.len().min(256)], &bytes[bytes.len().saturating_sub(256)..]];
        bytes.starts_with(b"{")
            && ends.iter().any(|end| {
                let words: String = String::from_utf8_lossy(end).split_whitespace().collect();
                words.contains("\"schema\":\"benchdb/")
            })
    }

    fn read(&self, content: Content<'_>, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let text = std::str::from_utf8(content.bytes).map_err(|error| ExchangeError::Malformed {
            path: content.path.to_owned(),
            line: line_of(content.bytes, error.valid_up_to()),
            reason: "it is not UTF-8".to_owned(),
        })?;
        if text.strip_prefix(OPENING).is_some_and(|rest| rest.starts_with(['\n', '\r'])) {
            read_lines(text, sink)?;
        } else {
            read_document(content.path, text, sink)?;
        }
        Ok(Vec::new())
    }
}

/// The layout that we write: a run a line.
fn read_lines<E>(text: &str, sink: &mut Sink<'_, E>) -> Result<(), E> {
    let mut closed = false;
    let mut last = 1;
    for (index, line) in text.lines().enumerate().skip(1) {
        last = index as u64 + 1;
        match line.trim() {
            "" => {}
            "]}" => closed = true,
            run => sink(item(run.strip_suffix(',').unwrap_or(run), last))?,
        }
    }
    if !closed && !text.trim_end().ends_with("]}") {
        sink(ImportItem::Refused(Refusal {
            line: last,
            reason: "the file ends too early: its closing `]}` is missing".to_owned(),
        }))?;
    }
    Ok(())
}

/// The same document, laid out by another program.
fn read_document<E: From<ExchangeError>>(path: &str, text: &str, sink: &mut Sink<'_, E>) -> Result<(), E> {
    let document: Document<'_> = serde_json::from_str(text).map_err(|error| ExchangeError::Malformed {
        path: path.to_owned(),
        line: error.line() as u64,
        reason: error.to_string(),
    })?;
    if document.schema != SCHEMA {
        return Err(ExchangeError::NewerSchema { path: path.to_owned(), found: document.schema }.into());
    }
    for run in document.runs {
        let offset = run.get().as_ptr() as usize - text.as_ptr() as usize;
        sink(item(run.get(), line_of(text.as_bytes(), offset)))?;
    }
    Ok(())
}

fn item(json: &str, line: u64) -> ImportItem {
    let record: Result<RunRecord, String> = serde_json::from_str(json).map_err(|error| error.to_string());
    match record.and_then(|record| record.validate().map(|()| record)) {
        Ok(record) => ImportItem::Run(Box::new(record)),
        Err(reason) => ImportItem::Refused(Refusal { line, reason }),
    }
}

fn line_of(bytes: &[u8], offset: usize) -> u64 {
    bytes[..offset.min(bytes.len())].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1
}
