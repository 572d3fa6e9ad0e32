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

use crate::span::{Link, Span, SpanKind, SpanStatus};
use crate::{decimal, lossy};

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
        let length = key.len() + value.len() + 6;
        if length >= 0x80 || self.field >= 16 || !value.is_ascii() {
            return false;
        }
        let field = (self.field << 3 | LENGTH_DELIMITED) as u8;
        self.out.reserve(length + 2);
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

    fn write(&mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
        message(self.out, self.field, |out| {
            bytes(out, key_value::KEY, key.as_bytes());
            message(out, key_value::VALUE, value);
        });
    }
}

/// Appends one span, as an element of `ScopeSpans.spans`. `attributes` writes its attributes.
pub fn write_span(out: &mut Vec<u8>, span: &Span<'_>, attributes: impl FnOnce(&mut Attributes<'_>)) {
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
            },
        );
        fixed64(out, span::START, span.start_unix_nanos);
        // Rule 81: no negative duration if the clock was set back.
        fixed64(out, span::END, span.end_unix_nanos.max(span.start_unix_nanos));
        attributes(&mut Attributes { out, field: span::ATTRIBUTES });
        if let Some(Link { context, tracestate }) = span.link {
            message(out, span::LINKS, |out| {
                bytes(out, link::TRACE_ID, &context.trace_id.to_bytes());
                if let Some(span_id) = context.span_id {
                    bytes(out, link::SPAN_ID, &span_id.to_bytes());
                }
                if !tracestate.is_empty() {
                    bytes(out, link::TRACE_STATE, tracestate.as_bytes());
                }
            });
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

/// Returns the number of rejected spans in an `ExportTraceServiceResponse`, and 0 for any other body.
///
/// The response may be truncated: the number precedes the error message, which can have any length.
///
/// ```
/// // partial_success { rejected_spans: 3 }
/// assert_eq!(logtracer_core::otlp::rejected_spans(&[0x0a, 2, 0x08, 3]), 3);
/// assert_eq!(logtracer_core::otlp::rejected_spans(b"<html>"), 0);
/// ```
pub fn rejected_spans(response: &[u8]) -> u64 {
    let mut fields = Fields(response);
    let partial_success = fields.find_map(|field| match field {
        (response::PARTIAL_SUCCESS, FieldValue::Bytes(bytes)) => Some(bytes),
        _ => None,
    });
    Fields(partial_success.unwrap_or_default())
        .find_map(|field| match field {
            (partial_success::REJECTED_SPANS, FieldValue::Number(number)) => Some(number),
            _ => None,
        })
        // A negative number is invalid.
        .filter(|number| i64::try_from(*number).is_ok())
        .unwrap_or(0)
}

// === field numbers, by message ===

mod response {
    pub(super) const PARTIAL_SUCCESS: u64 = 1;
}
mod partial_success {
    pub(super) const REJECTED_SPANS: u64 = 1;
}
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
    pub(super) const LINKS: u32 = 13;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
}
mod link {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
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

/// An iterator over the fields of a message, up to the first malformed one. A truncated field ends with the input.
struct Fields<'m>(&'m [u8]);

enum FieldValue<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

impl<'m> Fields<'m> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'m [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl<'m> Iterator for Fields<'m> {
    type Item = (u64, FieldValue<'m>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => FieldValue::Number(self.varint()?),
            1 => FieldValue::Bytes(self.bytes(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                FieldValue::Bytes(self.bytes(length.min(self.0.len()))?)
            }
            5 => FieldValue::Bytes(self.bytes(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}
