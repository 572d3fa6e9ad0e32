//! [`LabelFields`]: the fields `labels.*` of an event and of its spans, gathered for the labels of a line.

use std::ops::Range;

use logtracer_core::line::{Line, MAX_LABEL_BYTES, MAX_LABELS, MAX_NAME_BYTES, Value};

use super::said::write_value;

/// The labels of one line; the buffers are reused.
#[derive(Debug, Default)]
pub(super) struct LabelFields {
    text: String,
    /// Names and values in the text.
    places: Vec<(Range<usize>, Range<usize>)>,
}

impl LabelFields {
    pub(super) const fn new() -> Self {
        Self { text: String::new(), places: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }

    /// Takes a label unless one of this name was taken before.
    pub(super) fn take(&mut self, name: &str, value: Value<'_>) {
        if self.places.len() >= MAX_LABELS || self.names().any(|known| known == name) {
            return;
        }
        let start = self.text.len();
        write_value(&mut self.text, MAX_NAME_BYTES, Value::Str(name));
        let middle = self.text.len();
        write_value(&mut self.text, MAX_LABEL_BYTES, value);
        self.places.push((start..middle, middle..self.text.len()));
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().filter_map(|(name, _)| self.text.get(name.clone()))
    }

    /// Writes the labels of the logging itself, which nothing overwrites, and then those that were taken.
    pub(super) fn write(&self, line: &mut Line<'_>, given: &[(String, String)]) {
        if self.places.is_empty() && given.is_empty() {
            return;
        }
        line.labels(|labels| {
            for (name, value) in given {
                labels.text(name, value);
            }
            for (name, value) in &self.places {
                let (name, value) = (self.text.get(name.clone()), self.text.get(value.clone()));
                let name = name.unwrap_or_default();
                if !given.iter().any(|(given, _)| given == name) {
                    labels.text(name, value.unwrap_or_default());
                }
            }
        });
    }
}
