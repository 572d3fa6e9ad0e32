//! Stored messages as OTLP/JSON, by the rules of ProtoJSON and with the ids as hexadecimal digits.
//!
//! The definitions of the messages ([`super::super::schema`]) are those by which JSON is received, so what is written here
//! is read back (`a_message_reads_back`).

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::super::Signal;
use super::super::check::MAX_DEPTH;
use super::super::schema::{self, Field, Kind, MessageType};
use super::super::text::{Base64, not_finite};
use super::{Fields, Value, low_i32, low_u32, text};

/// A message, which is serialized as OTLP/JSON.
#[derive(Clone, Copy)]
pub(crate) struct MessageJson<'a> {
    message: &'static MessageType,
    body: &'a [u8],
    depth: u32,
}

impl<'a> MessageJson<'a> {
    /// The export request of a signal.
    pub(crate) const fn request(signal: Signal, body: &'a [u8]) -> Self {
        Self { message: signal.request_type(), body, depth: 0 }
    }

    pub(crate) const fn span(body: &'a [u8]) -> Self {
        Self { message: &schema::SPAN, body, depth: 0 }
    }

    pub(crate) const fn log_record(body: &'a [u8]) -> Self {
        Self { message: &schema::LOG_RECORD, body, depth: 0 }
    }

    pub(crate) const fn resource(body: &'a [u8]) -> Self {
        Self { message: &schema::RESOURCE, body, depth: 0 }
    }

    pub(crate) const fn scope(body: &'a [u8]) -> Self {
        Self { message: &schema::SCOPE, body, depth: 0 }
    }
}

impl Serialize for MessageJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (number, field) in (0..).zip(self.message.fields) {
            let values =
                || Fields(self.body).filter(move |(found, _)| *found == number).map(|(_, value)| value);
            let element = |value| Element { field, value, depth: self.depth };
            if field.name.is_empty() || self.depth > MAX_DEPTH {
                continue;
            }
            if !field.is_repeated {
                if let Some(value) = values().last() {
                    map.serialize_entry(&Name(field), &element(value))?;
                }
            } else if values().next().is_some() {
                let list = List { body: self.body, number, field, depth: self.depth };
                map.serialize_entry(&Name(field), &list)?;
            }
        }
        map.end()
    }
}

struct Name(&'static Field);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&String::from_iter(self.0.json_name().map(char::from)))
    }
}

/// The elements of a repeated field.
struct List<'a> {
    body: &'a [u8],
    number: u32,
    field: &'static Field,
    depth: u32,
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = Fields(self.body).filter(|(found, _)| *found == self.number);
        serializer.collect_seq(values.map(|(_, value)| Element {
            field: self.field,
            value,
            depth: self.depth,
        }))
    }
}

/// A value of a field.
struct Element<'a> {
    field: &'static Field,
    value: Value<'a>,
    depth: u32,
}

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.field.kind, self.value) {
            (Kind::Message(message), Value::Bytes(body)) => {
                MessageJson { message, body, depth: self.depth + 1 }.serialize(serializer)
            }
            (Kind::Text, Value::Bytes(bytes)) => serializer.serialize_str(text(bytes)),
            (Kind::Bytes, Value::Bytes(bytes)) => serializer.collect_str(&Base64(bytes)),
            (Kind::Id, Value::Bytes(bytes)) => serializer.serialize_str(&hex::encode(bytes)),
            (Kind::Bool, Value::Varint(number)) => serializer.serialize_bool(number != 0),
            (Kind::Int32 | Kind::Enum(_), Value::Varint(number)) => serializer.serialize_i32(low_i32(number)),
            (Kind::Int64, Value::Varint(number)) => serializer.collect_str(&number.cast_signed()),
            (Kind::Uint32, Value::Varint(number)) => serializer.serialize_u32(low_u32(number)),
            (Kind::Fixed32, Value::Fixed32(number)) => serializer.serialize_u32(number),
            (Kind::Double, Value::Fixed64(bits)) => match f64::from_bits(bits) {
                number if number.is_finite() => serializer.serialize_f64(number),
                number => serializer.serialize_str(not_finite(number)),
            },
            (Kind::Fixed64, Value::Fixed64(number)) => serializer.collect_str(&number),
            // A field of another type than its definition was never accepted.
            _ => serializer.serialize_unit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::Signal;
    use crate::otlp::json::to_protobuf;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};
    use prost::Message;

    fn attributes() -> Vec<KeyValue> {
        let any = |value| AnyValue { value: Some(value) };
        let attribute =
            |key: &str, value| KeyValue { key: key.to_owned(), value: Some(any(value)), key_strindex: 0 };
        let array = ArrayValue { values: vec![any(Any::BoolValue(true)), AnyValue::default()] };
        vec![
            attribute("text", Any::StringValue("a\"\n\u{1}ä".to_owned())),
            attribute("empty", Any::StringValue(String::new())),
            attribute("int", Any::IntValue(i64::MIN)),
            attribute("double", Any::DoubleValue(0.5)),
            attribute("infinite", Any::DoubleValue(f64::NEG_INFINITY)),
            attribute("bytes", Any::BytesValue(vec![0, 255, 7, 1])),
            attribute("array", Any::ArrayValue(array)),
            attribute(
                "object",
                Any::KvlistValue(KeyValueList { values: vec![attribute("b", Any::IntValue(1))] }),
            ),
            KeyValue { key: "none".to_owned(), ..Default::default() },
        ]
    }

    #[test]
    fn a_message_reads_back() {
        let sent = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_span_id: vec![3; 8],
            trace_state: "a=b".to_owned(),
            flags: 0x301,
            name: "name".to_owned(),
            kind: 3,
            start_time_unix_nano: u64::MAX,
            end_time_unix_nano: 9,
            attributes: attributes(),
            dropped_attributes_count: 4,
            events: vec![span::Event {
                time_unix_nano: 7,
                name: "e".to_owned(),
                attributes: attributes(),
                dropped_attributes_count: 1,
            }],
            dropped_events_count: 2,
            links: vec![span::Link {
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                flags: 1,
                attributes: attributes(),
                ..Default::default()
            }],
            dropped_links_count: 3,
            status: Some(Status { code: 2, message: "no".to_owned() }),
        };
        let json = serde_json::to_string(&MessageJson::span(&sent.encode_to_vec())).unwrap();
        let document = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{json}]}}]}}],"resourceLogs":[{{"unknown":1}}]}}"#
        );
        let (body, left_out) = to_protobuf(Signal::Traces, &document).unwrap();
        let read = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        assert_eq!(read.resource_spans[0].scope_spans[0].spans, [sent], "{left_out:?}");
    }
}
