//! Tests of searches: each finds what a reader of everything finds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::tests::{open, resource, span, trace_id};
use super::*;
use crate::clock::unix_nanos;
use crate::otlp::Signal;

const SECOND: u64 = 1_000_000_000;

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

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

/// Returns all pages of a search, and their number.
fn search(
    store: &Store,
    filter: &TraceFilter,
    sort: Sort,
    limit: usize,
    time: Duration,
) -> (Vec<TraceId>, usize) {
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store
            .snapshot(|snapshot| {
                let page = snapshot.find_traces(filter, sort, after, limit, Instant::now() + time)?;
                for key in &page.keys {
                    found.push(snapshot.listed(*key)?.unwrap().trace_id);
                }
                Ok(page)
            })
            .unwrap();
        pages += 1;
        after = page.next;
        assert!(page.keys.len() <= limit);
        if let Some(next) = after {
            assert_eq!(next.to_string().parse(), Ok(next));
        } else {
            return (found, pages);
        }
    }
}

const LONG: Duration = Duration::from_secs(60);

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

fn line(trace: Option<u64>, time: u64, severity: &str, message: &str) -> LogLine {
    LogLine {
        trace_id: trace.map(trace_id),
        span_id: SpanId::new(1),
        time_unix_nano: time,
        severity: severity.to_owned(),
        message: message.to_owned(),
        line: format!("{{\"message\":\"{message}\",\"user\":\"u-{time}\"}}"),
    }
}

fn records(service: &str, log_records: Vec<LogRecord>) -> Bytes {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource(service)),
            scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
            ..Default::default()
        }],
    };
    request.encode_to_vec().into()
}

fn record(trace: Option<u64>, time: u64, number: i32, body: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: time,
        severity_number: number,
        body: Some(AnyValue { value: Some(text(body)) }),
        trace_id: trace.map(|trace| trace_id(trace).to_bytes().to_vec()).unwrap_or_default(),
        ..Default::default()
    }
}

/// Returns the messages of all pages.
fn messages(store: &Store, filter: &LineFilter, limit: usize, time: Duration) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let now = unix_nanos().cast_signed();
        let page = store
            .snapshot(|snapshot| {
                let page = snapshot.find_lines(filter, after, limit, now, Instant::now() + time)?;
                for line in &page.lines {
                    let text = snapshot.listed_line(line, |origin, row| {
                        let text = match row.content {
                            LineContent::File { message, .. } => message.to_owned(),
                            LineContent::Record { body, .. } => {
                                crate::otlp::in_place::RecordRef::new(body).body.text_within(100).0
                            }
                        };
                        let service = origin.service.clone().unwrap_or_default();
                        Ok(format!("{service}|{text}|{}", origin.trace_id.is_some()))
                    })?;
                    found.extend(text);
                }
                Ok(page)
            })
            .unwrap();
        assert!(page.lines.len() <= limit);
        after = page.next;
        match after {
            Some(next) => assert_eq!(next.to_string().parse(), Ok(next)),
            None => return found,
        }
    }
}

#[test]
fn lines_are_found_with_a_trace_and_without_one() {
    let (_dir, it, _) = open();
    let now = unix_nanos();
    let lines = [
        line(Some(1), now - 50, "INFO", "shop - first"),
        line(None, now - 40, "ERROR", "shop - card declined"),
        line(None, now - 40, "ERROR", "shop - card declined"),
        line(Some(2), 7, "WARNING", "no service here"),
        line(Some(2), now + 7200 * SECOND, "INFO", "cart - of the future"),
    ];
    it.append_lines(&lines, &[]).unwrap();
    let bodies = [records(
        "pay",
        vec![record(None, now - 30, 17, "Declined"), record(Some(3), now - 20, 9, "accepted")],
    )];
    // A request that is delivered twice is stored once.
    it.append(Signal::Logs, &bodies).unwrap();
    it.append(Signal::Logs, &bodies).unwrap();

    let all = [
        "pay|accepted|true",
        "pay|Declined|false",
        "shop|shop - card declined|false",
        "shop|shop - card declined|false",
        "shop|shop - first|true",
        "|no service here|true",
        "cart|cart - of the future|true",
    ];
    let filter = LineFilter::default;
    let some = |text: &str| Some(text.to_owned());
    for (name, filter, expected) in [
        ("all", filter(), &all[..]),
        ("text", LineFilter { text: some("DECLINED"), ..filter() }, &all[1..4]),
        ("text of a member", LineFilter { text: some("u-7"), ..filter() }, &all[5..6]),
        ("severity", LineFilter { level: 4, ..filter() }, &["", all[1], all[2], all[3], all[5]][1..]),
        ("severity with an index", LineFilter { level: 5, ..filter() }, &all[1..4]),
        ("service", LineFilter { service: some("pay"), ..filter() }, &all[..2]),
        ("no such service", LineFilter { service: some("x"), ..filter() }, &[]),
        ("trace", LineFilter { trace: Some(trace_id(2)), ..filter() }, &all[5..]),
        ("no such trace", LineFilter { trace: Some(trace_id(9)), ..filter() }, &[]),
        (
            "time",
            LineFilter {
                from: Some((now - 40).cast_signed()),
                to: Some((now - 30).cast_signed()),
                ..filter()
            },
            &all[1..4],
        ),
    ] {
        assert_eq!(messages(&it, &filter, 100, LONG), expected, "{name}");
        assert_eq!(messages(&it, &filter, 1, LONG), expected, "{name}, one by one");
    }
    // Lines without a trace are no traces.
    let traces = search(&it, &TraceFilter::default(), Sort::Newest, 10, LONG).0;
    assert_eq!(traces.len(), 3);
    let with_text = TraceFilter { text: some("ACCEPTED"), ..Default::default() };
    assert_eq!(search(&it, &with_text, Sort::Newest, 10, LONG).0, [trace_id(3)]);
}

/// A record without any time is kept as long as others that arrive at its time.
#[test]
fn a_record_without_a_time_has_that_of_its_arrival() {
    let (_dir, it, _) = open();
    it.append(
        Signal::Logs,
        &[records("a", vec![record(None, 0, 9, "no time"), record(Some(1), 0, 9, "either")])],
    )
    .unwrap();
    let now = unix_nanos().cast_signed();
    let filter = LineFilter { from: Some(now - 60_000_000_000), to: Some(now), ..Default::default() };
    assert_eq!(messages(&it, &filter, 10, LONG).len(), 2);
}

/// Lines that become present while a list is paged are neither skipped nor repeated.
#[test]
fn paging_does_not_depend_on_the_time_of_the_pages() {
    let (_dir, it, _) = open();
    let now = unix_nanos();
    let lines: Vec<LogLine> = (0..10)
        .map(|n| line(None, now + 3_595 * SECOND + n * SECOND, "INFO", &format!("line {n}")))
        .collect();
    it.append_lines(&lines, &[]).unwrap();
    let (mut found, mut after, mut clock) = (Vec::new(), None, now.cast_signed());
    loop {
        let page = it
            .snapshot(|snapshot| {
                snapshot.find_lines(&LineFilter::default(), after, 1, clock, Instant::now() + LONG)
            })
            .unwrap();
        found.extend(page.lines);
        clock += 2 * SECOND.cast_signed();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut once = found.clone();
    once.sort_unstable_by_key(ToString::to_string);
    once.dedup();
    assert_eq!((found.len(), once.len()), (10, 10));
}

#[test]
fn many_lines_are_found_without_time() {
    let (_dir, it, _) = open();
    let now = unix_nanos();
    for n in 1..=40 {
        let lines: Vec<LogLine> = (0..100)
            .map(|m| line(Some(n), now - 1_000_000 + n * 100 + m, "INFO", &format!("shop - line {m:03}.")))
            .collect();
        it.append_lines(&lines, &[]).unwrap();
    }
    let filter = LineFilter { text: Some("line 042".to_owned()), ..Default::default() };
    assert_eq!(messages(&it, &filter, 100, Duration::ZERO).len(), 40);
}

/// The list is read from an index, and only as far as it is needed.
#[test]
fn lists_are_not_sorted() {
    let (_dir, it, _) = open();
    let plan = |sql: &str| -> String {
        it.read(|connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            // A plan does not depend on the parameters.
            let mut rows = statement.raw_query();
            let mut steps: Vec<String> = Vec::new();
            while let Some(row) = rows.next()? {
                steps.push(row.get(3)?);
            }
            Ok(steps.join("; "))
        })
        .unwrap()
    };
    for (sql, index) in [
        (
            "SELECT order_ns, duration_ns, seq FROM trace INDEXED BY trace_by_order WHERE untraced = 0
             AND (order_ns, duration_ns, seq) < (1, 2, 3) AND order_ns >= 0
             ORDER BY order_ns DESC, duration_ns DESC, seq DESC",
            "COVERING INDEX trace_by_order (order_ns>? AND (order_ns,duration_ns)<(?,?)",
        ),
        (
            "SELECT order_ns, duration_ns, seq FROM trace INDEXED BY trace_by_duration WHERE untraced = 0
             AND (duration_ns, order_ns, seq) < (1, 2, 3) AND duration_ns >= 0
             ORDER BY duration_ns DESC, order_ns DESC, seq DESC",
            "COVERING INDEX trace_by_duration (duration_ns>? AND (duration_ns,order_ns)<(?,?)",
        ),
        (
            "SELECT time_ns, level, service, trace, n FROM line INDEXED BY line_by_time
             WHERE (time_ns, level, service, trace, n) < (1, 2, 3, 4, 5) AND time_ns >= 0
             ORDER BY time_ns DESC, level DESC, service DESC, trace DESC, n DESC",
            "(time_ns,level,service,trace,n)<(?,?,?,?,?)",
        ),
        (write::KNOWN_RECORD, "INDEX line_by_digest (trace=? AND digest=?)"),
    ] {
        let plan = plan(sql);
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}
