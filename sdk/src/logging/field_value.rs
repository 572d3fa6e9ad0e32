//! Values of fields: from `tracing` to [`Value`], and from [`Value`] to plain text.

use std::error::Error;
use std::fmt::{self, Write};

use logtracer_core::line::Value;
use logtracer_core::truncate;
use tracing_core::field::{Field, Visit};

use crate::errors::Chain;

/// Returns the name of a field; `r#type` is `type`.
pub(super) fn name_of(field: &Field) -> &'static str {
    let name = field.name();
    name.strip_prefix("r#").unwrap_or(name)
}

/// A visitor that calls a function with each field and its value.
pub(super) struct EachField<F>(pub(super) F);

impl<F: FnMut(&Field, Value<'_>)> Visit for EachField<F> {
    fn record_str(&mut self, field: &Field, value: &str) {
        (self.0)(field, Value::Str(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        (self.0)(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        (self.0)(field, Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        (self.0)(field, Value::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        (self.0)(field, Value::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        (self.0)(field, Value::U128(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        (self.0)(field, Value::F64(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        (self.0)(field, Value::Fmt(format_args!("{}", Chain(value))));
    }

    #[cfg(all(tracing_unstable, feature = "valuable"))]
    fn record_value(&mut self, field: &Field, value: valuable::Value<'_>) {
        match value {
            valuable::Value::String(text) => self.record_str(field, text),
            other => (self.0)(field, super::valuable_value::render(other).as_value()),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        (self.0)(field, Value::Fmt(format_args!("{value:?}")));
    }
}

/// Writes a value as plain text, without quotes.
pub(super) fn write_text(out: &mut impl Write, value: Value<'_>) -> fmt::Result {
    match value {
        Value::Str(value) | Value::Json(value) => out.write_str(value),
        Value::Fmt(value) => out.write_fmt(value),
        Value::Bool(value) => write!(out, "{value}"),
        Value::I64(value) => write!(out, "{value}"),
        Value::U64(value) => write!(out, "{value}"),
        Value::I128(value) => write!(out, "{value}"),
        Value::U128(value) => write!(out, "{value}"),
        Value::F64(value) => write!(out, "{value}"),
        Value::Bytes(value) => out.write_str(&String::from_utf8_lossy(value)),
    }
}

/// Writes a value as plain text, up to four bytes beyond `max_bytes`. From the extra bytes the line detects that the
/// text exceeds the limit, and marks it as truncated. Returns the number of bytes that are cut.
pub(super) fn write_bounded_text(out: &mut String, max_bytes: usize, value: Value<'_>) -> usize {
    let mut bounded = Bounded { free_bytes: max_bytes.saturating_add(4), cut_bytes: 0, out };
    let _ = write_text(&mut bounded, value);
    bounded.cut_bytes
}

/// A writer that truncates.
struct Bounded<'a> {
    out: &'a mut String,
    free_bytes: usize,
    cut_bytes: usize,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = truncate(text, self.free_bytes);
        self.out.push_str(kept);
        self.cut_bytes += text.len() - kept.len();
        // Nothing may follow a truncated text. Truncation is not an error of the value that is formatted.
        self.free_bytes = if kept.len() < text.len() { 0 } else { self.free_bytes - kept.len() };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_truncated_at_a_character() {
        let written = |value: Value<'_>| {
            let mut out = String::new();
            let cut_bytes = write_bounded_text(&mut out, 4, value);
            (out, cut_bytes)
        };
        let expect = |text: &str, cut_bytes| (text.to_owned(), cut_bytes);
        assert_eq!(written(Value::Str("12345678")), expect("12345678", 0));
        assert_eq!(written(Value::Str("1234567é9")), expect("1234567", 3));
        assert_eq!(written(Value::Fmt(format_args!("{}{}{}", "123456", "éé", "0"))), expect("123456é", 3));
        assert_eq!(written(Value::Fmt(format_args!("{}{}{}", "1234567", "é", "0"))), expect("1234567", 3));
        assert_eq!(written(Value::F64(0.5)), expect("0.5", 0));
    }
}
