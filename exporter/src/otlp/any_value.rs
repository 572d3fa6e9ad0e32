//! Converting attribute values of OTLP to JSON and to text.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Value};

/// Converts attributes to a JSON object.
pub(crate) fn object(attributes: &[KeyValue]) -> Value {
    let members = attributes.iter().map(|attribute| (attribute.key.clone(), json(attribute.value.as_ref())));
    Value::Object(members.collect::<Map<_, _>>())
}

/// Converts a value to JSON. Bytes become hexadecimal digits; NaN and the infinities become strings.
pub(crate) fn json(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        None => Value::Null,
        Some(Any::StringValue(text)) => text.as_str().into(),
        Some(Any::BoolValue(boolean)) => (*boolean).into(),
        Some(Any::IntValue(number)) => (*number).into(),
        Some(Any::DoubleValue(number)) => match serde_json::Number::from_f64(*number) {
            Some(number) => Value::Number(number),
            None => number.to_string().into(),
        },
        Some(Any::ArrayValue(array)) => array.values.iter().map(|value| json(Some(value))).collect(),
        Some(Any::KvlistValue(list)) => object(&list.values),
        Some(Any::BytesValue(bytes)) => hex::encode(bytes).into(),
        Some(Any::StringValueStrindex(index)) => (*index).into(),
    }
}

/// Converts a value to text: a string without quotes, anything else as JSON.
pub(crate) fn text(value: Option<&AnyValue>) -> String {
    match json(value) {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::ArrayValue;

    #[test]
    fn values_are_converted_to_json() {
        let any = |value| AnyValue { value: Some(value) };
        for (value, expected) in [
            (Any::StringValue("a\"b".to_owned()), r#""a\"b""#),
            (Any::BoolValue(true), "true"),
            (Any::IntValue(i64::MIN), "-9223372036854775808"),
            (Any::DoubleValue(1.5), "1.5"),
            (Any::DoubleValue(f64::NAN), r#""NaN""#),
            (Any::DoubleValue(f64::NEG_INFINITY), r#""-inf""#),
            (Any::BytesValue(vec![0, 255]), r#""00ff""#),
            (
                Any::ArrayValue(ArrayValue { values: vec![any(Any::IntValue(1)), AnyValue { value: None }] }),
                "[1,null]",
            ),
        ] {
            assert_eq!(json(Some(&any(value))).to_string(), expected);
        }
        assert_eq!(json(None), Value::Null);
    }
}
