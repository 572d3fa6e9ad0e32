//! Spans and log records without a time get that of their arrival.
//!
//! | without | becomes |
//! |---|---|
//! | log record: `time_unix_nano` and `observed_time_unix_nano` | `observed_time_unix_nano` is the arrival |
//! | span: start and end | both are the arrival, and the attribute [`TIME_SOURCE`] is `arrival` |
//! | span: start, or end | both are the other one, and the attribute is `end` or `start` |

use super::check::MAX_ITEMS;
use super::output::Output;
use super::schema::{Kind, MessageType, Role};
use super::signal::Signal;
use super::times::{END, OBSERVED_TIME, START, Times};
use super::wire::{Value, read_field};

/// The attribute of a span that says which time stands for a missing one.
pub(crate) const TIME_SOURCE: &str = "logtracer.time_source";

/// The field of a span with its attributes.
const ATTRIBUTES: u32 = 9;

/// What [`complete`] adds to an item at most, with the longer lengths of the messages around it.
const ADDED_BYTES: usize = 80;

/// Returns an upper limit for the length of a completed body.
pub(crate) fn completed_bytes(signal: Signal, body: &[u8]) -> usize {
    // The shortest span has its ids, and the shortest log record is empty.
    let shortest = match signal {
        Signal::Traces => 28,
        Signal::Logs => 2,
    };
    body.len() + 64 + ADDED_BYTES * (body.len() / shortest).min(MAX_ITEMS as usize)
}

/// Adds the missing times to a valid request.
pub(crate) fn complete(signal: Signal, body: &[u8], arrival: u64) -> Vec<u8> {
    let mut output = Output::with_capacity(completed_bytes(signal, body));
    copy(signal.request_type(), body, arrival, &mut output);
    output.bytes.shrink_to_fit();
    output.bytes
}

fn copy(message: &MessageType, mut rest: &[u8], arrival: u64, output: &mut Output) {
    let mut times = Times::default();
    loop {
        let field = rest;
        // The body is valid, so the end is the only error.
        let Ok((number, value)) = read_field(&mut rest) else { break };
        match (value, message.field(number).kind) {
            (Value::Bytes(bytes), Kind::Message(inner))
                if matches!(inner.role, Role::Envelope | Role::Span | Role::LogRecord) =>
            {
                let start = output.start(number);
                copy(inner, bytes, arrival, output);
                output.close(start);
                continue;
            }
            (Value::Fixed64(nanos), _) => times.record(message.role, number, nanos),
            _ => {}
        }
        let length = field.len() - rest.len();
        output.bytes.extend_from_slice(field.get(..length).unwrap_or_default());
    }
    write(times, message.role, arrival, output);
}

/// Writes the times that an item lacks.
fn write(times: Times, role: Role, arrival: u64, output: &mut Output) {
    if !times.is_incomplete(role) {
        return;
    }
    if role == Role::LogRecord {
        return output.fixed64(OBSERVED_TIME, arrival);
    }
    let (start, end, source) = match (times.first, times.second) {
        (0, 0) => (arrival, arrival, "arrival"),
        (0, end) => (end, end, "end"),
        (start, _) => (start, start, "start"),
    };
    output.fixed64(START, start);
    output.fixed64(END, end);
    let attribute = output.start(ATTRIBUTES);
    output.delimited(1, TIME_SOURCE.as_bytes());
    let value = output.start(2);
    output.delimited(1, source.as_bytes());
    output.close(value);
    output.close(attribute);
}

#[cfg(test)]
mod tests {
    use super::super::check::{self, CheckResult};
    use super::*;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    #[test]
    fn a_span_has_a_start_and_an_end() {
        for (start, end, expected) in [
            (0, 0, (9, 9, Some("arrival"))),
            (0, 5, (5, 5, Some("end"))),
            (4, 0, (4, 4, Some("start"))),
            (4, 5, (4, 5, None)),
            (5, 4, (5, 4, None)),
        ] {
            let span = Span {
                trace_id: vec![1; 16],
                span_id: vec![1; 8],
                name: "x".repeat(100),
                start_time_unix_nano: start,
                end_time_unix_nano: end,
                ..Default::default()
            };
            let scope_spans = vec![ScopeSpans { spans: vec![span.clone()], ..Default::default() }];
            let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
            let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
            let (result, needs) = check::examine(Signal::Traces, &body);
            let lacks_times = needs.times;
            assert_eq!((result, lacks_times), (CheckResult::Valid { items: 1 }, expected.2.is_some()));
            let completed = complete(Signal::Traces, &body, 9);
            assert!(completed.len() <= completed_bytes(Signal::Traces, &body));
            let (result, needs) = check::examine(Signal::Traces, &completed);
            assert_eq!((result, needs.times), (CheckResult::Valid { items: 1 }, false));
            let got = ExportTraceServiceRequest::decode(&completed[..]).unwrap();
            let got = &got.resource_spans[0].scope_spans[0].spans[0];
            let source = got.attributes.first().map(|attribute| {
                assert_eq!(attribute.key, TIME_SOURCE);
                match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
                    Any::StringValue(text) => text.as_str(),
                    other => panic!("{other:?}"),
                }
            });
            assert_eq!((got.start_time_unix_nano, got.end_time_unix_nano, source), expected);
            assert_eq!((&got.name, &got.span_id), (&span.name, &span.span_id));
        }
    }

    #[test]
    fn a_log_record_has_a_time() {
        for (time, observed, expected) in [(0, 0, (0, 9)), (0, 5, (0, 5)), (4, 0, (4, 0)), (4, 5, (4, 5))] {
            let record =
                LogRecord { time_unix_nano: time, observed_time_unix_nano: observed, ..Default::default() };
            let scope_logs = vec![ScopeLogs { log_records: vec![record; 100], ..Default::default() }];
            let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
            let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
            let completed = complete(Signal::Logs, &body, 9);
            assert!(completed.len() <= completed_bytes(Signal::Logs, &body));
            let got = ExportLogsServiceRequest::decode(&completed[..]).unwrap();
            let records = &got.resource_logs[0].scope_logs[0].log_records;
            assert_eq!(records.len(), 100);
            for record in records {
                assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), expected);
            }
        }
    }
}
