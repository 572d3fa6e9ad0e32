//! [`Labels`]: the labels of a line under construction.

use super::{Line, MAX_LABEL_BYTES, MAX_LABELS, MAX_NAME_BYTES, Text, json};

/// The labels of a line under construction; see [`Line::labels`].
///
/// All values are texts, as Cloud Logging has it.
/// A label without a value is left out, and so is every label after the sixty-fourth.
///
/// ```
/// use logtracer_core::line::{Format, Line};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// line.labels(|labels| {
///     labels.text("route", "basket");
///     labels.text("upstream", "");
///     labels.number("attempts", 2);
/// });
/// line.finish();
/// assert_eq!(out, br#"{"labels":{"route":"basket","attempts":"2"}}"#);
/// ```
#[derive(Debug)]
pub struct Labels<'l, 'a> {
    object: &'l mut Line<'a>,
    count: usize,
}

impl<'l, 'a> Labels<'l, 'a> {
    pub(super) fn new(object: &'l mut Line<'a>) -> Self {
        Self { object, count: 0 }
    }

    /// A label; its value may be text or bytes that are not UTF-8.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.labels(|labels| labels.text("route", b"basket"));
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"labels":{"route":"basket"}}"#);
    /// ```
    pub fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        if !value.is_empty() {
            self.write(name, |text| text.push_bytes(value));
        }
    }

    /// A label whose value is a number.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.labels(|labels| labels.number("attempts", 2));
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"labels":{"attempts":"2"}}"#);
    /// ```
    pub fn number(&mut self, name: &str, value: u64) {
        self.write(name, |text| {
            let _ = core::fmt::Write::write_fmt(text, format_args!("{value}"));
        });
    }

    /// A label whose value is what `write` pushes.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.labels(|labels| {
    ///     labels.write("flags", |text| {
    ///         text.push("UF");
    ///         text.push(",URX");
    ///     });
    /// });
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"labels":{"flags":"UF,URX"}}"#);
    /// ```
    pub fn write(&mut self, name: &str, write: impl FnOnce(&mut Text<'_>)) {
        let Some(room) = self.object.room_for(0) else {
            return;
        };
        if self.count < MAX_LABELS {
            self.count += 1;
            self.object.comma();
            json::text(self.object.out, MAX_NAME_BYTES, |text| text.push(name));
            self.object.out.push(b':');
            json::text(self.object.out, MAX_LABEL_BYTES.min(room), write);
        }
    }
}
