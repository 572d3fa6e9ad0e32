//! The body and the attributes of a record as the fields of `jsonPayload`, of bounded size.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Value};

use super::fit::MAX_ENTRY_BYTES;
use crate::otlp::any_value;
use crate::truncate::truncate;

/// The bytes of names, numbers and punctuation in one payload. Texts are truncated later, by `fit`.
const STRUCTURE_BYTES: usize = MAX_ENTRY_BYTES / 4;

/// A value takes at least about this many bytes in Cloud Logging.
const VALUE_BYTES: usize = 16;

/// Longer names are truncated.
const MAX_NAME_BYTES: usize = 256;

/// Before the name of an attribute that the payload has already.
const PREFIX: &str = "fields.";

/// Deeper values become texts.
const MAX_DEPTH: usize = 32;

/// Integers beyond are texts: a number of `jsonPayload` is a double.
const MAX_EXACT: u64 = 1 << 53;

/// The fields of one payload.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) fields: Map<String, Value>,
    /// The bytes that are left for names, numbers and punctuation.
    left: usize,
    /// Something was left out or truncated.
    pub(super) is_cut: bool,
}

impl Payload {
    /// A body that is a map has the fields of the payload. Any other is its `message`: a text of JSON, too, because a user may
    /// have written it.
    pub(super) fn of_body(body: Option<&AnyValue>) -> Self {
        let mut payload = Self { fields: Map::new(), left: STRUCTURE_BYTES, is_cut: false };
        match body.and_then(|body| body.value.as_ref()) {
            None => {}
            Some(Any::KvlistValue(list)) => payload.fields = payload.object(&list.values, 1),
            Some(_) => payload.add("message", body),
        }
        payload
    }

    /// Adds an attribute. If the body has a field of this name, the attribute becomes `fields.NAME`.
    pub(super) fn add(&mut self, name: &str, value: Option<&AnyValue>) {
        let Some(mut name) = self.name(name) else { return };
        while self.fields.contains_key(&name) {
            if name.len() >= 2 * MAX_NAME_BYTES || self.charge(PREFIX.len()).is_none() {
                self.is_cut = true;
                return;
            }
            name.insert_str(0, PREFIX);
        }
        if let Some(value) = self.value(value, 1) {
            self.fields.insert(name, value);
        }
    }

    fn object(&mut self, members: &[KeyValue], depth: usize) -> Map<String, Value> {
        let mut object = Map::new();
        for member in members {
            let Some(name) = self.name(&member.key) else { break };
            let Some(value) = self.value(member.value.as_ref(), depth) else { break };
            object.insert(name, value);
        }
        object
    }

    fn value(&mut self, value: Option<&AnyValue>, depth: usize) -> Option<Value> {
        self.charge(VALUE_BYTES)?;
        let Some(any) = value.and_then(|value| value.value.as_ref()) else { return Some(Value::Null) };
        Some(match any {
            Any::BoolValue(truth) => Value::Bool(*truth),
            Any::IntValue(number) if number.unsigned_abs() <= MAX_EXACT => Value::from(*number),
            Any::DoubleValue(number) if number.is_finite() => Value::from(*number),
            Any::ArrayValue(array) if depth < MAX_DEPTH => Value::Array(
                array.values.iter().map_while(|item| self.value(Some(item), depth + 1)).collect(),
            ),
            Any::KvlistValue(list) if depth < MAX_DEPTH => {
                Value::Object(self.object(&list.values, depth + 1))
            }
            _ => self.text(value),
        })
    }

    fn text(&mut self, value: Option<&AnyValue>) -> Value {
        let (text, len) = any_value::text_prefix(value, MAX_ENTRY_BYTES);
        self.is_cut |= text.len() < len;
        Value::String(text)
    }

    /// Returns the name of a field, if there is room for it. A character can take six bytes in JSON.
    fn name(&mut self, name: &str) -> Option<String> {
        self.is_cut |= name.len() > MAX_NAME_BYTES;
        let name = truncate(name, MAX_NAME_BYTES);
        let escaped = name.bytes().filter(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')).count();
        self.charge(name.len() + 5 * escaped)?;
        Some(name.to_owned())
    }

    fn charge(&mut self, bytes: usize) -> Option<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Some(())
            }
            None => {
                self.is_cut = true;
                self.left = 0;
                None
            }
        }
    }
}
