//! A trace with its spans and lines, or a part of it.

use std::collections::VecDeque;
use std::io::Write;

use logtracer_core::TraceId;

use super::{line, span};
use crate::store::{LineKey, ReadResult, ServiceNames, Snapshot, SpanKey, TraceSeq};
use crate::view::respond::{LARGE_PIECE_BYTES, PIECE_BYTES, Pieces, Progress};
use crate::view::window::Window;

/// The limit of spans, and of lines.
const MAX_ROWS: usize = 20_000;

/// After this much JSON, no further span begins, and after twice as much no further line.
const MAX_BYTES: u64 = 64 << 20;

pub(super) struct Trace {
    seq: TraceSeq,
    trace_id: TraceId,
    part: Part,
    /// One more than the limit, if there are more.
    spans: VecDeque<SpanKey>,
    names: ServiceNames,
    /// The line before the next one.
    after: Option<LineKey>,
    has_lines: bool,
    /// The number of rows of this part that are written.
    rows: usize,
    /// What is written of the current row.
    offset: u64,
    written: u64,
    next_span: Option<SpanKey>,
    next_line: Option<LineKey>,
}

/// Where the spans or the lines of a response begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin<K> {
    First,
    At(K),
    /// There are none: an earlier response had all.
    End,
}

/// [`Begin::End`] in a query.
pub(super) const END: &str = "end";

#[derive(Clone, Copy)]
enum Part {
    Head,
    Spans,
    Lines,
    Tail,
}

impl Trace {
    /// Opens a trace. Returns `None` if nothing of it is stored.
    pub(super) fn open(
        snapshot: &Snapshot<'_>,
        trace_id: TraceId,
        spans: Begin<SpanKey>,
        lines: Begin<LineKey>,
    ) -> ReadResult<Option<Self>> {
        let Some((seq, _)) = snapshot.trace(trace_id)? else { return Ok(None) };
        let keys = match spans {
            Begin::First => snapshot.span_keys(seq, None, MAX_ROWS + 1)?,
            Begin::At(key) => snapshot.span_keys(seq, Some(key), MAX_ROWS + 1)?,
            Begin::End => Vec::new(),
        };
        Ok(Some(Self {
            seq,
            trace_id,
            part: Part::Head,
            spans: keys.into(),
            names: ServiceNames::default(),
            after: if let Begin::At(key) = lines { Some(key.before()) } else { None },
            has_lines: lines != Begin::End,
            rows: 0,
            offset: 0,
            written: 0,
            next_span: None,
            next_line: None,
        }))
    }

    fn begin(&mut self, part: Part, text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(text.as_bytes());
        self.part = part;
        self.rows = 0;
    }

    /// Writes a row or a part of it. Returns `None` if there is no such row.
    fn row(
        &mut self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Self, &mut Window<'_>) -> ReadResult<Option<()>>,
    ) -> ReadResult<Option<IsWhole>> {
        let begin = out.len();
        if self.offset == 0 && self.rows > 0 {
            out.push(b',');
        }
        // A row that is begun gets some bytes.
        let piece = if self.offset == 0 { PIECE_BYTES } else { LARGE_PIECE_BYTES };
        let max_bytes = piece.max(out.len() + 1024);
        let mut window = Window::new(out, self.offset, max_bytes);
        if write(self, &mut window)?.is_none() {
            out.truncate(begin);
            return Ok(None);
        }
        let (written, has_more) = window.end();
        self.written += written;
        if has_more {
            self.offset += written;
            return Ok(Some(IsWhole(false)));
        }
        self.offset = 0;
        self.rows += 1;
        Ok(Some(IsWhole(true)))
    }

    fn span(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        let next = self.spans.front().copied();
        let Some(key) = next.filter(|_| self.offset > 0 || !self.is_full(1)) else {
            self.next_span = next;
            self.begin(Part::Lines, r#"],"logs":["#, out);
            return Ok(Progress::More);
        };
        let seq = self.seq;
        let whole =
            self.row(out, |this, window| span::write(snapshot, seq, key.span_id, &mut this.names, window))?;
        match whole {
            None if self.offset > 0 => return Ok(Progress::Gone),
            Some(IsWhole(false)) => {}
            // A span that was evicted meanwhile is passed over.
            None | Some(IsWhole(true)) => drop(self.spans.pop_front()),
        }
        Ok(Progress::More)
    }

    fn line(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        let (seq, trace_id, after) = (self.seq, self.trace_id, self.after);
        if !self.has_lines {
            self.begin(Part::Tail, "]", out);
            return Ok(Progress::More);
        }
        if self.offset == 0 && self.is_full(2) {
            self.next_line = snapshot.line(seq, after, |row| Ok(row.key))?;
            self.begin(Part::Tail, "]", out);
            return Ok(Progress::More);
        }
        let mut key = after;
        let whole = self.row(out, |_, window| {
            snapshot.line(seq, after, |row| {
                key = Some(row.key);
                line::write(snapshot, line::Of::Trace(trace_id), &row, window)
            })
        })?;
        match whole {
            None if self.offset > 0 => return Ok(Progress::Gone),
            None => self.begin(Part::Tail, "]", out),
            Some(IsWhole(false)) => {}
            Some(IsWhole(true)) => self.after = key,
        }
        Ok(Progress::More)
    }

    fn is_full(&self, share: u64) -> bool {
        self.rows >= MAX_ROWS || self.written >= share * MAX_BYTES
    }

    fn tail(&self, out: &mut Vec<u8>) {
        if self.next_span.is_some() || self.next_line.is_some() {
            let spans = self.next_span.map_or(END.to_owned(), |key| key.to_string());
            let lines = self.next_line.map_or(END.to_owned(), |key| key.to_string());
            let next = format!("/api/traces/{}?spans={spans}&logs={lines}", self.trace_id);
            let _ = write!(out, r#","truncated":true,"next":"{next}""#);
        }
        out.push(b'}');
    }
}

/// Whether a row is written to its end.
struct IsWhole(bool);

impl Pieces for Trace {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        while out.len() < PIECE_BYTES {
            let progress = match self.part {
                Part::Head => {
                    let head = format!(r#"{{"trace_id":"{}","spans":["#, self.trace_id);
                    self.begin(Part::Spans, &head, out);
                    Progress::More
                }
                Part::Spans => self.span(snapshot, out)?,
                Part::Lines => self.line(snapshot, out)?,
                Part::Tail => {
                    self.tail(out);
                    Progress::Complete
                }
            };
            if progress != Progress::More {
                return Ok(progress);
            }
        }
        Ok(Progress::More)
    }
}
