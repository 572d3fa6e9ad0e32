//! The filter's metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use logtracer_harness::collector::{Collector, Response};
use logtracer_harness::wire::Connection;
use logtracer_harness::{envoy, shell, wait};
use serde_json::json;

use super::{send, start, wait_for};
use crate::{CALLER, trace};

/// Rule 82: exactly the metrics of `docs/metrics.md` exist from the start.
#[test]
fn metrics_have_their_documented_names() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "50ms" }), collector.port());
    let documented = std::fs::read_to_string(envoy::root().join("docs/metrics.md")).unwrap();
    let mut documented: Vec<&str> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    documented.sort_unstable();
    assert!(documented.len() >= 30, "{documented:?}");

    let shown = || {
        let text = proxy.envoy.prometheus().unwrap();
        let mut shown = BTreeMap::new();
        let lines = text.lines().filter_map(|line| line.strip_prefix(shell::prometheus_prefix()));
        for line in lines.filter(|line| line.starts_with("logtracer_")) {
            let name = line.split(['{', ' ']).next().unwrap().to_owned();
            let value: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            assert_eq!(shown.insert(name, value), None, "{line}");
        }
        shown
    };
    let at_start = shown();
    assert_eq!(at_start.keys().map(String::as_str).collect::<Vec<_>>(), documented);
    assert!(at_start.values().all(|value| *value == 0), "{at_start:?}");

    let mut connection = Connection::open(proxy.address("inbound")).unwrap();
    for headers in [
        format!("b3: {}-{CALLER}-1\r\n", trace(1)),
        format!("x-b3-traceid: {}\r\nx-b3-spanid: {CALLER}\r\nx-b3-sampled: 0\r\n", trace(2)),
        format!("traceparent: 00-{}-{CALLER}-01\r\nb3: no\r\n", trace(3)),
        format!("x-cloud-trace-context: {}/1;o=1\r\ntraceparent: 00-no\r\n", trace(4)),
        "grpc-trace-bin: AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE\r\nx-b3-traceid: no\r\n".to_owned(),
        format!("b3: {}-{CALLER}-d\r\ntraceparent: 00-{}-{CALLER}-01\r\n", trace(5), trace(6)),
        "x-cloud-trace-context: no\r\ngrpc-trace-bin: no\r\n".to_owned(),
    ] {
        connection.send(format!("GET /origin/ok HTTP/1.1\r\nhost: shop\r\n{headers}\r\n")).unwrap();
        assert_eq!(connection.response().unwrap().status(), 200);
    }
    let expected = [
        ("requests", 7),
        ("extracted_b3", 2),
        ("extracted_b3multi", 1),
        ("extracted_tracecontext", 1),
        ("extracted_cloud_trace", 1),
        ("extracted_grpc_trace_bin", 1),
        ("extracted_none", 1),
        ("invalid_b3", 1),
        ("invalid_b3multi", 1),
        ("invalid_tracecontext", 1),
        ("invalid_cloud_trace", 1),
        ("invalid_grpc_trace_bin", 1),
        ("conflicts", 1),
        ("sampled", 6),
        ("denied", 1),
        ("decided_by_parent", 5),
        ("decided_by_debug", 1),
        ("decided_by_rate", 1),
        ("lines", 7),
        ("spans_buffered", 6),
        ("spans_sent", 6),
    ];
    let expected: BTreeMap<String, u64> =
        expected.into_iter().map(|(name, count)| (format!("logtracer_{name}"), count)).collect();
    let mut found = BTreeMap::new();
    let waited = wait::until("the counts", || {
        found = shown();
        found.retain(|_, count| *count > 0);
        // The number and duration of callouts varies.
        let callouts = found.remove("logtracer_callouts");
        found.remove("logtracer_callout_milliseconds");
        Some(()).filter(|()| found == expected && callouts.is_some())
    });
    assert!(waited.is_ok(), "{found:#?}");
}

/// Rule 82: statistics are delayed by seconds at most, with any flush interval, and have the duration of callouts.
#[test]
fn statistics_are_published_between_flushes() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "1h", "max_batch_spans": 2 }), collector.port());
    send(&proxy, 1);
    wait_for(&proxy, "a buffered span", &[("buffered", 1), ("held", 1)]);
    let stat = |name: &str| proxy.envoy.stat(&shell::metric(name)).unwrap();
    assert_eq!((stat("requests"), stat("lines"), stat("callouts")), (1, 1, 0));

    collector.respond_next([Response::Delayed(Duration::from_millis(300))]);
    send(&proxy, 2);
    wait_for(&proxy, "a full batch", &[("buffered", 2), ("sent", 2)]);
    assert_eq!(stat("callouts"), 1);
    let took = stat("callout_milliseconds");
    assert!((300..60_000).contains(&took), "{took}");
}
