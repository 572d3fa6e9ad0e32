//! Writes spans and log lines. Each call is part of a transaction of its caller.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use logtracer_core::line::Severity;
use logtracer_core::{SpanId, TraceId};
use rusqlite::types::Null;
use rusqlite::{Transaction, params};

use super::feed::Written;
use super::index::{BlockContent, BlockId, BlockWriter, resource_terms, span_terms, span_text};
use super::items::{Item, Row};
use super::log_records::{level, severity};
use super::origins::{Emitter, Newest, Origin, Origins, digest};
use super::query::{LineCursor, unescaped};
use super::same_id::{self, Arriving, INSERT_SPAN, Placed};
use super::summary::{TraceKey, TraceRow, short};
use crate::otlp::in_place::{RecordRef, ResourceRef, SpanRef};

/// A log line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) time_unix_nano: u64,
    pub(crate) severity: String,
    pub(crate) message: String,
    /// The unchanged JSON object.
    pub(crate) line: String,
}

/// Returns the service of a line of a file, as the store shows it.
pub(crate) fn service_of_line(message: &str) -> Option<Cow<'_, str>> {
    service_of_message(message).map(short)
}

/// Returns the service of a line of a file: the beginning of the message in logtracer's formats, `shop - GET - …`.
pub(super) fn service_of_message(message: &str) -> Option<&str> {
    let (service, _) = message.split_once(" - ")?;
    Some(service).filter(|service| !service.is_empty() && !service.contains(char::is_whitespace))
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

/// The rows that a transaction changes beside spans and lines.
#[derive(Debug, Default)]
struct Changes {
    rows: HashMap<TraceKey, TraceRow>,
    blocks: BlockWriter,
    newest: Newest,
    /// `None` if nobody wants to know.
    written: Option<Written>,
    /// The spans that are not stored.
    dropped: u64,
}

/// What a transaction has done with its items.
#[derive(Debug, Default)]
pub(super) struct Inserted {
    pub(super) written: Option<Written>,
    /// The spans that are not stored.
    pub(super) dropped: u64,
}

impl Changes {
    /// Returns the row of a trace, which is read from the database once.
    fn trace(&mut self, tx: &Transaction<'_>, key: TraceKey, now_ms: i64) -> rusqlite::Result<&mut TraceRow> {
        match self.rows.entry(key) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                Ok(new.insert(TraceRow::load_or_insert(tx, &mut self.blocks, key, now_ms)?))
            }
        }
    }

    fn add_line(&mut self, line: LineCursor) {
        if let Some(written) = &mut self.written {
            written.lines.push(line);
        }
    }

    fn save(mut self, tx: &Transaction<'_>, origins: &mut Origins) -> rusqlite::Result<Inserted> {
        self.newest.save(tx)?;
        self.blocks.save(tx)?;
        for row in self.rows.values_mut() {
            row.update_description(tx, origins)?;
            row.save(tx)?;
        }
        if let Some(written) = &mut self.written {
            let traces = self.rows.iter().filter(|(key, _)| matches!(key, TraceKey::Trace(_)));
            written.traces.extend(traces.map(|(_, row)| row.seq));
            written.traces.sort_unstable();
        }
        Ok(Inserted { written: self.written, dropped: self.dropped })
    }
}

/// Inserts these items, except those that are stored already. `written` gets those that are inserted.
pub(super) fn insert_items(
    tx: &Transaction<'_>,
    origins: &mut Origins,
    items: &[Item],
    now_ms: i64,
    written: Option<Written>,
) -> rusqlite::Result<Inserted> {
    let mut changes = Changes { written, ..Changes::default() };
    let mut last: Option<(&Arc<Emitter>, Origin)> = None;
    // The block that has the terms of the last emitter.
    let mut described: Option<(Origin, BlockId)> = None;
    let mut insert_span = tx.prepare_cached(INSERT_SPAN)?;
    for item in items {
        let origin = match last {
            Some((emitter, origin)) if Arc::ptr_eq(emitter, &item.emitter) => origin,
            _ => origins.origin(tx, &item.emitter)?,
        };
        last = Some((&item.emitter, origin));
        let row = changes.trace(tx, item.key, now_ms)?;
        let (seq, block) = (row.seq, row.block);
        let body = &item.body[..];
        let mut merged = None;
        let is_new = match &item.row {
            Row::Span { span_id, summary } => {
                let key = span_id.get().cast_signed();
                if insert_span.execute(params![seq, key, origin.id, summary.start_ns, body])? == 1 {
                    row.add_span(summary, origin.service, body);
                    true
                } else {
                    let span = Arriving {
                        span_id: *span_id,
                        origin: origin.id,
                        service: origin.service,
                        service_name: &item.emitter.service_name,
                        body,
                    };
                    match same_id::place(tx, origins, row, &span)? {
                        Placed::New => true,
                        Placed::Merged { body, service_name } => {
                            merged = Some((body, service_name));
                            true
                        }
                        Placed::Known => false,
                        Placed::Dropped => {
                            changes.dropped += 1;
                            false
                        }
                    }
                }
            }
            Row::Record { span_id, time_ns } => {
                let inserted = insert_record(tx, seq, origin, *span_id, *time_ns, body)?;
                if inserted.is_some() {
                    row.add_line(*time_ns, origin.service);
                }
                if let Some(line) = inserted {
                    changes.add_line(line);
                }
                inserted.is_some()
            }
        };
        if !is_new {
            continue;
        }
        changes.newest.add(origin, seq);
        if let Some(block) = block {
            changes.blocks.add(tx, block, |content| {
                if described != Some((origin, block)) {
                    resource_terms(ResourceRef(&item.emitter.resource), |term| content.add_term(term));
                }
                match &merged {
                    Some((body, service_name)) => index_span(body, service_name, content),
                    None => index_item(item, content),
                }
            })?;
            described = Some((origin, block));
        }
    }
    changes.save(tx, origins)
}

fn index_item(item: &Item, content: &mut BlockContent<'_>) {
    match item.row {
        Row::Span { .. } => {
            index_span(&item.body, &item.emitter.service_name, content);
        }
        Row::Record { .. } => {
            content.add_text(&item.body);
        }
    }
}

fn index_span(body: &[u8], service_name: &str, content: &mut BlockContent<'_>) {
    let span = SpanRef::new(body);
    span_terms(&span, service_name, |term| content.add_term(term));
    content.add_text(span_text(&span).as_bytes());
}

/// Inserts a line with its number among the lines of the same time.
const INSERT_LINE: &str = "INSERT INTO line VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// Returns the next number of a line of this time.
///
/// `INSERT … RETURNING` would need temporary files, which a container with a read-only file system does not have.
fn next_number(tx: &Transaction<'_>, trace: i64, time_ns: i64) -> rusqlite::Result<i64> {
    tx.prepare_cached("SELECT coalesce(max(n), 0) + 1 FROM line WHERE trace = ? AND time_ns = ?")?
        .query_row([trace, time_ns], |row| row.get(0))
}

/// Finds an equal log record. SQLite would read all lines of the trace instead of the index.
pub(super) const KNOWN_RECORD: &str = "SELECT 1 FROM line INDEXED BY line_by_digest
    WHERE trace = ? AND digest = ? AND origin = ? AND line = ?";

/// Inserts a log record, unless it is stored already. Returns the line if it was inserted.
fn insert_record(
    tx: &Transaction<'_>,
    trace: i64,
    origin: Origin,
    span_id: Option<SpanId>,
    time_ns: i64,
    body: &[u8],
) -> rusqlite::Result<Option<LineCursor>> {
    let digest = digest(&[&origin.id.to_le_bytes(), body]);
    let is_known = tx.prepare_cached(KNOWN_RECORD)?.exists(params![trace, digest, origin.id, body])?;
    if is_known {
        return Ok(None);
    }
    let span_id = span_id.map(|id| id.get().cast_signed());
    let level = level(severity(&RecordRef::new(body)).0);
    let service = origin.service;
    let n = next_number(tx, trace, time_ns)?;
    tx.prepare_cached(INSERT_LINE)?
        .execute(params![trace, time_ns, n, span_id, "", "", body, origin.id, digest, level, service])?;
    Ok(Some(LineCursor { time_ns, level, service, trace, n }))
}

/// Inserts lines of files: each is read once, so equal ones are all inserted. `written` gets them, too.
pub(super) fn insert_lines(
    tx: &Transaction<'_>,
    origins: &mut Origins,
    lines: &[LogLine],
    now_ms: i64,
    written: Option<Written>,
) -> rusqlite::Result<Inserted> {
    let mut changes = Changes { written, ..Changes::default() };
    let mut insert = tx.prepare_cached(INSERT_LINE)?;
    for line in lines {
        let time_ns = i64::try_from(line.time_unix_nano).unwrap_or(i64::MAX);
        let row = changes.trace(tx, TraceKey::of_line(line.trace_id, time_ns), now_ms)?;
        let (seq, block) = (row.seq, row.block);
        let service_id = match service_of_line(&line.message) {
            None => 0,
            Some(name) => origins.content(tx, name.as_bytes())?,
        };
        row.add_line(time_ns, service_id);
        let span_id = line.span_id.map(|id| id.get().cast_signed());
        let level = level(Severity::from_name(&line.severity).unwrap_or_default());
        let LogLine { severity, message, line, .. } = line;
        let n = next_number(tx, seq, time_ns)?;
        insert.execute(params![
            seq, time_ns, n, span_id, severity, message, line, Null, Null, level, service_id
        ])?;
        changes.add_line(LineCursor { time_ns, level, service: service_id, trace: seq, n });
        if service_id != 0 {
            changes.newest.add_content(service_id, seq);
        }
        if let Some(block) = block {
            changes.blocks.add(tx, block, |content| {
                content.add_text(message.as_bytes());
                content.add_text(line.as_bytes());
                if let Some(line) = unescaped(line.as_bytes()) {
                    content.add_text(line.as_bytes());
                }
            })?;
        }
    }
    changes.save(tx, origins)
}
