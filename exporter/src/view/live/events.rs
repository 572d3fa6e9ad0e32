//! The events of a batch of changes.

use std::time::{Duration, Instant};

use logtracer_core::TraceId;
use maud::Markup;
use serde_json::json;

use crate::clock;
use crate::store::{Change, LineCursor, ReadResult, Snapshot};
use crate::view::api::{line_json, trace_json};
use crate::view::pages::{LineRows, Rows};
use crate::view::parameters::{LinesQuery, Parameters, TracesQuery};
use crate::view::visible;

/// How long a batch is searched. What is left then counts as skipped.
const SEARCH_TIME: Duration = Duration::from_millis(30);

/// The number of changes that are searched, and of rows that have an event. The newest ones count.
const MAX_CHANGES: usize = 1000;
const MAX_ROWS: usize = 100;

/// The size of the events. A row that does not fit is skipped.
const MAX_BYTES: usize = 256 << 10;

/// What the data of an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Html,
}

/// The list whose rows are events.
#[derive(Debug)]
pub(super) enum Query {
    Traces(TracesQuery),
    Lines(LinesQuery),
}

/// What a client gets.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) form: Form,
    pub(super) query: Query,
    /// Only changes of this trace are events.
    pub(super) only: Option<TraceId>,
    pub(super) parameters: Parameters,
}

/// The events of one batch.
#[derive(Debug, Default)]
struct Batch {
    events: String,
    skipped: usize,
}

impl Events {
    /// Returns the events of these changes. `is_incomplete` says that earlier changes are unknown.
    pub(super) fn read(
        &self,
        snapshot: &Snapshot<'_>,
        changes: &[Change],
        is_incomplete: bool,
    ) -> ReadResult<String> {
        let deadline = Instant::now() + SEARCH_TIME;
        let mut batch = match &self.query {
            Query::Traces(query) => self.traces(snapshot, query, changes, deadline)?,
            Query::Lines(query) => self.lines(snapshot, query, changes, deadline)?,
        };
        if is_incomplete {
            push(&mut batch.events, "skipped", "null");
        } else if batch.skipped > 0 {
            push(&mut batch.events, "skipped", &batch.skipped.to_string());
        }
        Ok(batch.events)
    }

    fn traces(
        &self,
        snapshot: &Snapshot<'_>,
        query: &TracesQuery,
        changes: &[Change],
        deadline: Instant,
    ) -> ReadResult<Batch> {
        let only = match self.only {
            None => None,
            Some(id) => match snapshot.trace_number(id)? {
                None => return Ok(Batch::default()),
                number => number,
            },
        };
        let traces = changes.iter().filter_map(|change| match change {
            Change::Trace(seq) if only.is_none_or(|only| only == *seq) => Some(*seq),
            _ => None,
        });
        let (traces, mut skipped) = newest(traces.collect(), MAX_CHANGES);
        let (found, unread) = snapshot.passing_traces(&query.filter, &traces, deadline)?;
        let (found, more) = newest(found, MAX_ROWS);
        skipped += unread + more;
        let mut batch = Batch { skipped, ..Batch::default() };
        // The script draws the bars on the scale of its rows.
        let rows = Rows { parameters: self.parameters.clone(), longest: 0, now: clock::unix_nanos() };
        for trace in &found {
            let data = match self.form {
                Form::Json => trace_json(trace),
                Form::Html => row(&format!("t-{}", trace.trace_id), rows.read(snapshot, trace)?),
            };
            batch.add("trace", &data);
        }
        Ok(batch)
    }

    fn lines(
        &self,
        snapshot: &Snapshot<'_>,
        query: &LinesQuery,
        changes: &[Change],
        deadline: Instant,
    ) -> ReadResult<Batch> {
        let lines = changes.iter().filter_map(|change| match change {
            Change::Line(line) => Some(*line),
            Change::Trace(_) => None,
        });
        let (lines, mut skipped) = newest::<LineCursor>(lines.collect(), MAX_CHANGES);
        let (found, unread) = snapshot.passing_lines(&query.filter, &lines, deadline)?;
        let (found, more) = newest(found, MAX_ROWS);
        skipped += unread + more;
        let mut batch = Batch { skipped, ..Batch::default() };
        let rows = LineRows { parameters: self.parameters.clone(), now: clock::unix_nanos() };
        for line in &found {
            let data = match self.form {
                Form::Json => line_json(snapshot, line, MAX_BYTES)?,
                Form::Html => rows.read(snapshot, line)?.map(|markup| row(&format!("l-{line}"), markup)),
            };
            match data {
                Some(data) => batch.add("line", &data),
                None => batch.skipped += 1,
            }
        }
        Ok(batch)
    }
}

impl Batch {
    fn add(&mut self, name: &str, data: &str) {
        if self.events.len() + data.len() > MAX_BYTES {
            self.skipped += 1;
        } else {
            push(&mut self.events, name, data);
        }
    }
}

/// Returns the last of these, and the number of the others.
fn newest<T>(mut all: Vec<T>, max: usize) -> (Vec<T>, usize) {
    let skipped = all.len().saturating_sub(max);
    (all.split_off(skipped), skipped)
}

fn row(id: &str, markup: Markup) -> String {
    json!({ "id": id, "html": visible::guarded(markup).0 }).to_string()
}

/// Adds an event. JSON has no line breaks.
pub(super) fn push(events: &mut String, name: &str, data: &str) {
    events.push_str("event: ");
    events.push_str(name);
    events.push_str("\ndata: ");
    events.push_str(data);
    events.push_str("\n\n");
}
