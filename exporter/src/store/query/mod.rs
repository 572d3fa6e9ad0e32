//! The queries of the viewer, one row at a time.
//!
//! ```text
//!  Store::snapshot ──► Snapshot ─┬─► traces   the list, and one trace of it
//!                                ├─► spans    their keys in order, and one span with its emitter
//!                                ├─► lines    one log line
//!                                └─► find_traces, find_lines    what passes a filter, a page at a time
//! ```
//!
//! These operations are all that pages and the API know of the store ([`ReadResult`] is their result), so that another
//! store can stand behind them:
//!
//! | operation | what it reads |
//! |---|---|
//! | `find_traces`, `passing_traces` | the keys of the traces of a page, and which of given traces pass a filter |
//! | `listed`, `dot` | what a list and the overview show of a trace |
//! | `trace`, `trace_number` | a trace by its id |
//! | `services`, `statistics`, `operations` | the names of services, and the figures of services, routes and one trace |
//! | `span_keys`, `span_key`, `spans_after`, `each_span` | the spans of a trace in an order |
//! | `span`, `span_origin`, `parent`, `emitter` | one span, its parent, and the resource and scope of an item |
//! | `find_lines`, `passing_lines`, `listed_line` | the lines of a page, and one of them |
//! | `line`, `line_at`, `lines_after`, `each_line`, `each_line_row` | the lines of a trace |
//!
//! Writing has two operations: `Store::append` and `Store::append_lines`.
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

pub(super) use filter::unescaped;
pub(crate) use filter::{LineFilter, Sort, StatusFilter, TraceFilter};
pub(crate) use find_lines::{FoundLines, LineCursor, LineOrigin, LinesCursor};
pub(crate) use find_traces::{FoundTraces, TraceCursor};
pub(crate) use lines::{LineContent, LineKey, LineRow};
pub(crate) use spans::{EmitterRow, ServiceNames, SpanKey};
pub(crate) use statistics::{Operation, Route, Statistics, Totals};
pub(crate) use traces::{ListKey, TraceDot, TraceSummary};

/// The result of reading. Its error is only shown.
pub(crate) type ReadResult<T> = rusqlite::Result<T>;

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
