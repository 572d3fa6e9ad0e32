//! A log line, as JSON and as it is stored.

use std::io::Write;

use logtracer_core::TraceId;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::otlp::in_place::RecordRef;
use crate::store::{
    LineContent, LineCursor, LineKey, LineOrigin, LineRow, ReadResult, Snapshot, TraceSeq, convert_record,
    service_of_line,
};
use crate::view::respond::{LARGE_PIECE_BYTES, Pieces, Progress};
use crate::view::window::Window;

/// Of a larger log record, this much of its texts and values is converted.
const MAX_RECORD_BYTES: usize = 256 << 10;

#[derive(Serialize)]
struct JsonLine<'a> {
    time_unix_nano: String,
    severity: &'a str,
    message: &'a str,
    /// `null` for a line without a trace. Absent in the lines of a trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Option<String>>,
    span_id: Option<String>,
    /// `null` if it is unknown.
    service: Option<&'a str>,
    /// The unchanged object, with its members in their order.
    line: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<Truncated>,
}

/// Where the whole line is.
#[derive(Serialize)]
struct Truncated {
    whole: String,
}

/// The list that a line is a row of.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    Trace(TraceId),
    All(&'a LineOrigin, &'a LineCursor),
}

impl Of<'_> {
    const fn trace_id(&self) -> Option<TraceId> {
        match self {
            Self::Trace(id) => Some(*id),
            Self::All(origin, _) => origin.trace_id,
        }
    }
}

/// Writes a line as JSON. The window may end before the line does.
pub(super) fn write(
    snapshot: &Snapshot<'_>,
    of: Of<'_>,
    row: &LineRow<'_>,
    out: &mut Window<'_>,
) -> ReadResult<()> {
    let mut write = |severity: &str, message: &str, line: &str, is_cut: bool, service: Option<&str>| {
        let whole = || match of {
            Of::Trace(trace_id) => path(trace_id, row.key),
            Of::All(_, cursor) => format!("/api/logs/{cursor}"),
        };
        let truncated = is_cut.then(|| Truncated { whole: whole() });
        let trace_id = match of {
            Of::Trace(_) => None,
            Of::All(origin, _) => Some(origin.trace_id.map(|id| id.to_string())),
        };
        let json = JsonLine {
            time_unix_nano: row.time_unix_nano().to_string(),
            severity,
            message,
            trace_id,
            span_id: row.span_id.map(|id| id.to_string()),
            service,
            line: serde_json::from_str(line).ok(),
            truncated,
        };
        // The only error is that the window is full, which it remembers.
        let _ = serde_json::to_writer(&mut *out, &json);
    };
    match row.content {
        LineContent::File { severity, message, line } => {
            write(severity, message, line, false, service_of_line(message).as_deref());
        }
        LineContent::Record { body, origin } => {
            let converted = snapshot.emitter(origin, |emitter| {
                let service = emitter.service_name();
                let names = (&*service, emitter.scope.name);
                let line = convert_record(&RecordRef::new(body), of.trace_id(), names, MAX_RECORD_BYTES);
                (line, service.into_owned())
            })?;
            if let Some((line, service)) = converted {
                write(line.severity, &line.message, &line.line, line.is_cut, Some(&service));
            }
        }
    }
    Ok(())
}

/// Returns the path of a whole line.
pub(in crate::view) fn path(trace_id: TraceId, key: LineKey) -> String {
    format!("/api/traces/{trace_id}/logs/{key}")
}

/// `GET /api/traces/{trace_id}/logs/{line}` and `GET /api/logs/{line}`.
pub(super) struct OneLine {
    trace: TraceSeq,
    key: LineKey,
    is_record: bool,
    offset: u64,
}

impl OneLine {
    pub(super) fn open(snapshot: &Snapshot<'_>, trace_id: TraceId, key: LineKey) -> ReadResult<Option<Self>> {
        let Some((trace, _)) = snapshot.trace(trace_id)? else { return Ok(None) };
        Self::of(snapshot, trace, key)
    }

    /// Opens a line of the list of all lines.
    pub(super) fn of(snapshot: &Snapshot<'_>, trace: TraceSeq, key: LineKey) -> ReadResult<Option<Self>> {
        snapshot.line_at(trace, key, |row| {
            let is_record = matches!(row.content, LineContent::Record { .. });
            Ok(Self { trace, key, is_record, offset: 0 })
        })
    }

    pub(super) const fn content_type(&self) -> &'static str {
        if self.is_record { "application/x-protobuf" } else { super::JSON }
    }
}

impl Pieces for OneLine {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        let mut window = Window::new(out, self.offset, LARGE_PIECE_BYTES);
        let found = snapshot.line_at(self.trace, self.key, |row| {
            let bytes = match row.content {
                LineContent::File { line, .. } => line.as_bytes(),
                LineContent::Record { body, .. } => body,
            };
            // The only error is that the window is full, which it remembers.
            let _ = window.write_all(bytes);
            Ok(())
        })?;
        let (written, has_more) = window.end();
        self.offset += written;
        Ok(match found {
            Some(()) if has_more => Progress::More,
            Some(()) => Progress::Complete,
            None => Progress::Gone,
        })
    }
}
