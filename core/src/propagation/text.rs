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
