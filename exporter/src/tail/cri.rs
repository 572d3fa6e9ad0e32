//! The log format of the kubelet: each line has a prefix, and a long line is split into parts
//! (<https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>).
//!
//! ```text
//! 2026-11-22T23:00:00.123456789Z stdout F {"message":"a whole line"}
//! 2026-11-22T23:00:01.123456789Z stdout P {"message":"the beginning of
//! 2026-11-22T23:00:01.123456790Z stdout F  a long one"}
//! ```

use super::lines::{MAX_LINE_BYTES, RawLine};

/// A line with the prefix of the kubelet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prefixed<'a> {
    pub(super) time: &'a [u8],
    pub(super) stream: Stream,
    /// The next line of the stream continues this one.
    pub(super) is_partial: bool,
    pub(super) content: &'a [u8],
}

/// The stream of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// A set of streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Streams {
    stdout: bool,
    stderr: bool,
}

impl Streams {
    #[cfg(test)]
    pub(super) const fn new(stdout: bool, stderr: bool) -> Self {
        Self { stdout, stderr }
    }

    pub(super) const fn is_empty(self) -> bool {
        !self.stdout && !self.stderr
    }

    pub(super) const fn contains(self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }

    pub(super) const fn set(&mut self, stream: Stream, is_in: bool) {
        match stream {
            Stream::Stdout => self.stdout = is_in,
            Stream::Stderr => self.stderr = is_in,
        }
    }
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
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    Some(Prefixed { time, stream, is_partial, content })
}

/// Joins the parts of lines.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The incomplete line of each stream: its parts so far, after the prefix of a complete line.
    incomplete: Vec<(Stream, Vec<u8>)>,
}

impl Assembler {
    /// Adds a line, and passes it on if it is complete. A line without a prefix is complete.
    pub(super) fn push(&mut self, line: &[u8], emit: &mut impl FnMut(RawLine<'_>)) {
        let Some(Prefixed { time, stream, is_partial, content }) = split(line) else {
            return emit(RawLine::of(line));
        };
        let index = self.incomplete.iter().position(|(other, _)| *other == stream);
        if index.is_none() && !is_partial {
            return emit(RawLine::of(line));
        }
        let mut joined = match index {
            Some(index) => self.incomplete.swap_remove(index).1,
            None => {
                let name: &[u8] = if stream == Stream::Stdout { b"stdout" } else { b"stderr" };
                [time, name, b"F "].join(&b' ')
            }
        };
        if joined.len() <= MAX_LINE_BYTES {
            joined.extend_from_slice(if is_partial { without_line_break(content) } else { content });
        }
        if is_partial {
            self.incomplete.push((stream, joined));
        } else {
            emit(RawLine::of(&joined));
        }
    }

    /// Passes on the lines that are still incomplete.
    pub(super) fn finish(self, emit: &mut impl FnMut(RawLine<'_>)) {
        self.incomplete.iter().for_each(|(_, joined)| emit(RawLine::of(joined)));
    }

    /// Returns the streams with an incomplete line.
    pub(super) fn into_streams(self) -> impl Iterator<Item = Stream> {
        self.incomplete.into_iter().map(|(stream, _)| stream)
    }
}

/// The content of a part is everything before the line break, also spaces.
fn without_line_break(content: &[u8]) -> &[u8] {
    content.strip_suffix(b"\n").unwrap_or(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_byte_for_byte() {
        let mut assembler = Assembler::default();
        let mut push = |line: &str| {
            let mut lines = String::new();
            assembler.push(line.as_bytes(), &mut |line| match line {
                RawLine::Bytes(line) => lines.push_str(std::str::from_utf8(line).unwrap()),
                RawLine::TooLong => lines.push_str("TOO LONG"),
            });
            lines
        };
        for (line, expected) in [
            ("{\"a\":1}\n", "{\"a\":1}\n"),
            ("2026-11-22T23:00:00Z stdout F {}\n", "2026-11-22T23:00:00Z stdout F {}\n"),
            ("2026-11-22T23:00:01Z stdout P {\"a\n", ""),
            ("2026-11-22T23:00:02Z stderr F other\n", "2026-11-22T23:00:02Z stderr F other\n"),
            ("2026-11-22T23:00:03Z stdout P :t b\":\n", ""),
            ("2026-11-22T23:00:04Z stdout F 1}\n", "2026-11-22T23:00:01Z stdout F {\"a:t b\":1}\n"),
            ("2026 is no time\n", "2026 is no time\n"),
            // Spaces, tabs, carriage returns and empty parts.
            ("2026-11-22T23:00:05Z stderr P {\"a \n", ""),
            ("2026-11-22T23:00:05Z stdout P \t\n", ""),
            ("2026-11-22T23:00:05Z stderr P  \r\n", ""),
            ("2026-11-22T23:00:05Z stderr P \n", ""),
            ("2026-11-22T23:00:05Z stderr F  b\n", "2026-11-22T23:00:05Z stderr F {\"a  \r b\n"),
            ("2026-11-22T23:00:05Z stdout F:x  \n", "2026-11-22T23:00:05Z stdout F \t \n"),
        ] {
            assert_eq!(push(line), expected, "{line}");
        }
        assert_eq!(assembler.into_streams().count(), 0);
    }
}
