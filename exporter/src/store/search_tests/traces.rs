//! Searches of traces.

use std::time::Duration;

use logtracer_core::TraceId;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::super::tests::{open, request, resource, span, trace_id};
use super::super::*;
use super::{LONG, SECOND, attribute, search, text};
use crate::clock::unix_nanos;
use crate::otlp::Signal;

/// One span of a trace, and how a test describes it.
struct Stored {
    trace: u64,
    service: String,
    span: Span,
}

/// A few thousand traces of three services, from old to new.
fn stored(base: u64) -> Vec<Stored> {
    let mut spans = Vec::new();
    for trace in 1..=3_000_u64 {
        for n in 0..=trace % 3 {
            let seed = trace * 7 + n * 3;
            let service = format!("service-{}", seed % 4);
            let route = format!("/route/{}", seed % 11);
            let status = [200, 204, 404, 500, 503][(seed % 5) as usize];
            let start = base + trace * SECOND + n;
            let mut span =
                span(trace, trace * 10 + n + 1, 0, &format!("GET {route}"), start, start + seed * 1000);
            span.attributes = vec![
                attribute("http.route", text(&route)),
                attribute("http.response.status_code", Any::IntValue(status)),
                attribute("user", text(&format!("user-{seed}"))),
                attribute("is_new", Any::BoolValue(seed % 2 == 0)),
            ];
            span.status = Some(Status { code: if status >= 500 { 2 } else { 0 }, message: String::new() });
            spans.push(Stored { trace, service, span });
        }
    }
    spans
}

fn store(store: &Store, spans: &[Stored]) {
    for chunk in spans.chunks(500) {
        let resource_spans = chunk.iter().map(|stored| ResourceSpans {
            resource: Some(resource(&stored.service)),
            scope_spans: vec![ScopeSpans { spans: vec![stored.span.clone()], ..Default::default() }],
            ..Default::default()
        });
        let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        store.append(Signal::Traces, &[request.encode_to_vec().into()]).unwrap();
    }
}

fn has(span: &Span, key: &str, value: &Any) -> bool {
    span.attributes
        .iter()
        .any(|a| a.key == key && a.value.as_ref().and_then(|v| v.value.as_ref()) == Some(value))
}

#[test]
fn each_filter_finds_what_a_reader_of_everything_finds() {
    let (_dir, it, _) = open();
    let base = unix_nanos() - 4_000 * SECOND;
    let spans = stored(base);
    store(&it, &spans);
    let filter = TraceFilter::default;
    let some = |text: &str| Some(text.to_owned());
    type Passes = Box<dyn Fn(&Stored) -> bool>;
    let cases: Vec<(&str, TraceFilter, Passes)> = vec![
        ("all", filter(), Box::new(|_| true)),
        (
            "service",
            TraceFilter { service: some("service-3"), ..filter() },
            Box::new(|stored| stored.service == "service-3"),
        ),
        ("no such service", TraceFilter { service: some("service-9"), ..filter() }, Box::new(|_| false)),
        (
            "part of a name",
            TraceFilter { name: some("et /ROUTE/10"), ..filter() },
            Box::new(|stored| stored.span.name.contains("/route/10")),
        ),
        (
            "route",
            TraceFilter { route: some("/route/1"), ..filter() },
            Box::new(|stored| stored.span.name == "GET /route/1"),
        ),
        (
            "code",
            TraceFilter { status: Some(StatusFilter::Code("404".to_owned())), ..filter() },
            Box::new(|stored| has(&stored.span, "http.response.status_code", &Any::IntValue(404))),
        ),
        (
            "class",
            TraceFilter { status: Some(StatusFilter::Class("5xx")), ..filter() },
            Box::new(|stored| stored.span.status.as_ref().unwrap().code == 2),
        ),
        (
            "error of a service on a route, in one span",
            TraceFilter {
                service: some("service-1"),
                route: some("/route/3"),
                status: Some(StatusFilter::Error),
                ..filter()
            },
            Box::new(|stored| {
                stored.service == "service-1"
                    && stored.span.name == "GET /route/3"
                    && stored.span.status.as_ref().unwrap().code == 2
            }),
        ),
        (
            "attribute of one span",
            TraceFilter { attributes: vec![("user".to_owned(), "user-7007".to_owned())], ..filter() },
            Box::new(|stored| has(&stored.span, "user", &text("user-7007"))),
        ),
        (
            "attributes of any type and of the resource",
            TraceFilter {
                attributes: vec![
                    ("is_new".to_owned(), "true".to_owned()),
                    ("service.name".to_owned(), "service-2".to_owned()),
                ],
                ..filter()
            },
            Box::new(|stored| {
                stored.service == "service-2" && has(&stored.span, "is_new", &Any::BoolValue(true))
            }),
        ),
        (
            "text",
            TraceFilter { text: some("route/7"), ..filter() },
            Box::new(|stored| stored.span.name.ends_with("/7")),
        ),
    ];
    let ids = |passes: &dyn Fn(&Stored) -> bool| {
        let mut ids: Vec<u64> =
            spans.iter().filter(|stored| passes(stored)).map(|stored| stored.trace).collect();
        ids.dedup();
        ids
    };
    for (name, filter, passes) in &cases {
        let oldest: Vec<TraceId> = ids(passes).into_iter().map(trace_id).collect();
        let newest: Vec<TraceId> = oldest.iter().rev().copied().collect();
        assert_eq!(search(&it, filter, Sort::Oldest, 100, LONG).0, oldest, "{name}");
        assert_eq!(search(&it, filter, Sort::Newest, 100, LONG).0, newest, "{name}");
        // Without time, a page makes progress, and all pages together find the same.
        let (found, pages) = search(&it, filter, Sort::Newest, 1000, Duration::ZERO);
        assert_eq!(found, newest, "{name}");
        assert!(pages > 3, "{name}: {pages} pages");
        let mut longest = search(&it, filter, Sort::Longest, 50, LONG).0;
        longest.sort_unstable_by_key(|id| std::cmp::Reverse(id.to_bytes()));
        assert_eq!(longest, newest, "{name}");
    }
}

#[test]
fn times_and_durations_are_those_of_the_trace() {
    let (_dir, it, _) = open();
    let base = unix_nanos() - 4_000 * SECOND;
    let spans = stored(base);
    store(&it, &spans);
    let at = |trace: u64| (base + trace * SECOND).cast_signed();
    let all = |filter: &TraceFilter, sort| search(&it, filter, sort, 100, LONG).0;
    let filter = TraceFilter { from: Some(at(10)), to: Some(at(20)), ..Default::default() };
    let expected: Vec<TraceId> = (10..=20).map(trace_id).collect();
    assert_eq!(all(&filter, Sort::Oldest), expected);
    let mut longest = all(&filter, Sort::Longest);
    assert_eq!(longest.first(), Some(&trace_id(20)));
    longest.sort_unstable_by_key(|id| id.to_bytes());
    assert_eq!(longest, expected);

    let (min, max) = (20_900_000, 20_999_900);
    let filter =
        TraceFilter { min_duration_nano: Some(min), max_duration_nano: Some(max), ..Default::default() };
    let duration = |trace: u64| trace % 3 + (trace * 7 + trace % 3 * 3) * 1000;
    let expected: Vec<TraceId> =
        (1..=3000).filter(|trace| (min..=max).contains(&duration(*trace))).map(trace_id).collect();
    assert!(!expected.is_empty());
    for sort in [Sort::Oldest, Sort::Newest, Sort::Longest] {
        let mut found = all(&filter, sort);
        found.sort_unstable_by_key(|id| id.to_bytes());
        assert_eq!(found, expected, "{sort:?}");
    }
}

/// Spans of 1970 or 2100 are in the list where they arrived.
#[test]
fn implausible_times_do_not_decide_on_the_place_in_the_list() {
    let (_dir, it, _) = open();
    let now = unix_nanos();
    let store = |trace, start| {
        let span = span(trace, 1, 0, "a", start, start + 1);
        it.append(Signal::Traces, &[super::tests::request("a", vec![span])]).unwrap();
    };
    store(1, now - 60 * SECOND);
    store(2, 5);
    store(3, 4_102_444_800 * SECOND);
    store(4, now + 60 * SECOND);
    let found = search(&it, &TraceFilter::default(), Sort::Newest, 10, LONG).0;
    assert_eq!(found, [4, 3, 2, 1].map(trace_id));
}

/// The numbers of traces, and with them the blocks, go on after the store was empty.
#[test]
fn traces_are_found_after_the_store_was_empty() {
    let (_dir, it, _) = open();
    let base = unix_nanos() - 4_000 * SECOND;
    let spans = stored(base);
    store(&it, &spans);
    let nothing = Retention { max_age: Duration::ZERO, max_bytes: u64::MAX };
    it.evict(&nothing, crate::clock::unix_millis() + 1000).unwrap();
    assert_eq!(search(&it, &TraceFilter::default(), Sort::Newest, 100, LONG).0, []);
    store(&it, &spans);
    for stored in spans.iter().step_by(501) {
        let user = stored.span.attributes[2].value.clone().unwrap();
        let Some(Any::StringValue(user)) = user.value else { panic!() };
        let filter =
            TraceFilter { attributes: vec![("user".to_owned(), user.clone())], ..Default::default() };
        let found = search(&it, &filter, Sort::Oldest, 100, LONG).0;
        assert!(found.contains(&trace_id(stored.trace)), "{user}");
    }
}

#[test]
fn one_wrong_clock_does_not_spoil_a_trace() {
    const YEAR: u64 = 365 * 86_400 * SECOND;
    let now = unix_nanos();
    let right = |id| span(1, id, u64::from(id > 1), "right", now + id, now + 100);
    let wrong = |id, start, end| span(1, id, 1, "wrong", start, end);
    let of_trace_1 = [
        right(1),
        right(2),
        wrong(3, 5, 6),
        wrong(4, now + 80 * YEAR, now + 80 * YEAR + 1),
        wrong(5, now, i64::MAX as u64),
    ];
    // In any order of arrival.
    for first in 0..of_trace_1.len() {
        let (_dir, store, _) = open();
        for offset in 0..of_trace_1.len() {
            let span = of_trace_1[(first + offset) % of_trace_1.len()].clone();
            store.append(Signal::Traces, &[request("a", vec![span])]).unwrap();
        }
        let summary = store.newest(1).unwrap().remove(0);
        assert_eq!(
            (summary.start_unix_nano, summary.duration_nano, summary.has_wrong_times),
            (now + 1, 99, false)
        );
        assert_eq!((summary.root_name.as_str(), summary.span_count), ("right", 5));
        assert_eq!(summary.order_unix_nano, now + 1);
    }
    let (_dir, store, _) = open();
    store.append(Signal::Traces, &[request("a", of_trace_1.to_vec())]).unwrap();
    // A clock that is wrong all the time shows the right duration, and one that was set in between does not.
    let others = vec![span(2, 1, 0, "1970", 1000, 3000), span(3, 1, 0, "set", 5, now)];
    store.append(Signal::Traces, &[request("a", others)]).unwrap();
    let (longest, _) = search(&store, &TraceFilter::default(), Sort::Longest, 10, LONG);
    assert_eq!(longest, [2, 1, 3].map(trace_id));
    let long = TraceFilter { min_duration_nano: Some(SECOND), ..TraceFilter::default() };
    assert_eq!(search(&store, &long, Sort::Newest, 10, LONG).0, []);
    let summaries = store.newest(10).unwrap();
    let set = summaries.iter().find(|summary| summary.root_name == "set").unwrap();
    assert!(set.has_wrong_times && set.duration_nano == 0);
}
