//! Finds the complete lines in a part of a file.
//!
//! A part of a file is read again until its lines are complete, so an incomplete line takes no memory between reads.

use super::container::{self, Assembler, Printed, Streams};

/// Longer lines are skipped.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// In this many bytes there is at least one line of the maximum length, or a longer one.
pub(super) const MAX_WINDOW_BYTES: usize = 2 * MAX_LINE_BYTES;

/// A line as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RawLine<'a> {
    /// The line with its line break, if it has one.
    Bytes(&'a [u8]),
    /// A line longer than [`MAX_LINE_BYTES`].
    TooLong,
}

impl<'a> RawLine<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        if line.len() > MAX_LINE_BYTES { Self::TooLong } else { Self::Bytes(line) }
    }
}

/// Where a part of a file begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    /// It begins inside a line that was counted already. The rest of that line is skipped.
    pub(super) is_inside_line: bool,
    /// The streams whose line is too long. Its further parts are skipped.
    pub(super) skipped: Streams,
}

/// How much of the bytes is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// The complete lines.
    Complete,
    /// At least something: what does not fit into the bytes is a line that is too long.
    Some,
    /// The lines with a line break: the rest of a line that a container runtime has split does not come.
    Broken,
    /// Everything: nothing follows the last line.
    All,
}

/// Passes on the lines of these bytes, each with where it is complete. Returns how many bytes these lines take.
pub(super) fn split(
    bytes: &[u8],
    state: &mut State,
    extent: Extent,
    mut emit: impl FnMut(RawLine<'_>, usize),
) -> usize {
    let end = match extent {
        Extent::Complete => complete_bytes(bytes, *state),
        Extent::Broken => bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1),
        Extent::Some | Extent::All => bytes.len(),
    };
    let bytes = bytes.get(..end).unwrap_or_default();
    let mut assembler = Assembler::default();
    let mut consumed = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let is_complete = line.last() == Some(&b'\n');
        let text = without_nul(line);
        let is_too_long = text.len() > MAX_LINE_BYTES;
        if !is_complete && !is_too_long && !state.is_inside_line && extent == Extent::Some {
            consumed += line.len() - text.len();
            break;
        }
        consumed += line.len();
        if state.is_inside_line {
            state.is_inside_line = !is_complete;
            continue;
        }
        state.is_inside_line = !is_complete && !text.is_empty();
        if is_too_long {
            emit(RawLine::TooLong, consumed);
            continue;
        }
        match container::parse(text) {
            Some(Printed { stream, is_partial, .. }) if state.skipped.contains(stream) => {
                state.skipped.set(stream, is_partial);
            }
            _ if text.is_empty() => {}
            _ => assembler.push(text, &mut |line| emit(line, consumed)),
        }
    }
    match extent {
        Extent::Complete => {}
        Extent::Some => {
            for stream in assembler.into_streams() {
                emit(RawLine::TooLong, consumed);
                state.skipped.set(stream, true);
            }
        }
        Extent::Broken | Extent::All => assembler.finish(&mut |line| emit(line, consumed)),
    }
    consumed
}

/// Returns how many of the bytes need nothing that follows them.
fn complete_bytes(bytes: &[u8], mut state: State) -> usize {
    let (mut end, mut complete) = (0, 0);
    let mut open = Streams::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = without_nul(line);
        if line.last() != Some(&b'\n') {
            if state.is_inside_line {
                complete = end + line.len();
            } else if open.is_empty() {
                complete = end + line.len() - text.len();
            }
            break;
        }
        end += line.len();
        if !std::mem::take(&mut state.is_inside_line)
            && let Some(Printed { stream, is_partial, .. }) = container::parse(text)
        {
            if state.skipped.contains(stream) {
                state.skipped.set(stream, is_partial);
            } else {
                open.set(stream, is_partial);
            }
        }
        if open.is_empty() {
            complete = end;
        }
    }
    complete
}

/// Zeros before a line are not part of it. A file begins with them if it was truncated while its program, which does
/// not append, writes on at its old position.
fn without_nul(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| *byte != 0).unwrap_or(line.len());
    line.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], state: State, extent: Extent, lines: &[&str], consumed: usize, after: State) {
        let mut got = Vec::new();
        let mut now = state;
        let end = split(bytes, &mut now, extent, |line, _| match line {
            RawLine::Bytes(line) => got.push(String::from_utf8_lossy(line).into_owned()),
            RawLine::TooLong => got.push("TOO LONG".to_owned()),
        });
        let text = String::from_utf8_lossy(bytes.get(..80).unwrap_or(bytes));
        assert_eq!(
            (got, end, now),
            (lines.iter().map(ToString::to_string).collect(), consumed, after),
            "{text}"
        );
    }

    const START: State = State { is_inside_line: false, skipped: Streams::new(false, false) };
    const INSIDE: State = State { is_inside_line: true, ..START };

    #[test]
    fn lines_are_split() {
        use Extent::{All, Broken, Complete};
        for (text, state, extent, lines, consumed, after) in [
            ("", START, Complete, &[][..], 0, START),
            ("a\nb\r\n\nc", START, Complete, &["a\n", "b\r\n", "\n"], 6, START),
            ("a\nb", START, All, &["a\n", "b"], 3, INSIDE),
            ("rest\na\n", INSIDE, Complete, &["a\n"], 7, START),
            ("rest", INSIDE, Complete, &[], 4, INSIDE),
            ("rest", INSIDE, All, &[], 4, INSIDE),
            ("\0\0\0a\n\0\0b", START, Complete, &["a\n"], 7, START),
            ("\0\0\0", START, Complete, &[], 3, START),
            ("\0\0\0", START, All, &[], 3, START),
            ("T stdout P a\n", START, Complete, &["T stdout P a\n"], 13, START),
            ("2T stdout P a\nb\n", START, Complete, &[], 0, START),
            ("c\n2T stdout P a\nb\n2T stderr P e\n2T stdout F d\n", START, Complete, &["c\n"], 2, START),
            ("2T stdout P a\n2T stdout F b\nc", START, Complete, &["2T stdout F ab\n"], 28, START),
            ("2T stdout P a\n2T stderr F e\nb", START, Complete, &[], 0, START),
            (
                "2T stdout P a\n2T stderr F e\nb",
                START,
                Broken,
                &["2T stderr F e\n", "2T stdout F a"],
                28,
                START,
            ),
            ("b", START, Broken, &[], 0, START),
            ("2T stdout P a\nb\n", START, All, &["b\n", "2T stdout F a"], 16, START),
        ] {
            check(text.as_bytes(), state, extent, lines, consumed, after);
        }
    }

    #[test]
    fn lines_that_are_too_long_are_counted_once() {
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        check(&long, START, Extent::Some, &["TOO LONG"], long.len(), INSIDE);
        check(&long, INSIDE, Extent::Some, &[], long.len(), INSIDE);
        let lines = [&long[..], b"\nb\nc"].concat();
        check(&lines, START, Extent::Complete, &["TOO LONG", "b\n"], lines.len() - 1, START);
        check(&lines, START, Extent::Some, &["TOO LONG", "b\n"], lines.len() - 1, START);
        let skipped = State { skipped: Streams::new(true, false), ..START };
        let part = "2T stdout P a\n";
        check((part.to_owned() + "b\n").as_bytes(), START, Extent::Some, &["b\n", "TOO LONG"], 16, skipped);
        check((part.to_owned() + "b\n").as_bytes(), skipped, Extent::Complete, &["b\n"], 16, skipped);
        let end = part.to_owned() + "2T stdout F b\n2T stdout F c\n";
        check(end.as_bytes(), skipped, Extent::Complete, &["2T stdout F c\n"], end.len(), START);
    }
}
