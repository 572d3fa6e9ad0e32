//! Spans as OTLP: protobuf bytes, written without an intermediate tree of messages.
//!
//! [`write_span`] appends one span; [`write_request`] wraps a batch of spans in an `ExportTraceServiceRequest` for one
//! resource.
//! The tests decode the bytes with the messages of `opentelemetry-proto`.
//!
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>
//!
//! ```
//! use logtracer_core::otlp::{InstrumentationScope, write_request, write_span};
//! use logtracer_core::span::{Span, SpanKind, SpanStatus};
//! use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
//!
//! let (trace_id, span_id) = (TraceId::new(7).unwrap(), SpanId::new(74).unwrap());
//! let span = Span {
//!     context: TraceContext::root(trace_id, span_id, Sampling::Accept),
//!     tracestate: "",
//!     name: b"GET /basket",
//!     kind: SpanKind::Server,
//!     start_unix_nanos: 1_000,
//!     end_unix_nanos: 2_500,
//!     status: SpanStatus::Unset,
//!     link: None,
//! };
//! let mut spans = Vec::new();
//! write_span(&mut spans, &span, |attributes| attributes.text("http.request.method", "GET"));
//!
//! let mut body = Vec::new();
//! let scope = InstrumentationScope { name: "shop", version: "1.2" };
//! write_request(&mut body, |resource| resource.text("service.name", "shop"), scope, &spans);
//! assert!(body.ends_with(&spans));
//! ```

mod details;
mod response;

use crate::span::{Span, SpanKind, SpanStatus};
use crate::{decimal, lossy};

pub use details::{DroppedDetails, SpanDetails, Value};
pub use response::{PartialSuccess, read_error_message, read_partial_success, rejected_spans};

/// The maximum length of a text in bytes. A longer text is truncated at a character boundary.
pub const MAX_TEXT_BYTES: usize = 4096;

/// A writer of the attributes of a span or a resource. Except where noted, it omits empty texts and zero.
#[derive(Debug)]
pub struct Attributes<'a> {
    out: &'a mut Vec<u8>,
    field: u32,
}

impl Attributes<'_> {
    /// Writes a text. Bytes that are not UTF-8 become U+FFFD.
    pub fn text(&mut self, key: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        if !value.is_empty() && !self.write_short_text(key, value) {
            self.write(key, |out| write_text(out, any_value::STRING, value));
        }
    }

    /// Writes most texts: ASCII, and so short that each length is one byte and known before. Returns false for others.
    fn write_short_text(&mut self, key: &str, value: &[u8]) -> bool {
        const LENGTH_DELIMITED: u32 = wire::LENGTH_DELIMITED;
        const KEY: u8 = (key_value::KEY << 3 | LENGTH_DELIMITED) as u8;
        const VALUE: u8 = (key_value::VALUE << 3 | LENGTH_DELIMITED) as u8;
        const STRING: u8 = (any_value::STRING << 3 | LENGTH_DELIMITED) as u8;
        let total = key.len() + value.len() + 8;
        let length = total - 2; // without the tag and the length itself
        if length >= 0x80 || self.field >= 16 || !value.is_ascii() {
            return false;
        }
        let field = (self.field << 3 | LENGTH_DELIMITED) as u8;
        self.out.reserve(total);
        self.out.extend_from_slice(&[field, length as u8, KEY, key.len() as u8]);
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(&[VALUE, value.len() as u8 + 2, STRING, value.len() as u8]);
        self.out.extend_from_slice(value);
        true
    }

    /// Writes a number, unless it is zero.
    pub fn number(&mut self, key: &str, value: u64) {
        if value > 0 {
            self.write(key, |out| {
                tag(out, any_value::INT, wire::VARINT);
                varint(out, value);
            });
        }
    }

    /// Writes a number as a text, even if it is zero, for attributes that the semantic conventions define as texts.
    pub fn number_as_text(&mut self, key: &str, value: u64) {
        self.write(key, |out| message(out, any_value::STRING, |out| decimal::write(out, value)));
    }

    /// Writes a list of texts, unless it is empty. The semantic conventions define header values as lists.
    pub fn texts<'v>(&mut self, key: &str, values: impl Iterator<Item = &'v [u8]> + Clone) {
        if values.clone().next().is_some() {
            self.write(key, |out| {
                message(out, any_value::ARRAY, |out| {
                    for value in values {
                        message(out, array_value::VALUES, |out| write_text(out, any_value::STRING, value));
                    }
                });
            });
        }
    }

    /// Writes a boolean, even if it is false.
    pub fn boolean(&mut self, key: &str, value: bool) {
        self.write(key, |out| {
            tag(out, any_value::BOOL, wire::VARINT);
            varint(out, value.into());
        });
    }

    /// Writes a typed value, also if it is empty or zero.
    pub fn value(&mut self, key: &str, value: Value<'_>) {
        self.write(key, |out| value.write(out));
    }

    fn write(&mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
        message(self.out, self.field, |out| {
            bytes(out, key_value::KEY, key.as_bytes());
            message(out, key_value::VALUE, value);
        });
    }
}

/// Appends one span, as an element of `ScopeSpans.spans`. `attributes` writes its attributes.
pub fn write_span(out: &mut Vec<u8>, span: &Span<'_>, attributes: impl FnOnce(&mut Attributes<'_>)) {
    write_span_with(out, span, |details| attributes(&mut details.attributes()));
}

/// Appends one span, as an element of `ScopeSpans.spans`. `details` writes its attributes, events and links.
///
/// ```
/// use logtracer_core::otlp::{Value, write_span, write_span_with};
/// use logtracer_core::span::{Span, SpanKind, SpanStatus};
/// use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
///
/// # let (trace_id, span_id) = (TraceId::new(7).unwrap(), SpanId::new(74).unwrap());
/// # let span = Span {
/// #     context: TraceContext::root(trace_id, span_id, Sampling::Accept),
/// #     tracestate: "",
/// #     name: b"basket",
/// #     kind: SpanKind::Internal,
/// #     start_unix_nanos: 1_000,
/// #     end_unix_nanos: 2_500,
/// #     status: SpanStatus::Unset,
/// #     link: None,
/// # };
/// let (mut with_event, mut without) = (Vec::new(), Vec::new());
/// write_span_with(&mut with_event, &span, |details| {
///     details.attributes().value("items", Value::Integer(0)); // also zero
///     details.event("cache miss", 1_200, |attributes| attributes.value("tries", Value::Integer(2)));
/// });
/// write_span(&mut without, &span, |_| {});
/// assert!(with_event.len() > without.len());
/// ```
pub fn write_span_with(out: &mut Vec<u8>, span: &Span<'_>, details: impl FnOnce(&mut SpanDetails<'_>)) {
    message(out, scope_spans::SPANS, |out| {
        bytes(out, span::TRACE_ID, &span.context.trace_id.to_bytes());
        bytes(out, span::SPAN_ID, &span.context.span_id.to_bytes());
        if !span.tracestate.is_empty() {
            bytes(out, span::TRACE_STATE, span.tracestate.as_bytes());
        }
        if let Some(parent) = span.context.parent_span_id {
            bytes(out, span::PARENT_SPAN_ID, &parent.to_bytes());
        }
        write_text(out, span::NAME, span.name);
        tag(out, span::KIND, wire::VARINT);
        varint(
            out,
            match span.kind {
                SpanKind::Internal => 1,
                SpanKind::Server => 2,
                SpanKind::Client => 3,
                SpanKind::Producer => 4,
                SpanKind::Consumer => 5,
            },
        );
        fixed64(out, span::START, span.start_unix_nanos);
        // Rule 81: no negative duration if the clock was set back.
        fixed64(out, span::END, span.end_unix_nanos.max(span.start_unix_nanos));
        let mut to = SpanDetails { out };
        details(&mut to);
        if let Some(link) = span.link {
            to.link(link, |_| {});
        }
        if span.status == SpanStatus::Error {
            message(out, span::STATUS, |out| {
                tag(out, status::CODE, wire::VARINT);
                varint(out, status::CODE_ERROR);
            });
        }
        tag(out, span::FLAGS, wire::FIXED32);
        let flags = u32::from(span.context.flags());
        out.extend_from_slice(&flags.to_le_bytes());
    });
}

/// The library that recorded the spans of a request.
#[derive(Debug, Clone, Copy)]
pub struct InstrumentationScope<'a> {
    /// The name of the library.
    pub name: &'a str,
    /// The version of the library.
    pub version: &'a str,
}

/// Appends an `ExportTraceServiceRequest` for one resource. `resource` writes the attributes of the resource, and
/// `spans` holds the spans that [`write_span`] appended.
pub fn write_request(
    out: &mut Vec<u8>,
    resource: impl FnOnce(&mut Attributes<'_>),
    scope: InstrumentationScope<'_>,
    spans: &[u8],
) {
    // The lengths precede the spans. They are calculated, because spans are too many to move.
    let mut head = Vec::new();
    message(&mut head, resource_spans::RESOURCE, |out| {
        resource(&mut Attributes { out, field: resource::ATTRIBUTES });
    });
    let mut scope_head = Vec::new();
    message(&mut scope_head, scope_spans::SCOPE, |out| {
        bytes(out, scope::NAME, scope.name.as_bytes());
        bytes(out, scope::VERSION, scope.version.as_bytes());
    });
    tag(&mut head, resource_spans::SCOPE_SPANS, wire::LENGTH_DELIMITED);
    varint(&mut head, (scope_head.len() + spans.len()) as u64);
    head.extend_from_slice(&scope_head);

    out.reserve(16 + head.len() + spans.len());
    tag(out, request::RESOURCE_SPANS, wire::LENGTH_DELIMITED);
    varint(out, (head.len() + spans.len()) as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(spans);
}

// === field numbers, by message ===

mod request {
    pub(super) const RESOURCE_SPANS: u32 = 1;
}
mod resource_spans {
    pub(super) const RESOURCE: u32 = 1;
    pub(super) const SCOPE_SPANS: u32 = 2;
}
mod resource {
    pub(super) const ATTRIBUTES: u32 = 1;
}
mod scope_spans {
    pub(super) const SCOPE: u32 = 1;
    pub(super) const SPANS: u32 = 2;
}
mod scope {
    pub(super) const NAME: u32 = 1;
    pub(super) const VERSION: u32 = 2;
}
mod span {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START: u32 = 7;
    pub(super) const END: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const DROPPED_ATTRIBUTES: u32 = 10;
    pub(super) const EVENTS: u32 = 11;
    pub(super) const DROPPED_EVENTS: u32 = 12;
    pub(super) const LINKS: u32 = 13;
    pub(super) const DROPPED_LINKS: u32 = 14;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
}
mod event {
    pub(super) const TIME: u32 = 1;
    pub(super) const NAME: u32 = 2;
    pub(super) const ATTRIBUTES: u32 = 3;
}
mod link {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const ATTRIBUTES: u32 = 4;
}
mod status {
    pub(super) const CODE: u32 = 3;
    pub(super) const CODE_ERROR: u64 = 2;
}
mod key_value {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}
mod any_value {
    pub(super) const STRING: u32 = 1;
    pub(super) const BOOL: u32 = 2;
    pub(super) const INT: u32 = 3;
    pub(super) const DOUBLE: u32 = 4;
    pub(super) const ARRAY: u32 = 5;
}
mod array_value {
    pub(super) const VALUES: u32 = 1;
}

// === the wire format ===

mod wire {
    pub(super) const VARINT: u32 = 0;
    pub(super) const FIXED64: u32 = 1;
    pub(super) const LENGTH_DELIMITED: u32 = 2;
    pub(super) const FIXED32: u32 = 5;
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, (field << 3 | wire_type).into());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, wire::FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, wire::LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Writes a string field, truncated to [`MAX_TEXT_BYTES`] and in valid UTF-8, which protobuf requires.
fn write_text(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    let value = value.get(..MAX_TEXT_BYTES).unwrap_or(value);
    if value.is_ascii() {
        return bytes(out, field, value); // without the validation of UTF-8, which costs more
    }
    match core::str::from_utf8(value) {
        Ok(text) => bytes(out, field, text.as_bytes()),
        // The truncation split a character: end before it.
        Err(error) if error.error_len().is_none() => {
            bytes(out, field, value.get(..error.valid_up_to()).unwrap_or_default());
        }
        Err(_) => message(out, field, |out| {
            for piece in lossy::pieces(value) {
                out.extend_from_slice(piece.as_bytes());
            }
        }),
    }
}

/// Writes a message field. The length precedes the content but is only known after it is written.
fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, wire::LENGTH_DELIMITED);
    let length_at = out.len();
    out.push(0);
    write(out);
    let length = (out.len() - length_at - 1) as u64;
    if length < 0x80 {
        if let Some(byte) = out.get_mut(length_at) {
            *byte = length as u8;
        }
        return;
    }
    // Move the placeholder and the content by the further bytes of the length, then overwrite the gap.
    let moved = length_at..out.len();
    let more = length.ilog2() as usize / 7;
    out.resize(out.len() + more, 0);
    out.copy_within(moved, length_at + more);
    let mut rest = length;
    for byte in out.iter_mut().skip(length_at).take(more) {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    if let Some(last) = out.get_mut(length_at + more) {
        *last = rest as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// A short text is written in a form of its own: around each limit of it, the bytes are those of any other text.
    #[test]
    fn a_short_text_has_the_bytes_of_any_text() {
        let long = "x".repeat(0x80);
        for field in [resource::ATTRIBUTES, span::ATTRIBUTES, 15, 16] {
            for (key_bytes, value) in [
                (1, "y"),
                (1, "é"),
                (0x79, ""),
                (0x78, "y"),
                (0x79, "y"),
                (0x80, "y"),
                (1, &long[..0x78]),
                (1, &long[..0x79]),
                (1, &long),
                (0x79, &long[..0x79]),
            ] {
                let key = &long[..key_bytes];
                let (mut short, mut any) = (Vec::new(), Vec::new());
                Attributes { out: &mut short, field }.text(key, value);
                if !value.is_empty() {
                    Attributes { out: &mut any, field }.value(key, Value::Text(value));
                }
                assert_eq!(short, any, "field {field}, key of {key_bytes}, value {value}");
            }
        }
    }

    #[test]
    fn the_bytes_of_a_short_text() {
        let mut out = Vec::new();
        Attributes { out: &mut out, field: 9 }.text("key", "value");
        assert_eq!(out, b"\x4a\x0e\x0a\x03key\x12\x07\x0a\x05value");
    }
}
