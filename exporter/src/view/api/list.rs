//! The list of traces.

use std::io::Write;

use serde::Serialize;

use crate::store::{ListKey, Snapshot, TraceSummary};
use crate::view::respond::{PIECE_BYTES, Pieces, Progress};

pub(super) struct List {
    keys: std::vec::IntoIter<ListKey>,
    is_begun: bool,
    has_one: bool,
}

#[derive(Serialize)]
struct JsonSummary<'a> {
    trace_id: String,
    root_name: &'a str,
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
    pub(super) fn open(snapshot: &Snapshot<'_>, limit: usize) -> rusqlite::Result<Self> {
        let keys = snapshot.newest(limit)?.into_iter();
        Ok(Self { keys, is_begun: false, has_one: false })
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
                out.extend_from_slice(b"]}");
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
