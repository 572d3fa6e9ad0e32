//! [`Text`]: a JSON string under construction, and the escaping of all others.

use core::fmt;

use crate::lossy;

/// What a text that was cut ends in.
const MARKER: &str = "…";

/// The shortest limit of a text: room for the marker.
pub(super) const MIN_TEXT_BYTES: usize = MARKER.len();

/// A JSON string under construction.
///
/// What is pushed is escaped in runs; once the limit of the text is reached it ends in `…` and swallows the rest.
/// It is also a [`fmt::Write`], which never fails.
///
/// ```
/// use std::fmt::Write;
/// use logtracer_core::line::{Format, Line};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// line.message(|text| {
///     text.push("said \"hi\"\n");
///     text.push_bytes(b"caf\xe9 ");
///     let _ = write!(text, "{:?}", Some(1));
/// });
/// line.finish();
/// assert_eq!(out, r#"{"message":"said \"hi\"\ncaf� Some(1)"}"#.as_bytes());
/// ```
#[derive(Debug)]
pub struct Text<'a> {
    out: &'a mut Vec<u8>,
    /// How many bytes may follow, the marker not counted.
    left: usize,
    cut: bool,
}

impl Text<'_> {
    /// Appends a text.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.message(|text| text.push("a\tb"));
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"message":"a\tb"}"#);
    /// ```
    pub fn push(&mut self, text: &str) {
        let mut rest = text;
        while !self.cut {
            let Some(run) = first_to_escape(rest.as_bytes()) else { return self.push_plain(rest) };
            // Invariant: `run` is the place of an ASCII character, so always a boundary.
            let (plain, tail) = rest.split_at_checked(run).unwrap_or((rest, ""));
            self.push_plain(plain);
            let mut chars = tail.chars();
            if let Some(special) = chars.next() {
                self.push_escaped(special);
            }
            rest = chars.as_str();
        }
    }

    /// Appends bytes that may not be UTF-8; each part that is not becomes U+FFFD.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.message(|text| text.push_bytes(b"caf\xe9"));
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), "{\"message\":\"caf\u{fffd}\"}");
    /// ```
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        if let Ok(text) = core::str::from_utf8(bytes) {
            return self.push(text);
        }
        for piece in lossy::pieces(bytes) {
            self.push(piece);
            if self.cut {
                return;
            }
        }
    }

    fn push_plain(&mut self, run: &str) {
        if run.len() <= self.left {
            self.out.extend_from_slice(run.as_bytes());
            self.left -= run.len();
            return;
        }
        let end = (0..=self.left).rev().find(|at| run.is_char_boundary(*at)).unwrap_or(0);
        self.out.extend_from_slice(run.get(..end).unwrap_or_default().as_bytes());
        self.end_here();
    }

    fn push_escaped(&mut self, special: char) {
        let escape = Escape::of(special);
        let escape = escape.as_bytes();
        if self.cut || escape.len() > self.left {
            return self.end_here();
        }
        self.out.extend_from_slice(escape);
        self.left -= escape.len();
    }

    fn end_here(&mut self) {
        if !self.cut {
            self.cut = true;
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

/// Writes a string with its quotes: what `write` pushes, in at most `max` bytes between the quotes.
pub(super) fn text(out: &mut Vec<u8>, max: usize, write: impl FnOnce(&mut Text<'_>)) {
    out.push(b'"');
    escaped(out, max, write);
    out.push(b'"');
}

/// Writes what stands between the quotes of a string.
pub(super) fn escaped(out: &mut Vec<u8>, max: usize, write: impl FnOnce(&mut Text<'_>)) {
    write(&mut Text { out, left: max.saturating_sub(MARKER.len()), cut: false });
}

/// Writes a number in the form that protobuf's JSON gives to 64-bit integers: as a string.
pub(super) fn number_as_text(out: &mut Vec<u8>, number: u64) {
    out.push(b'"');
    integer(out, number);
    out.push(b'"');
}

/// Writes the decimal digits of a number.
pub(super) fn integer(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20]; // as many as the largest number has
    let mut rest = number;
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' | (rest % 10) as u8;
        rest /= 10;
        first -= 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Writes a formatted text as it is, without quotes or escapes.
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

/// The place of the first byte that JSON wants escaped: a quote, a backslash or a control character.
///
/// Looks at eight bytes at a time, the last eight of a longer text partly for a second time.
fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
    };
    let mut at = 0;
    for word in bytes.chunks_exact(8) {
        if let Some(place) = first_in_word(word.try_into().unwrap_or_default()) {
            return Some(at + place);
        }
        at += 8;
    }
    first_in_word(*last).map(|place| bytes.len() - 8 + place)
}

/// Subtracting a small number sets the high bit of the bytes that are smaller.
/// A borrow can only disturb the bytes after a hit, and only the first hit counts.
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
