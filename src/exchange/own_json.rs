//! benchdb's JSON: everything of every run, samples and telemetry too. One run a line, so that a broken one can be named
//! and passed over, and so that two exports can be compared; the same document in another layout is read as well. Either
//! way one run is in memory at a time.

use std::cell::Cell;
use std::fmt;
use std::io::{BufRead, Read, Write};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::head::pass_mark;
use super::{ExchangeError, Exporter, Head, Importer, Sink};
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

    fn recognises(&self, head: &Head<'_>) -> bool {
        let outline = head.outline();
        // The schema stands first in what we write; another program may have sorted it behind the runs.
        outline.first == b'{'
            && (outline.text(1, "schema").is_some_and(|schema| schema.starts_with("benchdb/"))
                || outline.has(1, "runs")
                    && (outline.text(1, "kind") == Some("runs") || outline.has(3, "configuration")))
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let unreadable = |source| ExchangeError::Read { path: path.to_owned(), source };
        pass_mark(content).map_err(unreadable)?;
        let mut opening = Vec::new();
        content.take(OPENING.len() as u64 + 1).read_to_end(&mut opening).map_err(unreadable)?;
        match opening.strip_prefix(OPENING.as_bytes()) {
            Some([end @ (b'\n' | b'\r')]) => {
                if *end == b'\r' {
                    content.skip_until(b'\n').map_err(unreadable)?;
                }
                read_lines(path, content, sink)?;
            }
            _ => read_document(path, opening.chain(content), sink)?,
        }
        Ok(Vec::new())
    }
}

/// The layout that we write: a run a line. The first line is read.
fn read_lines<E: From<ExchangeError>>(path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<(), E> {
    let mut closed = false;
    let mut number = 1;
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = content
            .read_until(b'\n', &mut line)
            .map_err(|source| ExchangeError::Read { path: path.to_owned(), source })?;
        if length == 0 {
            break;
        }
        number += 1;
        match line.trim_ascii() {
            b"" => {}
            b"]}" => closed = true,
            run => {
                // The last run and the end may stand on one line.
                closed = run.ends_with(b"]}") && serde_json::from_slice::<&RawValue>(run).is_err();
                let run = if closed { run[..run.len() - 2].trim_ascii_end() } else { run };
                sink(item(run.strip_suffix(b",").unwrap_or(run), number))?;
            }
        }
    }
    if !closed {
        sink(ImportItem::Refused(Refusal {
            line: number,
            reason: "the file ends too early: its closing `]}` is missing".to_owned(),
        }))?;
    }
    Ok(())
}

/// The same document, laid out by another program.
fn read_document<E: From<ExchangeError>>(path: &str, content: impl Read, sink: &mut Sink<'_, E>) -> Result<(), E> {
    let lines = Cell::new(1);
    let mut stopped = None;
    let mut json = serde_json::Deserializer::from_reader(CountLines { content, lines: &lines });
    let document = Document { path, lines: &lines, sink, stopped: &mut stopped };
    let read = document.deserialize(&mut json).and_then(|()| json.end());
    match (stopped, read) {
        (Some(error), _) => Err(error),
        (None, Err(error)) if error.is_io() => {
            Err(ExchangeError::Read { path: path.to_owned(), source: error.into() }.into())
        }
        (None, Err(error)) => Err(ExchangeError::Malformed {
            path: path.to_owned(),
            line: (error.line() as u64).max(1),
            reason: error.to_string(),
        }
        .into()),
        (None, Ok(())) => Ok(()),
    }
}

/// A stream that knows in which line it is.
struct CountLines<'l, R> {
    content: R,
    lines: &'l Cell<u64>,
}

impl<R: Read> Read for CountLines<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // The parser asks for one byte at a time: no byte is counted before it is looked at.
        let length = self.content.read(buffer)?;
        let breaks = buffer[..length].iter().filter(|&&byte| byte == b'\n').count();
        self.lines.set(self.lines.get() + breaks as u64);
        Ok(length)
    }
}

/// The document while it is parsed: its runs go to the sink one at a time. What ends the reading for another reason
/// than the text itself is left in `stopped`.
struct Document<'d, 's, E> {
    path: &'d str,
    lines: &'d Cell<u64>,
    sink: &'d mut Sink<'s, E>,
    stopped: &'d mut Option<E>,
}

impl<'j, E: From<ExchangeError>> DeserializeSeed<'j> for Document<'_, '_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'j>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'j, E: From<ExchangeError>> Visitor<'j> for Document<'_, '_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document of runs")
    }

    fn visit_map<A: MapAccess<'j>>(mut self, mut map: A) -> Result<(), A::Error> {
        let (mut schema_seen, mut runs_seen) = (false, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schema" => {
                    let found: String = map.next_value()?;
                    if found != SCHEMA {
                        *self.stopped = Some(ExchangeError::NewerSchema { path: self.path.to_owned(), found }.into());
                        return Err(A::Error::custom("another schema"));
                    }
                    schema_seen = true;
                }
                "runs" => {
                    map.next_value_seed(Runs(&mut self))?;
                    runs_seen = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (schema_seen, runs_seen) {
            (false, _) => Err(A::Error::missing_field("schema")),
            (_, false) => Err(A::Error::missing_field("runs")),
            _ => Ok(()),
        }
    }
}

/// The array of runs.
struct Runs<'r, 'd, 's, E>(&'r mut Document<'d, 's, E>);

impl<'j, E> DeserializeSeed<'j> for Runs<'_, '_, '_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'j>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'j, E> Visitor<'j> for Runs<'_, '_, '_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of runs")
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut runs: A) -> Result<(), A::Error> {
        while let Some(run) = runs.next_element::<Box<RawValue>>()? {
            let run = run.get().as_bytes();
            let breaks = run.iter().filter(|&&byte| byte == b'\n').count() as u64;
            if let Err(error) = (self.0.sink)(item(run, self.0.lines.get().saturating_sub(breaks))) {
                *self.0.stopped = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

fn item(json: &[u8], line: u64) -> ImportItem {
    let record: Result<RunRecord, String> = serde_json::from_slice(json).map_err(|error| error.to_string());
    match record.and_then(|record| record.validate().map(|()| record)) {
        Ok(record) => ImportItem::Run(Box::new(record)),
        Err(reason) => ImportItem::Refused(Refusal { line, reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{ColumnMap, importer_for};

    /// A run as a line of an export.
    fn run() -> String {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/foreign/timm/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv"
        );
        let bytes = std::fs::read(path).unwrap();
        let map = ColumnMap::default();
        let importer = importer_for::<ExchangeError>(&Head::new(path, &bytes), &map).unwrap();
        let mut lines = Vec::new();
        let taken = importer.read(path, &mut bytes.as_slice(), &mut |item| {
            if let ImportItem::Run(run) = item {
                lines.push(serde_json::to_string(&run).unwrap());
            }
            Ok(())
        });
        taken.unwrap();
        lines.remove(0)
    }

    /// The lines of the refusals, and the number of runs.
    fn read(text: &str) -> Result<(usize, Vec<u64>), ExchangeError> {
        let (mut taken, mut refused) = (0, Vec::new());
        let importer = OwnJson::default();
        assert!(Importer::<ExchangeError>::recognises(&importer, &Head::new("x", text.as_bytes())), "{text}");
        importer.read("x", &mut text.as_bytes(), &mut |item| {
            match item {
                ImportItem::Run(_) => taken += 1,
                ImportItem::Refused(refusal) => refused.push(refusal.line),
            }
            Ok::<_, ExchangeError>(())
        })?;
        Ok((taken, refused))
    }

    #[test]
    fn a_run_a_line_is_read_line_by_line() {
        let run = run();
        let text = format!("{OPENING}\n{run},\n{{}},\n\n{run}\n]}}\n");
        assert_eq!(read(&text).unwrap(), (2, vec![3]));
        assert_eq!(read(&text.replace('\n', "\r\n")).unwrap(), (2, vec![3]));
        assert_eq!(read(&format!("\u{feff}{text}")).unwrap(), (2, vec![3]));
        assert_eq!(read(&format!("{OPENING}\n{run}]}}")).unwrap(), (1, vec![]));
        assert_eq!(read(&format!("{OPENING}\n{run},\n{}", &run[..50])).unwrap(), (1, vec![3, 3]));
        assert_eq!(read(&format!("{OPENING}\n]}}\n")).unwrap(), (0, vec![]));
    }

    #[test]
    fn another_layout_is_read_one_run_at_a_time() {
        let run: serde_json::Value = serde_json::from_str(&run()).unwrap();
        let document =
            serde_json::json!({"schema": SCHEMA, "kind": "runs", "runs": [run, {}, run], "more": {"a": [1]}});
        // Alphabetical order puts the schema behind the runs.
        let pretty = serde_json::to_string_pretty(&document).unwrap();
        assert!(pretty.find("\"runs\"").unwrap() < pretty.find("\"schema\"").unwrap());
        let bad = pretty.lines().position(|line| line.trim() == "{},").unwrap() as u64 + 1;
        assert_eq!(read(&pretty).unwrap(), (2, vec![bad]));
        assert_eq!(read(&document.to_string()).unwrap(), (2, vec![1]));
    }

    #[test]
    fn a_document_that_is_broken_says_where() {
        let error = |text: &str| read(text).unwrap_err();
        let cut = "{\"schema\":\"benchdb/1\",\n\"kind\":\"runs\",\n\"runs\":[}";
        assert!(matches!(error(cut), ExchangeError::Malformed { line: 3, .. }));
        let newer = "{\"kind\":\"runs\",\"runs\":[{}],\"schema\":\"benchdb/2\"}";
        assert!(matches!(error(newer), ExchangeError::NewerSchema { found, .. } if found == "benchdb/2"));
        assert!(error("{\"schema\":\"benchdb/1\",\"kind\":\"query\"}").to_string().contains("`runs`"));
        assert!(error("{\"kind\":\"runs\",\"runs\":[]}").to_string().contains("`schema`"));
        assert!(error("{\"schema\":\"benchdb/1\",\"runs\":[]} x").to_string().contains("line 1"));
    }

    #[test]
    fn the_error_of_the_sink_ends_the_reading() {
        let text = "{\"runs\":[{},{}],\"kind\":\"runs\",\"schema\":\"benchdb/1\"}";
        let mut seen = 0;
        let read = OwnJson::default().read("x", &mut text.as_bytes(), &mut |_| {
            seen += 1;
            Err(ExchangeError::UnknownFormat { path: "mine".to_owned() })
        });
        assert!(matches!(read, Err(ExchangeError::UnknownFormat { path }) if path == "mine"));
        assert_eq!(seen, 1);
    }
}
