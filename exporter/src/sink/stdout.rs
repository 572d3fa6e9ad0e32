//! Spans and log records as lines on stdout: each line is a `TracesData` with one span or a `LogsData` with one log record
//! as OTLP JSON, as written by the
//! [OpenTelemetry file exporter](https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/).
//!
//! The exporter's own log is on stdout, too. Its lines have a `severity`, those of spans have `resourceSpans`, and those of
//! log records `resourceLogs`.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde::Serialize;
use serde_json::ser::Formatter;

use super::body::{BodyBudget, MAX_BODY_BYTES};
use super::json_body::{Frame, Shared, write_items};
use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink};
use crate::log::stdout;
use crate::otlp::Signal;

/// The sink `stdout`.
#[derive(Debug)]
pub(crate) struct Stdout(BodyBudget);

impl Stdout {
    pub(crate) fn new() -> Self {
        Self(BodyBudget::new())
    }
}

const FRAME: Frame = Frame { start: "", separator: "\n", end: "\n" };

impl Sink for Stdout {
    fn pace(&self) -> Pace {
        Pace { calls: 1, items: 1024, bytes: 1 << 20, linger: Duration::ZERO }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let (truncated, lines) = self.0.make(MAX_BODY_BYTES, || lines(chunk)).await?;
        match stdout::write(lines.into()).await {
            Ok(()) => Ok(Accepted { truncated, ..Default::default() }),
            Err(error) => {
                let reason = format!("failed to write to stdout: {error}");
                Err(DeliveryError::Unavailable { reason, retry_after: None })
            }
        }
    }
}

/// Returns a line for each item, and the number of truncated items.
fn lines(chunk: &Chunk) -> Result<(u32, Bytes), DeliveryError> {
    match chunk.signal() {
        Signal::Traces => lines_of_spans(chunk),
        Signal::Logs => lines_of_log_records(chunk),
    }
}

fn lines_of_log_records(chunk: &Chunk) -> Result<(u32, Bytes), DeliveryError> {
    let body = write_items(chunk, FRAME, |out, shared, record: &LogRecord| {
        let scope_logs = [ScopeLogs {
            scope: shared.scope.as_ref(),
            log_records: [record],
            schema_url: &shared.scope_schema_url,
        }];
        let resource_logs = [ResourceLogs {
            resource: shared.resource.as_ref(),
            scope_logs,
            schema_url: &shared.resource_schema_url,
        }];
        let body = record.body.as_ref().into_iter();
        let attributes = record.attributes.iter().filter_map(|attribute| attribute.value.as_ref());
        write(out, non_finite(shared, body.chain(attributes)), &LogsData { resource_logs }).map(|()| false)
    })?;
    Ok((body.truncated, body.bytes))
}

fn lines_of_spans(chunk: &Chunk) -> Result<(u32, Bytes), DeliveryError> {
    let body = write_items(chunk, FRAME, |out, shared, span: &Span| {
        let scope_spans = [ScopeSpans {
            scope: shared.scope.as_ref(),
            spans: [span],
            schema_url: &shared.scope_schema_url,
        }];
        let resource_spans = [ResourceSpans {
            resource: shared.resource.as_ref(),
            scope_spans,
            schema_url: &shared.resource_schema_url,
        }];
        let events = span.events.iter().map(|event| &event.attributes);
        let links = span.links.iter().map(|link| &link.attributes);
        let attributes = [&span.attributes].into_iter().chain(events).chain(links).flatten();
        let values = attributes.filter_map(|attribute| attribute.value.as_ref());
        write(out, non_finite(shared, values), &TracesData { resource_spans }).map(|()| false)
    })?;
    Ok((body.truncated, body.bytes))
}

fn write(
    out: &mut impl io::Write,
    non_finite: VecDeque<f64>,
    line: &impl Serialize,
) -> serde_json::Result<()> {
    let formatter = ProtoJson { non_finite, is_double: false, is_key: false };
    line.serialize(&mut serde_json::Serializer::with_formatter(out, formatter))
}

/// Writes doubles that are not finite as the strings of ProtoJSON. `serde_json` writes them as null.
struct ProtoJson {
    /// The doubles that are not finite, in the order in which they are written.
    non_finite: VecDeque<f64>,
    is_key: bool,
    /// Set after the key `doubleValue`.
    is_double: bool,
}

impl Formatter for ProtoJson {
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.is_key = true;
        if first { Ok(()) } else { out.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.is_key = false;
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        if self.is_key {
            self.is_double = text == "doubleValue";
        }
        out.write_all(text.as_bytes())
    }

    fn write_null<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        let number = if self.is_double { self.non_finite.pop_front() } else { None };
        out.write_all(match number {
            None => b"null",
            Some(f64::INFINITY) => br#""Infinity""#,
            Some(f64::NEG_INFINITY) => br#""-Infinity""#,
            Some(_) => br#""NaN""#,
        })
    }
}

/// Returns the doubles of a line that are not finite, in the order of its fields. `values` are those of the item.
fn non_finite<'a>(shared: &'a Shared, values: impl Iterator<Item = &'a AnyValue>) -> VecDeque<f64> {
    fn add(value: Option<&AnyValue>, found: &mut VecDeque<f64>) {
        match value.and_then(|value| value.value.as_ref()) {
            Some(Any::DoubleValue(number)) if !number.is_finite() => found.push_back(*number),
            Some(Any::ArrayValue(array)) => array.values.iter().for_each(|value| add(Some(value), found)),
            Some(Any::KvlistValue(list)) => add_all(&list.values, found),
            _ => {}
        }
    }
    fn add_all(attributes: &[KeyValue], found: &mut VecDeque<f64>) {
        attributes.iter().for_each(|attribute| add(attribute.value.as_ref(), found));
    }
    let mut found = VecDeque::new();
    let resource = shared.resource.iter().map(|resource| &resource.attributes);
    let scope = shared.scope.iter().map(|scope| &scope.attributes);
    resource.chain(scope).for_each(|attributes| add_all(attributes, &mut found));
    values.for_each(|value| add(Some(value), &mut found));
    found
}

/// `TracesData` with one span, by reference.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TracesData<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a Resource>,
    scope_spans: [ScopeSpans<'a>; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    schema_url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeSpans<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a InstrumentationScope>,
    spans: [&'a Span; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    schema_url: &'a str,
}

/// `LogsData` with one log record, by reference.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogsData<'a> {
    resource_logs: [ResourceLogs<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a Resource>,
    scope_logs: [ScopeLogs<'a>; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    schema_url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a InstrumentationScope>,
    log_records: [&'a LogRecord; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    schema_url: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{Origin, Slice};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::ArrayValue;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
    use prost::Message;

    fn lines_of(spans: Vec<Span>, resource: Resource) -> Vec<serde_json::Value> {
        let items = u32::try_from(spans.len()).unwrap();
        let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let (_, lines) =
            lines(&Chunk::new(Signal::Traces, Slice::new(Origin::Batch(1), items, body.into()))).unwrap();
        let lines = String::from_utf8(lines.to_vec()).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn doubles_that_are_not_finite_are_strings() {
        let double = |number| AnyValue { value: Some(Any::DoubleValue(number)) };
        let attributes = |values: Vec<AnyValue>| {
            let of = |value| KeyValue { key: "doubleValue".to_owned(), value: Some(value), key_strindex: 0 };
            values.into_iter().map(of).collect::<Vec<_>>()
        };
        let list = AnyValue {
            value: Some(Any::ArrayValue(ArrayValue {
                values: vec![double(1.5), AnyValue::default(), double(f64::NAN)],
            })),
        };
        let resource =
            Resource { attributes: attributes(vec![double(f64::NEG_INFINITY)]), ..Default::default() };
        let event = Event { attributes: attributes(vec![double(f64::INFINITY)]), ..Default::default() };
        let link = Link { attributes: attributes(vec![double(f64::NAN)]), ..Default::default() };
        let span = Span {
            attributes: attributes(vec![double(2.5), list]),
            events: vec![event],
            links: vec![link],
            ..Default::default()
        };
        let lines = lines_of(vec![span], resource);
        let resource = &lines[0]["resourceSpans"][0];
        let span = &resource["scopeSpans"][0]["spans"][0];
        let first = |of: &serde_json::Value| of["attributes"][0]["value"]["doubleValue"].clone();
        assert_eq!(
            [&resource["resource"], span, &span["events"][0], &span["links"][0]].map(first),
            [serde_json::json!("-Infinity"), 2.5.into(), "Infinity".into(), "NaN".into()]
        );
        let values = &span["attributes"][1]["value"]["arrayValue"]["values"];
        assert_eq!((&values[0]["doubleValue"], &values[2]["doubleValue"]), (&1.5.into(), &"NaN".into()));
    }

    #[test]
    fn each_log_record_is_one_line() {
        use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
        use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
        let double = |number| Some(AnyValue { value: Some(Any::DoubleValue(number)) });
        let record = |severity_number| LogRecord {
            trace_id: vec![0x46; 16],
            time_unix_nano: 7,
            severity_number,
            body: double(f64::NAN),
            attributes: vec![KeyValue { key: "a".to_owned(), value: double(f64::INFINITY), key_strindex: 0 }],
            ..Default::default()
        };
        let scope_logs = vec![ScopeLogs { log_records: vec![record(9), record(17)], ..Default::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
        let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        let (_, lines) =
            lines(&Chunk::new(Signal::Logs, Slice::new(Origin::Batch(1), 2, body.into()))).unwrap();
        let lines = String::from_utf8(lines.to_vec()).unwrap();
        let records = lines.lines().map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            object["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].clone()
        });
        for (record, severity) in records.zip([9, 17]) {
            assert_eq!(record["traceId"], "46464646464646464646464646464646");
            assert_eq!((&record["severityNumber"], &record["timeUnixNano"]), (&severity.into(), &"7".into()));
            assert_eq!(record["body"]["doubleValue"], "NaN");
            assert_eq!(record["attributes"][0]["value"]["doubleValue"], "Infinity");
        }
        assert_eq!(lines.lines().count(), 2);
    }

    #[test]
    fn each_span_is_one_line() {
        let span = |id| Span {
            trace_id: vec![0x46; 16],
            span_id: vec![id; 8],
            name: "GET /\n\u{2028}".to_owned(),
            start_time_unix_nano: u64::MAX,
            ..Default::default()
        };
        let lines = lines_of(vec![span(1), span(2)], Resource::default());
        assert_eq!(lines.len(), 2);
        for (object, id) in lines.iter().zip(["0101010101010101", "0202020202020202"]) {
            let span = &object["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
            assert_eq!(span["traceId"], "46464646464646464646464646464646");
            assert_eq!(span["spanId"], id);
            assert_eq!(span["startTimeUnixNano"], "18446744073709551615");
        }
    }
}
