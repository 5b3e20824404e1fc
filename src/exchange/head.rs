//! How a file begins: what tells its format.

use std::io::{BufRead, Read as _};

/// What is looked at to tell a file's format.
pub const HEAD_BYTES: usize = 64 * 1024;

/// What some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The beginning of a file.
#[derive(Clone, Debug)]
pub struct Head<'h> {
    /// Where the file is, for messages and for tools that say things in a file's name alone.
    pub path: &'h str,
    /// Its first bytes, without a byte-order mark.
    pub bytes: &'h [u8],
    outline: Outline,
}

impl<'h> Head<'h> {
    /// The head of a file from its first bytes; what is beyond [`HEAD_BYTES`] is not looked at.
    pub fn new(path: &'h str, bytes: &'h [u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(HEAD_BYTES)];
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        Self { path, bytes, outline: Outline::new(bytes) }
    }

    /// The first bytes of a stream, for [`Head::new`].
    ///
    /// # Errors
    /// What the stream answers.
    pub fn bytes_of(content: &mut dyn BufRead) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        content.take(HEAD_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The head as text; what is no UTF-8 is replaced.
    pub(super) fn text(&self) -> std::borrow::Cow<'h, str> {
        String::from_utf8_lossy(self.bytes)
    }

    /// The keys of a JSON text.
    pub(super) fn outline(&self) -> &Outline {
        &self.outline
    }
}

/// Passes over a byte-order mark.
///
/// # Errors
/// What the stream answers.
pub(super) fn pass_mark(content: &mut dyn BufRead) -> std::io::Result<()> {
    if content.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        content.consume(BYTE_ORDER_MARK.len());
    }
    Ok(())
}

/// How far the line numbers of the `csv` crate are behind in a table that begins like this: with `\r\n` it ends a row at
/// the `\r`, and counts the line when it meets the `\n` of the next one.
pub(super) fn lines_behind(begin: &[u8]) -> u64 {
    let line = begin.split(|&byte| byte == b'\n').next().unwrap_or_default();
    u64::from(line.ends_with(b"\r") && line.len() < begin.len())
}

/// What separates the cells: the most frequent candidate of the first line.
pub(super) fn delimiter(bytes: &[u8]) -> u8 {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| line.iter().filter(|&&byte| byte == delimiter).count();
    // The last of equals wins.
    [b'\t', b';', b','].into_iter().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',')
}

/// A key of a JSON text.
#[derive(Clone, Debug)]
struct Key {
    /// How many brackets of either kind are open around it.
    depth: usize,
    name: String,
    /// Its value, where that is a text.
    text: Option<String>,
}

/// The keys of a JSON text that may end anywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    /// `{`, `[`, or anything else for a text that is no JSON.
    pub(super) first: u8,
    keys: Vec<Key>,
}

impl Outline {
    fn new(bytes: &[u8]) -> Self {
        let bytes = bytes.trim_ascii_start();
        let first = bytes.first().copied().unwrap_or_default();
        let mut outline = Self { first, keys: Vec::new() };
        if !matches!(first, b'{' | b'[') {
            return outline;
        }
        let (mut at, mut depth) = (0, 0_usize);
        // A text that may turn out to be a key; and a key that waits for its value.
        let (mut last, mut waiting) = (None, false);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                b':' => {
                    if let Some(name) = last.take() {
                        outline.keys.push(Key { depth, name, text: None });
                        waiting = true;
                        at += 1;
                        continue;
                    }
                }
                b'"' => {
                    let Some(length) = string_length(&bytes[at + 1..]) else { break };
                    let text = String::from_utf8_lossy(&bytes[at + 1..at + 1 + length]).into_owned();
                    at += length + 2;
                    match outline.keys.last_mut() {
                        Some(key) if waiting => key.text = Some(text),
                        _ => last = Some(text),
                    }
                    waiting = false;
                    continue;
                }
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                (last, waiting) = (None, false);
            }
            at += 1;
        }
        outline
    }

    /// Whether a key of this name is there, inside so many brackets.
    pub(super) fn has(&self, depth: usize, name: &str) -> bool {
        self.keys.iter().any(|key| key.depth == depth && key.name == name)
    }

    /// Whether all of these keys are there.
    pub(super) fn has_all(&self, depth: usize, names: &[&str]) -> bool {
        names.iter().all(|name| self.has(depth, name))
    }

    /// The text that a key has as its value.
    pub(super) fn text(&self, depth: usize, name: &str) -> Option<&str> {
        self.keys.iter().find(|key| key.depth == depth && key.name == name)?.text.as_deref()
    }

    /// The names of keys and how deep they stand.
    pub(super) fn keys(&self) -> impl Iterator<Item = (usize, &str)> {
        self.keys.iter().map(|key| (key.depth, key.name.as_str()))
    }
}

/// The bytes of a JSON string up to its closing quote.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    bytes.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_with_their_depth_even_where_the_text_is_cut() {
        let head = Head::new("", br#" {"a": "x:{\"", "b": [{"c" : 1, "d": {"e": "f", "g": ["h", "i"]}}], "cut": {"#);
        let outline = head.outline();
        let keys: Vec<_> = outline.keys().collect();
        assert_eq!(keys, [(1, "a"), (1, "b"), (3, "c"), (3, "d"), (4, "e"), (4, "g"), (1, "cut")]);
        assert_eq!(outline.text(1, "a"), Some("x:{\\\""));
        assert_eq!(outline.text(4, "e"), Some("f"));
        assert_eq!(outline.text(3, "c"), None);
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let mut content: &[u8] = b"\xEF\xBB\xBF{}";
        assert_eq!(Head::new("", content).bytes, b"{}");
        pass_mark(&mut content).unwrap();
        assert_eq!(content, b"{}");
    }
}
