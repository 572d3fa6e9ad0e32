//! Tests of spans that share their ids.

use logtracer_core::SpanId;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::Span;

use super::tests::{open, request, span, trace_id};
use super::*;
use crate::otlp::Signal;
use crate::otlp::shared_span::server_span_id;

const CLIENT: i32 = 3;
const SERVER: i32 = 2;

fn of_kind(kind: i32, parent: u64, name: &str, start: u64, end: u64) -> Span {
    Span { kind, ..span(1, 2, parent, name, start, end) }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, key_strindex: 0 }
}

/// The service, the id, the parent and the name of a span.
type StoredSpan = (String, u64, u64, String);

/// Returns the spans, the summary of the trace, and the number of spans that were dropped.
#[track_caller]
fn stored(batches: &[(&str, Span)]) -> (Vec<StoredSpan>, TraceSummary, u64) {
    let (_dir, store, _) = open();
    let mut dropped = 0;
    for (service, span) in batches {
        dropped += store.append(Signal::Traces, &[request(service, vec![span.clone()])]).unwrap();
    }
    let trace = store.trace(trace_id(1)).unwrap().unwrap();
    let id = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
    let mut spans: Vec<_> = trace
        .spans
        .into_iter()
        .map(|stored| {
            let span = stored.span;
            let ids = (id(&span.span_id), id(&span.parent_span_id));
            (stored.emitter.service_name.clone(), ids.0, ids.1, span.name)
        })
        .collect();
    spans.sort();
    (spans, trace.summary, dropped)
}

#[test]
fn both_halves_of_a_call_are_stored_in_any_order() {
    let client = ("a", of_kind(CLIENT, 1, "get", 10, 40));
    let server = ("b", of_kind(SERVER, 1, "get /", 15, 30));
    let half = server_span_id(SpanId::new(2).unwrap()).get();
    for batches in [
        vec![client.clone(), server.clone()],
        vec![server.clone(), client.clone()],
        vec![server.clone(), client.clone(), server.clone(), client.clone(), server.clone()],
        vec![client.clone(), server.clone(), client.clone(), server.clone()],
    ] {
        let (spans, summary, dropped) = stored(&batches);
        let expected =
            [("a".to_owned(), 2, 1, "get".to_owned()), ("b".to_owned(), half, 2, "get /".to_owned())];
        assert_eq!(spans, expected);
        assert_eq!((summary.span_count, summary.start_unix_nano, summary.duration_nano), (2, 10, 30));
        assert_eq!((summary.root_name.as_str(), dropped), ("get", 0));
    }
}

#[test]
fn the_parts_of_a_span_are_one_span() {
    let first = of_kind(SERVER, 1, "get", 100, 100);
    let mut second = of_kind(1, 0, "", 9000, 9007);
    second.attributes =
        vec![attribute(crate::otlp::arrival::TIME_SOURCE, "arrival"), attribute("http.route", "/x")];
    for batches in [
        [("a", first.clone()), ("a", second.clone())],
        [("a", second.clone()), ("a", first.clone())],
        [("a", first.clone()), ("", second.clone())],
        [("", second), ("a", first)],
    ] {
        let (spans, summary, dropped) = stored(&batches);
        assert_eq!(spans, [("a".to_owned(), 2, 1, "get".to_owned())]);
        assert_eq!((summary.span_count, summary.start_unix_nano, summary.duration_nano), (1, 100, 7));
        assert_eq!((summary.root_name.as_str(), dropped), ("get", 0));
    }
}

#[test]
fn a_merged_span_is_found_by_what_its_parts_state_together() {
    let (_dir, store, _) = open();
    let first = of_kind(SERVER, 0, "get", 100, 200);
    let mut second = first.clone();
    second.attributes = vec![attribute("http.route", "/x")];
    for span in [first, second] {
        store.append(Signal::Traces, &[request("a", vec![span])]).unwrap();
    }
    let filter =
        TraceFilter { service: Some("a".to_owned()), route: Some("/x".to_owned()), ..Default::default() };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let found = store.snapshot(|snapshot| snapshot.find_traces(&filter, Sort::Newest, None, 10, deadline));
    assert_eq!(found.unwrap().keys.len(), 1);
}

#[test]
fn two_spans_with_one_id_are_both_stored_and_a_third_is_counted() {
    let spans = ["x", "y", "z"].map(|service| (service, of_kind(1, 0, service, 5, 6)));
    let half = server_span_id(SpanId::new(2).unwrap()).get();
    let two = [("x".to_owned(), 2, 0, "x".to_owned()), ("y".to_owned(), half, 0, "y".to_owned())];
    let (found, summary, dropped) = stored(&[&spans[..2], &spans[..2]].concat());
    assert_eq!((&found[..], summary.span_count, dropped), (&two[..], 2, 0));
    let (found, summary, dropped) = stored(&spans);
    assert_eq!((&found[..], summary.span_count, dropped), (&two[..], 2, 1));
}

#[test]
fn large_parts_are_counted_and_not_merged() {
    let mut large = of_kind(SERVER, 0, "get", 5, 6);
    large.attributes = vec![attribute("text", &"x".repeat(300_000))];
    let (_, summary, dropped) = stored(&[("a", of_kind(SERVER, 0, "get", 5, 9)), ("a", large)]);
    assert_eq!((summary.span_count, summary.duration_nano, dropped), (1, 4, 1));
}
