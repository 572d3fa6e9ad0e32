//! A span as JSON.

use std::borrow::Cow;
use std::io::Write;

use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde::{Serialize, Serializer};

use crate::otlp::in_place::{AnyRef, Attributes, EventRef, LinkRef, SpanRef};
use crate::store::{EmitterRow, ReadResult, ServiceNames, Snapshot, TraceSeq};
use crate::view::respond::{LARGE_PIECE_BYTES, Pieces, Progress};
use crate::view::window::Window;

/// Returns the kind of a span: "server", "client" and so on.
pub(in crate::view) fn kind(span: &SpanRef<'_>) -> &'static str {
    match SpanKind::try_from(span.kind).unwrap_or_default() {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

#[derive(Serialize)]
struct JsonSpan<'a> {
    span_id: String,
    parent_span_id: Option<String>,
    name: &'a str,
    kind: &'static str,
    service_name: Cow<'a, str>,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    status: JsonStatus<'a>,
    attributes: Attributes<'a>,
    events: Events<'a>,
    links: Links<'a>,
    resource: Attributes<'a>,
    scope: &'a str,
}

#[derive(Serialize)]
struct JsonStatus<'a> {
    code: &'static str,
    message: &'a str,
}

struct Events<'a>(SpanRef<'a>);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.events().map(JsonEvent::from))
    }
}

#[derive(Serialize)]
struct JsonEvent<'a> {
    name: &'a str,
    time_unix_nano: String,
    attributes: Attributes<'a>,
}

impl<'a> From<EventRef<'a>> for JsonEvent<'a> {
    fn from(event: EventRef<'a>) -> Self {
        let time_unix_nano = event.time_unix_nano.to_string();
        Self { name: event.name, time_unix_nano, attributes: event.attributes() }
    }
}

struct Links<'a>(SpanRef<'a>);

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.links().map(JsonLink::from))
    }
}

#[derive(Serialize)]
struct JsonLink<'a> {
    trace_id: Id<'a>,
    span_id: Id<'a>,
    attributes: Attributes<'a>,
}

impl<'a> From<LinkRef<'a>> for JsonLink<'a> {
    fn from(link: LinkRef<'a>) -> Self {
        let (trace_id, span_id) = (Id(link.trace_id), Id(link.span_id));
        Self { trace_id, span_id, attributes: link.attributes() }
    }
}

/// An id in hexadecimal digits, as all ids of the API.
struct Id<'a>(&'a [u8]);

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

/// Writes a span as JSON. Returns `None` if it is not stored. The window may end before the span does.
pub(super) fn write(
    snapshot: &Snapshot<'_>,
    trace: TraceSeq,
    span_id: SpanId,
    names: &mut ServiceNames,
    out: &mut Window<'_>,
) -> ReadResult<Option<()>> {
    snapshot.span(trace, span_id, |row| {
        let parent = snapshot.parent(trace, span_id, &row, names)?;
        snapshot.emitter(row.origin, |emitter| {
            // The only error is that the window is full, which it remembers.
            let _ = serde_json::to_writer(out, &json(span_id, parent, row.span, &emitter));
        })?;
        Ok(())
    })
}

fn json<'a>(
    span_id: SpanId,
    parent: Option<SpanId>,
    span: SpanRef<'a>,
    emitter: &EmitterRow<'a>,
) -> JsonSpan<'a> {
    JsonSpan {
        span_id: span_id.to_string(),
        parent_span_id: parent.map(|id| id.to_string()),
        name: span.name,
        kind: kind(&span),
        service_name: emitter.service_name(),
        start_time_unix_nano: span.start_time_unix_nano.to_string(),
        end_time_unix_nano: span.end_time_unix_nano.to_string(),
        status: JsonStatus {
            code: match span.status() {
                StatusCode::Unset => "unset",
                StatusCode::Ok => "ok",
                StatusCode::Error => "error",
            },
            message: span.status_message,
        },
        attributes: span.attributes(),
        events: Events(span),
        links: Links(span),
        resource: emitter.resource.attributes(),
        scope: emitter.scope.name,
    }
}

/// `GET /api/traces/{trace_id}/spans/{span_id}`.
pub(super) struct OneSpan {
    trace: TraceSeq,
    span_id: SpanId,
    names: ServiceNames,
    offset: u64,
}

impl OneSpan {
    pub(super) fn open(
        snapshot: &Snapshot<'_>,
        trace_id: TraceId,
        span_id: SpanId,
    ) -> ReadResult<Option<Self>> {
        let Some((trace, _)) = snapshot.trace(trace_id)? else { return Ok(None) };
        let found = snapshot.span_key(trace, span_id)?;
        Ok(found.map(|_| Self { trace, span_id, names: ServiceNames::default(), offset: 0 }))
    }
}

impl Pieces for OneSpan {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        let mut window = Window::new(out, self.offset, LARGE_PIECE_BYTES);
        let found = write(snapshot, self.trace, self.span_id, &mut self.names, &mut window)?;
        let (written, has_more) = window.end();
        self.offset += written;
        Ok(match found {
            None => Progress::Gone,
            Some(()) if has_more => Progress::More,
            Some(()) => out.write_all(b"\n").map_or(Progress::Gone, |()| Progress::Complete),
        })
    }
}

/// The key of a value.
pub(super) enum Key {
    /// Of an attribute of the span.
    Attribute(String),
    /// Of an attribute of its resource.
    Resource(String),
}

impl Key {
    /// Passes the value on, or returns `None` if there is none.
    fn read<T>(
        &self,
        snapshot: &Snapshot<'_>,
        (trace, span_id): (TraceSeq, SpanId),
        read: impl FnOnce(AnyRef<'_>) -> T,
    ) -> ReadResult<Option<T>> {
        let value = |attributes: Attributes<'_>, wanted: &str| {
            attributes.iter().filter(|(key, _)| *key == wanted).last().map(|(_, value)| read(value))
        };
        let found = snapshot.span(trace, span_id, |row| match self {
            Self::Attribute(key) => Ok(value(row.span.attributes(), key)),
            Self::Resource(key) => {
                let found =
                    snapshot.emitter(row.origin, |emitter| value(emitter.resource.attributes(), key))?;
                Ok(found.flatten())
            }
        })?;
        Ok(found.flatten())
    }
}

/// The whole value of one attribute, as text.
pub(super) struct OneValue {
    trace: TraceSeq,
    span_id: SpanId,
    key: Key,
    offset: u64,
}

impl OneValue {
    pub(super) fn open(
        snapshot: &Snapshot<'_>,
        trace_id: TraceId,
        span_id: SpanId,
        key: Key,
    ) -> ReadResult<Option<Self>> {
        let Some((trace, _)) = snapshot.trace(trace_id)? else { return Ok(None) };
        let found = key.read(snapshot, (trace, span_id), |_| ())?;
        Ok(found.map(|()| Self { trace, span_id, key, offset: 0 }))
    }
}

impl Pieces for OneValue {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        let mut window = Window::new(out, self.offset, LARGE_PIECE_BYTES);
        // The only error is that the window is full, which it remembers.
        let found = self.key.read(snapshot, (self.trace, self.span_id), |value| match value {
            AnyRef::Text(text) => drop(window.write_all(text.as_bytes())),
            value => drop(serde_json::to_writer(&mut window, &value)),
        })?;
        let (written, has_more) = window.end();
        self.offset += written;
        Ok(match found {
            None => Progress::Gone,
            Some(()) if has_more => Progress::More,
            Some(()) => Progress::Complete,
        })
    }
}
