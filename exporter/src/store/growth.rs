//! Tests of how much the store writes for a request.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;

use super::tests::{large, open, request, resource, span, trace_id};
use super::*;
use crate::clock::unix_millis;
use crate::metrics::ReasonLabel;
use crate::otlp::Signal;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

fn scope(name: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: name.to_owned(), ..Default::default() })
}

fn spans(resources: Vec<(String, Vec<ScopeSpans>)>) -> Bytes {
    let resource_spans = resources.into_iter().map(|(service, scope_spans)| ResourceSpans {
        resource: Some(resource(&service)),
        scope_spans,
        ..Default::default()
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec().into()
}

fn records(service: &str, scope_name: &str, log_records: Vec<LogRecord>) -> Bytes {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource(service)),
            scope_logs: vec![ScopeLogs { scope: scope(scope_name), log_records, ..Default::default() }],
            ..Default::default()
        }],
    };
    request.encode_to_vec().into()
}

fn record(trace: u64, n: u64) -> LogRecord {
    LogRecord {
        trace_id: trace_id(trace).to_bytes().to_vec(),
        dropped_attributes_count: u32::try_from(n).unwrap(),
        ..Default::default()
    }
}

fn one(trace: u64, id: u64) -> Vec<Span> {
    vec![span(trace, id, 0, "", 0, 0)]
}

/// The requests that make the store write the most: signal, name and body.
fn requests() -> Vec<(Signal, &'static str, Bytes)> {
    let large = "x".repeat(900_000);
    let escaped = "\u{1}".repeat(200);
    let of_scopes = |count| {
        let scope_spans = |n: u64| ScopeSpans {
            scope: scope(&format!("scope {n}")),
            spans: one(1, n),
            ..Default::default()
        };
        (1..=count).map(scope_spans).collect::<Vec<_>>()
    };
    let of_spans = |spans: Vec<Span>| vec![ScopeSpans { spans, ..Default::default() }];
    let attribute = KeyValue {
        key: "key".to_owned(),
        value: Some(AnyValue { value: Some(Any::StringValue("value".repeat(200))) }),
        key_strindex: 0,
    };
    let with_attributes = |n| Span { attributes: vec![attribute.clone(); 20], ..span(n, n, 0, "name", 0, 0) };
    vec![
        (Signal::Traces, "scopes of a large resource", spans(vec![(large.clone(), of_scopes(2000))])),
        (
            Signal::Traces,
            "a large scope of many resources",
            spans(
                (1..=200)
                    .map(|n| {
                        let scope = scope(&large[..5000]);
                        (
                            format!("service {n}"),
                            vec![ScopeSpans { scope, spans: one(1, n), ..Default::default() }],
                        )
                    })
                    .collect(),
            ),
        ),
        (
            Signal::Traces,
            "small resources",
            spans((1..=5000).map(|n| (format!("service {n}"), of_spans(one(n, n)))).collect()),
        ),
        (
            Signal::Traces,
            "a long name of a service and many traces",
            spans(vec![(escaped.clone(), of_spans((1..=20_000).flat_map(|n| one(n, n)).collect()))]),
        ),
        (
            Signal::Traces,
            "equal attributes",
            spans(vec![("a".to_owned(), of_spans((1..=100).map(with_attributes).collect()))]),
        ),
        (
            Signal::Logs,
            "records of a large resource",
            records(&large, "", (1..=10_000).map(|n| record(1, n)).collect()),
        ),
        (
            Signal::Logs,
            "records of a large scope",
            records("a", &large, (1..=10_000).map(|n| record(1, n)).collect()),
        ),
        (
            Signal::Logs,
            "records and many traces",
            records(&escaped, &escaped, (1..=20_000).map(|n| record(n, n)).collect()),
        ),
    ]
}

#[test]
fn a_request_makes_the_store_grow_by_a_small_multiple_of_its_size() {
    for (signal, name, body) in requests() {
        let (dir, store, metrics) = open();
        store.append(signal, std::slice::from_ref(&body)).unwrap();
        store.evict(&NO_LIMITS, unix_millis()).unwrap();
        let used = metrics.store_bytes.get().unsigned_abs();
        let bound = 12 * body.len() as u64 + (512 << 10);
        assert!(used <= bound, "{name}: {used} bytes for {}", body.len());
        let wal = sqlite::wal_length(&dir.path().join("store.db"));
        assert!(wal <= bound + store.0.reserve.share_bytes(), "{name}: a WAL of {wal} for {}", body.len());
    }
}

const NO_LIMITS: Retention = Retention { max_age: std::time::Duration::MAX, max_bytes: u64::MAX };

#[test]
fn a_request_evicts_no_more_than_it_brings() {
    for (signal, name, body) in requests() {
        let (_dir, store, metrics) = open();
        for trace in 100_001..=100_400 {
            store.append(Signal::Traces, &[large(trace, 1)]).unwrap();
        }
        store.evict(&NO_LIMITS, unix_millis()).unwrap();
        let max_bytes = metrics.store_bytes.get().unsigned_abs();
        store.append(signal, std::slice::from_ref(&body)).unwrap();
        store.evict(&Retention { max_bytes, ..NO_LIMITS }, unix_millis()).unwrap();
        let label = ReasonLabel { reason: "bytes" };
        let evicted = metrics.store_traces_evicted.get_or_create(&label).get() * 100_000;
        let bound = 12 * body.len() as u64 + (512 << 10);
        assert!(evicted <= bound, "{name}: evicted {evicted} bytes for {}", body.len());
        assert!(metrics.store_bytes.get().unsigned_abs() <= max_bytes, "{name}");
    }
}

/// Returns the number of rows of the tables `origin` and `content`.
fn shared_rows(store: &Store) -> (i64, i64) {
    let writer = store.writer();
    let count = |table| {
        let sql = format!("SELECT count(*) FROM {table}");
        writer.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    (count("origin"), count("content"))
}

#[test]
fn resources_and_scopes_are_stored_once_and_deleted_with_their_last_trace() {
    let (_dir, store, _) = open();
    for trace in 1..=3 {
        for service in ["a", "b"] {
            store.append(Signal::Traces, &[request(service, one(trace, 1))]).unwrap();
        }
        store.append(Signal::Logs, &[records("a", "logger", vec![record(trace, 1)])]).unwrap();
    }
    // (a, no scope), (b, no scope) and (a, logger); two resources, two names and two scopes.
    assert_eq!(shared_rows(&store), (3, 6));
    store.append(Signal::Traces, &[request("c", one(4, 1))]).unwrap();
    assert_eq!(shared_rows(&store), (4, 8));
    let expired = Retention { max_age: std::time::Duration::ZERO, ..NO_LIMITS };
    store.evict(&expired, unix_millis() + 1).unwrap();
    assert_eq!(shared_rows(&store), (0, 0));
    store.append(Signal::Traces, &[request("c", one(5, 1))]).unwrap();
    assert_eq!(store.newest(1).unwrap()[0].service_names, ["c"]);
}

#[test]
fn a_store_of_version_1_keeps_its_traces_and_positions() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(dir.path().join("store.db")).unwrap();
    old.execute_batch(include_str!("version_1.sql")).unwrap();
    let body = |id| one(1, id)[0].encode_to_vec();
    for (id, scope_name) in [(1_i64, "x"), (2, "y")] {
        let scope = scope(scope_name).unwrap().encode_to_vec();
        old.execute("INSERT INTO origin VALUES (?, ?, ?, 1)", (id, resource("a").encode_to_vec(), scope))
            .unwrap();
        old.execute("INSERT INTO span VALUES (1, ?1, ?1, 0, ?2)", (id, body(id.unsigned_abs()))).unwrap();
    }
    old.execute(
        r#"INSERT INTO trace VALUES (1, ?, ?, 0, 0, 2, 0, 1, '', 2, 0, '["a"]')"#,
        (trace_id(1).to_bytes(), unix_millis()),
    )
    .unwrap();
    old.execute_batch(r#"INSERT INTO line VALUES (1, 5, 1, NULL, 'INFO', 'hello', '{"message":"hello"}')"#)
        .unwrap();
    old.execute_batch("INSERT INTO position VALUES ('/log', 7, x'7b')").unwrap();
    drop(old);

    let store =
        Store::open(&DataDir::unlocked(dir.path()), DiskReserve::small(dir.path()), Arc::new(Metrics::new()))
            .unwrap();
    assert_eq!(shared_rows(&store), (2, 3));
    store.append(Signal::Traces, &[request("a", one(1, 3))]).unwrap();
    let trace = store.trace(trace_id(1)).unwrap().unwrap();
    let scopes: Vec<&str> = trace.spans.iter().map(|span| span.emitter.scope.name.as_str()).collect();
    assert_eq!((scopes, trace.lines[0].message.as_str()), (vec!["x", "y", ""], "hello"));
    assert_eq!(trace.summary.service_names, ["a"]);
    assert!(trace.spans.iter().all(|span| span.emitter.service_name == "a"));
    let (target, head, tail) = ("/log".into(), b"{".to_vec(), Vec::new());
    let position = ReadPosition { target, device: 0, inode: 0, offset: 7, head, tail, is_current: true };
    assert_eq!(store.positions("/log").unwrap(), [position]);
}
