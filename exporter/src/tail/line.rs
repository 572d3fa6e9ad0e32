//! Parses one log line: its trace, its time, its severity and its message.
//!
//! Both formats of [`logtracer_core::line`] are read: `stackdriver` (`logging.googleapis.com/trace`, …) and `local`
//! (`trace`, `spanId`, …), and the other time formats that Cloud Logging accepts.

use std::borrow::Cow;

use jiff::Timestamp;
use logtracer_core::line::Severity;
use logtracer_core::{SpanId, TraceId};

use super::container;
use super::fields::{Field, Fields, quote_non_numbers, replace_lone_surrogates};
use crate::otlp::json::escape_control_characters;
use crate::store::LogLine;

/// The reason why a line is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    Empty,
    NotJson,
    TooLong,
}

impl Skip {
    pub(super) const ALL: [Self; 3] = [Self::Empty, Self::NotJson, Self::TooLong];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson => "not json",
            Self::TooLong => "too long",
        }
    }
}

/// The members that are read.
const NAMES: [&str; 10] = [
    "logging.googleapis.com/trace",
    "trace",
    "logging.googleapis.com/spanId",
    "spanId",
    "time",
    "timestamp",
    "timestampSeconds",
    "timestampNanos",
    "severity",
    "message",
];

/// Parses a line, also as a container runtime writes it. If neither the line nor the runtime states a time, the line gets
/// the time `now`.
///
/// What is not a character, in UTF-8 or in an escape, becomes U+FFFD, so that it does not cost the line.
pub(super) fn parse(bytes: &[u8], now: u64) -> Result<LogLine, Skip> {
    let (text, now) = match container::parse(without_mark(bytes)) {
        Some(printed) => {
            let time = std::str::from_utf8(&printed.time).ok().and_then(rfc3339);
            (printed.content, time.unwrap_or(now))
        }
        None => (Cow::Borrowed(bytes), now),
    };
    let text = without_mark(&text).trim_ascii();
    if text.is_empty() {
        return Err(Skip::Empty);
    }
    if text.first() != Some(&b'{') {
        return Err(Skip::NotJson);
    }
    let mut text = String::from_utf8_lossy(text);
    for mend in [escape_control_characters, replace_lone_surrogates] {
        text = match mend(&text) {
            Cow::Borrowed(_) => continue,
            Cow::Owned(mended) => Cow::Owned(mended),
        };
    }
    let (text, fields) = match Fields::read(&NAMES, &text) {
        Some(fields) => (text, fields),
        None => {
            let quoted = quote_non_numbers(&text).into_owned();
            let fields = Fields::read(&NAMES, &quoted).ok_or(Skip::NotJson)?;
            (Cow::Owned(quoted), fields)
        }
    };
    let text_of = |name| fields.get(name).text();
    Ok(LogLine {
        trace_id: fields.first(&["logging.googleapis.com/trace", "trace"], trace_id),
        span_id: fields.first(&["logging.googleapis.com/spanId", "spanId"], |id| id.parse::<SpanId>().ok()),
        time_unix_nano: time(&fields).unwrap_or(now),
        severity: severity_of(fields.get("severity")).unwrap_or_default().to_string(),
        message: text_of("message").unwrap_or_default().to_owned(),
        line: text.into_owned(),
    })
}

/// Removes a byte order mark: of a file, or of what a container has written.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// Reads the trace id: `projects/P/traces/T`, or only `T`.
pub(super) fn trace_id(name: &str) -> Option<TraceId> {
    name.rsplit('/').next()?.parse().ok()
}

/// Reads the name of a severity, or the number of a `LogSeverity`.
fn severity_of(field: &Field) -> Option<Severity> {
    field.text().map_or_else(|| Severity::from_log_severity(field.number()?), Severity::from_text)
}

/// Reads the first valid time: RFC 3339, or seconds and nanoseconds in one of the two forms that logging agents accept.
fn time(fields: &Fields<{ NAMES.len() }>) -> Option<u64> {
    let pair = |seconds: &Field, nanos: &Field| {
        seconds.number()?.checked_mul(1_000_000_000)?.checked_add(nanos.number()?)
    };
    let timestamps = ["time", "timestamp"].map(|name| match fields.get(name) {
        Field::Text(text) => rfc3339(text),
        Field::Time(parts) => pair(&parts.0, &parts.1),
        Field::Number(_) | Field::Other => None,
    });
    timestamps.into_iter().flatten().next().or_else(|| {
        let nanos = fields.get("timestampNanos");
        pair(fields.get("timestampSeconds"), if *nanos == Field::Other { &Field::Number(0) } else { nanos })
    })
}

/// Parses a time. A time without an offset is UTC, as the Python package bbc/logtracer writes it. What is shorter than a
/// nanosecond is cut off.
pub(super) fn rfc3339(text: &str) -> Option<u64> {
    let text = &*with_nanoseconds(text);
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    u64::try_from(timestamp.as_nanosecond()).ok()
}

/// Removes the digits of a fraction after the ninth.
fn with_nanoseconds(text: &str) -> Cow<'_, str> {
    let Some((whole, fraction)) = text.split_once(['.', ',']) else { return Cow::Borrowed(text) };
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    match (fraction.get(..9), fraction.get(digits..)) {
        (Some(nanos), Some(rest)) if digits > 9 => Cow::Owned(format!("{whole}.{nanos}{rest}")),
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
