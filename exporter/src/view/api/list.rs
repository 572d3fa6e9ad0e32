//! The list of traces, and what stands around the rows of a list.

use std::io::Write;
use std::time::Instant;

use serde::Serialize;

use crate::store::{FoundTraces, ListKey, ReadResult, Snapshot, TraceSummary};
use crate::view::parameters::TracesQuery;
use crate::view::respond::{PIECE_BYTES, Pieces, Progress};

pub(super) struct List {
    keys: std::vec::IntoIter<ListKey>,
    frame: Frame,
}

/// The object around the rows of a list: its beginning, the commas and its end.
pub(super) struct Frame {
    /// The member with the rows.
    name: &'static str,
    end: End,
    is_begun: bool,
    has_row: bool,
}

/// What follows the rows of a list.
#[derive(Serialize)]
struct End {
    /// Where the next page begins. `null` after the last row of the store.
    next_cursor: Option<String>,
    /// The time of the search was over before the page was full. The next page goes on.
    is_interrupted: bool,
}

impl Frame {
    pub(super) const fn new(name: &'static str, next_cursor: Option<String>, is_interrupted: bool) -> Self {
        Self { name, end: End { next_cursor, is_interrupted }, is_begun: false, has_row: false }
    }

    /// Begins the object, unless it has begun.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.is_begun {
            self.is_begun = true;
            out.extend_from_slice(format!("{{\"{}\":[", self.name).as_bytes());
        }
    }

    /// Appends a row, or nothing if `write` finds none.
    pub(super) fn row<T>(
        &mut self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> ReadResult<Option<T>>,
    ) -> ReadResult<Option<T>> {
        let length = out.len();
        if self.has_row {
            out.push(b',');
        }
        let row = write(out)?;
        match row {
            Some(_) => self.has_row = true,
            None => out.truncate(length),
        }
        Ok(row)
    }

    pub(super) fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],");
        let start = out.len();
        // Cannot fail: a vector takes all bytes.
        let _ = serde_json::to_writer(out.by_ref(), &self.end);
        // Its members are those of the object that has begun.
        out.remove(start);
    }
}

#[derive(Serialize)]
pub(super) struct JsonSummary<'a> {
    trace_id: String,
    root_name: &'a str,
    root_service: &'a str,
    root_status: &'a str,
    service_names: &'a [String],
    span_count: u64,
    log_count: u64,
    error_count: u64,
    start_unix_nano: String,
    duration_nano: String,
}

impl<'a> From<&'a TraceSummary> for JsonSummary<'a> {
    fn from(trace: &'a TraceSummary) -> Self {
        Self {
            trace_id: trace.trace_id.to_string(),
            root_name: &trace.root_name,
            root_service: &trace.root_service,
            root_status: &trace.root_status,
            service_names: &trace.service_names,
            span_count: trace.span_count,
            log_count: trace.log_count,
            error_count: trace.error_count,
            start_unix_nano: trace.start_unix_nano.to_string(),
            duration_nano: trace.duration_nano.to_string(),
        }
    }
}

impl List {
    pub(super) fn open(snapshot: &Snapshot<'_>, query: &TracesQuery, deadline: Instant) -> ReadResult<Self> {
        let TracesQuery { filter, sort, limit, cursor } = query;
        let FoundTraces { keys, next, is_interrupted } =
            snapshot.find_traces(filter, *sort, *cursor, *limit, deadline)?;
        let frame = Frame::new("traces", next.map(|next| next.to_string()), is_interrupted);
        Ok(Self { keys: keys.into_iter(), frame })
    }
}

impl Pieces for List {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        self.frame.begin(out);
        while out.len() < PIECE_BYTES {
            let Some(key) = self.keys.next() else {
                self.frame.end(out);
                return Ok(Progress::Complete);
            };
            self.frame.row(out, |out| {
                let trace = snapshot.listed(key)?;
                // Cannot fail: a vector takes all bytes.
                Ok(trace.and_then(|trace| serde_json::to_writer(out, &JsonSummary::from(&trace)).ok()))
            })?;
        }
        Ok(Progress::More)
    }
}
