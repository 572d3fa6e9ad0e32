//! A text on the stack, and the white space of HTTP.

use core::fmt;

/// A text of at most `N` bytes on the stack.
///
/// Invariant: every header value fits, because its fields have bounded widths. A text that does not fit is dropped.
pub(super) struct Buffer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Buffer<N> {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    pub(super) fn push(&mut self, text: &str) {
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        if let Some(target) = free.get_mut(..text.len()) {
            target.copy_from_slice(text.as_bytes());
            self.len += text.len();
        }
    }

    pub(super) fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Buffer<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

/// Removes the optional white space (spaces and tabs) of RFC 9110 section 5.6.3 from both ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_text_that_does_not_fit_is_dropped() {
        let mut buffer = Buffer::<5>::new();
        for (text, expected) in [("", ""), ("ab", "ab"), ("long", "ab"), ("cde", "abcde"), ("f", "abcde")] {
            buffer.push(text);
            assert_eq!(buffer.as_str(), expected);
        }
        let mut buffer = Buffer::<5>::new();
        fmt::Write::write_fmt(&mut buffer, format_args!("{:02x}", 7)).unwrap();
        assert_eq!(buffer.as_str(), "07");
    }

    #[test]
    fn white_space_at_both_ends() {
        for (text, expected) in [("", ""), (" \t ", ""), ("a b", "a b"), ("\t a\n \t", "a\n")] {
            assert_eq!(trim(text.as_bytes()), expected.as_bytes(), "{text:?}");
        }
    }
}
