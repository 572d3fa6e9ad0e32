//! Parses one log line: its trace, its time, its severity and its message.
//!
//! Both formats of [`logtracer_core::line`] are read: `stackdriver` (`logging.googleapis.com/trace`, …) and `local`
//! (`trace`, `spanId`, …), and the other time formats that Cloud Logging accepts.

use jiff::Timestamp;
use logtracer_core::{SpanId, TraceId};
use serde_json::{Map, Value};

use super::cri;
use crate::store::LogLine;

/// The reason why a line is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    Empty,
    NotJson,
    NoTrace,
    TooLong,
}

impl Skip {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson => "not json",
            Self::NoTrace => "no trace",
            Self::TooLong => "too long",
        }
    }
}

/// Parses a line with or without the prefix of the kubelet. If neither the line nor the prefix contains a time, the
/// line gets the time `now`.
pub(super) fn parse(bytes: &[u8], now: u64) -> Result<LogLine, Skip> {
    let (text, now) = match cri::split(bytes) {
        Some(prefixed) => {
            let time = std::str::from_utf8(prefixed.time).ok().and_then(rfc3339);
            (prefixed.content, time.unwrap_or(now))
        }
        None => (bytes, now),
    };
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(Skip::Empty);
    }
    if text.first() != Some(&b'{') {
        return Err(Skip::NotJson);
    }
    let text = std::str::from_utf8(text).map_err(|_| Skip::NotJson)?;
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| Skip::NotJson)?;
    let trace_id = trace_id(&object).ok_or(Skip::NoTrace)?;
    let span_id = text_of(&object, &["logging.googleapis.com/spanId", "spanId"]);
    Ok(LogLine {
        trace_id,
        span_id: span_id.and_then(|id| id.parse::<SpanId>().ok()),
        time_unix_nano: time(&object).unwrap_or(now),
        severity: text_of(&object, &["severity"]).unwrap_or("DEFAULT").to_owned(),
        message: text_of(&object, &["message"]).unwrap_or_default().to_owned(),
        line: text.to_owned(),
    })
}

/// Reads the trace id: `projects/P/traces/T`, or only `T`.
fn trace_id(object: &Map<String, Value>) -> Option<TraceId> {
    let name = text_of(object, &["logging.googleapis.com/trace", "trace"])?;
    name.rsplit('/').next()?.parse().ok()
}

/// Reads the time: RFC 3339, or seconds and nanoseconds in one of the two forms that logging agents accept.
fn time(object: &Map<String, Value>) -> Option<u64> {
    if let Some(text) = text_of(object, &["time", "timestamp"]) {
        return rfc3339(text);
    }
    let pair = |seconds: Option<&Value>, nanos: Option<&Value>| {
        let nanos = nanos.map_or(Some(0), number)?;
        number(seconds?)?.checked_mul(1_000_000_000)?.checked_add(nanos)
    };
    match object.get("timestamp") {
        Some(Value::Object(parts)) => pair(parts.get("seconds"), parts.get("nanos")),
        _ => pair(object.get("timestampSeconds"), object.get("timestampNanos")),
    }
}

/// Parses a time. A time without an offset is UTC, as the Python package bbc/logtracer writes it.
fn rfc3339(text: &str) -> Option<u64> {
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    u64::try_from(timestamp.as_nanosecond()).ok()
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn text_of<'a>(object: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| object.get(*key)?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

    #[test]
    fn both_formats_are_read() {
        let stackdriver = format!(
            r#"{{"severity":"ERROR","message":"shop - no","time":"2018-07-25T14:04:05.499727Z","logging.googleapis.com/trace":"projects/p/traces/{TRACE}","logging.googleapis.com/spanId":"00f067aa0ba902b7"}}"#
        );
        let local = format!(
            r#"  {{"severity":"ERROR","message":"shop - no","time":"2018-07-25T16:04:05.499727+02:00","trace":"{TRACE}","spanId":"00f067aa0ba902b7"}}  "#
        );
        for text in [&stackdriver, &local] {
            let line = parse(text.as_bytes(), 0).unwrap();
            assert_eq!(line.trace_id.to_string(), TRACE);
            assert_eq!(line.span_id.map(|id| id.to_string()).as_deref(), Some("00f067aa0ba902b7"));
            assert_eq!(line.time_unix_nano, 1_532_527_445_499_727_000);
            assert_eq!((line.severity.as_str(), line.message.as_str()), ("ERROR", "shop - no"));
            assert_eq!(line.line, text.trim());
        }
    }

    #[test]
    fn the_prefix_of_the_kubelet_contains_the_time() {
        let prefix = "1970-01-01T00:00:01.000000005Z stdout F ";
        let line = format!("{prefix}{{\"trace\":\"{TRACE}\",\"message\":\"a\"}}\n");
        let parsed = parse(line.as_bytes(), 7).unwrap();
        assert_eq!((parsed.time_unix_nano, parsed.message.as_str()), (1_000_000_005, "a"));
        assert_eq!(parse(format!("{prefix}no json").as_bytes(), 7), Err(Skip::NotJson));
    }

    #[test]
    fn all_time_formats_are_read() {
        for (member, expected) in [
            (r#""time":"1970-01-01T00:00:01Z""#, 1_000_000_000),
            (r#""time":"1970-01-01T00:00:01.000000005+00:00""#, 1_000_000_005),
            (r#""time":"1970-01-01T00:00:01.5""#, 1_500_000_000),
            (r#""timestamp":"1970-01-01T00:00:02Z""#, 2_000_000_000),
            (r#""timestamp":{"seconds":3,"nanos":4}"#, 3_000_000_004),
            (r#""timestampSeconds":"5","timestampNanos":"6""#, 5_000_000_006),
            (r#""timestampSeconds":5"#, 5_000_000_000),
            (r#""timestampSeconds":18446744073709551615"#, 7),
            (r#""time":"yesterday""#, 7),
            (r#""time":"1960-01-01T00:00:00Z""#, 7),
            (r#""time":9"#, 7),
            (r#""a":1"#, 7),
        ] {
            let text = format!(r#"{{"trace":"{TRACE}",{member}}}"#);
            assert_eq!(parse(text.as_bytes(), 7).unwrap().time_unix_nano, expected, "{member}");
        }
    }

    #[test]
    fn other_lines_are_skipped() {
        for (text, reason) in [
            (&b""[..], Skip::Empty),
            (b" \r\n", Skip::Empty),
            (b"[info] starting", Skip::NotJson),
            (b"{\"trace\":", Skip::NotJson),
            (b"{\"trace\":\"\xff\"}", Skip::NotJson),
            (b"[]", Skip::NotJson),
            (b"{}", Skip::NoTrace),
            (b"{\"trace\":7}", Skip::NoTrace),
            (b"{\"trace\":\"projects/p/traces/\"}", Skip::NoTrace),
            (b"{\"trace\":\"00000000000000000000000000000000\"}", Skip::NoTrace),
        ] {
            assert_eq!(parse(text, 0), Err(reason), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn an_invalid_span_id_is_ignored() {
        let text = format!(r#"{{"trace":"{TRACE}","spanId":"xyz","severity":3}}"#);
        let line = parse(text.as_bytes(), 0).unwrap();
        assert_eq!((line.span_id, line.severity.as_str()), (None, "DEFAULT"));
    }
}
