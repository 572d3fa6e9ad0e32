//! Truncating the texts of an entry.

use crate::truncate::truncate;

/// Truncates texts, and records whether one of them was too long.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Truncator {
    pub(super) has_truncated: bool,
}

impl Truncator {
    pub(super) fn truncate<'a>(&mut self, text: &'a str, max_bytes: usize) -> &'a str {
        self.has_truncated |= text.len() > max_bytes;
        truncate(text, max_bytes)
    }
}
