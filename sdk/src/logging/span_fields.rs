//! [`SpanFields`]: the fields of a span, rendered once for all lines in the span.

use std::ops::Range;

use logtracer_core::line::{Format, Line, MAX_LABEL_BYTES, MarkedField, Value};
use tracing_core::field::{Field, Visit};

use super::entry_fields::EntryFields;
use super::event_fields::Collected;
use super::field_value::{EachField, name_of, write_bounded_text};
use super::key_values::KeyValue;
use super::known_fields::LABELS;
use super::service::Service;

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
    /// Texts that belong elsewhere in the line: labels and parts of an operation.
    texts: Vec<(&'static str, String)>,
}

impl SpanFields {
    /// Renders fields; a new value replaces the old one.
    pub(super) fn record(&mut self, service: &Service, record: impl FnOnce(&mut dyn Visit)) {
        let reserved = service.reserved_names();
        record(&mut EachField(|field: &Field, value: Value<'_>| {
            let name = name_of(field);
            if name.starts_with(LABELS) || EntryFields::is_of_span(name) {
                let mut text = String::new();
                write_bounded_text(&mut text, MAX_LABEL_BYTES, value);
                self.set_text(name, text);
            } else {
                let field = MarkedField { name, value, cut_bytes: 0, reserved };
                self.set_field(name, |out| field.render(out, service.format));
            }
        }));
    }

    /// Adds fields that were recorded later; their values replace older ones.
    pub(super) fn merge(&mut self, newer: Self) {
        for (name, range) in newer.ranges {
            let rendered = newer.rendered.get(range).unwrap_or_default();
            self.set_field(name, |out| out.extend_from_slice(rendered));
        }
        for (name, text) in newer.texts {
            self.set_text(name, text);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.texts.is_empty()
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

    /// Adds what belongs elsewhere in the line, unless the event or a span inside this one has it.
    pub(super) fn collect(&self, collected: &mut Collected) {
        for (name, value) in &self.texts {
            match name.strip_prefix(LABELS) {
                Some(label) => collected.labels.add(label, Value::Str(value)),
                None => _ = collected.entry.set(name, Value::Str(value)),
            }
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

    fn set_text(&mut self, name: &'static str, text: String) {
        match self.texts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, value)) => *value = text,
            None => self.texts.push((name, text)),
        }
    }
}
