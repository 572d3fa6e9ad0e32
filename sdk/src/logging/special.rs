//! Fields that have a place of their own in a line: `http_request.*`, `labels.*` and `logtracer.severity`.

use std::fmt;

use logtracer_core::line::{Severity, Value};
use tracing_core::Metadata;

use super::key_values::KeyValue;
use super::said::{Said, write_plain};

const HTTP_REQUEST: &str = "http_request.";
pub(super) const LABELS: &str = "labels.";
const SEVERITY: &str = "logtracer.severity";
/// What the bridge from `log` calls the parts of a record.
const LOG_RECORD: &str = "log.";

/// Which of the special fields an event has; told by its callsite and the names of its key-values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Special {
    http_request: bool,
    labels: bool,
    severity: bool,
    is_log_record: bool,
}

impl Special {
    pub(super) fn of(metadata: &Metadata<'_>, is_log_record: bool, key_values: &[KeyValue]) -> Self {
        let mut special = Self { is_log_record, ..Self::default() };
        metadata.fields().iter().for_each(|field| special.look_at(field.name()));
        key_values.iter().for_each(|pair| special.look_at(&pair.name));
        special
    }

    fn look_at(&mut self, name: &str) {
        // Few other names begin with these letters.
        if name.starts_with('h') {
            self.http_request |= name.starts_with(HTTP_REQUEST);
        } else if name.starts_with('l') {
            self.labels |= name.starts_with(LABELS);
            self.severity |= name == SEVERITY;
        }
    }

    /// What becomes of a field of the event.
    pub(super) fn fate_of(self, name: &str) -> Fate<'_> {
        if self.is_log_record && name.starts_with(LOG_RECORD) { Fate::Told } else { self.fate_of_pair(name) }
    }

    /// What becomes of a key-value.
    pub(super) fn fate_of_pair(self, name: &str) -> Fate<'_> {
        if self.http_request {
            if let Some(part) = name.strip_prefix(HTTP_REQUEST) {
                return Fate::HttpRequest(part);
            }
        }
        if self.labels {
            if let Some(label) = name.strip_prefix(LABELS) {
                return Fate::Label(label);
            }
        }
        if self.severity && name == SEVERITY { Fate::Told } else { Fate::Field }
    }

    /// True where the line has an `httpRequest` of the event's.
    pub(super) fn has_http_request(self) -> bool {
        self.http_request
    }

    /// The severity that the event asks for by name; a name that is none leaves the field one like all others.
    pub(super) fn take_severity(&mut self, said: Said<'_>) -> Option<Severity> {
        let mut severity = None;
        if self.severity {
            said.each(|name, value| {
                if name == SEVERITY {
                    severity = severity.or_else(|| severity_of(value));
                }
            });
            self.severity = severity.is_some();
        }
        severity
    }
}

/// Whether it was given as a text, by `%` or by `?`.
fn severity_of(value: Value<'_>) -> Option<Severity> {
    let mut name = Name { bytes: [0; 16], length: 0 };
    write_plain(&mut name, value).ok()?;
    let name = name.bytes.get(..name.length)?.trim_ascii();
    let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
    Severity::ALL.into_iter().find(|severity| name.eq_ignore_ascii_case(severity.as_str().as_bytes()))
}

/// A text that is longer than all severities is none of them.
struct Name {
    bytes: [u8; 16],
    length: usize,
}

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// What becomes of a field.
pub(super) enum Fate<'n> {
    /// One of its own.
    Field,
    /// A part of `httpRequest`, by its name there.
    HttpRequest(&'n str),
    /// A label of this name.
    Label(&'n str),
    /// Nothing more: the line tells it in another place.
    Told,
}
