//! Comparing the check with the decoder of prost.

use super::*;
use crate::otlp::left_out::Reason;
use crate::otlp::mend::mend;
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

/// Compares the check and `mend` with the decoder for every prefix of a body, and for every byte with each bit flipped
/// and with some special values.
fn check_mutants<T: Message + Default>(signal: Signal, body: &[u8], count: impl Fn(&T) -> usize) {
    let (mut valid, mut mended) = (0, 0);
    let mut compare = |mutant: &[u8]| match (check(signal, mutant), T::decode(mutant)) {
        (CheckResult::Valid { items }, decoded) => {
            assert_eq!(count(&decoded.expect("prost must decode it")), items as usize);
            valid += 1;
        }
        (_, decoded) => match mend(signal, mutant) {
            Ok((written, left_out)) => {
                assert!(matches!(check(signal, &written), CheckResult::Valid { .. }));
                let kept = count(&T::decode(&written[..]).expect("prost must decode it"));
                if let Ok(decoded) = decoded {
                    assert_eq!(count(&decoded), kept + left_out.items() as usize);
                }
                mended += 1;
            }
            Err(_) => assert!(decoded.map_or(true, |decoded| count(&decoded) == 0), "prost reads items"),
        },
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
    assert!(valid > 1000 && mended > 1000, "only {valid} mutants are valid, and {mended} can be mended");
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
    assert_eq!(check(Signal::Traces, &body), CheckResult::Invalid);
    assert!(ExportTraceServiceRequest::decode(&body[..]).is_err());
    let (mended, left_out) = mend(Signal::Traces, &body).unwrap();
    assert_eq!(left_out.parts, [(Reason::TooDeep, 1)].into(), "the attribute is left out");
    let mut span = ExportTraceServiceRequest::decode(&mended[..]).unwrap();
    let span = span.resource_spans[0].scope_spans[0].spans.remove(0);
    assert_eq!(span.attributes, attributes()[1..]);
    assert_eq!(span.dropped_attributes_count, 2);
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
}

#[test]
fn groups_are_left_out() {
    let valid = request(1).encode_to_vec();
    let mut body = valid.clone();
    let group = [15 << 3 | 3, 8, 1, 15 << 3 | 3, 15 << 3 | 4, 15 << 3 | 4];
    body.extend_from_slice(&group);
    assert_eq!(check(Signal::Traces, &body), CheckResult::Invalid);
    assert!(ExportTraceServiceRequest::decode(&body[..]).is_ok());
    assert_eq!(mend(Signal::Traces, &body).unwrap().0, valid);
    body.pop();
    assert_eq!(mend(Signal::Traces, &body), Err(Reason::Malformed));
}

/// Puts a byte that is not UTF-8 into each text of a request, one after the other and all together.
#[test]
fn text_that_is_not_utf_8_is_replaced_in_every_field() {
    let mark = |body: &[u8], texts: &[&str]| {
        let mut marked = body.to_vec();
        for text in texts {
            for at in 0..marked.len() - text.len() {
                if marked[at..].starts_with(text.as_bytes()) {
                    marked[at] = 0xff;
                }
            }
        }
        marked
    };
    // The texts of `request` and of `log_request`.
    for texts in [
        &["key"][..],
        &["na\u{ef}ve"],
        &["a=b"],
        &["GET"],
        &["scope"],
        &["INFO"],
        &["no"],
        &["key", "na\u{ef}ve", "a=b", "GET", "no"],
    ] {
        for signal in [Signal::Traces, Signal::Logs] {
            let body = match signal {
                Signal::Traces => request(2).encode_to_vec(),
                Signal::Logs => log_request(2).encode_to_vec(),
            };
            let marked = mark(&body, texts);
            if marked == body {
                continue;
            }
            assert_eq!(check(signal, &marked), CheckResult::Invalid, "{texts:?}");
            let (mended, left_out) = mend(signal, &marked).unwrap();
            assert!(left_out.is_empty());
            assert_eq!(check(signal, &mended), CheckResult::Valid { items: 2 }, "{texts:?}");
            let replaced = |text: &&str| format!("\u{fffd}{}", &text[1..]);
            for text in texts.iter().map(replaced) {
                let is_in = mended.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(is_in || signal == Signal::Logs, "{text}");
            }
        }
    }
}

#[test]
fn a_malformed_span_costs_no_other() {
    let good = request(2).encode_to_vec();
    // A span whose name is longer than the span.
    let bad = [1 << 3 | 2, 6, 2 << 3 | 2, 4, 2 << 3 | 2, 2, 5 << 3 | 2, 9];
    let body = [&bad[..], &good, &bad].concat();
    assert!(ExportTraceServiceRequest::decode(&body[..]).is_err());
    let (mended, left_out) = mend(Signal::Traces, &body).unwrap();
    assert_eq!(mended, good);
    assert_eq!(left_out.items, [(Reason::Malformed, 2)].into());
}

#[test]
fn a_body_without_a_known_field_is_malformed() {
    assert_eq!(mend(Signal::Traces, &[9 << 3, 1]), Err(Reason::Malformed));
    assert_eq!(check(Signal::Traces, &[9 << 3, 1]), CheckResult::Invalid);
}
