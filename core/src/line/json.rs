//! [`Text`]: a JSON string under construction, and the escaping of strings.

use core::fmt;

use crate::{decimal, lossy, truncate};

/// The end of a truncated text.
const MARKER: &str = "…";

/// The smallest limit of a text: the length of the marker.
pub(super) const MIN_TEXT_BYTES: usize = MARKER.len();

/// A JSON string under construction.
///
/// It escapes what is pushed. When the limit of the text is exceeded, it appends `…` and ignores the rest.
/// It implements [`fmt::Write`], which never fails.
///
/// ```
/// use std::fmt::Write;
/// use logtracer_core::line::{Format, Line};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// line.message(|text| {
///     text.push("a \"quote\"\n");
///     text.push_bytes(b"caf\xe9 ");
///     let _ = write!(text, "{:?}", Some(1));
/// });
/// line.finish();
/// assert_eq!(out, r#"{"message":"a \"quote\"\ncaf� Some(1)"}"#.as_bytes());
/// ```
#[derive(Debug)]
pub struct Text<'a> {
    out: &'a mut Vec<u8>,
    /// The bytes that may follow, without the marker.
    free_bytes: usize,
    is_truncated: bool,
}

impl<'a> Text<'a> {
    /// Starts a text of at most `max` bytes, without its quotes.
    pub(super) fn new(out: &'a mut Vec<u8>, max: usize) -> Self {
        Self { out, free_bytes: max.saturating_sub(MARKER.len()), is_truncated: false }
    }

    /// Returns true if the text exceeded its limit, and ends in `…`.
    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Appends a text.
    pub fn push(&mut self, text: &str) {
        let mut rest = text;
        while !self.is_truncated {
            let Some(run) = first_to_escape(rest.as_bytes()) else { return self.push_plain(rest) };
            // Invariant: `run` is the index of an ASCII character, which is always a boundary.
            let (plain, tail) = rest.split_at_checked(run).unwrap_or((rest, ""));
            self.push_plain(plain);
            let mut chars = tail.chars();
            if let Some(special) = chars.next() {
                self.push_escaped(special);
            }
            rest = chars.as_str();
        }
    }

    /// Appends bytes. Each sequence that is not UTF-8 becomes U+FFFD.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        // Most texts are of this kind, and validating UTF-8 costs more than writing them.
        let is_plain = bytes.is_ascii() && first_to_escape(bytes).is_none();
        if is_plain && bytes.len() <= self.free_bytes && !self.is_truncated {
            self.out.extend_from_slice(bytes);
            self.free_bytes -= bytes.len();
            return;
        }
        if let Ok(text) = core::str::from_utf8(bytes) {
            return self.push(text);
        }
        for piece in lossy::pieces(bytes) {
            self.push(piece);
            if self.is_truncated {
                return;
            }
        }
    }

    fn push_plain(&mut self, run: &str) {
        if run.len() <= self.free_bytes {
            self.out.extend_from_slice(run.as_bytes());
            self.free_bytes -= run.len();
            return;
        }
        self.out.extend_from_slice(truncate(run, self.free_bytes).as_bytes());
        self.truncate();
    }

    fn push_escaped(&mut self, special: char) {
        let escape = Escape::of(special);
        let escape = escape.as_bytes();
        if self.is_truncated || escape.len() > self.free_bytes {
            return self.truncate();
        }
        self.out.extend_from_slice(escape);
        self.free_bytes -= escape.len();
    }

    fn truncate(&mut self) {
        if !self.is_truncated {
            self.is_truncated = true;
            self.out.extend_from_slice(MARKER.as_bytes());
        }
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

/// Writes a string with its quotes. `write` pushes the text, at most `max` bytes of which are written.
pub(super) fn text(out: &mut Vec<u8>, max: usize, write: impl FnOnce(&mut Text<'_>)) {
    out.push(b'"');
    escaped(out, max, write);
    out.push(b'"');
}

/// Writes the content of a string, without its quotes.
pub(super) fn escaped(out: &mut Vec<u8>, max: usize, write: impl FnOnce(&mut Text<'_>)) {
    write(&mut Text::new(out, max));
}

/// Writes a number as a string, the form of 64-bit integers in protobuf's JSON.
pub(super) fn number_as_text(out: &mut Vec<u8>, number: u64) {
    out.push(b'"');
    decimal::write(out, number);
    out.push(b'"');
}

/// Writes a formatted text without quotes and without escaping.
pub(super) fn formatted(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to a Vec does not fail.
    let _ = std::io::Write::write_fmt(out, text);
}

// === escaping ===

/// The escape of one character, at most six bytes: `\"`, `\n`, `\u001b`.
struct Escape {
    bytes: [u8; 6],
    len: usize,
}

impl Escape {
    fn of(special: char) -> Self {
        let short = |letter| Self { bytes: [b'\\', letter, 0, 0, 0, 0], len: 2 };
        match special {
            '"' => short(b'"'),
            '\\' => short(b'\\'),
            '\n' => short(b'n'),
            '\r' => short(b'r'),
            '\t' => short(b't'),
            '\u{8}' => short(b'b'),
            '\u{c}' => short(b'f'),
            control => {
                let digit =
                    |nibble: u32| char::from_digit(nibble & 0xf, 16).map_or(b'0', |digit| digit as u8);
                let code = u32::from(control);
                Self { bytes: [b'\\', b'u', b'0', b'0', digit(code >> 4), digit(code)], len: 6 }
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Returns whether no character of a text is escaped.
pub(super) fn is_plain(text: &str) -> bool {
    first_to_escape(text.as_bytes()).is_none()
}

/// Returns the index of the first byte that JSON requires to be escaped: a quote, a backslash or a control character.
///
/// Checks eight bytes at a time. The last eight overlap with those before them.
fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
    };
    let mut at = 0;
    for word in bytes.chunks_exact(8) {
        if let Some(index) = first_in_word(word.try_into().unwrap_or_default()) {
            return Some(at + index);
        }
        at += 8;
    }
    first_in_word(*last).map(|index| bytes.len() - 8 + index)
}

/// Subtracting a small number sets the high bit of the bytes that are smaller.
/// A borrow only affects bytes after a hit, and only the first hit counts.
#[inline]
fn first_in_word(word: [u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);

    let word = u64::from_le_bytes(word);
    let below = |word: u64, limit: u64| word.wrapping_sub(limit) & !word;
    let hits = (below(word, SPACES) | below(word ^ QUOTES, ONES) | below(word ^ BACKSLASHES, ONES)) & HIGH;
    (hits != 0).then(|| hits.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Rule 68: the limit is one of escaped bytes. Each limit here is that of the marker and five bytes.
    #[test]
    fn pieces_of_a_text_around_its_limit() {
        for (pieces, expected) in [
            (["abcde", ""], "abcde"),
            (["abcde", "f"], "abcde…"),
            (["abc", "de"], "abcde"),
            (["abc", "def"], "abcde…"),
            (["abcdef", "g"], "abcde…"), // nothing follows the marker
            (["abc\"", ""], "abc\\\""),
            (["abc", "\""], "abc\\\""),
            (["abcd", "\""], "abcd…"),
            (["abcd\"", "e"], "abcd…"), // although this one fits
            (["é", "éa"], "ééa"),
            (["é", "éé"], "éé…"),
            (["\u{1}", "a"], "…"),
        ] {
            for are_bytes in [false, true] {
                let mut out = Vec::new();
                let mut text = Text::new(&mut out, MARKER.len() + 5);
                for piece in pieces {
                    if are_bytes { text.push_bytes(piece.as_bytes()) } else { text.push(piece) }
                }
                assert_eq!(text.is_truncated(), expected.ends_with(MARKER), "{pieces:?}");
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{pieces:?}");
            }
        }
    }

    /// Each byte that is escaped, at each place within and across the words of the scan.
    #[test]
    fn the_first_byte_to_escape() {
        for byte in 0..=255u8 {
            let is_escaped = matches!(byte, b'"' | b'\\' | 0..=0x1f);
            for length in 1..=20 {
                for at in 0..length {
                    let mut bytes = vec![b'#'; length];
                    bytes[at] = byte;
                    assert_eq!(
                        first_to_escape(&bytes),
                        is_escaped.then_some(at),
                        "{byte:#x} at {at} of {length}"
                    );
                }
            }
        }
        for (bytes, expected) in [(b"##\0\"\\###".as_slice(), 2), (b"#\"\0#\\!#]", 1), (b"###\\\"\x1f##", 3)]
        {
            assert_eq!(first_to_escape(bytes), Some(expected), "{bytes:?}");
        }
    }
}
