//! Searches of lines.

use std::time::{Duration, Instant};

use bytes::Bytes;
use logtracer_core::SpanId;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;

use super::super::tests::{open, resource, trace_id};
use super::super::*;
use super::{LONG, SECOND, search, text};
use crate::clock::unix_nanos;
use crate::otlp::Signal;

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
    // Lines without a trace are not traces.
    let traces = search(&it, &TraceFilter::default(), Sort::Newest, 10, LONG).0;
    assert_eq!(traces.len(), 3);
    let with_text = TraceFilter { text: some("ACCEPTED"), ..Default::default() };
    assert_eq!(search(&it, &with_text, Sort::Newest, 10, LONG).0, [trace_id(3)]);
}

#[test]
fn a_text_is_found_without_the_escapes_of_json() {
    let (_dir, it, _) = open();
    let json = r#"{"message":"m","user":"No\u00ebl","path":"a\/b","said":"\"hi\"","tab":"x\ty"}"#;
    let escaped = |trace| LogLine { line: json.to_owned(), ..line(trace, unix_nanos(), "INFO", "m") };
    it.append_lines(&[escaped(None), escaped(Some(1))], &[]).unwrap();
    for (wanted, expected) in
        [("no\u{eb}l", 2), ("a/b", 2), ("\"hi\"", 2), ("x\ty", 2), (r"no\u00ebl", 2), ("a//b", 0)]
    {
        let filter = LineFilter { text: Some(wanted.to_owned()), ..Default::default() };
        assert_eq!(messages(&it, &filter, 10, LONG).len(), expected, "{wanted}");
        let filter = TraceFilter { text: Some(wanted.to_owned()), ..Default::default() };
        let traces = search(&it, &filter, Sort::Newest, 10, LONG).0;
        assert_eq!(traces.len(), expected / 2, "{wanted}");
    }
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
