//! Decodes the requests of a chunk to the rows of the store: spans and log records that stay bytes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::origins::Emitter;
use super::service_name::service_name as named;
use super::span_summary::SpanSummary;
use super::summary::TraceKey;
use super::write::WriteError;
use crate::clock;
use crate::otlp::envelope::Envelope;
use crate::otlp::in_place::SpanRef;
use crate::otlp::{Signal, check};

/// A span or a log record, ready to be inserted.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: TraceKey,
    pub(super) emitter: Arc<Emitter>,
    pub(super) row: Row,
    /// `Span` or `LogRecord` as protobuf.
    pub(super) body: Bytes,
}

#[derive(Debug)]
pub(super) enum Row {
    Span { span_id: SpanId, summary: SpanSummary },
    Record { span_id: Option<SpanId>, time_ns: i64 },
}

/// The size of the rows of an item in all tables and indexes, without its body.
const ROW_BYTES: usize = 256;

impl Item {
    /// Returns about how many bytes the store writes for this item after another one.
    pub(super) fn stored_bytes(&self, previous: Option<&Self>) -> usize {
        let (emitter, last) = (&self.emitter, previous.map(|previous| &previous.emitter));
        let mut bytes = self.body.len() + ROW_BYTES;
        if !last.is_some_and(|last| Arc::ptr_eq(last, emitter)) {
            bytes += emitter.scope.len() + ROW_BYTES;
        }
        if last.is_none_or(|last| last.resource.as_ptr() != emitter.resource.as_ptr()) {
            bytes += emitter.resource.len() + ROW_BYTES;
        }
        bytes
    }
}

/// Items that are inserted in one transaction.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) items: Vec<Item>,
    pub(super) bytes: usize,
}

impl Group {
    pub(super) fn push(&mut self, item: Item) {
        self.bytes += item.stored_bytes(self.items.last());
        self.items.push(item);
    }
}

/// Decodes the request at this index of a chunk, unless that takes too much memory.
pub(super) fn decode(signal: Signal, index: usize, body: &Bytes) -> Result<Vec<Item>, WriteError> {
    if check::is_too_large(signal, body) {
        return Err(undecodable(index, "it takes too much memory when decoded"));
    }
    let failed = |error| undecodable(index, error);
    let mut items = Vec::new();
    for resource_items in Envelope::from_body(body).map_err(failed)?.resources {
        let resource_bytes = resource_items.resource.unwrap_or_default();
        let resource = Resource::decode(resource_bytes.clone()).map_err(failed)?;
        let service_name: Arc<str> = service_name(Some(&resource)).into();
        for scope_items in resource_items.scopes.into_iter().filter(|scope| !scope.items.is_empty()) {
            let emitter = Arc::new(Emitter {
                resource: resource_bytes.clone(),
                scope: scope_items.scope.unwrap_or_default(),
                service_name: service_name.clone(),
            });
            for item in scope_items.items {
                let (key, row) = match signal {
                    Signal::Traces => {
                        let span = Span::decode(&item[..]).map_err(failed)?;
                        span_row(&span, &item).ok_or_else(|| undecodable(index, "invalid ids of a span"))?
                    }
                    Signal::Logs => record_row(&LogRecord::decode(&item[..]).map_err(failed)?),
                };
                items.push(Item { key, emitter: emitter.clone(), row, body: item });
            }
        }
    }
    Ok(items)
}

fn undecodable(index: usize, reason: impl fmt::Display) -> WriteError {
    WriteError::Undecodable(format!("request {} of the chunk: {reason}", index + 1))
}

fn span_row(span: &Span, body: &[u8]) -> Option<(TraceKey, Row)> {
    let span_id = SpanId::from_bytes(span.span_id.as_slice().try_into().ok()?)?;
    let key = TraceKey::Trace(trace_id(&span.trace_id)?);
    Some((key, Row::Span { span_id, summary: SpanSummary::new(&SpanRef::new(body)) }))
}

fn record_row(record: &LogRecord) -> (TraceKey, Row) {
    let span_id = record.span_id.as_slice().try_into().ok().and_then(SpanId::from_bytes);
    // A record without any time has that of its arrival.
    let time = Some(record_time(record)).filter(|time| *time > 0).unwrap_or_else(clock::unix_nanos);
    let time_ns = i64::try_from(time).unwrap_or(i64::MAX);
    (TraceKey::of_line(trace_id(&record.trace_id), time_ns), Row::Record { span_id, time_ns })
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    TraceId::from_bytes(bytes.try_into().ok()?)
}

/// Returns the time of a log record, or when it was observed.
fn record_time(record: &LogRecord) -> u64 {
    match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        time => time,
    }
}

/// Returns the name of the service that a resource describes. A long name is truncated.
pub(super) fn service_name(resource: Option<&Resource>) -> Cow<'_, str> {
    let attributes = resource.map(|resource| &resource.attributes[..]).unwrap_or_default();
    named(attributes.iter().filter_map(|attribute| Some((attribute.key.as_str(), text(attribute)?))))
}

fn text(attribute: &KeyValue) -> Option<&str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
