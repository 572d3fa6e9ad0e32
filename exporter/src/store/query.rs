//! The queries of the viewer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value;

use super::items::service_name;
use super::log_records;
use super::summary::{is_error, parse_services, short};
use crate::otlp::check;

/// A trace as one row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceSummary {
    pub(crate) trace_id: TraceId,
    /// Empty if the trace has only log lines.
    pub(crate) root_name: String,
    pub(crate) service_names: Vec<String>,
    pub(crate) span_count: u64,
    pub(crate) log_count: u64,
    pub(crate) error_count: u64,
    pub(crate) start_unix_nano: u64,
    pub(crate) duration_nano: u64,
}

/// The limit of a query, which applies to spans and lines separately.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimit {
    pub(crate) rows: usize,
    /// The decoded size.
    pub(crate) bytes: usize,
}

/// One trace, or its beginning.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trace {
    pub(crate) summary: TraceSummary,
    /// Sorted by start time.
    pub(crate) spans: Vec<StoredSpan>,
    /// Sorted by time.
    pub(crate) lines: Vec<StoredLine>,
    /// The trace has more spans or lines than the limit.
    pub(crate) is_truncated: bool,
}

/// A span with its emitter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredSpan {
    pub(crate) span_id: SpanId,
    pub(crate) parent_span_id: Option<SpanId>,
    pub(crate) span: Span,
    pub(crate) emitter: Arc<Emitter>,
}

/// The resource and the instrumentation scope that emitted a span: a row of the table `origin`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Emitter {
    pub(crate) service_name: String,
    pub(crate) resource: Resource,
    pub(crate) scope: InstrumentationScope,
}

/// A log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLine {
    pub(crate) time_unix_nano: u64,
    pub(crate) severity: String,
    pub(crate) message: String,
    pub(crate) span_id: Option<SpanId>,
    /// The unchanged JSON object.
    pub(crate) line: String,
}

impl StoredSpan {
    pub(crate) fn is_error(&self) -> bool {
        is_error(&self.span)
    }

    pub(crate) fn duration_nano(&self) -> u64 {
        self.span.end_time_unix_nano.saturating_sub(self.span.start_time_unix_nano)
    }
}

const SUMMARY: &str =
    "seq, trace_id, start_ns, end_ns, span_count, error_count, log_count, root_name, services FROM trace";

pub(super) fn newest(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<TraceSummary>> {
    let mut names = ServiceNames::default();
    connection
        .prepare_cached(&format!("SELECT {SUMMARY} ORDER BY start_ns DESC, seq DESC LIMIT ?"))?
        .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok(summary(connection, &mut names, row)?.1)
        })?
        .collect()
}

pub(super) fn trace(
    connection: &Connection,
    trace_id: TraceId,
    limit: ReadLimit,
) -> rusqlite::Result<Option<Trace>> {
    // One transaction, so that all parts are of the same state.
    let tx = connection.unchecked_transaction()?;
    let found = tx
        .prepare_cached(&format!("SELECT {SUMMARY} WHERE trace_id = ?"))?
        .query_row([trace_id.to_bytes()], |row| summary(&tx, &mut ServiceNames::default(), row))
        .optional()?;
    let Some((seq, summary)) = found else {
        return Ok(None);
    };
    let (mut spans, more_spans) = spans(&tx, seq, limit)?;
    spans.sort_by_key(|stored| (stored.span.start_time_unix_nano, stored.span_id));
    let (lines, more_lines) = lines(&tx, trace_id, seq, limit)?;
    Ok(Some(Trace { summary, spans, lines, is_truncated: more_spans || more_lines }))
}

fn summary(
    connection: &Connection,
    names: &mut ServiceNames,
    row: &Row<'_>,
) -> rusqlite::Result<(i64, TraceSummary)> {
    let count = |index| row.get::<_, i64>(index).map(|count| count.max(0).cast_unsigned());
    let trace_id =
        TraceId::from_bytes(row.get(1)?).ok_or_else(|| rusqlite::Error::IntegralValueOutOfRange(1, 0))?;
    let (start, end) = (count(2)?, count(3)?);
    let summary = TraceSummary {
        trace_id,
        start_unix_nano: start,
        duration_nano: end.saturating_sub(start),
        span_count: count(4)?,
        error_count: count(5)?,
        log_count: count(6)?,
        root_name: row.get(7)?,
        service_names: names.of_trace(connection, &row.get::<_, String>(8)?)?,
    };
    Ok((row.get(0)?, summary))
}

/// A cache of the names of services, by the id of their content.
#[derive(Debug, Default)]
struct ServiceNames(HashMap<i64, String>);

impl ServiceNames {
    /// Returns the names in the column `services`.
    fn of_trace(&mut self, connection: &Connection, services: &str) -> rusqlite::Result<Vec<String>> {
        let mut names = Vec::new();
        for service in parse_services(services) {
            let name = match service {
                Value::String(name) => name,
                service => match service.as_i64() {
                    Some(id) => self.name(connection, id)?,
                    None => continue,
                },
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn name(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<String> {
        if let Some(name) = self.0.get(&id) {
            return Ok(name.clone());
        }
        let name = connection
            .prepare_cached("SELECT body FROM content WHERE id = ?")?
            .query_row([id], |row| Ok(String::from_utf8_lossy(row.get_ref(0)?.as_blob()?).into_owned()))?;
        self.0.insert(id, name.clone());
        Ok(name)
    }
}

/// Returns the earliest spans, and true if there are more.
fn spans(connection: &Connection, seq: i64, limit: ReadLimit) -> rusqlite::Result<(Vec<StoredSpan>, bool)> {
    let ids: Vec<i64> = connection
        .prepare_cached("SELECT span_id FROM span WHERE trace = ? ORDER BY start_ns, span_id LIMIT ?")?
        .query_map([seq, sql_limit(limit)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut emitters: HashMap<i64, (Arc<Emitter>, usize)> = HashMap::new();
    let mut statement =
        connection.prepare_cached("SELECT origin, body FROM span WHERE trace = ? AND span_id = ?")?;
    let mut spans = Vec::new();
    let mut bytes = 0;
    for id in ids {
        let mut rows = statement.query([seq, id])?;
        let Some(row) = rows.next()? else { continue };
        let emitter_id: i64 = row.get(0)?;
        let (emitter, emitter_bytes) = match emitters.get(&emitter_id) {
            Some(known) => known.clone(),
            None => {
                let read = read_emitter(connection, emitter_id)?;
                emitters.insert(emitter_id, read.clone());
                read
            }
        };
        let body = row.get_ref(1)?.as_blob()?;
        // The page and the JSON repeat the emitter for each span.
        bytes += check::span_bytes(body) + emitter_bytes;
        if spans.len() == limit.rows || (bytes > limit.bytes && !spans.is_empty()) {
            return Ok((spans, true));
        }
        let span = decode::<Span>(1, body)?;
        let span_id = |bytes: &[u8]| bytes.try_into().ok().and_then(SpanId::from_bytes);
        let Some(own) = span_id(&span.span_id) else {
            continue;
        };
        spans.push(StoredSpan { span_id: own, parent_span_id: span_id(&span.parent_span_id), span, emitter });
    }
    Ok((spans, false))
}

/// Returns one more than the limit, so that the caller notices if there are more rows.
fn sql_limit(limit: ReadLimit) -> i64 {
    i64::try_from(limit.rows).unwrap_or(i64::MAX).saturating_add(1)
}

/// Returns an emitter and its size.
fn read_emitter(connection: &Connection, id: i64) -> rusqlite::Result<(Arc<Emitter>, usize)> {
    let sql = "SELECT resource.body, scope.body FROM origin
         JOIN content AS resource ON resource.id = origin.resource
         JOIN content AS scope ON scope.id = origin.scope
         WHERE origin.id = ?";
    connection.prepare_cached(sql)?.query_row([id], |row| {
        let (resource, scope) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        let bytes = resource.len() + scope.len();
        let resource = decode::<Resource>(0, resource)?;
        let scope = decode(1, scope)?;
        let service_name = service_name(Some(&resource)).to_owned();
        Ok((Arc::new(Emitter { service_name, resource, scope }), bytes))
    })
}

/// A cache of what the lines of log records repeat of their emitters.
#[derive(Debug, Default)]
struct EmitterNames {
    /// The names of services, by the id of the resource's content.
    services: HashMap<i64, String>,
    /// The ids of resources and the names of scopes, by `origin.id`.
    scopes: HashMap<i64, (i64, String)>,
}

impl EmitterNames {
    /// Returns the names of the service and the scope.
    fn read(&mut self, connection: &Connection, origin: i64) -> rusqlite::Result<(&str, &str)> {
        if !self.scopes.contains_key(&origin) {
            let sql =
                "SELECT resource, body FROM origin JOIN content ON content.id = scope WHERE origin.id = ?";
            let (resource, scope) = connection.prepare_cached(sql)?.query_row([origin], |row| {
                let scope = decode::<InstrumentationScope>(1, row.get_ref(1)?.as_blob()?)?;
                Ok((row.get(0)?, short(&scope.name).to_owned()))
            })?;
            if let Entry::Vacant(vacant) = self.services.entry(resource) {
                let sql = "SELECT body FROM content WHERE id = ?";
                let service = connection.prepare_cached(sql)?.query_row([resource], |row| {
                    let resource = decode::<Resource>(0, row.get_ref(0)?.as_blob()?)?;
                    Ok(service_name(Some(&resource)).to_owned())
                })?;
                vacant.insert(service);
            }
            self.scopes.insert(origin, (resource, scope));
        }
        let names = self
            .scopes
            .get(&origin)
            .and_then(|(resource, scope)| Some((self.services.get(resource)?, scope)));
        Ok(names.map_or(("", ""), |(service, scope)| (service, scope)))
    }
}

/// Returns the earliest lines, and true if there are more.
fn lines(
    connection: &Connection,
    trace_id: TraceId,
    seq: i64,
    limit: ReadLimit,
) -> rusqlite::Result<(Vec<StoredLine>, bool)> {
    let mut statement = connection.prepare_cached(
        "SELECT time_ns, severity, message, span_id, line, origin FROM line
         WHERE trace = ? ORDER BY time_ns, n LIMIT ?",
    )?;
    let mut rows = statement.query([seq, sql_limit(limit)])?;
    let mut names = EmitterNames::default();
    let mut lines = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let line = match row.get::<_, Option<i64>>(5)? {
            Some(origin) => {
                let record = decode::<LogRecord>(4, row.get_ref(4)?.as_blob()?)?;
                let (service, scope) = names.read(connection, origin)?;
                log_records::line(&record, trace_id, service, scope)
            }
            None => StoredLine {
                time_unix_nano: row.get::<_, i64>(0)?.max(0).cast_unsigned(),
                severity: row.get(1)?,
                message: row.get(2)?,
                span_id: row.get::<_, Option<i64>>(3)?.and_then(|id| SpanId::new(id.cast_unsigned())),
                line: row.get(4)?,
            },
        };
        bytes += line.severity.len() + line.message.len() + line.line.len();
        if lines.len() == limit.rows || (bytes > limit.bytes && !lines.is_empty()) {
            return Ok((lines, true));
        }
        lines.push(line);
    }
    Ok((lines, false))
}

fn decode<M: Message + Default>(column: usize, bytes: &[u8]) -> rusqlite::Result<M> {
    M::decode(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
    })
}
