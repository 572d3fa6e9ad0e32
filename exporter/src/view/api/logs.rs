//! The list of log lines of all services, newest first.

use std::time::Instant;

use super::line;
use super::list::End;
use crate::clock;
use crate::store::{FoundLines, LineCursor, Snapshot};
use crate::view::parameters::LinesQuery;
use crate::view::respond::{LARGE_PIECE_BYTES, PIECE_BYTES, Pieces, Progress};
use crate::view::window::Window;

pub(super) struct Lines {
    lines: Vec<LineCursor>,
    end: End,
    row: usize,
    /// What is written of the current row.
    offset: u64,
    is_begun: bool,
    has_one: bool,
}

impl Lines {
    pub(super) fn open(
        snapshot: &Snapshot<'_>,
        query: &LinesQuery,
        deadline: Instant,
    ) -> rusqlite::Result<Self> {
        let LinesQuery { filter, limit, cursor } = query;
        let now = i64::try_from(clock::unix_nanos()).unwrap_or(i64::MAX);
        let FoundLines { lines, next, is_interrupted } =
            snapshot.find_lines(filter, *cursor, *limit, now, deadline)?;
        let end = End { next_cursor: next.map(|next| next.to_string()), is_interrupted };
        Ok(Self { lines, end, row: 0, offset: 0, is_begun: false, has_one: false })
    }
}

impl Pieces for Lines {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> rusqlite::Result<Progress> {
        if !self.is_begun {
            self.is_begun = true;
            out.extend_from_slice(br#"{"logs":["#);
        }
        while out.len() < PIECE_BYTES {
            let Some(key) = self.lines.get(self.row) else {
                self.end.write(out);
                return Ok(Progress::Complete);
            };
            if self.has_one && self.offset == 0 {
                out.push(b',');
            }
            let length = out.len();
            let mut window = Window::new(out, self.offset, LARGE_PIECE_BYTES);
            let found = snapshot.listed_line(key, |origin, row| {
                line::write(snapshot, line::Of::All(origin, key), &row, &mut window)
            })?;
            let (written, has_more) = window.end();
            if found.is_none() {
                if self.offset > 0 {
                    return Ok(Progress::Gone);
                }
                // The line was evicted, and has no comma.
                out.truncate(length.saturating_sub(usize::from(self.has_one)));
                self.row += 1;
                continue;
            }
            self.has_one = true;
            if has_more {
                self.offset += written;
                return Ok(Progress::More);
            }
            self.offset = 0;
            self.row += 1;
        }
        Ok(Progress::More)
    }
}
