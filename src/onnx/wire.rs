//! The wire format of protocol buffers, as far as ONNX uses it: fields in any order, messages inside of messages. Blobs are
//! skipped in the file and not read, so that a description of gigabytes of weights takes no memory.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// What is wrong with the bytes.
#[derive(Debug)]
pub(super) enum WireError {
    /// They are not of this format.
    Malformed,
    /// They end before what they announce.
    Truncated,
    /// They cannot be read.
    Io(io::Error),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

type Result<T> = std::result::Result<T, WireError>;

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// An integer; a negative one is its two's complement.
    Integer(u64),
    /// Four bytes, little-endian.
    Four([u8; 4]),
    /// Eight bytes, which nothing that is read here needs.
    Eight,
    /// A text, a message, packed numbers: where its bytes are.
    Bytes(Span),
}

/// A piece of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u64,
    end: u64,
}

impl Span {
    /// Bytes in it.
    pub fn len(self) -> u64 {
        self.end - self.start
    }
}

/// A file of messages.
#[derive(Debug)]
pub(super) struct Wire<R> {
    reader: BufReader<R>,
    at: u64,
    len: u64,
}

impl<R: Read + Seek> Wire<R> {
    /// The messages of a file.
    pub fn new(mut file: R) -> Result<Self> {
        let len = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        Ok(Self { reader: BufReader::with_capacity(1 << 16, file), at: 0, len })
    }

    /// The whole file, which is one message.
    pub fn whole(&self) -> Span {
        Span { start: 0, end: self.len }
    }

    /// Hands every field of a message, with its number, to `take`, which may read inside of it.
    pub fn message<E: From<WireError>>(
        &mut self,
        span: Span,
        mut take: impl FnMut(&mut Self, u64, Value) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut next = span.start;
        while next < span.end {
            self.seek(next)?;
            let key = self.varint()?;
            let value = match key & 7 {
                0 => Value::Integer(self.varint()?),
                1 => {
                    self.array::<8>()?;
                    Value::Eight
                }
                5 => Value::Four(self.array()?),
                2 => {
                    let length = self.varint()?;
                    let end = self.at.checked_add(length).ok_or(WireError::Malformed)?;
                    if end > self.len {
                        return Err(WireError::Truncated.into());
                    }
                    Value::Bytes(Span { start: self.at, end })
                }
                _ => return Err(WireError::Malformed.into()),
            };
            next = match value {
                Value::Bytes(inner) => inner.end,
                _ => self.at,
            };
            if key >> 3 == 0 || next > span.end {
                return Err(WireError::Malformed.into());
            }
            take(self, key >> 3, value)?;
        }
        Ok(())
    }

    /// The bytes of a piece.
    pub fn bytes(&mut self, span: Span) -> Result<Vec<u8>> {
        self.seek(span.start)?;
        let length = usize::try_from(span.len()).map_err(|_| WireError::Malformed)?;
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        self.at = span.end;
        Ok(bytes)
    }

    /// The text in a piece; what is not UTF-8 is replaced.
    pub fn text(&mut self, span: Span) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes(span)?).into_owned())
    }

    /// The integers of a field that may be packed.
    pub fn integers(&mut self, value: Value, list: &mut Vec<i64>) -> Result<()> {
        match value {
            Value::Integer(single) => list.push(single.cast_signed()),
            Value::Bytes(span) => {
                self.seek(span.start)?;
                while self.at < span.end {
                    list.push(self.varint()?.cast_signed());
                }
            }
            Value::Four(_) | Value::Eight => return Err(WireError::Malformed),
        }
        Ok(())
    }

    fn seek(&mut self, to: u64) -> Result<()> {
        if to != self.at {
            let distance = i128::from(to) - i128::from(self.at);
            let distance = i64::try_from(distance).map_err(|_| WireError::Malformed)?;
            self.reader.seek_relative(distance)?;
            self.at = to;
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Malformed)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    /// Whether the file holds nothing.
    pub fn is_empty(&mut self) -> Result<bool> {
        Ok(self.reader.fill_buf()?.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn fields(bytes: &[u8]) -> std::result::Result<Vec<(u64, String)>, WireError> {
        let mut wire = Wire::new(Cursor::new(bytes.to_vec()))?;
        let mut found = Vec::new();
        let whole = wire.whole();
        wire.message::<WireError>(whole, |wire, number, value| {
            let text = match value {
                Value::Bytes(span) => wire.text(span)?,
                other => format!("{other:?}"),
            };
            found.push((number, text));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn fields_come_with_their_numbers() {
        // 1: 150 and 2: "testing", as in the documentation of the format.
        let bytes = b"\x08\x96\x01\x12\x07testing";
        assert_eq!(fields(bytes).unwrap(), [(1, "Integer(150)".to_owned()), (2, "testing".to_owned())]);
    }

    #[test]
    fn negative_numbers_and_packed_ones_are_read() {
        let mut bytes = vec![0x08];
        bytes.extend([0xff; 9]);
        bytes.extend([0x01, 0x0a, 0x02, 0x05, 0x07]);
        let mut wire = Wire::new(Cursor::new(bytes)).unwrap();
        let mut list = Vec::new();
        let whole = wire.whole();
        wire.message::<WireError>(whole, |wire, _, value| wire.integers(value, &mut list)).unwrap();
        assert_eq!(list, [-1, 5, 7]);
    }

    #[test]
    fn what_ends_too_early_is_truncated() {
        assert!(matches!(fields(b"\x12\x07test"), Err(WireError::Truncated)));
        assert!(matches!(fields(b"\x08"), Err(WireError::Truncated)));
    }

    #[test]
    fn other_bytes_are_malformed() {
        assert!(matches!(fields(b"<html>"), Err(WireError::Malformed)));
        assert!(matches!(
            fields(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Err(WireError::Malformed)
        ));
        assert!(fields(b"").unwrap().is_empty());
    }
}
