//! A text that is rendered at once, and sent piece by piece.

use super::{PIECE_BYTES, Pieces, Progress};
use crate::store::{ReadResult, Snapshot};

/// A rendered text. The view keeps its slot until the client has it.
#[derive(Debug)]
pub(in crate::view) struct Text {
    text: String,
    sent: usize,
}

impl Text {
    pub(in crate::view) const fn new(text: String) -> Self {
        Self { text, sent: 0 }
    }
}

impl Pieces for Text {
    fn next(&mut self, _: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        let rest = self.text.as_bytes().get(self.sent..).unwrap_or_default();
        let piece = rest.get(..PIECE_BYTES).unwrap_or(rest);
        out.extend_from_slice(piece);
        self.sent += piece.len();
        Ok(if piece.len() == rest.len() { Progress::Complete } else { Progress::More })
    }
}
