//! Reads stored spans and log records in place. A large one takes no memory beside its bytes, because nothing is decoded
//! before it is used.
//!
//! ```text
//!  items   the spans or log records of a request
//!  mod     spans, resources, scopes, log records
//!  value   attributes and their values, as JSON and as text
//!  json    whole messages as OTLP/JSON
//! ```
//!
//! The bytes passed the check of the receiver. What is malformed nevertheless, in a damaged file, reads as absent.

mod items;
mod json;
#[cfg(test)]
mod tests;
mod value;

use logtracer_core::SpanId;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::wire::{Value, read_field};
pub(crate) use items::{SpanFrame, for_each_item};
pub(crate) use json::MessageJson;
pub(crate) use value::{AnyRef, Attribute, Attributes};

/// The fields of a message, in their order.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Value<'a>);

    // As `read_field`, which it is around.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = read_field(&mut self.0).ok();
        if field.is_none() {
            self.0 = &[];
        }
        field
    }
}

/// Returns the elements of a repeated field of messages.
fn messages(body: &[u8], number: u32) -> impl Iterator<Item = &[u8]> + Clone {
    Fields(body).filter_map(move |field| match field {
        (found, Value::Bytes(bytes)) if found == number => Some(bytes),
        _ => None,
    })
}

/// Returns the valid beginning of a text.
fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            bytes.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or("")
        }
    }
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    bytes.try_into().ok().and_then(SpanId::from_bytes)
}

fn low_u32(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0)
}

fn low_i32(number: u64) -> i32 {
    low_u32(number).cast_signed()
}

/// A `Span`.
#[derive(Clone, Copy, Default)]
pub(crate) struct SpanRef<'a> {
    body: &'a [u8],
    pub(crate) parent_span_id: Option<SpanId>,
    pub(crate) trace_state: &'a str,
    pub(crate) name: &'a str,
    /// A `SpanKind`.
    pub(crate) kind: i32,
    pub(crate) start_time_unix_nano: u64,
    pub(crate) end_time_unix_nano: u64,
    pub(crate) dropped_attributes_count: u32,
    /// A `StatusCode`.
    status_code: i32,
    pub(crate) status_message: &'a str,
}

impl<'a> SpanRef<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        let mut span = Self { body, ..Self::default() };
        for field in Fields(body) {
            match field {
                (3, Value::Bytes(bytes)) => span.trace_state = text(bytes),
                (4, Value::Bytes(bytes)) => span.parent_span_id = span_id(bytes),
                (5, Value::Bytes(bytes)) => span.name = text(bytes),
                (6, Value::Varint(kind)) => span.kind = low_i32(kind),
                (7, Value::Fixed64(time)) => span.start_time_unix_nano = time,
                (8, Value::Fixed64(time)) => span.end_time_unix_nano = time,
                (10, Value::Varint(count)) => span.dropped_attributes_count = low_u32(count),
                (15, Value::Bytes(status)) => span.read_status(status),
                _ => {}
            }
        }
        span
    }

    fn read_status(&mut self, status: &'a [u8]) {
        for field in Fields(status) {
            match field {
                (2, Value::Bytes(bytes)) => self.status_message = text(bytes),
                (3, Value::Varint(code)) => self.status_code = low_i32(code),
                _ => {}
            }
        }
    }

    /// Returns the whole span as it is stored.
    pub(crate) const fn body(&self) -> &'a [u8] {
        self.body
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::try_from(self.status_code).unwrap_or_default()
    }

    pub(crate) fn duration_nano(&self) -> u64 {
        self.end_time_unix_nano.saturating_sub(self.start_time_unix_nano)
    }

    pub(crate) const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.body, 9)
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = EventRef<'a>> + Clone + use<'a> {
        let start = self.start_time_unix_nano;
        messages(self.body, 11).map(move |body| EventRef::new(body, start))
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = LinkRef<'a>> + Clone + use<'a> {
        messages(self.body, 13).map(LinkRef::new)
    }
}

/// An `Event` of a span.
#[derive(Clone, Copy)]
pub(crate) struct EventRef<'a> {
    body: &'a [u8],
    /// That of the start of the span if the event has none.
    pub(crate) time_unix_nano: u64,
    pub(crate) name: &'a str,
}

impl<'a> EventRef<'a> {
    fn new(body: &'a [u8], start: u64) -> Self {
        let mut event = Self { body, time_unix_nano: start, name: "" };
        for field in Fields(body) {
            match field {
                (1, Value::Fixed64(time)) if time > 0 => event.time_unix_nano = time,
                (2, Value::Bytes(bytes)) => event.name = text(bytes),
                _ => {}
            }
        }
        event
    }

    pub(crate) const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.body, 3)
    }
}

/// A `Link` of a span.
#[derive(Clone, Copy)]
pub(crate) struct LinkRef<'a> {
    body: &'a [u8],
    pub(crate) trace_id: &'a [u8],
    pub(crate) span_id: &'a [u8],
}

impl<'a> LinkRef<'a> {
    fn new(body: &'a [u8]) -> Self {
        let mut link = Self { body, trace_id: &[], span_id: &[] };
        for field in Fields(body) {
            match field {
                (1, Value::Bytes(id)) => link.trace_id = id,
                (2, Value::Bytes(id)) => link.span_id = id,
                _ => {}
            }
        }
        link
    }

    pub(crate) const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.body, 4)
    }
}

/// A `Resource`.
#[derive(Clone, Copy)]
pub(crate) struct ResourceRef<'a>(pub(crate) &'a [u8]);

impl<'a> ResourceRef<'a> {
    pub(crate) const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.0, 1)
    }

    pub(crate) fn dropped_attributes_count(&self) -> u32 {
        let count = Fields(self.0).filter_map(|field| match field {
            (2, Value::Varint(count)) => Some(low_u32(count)),
            _ => None,
        });
        count.last().unwrap_or(0)
    }
}

/// An `InstrumentationScope`.
#[derive(Clone, Copy, Default)]
pub(crate) struct ScopeRef<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
}

impl<'a> ScopeRef<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        let mut scope = Self { body, ..Self::default() };
        for field in Fields(body) {
            match field {
                (1, Value::Bytes(bytes)) => scope.name = text(bytes),
                (2, Value::Bytes(bytes)) => scope.version = text(bytes),
                _ => {}
            }
        }
        scope
    }
}

/// A `LogRecord`.
#[derive(Clone, Copy, Default)]
pub(crate) struct RecordRef<'a> {
    message: &'a [u8],
    /// The time, or when the record was observed.
    pub(crate) time_unix_nano: u64,
    /// A `SeverityNumber`.
    pub(crate) severity_number: i32,
    pub(crate) severity_text: &'a str,
    pub(crate) body: AnyRef<'a>,
    pub(crate) flags: u32,
    /// Its length is not checked.
    pub(crate) trace_id: &'a [u8],
    pub(crate) span_id: Option<SpanId>,
    pub(crate) event_name: &'a str,
}

impl<'a> RecordRef<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        let mut record = Self { message, ..Self::default() };
        let (mut time, mut observed) = (0, 0);
        for field in Fields(message) {
            match field {
                (1, Value::Fixed64(nanos)) => time = nanos,
                (2, Value::Varint(number)) => record.severity_number = low_i32(number),
                (3, Value::Bytes(bytes)) => record.severity_text = text(bytes),
                (5, Value::Bytes(bytes)) => record.body = AnyRef::new(bytes, 0),
                (8, Value::Fixed32(flags)) => record.flags = flags,
                (9, Value::Bytes(bytes)) => record.trace_id = bytes,
                (10, Value::Bytes(bytes)) => record.span_id = span_id(bytes),
                (11, Value::Fixed64(nanos)) => observed = nanos,
                (12, Value::Bytes(bytes)) => record.event_name = text(bytes),
                _ => {}
            }
        }
        record.time_unix_nano = if time == 0 { observed } else { time };
        record
    }

    pub(crate) const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, 6)
    }

    /// Returns whether the body, the severity, the event name or an attribute passes, see [`AnyRef::has_text`].
    pub(crate) fn has_text(&self, max_bytes: usize, is_match: impl Fn(&str) -> bool) -> bool {
        self.body.has_text(max_bytes, &is_match)
            || is_match(self.severity_text)
            || is_match(self.event_name)
            || self.attributes().has_text(max_bytes, &is_match)
    }
}
