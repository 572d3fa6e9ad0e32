//! [`KeyValue`]: what a record of `log` says beside its text.

use logtracer_core::line::{MAX_NAME_BYTES, MAX_TEXT_BYTES, Value};

use super::said::write_value;

/// A name and a value; kept while the record goes through `tracing`, which knows only fields that are named in the
/// source.
#[derive(Debug)]
pub(super) struct KeyValue {
    pub(super) name: String,
    value: Kept,
}

#[derive(Debug)]
enum Kept {
    Text(String),
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
        let kept = match value {
            Value::I64(value) => Kept::I64(value),
            Value::U64(value) => Kept::U64(value),
            Value::I128(value) => Kept::I128(value),
            Value::U128(value) => Kept::U128(value),
            Value::F64(value) => Kept::F64(value),
            Value::Bool(value) => Kept::Bool(value),
            Value::Json(_) => Kept::Null,
            text => Kept::Text(text_of(MAX_TEXT_BYTES, text)),
        };
        Self { name: text_of(MAX_NAME_BYTES, Value::Str(name)), value: kept }
    }

    pub(super) fn value(&self) -> Value<'_> {
        match &self.value {
            Kept::Text(text) => Value::Str(text),
            Kept::I64(value) => Value::I64(*value),
            Kept::U64(value) => Value::U64(*value),
            Kept::I128(value) => Value::I128(*value),
            Kept::U128(value) => Value::U128(*value),
            Kept::F64(value) => Value::F64(*value),
            Kept::Bool(value) => Value::Bool(*value),
            Kept::Null => Value::Json("null"),
        }
    }
}

fn text_of(max: usize, value: Value<'_>) -> String {
    let mut text = String::new();
    write_value(&mut text, max, value);
    text
}
