//! Writes spans and log lines. Each call is part of a transaction of its caller.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use logtracer_core::{SpanId, TraceId};
use rusqlite::types::Null;
use rusqlite::{Transaction, params};

use super::items::{Item, Row};
use super::origins::{Emitter, Newest, Origin, Origins, digest};
use super::summary::TraceRow;

/// A log line that belongs to a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) time_unix_nano: u64,
    pub(crate) severity: String,
    pub(crate) message: String,
    /// The unchanged JSON object.
    pub(crate) line: String,
}

/// The reason why a write failed.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The database or its disk failed.
    Database(String),
    /// The disk is full, and a smaller transaction can fit.
    DiskFull(String),
    /// The file was removed or replaced, and a new one cannot be created.
    Detached(anyhow::Error),
    /// One of the requests cannot be decoded.
    Undecodable(String),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detached(error) => write!(f, "{error:#}"),
            Self::Database(reason) | Self::DiskFull(reason) | Self::Undecodable(reason) => {
                f.write_str(reason)
            }
        }
    }
}

/// Inserts these items, except those that are stored already.
pub(super) fn insert_items(
    tx: &Transaction<'_>,
    origins: &mut Origins,
    items: &[Item],
    now_ms: i64,
) -> rusqlite::Result<()> {
    let mut rows: HashMap<TraceId, TraceRow> = HashMap::new();
    let mut newest = Newest::default();
    let mut last: Option<(&Arc<Emitter>, Origin)> = None;
    let mut insert_span = tx.prepare_cached("INSERT OR IGNORE INTO span VALUES (?, ?, ?, ?, ?)")?;
    for item in items {
        let origin = match last {
            Some((emitter, origin)) if Arc::ptr_eq(emitter, &item.emitter) => origin,
            _ => origins.origin(tx, &item.emitter)?,
        };
        last = Some((&item.emitter, origin));
        let row = trace_row(tx, &mut rows, item.trace_id, now_ms)?;
        let body = &item.body[..];
        let is_new = match &item.row {
            Row::Span { span_id, summary } => {
                let key = span_id.get().cast_signed();
                let inserted =
                    insert_span.execute(params![row.seq, key, origin.id, summary.start_ns, body])? == 1;
                if inserted {
                    row.add_span(summary, origin.service);
                }
                inserted
            }
            Row::Record { span_id, time_ns } => {
                let inserted = insert_record(tx, row.seq, origin.id, *span_id, *time_ns, body)?;
                if inserted {
                    row.add_line(*time_ns);
                }
                inserted
            }
        };
        if is_new {
            newest.add(origin, row.seq);
        }
    }
    newest.save(tx)?;
    save_rows(tx, &rows)
}

/// The start of the statement that inserts a line, with its number among the lines of the same time.
const INSERT_LINE: &str = "INSERT INTO line VALUES (?1, ?2,
    (SELECT coalesce(max(n), 0) + 1 FROM line WHERE trace = ?1 AND time_ns = ?2), ?3, ?4, ?5, ?6, ?7, ?8)";

/// Inserts a log record, unless it is stored already. Returns whether it was inserted.
fn insert_record(
    tx: &Transaction<'_>,
    trace: i64,
    origin: i64,
    span_id: Option<SpanId>,
    time_ns: i64,
    body: &[u8],
) -> rusqlite::Result<bool> {
    let digest = digest(&[&origin.to_le_bytes(), body]);
    let is_known = tx
        .prepare_cached("SELECT 1 FROM line WHERE trace = ? AND digest = ? AND origin = ? AND line = ?")?
        .exists(params![trace, digest, origin, body])?;
    if is_known {
        return Ok(false);
    }
    let span_id = span_id.map(|id| id.get().cast_signed());
    tx.prepare_cached(INSERT_LINE)?
        .execute(params![trace, time_ns, span_id, "", "", body, origin, digest])?;
    Ok(true)
}

/// Inserts lines of files: each is read once, so equal ones are all inserted.
pub(super) fn insert_lines(tx: &Transaction<'_>, lines: &[LogLine], now_ms: i64) -> rusqlite::Result<()> {
    let mut rows: HashMap<TraceId, TraceRow> = HashMap::new();
    let mut insert = tx.prepare_cached(INSERT_LINE)?;
    for line in lines {
        let row = trace_row(tx, &mut rows, line.trace_id, now_ms)?;
        let time_ns = i64::try_from(line.time_unix_nano).unwrap_or(i64::MAX);
        let span_id = line.span_id.map(|id| id.get().cast_signed());
        let LogLine { severity, message, line, .. } = line;
        insert.execute(params![row.seq, time_ns, span_id, severity, message, line, Null, Null])?;
        row.add_line(time_ns);
    }
    save_rows(tx, &rows)
}

/// Returns the row of a trace from this map, which is filled from the database.
fn trace_row<'a>(
    tx: &Transaction<'_>,
    rows: &'a mut HashMap<TraceId, TraceRow>,
    trace_id: TraceId,
    now_ms: i64,
) -> rusqlite::Result<&'a mut TraceRow> {
    match rows.entry(trace_id) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(new) => Ok(new.insert(TraceRow::load_or_insert(tx, trace_id, now_ms)?)),
    }
}

fn save_rows(tx: &Transaction<'_>, rows: &HashMap<TraceId, TraceRow>) -> rusqlite::Result<()> {
    rows.values().try_for_each(|row| row.save(tx))
}
