//! Strings and values within Google's limits (<https://cloud.google.com/trace/docs/quotas>).

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::model::{Attributes, Text, Value};
use crate::otlp::any_value;
use crate::truncate::truncate;

/// In bytes.
pub(super) const MAX_DISPLAY_NAME: usize = 128;
pub(super) const MAX_KEY: usize = 128;
pub(super) const MAX_VALUE: usize = 256;

/// Truncates a string at a character, and reports the number of dropped bytes.
pub(super) fn truncated(text: &str, max_bytes: usize) -> Text {
    let kept = truncate(text, max_bytes);
    let dropped = u32::try_from(text.len() - kept.len()).unwrap_or(u32::MAX);
    Text { value: kept.to_owned(), truncated_byte_count: dropped.min(i32::MAX as u32) }
}

/// Converts a value. Anything but a string, an integer or a boolean becomes a string.
pub(super) fn value(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::IntValue(number)) => Value::Int(*number),
        Some(Any::BoolValue(truth)) => Value::Bool(*truth),
        Some(Any::StringValue(text)) => Value::Text(truncated(text, MAX_VALUE)),
        _ => Value::Text(truncated(&any_value::text(value), MAX_VALUE)),
    }
}

/// Returns true if Cloud Trace accepts this key.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY
}

/// Returns the first attributes that fit.
pub(super) fn attributes<'a>(
    given: impl Iterator<Item = &'a KeyValue>,
    max: usize,
    dropped_before: u32,
) -> Attributes {
    let mut attributes =
        Attributes { attribute_map: Default::default(), dropped_attributes_count: dropped_before };
    for attribute in given {
        if attributes.attribute_map.len() < max && is_key(&attribute.key) {
            attributes
                .attribute_map
                .entry(attribute.key.clone())
                .or_insert_with(|| value(attribute.value.as_ref()));
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
            let attributes = attributes(std::iter::once(&none), 1, before);
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
            (Any::BytesValue(vec![1, 255]), text("01ff")),
        ] {
            assert_eq!(value(Some(&any(given))), expected);
        }
        assert_eq!(value(None), text(""));
        let Value::Text(long) = value(Some(&any(Any::StringValue("x".repeat(300))))) else {
            panic!("a text")
        };
        assert_eq!((long.value.len(), long.truncated_byte_count), (256, 44));
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
        let attributes = attributes(given.iter(), 1, 7);
        assert_eq!((attributes.attribute_map.len(), attributes.dropped_attributes_count), (1, 10));
    }
}
