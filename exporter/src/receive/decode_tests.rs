//! Tests of decoding.

use super::*;
use crate::otlp::check::tests::{bombs, log_request, request};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

const PROTOBUF: Format = Format::Protobuf(Signal::Traces);
const JSON: Format = Format::Json(Signal::Traces);

/// Decodes a request as the handlers do.
fn decode_now(format: Format, body: impl Into<Bytes>) -> Result<ValidBatch, RequestError> {
    let bytes = body.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let budget = Budget::default();
        let permit = budget.acquire_body(bytes.len()).await?;
        decode(&budget, format, BufferedBody { bytes, permit }).await.map(|(decoded, _)| decoded)
    })
}

#[test]
fn a_valid_protobuf_body_is_stored_unchanged() {
    let body = Bytes::from(request(3).encode_to_vec());
    let decoded = decode_now(PROTOBUF, body.clone()).unwrap();
    assert_eq!(
        decoded,
        ValidBatch { signal: Signal::Traces, body: body.clone(), items: 3, left_out: LeftOut::default() }
    );
    assert_eq!(decoded.body.as_ptr(), body.as_ptr(), "not copied");
}

#[test]
fn invalid_spans_are_rejected_and_counted() {
    let mut bad = request(6);
    let spans = &mut bad.resource_spans[0].scope_spans[0].spans;
    spans[0].trace_id = vec![0; 16];
    spans[1].trace_id = vec![1; 15];
    spans[2].span_id = vec![];
    spans[3].span_id = vec![0; 8];
    spans[4].parent_span_id = vec![1; 3];
    let decoded = decode_now(PROTOBUF, bad.encode_to_vec()).unwrap();
    assert_eq!(decoded.items, 1);
    let reasons = [
        Reason::TraceIdLength,
        Reason::TraceIdZero,
        Reason::SpanIdLength,
        Reason::SpanIdZero,
        Reason::ParentSpanIdLength,
    ];
    assert_eq!(decoded.left_out.items, reasons.map(|reason| (reason, 1)).into());
    let stored = ExportTraceServiceRequest::decode(decoded.body).unwrap();
    assert_eq!(stored.resource_spans[0].scope_spans[0].spans.len(), 1);
}

#[test]
fn an_id_of_a_log_record_of_the_wrong_length_is_left_out_and_counted() {
    let mut bad = log_request(3);
    let records = &mut bad.resource_logs[0].scope_logs[0].log_records;
    (records[0].trace_id, records[0].span_id) = (vec![1; 15], vec![1; 8]);
    (records[1].trace_id, records[1].span_id) = (vec![1; 16], vec![1; 9]);
    (records[2].trace_id, records[2].span_id) = (vec![], vec![]);
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"1","traceId":"01","spanId":"0101010101010101"},
        {"timeUnixNano":"1","traceId":"01010101010101010101010101010101","spanId":"0101"},
        {"timeUnixNano":"1","traceId":"","spanId":""}]}]}]}"#;
    for (format, body) in [
        (Format::Protobuf(Signal::Logs), bad.encode_to_vec()),
        (Format::Json(Signal::Logs), json.as_bytes().to_vec()),
    ] {
        let decoded = decode_now(format, body).unwrap();
        let expected = [(Reason::TraceIdLength, 1), (Reason::SpanIdLength, 1)].into();
        assert_eq!((decoded.items, &decoded.left_out.parts), (3, &expected), "{format:?}");
        let stored = ExportLogsServiceRequest::decode(decoded.body).unwrap();
        let ids: Vec<_> = stored.resource_logs[0].scope_logs[0]
            .log_records
            .iter()
            .map(|record| (record.trace_id.len(), record.span_id.len()))
            .collect();
        assert_eq!(ids, [(0, 8), (16, 0), (0, 0)], "{format:?}");
    }
}

#[test]
fn a_field_that_occurs_twice_is_stored_once() {
    let json = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a"}]},"resource":{"attributes":[{"key":"b"}]},
        "scopeSpans":[{"spans":[{"traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"00f067aa0ba902b7",
        "status":{"code":2},"status":{"message":"no"}}]}]}]}"#;
    let from_json = decode_now(JSON, json).unwrap();
    let mut twice = ExportTraceServiceRequest::decode(from_json.body.clone()).unwrap();
    let span = &mut twice.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.status.as_ref().map(|status| (status.code, &status.message[..])), Some((2, "no")));
    assert_eq!(twice.resource_spans[0].resource.as_ref().unwrap().attributes.len(), 2);
    assert_eq!(check::examine(Signal::Traces, &from_json.body).1, Needs::default());
}

#[test]
fn scopes_and_resources_with_only_invalid_spans_are_removed() {
    let mut bad = request(2);
    let mut other = request(1);
    other.resource_spans[0].scope_spans[0].spans[0].span_id.clear();
    bad.resource_spans[0].scope_spans.extend(other.resource_spans[0].scope_spans.clone());
    bad.resource_spans.extend(other.resource_spans);
    let decoded = decode_now(PROTOBUF, bad.encode_to_vec()).unwrap();
    assert_eq!((decoded.items, decoded.left_out.items), (2, [(Reason::SpanIdLength, 2)].into()));
    let stored = ExportTraceServiceRequest::decode(decoded.body).unwrap();
    assert_eq!(stored, request(2));
}

#[test]
fn json_becomes_protobuf() {
    let json = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
        "scopeSpans":[{"spans":[{"traceId":"463AC35C9F6413AD48485A3953BB6124","spanId":"00f067aa0ba902b7",
        "name":"GET /","kind":2,"startTimeUnixNano":"1000","endTimeUnixNano":2000,"newField":[1],
        "attributes":[{"key":"n","value":{"intValue":"7"}}]}]}]}]}"#;
    let decoded = decode_now(JSON, Bytes::from(json)).unwrap();
    assert_eq!(decoded.items, 1);
    let request = ExportTraceServiceRequest::decode(decoded.body).unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(
        (span.name.as_str(), span.start_time_unix_nano, span.end_time_unix_nano),
        ("GET /", 1000, 2000)
    );
}

#[test]
fn malformed_bodies_are_rejected_with_the_reason() {
    for (format, body) in [
        (PROTOBUF, &b"\xff\xff\xff"[..]),
        (PROTOBUF, b"{}"),
        (JSON, b""),
        (JSON, b"[]["),
        (JSON, br#"{"resourceSpans":7}"#),
    ] {
        let error = decode_now(format, Bytes::from_static(body)).unwrap_err();
        assert!(matches!(&error, RequestError::Malformed { error, .. } if !error.is_empty()), "{error:?}");
    }
}

#[test]
fn a_body_that_is_too_large_when_decoded_is_rejected_in_every_format() {
    let is_too_large =
        |result| matches!(result, Err(RequestError::TooLargeDecoded | RequestError::TooManyItems));
    for mut bomb in bombs() {
        assert!(is_too_large(decode_now(PROTOBUF, bomb.clone())));
        // Preceded by an invalid span, so the body needs decoding.
        let mut bad = request(1);
        bad.resource_spans[0].scope_spans[0].spans[0].trace_id.clear();
        bomb.splice(0..0, bad.encode_to_vec());
        assert!(is_too_large(decode_now(PROTOBUF, bomb)));
    }
    let span = r#"{"traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"00f067aa0ba902b7"}"#;
    let spans = vec![span; 50_001].join(",");
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
    assert_eq!(decode_now(JSON, json), Err(RequestError::TooManyItems));
    let attributes = vec![r#"{"key":"k"}"#; 1 << 19].join(",");
    let span = span.replace('}', &format!(r#","attributes":[{attributes}]}}"#));
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    assert_eq!(decode_now(JSON, json), Err(RequestError::TooLargeDecoded));
}

#[test]
fn an_empty_request_is_valid() {
    assert_eq!(decode_now(PROTOBUF, Bytes::new()).unwrap().items, 0);
    assert_eq!(decode_now(JSON, Bytes::from_static(b"{}")).unwrap().items, 0);
}

#[test]
fn deeply_nested_json_is_rejected_or_readable() {
    for depth in [5, 20, 30, 40, 60, 100, 5000] {
        let value = format!(
            "{}{{\"stringValue\":\"x\"}}{}",
            r#"{"arrayValue":{"values":["#.repeat(depth),
            "]}}".repeat(depth)
        );
        let json = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k","value":{value}}}]}}}}]}}"#
        );
        if let Ok(decoded) = decode_now(JSON, Bytes::from(json)) {
            ExportTraceServiceRequest::decode(decoded.body).unwrap();
        }
    }
}

#[test]
fn log_records_are_read_in_both_encodings() {
    let body = Bytes::from(log_request(3).encode_to_vec());
    let decoded = decode_now(Format::Protobuf(Signal::Logs), body.clone()).unwrap();
    assert_eq!((decoded.items, decoded.signal), (3, Signal::Logs));
    assert_eq!(decoded.body.as_ptr(), body.as_ptr(), "not copied");

    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"5","severityNumber":9,
        "traceId":"463AC35C9F6413AD48485A3953BB6124","spanId":"","body":{"stringValue":"first"}},
        {"body":{"stringValue":"without a trace"}}]}]}]}"#;
    let decoded = decode_now(Format::Json(Signal::Logs), json).unwrap();
    assert_eq!(decoded.items, 2);
    let request = ExportLogsServiceRequest::decode(decoded.body).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((record.time_unix_nano, record.trace_id.len(), record.span_id.len()), (5, 16, 0));
}
