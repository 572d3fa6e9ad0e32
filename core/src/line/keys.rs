//! The keys of both formats, in one table.

use super::Format;

/// The names of a line's members.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) severity: &'static str,
    pub(super) message: &'static str,
    pub(super) time: &'static str,
    pub(super) http_request: &'static str,
    pub(super) source_location: &'static str,
    pub(super) trace: &'static str,
    pub(super) span_id: &'static str,
    pub(super) trace_sampled: &'static str,
    pub(super) labels: &'static str,
    /// Further names that the readers of this format take for their own.
    reserved: &'static [&'static str],
    reserved_prefix: Option<&'static str>,
}

/// <https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields>
const STACKDRIVER: Keys = Keys {
    severity: "severity",
    message: "message",
    time: "time",
    http_request: "httpRequest",
    source_location: "logging.googleapis.com/sourceLocation",
    trace: "logging.googleapis.com/trace",
    span_id: "logging.googleapis.com/spanId",
    trace_sampled: "logging.googleapis.com/trace_sampled",
    labels: "logging.googleapis.com/labels",
    reserved: &["timestamp", "timestampSeconds", "timestampNanos"],
    reserved_prefix: Some("logging.googleapis.com/"),
};

const LOCAL: Keys = Keys {
    severity: "severity",
    message: "message",
    time: "time",
    http_request: "httpRequest",
    source_location: "sourceLocation",
    trace: "trace",
    span_id: "spanId",
    trace_sampled: "traceSampled",
    labels: "labels",
    reserved: &[],
    reserved_prefix: None,
};

/// Where a field goes whose name is reserved.
pub(super) const MOVED_PREFIX: &str = "fields.";

impl Keys {
    pub(super) const fn of(format: Format) -> &'static Self {
        match format {
            Format::Stackdriver => &STACKDRIVER,
            Format::Local => &LOCAL,
        }
    }

    pub(super) fn is_reserved(&self, name: &str) -> bool {
        let own = [
            self.severity,
            self.message,
            self.time,
            self.http_request,
            self.source_location,
            self.trace,
            self.span_id,
            self.trace_sampled,
            self.labels,
        ];
        own.contains(&name)
            || self.reserved.contains(&name)
            || self.reserved_prefix.is_some_and(|prefix| name.starts_with(prefix))
            || name.starts_with(MOVED_PREFIX)
    }
}
