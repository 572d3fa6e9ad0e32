//! What the viewer can ask.

use std::collections::HashMap;
use std::sync::Arc;

use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Row};

use super::summary::{is_error, parse_services};
use super::write::service_name;

/// A trace as one row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceSummary {
    pub(crate) trace_id: TraceId,
    /// Empty while only log lines are known of the trace.
    pub(crate) root_name: String,
    pub(crate) service_names: Vec<String>,
    pub(crate) span_count: u64,
    pub(crate) log_count: u64,
    pub(crate) error_count: u64,
    pub(crate) start_unix_nano: u64,
    pub(crate) duration_nano: u64,
}

/// Everything about one trace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trace {
    pub(crate) summary: TraceSummary,
    /// By start time.
    pub(crate) spans: Vec<StoredSpan>,
    /// By time.
    pub(crate) lines: Vec<StoredLine>,
}

/// A span and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredSpan {
    pub(crate) span_id: SpanId,
    pub(crate) parent_span_id: Option<SpanId>,
    pub(crate) span: Span,
    pub(crate) origin: Arc<Origin>,
}

/// The resource and the instrumentation scope of spans.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Origin {
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
    /// The JSON object as it was read.
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
    connection
        .prepare_cached(&format!("SELECT {SUMMARY} ORDER BY start_ns DESC, seq DESC LIMIT ?"))?
        .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| Ok(summary(row)?.1))?
        .collect()
}

pub(super) fn trace(connection: &Connection, trace_id: TraceId) -> rusqlite::Result<Option<Trace>> {
    // One transaction, so that the parts belong together.
    let tx = connection.unchecked_transaction()?;
    let found = tx
        .prepare_cached(&format!("SELECT {SUMMARY} WHERE trace_id = ?"))?
        .query_row([trace_id.to_bytes()], summary)
        .optional()?;
    let Some((seq, summary)) = found else {
        return Ok(None);
    };
    let mut spans = spans(&tx, seq)?;
    spans.sort_by_key(|stored| (stored.span.start_time_unix_nano, stored.span_id));
    let lines = lines(&tx, seq)?;
    Ok(Some(Trace { summary, spans, lines }))
}

fn summary(row: &Row<'_>) -> rusqlite::Result<(i64, TraceSummary)> {
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
        service_names: parse_services(&row.get::<_, String>(8)?),
    };
    Ok((row.get(0)?, summary))
}

fn spans(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<StoredSpan>> {
    let mut origins: HashMap<i64, Arc<Origin>> = HashMap::new();
    let mut statement = connection.prepare_cached("SELECT origin, body FROM span WHERE trace = ?")?;
    let mut rows = statement.query([seq])?;
    let mut spans = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let origin = match origins.get(&id) {
            Some(origin) => origin.clone(),
            None => {
                let origin = Arc::new(read_origin(connection, id)?);
                origins.insert(id, origin.clone());
                origin
            }
        };
        let span = decode::<Span>(1, row.get_ref(1)?.as_blob()?)?;
        let span_id = |bytes: &[u8]| bytes.try_into().ok().and_then(SpanId::from_bytes);
        let Some(own) = span_id(&span.span_id) else {
            continue;
        };
        spans.push(StoredSpan { span_id: own, parent_span_id: span_id(&span.parent_span_id), span, origin });
    }
    Ok(spans)
}

fn read_origin(connection: &Connection, id: i64) -> rusqlite::Result<Origin> {
    connection.prepare_cached("SELECT resource, scope FROM origin WHERE id = ?")?.query_row([id], |row| {
        let resource = decode::<Resource>(0, row.get_ref(0)?.as_blob()?)?;
        let scope = decode(1, row.get_ref(1)?.as_blob()?)?;
        Ok(Origin { service_name: service_name(Some(&resource)).to_owned(), resource, scope })
    })
}

fn lines(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<StoredLine>> {
    connection
        .prepare_cached(
            "SELECT time_ns, severity, message, span_id, line FROM line WHERE trace = ? ORDER BY time_ns, n",
        )?
        .query_map([seq], |row| {
            Ok(StoredLine {
                time_unix_nano: row.get::<_, i64>(0)?.max(0).cast_unsigned(),
                severity: row.get(1)?,
                message: row.get(2)?,
                span_id: row.get::<_, Option<i64>>(3)?.and_then(|id| SpanId::new(id.cast_unsigned())),
                line: row.get(4)?,
            })
        })?
        .collect()
}

fn decode<M: Message + Default>(column: usize, bytes: &[u8]) -> rusqlite::Result<M> {
    M::decode(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
    })
}
