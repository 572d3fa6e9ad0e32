//! [`SpanDetails`]: what a span has beside its ids, its name and its times.

use super::{
    Attributes, any_value, array_value, event, fixed64, link, message, span, tag, varint, wire, write_text,
};
use crate::span::Link;

/// The value of an attribute.
///
/// ```
/// use logtracer_core::otlp::Value;
///
/// assert_ne!(Value::Integer(1), Value::Float(1.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A text, truncated to [`MAX_TEXT_BYTES`](super::MAX_TEXT_BYTES).
    Text(&'a str),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A list of texts.
    Texts(&'a [String]),
    /// A list of integers.
    Integers(&'a [i64]),
    /// A list of floating-point numbers.
    Floats(&'a [f64]),
    /// A list of booleans.
    Booleans(&'a [bool]),
}

impl Value<'_> {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_text(out, any_value::STRING, text.as_bytes()),
            Self::Integer(number) => {
                tag(out, any_value::INT, wire::VARINT);
                // A negative number is written in two's complement.
                varint(out, number as u64);
            }
            Self::Float(number) => fixed64(out, any_value::DOUBLE, number.to_bits()),
            Self::Boolean(value) => {
                tag(out, any_value::BOOL, wire::VARINT);
                varint(out, value.into());
            }
            Self::Texts(texts) => write_list(out, texts.iter().map(|text| Value::Text(text))),
            Self::Integers(numbers) => write_list(out, numbers.iter().map(|number| Value::Integer(*number))),
            Self::Floats(numbers) => write_list(out, numbers.iter().map(|number| Value::Float(*number))),
            Self::Booleans(values) => write_list(out, values.iter().map(|value| Value::Boolean(*value))),
        }
    }
}

fn write_list<'v>(out: &mut Vec<u8>, values: impl Iterator<Item = Value<'v>>) {
    message(out, any_value::ARRAY, |out| {
        for value in values {
            message(out, array_value::VALUES, |out| value.write(out));
        }
    });
}

/// A writer of the attributes, events and links of a span; see [`write_span_with`](super::write_span_with).
#[derive(Debug)]
pub struct SpanDetails<'a> {
    pub(super) out: &'a mut Vec<u8>,
}

impl SpanDetails<'_> {
    /// Returns the writer of the attributes.
    pub fn attributes(&mut self) -> Attributes<'_> {
        Attributes { out: self.out, field: span::ATTRIBUTES }
    }

    /// Writes attributes, without those whose keys are excluded: in OTLP each key of a span is unique.
    ///
    /// ```
    /// use logtracer_core::otlp::write_span_with;
    /// # use logtracer_core::span::{Span, SpanKind, SpanStatus};
    /// # use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
    /// #
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
    /// let (mut except, mut alone) = (Vec::new(), Vec::new());
    /// write_span_with(&mut except, &span, |details| {
    ///     details.attributes_except(|key| key == "error.type", |attributes| {
    ///         attributes.text("error.type", "500");
    ///         attributes.number("items", 3);
    ///     });
    /// });
    /// write_span_with(&mut alone, &span, |details| details.attributes().number("items", 3));
    /// assert_eq!(except, alone);
    /// ```
    pub fn attributes_except(
        &mut self,
        is_excluded: impl Fn(&str) -> bool,
        write: impl FnOnce(&mut Attributes<'_>),
    ) {
        let mut all = Vec::new();
        write(&mut Attributes { out: &mut all, field: span::ATTRIBUTES });
        let mut rest = all.as_slice();
        while let Some((attribute, after)) = split_attribute(rest) {
            if !key_of(attribute).is_some_and(&is_excluded) {
                self.out.extend_from_slice(attribute);
            }
            rest = after;
        }
    }

    /// Writes an event at this time, in nanoseconds since 1970. `attributes` writes its attributes.
    pub fn event(&mut self, name: &str, unix_nanos: u64, attributes: impl FnOnce(&mut Attributes<'_>)) {
        message(self.out, span::EVENTS, |out| {
            fixed64(out, event::TIME, unix_nanos);
            write_text(out, event::NAME, name.as_bytes());
            attributes(&mut Attributes { out, field: event::ATTRIBUTES });
        });
    }

    /// Writes a link to another span. `attributes` writes its attributes.
    pub fn link(&mut self, link: Link<'_>, attributes: impl FnOnce(&mut Attributes<'_>)) {
        let Link { context, tracestate } = link;
        message(self.out, span::LINKS, |out| {
            super::bytes(out, link::TRACE_ID, &context.trace_id.to_bytes());
            if let Some(span_id) = context.span_id {
                super::bytes(out, link::SPAN_ID, &span_id.to_bytes());
            }
            if !tracestate.is_empty() {
                super::bytes(out, link::TRACE_STATE, tracestate.as_bytes());
            }
            attributes(&mut Attributes { out, field: link::ATTRIBUTES });
        });
    }

    /// Writes the numbers of details that are not in the span, unless they are zero.
    pub fn dropped(&mut self, dropped: DroppedDetails) {
        for (field, number) in [
            (span::DROPPED_ATTRIBUTES, dropped.attributes),
            (span::DROPPED_EVENTS, dropped.events),
            (span::DROPPED_LINKS, dropped.links),
        ] {
            if number > 0 {
                tag(self.out, field, wire::VARINT);
                varint(self.out, number.into());
            }
        }
    }
}

/// Splits off the first attribute of a span, with its tag and its length.
fn split_attribute(attributes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_tag, rest) = read_varint(attributes)?;
    let (length, rest) = read_varint(rest)?;
    attributes.split_at_checked(attributes.len() - rest.len() + length)
}

/// Returns the key of an attribute, which is its first field.
fn key_of(attribute: &[u8]) -> Option<&str> {
    let (_tag, rest) = read_varint(attribute)?;
    let (_length, rest) = read_varint(rest)?;
    let (_tag, rest) = read_varint(rest)?;
    let (length, rest) = read_varint(rest)?;
    core::str::from_utf8(rest.get(..length)?).ok()
}

/// Reads a tag or a length.
fn read_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().position(|byte| *byte < 0x80)?;
    let (number, rest) = bytes.split_at_checked(end + 1)?;
    let value = number.iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    Some((value, rest))
}

/// The numbers of details that were dropped because a span had too many.
///
/// ```
/// use logtracer_core::otlp::DroppedDetails;
///
/// assert_eq!(DroppedDetails::default(), DroppedDetails { attributes: 0, events: 0, links: 0 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DroppedDetails {
    /// Attributes of the span.
    pub attributes: u32,
    /// Events.
    pub events: u32,
    /// Links.
    pub links: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Lengths of one and of more bytes, at each place.
    #[test]
    fn excluded_attributes_are_not_written() {
        let long = "x".repeat(300);
        let write = |attributes: &mut Attributes<'_>, keys: &[&str]| {
            for key in keys {
                attributes.text(key, "short");
                attributes.value(key, Value::Integer(-1));
                attributes.text(key, &long);
            }
        };
        let written = |keys: &[&str]| {
            let mut out = Vec::new();
            write(&mut SpanDetails { out: &mut out }.attributes(), keys);
            out
        };
        let all = ["a", &*long, "b"];
        for (excluded, expected) in
            [("", &all[..]), ("a", &[&*long, "b"]), (&*long, &["a", "b"]), ("b", &["a", &*long])]
        {
            let mut out = Vec::new();
            SpanDetails { out: &mut out }
                .attributes_except(|key| key == excluded, |attributes| write(attributes, &all));
            assert_eq!(out, written(expected), "{excluded}");
        }
    }

    /// A reader cannot tell a zero from an absent number, so it is not written.
    #[test]
    fn only_dropped_details_are_counted() {
        for (attributes, events, links, expected) in [
            (0, 0, 0, b"".as_slice()),
            (1, 0, 0, b"\x50\x01"),
            (0, 2, 0, b"\x60\x02"),
            (1, 0, 300, b"\x50\x01\x70\xac\x02"),
        ] {
            let mut out = Vec::new();
            SpanDetails { out: &mut out }.dropped(DroppedDetails { attributes, events, links });
            assert_eq!(out, expected);
        }
    }
}
