//! [`Value`]: the value of a field.

use core::fmt;

use super::json::MIN_TEXT_BYTES;
use super::keys::RESERVED_NAME_PREFIX;
use super::{MAX_NAME_BYTES, MAX_TEXT_BYTES, json};
use crate::decimal;

/// The value of a field of a line.
///
/// ```
/// use logtracer_core::line::{Format, Line, Value};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// line.field("user", Value::Str("ada"))
///     .field("ratio", Value::F64(f64::NAN))
///     .field("list", Value::Fmt(format_args!("{:?}", [1, 2])))
///     .field("severity", Value::Bool(true)); // a reserved name
/// line.finish();
/// assert_eq!(out, br#"{"user":"ada","ratio":"NaN","list":"[1, 2]","fields.severity":true}"#);
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A text.
    Str(&'a str),
    /// A text that may not be UTF-8.
    Bytes(&'a [u8]),
    /// A number. Cloud Logging stores numbers as doubles, which are exact up to 2⁵³:
    /// [`MarkedField`](super::MarkedField) writes larger ones as texts.
    I64(i64),
    /// A number, see [`Value::I64`].
    U64(u64),
    /// A number. It becomes a string if it does not fit in 64 bits, because few JSON parsers accept more.
    I128(i128),
    /// A number, see [`Value::I128`].
    U128(u128),
    /// A number. The values that JSON lacks become the strings `NaN`, `Infinity` and `-Infinity`, as in protobuf's
    /// JSON.
    F64(f64),
    /// A boolean.
    Bool(bool),
    /// A formatted text: `Value::Fmt(format_args!("{user:?}"))`.
    Fmt(fmt::Arguments<'a>),
    /// Rendered JSON. The caller ensures that it is valid. Line breaks in it become spaces.
    Json(&'a str),
}

/// Writes a field with a value of at most `max` bytes. A reserved name gets a prefix; `Line::field`
/// decides which are reserved.
pub(super) fn write_field(out: &mut Vec<u8>, is_reserved: bool, name: &str, value: Value<'_>, max: usize) {
    write_name(out, is_reserved, name);
    value.write(out, max.min(MAX_TEXT_BYTES));
}

/// Writes `"name":`. A reserved name gets a prefix.
pub(super) fn write_name(out: &mut Vec<u8>, is_reserved: bool, name: &str) {
    // Most names are short and have nothing to escape.
    if !is_reserved && name.len() <= MAX_NAME_BYTES - MIN_TEXT_BYTES && json::is_plain(name) {
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        return;
    }
    json::text(out, MAX_NAME_BYTES, |text| {
        if is_reserved {
            text.push(RESERVED_NAME_PREFIX);
        }
        text.push(name);
    });
    out.push(b':');
}

impl Value<'_> {
    /// Returns the length of a value that cannot be truncated, and 0 for the others.
    pub(super) fn min_len(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            _ => 0,
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>, max: usize) {
        match self {
            Self::Str(value) => json::text(out, max, |text| text.push(value)),
            Self::Bytes(value) => json::text(out, max, |text| text.push_bytes(value)),
            Self::U64(value) => decimal::write(out, value),
            Self::I64(value) => {
                if value < 0 {
                    out.push(b'-');
                }
                decimal::write(out, value.unsigned_abs());
            }
            Self::I128(value) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => Self::U64(value).write(out, max),
                (_, Ok(value)) => Self::I64(value).write(out, max),
                _ => json::formatted(out, format_args!("\"{value}\"")),
            },
            Self::U128(value) => match u64::try_from(value) {
                Ok(value) => decimal::write(out, value),
                Err(_) => json::formatted(out, format_args!("\"{value}\"")),
            },
            // `Debug` writes the fewest digits that parse to the same number, with an exponent if it is very small or
            // very large.
            Self::F64(value) if value.is_finite() => json::formatted(out, format_args!("{value:?}")),
            Self::F64(value) if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
            Self::F64(f64::INFINITY) => out.extend_from_slice(b"\"Infinity\""),
            Self::F64(_) => out.extend_from_slice(b"\"-Infinity\""),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            // The caller's `Display` or `Debug` may return an error. What it wrote before stays.
            Self::Fmt(value) => json::text(out, max, |text| {
                let _ = fmt::Write::write_fmt(text, value);
            }),
            Self::Json(value) => {
                out.extend(value.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
            }
        }
    }
}

/// Renders a value of at most `max_bytes`, for JSON that the caller builds.
///
/// ```
/// use logtracer_core::line::{Value, render_value};
///
/// let mut out = Vec::new();
/// render_value(&mut out, Value::Str("a \"quote\""), 100);
/// assert_eq!(out, br#""a \"quote\"""#);
/// ```
pub fn render_value(out: &mut Vec<u8>, value: Value<'_>, max_bytes: usize) {
    value.write(out, max_bytes);
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Str(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<fmt::Arguments<'a>> for Value<'a> {
    fn from(value: fmt::Arguments<'a>) -> Self {
        Self::Fmt(value)
    }
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Self::U64(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn values_alone() {
        for (value, expected) in [
            (Value::from("a \"quote\""), r#""a \"quote\"""#),
            (Value::from("more than fourteen"), r#""more than f…""#),
            (Value::from(b"caf\xe9".as_slice()), "\"caf\u{fffd}\""),
            (Value::from(format_args!("{:?}", Some(1))), r#""Some(1)""#),
            (Value::from(u64::MAX), "18446744073709551615"),
            (Value::from(-7i64), "-7"),
            (Value::from(0.25), "0.25"),
            (Value::from(f64::INFINITY), r#""Infinity""#),
            (Value::from(f64::MAX), "1.7976931348623157e308"),
            (Value::from(true), "true"),
            (Value::Json("[1,\n2]"), "[1, 2]"),
        ] {
            let mut out = Vec::new();
            render_value(&mut out, value, 14);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
