//! Converting attribute values of OTLP to JSON and to text.

use std::collections::HashMap;
use std::io;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde::{Serialize, Serializer};

use super::text::{Base64, not_finite};

/// Attributes that are serialized as a JSON object. Of equal keys, the last counts.
#[derive(Debug)]
pub(crate) struct JsonObject<'a>(pub(crate) &'a [KeyValue]);

/// A value that is serialized as JSON. Bytes become Base64; NaN and the infinities become strings.
#[derive(Debug)]
pub(crate) struct Json<'a>(pub(crate) Option<&'a AnyValue>);

impl Serialize for JsonObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(unique(self.0).map(|attribute| (&attribute.key, Json(attribute.value.as_ref()))))
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.and_then(|value| value.value.as_ref()) {
            None => serializer.serialize_unit(),
            Some(Any::StringValue(text)) => serializer.serialize_str(text),
            Some(Any::BoolValue(boolean)) => serializer.serialize_bool(*boolean),
            Some(Any::IntValue(number)) => serializer.serialize_i64(*number),
            Some(Any::DoubleValue(number)) if number.is_finite() => serializer.serialize_f64(*number),
            Some(Any::DoubleValue(number)) => serializer.serialize_str(not_finite(*number)),
            Some(Any::ArrayValue(array)) => {
                serializer.collect_seq(array.values.iter().map(|value| Json(Some(value))))
            }
            Some(Any::KvlistValue(list)) => JsonObject(&list.values).serialize(serializer),
            Some(Any::BytesValue(bytes)) => serializer.collect_str(&Base64(bytes)),
            Some(Any::StringValueStrindex(index)) => serializer.serialize_i32(*index),
        }
    }
}

/// Returns the attributes, each key once: the last of equal ones counts.
pub(crate) fn unique(attributes: &[KeyValue]) -> impl Iterator<Item = &KeyValue> {
    let last: HashMap<&str, usize> =
        (0..).zip(attributes).map(|(index, attribute)| (attribute.key.as_str(), index)).collect();
    (0..).zip(attributes).filter_map(move |(index, attribute)| {
        (last.get(attribute.key.as_str()) == Some(&index)).then_some(attribute)
    })
}

/// Converts a value to text: a string without quotes, anything else as JSON.
pub(crate) fn text(value: Option<&AnyValue>) -> String {
    let mut text = Vec::new();
    // Cannot fail: a vector takes all bytes.
    let _ = write_text(value, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// Writes a value as text, as [`text`] does. Fails if the writer fails.
pub(crate) fn write_text(value: Option<&AnyValue>, out: &mut impl io::Write) -> io::Result<()> {
    match value.and_then(|value| value.value.as_ref()) {
        None => Ok(()),
        Some(Any::StringValue(text)) => out.write_all(text.as_bytes()),
        Some(Any::DoubleValue(number)) if !number.is_finite() => {
            out.write_all(not_finite(*number).as_bytes())
        }
        Some(Any::BytesValue(bytes)) => write!(out, "{}", Base64(bytes)),
        Some(_) => serde_json::to_writer(out, &Json(value)).map_err(io::Error::from),
    }
}

/// Converts a value to text of at most this length, without memory for what is truncated.
pub(crate) fn text_within(value: Option<&AnyValue>, max_bytes: usize) -> String {
    text_prefix(value, max_bytes).0
}

/// As [`text_within`], with the length of the whole text.
pub(crate) fn text_prefix(value: Option<&AnyValue>, max_bytes: usize) -> (String, usize) {
    let mut prefix = Prefix { bytes: Vec::new(), max_bytes, len: 0 };
    // Cannot fail: a prefix takes all bytes.
    let _ = write_text(value, &mut prefix);
    let known = prefix.bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    (known.to_owned(), prefix.len)
}

/// A writer that keeps the first bytes, and counts all.
struct Prefix {
    bytes: Vec<u8>,
    max_bytes: usize,
    len: usize,
}

impl io::Write for Prefix {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let free = self.max_bytes.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..free).unwrap_or(bytes));
        self.len += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};

    fn object(members: &[(&str, i64)]) -> Any {
        let of = |(key, number): &(&str, i64)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue { value: Some(Any::IntValue(*number)) }),
            key_strindex: 0,
        };
        Any::KvlistValue(KeyValueList { values: members.iter().map(of).collect() })
    }

    #[test]
    fn values_are_converted_to_json() {
        let any = |value| AnyValue { value: Some(value) };
        for (value, expected) in [
            (Any::StringValue("a\"b".to_owned()), r#""a\"b""#),
            (Any::BoolValue(true), "true"),
            (Any::IntValue(i64::MIN), "-9223372036854775808"),
            (Any::DoubleValue(1.5), "1.5"),
            (Any::DoubleValue(f64::NAN), r#""NaN""#),
            (Any::DoubleValue(f64::NEG_INFINITY), r#""-Infinity""#),
            (Any::DoubleValue(f64::INFINITY), r#""Infinity""#),
            (Any::BytesValue(vec![0, 255]), r#""AP8=""#),
            (
                Any::ArrayValue(ArrayValue { values: vec![any(Any::IntValue(1)), AnyValue { value: None }] }),
                "[1,null]",
            ),
            (object(&[("a", 1), ("b", 2), ("a", 3)]), r#"{"b":2,"a":3}"#),
            (object(&[]), "{}"),
        ] {
            let value = any(value);
            assert_eq!(serde_json::to_string(&Json(Some(&value))).unwrap(), expected);
            assert_eq!(text(Some(&value)), expected.trim_matches('"').replace("\\\"", "\""));
        }
        assert_eq!(
            (serde_json::to_string(&Json(None)).unwrap(), text(None)),
            ("null".to_owned(), String::new())
        );
    }
}
