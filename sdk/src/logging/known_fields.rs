//! Fields with a meaning in a line: `http_request.*`, `labels.*`, `logtracer.*`, `error` and `backtrace`.

use std::fmt;

use logtracer_core::line::{Severity, Value};
use tracing_core::Metadata;

use super::entry_fields::ENTRY;
use super::field_value::write_text;
use super::key_values::KeyValue;

const HTTP_REQUEST: &str = "http_request.";
pub(super) const LABELS: &str = "labels.";
pub(super) const SEVERITY: &str = "logtracer.severity";
const BACKTRACE: &str = "backtrace";
/// The prefix of the fields with which the bridge of `log` describes a record.
const LOG_RECORD: &str = "log.";

/// What a field becomes.
pub(super) enum FieldRole<'n> {
    /// A field of the line.
    Plain,
    /// The member of `httpRequest` with this name.
    HttpRequest(&'n str),
    /// The label with this name.
    Label(&'n str),
    /// A part of the entry, such as `operation`.
    Entry,
    /// The text of an error, which may end in a backtrace.
    Error,
    /// The backtrace of an error.
    Backtrace,
    /// No field: another part of the line holds the value.
    Consumed,
}

/// Which known fields an event has, according to the names of the fields of its callsite and of its key-values.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownFields {
    pub(super) has_http_request: bool,
    pub(super) has_severity: bool,
    pub(super) has_error: bool,
    has_entry: bool,
    has_labels: bool,
    is_log_record: bool,
}

impl KnownFields {
    pub(super) const NONE: Self = Self {
        has_http_request: false,
        has_severity: false,
        has_error: false,
        has_entry: false,
        has_labels: false,
        is_log_record: false,
    };

    pub(super) fn of(metadata: &Metadata<'_>) -> Self {
        let mut known = Self::NONE;
        metadata.fields().iter().for_each(|field| known.add(field.name()));
        known
    }

    /// Returns what an event of the callsite has with these key-values.
    pub(super) fn with(mut self, is_log_record: bool, key_values: &[KeyValue]) -> Self {
        self.is_log_record = is_log_record;
        key_values.iter().for_each(|pair| self.add(&pair.name));
        self
    }

    fn add(&mut self, name: &str) {
        // Few other names begin with these letters.
        match name.as_bytes().first() {
            Some(b'h') => self.has_http_request |= name.starts_with(HTTP_REQUEST),
            Some(b'l') if name == SEVERITY => self.has_severity = true,
            Some(b'l') => {
                self.has_labels |= name.starts_with(LABELS);
                self.has_entry |= name.starts_with(ENTRY);
            }
            Some(b'e' | b'b') => self.has_error |= is_error(name) || name == BACKTRACE,
            _ => {}
        }
    }

    pub(super) fn role_of_field<'n>(self, name: &'n str, value: Value<'_>) -> FieldRole<'n> {
        if self.is_log_record && name.starts_with(LOG_RECORD) {
            FieldRole::Consumed
        } else {
            self.role_of_key_value(name, value)
        }
    }

    pub(super) fn role_of_key_value<'n>(self, name: &'n str, value: Value<'_>) -> FieldRole<'n> {
        if self.has_http_request {
            if let Some(part) = name.strip_prefix(HTTP_REQUEST) {
                return FieldRole::HttpRequest(part);
            }
        }
        if self.has_labels {
            if let Some(label) = name.strip_prefix(LABELS) {
                return FieldRole::Label(label);
            }
        }
        if self.has_severity && name == SEVERITY {
            return FieldRole::Consumed;
        }
        if self.has_entry && name.starts_with(ENTRY) {
            return FieldRole::Entry;
        }
        let is_text = matches!(value, Value::Str(_) | Value::Fmt(_));
        if self.has_error && is_text && is_error(name) {
            return FieldRole::Error;
        }
        if self.has_error && is_text && name == BACKTRACE {
            return FieldRole::Backtrace;
        }
        FieldRole::Plain
    }
}

/// Returns true for the names that fields with an error have.
pub(super) fn is_error(name: &str) -> bool {
    matches!(name, "error" | "err")
}

/// Reads a severity as log libraries name it, from a text or from the output of `%` or `?`.
pub(super) fn read_severity(value: Value<'_>) -> Option<Severity> {
    let mut name = ShortText { bytes: [0; 16], length: 0 };
    write_text(&mut name, value).ok()?;
    let name = name.bytes.get(..name.length)?.trim_ascii();
    let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
    Severity::from_text(std::str::from_utf8(name).ok()?)
}

/// A text that fits the longest name of a severity; a longer one fails.
struct ShortText {
    bytes: [u8; 16],
    length: usize,
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
