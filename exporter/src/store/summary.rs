//! The row of a trace in the list, updated with every span and line.

use std::borrow::Cow;

use logtracer_core::TraceId;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

/// One row of the table `trace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TraceRow {
    pub(super) seq: i64,
    start_ns: i64,
    end_ns: i64,
    span_count: i64,
    error_count: i64,
    log_count: i64,
    root_name: String,
    root_rank: i64,
    root_start_ns: i64,
    services: Vec<Value>,
}

/// The priority of the name: a span without a parent names the trace, otherwise the earliest span.
const RANK_NONE: i64 = 0;
const RANK_ORPHAN: i64 = 1;
const RANK_ROOT: i64 = 2;

/// Further services are not listed.
const MAX_SERVICES: usize = 64;

/// Longer names of traces and services are truncated.
const MAX_NAME_CHARS: usize = 200;

impl TraceRow {
    /// Reads the row of a trace, or inserts it if the trace is new.
    pub(super) fn load_or_insert(
        tx: &Transaction<'_>,
        trace_id: TraceId,
        now_ms: i64,
    ) -> rusqlite::Result<Self> {
        let known = tx
            .prepare_cached(
                "SELECT seq, start_ns, end_ns, span_count, error_count, log_count,
                        root_name, root_rank, root_start_ns, services FROM trace WHERE trace_id = ?",
            )?
            .query_row([trace_id.to_bytes()], |row| {
                Ok(Self {
                    seq: row.get(0)?,
                    start_ns: row.get(1)?,
                    end_ns: row.get(2)?,
                    span_count: row.get(3)?,
                    error_count: row.get(4)?,
                    log_count: row.get(5)?,
                    root_name: row.get(6)?,
                    root_rank: row.get(7)?,
                    root_start_ns: row.get(8)?,
                    services: parse_services(&row.get::<_, String>(9)?),
                })
            })
            .optional()?;
        if let Some(known) = known {
            return Ok(known);
        }
        // The numbers continue after the last trace was evicted, because contents that are not deleted yet refer to them.
        tx.prepare_cached(
            "INSERT INTO trace VALUES (
                 coalesce((SELECT max(seq) FROM trace), (SELECT max(newest_trace) FROM content), 0) + 1,
                 ?, ?, 0, 0, 0, 0, 0, '', 0, 0, '[]')",
        )?
        .execute(params![trace_id.to_bytes(), now_ms])?;
        Ok(Self {
            seq: tx.last_insert_rowid(),
            start_ns: 0,
            end_ns: 0,
            span_count: 0,
            error_count: 0,
            log_count: 0,
            root_name: String::new(),
            root_rank: RANK_NONE,
            root_start_ns: 0,
            services: Vec::new(),
        })
    }

    /// Adds a new span. `service` is the row of the service's name in the table `content`.
    pub(super) fn add_span(&mut self, span: &SpanSummary, service: i64) {
        let (start, end) = (span.start_ns, span.end_ns);
        if self.span_count == 0 {
            // Until now, the times are those of log lines.
            (self.start_ns, self.end_ns) = (start, end);
        }
        self.start_ns = start.min(self.start_ns);
        self.end_ns = end.max(self.end_ns);
        self.span_count += 1;
        if span.is_error {
            self.error_count += 1;
        }
        let rank = if span.has_parent { RANK_ORPHAN } else { RANK_ROOT };
        if rank > self.root_rank || (rank == self.root_rank && start < self.root_start_ns) {
            self.root_rank = rank;
            self.root_start_ns = start;
            self.root_name.clone_from(&span.name);
        }
        let service = Value::from(service);
        if self.services.len() < MAX_SERVICES && !self.services.contains(&service) {
            self.services.push(service);
        }
    }

    pub(super) fn add_line(&mut self, time_ns: i64) {
        if self.span_count == 0 {
            let is_first = self.log_count == 0;
            self.start_ns = if is_first { time_ns } else { time_ns.min(self.start_ns) };
            self.end_ns = if is_first { time_ns } else { time_ns.max(self.end_ns) };
        }
        self.log_count += 1;
    }

    pub(super) fn save(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        tx.prepare_cached(
            "UPDATE trace SET start_ns = ?, end_ns = ?, span_count = ?, error_count = ?, log_count = ?,
                              root_name = ?, root_rank = ?, root_start_ns = ?, services = ? WHERE seq = ?",
        )?
        .execute(params![
            self.start_ns,
            self.end_ns,
            self.span_count,
            self.error_count,
            self.log_count,
            self.root_name,
            self.root_rank,
            self.root_start_ns,
            Value::from(self.services.clone()).to_string(),
            self.seq,
        ])?;
        Ok(())
    }
}

/// What a span adds to the row of its trace.
#[derive(Debug)]
pub(super) struct SpanSummary {
    pub(super) start_ns: i64,
    end_ns: i64,
    is_error: bool,
    has_parent: bool,
    /// Truncated.
    name: String,
}

impl SpanSummary {
    pub(super) fn new(span: &Span) -> Self {
        let (start_ns, end_ns) = interval(span);
        Self {
            start_ns,
            end_ns,
            is_error: is_error(span),
            has_parent: span.parent_span_id.iter().any(|byte| *byte != 0),
            name: short(&span.name).into_owned(),
        }
    }
}

/// Truncates a name of a trace or a service. A truncated one ends with an ellipsis.
pub(super) fn short(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(MAX_NAME_CHARS).and_then(|(end, _)| name.get(..end)) {
        Some(start) => format!("{start}…").into(),
        None => name.into(),
    }
}

/// Returns the start and the end in the form of the database. An end before the start is replaced by the start.
fn interval(span: &Span) -> (i64, i64) {
    let nanos = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
    let start = nanos(span.start_time_unix_nano);
    (start, nanos(span.end_time_unix_nano).max(start))
}

pub(super) fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// Parses the column `services`: ids of contents, and names in rows of version 1.
pub(super) fn parse_services(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap_or_default()
}
