//! Strings and values within Google's limits (<https://cloud.google.com/trace/docs/quotas>).

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::model::{Attributes, Text, Value};
use crate::otlp::any_value;
use crate::truncate::truncate;

/// The limits that depend on the version of the API. The sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) display_name: usize,
    pub(super) key: usize,
    pub(super) value: usize,
    pub(super) annotations: usize,
    pub(super) description: usize,
}

/// The limits since August 2026 (<https://github.com/GoogleCloudPlatform/opentelemetry-operations-go/pull/1186>).
pub(super) const CURRENT: Limits =
    Limits { display_name: 1024, key: 512, value: 64 << 10, annotations: 256, description: 1024 };

/// The documented limits, which every version of the API accepts.
pub(super) const DOCUMENTED: Limits =
    Limits { display_name: 128, key: 128, value: 256, annotations: 32, description: 256 };

/// Truncates a string at a character, and reports the number of dropped bytes.
pub(super) fn truncated(text: &str, max_bytes: usize) -> Text {
    of_prefix(text, text.len(), max_bytes)
}

/// Truncates a text of `len` bytes, of which this prefix is known.
fn of_prefix(prefix: &str, len: usize, max_bytes: usize) -> Text {
    let kept = truncate(prefix, max_bytes);
    let dropped = u32::try_from(len - kept.len()).unwrap_or(u32::MAX);
    Text { value: kept.to_owned(), truncated_byte_count: dropped.min(i32::MAX as u32) }
}

/// Converts a value to text, without memory for what is truncated.
fn text(value: Option<&AnyValue>, max_bytes: usize) -> Text {
    let (known, len) = any_value::text_prefix(value, max_bytes);
    of_prefix(&known, len, max_bytes)
}

/// Converts a value. Anything but a string, an integer or a boolean becomes a string.
pub(super) fn value(value: Option<&AnyValue>, limits: &Limits) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::IntValue(number)) => Value::Int(*number),
        Some(Any::BoolValue(truth)) => Value::Bool(*truth),
        _ => Value::Text(text(value, limits.value)),
    }
}

/// Returns true if Cloud Trace accepts this key.
pub(super) fn is_key(key: &str, limits: &Limits) -> bool {
    !key.is_empty() && key.len() <= limits.key
}

/// Returns the first attributes that fit.
pub(super) fn attributes<'a>(
    given: impl Iterator<Item = &'a KeyValue>,
    max: usize,
    dropped_before: u32,
    limits: &Limits,
) -> Attributes {
    let mut attributes =
        Attributes { attribute_map: Default::default(), dropped_attributes_count: dropped_before };
    for attribute in given {
        let value = || value(attribute.value.as_ref(), limits);
        if let Some(known) = attributes.attribute_map.get_mut(&attribute.key) {
            // The last of equal keys counts.
            *known = value();
        } else if attributes.attribute_map.len() < max && is_key(&attribute.key, limits) {
            attributes.attribute_map.insert(attribute.key.clone(), value());
        } else {
            attributes.dropped_attributes_count = attributes.dropped_attributes_count.saturating_add(1);
        }
    }
    attributes.dropped_attributes_count = attributes.dropped_attributes_count.min(i32::MAX as u32);
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::ArrayValue;

    #[test]
    fn truncated_strings_report_the_dropped_bytes() {
        for (given, kept, dropped) in
            [("", "", 0), ("äöü", "äöü", 0), ("äöüa", "äöü", 1), ("aäöü", "aäö", 2), ("😀😀", "😀", 4)]
        {
            let expected = Text { value: kept.to_owned(), truncated_byte_count: dropped };
            assert_eq!(truncated(given, 6), expected, "{given}");
        }
    }

    #[test]
    fn a_count_stays_within_the_range_of_the_api() {
        let none = KeyValue::default();
        for (before, expected) in [(0, 1), (i32::MAX as u32, i32::MAX as u32), (u32::MAX, i32::MAX as u32)] {
            let attributes = attributes(std::iter::once(&none), 1, before, &CURRENT);
            assert_eq!(attributes.dropped_attributes_count, expected, "after {before}");
        }
    }

    #[test]
    fn values_are_strings_integers_and_booleans() {
        let any = |value| AnyValue { value: Some(value) };
        let text = |text: &str| Value::Text(Text { value: text.to_owned(), truncated_byte_count: 0 });
        for (given, expected) in [
            (Any::StringValue("a".to_owned()), text("a")),
            (Any::IntValue(i64::MIN), Value::Int(i64::MIN)),
            (Any::BoolValue(false), Value::Bool(false)),
            (Any::DoubleValue(0.5), text("0.5")),
            (Any::BytesValue(vec![1, 255]), text("Af8=")),
        ] {
            assert_eq!(value(Some(&any(given)), &CURRENT), expected);
        }
        assert_eq!(value(None, &CURRENT), text(""));
        let list = ArrayValue { values: vec![any(Any::StringValue("ä".repeat(300))); 3] };
        for (long, kept, dropped) in [
            (Any::StringValue("ä".repeat(300)), 256, 344),
            (Any::ArrayValue(list), 256, 1810 - 256),
            (Any::BytesValue(vec![1; 9000]), 256, 12_000 - 256),
        ] {
            let Value::Text(long) = value(Some(&any(long)), &DOCUMENTED) else { panic!("a text") };
            assert_eq!((long.value.len(), long.truncated_byte_count), (kept, dropped));
        }
    }

    #[test]
    fn keys_that_are_too_long_are_dropped_and_counted() {
        let attribute = |key: String| KeyValue { key, value: None, key_strindex: 0 };
        let given = [
            attribute("k".repeat(128)),
            attribute("k".repeat(129)),
            attribute(String::new()),
            attribute("b".to_owned()),
        ];
        let attributes = attributes(given.iter(), 1, 7, &DOCUMENTED);
        assert_eq!((attributes.attribute_map.len(), attributes.dropped_attributes_count), (1, 10));
    }
}
