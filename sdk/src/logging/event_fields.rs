//! [`EventFields`]: the fields of one event, and how they become JSON.
//!
//! ```text
//!  known_fields: the role of each name ──┐
//!  event + key_values ──► EventFields ───┼──► Line::field (core/src/line/mod.rs): value.rs writes the JSON,
//!                                        │    keys.rs and report.rs reserve names, which get the prefix `fields.`
//!                                        ├──► http_request
//!                                        └──► labels
//! ```

use logtracer_core::line::{Line, Severity, Text, Value};
use tracing_core::Event;
use tracing_core::field::Field;

use super::field_value::{EachField, name_of, write_text};
use super::http_request::RequestFields;
use super::key_values::KeyValue;
use super::known_fields::{self, FieldRole, KnownFields};
use super::labels::LabelFields;

/// The field that holds the text of an event.
const MESSAGE: &str = "message";

/// The fields of an event, and the key-values of the `log` record that it was made from, if any.
#[derive(Clone, Copy)]
pub(super) struct EventFields<'a> {
    pub(super) event: &'a Event<'a>,
    pub(super) key_values: &'a [KeyValue],
}

/// Buffers for fields that are not written in place, reused from line to line.
pub(super) struct Collected<'a> {
    /// The names of the event's own fields in the line.
    pub(super) names: &'a mut Vec<&'static str>,
    pub(super) request: &'a mut RequestFields,
    pub(super) labels: &'a mut LabelFields,
}

impl EventFields<'_> {
    /// Writes the text of the event; returns false if it has none.
    pub(super) fn write_message(self, text: &mut Text<'_>) -> bool {
        let mut has_message = false;
        self.event.record(&mut EachField(|field: &Field, value: Value<'_>| {
            if field.name() == MESSAGE {
                has_message = true;
                // A `Display` of the caller may fail; the text before the failure stays.
                let _ = write_text(text, value);
            }
        }));
        has_message
    }

    /// Returns the severity that a field names.
    pub(super) fn severity(self, known: KnownFields) -> Option<Severity> {
        let mut severity = None;
        if known.has_severity {
            let mut read = |name: &str, value: Value<'_>| {
                if name == known_fields::SEVERITY {
                    severity = severity.or_else(|| known_fields::read_severity(value));
                }
            };
            self.event.record(&mut EachField(|field: &Field, value: Value<'_>| read(name_of(field), value)));
            self.key_values.iter().for_each(|pair| read(&pair.name, pair.value()));
        }
        severity
    }

    /// Writes the fields except the text, and collects those that belong elsewhere in the line.
    pub(super) fn write(self, line: &mut Line<'_>, known: KnownFields, collected: &mut Collected<'_>) {
        let Collected { names, request, labels } = collected;
        self.event.record(&mut EachField(|field: &Field, value: Value<'_>| {
            let name = name_of(field);
            match known.role_of_field(name) {
                FieldRole::Plain if field.name() != MESSAGE => {
                    line.field(name, value);
                    names.push(name);
                }
                FieldRole::Plain | FieldRole::Consumed => {}
                FieldRole::HttpRequest(part) => request.set(part, value),
                FieldRole::Label(label) => labels.add(label, value),
            }
        }));
        for pair in self.key_values {
            match known.role_of_key_value(&pair.name) {
                FieldRole::Plain => _ = line.field(&pair.name, pair.value()),
                FieldRole::HttpRequest(part) => request.set(part, pair.value()),
                FieldRole::Label(label) => labels.add(label, pair.value()),
                FieldRole::Consumed => {}
            }
        }
    }
}
