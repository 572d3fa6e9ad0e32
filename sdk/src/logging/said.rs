//! [`Said`]: all that an event says, whether it comes from `tracing` or from `log`.

use std::fmt::{self, Write};

use logtracer_core::line::Value;
use tracing_core::Event;
use tracing_core::field::Field;

use super::fields::{Each, name_of};
use super::key_values::KeyValue;

/// The fields of an event, and the key-values of the record of `log` that it stands for.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) event: &'a Event<'a>,
    pub(super) key_values: &'a [KeyValue],
}

impl Said<'_> {
    /// Calls a function with the name and the value of each.
    pub(super) fn each(self, mut take: impl FnMut(&str, Value<'_>)) {
        self.event.record(&mut Each(|field: &Field, value: Value<'_>| take(name_of(field), value)));
        for pair in self.key_values {
            take(&pair.name, pair.value());
        }
    }
}

/// Writes a value as plain text, at most so many bytes of it and a few more, so that the line can see that it was
/// longer.
pub(super) fn write_value(out: &mut String, max: usize, value: Value<'_>) {
    let mut out = Bounded { left: max.saturating_add(4), out };
    let _ = write_plain(&mut out, value);
}

/// Writes a value as text, without quotes.
pub(super) fn write_plain(out: &mut impl Write, value: Value<'_>) -> fmt::Result {
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

/// Takes as much text as there is room for.
struct Bounded<'a> {
    out: &'a mut String,
    left: usize,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = (0..=text.len().min(self.left)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.out.push_str(text.get(..end).unwrap_or_default());
        // What follows a cut would not belong there; it is no error of whoever writes it.
        self.left = if end < text.len() { 0 } else { self.left - end };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_is_cut_at_a_character() {
        let written = |value: Value<'_>| {
            let mut out = String::new();
            write_value(&mut out, 4, value);
            out
        };
        assert_eq!(written(Value::Str("12345678")), "12345678");
        assert_eq!(written(Value::Str("1234567é9")), "1234567");
        assert_eq!(written(Value::Fmt(format_args!("{}{}{}", "123456", "éé", "0"))), "123456é");
        assert_eq!(written(Value::Fmt(format_args!("{}{}{}", "1234567", "é", "0"))), "1234567");
        assert_eq!(written(Value::F64(0.5)), "0.5");
    }
}
