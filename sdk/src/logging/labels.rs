//! [`LabelFields`]: the fields `labels.*` of an event and of its spans, collected for the labels of a line.

use std::ops::Range;

use logtracer_core::line::{Line, MAX_LABEL_BYTES, MAX_LABELS, MAX_NAME_BYTES, Value};

use super::field_value::write_bounded_text;

/// The labels of one line; the buffers are reused.
#[derive(Debug, Default)]
pub(super) struct LabelFields {
    text: String,
    /// Where the names and the values are in `text`.
    ranges: Vec<(Range<usize>, Range<usize>)>,
}

impl LabelFields {
    pub(super) const fn new() -> Self {
        Self { text: String::new(), ranges: Vec::new() }
    }

    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ranges.clear();
    }

    /// Adds a label, unless there is one of this name.
    pub(super) fn add(&mut self, name: &str, value: Value<'_>) {
        if self.ranges.len() >= MAX_LABELS || self.names().any(|known| known == name) {
            return;
        }
        let start = self.text.len();
        write_bounded_text(&mut self.text, MAX_NAME_BYTES, Value::Str(name));
        let middle = self.text.len();
        write_bounded_text(&mut self.text, MAX_LABEL_BYTES, value);
        self.ranges.push((start..middle, middle..self.text.len()));
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.ranges.iter().filter_map(|(name, _)| self.text.get(name.clone()))
    }

    /// Writes the labels of the service, which nothing overwrites, and then the collected ones.
    pub(super) fn write(&self, line: &mut Line<'_>, of_service: &[(String, String)]) {
        if self.ranges.is_empty() && of_service.is_empty() {
            return;
        }
        line.labels(|labels| {
            for (name, value) in of_service {
                labels.text(name, value);
            }
            for (name, value) in &self.ranges {
                let (name, value) = (self.text.get(name.clone()), self.text.get(value.clone()));
                let name = name.unwrap_or_default();
                if !of_service.iter().any(|(known, _)| known == name) {
                    labels.text(name, value.unwrap_or_default());
                }
            }
        });
    }
}
