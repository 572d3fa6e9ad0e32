//! [`KeyValue`]: a key-value of a record of `log`.

use logtracer_core::line::{MAX_NAME_BYTES, MAX_TEXT_BYTES, Value};

use super::field_value::write_bounded_text;

/// A name and an owned value.
///
/// It is kept outside the event while the record goes through `tracing`, whose fields must be named in the source code.
#[derive(Debug)]
pub(super) struct KeyValue {
    pub(super) name: String,
    value: OwnedValue,
}

#[derive(Debug)]
enum OwnedValue {
    /// A text, and how many bytes of it are cut.
    Text(String, usize),
    Json(String),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Bool(bool),
    Null,
}

impl KeyValue {
    pub(super) fn new(name: &str, value: Value<'_>) -> Self {
        let value = match value {
            Value::I64(value) => OwnedValue::I64(value),
            Value::U64(value) => OwnedValue::U64(value),
            Value::I128(value) => OwnedValue::I128(value),
            Value::U128(value) => OwnedValue::U128(value),
            Value::F64(value) => OwnedValue::F64(value),
            Value::Bool(value) => OwnedValue::Bool(value),
            Value::Json("null") => OwnedValue::Null,
            Value::Json(json) => OwnedValue::Json(json.to_owned()),
            text => {
                let (text, cut_bytes) = bounded_text(MAX_TEXT_BYTES, text);
                OwnedValue::Text(text, cut_bytes)
            }
        };
        Self { name: bounded_text(MAX_NAME_BYTES, Value::Str(name)).0, value }
    }

    /// Returns how many bytes of the value are cut already.
    pub(super) fn cut_bytes(&self) -> usize {
        match self.value {
            OwnedValue::Text(_, cut_bytes) => cut_bytes,
            _ => 0,
        }
    }

    pub(super) fn value(&self) -> Value<'_> {
        match &self.value {
            OwnedValue::Text(text, _) => Value::Str(text),
            OwnedValue::Json(json) => Value::Json(json),
            OwnedValue::I64(value) => Value::I64(*value),
            OwnedValue::U64(value) => Value::U64(*value),
            OwnedValue::I128(value) => Value::I128(*value),
            OwnedValue::U128(value) => Value::U128(*value),
            OwnedValue::F64(value) => Value::F64(*value),
            OwnedValue::Bool(value) => Value::Bool(*value),
            OwnedValue::Null => Value::Json("null"),
        }
    }
}

fn bounded_text(max_bytes: usize, value: Value<'_>) -> (String, usize) {
    let mut text = String::new();
    let cut_bytes = write_bounded_text(&mut text, max_bytes, value);
    (text, cut_bytes)
}
