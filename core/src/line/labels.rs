//! [`Labels`]: the labels of a line.

use super::{Line, MAX_LABEL_BYTES, MAX_LABELS, MAX_NAME_BYTES, Text, json};

/// A writer of the labels of a line, see [`Line::labels`].
///
/// All values are texts, as Cloud Logging requires.
/// A label with an empty value is omitted, and every label after the first [`MAX_LABELS`] is dropped.
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
///     labels.write("flags", |text| {
///         text.push("UF");
///         text.push(",URX");
///     });
/// });
/// line.finish();
/// assert_eq!(out, br#"{"labels":{"route":"basket","attempts":"2","flags":"UF,URX"}}"#);
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

    /// Adds a label with a text. Bytes that are not UTF-8 become U+FFFD.
    pub fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        if !value.is_empty() {
            self.write(name, |text| text.push_bytes(value));
        }
    }

    /// Adds a label with a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.write(name, |text| {
            let _ = core::fmt::Write::write_fmt(text, format_args!("{value}"));
        });
    }

    /// Adds a label with the text that `write` pushes.
    pub fn write(&mut self, name: &str, write: impl FnOnce(&mut Text<'_>)) {
        let Some(free_bytes) = self.object.free_bytes(0) else {
            return;
        };
        if self.count < MAX_LABELS {
            self.count += 1;
            self.object.comma();
            json::text(self.object.out, MAX_NAME_BYTES, |text| text.push(name));
            self.object.out.push(b':');
            json::text(self.object.out, MAX_LABEL_BYTES.min(free_bytes), write);
        }
    }
}
