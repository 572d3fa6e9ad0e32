//! Converts OTLP log records to log lines: one JSON object each, in the format `local`.
//!
//! The store keeps the records, and converts them when they are read: a line repeats the names of its service and scope.

use logtracer_core::line::{Format, Line, Severity, Value};
use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::items::record_time;
use super::query::StoredLine;
use super::summary::short;
use crate::otlp::any_value;

/// Converts a log record of this service and this scope to a line.
pub(super) fn line(record: &LogRecord, trace_id: TraceId, service: &str, scope: &str) -> StoredLine {
    let span_id = record.span_id.as_slice().try_into().ok().and_then(SpanId::from_bytes);
    let severity = severity(record);
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

/// Converts a severity number: 1 to 4 are TRACE, 5 to 8 DEBUG, …, 21 to 24 FATAL. Without one, reads the severity text.
fn severity(record: &LogRecord) -> Severity {
    match record.severity_number {
        1..=8 => Severity::Debug,
        9..=12 => Severity::Info,
        13..=16 => Severity::Warning,
        17..=20 => Severity::Error,
        21..=24 => Severity::Critical,
        _ => {
            let named = |severity: &Severity| record.severity_text.eq_ignore_ascii_case(severity.as_str());
            Severity::ALL.into_iter().find(named).unwrap_or_default()
        }
    }
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
    fn the_observed_time_and_the_severity_text_are_fallbacks() {
        let bare = LogRecord {
            time_unix_nano: 0,
            observed_time_unix_nano: 5,
            severity_number: 0,
            severity_text: "notice".to_owned(),
            ..record()
        };
        let got = line(&bare, trace_id(), "", "");
        assert_eq!((got.time_unix_nano, got.severity.as_str()), (5, "NOTICE"));
    }
}
