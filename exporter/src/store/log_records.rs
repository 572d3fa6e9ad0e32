//! Converts OTLP log records to log lines: one JSON object each, in the format `local`.
//!
//! The store keeps the records, and converts them when they are read: a line repeats the names of its service and scope.

use logtracer_core::line::{Format, Line, Severity, Value};
use logtracer_core::{Sampling, TraceContext, TraceId};

use super::summary::short;
use crate::otlp::in_place::RecordRef;
use crate::otlp::severity;

/// A log record as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConvertedLine {
    pub(crate) severity: &'static str,
    pub(crate) message: String,
    /// One JSON object.
    pub(crate) line: String,
    /// The line has not all of the record, because it is larger than the limit.
    pub(crate) is_cut: bool,
}

/// Converts a log record of this service and this scope to a line, with at most `max_bytes` of texts and values.
pub(crate) fn line(
    record: &RecordRef<'_>,
    trace_id: Option<TraceId>,
    (service, scope): (&str, &str),
    max_bytes: usize,
) -> ConvertedLine {
    let (severity, severity_text) = severity(record);
    let (message, mut is_whole) = record.body.text_within(max_bytes);
    let mut left = max_bytes - message.len();

    let mut out = Vec::with_capacity(256 + message.len());
    let mut line = Line::new(&mut out, Format::Local, None);
    line.severity(severity).time(record.time_unix_nano).message(|text| text.push(&message));
    match (trace_id, record.span_id) {
        (Some(trace_id), Some(span_id)) => {
            let sampling = if record.flags & 1 == 1 { Sampling::Accept } else { Sampling::Defer };
            line.trace(&TraceContext::root(trace_id, span_id, sampling));
        }
        (None, _) => {}
        (Some(trace_id), None) => {
            line.rendered_field(format!("\"trace\":\"{trace_id}\"").as_bytes());
        }
    }
    line.labels(|labels| {
        labels.text("service.name", service);
        labels.text("logger", &*short(scope));
        labels.text("event", &*short(record.event_name));
        labels.text("severity_text", &*severity_text.map_or_else(Default::default, short));
    });
    for (key, value) in record.attributes().iter() {
        let json = left.checked_sub(key.len()).and_then(|left| value.json_within(left));
        let Some(json) = json else {
            is_whole = false;
            continue;
        };
        left = left.saturating_sub(key.len() + json.len() + FIELD_BYTES);
        line.field(key, Value::Json(&json));
    }
    line.finish();
    let line = String::from_utf8_lossy(&out).into_owned();
    ConvertedLine { severity: severity.as_str(), message, line, is_cut: !is_whole }
}

/// The punctuation of a field.
const FIELD_BYTES: usize = 8;

/// Returns the severity by number, or else by name, and the name if it says something else.
pub(super) fn severity<'a>(record: &RecordRef<'a>) -> (Severity, Option<&'a str>) {
    let text = record.severity_text.trim();
    let named = Severity::from_text(text);
    let severity = severity::of(record.severity_number, text);
    (severity, (named != Some(severity) && !text.is_empty()).then_some(text))
}

/// Returns a severity as a number.
pub(super) fn level(severity: Severity) -> i64 {
    Severity::ALL.iter().position(|known| *known == severity).map_or(0, |index| index as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use prost::Message;

    fn trace_id() -> TraceId {
        TraceId::from_bytes([7; 16]).unwrap()
    }

    fn record() -> LogRecord {
        let value = |value| Some(AnyValue { value: Some(value) });
        LogRecord {
            time_unix_nano: 1_532_527_445_499_727_000,
            severity_number: 13,
            body: value(Any::StringValue("nearly \"empty\"".to_owned())),
            attributes: vec![
                KeyValue { key: "items".to_owned(), value: value(Any::IntValue(3)), key_strindex: 0 },
                KeyValue { key: "severity".to_owned(), value: None, key_strindex: 0 },
            ],
            flags: 1,
            trace_id: vec![7; 16],
            span_id: vec![8; 8],
            ..Default::default()
        }
    }

    fn converted(record: &LogRecord, names: (&str, &str), max_bytes: usize) -> ConvertedLine {
        line(&RecordRef::new(&record.encode_to_vec()), Some(trace_id()), names, max_bytes)
    }

    #[test]
    fn a_record_becomes_one_json_object() {
        let got = converted(&record(), ("shop", "basket"), 1000);
        assert_eq!(
            got.line,
            concat!(
                r#"{"severity":"WARNING","time":"2018-07-25T14:04:05.499727000Z","message":"nearly \"empty\"","#,
                r#""trace":"07070707070707070707070707070707","spanId":"0808080808080808","traceSampled":true,"#,
                r#""labels":{"service.name":"shop","logger":"basket"},"items":3,"fields.severity":null}"#
            )
        );
        assert_eq!((got.severity, got.message.as_str(), got.is_cut), ("WARNING", "nearly \"empty\"", false));
    }

    #[test]
    fn an_invalid_span_id_is_ignored() {
        let got = converted(&LogRecord { span_id: vec![], ..record() }, ("", ""), 1000);
        assert!(got.line.contains(r#""trace":"07070707070707070707070707070707","items""#), "{}", got.line);
    }

    #[test]
    fn the_observed_time_is_a_fallback() {
        let bare = LogRecord { time_unix_nano: 0, observed_time_unix_nano: 5, ..record() };
        let got = converted(&bare, ("", ""), 1000);
        assert_eq!(RecordRef::new(&bare.encode_to_vec()).time_unix_nano, 5);
        assert!(got.line.contains("00:00:00.000000005Z"), "{}", got.line);
    }

    #[test]
    fn the_severity_is_the_number_or_else_the_text() {
        for (severity_number, text, expected, kept) in [
            (0, "WARN", "WARNING", ""),
            (0, "FATAL", "CRITICAL", ""),
            (0, "TRACE", "DEBUG", ""),
            (0, "Information", "INFO", ""),
            (0, "notice", "NOTICE", ""),
            (0, "", "DEFAULT", ""),
            (0, "AUDIT", "DEFAULT", "AUDIT"),
            (99, "err", "ERROR", ""),
            (13, "", "WARNING", ""),
            (13, "warn", "WARNING", ""),
            // The number counts, and a text that says something else is kept.
            (9, "AUDIT", "INFO", "AUDIT"),
            (9, "notice", "INFO", "notice"),
        ] {
            let record = LogRecord { severity_number, severity_text: text.to_owned(), ..record() };
            let got = converted(&record, ("", ""), 1000);
            let read: serde_json::Value = serde_json::from_str(&got.line).unwrap();
            assert_eq!((got.severity, &read["severity"]), (expected, &expected.into()), "{text}");
            let label = read["labels"]["severity_text"].as_str().unwrap_or_default();
            assert_eq!(label, kept, "{severity_number} {text}");
        }
    }

    #[test]
    fn a_large_record_is_cut() {
        let attribute = |key: &str, text: String| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(Any::StringValue(text)) }),
            key_strindex: 0,
        };
        let large = "\u{1}".repeat(100_000);
        let mut record = record();
        record.attributes = vec![attribute("large", large), attribute("small", "x".to_owned())];
        let got = converted(&record, ("", ""), 1000);
        assert!(got.is_cut && got.line.ends_with(r#""small":"x"}"#), "{}", got.line);
        record.body = record.attributes[0].value.clone();
        let got = converted(&record, ("", ""), 1000);
        assert!(got.is_cut && got.line.len() < 8000 && got.message.len() == 1000);
        serde_json::from_str::<serde_json::Value>(&got.line).unwrap();
    }
}
