//! Converts OTLP log records to log lines: one JSON object each, in the format `local`.
//!
//! The store keeps the records, and converts them when they are read: a line repeats the names of its service and scope.

use logtracer_core::line::{Format, Line, Severity, Value};
use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::items::record_time;
use super::query::StoredLine;
use super::summary::short;
use crate::otlp::{any_value, severity};

/// Converts a log record of this service and this scope to a line.
pub(super) fn line(record: &LogRecord, trace_id: TraceId, service: &str, scope: &str) -> StoredLine {
    let span_id = record.span_id.as_slice().try_into().ok().and_then(SpanId::from_bytes);
    let (severity, severity_text) = severity(record);
    let message = any_value::text(record.body.as_ref());
    let time_unix_nano = record_time(record);

    let mut out = Vec::with_capacity(256 + message.len());
    let mut line = Line::new(&mut out, Format::Local, None);
    line.severity(severity).time(time_unix_nano).message(|text| text.push(&message));
    match span_id {
        Some(span_id) => {
            let sampling = if record.flags & 1 == 1 { Sampling::Accept } else { Sampling::Defer };
            line.trace(&TraceContext::root(trace_id, span_id, sampling));
        }
        None => {
            line.rendered_field(format!("\"trace\":\"{trace_id}\"").as_bytes());
        }
    }
    line.labels(|labels| {
        labels.text("service.name", service);
        labels.text("logger", short(scope));
        labels.text("event", &record.event_name);
        labels.text("severity_text", severity_text.map_or("", short));
    });
    for attribute in &record.attributes {
        let json = any_value::json(attribute.value.as_ref()).to_string();
        line.field(&attribute.key, Value::Json(&json));
    }
    line.finish();
    StoredLine {
        time_unix_nano,
        severity: severity.as_str().to_owned(),
        message,
        span_id,
        line: String::from_utf8_lossy(&out).into_owned(),
    }
}

/// Returns the severity by number, or else by name, and the name if it says something else.
fn severity(record: &LogRecord) -> (Severity, Option<&str>) {
    let text = record.severity_text.trim();
    let named = severity::from_text(text);
    let severity = severity::from_number(record.severity_number).or(named).unwrap_or_default();
    (severity, (named != Some(severity) && !text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

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

    #[test]
    fn a_record_becomes_one_json_object() {
        let got = line(&record(), trace_id(), "shop", "basket");
        assert_eq!(
            got.line,
            concat!(
                r#"{"severity":"WARNING","time":"2018-07-25T14:04:05.499727000Z","message":"nearly \"empty\"","#,
                r#""trace":"07070707070707070707070707070707","spanId":"0808080808080808","traceSampled":true,"#,
                r#""labels":{"service.name":"shop","logger":"basket"},"items":3,"fields.severity":null}"#
            )
        );
        assert_eq!((got.severity.as_str(), got.message.as_str()), ("WARNING", "nearly \"empty\""));
    }

    #[test]
    fn an_invalid_span_id_is_ignored() {
        let got = line(&LogRecord { span_id: vec![], ..record() }, trace_id(), "", "");
        assert!(got.line.contains(r#""trace":"07070707070707070707070707070707","items""#), "{}", got.line);
    }

    #[test]
    fn the_observed_time_is_a_fallback() {
        let bare = LogRecord { time_unix_nano: 0, observed_time_unix_nano: 5, ..record() };
        assert_eq!(line(&bare, trace_id(), "", "").time_unix_nano, 5);
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
            let got = line(&record, trace_id(), "", "");
            let read: serde_json::Value = serde_json::from_str(&got.line).unwrap();
            assert_eq!((got.severity.as_str(), &read["severity"]), (expected, &expected.into()), "{text}");
            let label = read["labels"]["severity_text"].as_str().unwrap_or_default();
            assert_eq!(label, kept, "{severity_number} {text}");
        }
    }
}
