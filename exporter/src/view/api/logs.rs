//! The list of log lines of all services, newest first.

use std::time::Instant;

use super::line;
use super::list::Frame;
use crate::clock;
use crate::store::{FoundLines, LineCursor, ReadResult, Snapshot};
use crate::view::parameters::LinesQuery;
use crate::view::respond::{LARGE_PIECE_BYTES, PIECE_BYTES, Pieces, Progress};
use crate::view::window::Window;

pub(super) struct Lines {
    lines: Vec<LineCursor>,
    frame: Frame,
    row: usize,
    /// What is written of the current row.
    offset: u64,
}

impl Lines {
    pub(super) fn open(snapshot: &Snapshot<'_>, query: &LinesQuery, deadline: Instant) -> ReadResult<Self> {
        let LinesQuery { filter, limit, cursor } = query;
        let now = i64::try_from(clock::unix_nanos()).unwrap_or(i64::MAX);
        let FoundLines { lines, next, is_interrupted } =
            snapshot.find_lines(filter, *cursor, *limit, now, deadline)?;
        let frame = Frame::new("logs", next.map(|next| next.to_string()), is_interrupted);
        Ok(Self { lines, frame, row: 0, offset: 0 })
    }
}

impl Pieces for Lines {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        self.frame.begin(out);
        while out.len() < PIECE_BYTES {
            let Some(key) = self.lines.get(self.row) else {
                self.frame.end(out);
                return Ok(Progress::Complete);
            };
            let offset = self.offset;
            let write = |out: &mut Vec<u8>| {
                let mut window = Window::new(out, offset, LARGE_PIECE_BYTES);
                let found = snapshot.listed_line(key, |origin, row| {
                    line::write(snapshot, line::Of::All(origin, key), &row, &mut window)
                })?;
                Ok(found.map(|()| window.end()))
            };
            match if offset == 0 { self.frame.row(out, write)? } else { write(out)? } {
                Some((written, true)) => {
                    self.offset += written;
                    return Ok(Progress::More);
                }
                None if offset > 0 => return Ok(Progress::Gone),
                // All of the line, or nothing because it was evicted.
                Some((_, false)) | None => self.offset = 0,
            }
            self.row += 1;
        }
        Ok(Progress::More)
    }
}
