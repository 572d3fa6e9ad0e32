//! Comparing the check with the decoder of prost.

use super::*;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, EntityRef, InstrumentationScope};
use opentelemetry_proto::tonic::common::v1::{KeyValue, KeyValueList, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;

fn attributes() -> Vec<KeyValue> {
    let values = [
        Value::StringValue("naïve".to_owned()),
        Value::BoolValue(true),
        Value::IntValue(-7),
        Value::DoubleValue(1.5),
        Value::BytesValue(vec![0xff, 0]),
    ];
    let any = |value| AnyValue { value: Some(value) };
    let key = |value| KeyValue { key: "key".to_owned(), value: Some(any(value)), key_strindex: 0 };
    let list = Value::KvlistValue(KeyValueList { values: values.clone().map(key).into() });
    let array = Value::ArrayValue(ArrayValue { values: values.clone().map(any).into() });
    values.into_iter().chain([list, array]).map(key).collect()
}

/// Returns a request with every field set.
pub(crate) fn request(spans: u64) -> ExportTraceServiceRequest {
    let span = |n: u64| Span {
        trace_id: vec![7; 16],
        span_id: (n + 1).to_be_bytes().to_vec(),
        trace_state: "a=b".to_owned(),
        parent_span_id: if n == 0 { vec![] } else { vec![1; 8] },
        flags: 1,
        name: format!("GET /{n}"),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + n,
        end_time_unix_nano: 1_700_000_000_000_001_000 + n,
        attributes: attributes(),
        dropped_attributes_count: 1,
        events: vec![span::Event {
            time_unix_nano: 5,
            name: "e".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 1,
        }],
        dropped_events_count: 1,
        links: vec![span::Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            attributes: attributes(),
            flags: 1,
            ..Default::default()
        }],
        dropped_links_count: 1,
        status: Some(Status { code: 2, message: "no".to_owned() }),
    };
    let resource = Resource {
        attributes: attributes(),
        dropped_attributes_count: 1,
        entity_refs: vec![EntityRef { id_keys: vec!["a".to_owned()], ..Default::default() }],
    };
    let scope = InstrumentationScope {
        name: "scope".to_owned(),
        version: "1".to_owned(),
        attributes: attributes(),
        dropped_attributes_count: 1,
    };
    let scope_spans =
        ScopeSpans { scope: Some(scope), spans: (0..spans).map(span).collect(), schema_url: "u".to_owned() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope_spans],
            schema_url: "u".to_owned(),
        }],
    }
}

/// Returns a request of log records with every field set.
pub(crate) fn log_request(records: u64) -> ExportLogsServiceRequest {
    let record = |n: u64| LogRecord {
        time_unix_nano: 5 + n,
        observed_time_unix_nano: 6 + n,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: attributes().swap_remove(6).value,
        attributes: attributes(),
        dropped_attributes_count: 1,
        flags: 1,
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        event_name: "e".to_owned(),
    };
    let ResourceSpans { resource, mut scope_spans, schema_url } = request(0).resource_spans.swap_remove(0);
    let scope_logs = ScopeLogs {
        scope: scope_spans.swap_remove(0).scope,
        log_records: (0..records).map(record).collect(),
        schema_url: schema_url.clone(),
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource, scope_logs: vec![scope_logs], schema_url }],
    }
}

#[test]
fn every_field_is_in_the_schema() {
    assert_eq!(check(Signal::Traces, &request(4).encode_to_vec()), CheckResult::Valid { items: 4 });
    assert_eq!(check(Signal::Logs, &log_request(4).encode_to_vec()), CheckResult::Valid { items: 4 });
    assert_eq!(check(Signal::Traces, b""), CheckResult::Valid { items: 0 });
}

/// Compares the check with the decoder for every prefix of a body, and for every byte with each bit flipped and with some
/// special values.
fn check_mutants<T: Message + Default>(signal: Signal, body: &[u8], count: impl Fn(&T) -> usize) {
    let mut valid = 0;
    let mut compare = |mutant: &[u8]| match (check(signal, mutant), T::decode(mutant)) {
        (CheckResult::Valid { items }, decoded) => {
            assert_eq!(count(&decoded.expect("prost must decode it")), items as usize);
            valid += 1;
        }
        (CheckResult::NeedsDecoding { .. }, decoded) => assert!(decoded.is_ok()),
        (_, decoded) => assert!(decoded.is_err(), "prost decodes what the check rejects"),
    };
    for length in 0..body.len() {
        compare(&body[..length]);
    }
    for index in 0..body.len() {
        let mut mutant = body.to_vec();
        for value in (0..8).map(|bit| body[index] ^ (1 << bit)).chain([0, 0x7f, 0x80, 0xff]) {
            mutant[index] = value;
            compare(&mutant);
        }
    }
    assert!(valid > 1000, "only {valid} mutants are valid");
}

#[test]
fn valid_bodies_can_be_decoded() {
    check_mutants(Signal::Traces, &request(2).encode_to_vec(), |request: &ExportTraceServiceRequest| {
        request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).count()
    });
    check_mutants(Signal::Logs, &log_request(2).encode_to_vec(), |request: &ExportLogsServiceRequest| {
        request.resource_logs.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records).count()
    });
}

#[test]
fn deep_nesting_is_rejected() {
    let mut value = AnyValue { value: Some(Value::IntValue(1)) };
    for _ in 0..1000 {
        value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
    }
    let mut deep = request(1);
    deep.resource_spans[0].scope_spans[0].spans[0].attributes[0].value = Some(value);
    let body = deep.encode_to_vec();
    assert_eq!(check(Signal::Traces, &body), CheckResult::TooDeep);
    assert!(ExportTraceServiceRequest::decode(&body[..]).is_err());
}

/// Returns bodies with a valid span and then millions of messages of two bytes, which take far more memory than the body.
pub(crate) fn bombs() -> [Vec<u8>; 4] {
    let wrapped = |field: u8, inner: &[u8]| {
        let mut outer = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend_from_slice(inner);
        outer
    };
    let many = |field: u8| [field << 3 | 2, 0].repeat(4 << 20);
    let bomb = |inner: Vec<u8>| [request(1).encode_to_vec(), inner].concat();
    [
        bomb(many(1)),
        bomb(wrapped(1, &many(2))),
        bomb(wrapped(1, &wrapped(2, &many(2)))),
        bomb(wrapped(1, &wrapped(1, &wrapped(3, &many(3))))),
    ]
}

#[test]
fn a_body_that_is_too_large_when_decoded_is_found() {
    for bomb in bombs() {
        assert!(matches!(check(Signal::Traces, &bomb), CheckResult::TooLarge | CheckResult::TooManyItems));
    }
    // Requests of usual clients are far below the limit.
    let body = request(4000).encode_to_vec();
    assert!(body.len() > 3 << 20, "{}", body.len());
    assert_eq!(check(Signal::Traces, &body), CheckResult::Valid { items: 4000 });
    assert!(json_decoded_bytes(&serde_json::to_vec(&request(1000)).unwrap()) <= MAX_DECODED_BYTES);
    for element in ["{}", "1", "\"\"", "[]", "{\"a\":1}"] {
        let json = format!("{{\"resourceSpans\":[{}]}}", vec![element; 2 << 20].join(" , "));
        assert!(json_decoded_bytes(json.as_bytes()) > MAX_DECODED_BYTES, "{element}");
    }
    let text = format!("{{\"a\":\"{}\"}}", "{,\\\",{".repeat(1 << 20));
    assert!(json_decoded_bytes(text.as_bytes()) <= MAX_DECODED_BYTES, "the body is a single text");
}

#[test]
fn a_body_with_groups_needs_decoding() {
    let mut body = request(1).encode_to_vec();
    let group = [15 << 3 | 3, 8, 1, 15 << 3 | 3, 15 << 3 | 4, 15 << 3 | 4];
    body.extend_from_slice(&group);
    assert!(matches!(check(Signal::Traces, &body), CheckResult::NeedsDecoding { .. }));
    assert!(ExportTraceServiceRequest::decode(&body[..]).is_ok());
    body.pop();
    assert!(matches!(check(Signal::Traces, &body), CheckResult::Malformed { .. }));
}
