//! [`EventFields`]: the fields of one event, and how they become JSON.
//!
//! ```text
//!  known_fields: the role of each name ──┐
//!  callsite: the rendered names ─────────┤
//!  event + key_values ──► EventFields ───┼──► Line::named_field (core/src/line/marked.rs): value.rs writes the JSON,
//!                                        │    keys.rs and report.rs reserve names, which get the prefix `fields.`
//!                                        ├──► http_request, entry_fields
//!                                        ├──► labels
//!                                        └──► error_text
//! ```

use logtracer_core::line::{Line, MarkedField, Severity, Text, Value};
use tracing_core::Event;
use tracing_core::field::Field;

use super::callsite::Callsite;
use super::entry_fields::EntryFields;
use super::error_text::ErrorText;
use super::field_value::{EachField, name_of, write_text};
use super::http_request::HttpRequestFields;
use super::key_values::KeyValue;
use super::known_fields::{self, FieldRole, KnownFields};
use super::labels::LabelFields;

/// The field that holds the text of an event.
const MESSAGE: &str = "message";

/// The fields of an event, and the key-values of the `log` record that it was made from, if any.
#[derive(Clone, Copy)]
pub(super) struct EventFields<'a> {
    pub(super) event: &'a Event<'a>,
    pub(super) callsite: &'a Callsite,
    pub(super) key_values: &'a [KeyValue],
    /// Names that a key-value cannot have besides those of the format.
    pub(super) reserved: &'a [&'a str],
}

/// Buffers for fields that are not written in place, reused from line to line.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) request: HttpRequestFields,
    pub(super) entry: EntryFields,
    pub(super) labels: LabelFields,
    pub(super) error: ErrorText,
}

impl Collected {
    pub(super) const fn new() -> Self {
        Self {
            request: HttpRequestFields::new(),
            entry: EntryFields::new(),
            labels: LabelFields::new(),
            error: ErrorText::new(),
        }
    }

    /// Frees what a long line has made larger than this.
    pub(super) fn free_large(&mut self, max_bytes: usize) {
        if self.request.capacity() > max_bytes {
            self.request = HttpRequestFields::new();
        }
        if self.entry.capacity() > max_bytes {
            self.entry = EntryFields::new();
        }
        if self.labels.capacity() > max_bytes {
            self.labels = LabelFields::new();
        }
        if self.error.capacity() > max_bytes {
            self.error = ErrorText::new();
        }
    }

    pub(super) fn clear(&mut self, known: KnownFields) {
        self.labels.clear();
        self.entry.clear();
        if known.has_http_request {
            self.request.clear();
        }
        if known.has_error {
            self.error.clear();
        }
    }

    /// Takes a value that belongs elsewhere in the line. Returns all others, with the number of bytes that are cut.
    fn take<'v>(
        &'v mut self,
        role: FieldRole<'_>,
        name: &str,
        value: Value<'v>,
    ) -> Option<(Value<'v>, usize)> {
        let is_taken = match role {
            FieldRole::Plain => false,
            FieldRole::Consumed => true,
            FieldRole::HttpRequest(part) => self.request.set(part, value),
            FieldRole::Entry => self.entry.set(name, value),
            FieldRole::Label(label) => {
                self.labels.add(label, value);
                true
            }
            FieldRole::Error => {
                let (text, cut_bytes) = self.error.set_error(value);
                return Some((Value::Str(text), cut_bytes));
            }
            FieldRole::Backtrace => self.error.set_backtrace(value),
        };
        (!is_taken).then_some((value, 0))
    }
}

impl EventFields<'_> {
    /// Writes the text of the event: its message or, if it has none, its error. Returns false if it has neither.
    pub(super) fn write_message(
        self,
        text: &mut Text<'_>,
        known: KnownFields,
        error: &mut ErrorText,
    ) -> bool {
        let write = |value: Value<'_>| {
            // A `Display` of the caller may fail; the text before the failure stays.
            let _ = write_text(text, value);
        };
        if self.read_field(|name| name == MESSAGE, write) {
            return true;
        }
        known.has_error
            && self.read_field(known_fields::is_error, |value| text.push(error.set_error(value).0))
    }

    /// Passes the value of the first field with this name to a function; returns false if there is none.
    fn read_field(self, is_it: impl Fn(&str) -> bool, mut read: impl FnMut(Value<'_>)) -> bool {
        let mut is_found = false;
        self.event.record(&mut EachField(|field: &Field, value: Value<'_>| {
            if !is_found && is_it(field.name()) {
                is_found = true;
                read(value);
            }
        }));
        is_found
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

    /// Writes the fields except the text, adds their names, and collects those that belong elsewhere in the line.
    pub(super) fn write(
        self,
        line: &mut Line<'_>,
        known: KnownFields,
        names: &mut Vec<&'static str>,
        collected: &mut Collected,
    ) {
        let mut has_message = false;
        self.event.record(&mut EachField(|field: &Field, value: Value<'_>| {
            if field.name() == MESSAGE && !std::mem::replace(&mut has_message, true) {
                return;
            }
            let name = name_of(field);
            let Some((value, cut_bytes)) = collected.take(known.role_of_field(name, value), name, value)
            else {
                return;
            };
            // Of two fields with one name, the first one stays: a key cannot be there twice.
            if !names.contains(&name) {
                line.named_field(self.callsite.name(field), value, cut_bytes);
                names.push(name);
            }
        }));
        for (index, pair) in self.key_values.iter().enumerate() {
            let (name, value) = (&*pair.name, pair.value());
            let before = self.key_values.get(..index).unwrap_or_default();
            if names.contains(&name) || before.iter().any(|other| other.name == name) {
                continue;
            }
            if let Some((value, cut_bytes)) =
                collected.take(known.role_of_key_value(name, value), name, value)
            {
                let cut_bytes = cut_bytes + pair.cut_bytes();
                line.marked_field(&MarkedField { name, value, cut_bytes, reserved: self.reserved });
            }
        }
    }
}
