//! The lines of the files that the kubelet names: each line of a container behind a prefix, and a long one in parts
//! (<https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>).
//!
//! ```text
//! 2026-11-22T23:00:00.123456789Z stdout F {"message":"a whole line"}
//! 2026-11-22T23:00:01.123456789Z stdout P {"message":"the beginning of
//! 2026-11-22T23:00:01.123456790Z stdout F  a long one"}
//! ```

use super::follow::{MAX_LINE_BYTES, Piece};

/// One line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prefixed<'a> {
    pub(super) time: &'a [u8],
    stream: &'a [u8],
    /// The next one of the stream goes on with it.
    is_part: bool,
    pub(super) content: &'a [u8],
}

/// Takes a line apart, if it has the prefix.
pub(super) fn split(line: &[u8]) -> Option<Prefixed<'_>> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tags, content) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_part = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    matches!(stream, b"stdout" | b"stderr").then_some(Prefixed { time, stream, is_part, content })
}

/// Puts parts together; a line without a prefix is whole.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// For each stream the beginning of a line, if there is one.
    begun: Vec<Begun>,
}

#[derive(Debug)]
struct Begun {
    stream: Vec<u8>,
    /// With the prefix of a whole line.
    line: Vec<u8>,
}

impl Begun {
    fn into_piece(self) -> Piece {
        if self.line.len() > MAX_LINE_BYTES { Piece::TooLong } else { Piece::Line(self.line) }
    }
}

impl Assembler {
    /// Whether nothing waits for its end.
    pub(super) fn is_whole(&self) -> bool {
        self.begun.is_empty()
    }

    /// Takes a line with its line break; gives one that is whole.
    pub(super) fn take(&mut self, line: &[u8]) -> Option<Piece> {
        let Some(Prefixed { time, stream, is_part, content }) = split(line) else {
            return Some(Piece::Line(line.to_vec()));
        };
        let index = self.begun.iter().position(|begun| begun.stream == stream);
        if index.is_none() && !is_part {
            return Some(Piece::Line(line.to_vec()));
        }
        let mut begun = match index {
            Some(index) => self.begun.swap_remove(index),
            None => Begun { stream: stream.to_vec(), line: [time, stream, b"F "].join(&b' ') },
        };
        if begun.line.len() <= MAX_LINE_BYTES {
            begun.line.extend_from_slice(if is_part { content.trim_ascii_end() } else { content });
        }
        if is_part {
            self.begun.push(begun);
            return None;
        }
        Some(begun.into_piece())
    }

    /// What has been begun and will not be ended.
    pub(super) fn end(self) -> impl Iterator<Item = Piece> {
        self.begun.into_iter().map(Begun::into_piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_one_line() {
        let mut assembler = Assembler::default();
        let mut take = |line: &str| match assembler.take(line.as_bytes()) {
            Some(Piece::Line(line)) => String::from_utf8(line).unwrap(),
            other => format!("{other:?}"),
        };
        for (line, whole) in [
            ("{\"a\":1}\n", "{\"a\":1}\n"),
            ("2026-11-22T23:00:00Z stdout F {}\n", "2026-11-22T23:00:00Z stdout F {}\n"),
            ("2026-11-22T23:00:01Z stdout P {\"a\n", "None"),
            ("2026-11-22T23:00:02Z stderr F other\n", "2026-11-22T23:00:02Z stderr F other\n"),
            ("2026-11-22T23:00:03Z stdout P :t b\":\n", "None"),
            ("2026-11-22T23:00:04Z stdout F 1}\n", "2026-11-22T23:00:01Z stdout F {\"a:t b\":1}\n"),
            ("2026 is no time\n", "2026 is no time\n"),
        ] {
            assert_eq!(take(line), whole, "{line}");
        }
        assert!(assembler.is_whole());
    }
}
