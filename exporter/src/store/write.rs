//! Writes spans and log lines. Each call is part of a transaction of its caller.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use bytes::Bytes;
use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use rusqlite::{Transaction, params};

use super::summary::{TraceRow, interval};
use crate::otlp::{Signal, check};

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
    Database(rusqlite::Error),
    /// The file was removed or replaced, and a new one cannot be created.
    Detached(anyhow::Error),
    /// One of the requests cannot be decoded.
    Undecodable(String),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Detached(error) => write!(f, "{error:#}"),
            Self::Undecodable(reason) => f.write_str(reason),
        }
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// A cache of the row ids in the table `origin`, by resource and scope.
#[derive(Debug, Default)]
pub(super) struct EmitterIds {
    ids: HashMap<(Vec<u8>, Vec<u8>), i64>,
    /// The total size of the keys.
    bytes: usize,
}

const MAX_CACHED_IDS: usize = 1024;

/// The limit of the keys, because each scope of a large resource repeats the resource.
const MAX_CACHED_BYTES: usize = 16 << 20;

impl EmitterIds {
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.bytes = 0;
    }

    /// Returns the id of this pair, and inserts its row if it is new.
    fn id(&mut self, tx: &Transaction<'_>, resource: Vec<u8>, scope: Vec<u8>) -> rusqlite::Result<i64> {
        let bytes = resource.len() + scope.len();
        if self.ids.len() >= MAX_CACHED_IDS || self.bytes + bytes > MAX_CACHED_BYTES {
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

/// Returns the name of the service that a resource describes.
pub(super) fn service_name(resource: Option<&Resource>) -> &str {
    let attributes = resource.map(|resource| &resource.attributes[..]).unwrap_or_default();
    let value = attributes.iter().find(|attribute| attribute.key == "service.name");
    match value.and_then(|attribute| attribute.value.as_ref()).and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(name)) if !name.is_empty() => name,
        _ => "unknown_service",
    }
}

/// Inserts the spans of these requests, except those that are stored already.
pub(super) fn insert_spans(
    tx: &Transaction<'_>,
    emitter_ids: &mut EmitterIds,
    bodies: &[Bytes],
    now_ms: i64,
) -> Result<(), WriteError> {
    let mut rows: HashMap<TraceId, TraceRow> = HashMap::new();
    let mut newest_traces: HashMap<i64, i64> = HashMap::new();
    let mut insert = tx.prepare_cached("INSERT OR IGNORE INTO span VALUES (?, ?, ?, ?, ?)")?;
    for (index, body) in bodies.iter().enumerate() {
        let request: ExportTraceServiceRequest = decode(Signal::Traces, index, body)?;
        for resource_spans in request.resource_spans {
            let resource = resource_spans.resource.as_ref();
            let service = service_name(resource);
            let resource = resource.map(Message::encode_to_vec).unwrap_or_default();
            for scope_spans in resource_spans.scope_spans {
                if scope_spans.spans.is_empty() {
                    continue;
                }
                let scope = scope_spans.scope.as_ref().map(Message::encode_to_vec).unwrap_or_default();
                let emitter = emitter_ids.id(tx, resource.clone(), scope)?;
                for span in scope_spans.spans {
                    let Some((trace_id, span_id)) = ids(&span.trace_id, &span.span_id) else {
                        return Err(undecodable(index, "invalid ids of a span"));
                    };
                    let row = trace_row(tx, &mut rows, trace_id, now_ms)?;
                    let (start_ns, _) = interval(&span);
                    let key = span_id.get().cast_signed();
                    let inserted =
                        insert.execute(params![row.seq, key, emitter, start_ns, span.encode_to_vec()])?;
                    if inserted == 1 {
                        row.add_span(&span, service);
                        let newest = newest_traces.entry(emitter).or_insert(row.seq);
                        *newest = row.seq.max(*newest);
                    }
                }
            }
        }
    }
    for (emitter, trace) in newest_traces {
        tx.prepare_cached("UPDATE origin SET newest_trace = max(newest_trace, ?) WHERE id = ?")?
            .execute([trace, emitter])?;
    }
    for row in rows.values() {
        row.save(tx)?;
    }
    Ok(())
}

/// Decodes the request at this index of a chunk, unless that takes too much memory.
pub(super) fn decode<T: Message + Default>(
    signal: Signal,
    index: usize,
    body: &[u8],
) -> Result<T, WriteError> {
    if check::is_too_large(signal, body) {
        return Err(undecodable(index, "it takes too much memory when decoded"));
    }
    T::decode(body).map_err(|error| undecodable(index, error))
}

fn undecodable(index: usize, reason: impl fmt::Display) -> WriteError {
    WriteError::Undecodable(format!("request {} of the chunk: {reason}", index + 1))
}

/// What happens to a line that equals a stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duplicates {
    /// It is inserted: each line of a file is read once.
    Keep,
    /// It is skipped: a log record can be delivered more than once.
    Skip,
}

pub(super) fn insert_lines(
    tx: &Transaction<'_>,
    lines: &[LogLine],
    duplicates: Duplicates,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let mut rows: HashMap<TraceId, TraceRow> = HashMap::new();
    let mut insert = tx.prepare_cached(
        "INSERT INTO line VALUES (?1, ?2,
            (SELECT coalesce(max(n), 0) + 1 FROM line WHERE trace = ?1 AND time_ns = ?2), ?3, ?4, ?5, ?6)",
    )?;
    let mut stored = tx.prepare_cached("SELECT 1 FROM line WHERE trace = ? AND time_ns = ? AND line = ?")?;
    for line in lines {
        let row = trace_row(tx, &mut rows, line.trace_id, now_ms)?;
        let time_ns = i64::try_from(line.time_unix_nano).unwrap_or(i64::MAX);
        let span_id = line.span_id.map(|id| id.get().cast_signed());
        if duplicates == Duplicates::Skip && stored.exists(params![row.seq, time_ns, line.line])? {
            continue;
        }
        insert.execute(params![row.seq, time_ns, span_id, line.severity, line.message, line.line])?;
        row.add_line(time_ns);
    }
    for row in rows.values() {
        row.save(tx)?;
    }
    Ok(())
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

fn ids(trace_id: &[u8], span_id: &[u8]) -> Option<(TraceId, SpanId)> {
    let trace_id = TraceId::from_bytes(trace_id.try_into().ok()?)?;
    let span_id = SpanId::from_bytes(span_id.try_into().ok()?)?;
    Some((trace_id, span_id))
}
