//! Writing spans and log lines, each call inside one transaction of its caller.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::summary::{Summary, interval};
use crate::otlp::{Signal, check};

/// A log line that belongs to a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) time_unix_nano: u64,
    pub(crate) severity: String,
    pub(crate) message: String,
    /// The JSON object as it was read.
    pub(crate) line: String,
}

/// How far a tailed file has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) file: String,
    pub(crate) offset: u64,
    /// The first bytes of the file, by which it is known again after a restart.
    pub(crate) head: Vec<u8>,
}

/// Why batches were not stored.
#[derive(Debug)]
pub(crate) enum WriteError {
    Database(rusqlite::Error),
    /// One of the batches is not what the outbox promises.
    Undecodable(String),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// The ids of the rows of `origin` that were used lately.
#[derive(Debug, Default)]
pub(super) struct Origins {
    ids: HashMap<(Vec<u8>, Vec<u8>), i64>,
    /// The size of the keys.
    bytes: usize,
}

const MAX_ORIGINS: usize = 1024;

/// One resource with many scopes is here many times.
const MAX_ORIGIN_BYTES: usize = 16 << 20;

impl Origins {
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.bytes = 0;
    }

    fn id(&mut self, tx: &Transaction<'_>, resource: Vec<u8>, scope: Vec<u8>) -> rusqlite::Result<i64> {
        let bytes = resource.len() + scope.len();
        if self.ids.len() >= MAX_ORIGINS || self.bytes + bytes > MAX_ORIGIN_BYTES {
            self.clear();
        }
        match self.ids.entry((resource, scope)) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(new) => {
                let (resource, scope) = new.key();
                tx.prepare_cached("INSERT OR IGNORE INTO origin VALUES (NULL, ?, ?, 0)")?
                    .execute(params![resource, scope])?;
                let id = tx
                    .prepare_cached("SELECT id FROM origin WHERE resource = ? AND scope = ?")?
                    .query_row(params![resource, scope], |row| row.get(0))?;
                self.bytes += bytes;
                Ok(*new.insert(id))
            }
        }
    }
}

/// The name of the service that a resource describes.
pub(super) fn service_name(resource: Option<&Resource>) -> &str {
    let attributes = resource.map(|resource| &resource.attributes[..]).unwrap_or_default();
    let value = attributes.iter().find(|attribute| attribute.key == "service.name");
    match value.and_then(|attribute| attribute.value.as_ref()).and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(name)) if !name.is_empty() => name,
        _ => "unknown_service",
    }
}

/// Stores the spans of these requests that are not stored yet.
pub(super) fn spans(
    tx: &Transaction<'_>,
    origins: &mut Origins,
    bodies: &[Bytes],
    now_ms: i64,
) -> Result<(), WriteError> {
    let mut summaries: HashMap<TraceId, Summary> = HashMap::new();
    let mut newest_traces: HashMap<i64, i64> = HashMap::new();
    let mut insert = tx.prepare_cached("INSERT OR IGNORE INTO span VALUES (?, ?, ?, ?, ?)")?;
    for body in bodies {
        let request: ExportTraceServiceRequest = decode(Signal::Traces, body)?;
        for resource_spans in request.resource_spans {
            let resource = resource_spans.resource.as_ref();
            let service = service_name(resource);
            let resource = resource.map(Message::encode_to_vec).unwrap_or_default();
            for scope_spans in resource_spans.scope_spans {
                if scope_spans.spans.is_empty() {
                    continue;
                }
                let scope = scope_spans.scope.as_ref().map(Message::encode_to_vec).unwrap_or_default();
                let origin = origins.id(tx, resource.clone(), scope)?;
                for span in scope_spans.spans {
                    let Some((trace_id, span_id)) = ids(&span.trace_id, &span.span_id) else {
                        return Err(WriteError::Undecodable("a span without ids".to_owned()));
                    };
                    let summary = summary(tx, &mut summaries, trace_id, now_ms)?;
                    let (start_ns, _) = interval(&span);
                    let key = span_id.get().cast_signed();
                    let is_new =
                        insert.execute(params![summary.seq, key, origin, start_ns, span.encode_to_vec()])?
                            == 1;
                    if is_new {
                        summary.add_span(&span, service);
                        let newest = newest_traces.entry(origin).or_insert(summary.seq);
                        *newest = summary.seq.max(*newest);
                    }
                }
            }
        }
    }
    for (origin, trace) in newest_traces {
        tx.prepare_cached("UPDATE origin SET newest_trace = max(newest_trace, ?) WHERE id = ?")?
            .execute([trace, origin])?;
    }
    for summary in summaries.values() {
        summary.save(tx)?;
    }
    Ok(())
}

/// Decodes a request, unless that takes too much memory.
pub(super) fn decode<T: Message + Default>(signal: Signal, body: &[u8]) -> Result<T, WriteError> {
    if check::is_too_large(signal, body) {
        return Err(WriteError::Undecodable("it takes too much memory to decode".to_owned()));
    }
    T::decode(body).map_err(|error| WriteError::Undecodable(error.to_string()))
}

/// Where log lines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A file, each line of which is read once: equal lines are several.
    File,
    /// Log records, each of which may come again: equal lines are one.
    Records,
}

/// Stores log lines.
pub(super) fn lines(
    tx: &Transaction<'_>,
    lines: &[LogLine],
    source: Source,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let mut summaries: HashMap<TraceId, Summary> = HashMap::new();
    let mut insert = tx.prepare_cached(
        "INSERT INTO line VALUES (?1, ?2,
            (SELECT coalesce(max(n), 0) + 1 FROM line WHERE trace = ?1 AND time_ns = ?2), ?3, ?4, ?5, ?6)",
    )?;
    let mut known = tx.prepare_cached("SELECT 1 FROM line WHERE trace = ? AND time_ns = ? AND line = ?")?;
    for line in lines {
        let summary = summary(tx, &mut summaries, line.trace_id, now_ms)?;
        let time_ns = i64::try_from(line.time_unix_nano).unwrap_or(i64::MAX);
        let span_id = line.span_id.map(|id| id.get().cast_signed());
        if source == Source::Records && known.exists(params![summary.seq, time_ns, line.line])? {
            continue;
        }
        insert.execute(params![summary.seq, time_ns, span_id, line.severity, line.message, line.line])?;
        summary.add_line(time_ns);
    }
    for summary in summaries.values() {
        summary.save(tx)?;
    }
    Ok(())
}

pub(super) fn position(tx: &Transaction<'_>, position: &Position) -> rusqlite::Result<()> {
    let offset = i64::try_from(position.offset).unwrap_or(i64::MAX);
    tx.prepare_cached("INSERT OR REPLACE INTO position VALUES (?, ?, ?)")?.execute(params![
        position.file,
        offset,
        position.head
    ])?;
    Ok(())
}

pub(super) fn read_position(connection: &Connection, file: &str) -> rusqlite::Result<Option<Position>> {
    connection
        .query_row("SELECT offset, head FROM position WHERE file = ?", [file], |row| {
            let offset: i64 = row.get(0)?;
            Ok(Position { file: file.to_owned(), offset: offset.max(0).cast_unsigned(), head: row.get(1)? })
        })
        .optional()
}

fn summary<'a>(
    tx: &Transaction<'_>,
    summaries: &'a mut HashMap<TraceId, Summary>,
    trace_id: TraceId,
    now_ms: i64,
) -> rusqlite::Result<&'a mut Summary> {
    match summaries.entry(trace_id) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(new) => Ok(new.insert(Summary::load(tx, trace_id, now_ms)?)),
    }
}

fn ids(trace_id: &[u8], span_id: &[u8]) -> Option<(TraceId, SpanId)> {
    let trace_id = TraceId::from_bytes(trace_id.try_into().ok()?)?;
    let span_id = SpanId::from_bytes(span_id.try_into().ok()?)?;
    Some((trace_id, span_id))
}
