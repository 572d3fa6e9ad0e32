//! The files in which container runtimes write what a container prints. A long line is split into parts.
//!
//! The format of the kubelet
//! (<https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>):
//!
//! ```text
//! 2026-11-22T23:00:00.123456789Z stdout F {"message":"a whole line"}
//! 2026-11-22T23:00:01.123456789Z stdout P {"message":"the beginning of
//! 2026-11-22T23:00:01.123456790Z stdout F  a long one"}
//! ```
//!
//! The format of Docker's log driver `json-file` (<https://docs.docker.com/engine/logging/drivers/json-file/>), where the
//! last part has the line break:
//!
//! ```text
//! {"log":"{\"message\":\"a whole line\"}\n","stream":"stdout","time":"2026-11-22T23:00:00.123456789Z"}
//! ```

use std::borrow::Cow;

use super::fields::Fields;
use super::lines::{MAX_LINE_BYTES, RawLine};

/// A line of a container, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Printed<'a> {
    pub(super) time: Cow<'a, [u8]>,
    pub(super) stream: Stream,
    /// The next line of the stream continues this one.
    pub(super) is_partial: bool,
    pub(super) content: Cow<'a, [u8]>,
}

/// The stream of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
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

/// Parses a line. Returns `None` if no container runtime wrote it.
pub(super) fn parse(line: &[u8]) -> Option<Printed<'_>> {
    match line.first()? {
        b'{' => of_docker(line),
        first if first.is_ascii_digit() => of_kubelet(line),
        _ => None,
    }
}

fn of_docker(line: &[u8]) -> Option<Printed<'_>> {
    // The driver writes the members in this order.
    let line = line.strip_prefix(b"{\"log\":\"").and(std::str::from_utf8(line).ok())?;
    let members = Fields::read(&["log", "stream", "time"], line)?;
    let [log, stream, time] = ["log", "stream", "time"].map(|name| members.get(name).text());
    let (log, stream, time) = (log?, Stream::from_name(stream?.as_bytes())?, time?);
    Some(Printed {
        time: Cow::Owned(time.as_bytes().to_vec()),
        stream,
        is_partial: !log.ends_with('\n'),
        content: Cow::Owned(log.as_bytes().to_vec()),
    })
}

fn of_kubelet(line: &[u8]) -> Option<Printed<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tags, content) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_partial = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let stream = Stream::from_name(stream)?;
    Some(Printed { time: Cow::Borrowed(time), stream, is_partial, content: Cow::Borrowed(content) })
}

/// Joins the parts of lines.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The incomplete line of each stream: its parts so far, after the kubelet's prefix of a complete line.
    incomplete: Vec<(Stream, Vec<u8>)>,
}

impl Assembler {
    /// Adds a line, and passes it on if it is complete. A line that is not of a container is complete.
    pub(super) fn push(&mut self, line: &[u8], emit: &mut impl FnMut(RawLine<'_>)) {
        let Some(Printed { time, stream, is_partial, content }) = parse(line) else {
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
                [&time, name, b"F "].join(&b' ')
            }
        };
        if joined.len() <= MAX_LINE_BYTES {
            joined.extend_from_slice(if is_partial { without_line_break(&content) } else { &content });
        }
        if is_partial {
            self.incomplete.push((stream, joined));
        } else {
            emit(RawLine::of(&joined));
        }
    }

    /// Adds a line, as [`push`](Self::push) does, unless it is too long.
    pub(super) fn push_raw(&mut self, line: RawLine<'_>, emit: &mut impl FnMut(RawLine<'_>)) {
        match line {
            RawLine::Bytes(line) => self.push(line, emit),
            RawLine::TooLong => emit(line),
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
        // Docker's driver, with other members, and what only looks like it.
        let docker =
            |log: &str, stream: &str| format!(r#"{{"log":"{log}","stream":"{stream}","time":"T"}}{}"#, '\n');
        let whole = docker(r"{\u003c}\n", "stdout");
        assert_eq!(push(&whole), whole);
        assert_eq!(push(&docker(r#"{\"a "#, "stdout")), "");
        assert_eq!(push(&docker("e", "stderr")), "");
        assert_eq!(push(&docker(r#"\ud83d\ude00\":1}\n"#, "stdout")), "T stdout F {\"a \u{1f600}\":1}\n");
        let attributes =
            r#"{"log":"r\n","stream":"stderr","attrs":{"tag":"x"},"time":"T"}"#.to_owned() + "\n";
        assert_eq!(push(&attributes), "T stderr F er\n");
        for other in [docker("x", "file"), r#"{"log":"x","stream":"stdout"}"#.to_owned()] {
            assert_eq!(push(&other), other);
        }
        assert_eq!(assembler.into_streams().count(), 0);
    }
}
