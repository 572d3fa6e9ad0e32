//! A JSON object as the attributes of OTLP, with a bounded number of values and a bounded depth.
//!
//! Numbers keep their digits: an integer beyond 64 bits, or a number beyond the range of a double, is a text
//! (<https://opentelemetry.io/docs/specs/otel/common/#mapping-arbitrary-data-to-otlp-anyvalue>).

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

use super::{Reader, Token};

/// A value takes about 100 bytes in memory, however short its text is.
const MAX_VALUES: usize = 4096;

/// The depth of the object itself is 1. With more, receivers reject the record: an object is three messages of protobuf, one
/// in the other, and this exporter as a receiver accepts 64.
pub(crate) const MAX_DEPTH: usize = 20;

/// Reads a JSON object. Of members with the same name, the last counts. Returns `None` if the text is not a JSON object,
/// has too many values, or is too deep.
pub(crate) fn members(json: &str) -> Option<Vec<KeyValue>> {
    let mut values = Values { reader: Reader::new(json).ok()?, left: MAX_VALUES };
    match values.next(0)?.value? {
        Any::KvlistValue(list) => Some(list.values),
        _ => None,
    }
}

/// Converts a number as it is written in JSON.
pub(crate) fn number(text: &str) -> Any {
    if let Ok(integer) = text.parse() {
        return Any::IntValue(integer);
    }
    let is_integer = !text.contains(['.', 'e', 'E']);
    match text.parse::<f64>() {
        Ok(double) if !is_integer && double.is_finite() => Any::DoubleValue(double),
        _ => Any::StringValue(text.to_owned()),
    }
}

struct Values<'a> {
    reader: Reader<'a>,
    /// The number of further values.
    left: usize,
}

impl Values<'_> {
    /// Reads the next value. Returns `None` if there are too many, or if they are too deep.
    fn next(&mut self, depth: usize) -> Option<AnyValue> {
        self.left = self.left.checked_sub(1)?;
        let value = match self.reader.token() {
            Token::Null => return Some(AnyValue { value: None }),
            Token::Bool(truth) => Any::BoolValue(truth),
            Token::Number(text) => number(text),
            Token::Text(text) => Any::StringValue(text.text().into_owned()),
            Token::Object | Token::Array if depth >= MAX_DEPTH => return None,
            Token::Object => {
                let mut values = Vec::new();
                while let Some(key) = self.reader.key() {
                    let value = Some(self.next(depth + 1)?);
                    values.push(KeyValue { key: key.text().into_owned(), value, key_strindex: 0 });
                }
                keep_last(&mut values);
                Any::KvlistValue(KeyValueList { values })
            }
            Token::Array => {
                let mut values = Vec::new();
                while self.reader.has_element() {
                    values.push(self.next(depth + 1)?);
                }
                Any::ArrayValue(ArrayValue { values })
            }
        };
        Some(AnyValue { value: Some(value) })
    }
}

/// Removes the members that are followed by one with the same name: the names of attributes are unique.
fn keep_last(members: &mut Vec<KeyValue>) {
    let last: HashMap<&str, usize> =
        members.iter().enumerate().map(|(index, member)| (member.key.as_str(), index)).collect();
    if last.len() == members.len() {
        return;
    }
    let is_last: Vec<bool> = members
        .iter()
        .enumerate()
        .map(|(index, member)| last.get(member.key.as_str()) == Some(&index))
        .collect();
    let mut is_last = is_last.into_iter();
    members.retain(|_| is_last.next().unwrap_or(false));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::any_value::JsonObject;

    #[track_caller]
    fn check(json: &str, expected: Option<&str>) {
        let members = members(json);
        let got = members.map(|members| serde_json::to_string(&JsonObject(&members)).unwrap());
        assert_eq!(got.as_deref(), expected, "{}", json.get(..80).unwrap_or(json));
    }

    #[test]
    fn values_keep_their_types() {
        for (json, expected) in [
            ("{}", Some("{}")),
            (
                r#"{"a":null,"b":true,"c":-7,"d":1.5,"e":"é\n","f":[1,[]],"g":{"h":{}}}"#,
                Some(r#"{"a":null,"b":true,"c":-7,"d":1.5,"e":"é\n","f":[1,[]],"g":{"h":{}}}"#),
            ),
            (r#"{"n":18446744073709551615}"#, Some(r#"{"n":"18446744073709551615"}"#)),
            (r#"{"n":9223372036854775807}"#, Some(r#"{"n":9223372036854775807}"#)),
            // The last of equal names counts.
            (r#"{"a":1,"b":2,"a":3,"c":{"d":1,"d":2}}"#, Some(r#"{"b":2,"a":3,"c":{"d":2}}"#)),
            ("[]", None),
            ("{} {}", None),
            (r#"{"n":1e999,"m":-1E400,"x":1}"#, Some(r#"{"n":"1e999","m":"-1E400","x":1}"#)),
            (
                r#"{"n":[-9223372036854775809,123456789012345678901234567890]}"#,
                Some(r#"{"n":["-9223372036854775809","123456789012345678901234567890"]}"#),
            ),
            (r#"{"n":[0.1,1e3,-0.0,1E-400]}"#, Some(r#"{"n":[0.1,1000.0,-0.0,0.0]}"#)),
            (r#"{"a":"cut \ud83d"}"#, Some("{\"a\":\"cut \u{fffd}\"}")),
            ("", None),
        ] {
            check(json, expected);
        }
    }

    #[test]
    fn the_number_of_values_and_the_depth_are_bounded() {
        let nested = |depth: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(depth - 1), "}".repeat(depth - 1));
        let whole = nested(MAX_DEPTH);
        check(&whole, Some(&whole));
        check(&nested(MAX_DEPTH + 1), None);
        check(&nested(100_000), None);
        let wide = |values: usize| format!(r#"{{"a":[{}]}}"#, vec!["1"; values].join(","));
        let whole = wide(MAX_VALUES - 2);
        check(&whole, Some(&whole));
        check(&wide(MAX_VALUES - 1), None);
    }
}
