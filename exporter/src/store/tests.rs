//! Tests of the store through the methods that the sink, the tail and the viewer use.

use std::time::Duration;

use bytes::Bytes;
use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::*;
use crate::clock::unix_millis;
use crate::otlp::Signal;

pub(super) fn open() -> (tempfile::TempDir, Store, Arc<Metrics>) {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new());
    let store =
        Store::open(&DataDir::unlocked(dir.path()), DiskReserve::small(dir.path()), metrics.clone()).unwrap();
    (dir, store, metrics)
}

pub(super) fn trace_id(n: u64) -> TraceId {
    TraceId::new(n.into()).unwrap()
}

pub(super) fn span(trace: u64, id: u64, parent: u64, name: &str, start: u64, end: u64) -> Span {
    Span {
        trace_id: trace_id(trace).to_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { vec![] } else { parent.to_be_bytes().to_vec() },
        name: name.to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..Default::default()
    }
}

pub(super) fn resource(service: &str) -> Resource {
    let name = AnyValue { value: Some(Any::StringValue(service.to_owned())) };
    let service = KeyValue { key: "service.name".to_owned(), value: Some(name), key_strindex: 0 };
    Resource { attributes: vec![service], ..Default::default() }
}

pub(super) fn request(service: &str, spans: Vec<Span>) -> Bytes {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(service)),
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        }],
    };
    request.encode_to_vec().into()
}

fn line(trace: u64, time: u64, message: &str) -> LogLine {
    LogLine {
        trace_id: Some(trace_id(trace)),
        span_id: SpanId::new(1),
        time_unix_nano: time,
        severity: "INFO".to_owned(),
        message: message.to_owned(),
        line: format!("{{\"message\":\"{message}\"}}"),
    }
}

#[test]
fn the_summary_does_not_depend_on_the_order_of_the_spans() {
    let (_dir, store, _) = open();
    store.append(Signal::Traces, &[request("b", vec![span(1, 2, 1, "child", 20, 30)])]).unwrap();
    let summary = |store: &Store| store.newest(10).unwrap().remove(0);
    assert_eq!((summary(&store).root_name.as_str(), summary(&store).duration_nano), ("child", 10));

    let mut failed = span(1, 3, 2, "deeper", 5, 8);
    failed.status = Some(Status { code: 2, message: String::new() });
    store.append(Signal::Traces, &[request("a", vec![span(1, 1, 0, "root", 10, 40), failed])]).unwrap();
    assert_eq!(
        summary(&store),
        TraceSummary {
            trace_id: trace_id(1),
            root_name: "root".to_owned(),
            service_names: vec!["b".to_owned(), "a".to_owned()],
            root_service: "a".to_owned(),
            root_status: String::new(),
            span_count: 3,
            log_count: 0,
            error_count: 1,
            start_unix_nano: 5,
            duration_nano: 35,
            order_unix_nano: summary(&store).order_unix_nano,
            has_wrong_times: false,
            key: summary(&store).key,
        }
    );
}

#[test]
fn spans_are_stored_unchanged() {
    let (_dir, store, _) = open();
    let sent = vec![span(1, u64::MAX, 0, "root", 10, 40), span(1, 1, u64::MAX, "child", 12, 30)];
    for _ in 0..2 {
        store.append(Signal::Traces, &[request("a", sent.clone())]).unwrap();
    }
    let trace = store.trace(trace_id(1)).unwrap().unwrap();
    let got: Vec<Span> = trace.spans.iter().map(|stored| stored.span.clone()).collect();
    assert_eq!(got, sent);
    assert_eq!(trace.spans[1].parent_span_id, SpanId::new(u64::MAX));
    assert_eq!(trace.spans[0].emitter.service_name, "a");
    assert_eq!(store.trace(trace_id(2)).unwrap(), None);
}

#[test]
fn invalid_times_are_adjusted() {
    let (_dir, store, _) = open();
    store
        .append(
            Signal::Traces,
            &[request("a", vec![span(1, 1, 0, "back", 50, 10), span(1, 2, 0, "far", u64::MAX, 3)])],
        )
        .unwrap();
    let trace = store.trace(trace_id(1)).unwrap().unwrap();
    assert_eq!((trace.summary.start_unix_nano, trace.spans[0].duration_nano()), (50, 0));
}

#[test]
fn an_undecodable_batch_is_rejected_as_a_whole() {
    let (_dir, store, _) = open();
    let bad = Bytes::from_static(b"\xff");
    let good = request("a", vec![span(1, 1, 0, "root", 1, 2)]);
    let error = store.append(Signal::Traces, &[good.clone(), bad]).unwrap_err();
    assert!(
        matches!(error, WriteError::Undecodable(reason) if reason.starts_with("request 2 of the chunk: "))
    );
    assert_eq!(store.trace(trace_id(1)).unwrap(), None);
    store.append(Signal::Traces, &[good]).unwrap();
    assert!(store.trace(trace_id(1)).unwrap().is_some());
}

#[test]
fn a_batch_that_takes_too_much_memory_is_rejected() {
    let (_dir, store, _) = open();
    let good = request("a", vec![span(1, 1, 0, "root", 1, 2)]);
    let body = [&good[..], &[0x0a, 0].repeat(15_500_000)[..]].concat();
    let bomb = body.into();
    let error = store.append(Signal::Traces, &[good, bomb]).unwrap_err();
    assert!(
        matches!(error, WriteError::Undecodable(reason) if reason == "request 2 of the chunk: it takes too much memory when decoded")
    );
    assert_eq!(store.trace(trace_id(1)).unwrap(), None);
}

#[test]
fn spans_are_read_in_order_from_any_key() {
    let (_dir, store, _) = open();
    let spans = (1..=50).map(|id| span(1, id, 0, "work", 1000 - id / 2, 2000)).collect();
    store.append(Signal::Traces, &[request("a", spans)]).unwrap();
    store
        .snapshot(|snapshot| {
            let (seq, _) = snapshot.trace(trace_id(1))?.unwrap();
            let all = snapshot.span_keys(seq, None, 1000)?;
            assert_eq!((all.len(), all[0].span_id.get(), all[1].span_id.get()), (50, 50, 48));
            for (index, key) in all.iter().enumerate() {
                assert_eq!(key.to_string().parse(), Ok(*key));
                assert_eq!(snapshot.span_keys(seq, Some(*key), 3)?, all[index..50.min(index + 3)]);
                assert_eq!(snapshot.span_key(seq, key.span_id)?, Some(*key));
            }
            assert_eq!(snapshot.span_key(seq, SpanId::new(99).unwrap())?, None);
            // The earliest spans, by id.
            for (limit, expected) in [(10, 40..=50), (100, 1..=50)] {
                let mut ids = Vec::new();
                snapshot.each_span(seq, limit, |id, _, _| {
                    ids.push(id.get());
                    Ok(())
                })?;
                let expected: Vec<u64> = expected.filter(|id| limit > 50 || *id != 41).collect();
                assert_eq!(ids, expected);
            }
            let after = snapshot.spans_after(seq, SpanId::new(48), 10)?;
            assert_eq!(after.iter().map(|(id, _)| id.get()).collect::<Vec<_>>(), [49, 50]);
            Ok(())
        })
        .unwrap();
}

#[test]
fn lines_are_sorted_by_time_and_arrival() {
    let (_dir, store, _) = open();
    store.append_lines(&[line(1, 30, "c"), line(1, 10, "a"), line(1, 10, "b")], &[]).unwrap();
    let trace = store.trace(trace_id(1)).unwrap().unwrap();
    let messages: Vec<&str> = trace.lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(messages, ["a", "b", "c"]);
    assert_eq!((trace.summary.start_unix_nano, trace.summary.duration_nano), (10, 20));
    assert_eq!((trace.summary.log_count, trace.summary.span_count), (3, 0));

    // The times of spans replace those of lines.
    store.append(Signal::Traces, &[request("a", vec![span(1, 1, 0, "root", 15, 18)])]).unwrap();
    let summary = store.trace(trace_id(1)).unwrap().unwrap().summary;
    assert_eq!((summary.start_unix_nano, summary.duration_nano), (15, 3));
}

fn position(inode: u64, offset: u64, head: &[u8], tail: &[u8]) -> ReadPosition {
    let (head, tail) = (head.to_vec(), tail.to_vec());
    ReadPosition {
        target: "/logs/\u{e4}".into(),
        device: u64::MAX,
        inode,
        offset,
        head,
        tail,
        is_current: inode == 1,
    }
}

#[test]
fn the_read_positions_are_committed_with_their_lines() {
    let (dir, store, metrics) = open();
    assert_eq!(store.positions("/log").unwrap(), []);
    let of = |file: &str, generations| ReadPositions { file: file.to_owned(), generations };
    let other = of("/other", vec![position(1, 9, b"c", b"d")]);
    let before = of("/log", vec![position(1, 7, b"{", b""), position(2, 8, b"", b"{")]);
    store.append_lines(&[line(1, 1, "a")], &[before, other.clone()]).unwrap();
    let after = of("/log", vec![position(1, 70, b"{", b"}")]);
    store.append_lines(&[line(1, 2, "b")], std::slice::from_ref(&after)).unwrap();
    drop(store);
    let store = Store::open(&DataDir::unlocked(dir.path()), DiskReserve::small(dir.path()), metrics).unwrap();
    for positions in [after, other] {
        assert_eq!(store.positions(&positions.file).unwrap(), positions.generations);
    }
}

#[test]
fn old_traces_are_evicted() {
    let (_dir, store, metrics) = open();
    for n in 1..=3 {
        store.append(Signal::Traces, &[request("a", vec![span(n, 1, 0, "root", n, n + 1)])]).unwrap();
    }
    store.append_lines(&[line(1, 1, "a")], &[]).unwrap();
    let retention = Retention { max_age: Duration::from_secs(60), max_bytes: u64::MAX };
    store.evict(&retention, unix_millis()).unwrap();
    assert_eq!(store.newest(10).unwrap().len(), 3);
    store.evict(&retention, unix_millis() + 61_000).unwrap();
    assert_eq!(store.newest(10).unwrap(), []);
    let label = crate::metrics::ReasonLabel { reason: "age" };
    assert_eq!(metrics.store_traces_evicted.get_or_create(&label).get(), 3);
    // The emitter was deleted with the last trace that used it, and is inserted again.
    store.append(Signal::Traces, &[request("a", vec![span(9, 1, 0, "root", 1, 2)])]).unwrap();
    assert_eq!(store.trace(trace_id(9)).unwrap().unwrap().spans[0].emitter.service_name, "a");
}

#[test]
fn a_store_at_its_size_limit_keeps_the_newest_traces() {
    let (_dir, store, metrics) = open();
    let retention = Retention { max_age: Duration::from_secs(3600), max_bytes: 800_000 };
    let name = "x".repeat(2000);
    for n in 1..=500 {
        let service = format!("service-{n}");
        store.append(Signal::Traces, &[request(&service, vec![span(n, 1, 0, &name, n, n + 1)])]).unwrap();
    }
    store.evict(&retention, unix_millis()).unwrap();
    assert!(metrics.store_bytes.get() <= 800_000, "{}", metrics.store_bytes.get());
    let left = store.newest(1000).unwrap();
    assert!(left.len() > 50, "{} are left", left.len());
    let newest: Vec<TraceId> = (0..left.len() as u64).map(|n| trace_id(500 - n)).collect();
    assert_eq!(left.iter().map(|trace| trace.trace_id).collect::<Vec<_>>(), newest);
    let last = store.trace(trace_id(500)).unwrap().unwrap();
    assert_eq!(last.spans[0].emitter.service_name, "service-500");
}

#[test]
fn equal_log_records_are_stored_once_and_equal_lines_of_a_file_each_time() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

    let (_dir, store, _) = open();
    let record = |trace: Vec<u8>, time_unix_nano| LogRecord {
        trace_id: trace,
        time_unix_nano,
        body: Some(AnyValue { value: Some(Any::StringValue("sold out".to_owned())) }),
        ..Default::default()
    };
    let trace = || trace_id(1).to_bytes().to_vec();
    let log_records = vec![record(trace(), 5), record(trace(), 6), record(vec![], 7)];
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
            ..Default::default()
        }],
    };
    let logs = Bytes::from(request.encode_to_vec());
    for _ in 0..3 {
        store.append(Signal::Logs, std::slice::from_ref(&logs)).unwrap();
    }
    let stored = store.trace(trace_id(1)).unwrap().unwrap();
    let times: Vec<u64> = stored.lines.iter().map(|line| line.time_unix_nano).collect();
    assert_eq!((times, stored.summary.log_count), (vec![5, 6], 2));
    let without_trace = |connection: &Connection| {
        connection.query_row(
            "SELECT count(*) FROM line JOIN trace ON seq = trace WHERE untraced = 1",
            [],
            |row| row.get::<_, i64>(0),
        )
    };
    assert_eq!(store.read(without_trace), Ok(1));

    let lines = [line(1, 9, "twice"), line(1, 9, "twice")];
    store.append_lines(&lines, &[]).unwrap();
    assert_eq!(store.trace(trace_id(1)).unwrap().unwrap().lines.len(), 4);
}

/// Returns a store on a full disk, with this number of traces and of spans of 100 kB in each trace.
fn on_a_full_disk(traces: u64, spans: u64) -> (tempfile::TempDir, Store, DiskReserve, Arc<Metrics>) {
    let (dir, metrics) = (tempfile::tempdir().unwrap(), Arc::new(Metrics::new()));
    let reserve = DiskReserve::small(dir.path());
    let store = Store::open(&DataDir::unlocked(dir.path()), reserve.clone(), metrics.clone()).unwrap();
    for trace in 1..=traces {
        store.append(Signal::Traces, &[large(trace, spans)]).unwrap();
    }
    reserve.fill();
    (dir, store, reserve, metrics)
}

pub(super) fn large(trace: u64, spans: u64) -> Bytes {
    let name = "x".repeat(100_000);
    let failed = |id| {
        let status = Some(Status { code: 2, message: String::new() });
        Span { status, ..span(trace, id, 0, &name, 1, 2) }
    };
    request("a", (1..=spans).map(failed).collect())
}

const NO_LIMITS: Retention = Retention { max_age: Duration::MAX, max_bytes: u64::MAX };

/// Evicts traces without limits, so only because of the full disk. Returns the number of remaining traces.
fn evict_and_count(store: &Store) -> u64 {
    store.evict(&NO_LIMITS, unix_millis()).unwrap();
    store.newest(1000).unwrap().len() as u64
}

#[test]
fn a_store_on_a_disk_that_stays_full_stops_evicting() {
    let (dir, store, reserve, metrics) = on_a_full_disk(200, 1);
    let first = evict_and_count(&store);
    assert!((140..190).contains(&first), "{first} of 200");
    assert_eq!([evict_and_count(&store), evict_and_count(&store)], [first; 2]);
    let label = crate::metrics::ReasonLabel { reason: "disk full" };
    assert_eq!(metrics.store_traces_evicted.get_or_create(&label).get(), 200 - first);

    // New traces replace the oldest ones.
    let length = || std::fs::metadata(dir.path().join("store.db")).unwrap().len();
    let before = length();
    for trace in 201..=260 {
        store.append(Signal::Traces, &[large(trace, 1)]).unwrap();
    }
    assert!(length() <= before, "{} after {before}", length());
    assert!(store.trace(trace_id(260)).unwrap().is_some());

    // Free space ends the back-off.
    let second = evict_and_count(&store);
    reserve.clear();
    assert_eq!(evict_and_count(&store), second);
    reserve.fill();
    assert!(evict_and_count(&store) < second);
}

#[test]
fn an_evicted_part_of_a_trace_is_counted() {
    let (_dir, store, _, metrics) = on_a_full_disk(1, 80);
    assert_eq!(evict_and_count(&store), 1);
    let trace = store.trace(trace_id(1)).unwrap().unwrap();
    let left = trace.spans.len() as u64;
    assert!((20..70).contains(&left), "{left} of 80");
    assert_eq!((trace.summary.span_count, trace.summary.error_count), (left, left));
    assert_eq!(metrics.store_spans_evicted.get(), 80 - left);
}

/// Only a smaller transaction on a full disk can succeed where a larger one fails.
#[test]
fn only_a_lack_of_space_splits_a_transaction() {
    let (_dir, store, reserve, _) = on_a_full_disk(1, 1);
    let refuse = |id: u64| {
        let sql = format!(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON span WHEN NEW.span_id = {id}
             BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
        );
        store.writer().connection.execute_batch(&sql).unwrap();
    };
    refuse(3);
    let spans = (1..=4).map(|id| span(7, id, 0, "work", 1, 2)).collect();
    let body = request("a", spans);
    for _ in 0..2 {
        let error = store.append(Signal::Traces, std::slice::from_ref(&body)).unwrap_err();
        assert!(matches!(&error, WriteError::Database(reason) if reason == "disk I/O error"), "{error}");
        assert_eq!(store.trace(trace_id(7)).unwrap(), None, "nothing of it is stored");
        reserve.clear();
    }
}
