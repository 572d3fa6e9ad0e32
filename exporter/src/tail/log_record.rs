//! Converts log lines to OTLP log records, for the sinks.
//!
//! ```text
//!  message                                     ──► body
//!  severity, time, trace, spanId, traceSampled ──► the fields of the record
//!  httpRequest, sourceLocation, operation      ──► gcp.http_request, gcp.source_location, gcp.operation
//!  insertId                                    ──► log.record.uid
//!  anything else                               ──► an attribute of the same name
//! ```
//!
//! The attributes `gcp.…` are those of the OpenTelemetry Collector's exporter for Google Cloud. A member becomes one only
//! if it has the form that Cloud Logging expects; otherwise it keeps its name.

use logtracer_core::SpanId;
use logtracer_core::line::Severity;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use super::line::{rfc3339, trace_id};
use super::record_id::RecordId;
use crate::otlp::json::any;
use crate::store::LogLine;
use crate::truncate::truncate;

/// The attribute that identifies a record
/// (<https://opentelemetry.io/docs/specs/semconv/registry/attributes/log/>).
const UID: &str = "log.record.uid";

/// The attribute of a record whose text was truncated.
const TRUNCATED: &str = "logtracer.truncated";

/// The maximum length of a line's own id.
const MAX_UID_BYTES: usize = 256;

/// A longer text of a severity stays an attribute.
const MAX_SEVERITY_BYTES: usize = 64;

/// What a record has beside its body, if its line is not converted: the id, the ids of the trace, the severity, the times.
pub(super) const OVERHEAD_BYTES: usize = 512;

/// Members that are objects: their names, the name of the attribute, and the names that the object may have.
const OBJECTS: [([&str; 2], &str, &[&str]); 3] = [
    (["httpRequest", "httpRequest"], "gcp.http_request", &[]),
    (
        ["logging.googleapis.com/sourceLocation", "sourceLocation"],
        "gcp.source_location",
        &["file", "line", "function"],
    ),
    (
        ["logging.googleapis.com/operation", "operation"],
        "gcp.operation",
        &["id", "producer", "first", "last"],
    ),
];

/// The labels of an entry.
const LABELS: &str = "logging.googleapis.com/labels";

/// Converts a line to a record of at most `max_bytes`, which are at least [`OVERHEAD_BYTES`].
///
/// The body of a record has the whole text of the line if the line has too many values or too deep ones. If the record is
/// too large, it has the beginning of the text.
///
/// `project` is the project of the sinks, if it is known: a trace in another one keeps its name.
pub(super) fn convert(
    line: &LogLine,
    id: RecordId,
    project: Option<&str>,
    now: u64,
    max_bytes: usize,
) -> LogRecord {
    let base = LogRecord {
        time_unix_nano: line.time_unix_nano,
        observed_time_unix_nano: now,
        severity_number: severity_number(&line.severity),
        trace_id: line.trace_id.map(|id| id.to_bytes().to_vec()).unwrap_or_default(),
        // A span id says nothing without a trace id.
        span_id: line
            .span_id
            .filter(|_| line.trace_id.is_some())
            .map(|id| id.to_bytes().to_vec())
            .unwrap_or_default(),
        ..LogRecord::default()
    };
    if let Some(members) = any::members(&line.line) {
        let record = of_members(Members(members), line, id, project, base.clone());
        if record.encoded_len() <= max_bytes {
            return record;
        }
    }
    let mut record = LogRecord { attributes: vec![string(UID, id.to_string())], ..base };
    let text = truncate(&line.line, max_bytes.saturating_sub(OVERHEAD_BYTES));
    if text.len() < line.line.len() {
        let value = Some(AnyValue { value: Some(Any::BoolValue(true)) });
        record.attributes.push(KeyValue { key: TRUNCATED.to_owned(), value, key_strindex: 0 });
    }
    record.body = Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) });
    record
}

fn of_members(
    mut members: Members,
    line: &LogLine,
    id: RecordId,
    project: Option<&str>,
    mut record: LogRecord,
) -> LogRecord {
    record.body = members.take("message", |value| text(value).map(|_| value.clone()));
    let severity = members.take("severity", |value| match value.value.as_ref()? {
        Any::StringValue(text) => (text.len() <= MAX_SEVERITY_BYTES).then(|| text.clone()),
        // A `LogSeverity` of Cloud Logging.
        _ => Severity::from_log_severity(number(value)?).map(|severity| severity.to_string()),
    });
    record.severity_text = severity.unwrap_or_default();
    if line.trace_id.is_some() {
        for name in ["logging.googleapis.com/trace", "trace"] {
            members.take(name, |value| {
                let name = text(value)?;
                let of_name = name.strip_prefix("projects/").and_then(|rest| rest.split_once("/traces/"));
                let is_elsewhere = of_name.is_some_and(|(own, _)| project != Some(own));
                (!is_elsewhere && trace_id(name) == line.trace_id).then_some(())
            });
        }
        for name in ["logging.googleapis.com/spanId", "spanId"] {
            members.take(name, |value| {
                let span_id = text(value)?.parse::<SpanId>().ok()?;
                (line.span_id == Some(span_id)).then_some(())
            });
        }
        for name in ["logging.googleapis.com/trace_sampled", "traceSampled"] {
            let is_sampled = members.take(name, |value| match value.value.as_ref()? {
                Any::BoolValue(truth) => Some(*truth),
                Any::StringValue(text) => text.parse().ok(),
                _ => None,
            });
            record.flags |= u32::from(is_sampled == Some(true));
        }
    }
    take_times(&mut members, line.time_unix_nano);
    let own_id = ["logging.googleapis.com/insertId", UID, "insertId"].into_iter().find_map(|name| {
        members.take(name, |value| {
            text(value).filter(|text| (1..=MAX_UID_BYTES).contains(&text.len())).map(str::to_owned)
        })
    });
    for (names, attribute, known) in OBJECTS {
        for (index, name) in names.into_iter().enumerate() {
            // A name without a prefix can have another meaning.
            let is_meant = |value: &AnyValue| {
                object(value).is_some_and(|object| {
                    index == 0 || object.iter().all(|member| known.contains(&member.key.as_str()))
                })
            };
            members.rename(name, attribute, is_meant);
        }
    }
    members.rename("labels", LABELS, |value| {
        object(value)
            .is_some_and(|labels| labels.iter().all(|label| label.value.as_ref().and_then(text).is_some()))
    });
    // Not the id of this record: empty, too long or no text.
    members.rename(UID, "fields.log.record.uid", |_| true);
    record.attributes = members.0;
    record.attributes.insert(0, string(UID, own_id.unwrap_or_else(|| id.to_string())));
    record
}

/// Removes the members with the time of the record. One with another time, or an invalid one, stays.
fn take_times(members: &mut Members, time: u64) {
    let zero = AnyValue { value: Some(Any::IntValue(0)) };
    for name in ["time", "timestamp"] {
        members.take(name, |value| {
            let nanos = match object(value) {
                None => rfc3339(text(value)?),
                Some(parts) if parts.iter().all(|part| ["seconds", "nanos"].contains(&part.key.as_str())) => {
                    let of = |name| parts.iter().find(|part| part.key == name)?.value.as_ref();
                    sum(of("seconds"), of("nanos").or(Some(&zero)))
                }
                Some(_) => None,
            };
            (nanos == Some(time)).then_some(())
        });
    }
    let nanos = members.get("timestampNanos").filter(|nanos| nanos.value.is_some()).cloned().unwrap_or(zero);
    let is_taken = members
        .take("timestampSeconds", |seconds| (sum(Some(seconds), Some(&nanos)) == Some(time)).then_some(()));
    if is_taken.is_some() {
        members.take("timestampNanos", |_| Some(()));
    }
}

fn sum(seconds: Option<&AnyValue>, nanos: Option<&AnyValue>) -> Option<u64> {
    number(seconds?)?.checked_mul(1_000_000_000)?.checked_add(number(nanos?)?)
}

/// Returns an integer, which can be written as a text or with a fraction of zeros.
fn number(value: &AnyValue) -> Option<u64> {
    match value.value.as_ref()? {
        Any::IntValue(number) => u64::try_from(*number).ok(),
        Any::StringValue(text) => text.parse().ok(),
        // As far as a double holds all integers.
        Any::DoubleValue(number) if number.fract() == 0. && (0. ..=9e15).contains(number) => {
            Some(*number as u64)
        }
        _ => None,
    }
}

/// The members of a line that are not in the record yet.
struct Members(Vec<KeyValue>);

impl Members {
    fn get(&self, name: &str) -> Option<&AnyValue> {
        self.0.iter().find(|member| member.key == name)?.value.as_ref()
    }

    /// Removes a member if `read` returns something.
    fn take<T>(&mut self, name: &str, read: impl FnOnce(&AnyValue) -> Option<T>) -> Option<T> {
        let index = self.0.iter().position(|member| member.key == name)?;
        let taken = read(self.0.get(index)?.value.as_ref()?)?;
        self.0.remove(index);
        Some(taken)
    }

    /// Renames a member, unless another one has the name.
    fn rename(&mut self, name: &str, new: &str, is_meant: impl FnOnce(&AnyValue) -> bool) {
        if self.0.iter().any(|member| member.key == new) {
            return;
        }
        if let Some(member) = self.0.iter_mut().find(|member| member.key == name)
            && member.value.as_ref().is_some_and(is_meant)
        {
            new.clone_into(&mut member.key);
        }
    }
}

fn text(value: &AnyValue) -> Option<&str> {
    match value.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

fn object(value: &AnyValue) -> Option<&[KeyValue]> {
    match value.value.as_ref()? {
        Any::KvlistValue(list) => Some(&list.values),
        _ => None,
    }
}

pub(super) fn string(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, key_strindex: 0 }
}

/// Returns the number of a severity. The OpenTelemetry Collector's exporter for Google Cloud converts it back.
fn severity_number(name: &str) -> i32 {
    match Severity::from_name(name).unwrap_or_default() {
        Severity::Default => 0,
        Severity::Debug => 5,
        Severity::Info => 9,
        Severity::Notice => 11,
        Severity::Warning => 13,
        Severity::Error => 17,
        Severity::Critical => 21,
        Severity::Alert => 23,
        Severity::Emergency => 24,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::otlp::any_value::{JsonObject, text as value_text};
    use crate::storage::DirectoryId;
    use crate::tail::line::parse;
    use crate::tail::record_id::Source;

    const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

    fn converted(json: &str, max_bytes: usize) -> (LogRecord, String) {
        let line = parse(json.as_bytes(), 7).unwrap();
        let source = Source { path: b"log", head: b"", offset: 0 };
        let id = RecordId::of(DirectoryId::OF_TESTS, source, &line);
        (convert(&line, id, Some("p"), 9, max_bytes), id.to_string())
    }

    #[test]
    fn a_trace_in_another_project_keeps_its_name() {
        for (project, is_kept) in [("p", false), ("other-2", true)] {
            let name = format!("projects/{project}/traces/{TRACE}");
            let json = format!(r#"{{"message":"m","logging.googleapis.com/trace":"{name}"}}"#);
            let (record, _) = converted(&json, 1 << 20);
            assert_eq!(hex::encode(&record.trace_id), TRACE);
            let attributes = serde_json::to_value(JsonObject(&record.attributes)).unwrap();
            let expected = if is_kept { json!(name) } else { json!(null) };
            assert_eq!(attributes["logging.googleapis.com/trace"], expected, "{project}");
        }
    }

    #[test]
    fn both_formats_become_the_same_record() {
        let stackdriver = format!(
            r#"{{"severity":"NOTICE","time":"2018-07-25T14:04:05.5Z","message":"shop - no","logging.googleapis.com/trace":"projects/p/traces/{TRACE}","logging.googleapis.com/spanId":"00f067aa0ba902b7","logging.googleapis.com/trace_sampled":true,"httpRequest":{{"status":200}},"logging.googleapis.com/labels":{{"route":"r"}},"logging.googleapis.com/sourceLocation":{{"file":"a.rs","line":"3"}},"logging.googleapis.com/operation":{{"id":"o","first":true}},"logging.googleapis.com/insertId":"i","items":[1,{{"a":null}}]}}"#
        );
        let local = format!(
            r#"{{"severity":"NOTICE","time":"2018-07-25T14:04:05.5Z","message":"shop - no","trace":"{TRACE}","spanId":"00f067aa0ba902b7","traceSampled":true,"httpRequest":{{"status":200}},"labels":{{"route":"r"}},"sourceLocation":{{"file":"a.rs","line":"3"}},"operation":{{"id":"o","first":true}},"insertId":"i","items":[1,{{"a":null}}]}}"#
        );
        for json in [stackdriver, local] {
            let (record, _) = converted(&json, 1 << 20);
            assert_eq!(value_text(record.body.as_ref()), "shop - no");
            assert_eq!((record.severity_number, record.severity_text.as_str()), (11, "NOTICE"));
            assert_eq!(
                (record.time_unix_nano, record.observed_time_unix_nano, record.flags),
                (1_532_527_445_500_000_000, 9, 1)
            );
            assert_eq!(
                (hex::encode(&record.trace_id).as_str(), hex::encode(&record.span_id).as_str()),
                (TRACE, "00f067aa0ba902b7")
            );
            assert_eq!(
                serde_json::to_value(JsonObject(&record.attributes)).unwrap(),
                json!({
                    "log.record.uid": "i",
                    "gcp.http_request": {"status": 200},
                    "logging.googleapis.com/labels": {"route": "r"},
                    "gcp.source_location": {"file": "a.rs", "line": "3"},
                    "gcp.operation": {"id": "o", "first": true},
                    "items": [1, {"a": null}],
                })
            );
        }
    }

    /// What is not converted keeps its name.
    #[test]
    fn no_member_is_lost() {
        for (json, body, attributes) in [
            (r#"{}"#, "", json!({})),
            (
                r#"{"message":{"a":1},"severity":3,"time":"bad"}"#,
                "",
                json!({"message": {"a": 1}, "severity": 3, "time": "bad"}),
            ),
            (
                r#"{"httpRequest":"GET","labels":{"a":1},"operation":{"id":"a","own":1}}"#,
                "",
                json!({"httpRequest": "GET", "labels": {"a": 1}, "operation": {"id": "a", "own": 1}}),
            ),
            (
                r#"{"httpRequest":{"a":1},"gcp.http_request":2}"#,
                "",
                json!({"httpRequest": {"a": 1}, "gcp.http_request": 2}),
            ),
            // Ids that are not those of the record.
            (
                r#"{"trace":"bad","spanId":"00f067aa0ba902b7","traceSampled":true}"#,
                "",
                json!({"trace": "bad", "spanId": "00f067aa0ba902b7", "traceSampled": true}),
            ),
            (r#"{"log.record.uid":7,"message":"m"}"#, "m", json!({"fields.log.record.uid": 7})),
            (
                r#"{"time":"1970-01-01T00:00:05Z","timestamp":"1970-01-01T00:00:06Z"}"#,
                "",
                json!({"timestamp": "1970-01-01T00:00:06Z"}),
            ),
            (r#"{"timestamp":{"seconds":3,"nanos":4}}"#, "", json!({})),
            (r#"{"timestampSeconds":"5","timestampNanos":6}"#, "", json!({})),
            (
                r#"{"timestampSeconds":5,"timestampNanos":"x"}"#,
                "",
                json!({"timestampSeconds": 5, "timestampNanos": "x"}),
            ),
        ] {
            let (record, id) = converted(json, 1 << 20);
            let mut got = serde_json::to_value(JsonObject(&record.attributes)).unwrap();
            assert_eq!(got.as_object_mut().unwrap().remove("log.record.uid"), Some(id.into()), "{json}");
            assert_eq!((value_text(record.body.as_ref()).as_str(), got), (body, attributes), "{json}");
        }
    }

    /// Also if it has another form than the SDK's.
    #[test]
    fn what_a_record_has_is_no_attribute() {
        for (members, nanos, flags, severity) in [
            (r#""timestamp":{"nanos":4,"seconds":3}"#, 3_000_000_004, 0, (0, "")),
            (r#""timestamp":{"seconds":3}"#, 3_000_000_000, 0, (0, "")),
            (r#""timestampSeconds":5.0,"timestampNanos":null"#, 5_000_000_000, 0, (0, "")),
            (r#""timestampSeconds":"5","timestampNanos":6.0"#, 5_000_000_006, 0, (0, "")),
            (r#""logging.googleapis.com/trace_sampled":"true""#, 7, 1, (0, "")),
            (r#""traceSampled":"false""#, 7, 0, (0, "")),
            (r#""severity":400"#, 7, 0, (13, "WARNING")),
        ] {
            let (record, id) = converted(&format!(r#"{{"trace":"{TRACE}",{members}}}"#), 1 << 20);
            let attributes = serde_json::to_value(JsonObject(&record.attributes)).unwrap();
            assert_eq!(attributes, json!({ "log.record.uid": id }), "{members}");
            assert_eq!((record.time_unix_nano, record.flags), (nanos, flags), "{members}");
            assert_eq!((record.severity_number, record.severity_text.as_str()), severity, "{members}");
        }
    }

    #[test]
    fn the_severity_is_a_number_and_a_text() {
        for (name, number) in [
            ("DEFAULT", 0),
            ("audit", 0),
            ("debug", 5),
            ("INFO", 9),
            ("NOTICE", 11),
            ("warn", 13),
            ("ERROR", 17),
            ("fatal", 21),
            ("ALERT", 23),
            ("EMERGENCY", 24),
        ] {
            let (record, _) = converted(&format!(r#"{{"severity":"{name}"}}"#), 1 << 20);
            assert_eq!((record.severity_number, record.severity_text.as_str()), (number, name));
        }
    }

    #[test]
    fn a_line_that_is_not_converted_is_the_body() {
        let deep = format!(
            r#"{{"trace":"{TRACE}","severity":"ERROR","a":{}{}}}"#,
            "[".repeat(1000),
            "]".repeat(1000)
        );
        let wide = format!(r#"{{"trace":"{TRACE}","severity":"ERROR","a":[{}0]}}"#, "0,".repeat(5000));
        for json in [deep, wide] {
            let (record, id) = converted(&json, 1 << 20);
            assert_eq!((value_text(record.body.as_ref()), record.severity_number), (json, 17));
            assert_eq!(hex::encode(&record.trace_id), TRACE);
            assert_eq!(
                serde_json::to_value(JsonObject(&record.attributes)).unwrap(),
                json!({"log.record.uid": id})
            );
        }
    }

    #[test]
    fn a_record_is_bounded() {
        let json = format!(
            r#"{{"trace":"{TRACE}","spanId":"00f067aa0ba902b7","severity":"ERROR","message":"{}"}}"#,
            "ä".repeat(10_000)
        );
        for max_bytes in [OVERHEAD_BYTES, 1000, 5000, 20_000] {
            let (record, _) = converted(&json, max_bytes);
            assert!(record.encoded_len() <= max_bytes, "{} > {max_bytes}", record.encoded_len());
            assert_eq!(record.attributes.last().unwrap().key, TRUNCATED);
        }
        let (record, _) = converted(&json, 21_000);
        assert_eq!(value_text(record.body.as_ref()), "ä".repeat(10_000));
    }
}
