//! Fields with a meaning in a line: `http_request.*`, `labels.*` and `logtracer.severity`.

use std::fmt;

use logtracer_core::line::{Severity, Value};
use tracing_core::Metadata;

use super::field_value::write_text;
use super::key_values::KeyValue;

const HTTP_REQUEST: &str = "http_request.";
pub(super) const LABELS: &str = "labels.";
pub(super) const SEVERITY: &str = "logtracer.severity";
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
    /// No field: another part of the line holds the value.
    Consumed,
}

/// Which known fields an event has, according to the names of the fields of its callsite and of its key-values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KnownFields {
    pub(super) has_http_request: bool,
    pub(super) has_severity: bool,
    has_labels: bool,
    is_log_record: bool,
}

impl KnownFields {
    pub(super) fn of(metadata: &Metadata<'_>, is_log_record: bool, key_values: &[KeyValue]) -> Self {
        let mut known = Self { is_log_record, ..Self::default() };
        metadata.fields().iter().for_each(|field| known.add(field.name()));
        key_values.iter().for_each(|pair| known.add(&pair.name));
        known
    }

    fn add(&mut self, name: &str) {
        // Few other names begin with these letters.
        if name.starts_with('h') {
            self.has_http_request |= name.starts_with(HTTP_REQUEST);
        } else if name.starts_with('l') {
            self.has_labels |= name.starts_with(LABELS);
            self.has_severity |= name == SEVERITY;
        }
    }

    pub(super) fn role_of_field(self, name: &str) -> FieldRole<'_> {
        if self.is_log_record && name.starts_with(LOG_RECORD) {
            FieldRole::Consumed
        } else {
            self.role_of_key_value(name)
        }
    }

    pub(super) fn role_of_key_value(self, name: &str) -> FieldRole<'_> {
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
        if self.has_severity && name == SEVERITY { FieldRole::Consumed } else { FieldRole::Plain }
    }
}

/// Reads the name of a severity, from a text or from the output of `%` or `?`.
pub(super) fn read_severity(value: Value<'_>) -> Option<Severity> {
    let mut name = ShortText { bytes: [0; 16], length: 0 };
    write_text(&mut name, value).ok()?;
    let name = name.bytes.get(..name.length)?.trim_ascii();
    let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
    Severity::ALL.into_iter().find(|severity| name.eq_ignore_ascii_case(severity.as_str().as_bytes()))
}

/// A text that fits the longest severity; a longer one fails.
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
