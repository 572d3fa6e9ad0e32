//! [`Value`]: what a field of a line can hold.

use core::fmt;

use super::keys::{Keys, MOVED_PREFIX};
use super::{Format, MAX_NAME_BYTES, MAX_TEXT_BYTES, json};

/// The value of a field.
///
/// ```
/// use logtracer_core::line::{Format, Line, Value};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// line.field("user", Value::Str("ada"))
///     .field("ratio", Value::F64(f64::NAN))
///     .field("list", Value::Fmt(format_args!("{:?}", [1, 2])))
///     .field("severity", Value::Bool(true)); // cannot overwrite the line's own
/// line.finish();
/// assert_eq!(out, br#"{"user":"ada","ratio":"NaN","list":"[1, 2]","fields.severity":true}"#);
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A text.
    Str(&'a str),
    /// A text that may not be UTF-8.
    Bytes(&'a [u8]),
    /// A number. Cloud Logging keeps numbers as doubles, exact up to 2⁵³; whoever logs larger ids logs them as
    /// texts.
    I64(i64),
    /// A number, as above.
    U64(u64),
    /// A number; a string when it does not fit in 64 bits, which few readers of JSON take.
    I128(i128),
    /// A number, as above.
    U128(u128),
    /// A number; the three that JSON does not know become the strings `NaN`, `Infinity` and `-Infinity`, as in
    /// protobuf's JSON.
    F64(f64),
    /// A truth value.
    Bool(bool),
    /// Whatever can be formatted, as a text: `Value::Fmt(format_args!("{thing:?}"))`.
    Fmt(fmt::Arguments<'a>),
    /// JSON that is rendered already. That it is valid is the caller's word; line breaks in it become spaces.
    Json(&'a str),
}

/// Writes one field, `"name":value`, for [`Line::rendered_field`](super::Line::rendered_field) to add to many lines
/// of this format.
///
/// ```
/// use logtracer_core::line::{Format, Value, render_field};
///
/// let mut out = Vec::new();
/// render_field(&mut out, Format::Local, "time", Value::I64(-1)); // a key of the line's own
/// assert_eq!(out, br#""fields.time":-1"#);
/// ```
pub fn render_field(out: &mut Vec<u8>, format: Format, name: &str, value: Value<'_>) {
    write_field(out, Keys::of(format).is_reserved(name), name, value, MAX_TEXT_BYTES);
}

/// Writes a field; with `is_taken` under another name.
pub(super) fn write_field(out: &mut Vec<u8>, is_taken: bool, name: &str, value: Value<'_>, room: usize) {
    json::text(out, MAX_NAME_BYTES, |text| {
        if is_taken {
            text.push(MOVED_PREFIX);
        }
        text.push(name);
    });
    out.push(b':');
    value.write(out, room.min(MAX_TEXT_BYTES));
}

impl Value<'_> {
    /// What the value needs in any case, because it cannot be cut.
    pub(super) fn min_len(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            _ => 0,
        }
    }

    fn write(self, out: &mut Vec<u8>, max: usize) {
        match self {
            Self::Str(value) => json::text(out, max, |text| text.push(value)),
            Self::Bytes(value) => json::text(out, max, |text| text.push_bytes(value)),
            Self::U64(value) => json::integer(out, value),
            Self::I64(value) => {
                if value < 0 {
                    out.push(b'-');
                }
                json::integer(out, value.unsigned_abs());
            }
            Self::I128(value) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => Self::U64(value).write(out, max),
                (_, Ok(value)) => Self::I64(value).write(out, max),
                _ => json::formatted(out, format_args!("\"{value}\"")),
            },
            Self::U128(value) => match u64::try_from(value) {
                Ok(value) => json::integer(out, value),
                Err(_) => json::formatted(out, format_args!("\"{value}\"")),
            },
            // `Debug` writes the shortest digits that read back as the same number, with an exponent if need be.
            Self::F64(value) if value.is_finite() => json::formatted(out, format_args!("{value:?}")),
            Self::F64(value) if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
            Self::F64(value) if value > 0.0 => out.extend_from_slice(b"\"Infinity\""),
            Self::F64(_) => out.extend_from_slice(b"\"-Infinity\""),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            // A `Display` or `Debug` of the caller's may claim to fail; what it wrote before stays.
            Self::Fmt(value) => json::text(out, max, |text| {
                let _ = fmt::Write::write_fmt(text, value);
            }),
            Self::Json(value) => {
                out.extend(value.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
            }
        }
    }
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
