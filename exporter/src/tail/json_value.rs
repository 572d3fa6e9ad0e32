//! A JSON object as the attributes of OTLP, with a bounded number of values and a bounded depth.

use std::collections::HashMap;
use std::fmt;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value takes about 100 bytes in memory, however short its text is.
pub(super) const MAX_VALUES: usize = 4096;

/// The depth of the object itself is 1. With more, receivers reject the record: an object is three messages of protobuf, one
/// in the other, and this exporter as a receiver accepts 64.
pub(super) const MAX_DEPTH: usize = 20;

/// Reads a JSON object. Of members with the same name, the last counts. Returns `None` if the text is not a JSON object,
/// has too many values, or is too deep.
pub(super) fn members(json: &str) -> Option<Vec<KeyValue>> {
    let mut left = MAX_VALUES;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let seed = Seed { left: &mut left, depth: 0 };
    let value = seed.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match value.value? {
        Any::KvlistValue(list) => Some(list.values),
        _ => None,
    }
}

/// A value at a depth.
struct Seed<'a> {
    /// The number of further values.
    left: &'a mut usize,
    depth: usize,
}

impl Seed<'_> {
    fn inner(&mut self) -> Seed<'_> {
        Seed { left: self.left, depth: self.depth + 1 }
    }

    /// Checks the depth of an object or an array.
    fn check_depth<E: Error>(&self) -> Result<(), E> {
        if self.depth < MAX_DEPTH { Ok(()) } else { Err(E::custom("too deep")) }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = AnyValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AnyValue, D::Error> {
        *self.left = self.left.checked_sub(1).ok_or_else(|| D::Error::custom("too many values"))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = AnyValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<AnyValue, E> {
        Ok(any(Any::BoolValue(truth)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<AnyValue, E> {
        Ok(any(Any::IntValue(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<AnyValue, E> {
        // A double would have other digits.
        Ok(any(i64::try_from(number).map_or_else(|_| Any::StringValue(number.to_string()), Any::IntValue)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<AnyValue, E> {
        Ok(any(Any::DoubleValue(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<AnyValue, E> {
        Ok(any(Any::StringValue(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<AnyValue, E> {
        Ok(any(Any::StringValue(text)))
    }

    fn visit_unit<E>(self) -> Result<AnyValue, E> {
        Ok(AnyValue { value: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<AnyValue, A::Error> {
        self.check_depth()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self.inner())? {
            values.push(value);
        }
        Ok(any(Any::ArrayValue(ArrayValue { values })))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<AnyValue, A::Error> {
        self.check_depth()?;
        let mut values = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = Some(map.next_value_seed(self.inner())?);
            values.push(KeyValue { key, value, key_strindex: 0 });
        }
        keep_last(&mut values);
        Ok(any(Any::KvlistValue(KeyValueList { values })))
    }
}

fn any(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
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
            (r#"{"n":1e999}"#, None),
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
