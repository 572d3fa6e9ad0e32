//! [`SpanFields`]: the fields of a span, rendered once for all lines in the span.

use std::ops::Range;

use logtracer_core::line::{Format, Line, MAX_LABEL_BYTES, Value, render_field};
use tracing_core::field::{Field, Visit};

use super::field_value::{EachField, name_of, write_bounded_text};
use super::key_values::KeyValue;
use super::known_fields::LABELS;
use super::labels::LabelFields;

/// The fields of a span in each format that is in use: two JSON layers can share a subscriber.
#[derive(Debug, Default)]
pub(super) struct FieldsByFormat {
    stackdriver: SpanFields,
    local: SpanFields,
}

impl FieldsByFormat {
    pub(super) fn get(&self, format: Format) -> &SpanFields {
        match format {
            Format::Stackdriver => &self.stackdriver,
            Format::Local => &self.local,
        }
    }

    pub(super) fn get_mut(&mut self, format: Format) -> &mut SpanFields {
        match format {
            Format::Stackdriver => &mut self.stackdriver,
            Format::Local => &mut self.local,
        }
    }
}

/// The fields and labels of a span in one format.
#[derive(Debug, Default)]
pub(super) struct SpanFields {
    rendered: Vec<u8>,
    /// Names, and where the fields are in `rendered`.
    ranges: Vec<(&'static str, Range<usize>)>,
    labels: Vec<(&'static str, String)>,
}

impl SpanFields {
    /// Renders fields; a new value replaces the old one.
    pub(super) fn record(&mut self, format: Format, record: impl FnOnce(&mut dyn Visit)) {
        record(&mut EachField(|field: &Field, value: Value<'_>| {
            let name = name_of(field);
            if let Some(label) = name.strip_prefix(LABELS) {
                let mut text = String::new();
                write_bounded_text(&mut text, MAX_LABEL_BYTES, value);
                self.set_label(label, text);
            } else {
                self.set_field(name, |out| render_field(out, format, name, value));
            }
        }));
    }

    /// Adds fields that were recorded later; their values replace older ones.
    pub(super) fn merge(&mut self, newer: Self) {
        for (name, range) in newer.ranges {
            let rendered = newer.rendered.get(range).unwrap_or_default();
            self.set_field(name, |out| out.extend_from_slice(rendered));
        }
        for (label, text) in newer.labels {
            self.set_label(label, text);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.labels.is_empty()
    }

    /// Writes the fields whose names the line does not have yet, and adds these names.
    pub(super) fn write(&self, line: &mut Line<'_>, names: &mut Vec<&'static str>, key_values: &[KeyValue]) {
        for (name, range) in &self.ranges {
            if !names.contains(name) && !key_values.iter().any(|pair| pair.name == *name) {
                names.push(name);
                line.rendered_field(self.rendered.get(range.clone()).unwrap_or_default());
            }
        }
    }

    pub(super) fn add_labels(&self, labels: &mut LabelFields) {
        for (name, value) in &self.labels {
            labels.add(name, Value::Str(value));
        }
    }

    fn set_field(&mut self, name: &'static str, render: impl FnOnce(&mut Vec<u8>)) {
        let index = self.remove_field(name).unwrap_or(self.ranges.len());
        let start = self.rendered.len();
        render(&mut self.rendered);
        self.ranges.insert(index, (name, start..self.rendered.len()));
    }

    /// Removes a field, so that repeated recording does not use more memory; returns its index.
    fn remove_field(&mut self, name: &str) -> Option<usize> {
        let index = self.ranges.iter().position(|(known, _)| *known == name)?;
        let (_, removed) = self.ranges.remove(index);
        for (_, range) in &mut self.ranges {
            if range.start >= removed.end {
                *range = range.start - removed.len()..range.end - removed.len();
            }
        }
        self.rendered.drain(removed);
        Some(index)
    }

    fn set_label(&mut self, label: &'static str, text: String) {
        match self.labels.iter_mut().find(|(known, _)| *known == label) {
            Some((_, value)) => *value = text,
            None => self.labels.push((label, text)),
        }
    }
}
