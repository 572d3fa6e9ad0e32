//! [`RedactedText`]: a message in one line of protobuf's text format, without its redacted fields.

use std::fmt;

use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MapKey, Value};

/// Displays a message with `REDACTED` for the values of some fields.
pub(super) struct RedactedText<'a> {
    message: &'a DynamicMessage,
    /// Paths such as `buyer.email`.
    fields: &'a [String],
}

impl<'a> RedactedText<'a> {
    pub(super) fn new(message: &'a DynamicMessage, fields: &'a [String]) -> Self {
        Self { message, fields }
    }
}

impl fmt::Display for RedactedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        write_message(f, self.message, &fields)
    }
}

/// Fields without a descriptor are not written: they cannot be redacted by name.
fn write_message(f: &mut fmt::Formatter<'_>, message: &DynamicMessage, redacted: &[&str]) -> fmt::Result {
    for (index, (field, value)) in message.fields().enumerate() {
        if index > 0 {
            f.write_str(" ")?;
        }
        let name = field.name();
        f.write_str(name)?;
        if redacted.contains(&name) {
            f.write_str(": REDACTED")?;
            continue;
        }
        let inner: Vec<&str> = redacted
            .iter()
            .filter_map(|path| path.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')))
            .collect();
        if !matches!(value, Value::Message(_)) {
            f.write_str(":")?;
        }
        f.write_str(" ")?;
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        let names = if let Kind::Enum(names) = kind { Some(names) } else { None };
        write_value(f, value, names.as_ref(), &inner)?;
    }
    Ok(())
}

fn write_value(
    f: &mut fmt::Formatter<'_>,
    value: &Value,
    names: Option<&EnumDescriptor>,
    redacted: &[&str],
) -> fmt::Result {
    match value {
        Value::Bool(value) => write!(f, "{value}"),
        Value::I32(value) => write!(f, "{value}"),
        Value::I64(value) => write!(f, "{value}"),
        Value::U32(value) => write!(f, "{value}"),
        Value::U64(value) => write!(f, "{value}"),
        Value::F32(value) => write!(f, "{value}"),
        Value::F64(value) => write!(f, "{value}"),
        Value::String(value) => write!(f, "{value:?}"),
        Value::Bytes(value) => write!(f, "({} bytes)", value.len()),
        Value::EnumNumber(number) => match names.and_then(|names| names.get_value(*number)) {
            Some(value) => f.write_str(value.name()),
            None => write!(f, "{number}"),
        },
        Value::Message(message) => {
            f.write_str("{ ")?;
            write_message(f, message, redacted)?;
            f.write_str(" }")
        }
        Value::List(values) => {
            f.write_str("[")?;
            for (index, value) in values.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                write_value(f, value, names, redacted)?;
            }
            f.write_str("]")
        }
        Value::Map(values) => {
            // Sorted, so that equal messages give equal lines.
            let mut entries: Vec<_> = values.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            f.write_str("{ ")?;
            for (index, (key, value)) in entries.into_iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                write_key(f, key)?;
                f.write_str(": ")?;
                write_value(f, value, names, redacted)?;
            }
            f.write_str(" }")
        }
    }
}

fn write_key(f: &mut fmt::Formatter<'_>, key: &MapKey) -> fmt::Result {
    match key {
        MapKey::Bool(key) => write!(f, "{key}"),
        MapKey::I32(key) => write!(f, "{key}"),
        MapKey::I64(key) => write!(f, "{key}"),
        MapKey::U32(key) => write!(f, "{key}"),
        MapKey::U64(key) => write!(f, "{key}"),
        MapKey::String(key) => write!(f, "{key:?}"),
    }
}
