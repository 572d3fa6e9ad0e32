//! A trace as one OTLP/JSON document, which a receiver of spans accepts, and a receiver of log records, too.
//!
//! ```text
//!  spans, in the order of their ids ──► chunks, sorted by emitter ──► a group for each emitter of a chunk
//!  lines, by time                   ──► the same
//! ```
//!
//! A chunk is at most [`CHUNK`] keys, so a trace of any length takes the same memory. A resource is repeated in each chunk
//! that has items of it.

use std::collections::VecDeque;
use std::io::{self, Write};

use logtracer_core::{SpanId, TraceId};
use serde_json::json;

use crate::otlp::in_place::MessageJson;
use crate::store::{LineContent, LineKey, LineRow, ReadResult, Snapshot, TraceSeq};
use crate::view::respond::{LARGE_PIECE_BYTES, PIECE_BYTES, Pieces, Progress};
use crate::view::window::Window;

/// The number of spans or lines whose keys are in memory.
const CHUNK: usize = 2048;

/// The document while it is sent.
pub(super) struct Otlp {
    seq: TraceSeq,
    trace_id: TraceId,
    part: Part,
    /// The next items, with the rows of the table `origin`.
    spans: VecDeque<(SpanId, Option<i64>)>,
    lines: VecDeque<(LineKey, Option<i64>)>,
    last_span: Option<SpanId>,
    last_line: Option<LineKey>,
    /// The emitter of the group that is open.
    group: Option<Option<i64>>,
    has_group: bool,
    has_item: bool,
    /// What is written of the current item, or of the beginning of its group.
    offset: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Spans,
    Lines,
}

impl Part {
    /// Returns the names of the lists of scopes and of items.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Lines => ("scopeLogs", "logRecords"),
            Self::Head | Self::Spans => ("scopeSpans", "spans"),
        }
    }
}

impl Otlp {
    /// Opens a trace. Returns `None` if nothing of it is stored.
    pub(super) fn open(snapshot: &Snapshot<'_>, trace_id: TraceId) -> ReadResult<Option<Self>> {
        let found = snapshot.trace(trace_id)?;
        Ok(found.map(|(seq, _)| Self {
            seq,
            trace_id,
            part: Part::Head,
            spans: VecDeque::new(),
            lines: VecDeque::new(),
            last_span: None,
            last_line: None,
            group: None,
            has_group: false,
            has_item: false,
            offset: 0,
        }))
    }

    /// Returns the emitter of the next item, or `None` after the last one.
    fn next_origin(&mut self, snapshot: &Snapshot<'_>) -> ReadResult<Option<Option<i64>>> {
        if self.part == Part::Spans {
            if self.spans.is_empty() {
                let mut chunk = snapshot.spans_after(self.seq, self.last_span, CHUNK)?;
                self.last_span = chunk.last().map(|(id, _)| *id).or(self.last_span);
                chunk.sort_by_key(|(_, origin)| *origin);
                self.spans = chunk.into_iter().map(|(id, origin)| (id, Some(origin))).collect();
            }
            return Ok(self.spans.front().map(|(_, origin)| *origin));
        }
        if self.lines.is_empty() {
            let mut chunk = snapshot.lines_after(self.seq, self.last_line, CHUNK)?;
            self.last_line = chunk.last().map(|(key, _)| *key).or(self.last_line);
            for (key, origin) in chunk.iter_mut().filter(|(_, origin)| origin.is_none()) {
                // A line of a file has the emitter of its span.
                let span = snapshot.line_at(self.seq, *key, |row| Ok(row.span_id))?.flatten();
                *origin = match span {
                    Some(span) => snapshot.span_origin(self.seq, span)?,
                    None => None,
                };
            }
            chunk.sort_by_key(|(_, origin)| *origin);
            self.lines = chunk.into();
        }
        Ok(self.lines.front().map(|(_, origin)| *origin))
    }

    fn close_group(&mut self, out: &mut Vec<u8>) {
        if self.group.take().is_some() {
            out.extend_from_slice(b"]}]}");
        }
    }

    /// Writes the beginning of a group, or a part of it. Without its emitter, the rest of the document is not sent.
    fn begin_group(
        &mut self,
        snapshot: &Snapshot<'_>,
        origin: Option<i64>,
        out: &mut Vec<u8>,
    ) -> ReadResult<Progress> {
        let begin = out.len();
        let mut has_emitter = true;
        if self.offset == 0 {
            self.close_group(out);
            if self.has_group {
                out.push(b',');
            }
        }
        let (scopes, items) = self.part.names();
        let is_whole = self.write(out, |window| {
            let Some(origin) = origin else {
                let _ = write!(window, r#"{{"{scopes}":[{{"{items}":["#);
                return Ok(());
            };
            let written = snapshot.emitter(origin, |emitter| {
                // The only error is that the window is full, which it remembers.
                let _ = (|| -> io::Result<()> {
                    write!(window, r#"{{"resource":"#)?;
                    serde_json::to_writer(&mut *window, &MessageJson::resource(emitter.resource.0))?;
                    write!(window, r#","{scopes}":[{{"scope":"#)?;
                    serde_json::to_writer(&mut *window, &MessageJson::scope(emitter.scope.body))?;
                    write!(window, r#","{items}":["#)
                })();
            })?;
            has_emitter = written.is_some();
            Ok(())
        })?;
        if !has_emitter {
            out.truncate(begin);
            return Ok(Progress::Gone);
        }
        if is_whole {
            (self.group, self.has_group, self.has_item) = (Some(origin), true, false);
        }
        Ok(Progress::More)
    }

    /// Writes the next item, or a part of it.
    fn item(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        let begin = out.len();
        if self.offset == 0 && self.has_item {
            out.push(b',');
        }
        let (seq, trace_id, is_begun) = (self.seq, self.trace_id, self.offset > 0);
        let mut found = None;
        let is_whole = if self.part == Part::Spans {
            let id = self.spans.front().map(|(id, _)| *id);
            self.write(out, |window| {
                let Some(id) = id else { return Ok(()) };
                found = snapshot.span(seq, id, |row| {
                    let _ = serde_json::to_writer(window, &MessageJson::span(row.span.body()));
                    Ok(())
                })?;
                Ok(())
            })?
        } else {
            let key = self.lines.front().map(|(key, _)| *key);
            self.write(out, |window| {
                let Some(key) = key else { return Ok(()) };
                found = snapshot.line_at(seq, key, |row| {
                    let _ = write_line(trace_id, &row, window);
                    Ok(())
                })?;
                Ok(())
            })?
        };
        if found.is_none() {
            // An item that was evicted meanwhile is passed over, unless a part of it was sent.
            out.truncate(begin);
            if is_begun {
                return Ok(Progress::Gone);
            }
        }
        if is_whole {
            self.has_item |= found.is_some();
            if self.part == Part::Spans {
                self.spans.pop_front();
            } else {
                self.lines.pop_front();
            }
        }
        Ok(Progress::More)
    }

    /// Writes what follows the part that is written. Returns whether that is all.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Window<'_>) -> ReadResult<()>,
    ) -> ReadResult<bool> {
        let piece = if self.offset == 0 { PIECE_BYTES } else { LARGE_PIECE_BYTES };
        // What is begun gets some bytes.
        let max_bytes = piece.max(out.len() + 1024);
        let mut window = Window::new(out, self.offset, max_bytes);
        write(&mut window)?;
        let (written, has_more) = window.end();
        self.offset = if has_more { self.offset + written } else { 0 };
        Ok(!has_more)
    }
}

/// Writes a line as a log record. That of a file has the message as its body, and the original line in an attribute.
fn write_line(trace_id: TraceId, row: &LineRow<'_>, out: &mut impl Write) -> serde_json::Result<()> {
    match row.content {
        LineContent::Record { body, .. } => serde_json::to_writer(out, &MessageJson::log_record(body)),
        LineContent::File { severity, message, line } => {
            let mut record = json!({
                "timeUnixNano": row.time_unix_nano().to_string(),
                "severityText": severity,
                "body": { "stringValue": message },
                "attributes": [{ "key": "log.record.original", "value": { "stringValue": line } }],
                "traceId": trace_id.to_string(),
            });
            if let (Some(span_id), Some(record)) = (row.span_id, record.as_object_mut()) {
                record.insert("spanId".to_owned(), span_id.to_string().into());
            }
            serde_json::to_writer(out, &record)
        }
    }
}

impl Pieces for Otlp {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        while out.len() < PIECE_BYTES {
            if self.part == Part::Head {
                out.extend_from_slice(br#"{"resourceSpans":["#);
                self.part = Part::Spans;
            }
            let progress = match self.next_origin(snapshot)? {
                Some(origin) if self.group == Some(origin) => self.item(snapshot, out)?,
                Some(origin) => self.begin_group(snapshot, origin, out)?,
                None => {
                    self.close_group(out);
                    if self.part == Part::Lines {
                        out.extend_from_slice(b"]}\n");
                        return Ok(Progress::Complete);
                    }
                    out.extend_from_slice(br#"],"resourceLogs":["#);
                    (self.part, self.has_group) = (Part::Lines, false);
                    Progress::More
                }
            };
            if progress != Progress::More {
                return Ok(progress);
            }
        }
        Ok(Progress::More)
    }
}
