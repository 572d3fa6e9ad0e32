//! [`MarkedField`]: a field whose text names the number of bytes that were cut.

use core::fmt;

use super::json::{self, Text};
use super::keys::Keys;
use super::value::write_name;
use super::{Format, Line, MAX_TEXT_BYTES, Value, exact, report};
use crate::decimal;

/// A field of a line. A text above [`MAX_TEXT_BYTES`] ends in the number of bytes that were cut: `[1048576 bytes cut]…`.
///
/// [`Line::field`] marks it with `…` only.
///
/// In the format `stackdriver` an integer beyond 2⁵³ is a text, also within [`Value::Json`], because Cloud Logging
/// stores numbers as doubles.
///
/// ```
/// use logtracer_core::line::{Format, Line, MarkedField, Value};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// let text = "x".repeat(20_000);
/// line.marked_field(&MarkedField { name: "query", value: Value::Str(&text), ..MarkedField::default() })
///     .marked_field(&MarkedField { name: "target", reserved: &["target"], ..MarkedField::default() });
/// line.finish();
/// let line = String::from_utf8(out).unwrap();
/// assert!(line.ends_with(r#"xxx [3619 bytes cut]…","fields.target":""}"#), "{line}");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MarkedField<'a> {
    /// The name. A reserved one gets a prefix, see [`Format::is_reserved`].
    pub name: &'a str,
    /// The value.
    pub value: Value<'a>,
    /// The number of bytes that the caller has cut from the value already.
    pub cut_bytes: usize,
    /// Names that are reserved besides those of the format.
    pub reserved: &'a [&'a str],
}

impl Default for MarkedField<'_> {
    fn default() -> Self {
        Self { name: "", value: Value::Str(""), cut_bytes: 0, reserved: &[] }
    }
}

impl MarkedField<'_> {
    /// Renders the field, `"name":value`, for [`Line::rendered_field`].
    ///
    /// ```
    /// use logtracer_core::line::{Format, MarkedField, Value};
    ///
    /// let mut out = Vec::new();
    /// MarkedField { name: "time", value: Value::I64(-1), ..MarkedField::default() }.render(&mut out, Format::Local);
    /// assert_eq!(out, br#""fields.time":-1"#);
    /// ```
    pub fn render(&self, out: &mut Vec<u8>, format: Format) {
        self.write(out, format, Keys::of(format).is_reserved(self.name), MAX_TEXT_BYTES);
    }

    /// Renders the name, `"name":`, for [`Line::named_field`].
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line, MarkedField, Value};
    ///
    /// let mut name = Vec::new();
    /// MarkedField { name: "time", ..MarkedField::default() }.render_name(&mut name, Format::Local);
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.named_field(&name, Value::U64(7), 0);
    /// line.finish();
    /// assert_eq!(out, br#"{"fields.time":7}"#);
    /// ```
    pub fn render_name(&self, out: &mut Vec<u8>, format: Format) {
        self.write_name(out, Keys::of(format).is_reserved(self.name));
    }

    fn write(&self, out: &mut Vec<u8>, format: Format, is_reserved: bool, max: usize) {
        self.write_name(out, is_reserved);
        self.write_value(out, format, max);
    }

    fn write_name(&self, out: &mut Vec<u8>, is_reserved: bool) {
        write_name(out, is_reserved || self.reserved.contains(&self.name), self.name);
    }

    fn write_value(&self, out: &mut Vec<u8>, format: Format, max: usize) {
        let max = max.min(MAX_TEXT_BYTES);
        match self.value {
            Value::Str(value) => self.write_text(out, max, |text| text.push(value)),
            Value::Fmt(value) => self.write_text(out, max, |text| {
                // The caller's `Display` or `Debug` may return an error. What it wrote before stays.
                let _ = fmt::Write::write_fmt(text, value);
            }),
            other if format == Format::Stackdriver => exact::write(out, other, max),
            other => other.write(out, max),
        }
    }

    fn write_text(&self, out: &mut Vec<u8>, max: usize, write: impl FnOnce(&mut Counted<'_>)) {
        out.push(b'"');
        let start = out.len();
        let mut text = Counted { text: Text::new(out, max), pushed_bytes: 0 };
        write(&mut text);
        let (pushed_bytes, is_truncated) = (text.pushed_bytes, text.text.is_truncated());
        if is_truncated {
            out.truncate(out.len() - json::MIN_TEXT_BYTES);
            let kept_bytes = unescaped_len(out.get(start..).unwrap_or_default());
            out.extend_from_slice(b" [");
            decimal::write(out, (pushed_bytes - kept_bytes + self.cut_bytes) as u64);
            out.extend_from_slice(" bytes cut]…".as_bytes());
        }
        out.push(b'"');
    }
}

impl Line<'_> {
    /// Adds a field of the caller, as [`field`](Self::field) does, and marks a text that is cut.
    pub fn marked_field(&mut self, field: &MarkedField<'_>) -> &mut Self {
        if let Some(free_bytes) = self.free_bytes(field.value.min_len()) {
            self.comma();
            let is_reserved = self.keys.is_reserved(field.name)
                || (self.is_report && report::RESERVED.contains(&field.name));
            field.write(self.out, self.format, is_reserved, free_bytes);
        }
        self
    }

    /// Adds a field as [`marked_field`](Self::marked_field) does, with a name that [`MarkedField::render_name`] rendered
    /// for this format.
    pub fn named_field(&mut self, name: &[u8], value: Value<'_>, cut_bytes: usize) -> &mut Self {
        if let Some(free_bytes) = self.free_bytes(value.min_len()) {
            self.comma();
            self.rendered(name);
            let field = MarkedField { value, cut_bytes, ..MarkedField::default() };
            field.write_value(self.out, self.format, free_bytes);
        }
        self
    }
}

/// A text that counts what is pushed, before escaping.
struct Counted<'a> {
    text: Text<'a>,
    pushed_bytes: usize,
}

impl Counted<'_> {
    fn push(&mut self, text: &str) {
        self.pushed_bytes += text.len();
        self.text.push(text);
    }
}

impl fmt::Write for Counted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

/// Returns the length of an escaped text before it was escaped.
fn unescaped_len(escaped: &[u8]) -> usize {
    let mut length = 0;
    let mut rest = escaped;
    while let [first, after @ ..] = rest {
        let tail = match (first, after) {
            (b'\\', [b'u', ..]) => after.get(5..),
            (b'\\', _) => after.get(1..),
            _ => Some(after),
        };
        length += 1;
        rest = tail.unwrap_or_default();
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::ErrorReport;
    use crate::line::keys::RESERVED_NAME_PREFIX;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// A name is reserved by the format, by the caller or, in a report, by Error Reporting.
    #[test]
    fn reserved_names() {
        for (name, in_report, is_reserved) in [
            ("user", false, false),
            ("user", true, false),
            ("context", false, false),
            ("context", true, true),
            ("time", false, true),
            ("time", true, true),
            ("target", false, true),
            ("target", true, true),
        ] {
            let mut out = Vec::new();
            let mut line = Line::new(&mut out, Format::Local, None);
            if in_report {
                line.error_report(&ErrorReport::default());
            }
            let field = MarkedField { name, value: Value::U64(7), cut_bytes: 0, reserved: &["target"] };
            line.marked_field(&field);
            line.finish();
            let prefix = if is_reserved { RESERVED_NAME_PREFIX } else { "" };
            let text = String::from_utf8(out).unwrap();
            assert!(text.ends_with(&format!("\"{prefix}{name}\":7}}")), "{text}");
        }
    }

    #[test]
    fn named_fields_equal_marked_fields() {
        let long = "x".repeat(20_000);
        for (name, value, cut_bytes) in
            [("user", Value::Str("a"), 0), ("time", Value::U64(7), 0), ("query", Value::Str(&long), 100)]
        {
            for format in [Format::Local, Format::Stackdriver] {
                let field = MarkedField { name, value, cut_bytes, reserved: &[] };
                let mut rendered_name = Vec::new();
                field.render_name(&mut rendered_name, format);
                let (mut marked, mut named) = (Vec::new(), Vec::new());
                Line::new(&mut marked, format, None).marked_field(&field);
                Line::new(&mut named, format, None).named_field(&rendered_name, value, cut_bytes);
                assert_eq!(String::from_utf8(named), String::from_utf8(marked), "{name}");
            }
        }
    }

    #[test]
    fn rendered_fields() {
        for (name, value, expected) in [
            ("user", Value::Str("a \"quote\""), r#""user":"a \"quote\"""#),
            ("user", Value::Fmt(format_args!("{:?}", Some(1))), r#""user":"Some(1)""#),
            ("time", Value::I64(-1), r#""fields.time":-1"#),
            ("target", Value::Bool(true), r#""fields.target":true"#),
        ] {
            let mut out = Vec::new();
            MarkedField { name, value, cut_bytes: 0, reserved: &["target"] }.render(&mut out, Format::Local);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
