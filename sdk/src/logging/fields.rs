//! Fields of events and spans: `tracing`'s values to those of a line.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use logtracer_core::line::{Format, Line, MAX_LABEL_BYTES, Text, Value, render_field};
use tracing_core::field::{Field, Visit};

use super::http_request::RequestFields;
use super::labels::LabelFields;
use super::said::{Said, write_plain, write_value};
use super::special::{Fate, LABELS, Special};
use crate::errors::Chain;

/// The field that holds the text of an event.
const MESSAGE: &str = "message";

/// The name of a field; `r#type` is `type`.
pub(super) fn name_of(field: &Field) -> &'static str {
    let name = field.name();
    name.strip_prefix("r#").unwrap_or(name)
}

/// Calls a function for each field with its value.
pub(super) struct Each<F>(pub(super) F);

impl<F: FnMut(&Field, Value<'_>)> Visit for Each<F> {
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

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        (self.0)(field, Value::Fmt(format_args!("{value:?}")));
    }
}

/// Writes the text of an event; true if it has one.
pub(super) fn write_message(event: &tracing_core::Event<'_>, text: &mut Text<'_>) -> bool {
    let mut found = false;
    event.record(&mut Each(|field: &Field, value: Value<'_>| {
        if field.name() == MESSAGE {
            found = true;
            // A `Display` of the caller's may claim to fail; what it wrote before stays.
            let _ = write_plain(text, value);
        }
    }));
    found
}

/// What is gathered of one event before it can be written.
pub(super) struct Gathered<'a> {
    /// The names of the fields that the line has.
    pub(super) names: &'a mut Vec<&'static str>,
    pub(super) request: &'a mut RequestFields,
    pub(super) labels: &'a mut LabelFields,
}

/// Writes the fields of an event but its text, and gathers those that belong in another place.
pub(super) fn write_event(
    said: Said<'_>,
    line: &mut Line<'_>,
    special: Special,
    gathered: &mut Gathered<'_>,
) {
    let Gathered { names, request, labels } = gathered;
    said.event.record(&mut Each(|field: &Field, value: Value<'_>| {
        let name = name_of(field);
        match special.fate_of(name) {
            Fate::Field if field.name() != MESSAGE => {
                line.field(name, value);
                names.push(name);
            }
            Fate::Field | Fate::Told => {}
            Fate::HttpRequest(part) => request.take(part, value),
            Fate::Label(label) => labels.take(label, value),
        }
    }));
    for pair in said.key_values {
        match special.fate_of_pair(&pair.name) {
            Fate::Field => _ = line.field(&pair.name, pair.value()),
            Fate::HttpRequest(part) => request.take(part, pair.value()),
            Fate::Label(label) => labels.take(label, pair.value()),
            Fate::Told => {}
        }
    }
}

/// The fields of a span in the formats in which something writes them: two loggings can share a subscriber.
#[derive(Debug, Default)]
pub(super) struct FieldsByFormat {
    stackdriver: SpanFields,
    local: SpanFields,
}

impl FieldsByFormat {
    pub(super) fn of(&self, format: Format) -> &SpanFields {
        match format {
            Format::Stackdriver => &self.stackdriver,
            Format::Local => &self.local,
        }
    }

    pub(super) fn of_mut(&mut self, format: Format) -> &mut SpanFields {
        match format {
            Format::Stackdriver => &mut self.stackdriver,
            Format::Local => &mut self.local,
        }
    }
}

/// The fields of a span, rendered once for all the lines within it.
#[derive(Debug, Default)]
pub(super) struct SpanFields {
    rendered: Vec<u8>,
    places: Vec<(&'static str, Range<usize>)>,
    labels: Vec<(&'static str, String)>,
}

impl SpanFields {
    /// Renders fields; one that was recorded before gets the new value.
    pub(super) fn record(&mut self, format: Format, record: impl FnOnce(&mut dyn Visit)) {
        record(&mut Each(|field: &Field, value: Value<'_>| {
            let name = name_of(field);
            if let Some(label) = name.strip_prefix(LABELS) {
                let mut text = String::new();
                write_value(&mut text, MAX_LABEL_BYTES, value);
                self.set_label(label, text);
            } else {
                self.set_field(name, |out| render_field(out, format, name, value));
            }
        }));
    }

    /// Takes over fields that were recorded later.
    pub(super) fn merge(&mut self, newer: Self) {
        for (name, place) in newer.places {
            let rendered = newer.rendered.get(place).unwrap_or_default();
            self.set_field(name, |out| out.extend_from_slice(rendered));
        }
        for (label, text) in newer.labels {
            self.set_label(label, text);
        }
    }

    fn set_field(&mut self, name: &'static str, render: impl FnOnce(&mut Vec<u8>)) {
        let at = self.forget(name).unwrap_or(self.places.len());
        let start = self.rendered.len();
        render(&mut self.rendered);
        self.places.insert(at, (name, start..self.rendered.len()));
    }

    fn set_label(&mut self, label: &'static str, text: String) {
        match self.labels.iter_mut().find(|(known, _)| *known == label) {
            Some((_, old)) => *old = text,
            None => self.labels.push((label, text)),
        }
    }

    /// Takes a field out, so that one that is recorded often does not add up; tells where it stood.
    fn forget(&mut self, name: &str) -> Option<usize> {
        let at = self.places.iter().position(|(known, _)| *known == name)?;
        let (_, old) = self.places.remove(at);
        for (_, place) in &mut self.places {
            if place.start >= old.end {
                *place = place.start - old.len()..place.end - old.len();
            }
        }
        self.rendered.drain(old);
        Some(at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.labels.is_empty()
    }

    /// Adds the fields whose names are not taken, and takes them.
    pub(super) fn write(&self, said: Said<'_>, line: &mut Line<'_>, names: &mut Vec<&'static str>) {
        for (name, place) in &self.places {
            if !names.contains(name) && !said.key_values.iter().any(|pair| pair.name == *name) {
                names.push(name);
                line.rendered_field(self.rendered.get(place.clone()).unwrap_or_default());
            }
        }
    }

    pub(super) fn take_labels(&self, labels: &mut LabelFields) {
        for (name, value) in &self.labels {
            labels.take(name, Value::Str(value));
        }
    }
}
