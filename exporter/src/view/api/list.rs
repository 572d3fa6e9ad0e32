//! The list of traces.

use std::io::Write;
use std::time::Instant;

use serde::Serialize;

use crate::store::{FoundTraces, ListKey, Snapshot, TraceSummary};
use crate::view::parameters::TracesQuery;
use crate::view::respond::{PIECE_BYTES, Pieces, Progress};

pub(super) struct List {
    keys: std::vec::IntoIter<ListKey>,
    end: End,
    is_begun: bool,
    has_one: bool,
}

/// What follows the rows of a list.
#[derive(Serialize)]
pub(super) struct End {
    /// Where the next page begins. `null` after the last row of the store.
    pub(super) next_cursor: Option<String>,
    /// The time of the search was over before the page was full. The next page goes on.
    pub(super) is_interrupted: bool,
}

impl End {
    /// Ends the object that began with the rows.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],");
        let start = out.len();
        // Cannot fail: a vector takes all bytes.
        let _ = serde_json::to_writer(out.by_ref(), self);
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
    pub(super) fn open(
        snapshot: &Snapshot<'_>,
        query: &TracesQuery,
        deadline: Instant,
    ) -> rusqlite::Result<Self> {
        let TracesQuery { filter, sort, limit, cursor } = query;
        let FoundTraces { keys, next, is_interrupted } =
            snapshot.find_traces(filter, *sort, *cursor, *limit, deadline)?;
        let end = End { next_cursor: next.map(|next| next.to_string()), is_interrupted };
        Ok(Self { keys: keys.into_iter(), end, is_begun: false, has_one: false })
    }
}

impl Pieces for List {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> rusqlite::Result<Progress> {
        if !self.is_begun {
            self.is_begun = true;
            out.extend_from_slice(br#"{"traces":["#);
        }
        while out.len() < PIECE_BYTES {
            let Some(key) = self.keys.next() else {
                self.end.write(out);
                return Ok(Progress::Complete);
            };
            let Some(trace) = snapshot.listed(key)? else { continue };
            if self.has_one {
                out.push(b',');
            }
            self.has_one = true;
            // Cannot fail: a vector takes all bytes.
            let _ = serde_json::to_writer(out.by_ref(), &JsonSummary::from(&trace));
        }
        Ok(Progress::More)
    }
}
