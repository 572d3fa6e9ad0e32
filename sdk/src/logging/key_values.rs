//! [`KeyValue`]: a field whose name is known only at run time, while the fields of an event must be named in the source
//! code: a key-value of a record of `log`, or a field that the application has added to a request.
//!
//! Such fields stay on the thread while their event goes through `tracing`.

use std::cell::Cell;
use std::rc::Rc;

use logtracer_core::line::{MAX_NAME_BYTES, MAX_TEXT_BYTES, Value};

use super::field_value::write_bounded_text;

/// The kind of event that has the fields. An event of another kind that is logged meanwhile does not get them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The event that a record of `log` becomes.
    #[cfg(feature = "log")]
    LogRecord,
    /// The line of a request.
    Request,
}

/// The fields of an event, and what they belong to.
type OwnedFields = Option<(Owner, Rc<[KeyValue]>)>;

thread_local! {
    static CURRENT: Cell<OwnedFields> = const { Cell::new(None) };
}

/// Returns the fields of the event that is being logged, if it is of this kind and has any.
pub(super) fn current(owner: Owner) -> Option<Rc<[KeyValue]>> {
    let read = |cell: &Cell<OwnedFields>| {
        let current = cell.take();
        cell.set(current.clone());
        current
    };
    let (kind, fields) = CURRENT.try_with(read).unwrap_or_default()?;
    (kind == owner).then_some(fields)
}

/// The guard of the fields of an event. It restores those of the outer event: formatting one may log another, and a
/// subscriber may panic.
pub(super) struct Attached(OwnedFields);

impl Attached {
    pub(super) fn new(owner: Owner, fields: Vec<KeyValue>) -> Self {
        let fields = (!fields.is_empty()).then(|| (owner, fields.into()));
        Self(CURRENT.try_with(|cell| cell.replace(fields)).unwrap_or_default())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|cell| cell.set(self.0.take()));
    }
}

/// A name and an owned value.
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
