//! Fields that have a place of their own in a line: `http_request.*`, `labels.*` and `logtracer.severity`.

use std::ops::Range;
use std::time::Duration;

use logtracer_core::line::{HttpRequest, Line, Severity, Value};
use tracing_core::field::Field;
use tracing_core::{Event, Metadata};

use super::fields::{Each, name_of};

const HTTP_REQUEST: &str = "http_request.";
const LABELS: &str = "labels.";
const SEVERITY: &str = "logtracer.severity";
/// What the bridge from `log` calls the parts of a record.
const LOG_RECORD: &str = "log.";

/// Which of the special fields an event has; told by its callsite.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Special {
    http_request: bool,
    labels: bool,
    severity: bool,
    is_log_record: bool,
}

impl Special {
    pub(super) fn of(metadata: &Metadata<'_>, is_log_record: bool) -> Self {
        let mut special = Self { is_log_record, ..Self::default() };
        for field in metadata.fields() {
            let name = field.name();
            // All special names have a dot early on, which few others have.
            if name.starts_with('h') {
                special.http_request |= name.starts_with(HTTP_REQUEST);
            } else if name.starts_with('l') {
                special.labels |= name.starts_with(LABELS);
                special.severity |= name == SEVERITY;
            }
        }
        special
    }

    /// True where the field is not written among the others.
    pub(super) fn takes(self, name: &str) -> bool {
        (self.http_request && name.starts_with(HTTP_REQUEST))
            || (self.labels && name.starts_with(LABELS))
            || (self.severity && name == SEVERITY)
            || (self.is_log_record && name.starts_with(LOG_RECORD))
    }

    /// The severity that the event asks for by name, if it is one.
    pub(super) fn severity(self, event: &Event<'_>) -> Option<Severity> {
        let mut severity = None;
        if self.severity {
            event.record(&mut Each(|field: &Field, value: Value<'_>| {
                if let (SEVERITY, Value::Str(name)) = (field.name(), value) {
                    severity = Severity::from_name(name);
                }
            }));
        }
        severity
    }

    /// Writes `httpRequest` and the labels, those of the logging first.
    pub(super) fn write(
        self,
        event: &Event<'_>,
        line: &mut Line<'_>,
        request: &mut RequestFields,
        labels: &[(String, String)],
    ) {
        if self.http_request {
            request.clear();
            event.record(&mut Each(|field: &Field, value: Value<'_>| {
                if let Some(name) = name_of(field).strip_prefix(HTTP_REQUEST) {
                    request.take(name, value);
                }
            }));
            line.http_request(&request.as_request());
        }
        if self.labels || !labels.is_empty() {
            line.labels(|out| {
                for (name, value) in labels {
                    out.text(name, value);
                }
                if self.labels {
                    event.record(&mut Each(|field: &Field, value: Value<'_>| {
                        if let Some(name) = name_of(field).strip_prefix(LABELS) {
                            let is_given = labels.iter().any(|(given, _)| given == name);
                            if !is_given {
                                write_label(out, name, value);
                            }
                        }
                    }));
                }
            });
        }
    }
}

fn write_label(labels: &mut logtracer_core::line::Labels<'_, '_>, name: &str, value: Value<'_>) {
    match value {
        Value::Str(value) => labels.text(name, value),
        other => labels.write(name, |text| write_value(text, other)),
    }
}

fn write_value(out: &mut impl std::fmt::Write, value: Value<'_>) {
    let _ = match value {
        Value::Str(value) => out.write_str(value),
        Value::Fmt(value) => out.write_fmt(value),
        Value::Bool(value) => write!(out, "{value}"),
        Value::I64(value) => write!(out, "{value}"),
        Value::U64(value) => write!(out, "{value}"),
        Value::I128(value) => write!(out, "{value}"),
        Value::U128(value) => write!(out, "{value}"),
        Value::F64(value) => write!(out, "{value}"),
        other => write!(out, "{other:?}"),
    };
}

/// The parts of `httpRequest` of one event; the buffer is reused.
#[derive(Debug, Default)]
pub(super) struct RequestFields {
    text: String,
    texts: [Range<usize>; TEXTS.len()],
    status: u16,
    request_size: u64,
    response_size: u64,
    latency: Duration,
}

/// The names of the texts: tracing-stackdriver's, and those of Google.
const TEXTS: [[&str; 2]; 7] = [
    ["request_method", "requestMethod"],
    ["request_url", "requestUrl"],
    ["user_agent", "userAgent"],
    ["remote_ip", "remoteIp"],
    ["server_ip", "serverIp"],
    ["referer", "referer"],
    ["protocol", "protocol"],
];

impl RequestFields {
    pub(super) const fn new() -> Self {
        Self {
            text: String::new(),
            texts: [const { 0..0 }; TEXTS.len()],
            status: 0,
            request_size: 0,
            response_size: 0,
            latency: Duration::ZERO,
        }
    }

    fn clear(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = Self { text, ..Self::new() };
    }

    fn take(&mut self, name: &str, value: Value<'_>) {
        match name {
            "status" => self.status = self.number(value).try_into().unwrap_or(0),
            "request_size" | "requestSize" => self.request_size = self.number(value),
            "response_size" | "responseSize" => self.response_size = self.number(value),
            "latency" => self.latency = self.duration(value),
            _ => {
                if let Some(place) = TEXTS.iter().position(|names| names.contains(&name)) {
                    let written = self.written(value);
                    if let Some(text) = self.texts.get_mut(place) {
                        *text = written;
                    }
                }
            }
        }
    }

    fn written(&mut self, value: Value<'_>) -> Range<usize> {
        let start = self.text.len();
        write_value(&mut self.text, value);
        start..self.text.len()
    }

    fn as_text(&mut self, value: Value<'_>) -> &str {
        let place = self.written(value);
        self.text.get(place).unwrap_or_default()
    }

    fn number(&mut self, value: Value<'_>) -> u64 {
        match value {
            Value::U64(value) => value,
            other => self.as_text(other).trim_matches('"').parse().unwrap_or(0),
        }
    }

    /// Seconds as a number, or what `Duration` prints: `1.5s`, `12.3ms`.
    fn duration(&mut self, value: Value<'_>) -> Duration {
        let text = self.as_text(value).trim_matches('"');
        let (number, unit) = text.split_at(text.trim_end_matches(|c: char| !c.is_ascii_digit()).len());
        let seconds = number.parse::<f64>().unwrap_or(0.0)
            * match unit {
                "ms" => 1e-3,
                "µs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => 1.0,
            };
        // Rounded to what `Duration` printed.
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    fn as_request(&self) -> HttpRequest<'_> {
        let [method, url, user_agent, remote_ip, server_ip, referer, protocol] = &self.texts;
        let text = |place: &Range<usize>| self.text.get(place.clone()).unwrap_or_default().as_bytes();
        HttpRequest {
            method: text(method),
            url: text(url),
            request_size: self.request_size,
            status: self.status,
            response_size: self.response_size,
            user_agent: text(user_agent),
            remote_ip: text(remote_ip),
            server_ip: text(server_ip),
            referer: text(referer),
            latency: self.latency,
            protocol: text(protocol),
        }
    }
}
