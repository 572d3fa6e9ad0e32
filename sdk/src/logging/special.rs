//! Fields that have a place of their own in a line: `http_request.*`, `labels.*` and `logtracer.severity`.

use logtracer_core::line::{Line, Severity, Value};
use tracing_core::Metadata;

use super::http_request::RequestFields;
use super::key_values::KeyValue;
use super::labels::LabelFields;
use super::said::Said;

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

    /// True where the field of the event is not written among the others.
    pub(super) fn takes(self, name: &str) -> bool {
        self.takes_pair(name) || (self.is_log_record && name.starts_with(LOG_RECORD))
    }

    /// True where the key-value is not written among the fields.
    pub(super) fn takes_pair(self, name: &str) -> bool {
        (self.http_request && name.starts_with(HTTP_REQUEST))
            || (self.labels && name.starts_with(LABELS))
            || (self.severity && name == SEVERITY)
    }

    /// The severity that the event asks for by name, if it is one.
    pub(super) fn severity(self, said: Said<'_>) -> Option<Severity> {
        let mut severity = None;
        if self.severity {
            said.each(|name, value| {
                if let (SEVERITY, Value::Str(value)) = (name, value) {
                    severity = Severity::from_name(value);
                }
            });
        }
        severity
    }

    /// Writes `httpRequest`, if any part of it is told.
    pub(super) fn write_http_request(self, said: Said<'_>, line: &mut Line<'_>, request: &mut RequestFields) {
        if self.http_request {
            request.clear();
            said.each(|name, value| {
                if let Some(part) = name.strip_prefix(HTTP_REQUEST) {
                    request.take(part, value);
                }
            });
            line.http_request(&request.as_request());
        }
    }

    /// Takes the labels of the event.
    pub(super) fn take_labels(self, said: Said<'_>, labels: &mut LabelFields) {
        if self.labels {
            said.each(|name, value| {
                if let Some(label) = name.strip_prefix(LABELS) {
                    labels.take(label, value);
                }
            });
        }
    }
}
