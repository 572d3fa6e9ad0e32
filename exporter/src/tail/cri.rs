//! The log format of the kubelet: each line has a prefix, and a long line is split into parts
//! (<https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>).
//!
//! ```text
//! 2026-11-22T23:00:00.123456789Z stdout F {"message":"a whole line"}
//! 2026-11-22T23:00:01.123456789Z stdout P {"message":"the beginning of
//! 2026-11-22T23:00:01.123456790Z stdout F  a long one"}
//! ```

use super::follow::{MAX_LINE_BYTES, RawLine};

/// A line with the prefix of the kubelet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prefixed<'a> {
    pub(super) time: &'a [u8],
    stream: &'a [u8],
    /// The next line of the stream continues this one.
    is_partial: bool,
    pub(super) content: &'a [u8],
}

/// Parses a line. Returns `None` if it has no prefix.
pub(super) fn split(line: &[u8]) -> Option<Prefixed<'_>> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tags, content) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_partial = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    matches!(stream, b"stdout" | b"stderr").then_some(Prefixed { time, stream, is_partial, content })
}

/// Joins the parts of lines.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The incomplete line of each stream.
    incomplete: Vec<IncompleteLine>,
}

#[derive(Debug)]
struct IncompleteLine {
    stream: Vec<u8>,
    /// The parts so far, after the prefix of a complete line.
    line: Vec<u8>,
}

impl IncompleteLine {
    fn into_line(self) -> RawLine {
        if self.line.len() > MAX_LINE_BYTES { RawLine::TooLong } else { RawLine::Bytes(self.line) }
    }
}

impl Assembler {
    /// Returns true if no line is incomplete.
    pub(super) fn is_empty(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Adds a line, and returns it if it is complete. A line without a prefix is complete.
    pub(super) fn push(&mut self, line: &[u8]) -> Option<RawLine> {
        let Some(Prefixed { time, stream, is_partial, content }) = split(line) else {
            return Some(RawLine::Bytes(line.to_vec()));
        };
        let index = self.incomplete.iter().position(|incomplete| incomplete.stream == stream);
        if index.is_none() && !is_partial {
            return Some(RawLine::Bytes(line.to_vec()));
        }
        let mut incomplete = match index {
            Some(index) => self.incomplete.swap_remove(index),
            None => IncompleteLine { stream: stream.to_vec(), line: [time, stream, b"F "].join(&b' ') },
        };
        if incomplete.line.len() <= MAX_LINE_BYTES {
            incomplete.line.extend_from_slice(if is_partial { content.trim_ascii_end() } else { content });
        }
        if is_partial {
            self.incomplete.push(incomplete);
            return None;
        }
        Some(incomplete.into_line())
    }

    /// Returns the lines that are still incomplete.
    pub(super) fn finish(self) -> impl Iterator<Item = RawLine> {
        self.incomplete.into_iter().map(IncompleteLine::into_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined() {
        let mut assembler = Assembler::default();
        let mut push = |line: &str| match assembler.push(line.as_bytes()) {
            Some(RawLine::Bytes(line)) => String::from_utf8(line).unwrap(),
            other => format!("{other:?}"),
        };
        for (line, expected) in [
            ("{\"a\":1}\n", "{\"a\":1}\n"),
            ("2026-11-22T23:00:00Z stdout F {}\n", "2026-11-22T23:00:00Z stdout F {}\n"),
            ("2026-11-22T23:00:01Z stdout P {\"a\n", "None"),
            ("2026-11-22T23:00:02Z stderr F other\n", "2026-11-22T23:00:02Z stderr F other\n"),
            ("2026-11-22T23:00:03Z stdout P :t b\":\n", "None"),
            ("2026-11-22T23:00:04Z stdout F 1}\n", "2026-11-22T23:00:01Z stdout F {\"a:t b\":1}\n"),
            ("2026 is no time\n", "2026 is no time\n"),
        ] {
            assert_eq!(push(line), expected, "{line}");
        }
        assert!(assembler.is_empty());
    }
}
