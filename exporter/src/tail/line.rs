//! Parses one log line: its trace, its time, its severity and its message.
//!
//! Both formats of [`logtracer_core::line`] are read: `stackdriver` (`logging.googleapis.com/trace`, …) and `local`
//! (`trace`, `spanId`, …), and the other time formats that Cloud Logging accepts.

use std::borrow::Cow;

use jiff::Timestamp;
use logtracer_core::{SpanId, TraceId};

use super::cri;
use super::fields::{Field, Fields, replace_lone_surrogates};
use crate::otlp::severity;
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

/// Parses a line with or without the prefix of the kubelet. If neither the line nor the prefix contains a time, the
/// line gets the time `now`.
///
/// What is not a character, in UTF-8 or in an escape, becomes U+FFFD, so that it does not cost the line.
pub(super) fn parse(bytes: &[u8], now: u64) -> Result<LogLine, Skip> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
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
    let text = String::from_utf8_lossy(text);
    let text = match replace_lone_surrogates(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(replaced) => Cow::Owned(replaced),
    };
    let fields = Fields::read(&NAMES, &text).map_err(|_| Skip::NotJson)?;
    let text_of = |name| fields.get(name).text();
    Ok(LogLine {
        trace_id: fields.first(&["logging.googleapis.com/trace", "trace"], trace_id),
        span_id: fields.first(&["logging.googleapis.com/spanId", "spanId"], |id| id.parse::<SpanId>().ok()),
        time_unix_nano: time(&fields).unwrap_or(now),
        severity: text_of("severity").and_then(severity::from_text).unwrap_or_default().to_string(),
        message: text_of("message").unwrap_or_default().to_owned(),
        line: text.into_owned(),
    })
}

/// Reads the trace id: `projects/P/traces/T`, or only `T`.
pub(super) fn trace_id(name: &str) -> Option<TraceId> {
    name.rsplit('/').next()?.parse().ok()
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

/// Parses a time. A time without an offset is UTC, as the Python package bbc/logtracer writes it.
pub(super) fn rfc3339(text: &str) -> Option<u64> {
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    u64::try_from(timestamp.as_nanosecond()).ok()
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
            assert_eq!(line.trace_id.unwrap().to_string(), TRACE);
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
            // An invalid time does not hide a valid one.
            (r#""time":"bad","timestamp":"1970-01-01T00:00:02Z""#, 2_000_000_000),
            (r#""time":null,"timestamp":"1970-01-01T00:00:02Z""#, 2_000_000_000),
            (r#""time":"1970-01-01T00:00:01Z","timestamp":"bad""#, 1_000_000_000),
            (r#""time":"bad","timestamp":{"seconds":3,"nanos":4}"#, 3_000_000_004),
            (r#""timestamp":{"seconds":3}"#, 3_000_000_000),
            (r#""time":{"seconds":3,"other":[{}],"nanos":"4"}"#, 3_000_000_004),
            (r#""timestamp":"bad","timestampSeconds":5,"timestampNanos":6"#, 5_000_000_006),
            (r#""timestamp":{"seconds":"x"},"timestampSeconds":5"#, 5_000_000_000),
            (r#""timestamp":{"seconds":{"seconds":1}},"timestampSeconds":5"#, 5_000_000_000),
            (r#""timestamp":[{"seconds":1}],"timestampSeconds":5,"timestampNanos":null"#, 5_000_000_000),
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
            (b"{} {}", Skip::NotJson),
            (b"{\"a\":\"\n\"}", Skip::NotJson),
            (b"[]", Skip::NotJson),
        ] {
            assert_eq!(parse(text, 0), Err(reason), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_line_without_a_valid_trace_has_none() {
        for text in [
            &b"{}"[..],
            b"{\"trace\":\"\xff\"}",
            b"{\"trace\":7}",
            b"{\"trace\":\"projects/p/traces/\"}",
            b"{\"trace\":\"00000000000000000000000000000000\"}",
        ] {
            assert_eq!(parse(text, 0).unwrap().trace_id, None, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn an_invalid_id_does_not_hide_a_valid_one() {
        let other = "0af7651916cd43dd8448eb211c80319c";
        for (members, trace, span) in [
            (format!(r#""logging.googleapis.com/trace":"bad","trace":"{TRACE}""#), TRACE, None),
            (format!(r#""logging.googleapis.com/trace":7,"trace":"{TRACE}""#), TRACE, None),
            (
                format!(r#""logging.googleapis.com/trace":"projects/p/traces/{other}","trace":"{TRACE}""#),
                other,
                None,
            ),
            (format!(r#""trace":"{other}","trace":"{TRACE}""#), TRACE, None),
            (
                format!(
                    r#""trace":"{TRACE}","logging.googleapis.com/spanId":"0","spanId":"00f067aa0ba902b7""#
                ),
                TRACE,
                Some("00f067aa0ba902b7"),
            ),
        ] {
            let line = parse(format!("{{{members}}}").as_bytes(), 0).unwrap();
            let span_id = line.span_id.map(|id| id.to_string());
            assert_eq!(
                (line.trace_id.unwrap().to_string().as_str(), span_id.as_deref()),
                (trace, span),
                "{members}"
            );
        }
    }

    #[test]
    fn what_is_no_character_does_not_cost_the_line() {
        for (members, message, severity) in [
            (&br#""message":"cut \ud83d","severity":"\udc00""#[..], "cut \u{fffd}", "DEFAULT"),
            (br#""message":"a","other":"\ud83d","\ud83d":{"\udfff":["\ud800"]}"#, "a", "DEFAULT"),
            (br#""message":"\ud83d\ude00 \\ud83d""#, "\u{1f600} \\ud83d", "DEFAULT"),
            (b"\"message\":\"caf\xe9\",\"\xff\":\"\xff\"", "caf\u{fffd}", "DEFAULT"),
        ] {
            let text = [b"{\"trace\":\"", TRACE.as_bytes(), b"\",", members, b"}"].concat();
            for text in [text.clone(), [b"\xef\xbb\xbf", &text[..], b"\r\n"].concat()] {
                let line = parse(&text, 0).unwrap();
                assert_eq!((line.message.as_str(), line.severity.as_str()), (message, severity));
                serde_json::from_str::<serde_json::Value>(&line.line).unwrap();
            }
        }
    }

    #[test]
    fn the_severity_is_one_of_google_s() {
        for (text, expected) in
            [("WARNING", "WARNING"), ("warn", "WARNING"), ("Fatal", "CRITICAL"), ("audit", "DEFAULT")]
        {
            let line = format!(r#"{{"trace":"{TRACE}","severity":"{text}"}}"#);
            let parsed = parse(line.as_bytes(), 0).unwrap();
            assert_eq!((parsed.severity.as_str(), parsed.line), (expected, line));
        }
    }

    #[test]
    fn a_deeply_nested_line_is_read() {
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let text = format!(r#"{{"trace":"{TRACE}","a":{nested}}}"#);
        assert_eq!(parse(text.as_bytes(), 0).unwrap().trace_id.unwrap().to_string(), TRACE);
    }

    #[test]
    fn an_invalid_span_id_is_ignored() {
        let text = format!(r#"{{"trace":"{TRACE}","spanId":"xyz","severity":3}}"#);
        let line = parse(text.as_bytes(), 0).unwrap();
        assert_eq!((line.span_id, line.severity.as_str()), (None, "DEFAULT"));
    }
}
