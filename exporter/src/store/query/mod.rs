//! The queries of the viewer, one row at a time.
//!
//! ```text
//!  Store::snapshot ──► Snapshot ─┬─► traces   the list, and one trace of it
//!                                ├─► spans    their keys in order, and one span with its emitter
//!                                ├─► lines    one log line
//!                                └─► find_traces, find_lines    what passes a filter, a page at a time
//! ```
//!
//! A row is read in place: it is valid while a closure runs, and no copy of it is made. A large row therefore takes no
//! more memory than its bytes.
//! Invariant: a snapshot is as short as the work on a few rows, and nobody waits for a client while there is one. The
//! WAL can be moved into the file between two of them.

mod candidates;
mod filter;
mod find_lines;
mod find_traces;
mod lines;
mod spans;
mod statistics;
mod traces;

use rusqlite::{Connection, Transaction};

pub(crate) use filter::{LineFilter, Sort, StatusFilter, TraceFilter};
pub(crate) use find_lines::{FoundLines, LineCursor, LineOrigin, LinesCursor};
pub(crate) use find_traces::{FoundTraces, TraceCursor};
pub(crate) use lines::{LineContent, LineKey, LineRow};
pub(crate) use spans::{EmitterRow, ServiceNames, SpanKey};
pub(crate) use statistics::{Operation, Route, Statistics, Totals};
pub(crate) use traces::{ListKey, TraceDot, TraceSummary};

/// The number of a trace in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceSeq(i64);

/// One state of the store.
#[derive(Debug)]
pub(crate) struct Snapshot<'a>(Transaction<'a>);

impl<'a> Snapshot<'a> {
    pub(super) fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.unchecked_transaction().map(Self)
    }
}

/// Returns a limit in the form of the database.
fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
