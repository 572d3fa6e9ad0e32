//! Spans that wait in the buffer of the filter, and callouts in flight.

use std::time::{Duration, Instant};

use logtracer_harness::collector::{Collector, Response};
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::Connection;
use logtracer_harness::{ports, shell, wait};
use serde_json::json;

use super::{send, spans, start, wait_for, with_exporter};
use crate::trace;

/// Rule 72: while the exporter is unavailable the oldest spans are dropped, and all others arrive later.
#[test]
fn an_unavailable_exporter_drops_the_oldest_spans() {
    let port = ports::reserve().unwrap();
    let exporter = json!({ "flush_interval": "50ms", "max_batch_spans": 5, "max_buffer_bytes": 4096 });
    let proxy = start(exporter, port);
    const ALL: u64 = 80;
    for number in 0..ALL {
        send(&proxy, number.into());
    }
    let full = wait::until("a full buffer", || {
        let found = spans(&proxy);
        Some(found).filter(|found| found["buffered"] == ALL && found["dropped_buffer_full"] > 0)
    })
    .unwrap();
    assert_eq!(full["sent"], 0);
    assert_eq!(proxy.envoy.lines(ALL as usize).unwrap().len(), ALL as usize);

    let collector = Collector::at(port).unwrap();
    let end = wait::until("the rest", || {
        let found = spans(&proxy);
        Some(found).filter(|found| found["sent"] + found["dropped_buffer_full"] == ALL)
    })
    .unwrap();
    let arrived = collector.spans();
    assert_eq!(arrived.len() as u64, end["sent"]);
    assert!(
        arrived.iter().any(|span| span.trace_id == trace(u128::from(ALL) - 1)),
        "the newest span is missing"
    );
    let mut ids: Vec<_> = arrived.iter().map(|span| &span.span_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), arrived.len(), "a span arrived twice");
    wait::until("an end of callouts", || {
        Some(()).filter(|()| proxy.envoy.stat(&shell::metric("callouts_in_flight")).unwrap() == 0)
    })
    .unwrap();
}

/// Rule 72: a half-full buffer is flushed at once, before the interval has passed.
#[test]
fn a_buffer_filled_by_bytes_is_flushed_early() {
    let collector = Collector::start().unwrap();
    let exporter = json!({ "flush_interval": "10m", "max_buffer_bytes": 8192 });
    let proxy = start(exporter, collector.port());
    const ALL: u64 = 60;
    for number in 0..ALL {
        send(&proxy, number.into());
    }
    let end =
        wait::until("most of the spans", || Some(spans(&proxy)).filter(|found| found["sent"] > ALL / 2))
            .unwrap();
    assert_eq!(end["dropped_buffer_full"], 0);
    assert!(collector.spans().len() as u64 > ALL / 2);
}

/// Rule 75: the spans of a replaced configuration are sent or counted as dropped.
#[test]
fn a_new_configuration_flushes_the_old_one() {
    let collector = Collector::start().unwrap();
    let slow = |name: &str| json!({ "flush_interval": "30m", "authority": name });
    let proxy = start(slow("first"), collector.port());
    for number in 0..3 {
        send(&proxy, number);
    }
    assert_eq!(collector.batches().len(), 0);

    proxy.replace(&[Listener::new("inbound", with_exporter(slow("second")))]).unwrap();
    wait::until("the spans of the old configuration", || Some(()).filter(|()| collector.spans().len() == 3))
        .unwrap();
    assert_eq!(collector.batches()[0].header("host"), Some("first"));
    // The response reached the old root before its end.
    wait_for(&proxy, "the count", &[("buffered", 3), ("sent", 3)]);

    // The new configuration works. Its exporter fails when it is replaced.
    wait::until("the new listener", || {
        send(&proxy, 10);
        let lines = proxy.lines(&trace(10)).unwrap_or_default().len();
        Some(()).filter(|()| lines > 0)
    })
    .unwrap();
    collector.respond(Response::Status(503));
    let fast = json!({ "flush_interval": "50ms" });
    proxy.replace(&[Listener::new("inbound", with_exporter(fast))]).unwrap();
    wait::until("the drop", || Some(()).filter(|()| spans(&proxy)["dropped_shutdown"] > 0)).unwrap();
    assert_eq!(spans(&proxy)["sent"], 3);
}

/// Rule 75: a configuration that is replaced during an outage leaves its spans to the new one.
#[test]
fn a_new_configuration_keeps_the_spans_of_an_outage() {
    const REQUESTS: u64 = 30;
    let port = ports::reserve().unwrap();
    let exporter =
        |timeout: &str| json!({ "flush_interval": "100ms", "timeout": timeout, "max_batch_spans": 4 });
    let proxy = start(exporter("1s"), port);
    for number in 0..REQUESTS {
        send(&proxy, number.into());
    }
    wait::until("a failed callout", || Some(()).filter(|()| spans(&proxy)["retried"] > 0)).unwrap();
    let callouts = || proxy.envoy.stat(&shell::metric("callouts")).unwrap();
    for timeout in ["2s", "3s"] {
        let before = proxy.envoy.stat("listener_manager.listener_modified").unwrap();
        proxy.replace(&[Listener::new("inbound", with_exporter(exporter(timeout)))]).unwrap();
        wait::until("the new configuration", || {
            let modified = proxy.envoy.stat("listener_manager.listener_modified").unwrap();
            let draining = proxy.envoy.stat("listener_manager.total_listeners_draining").unwrap();
            Some(()).filter(|()| modified > before && draining == 0)
        })
        .unwrap();
        let before = callouts();
        wait::until("a callout of the new configuration", || Some(()).filter(|()| callouts() > before))
            .unwrap();
    }
    let collector = Collector::at(port).unwrap();
    wait::until("all spans", || Some(()).filter(|()| spans(&proxy)["sent"] == REQUESTS)).unwrap();
    let dropped: u64 =
        spans(&proxy).iter().filter(|(name, _)| name.starts_with("dropped")).map(|(_, n)| n).sum();
    assert_eq!((spans(&proxy)["buffered"], dropped), (REQUESTS, 0));
    let mut traces: Vec<_> = collector.spans().into_iter().map(|span| span.trace_id).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len() as u64, REQUESTS);
}

/// A VM with callouts in flight ends: its gauges return to 0, and the spans in flight are dropped.
#[test]
fn a_removed_vm_leaves_no_gauge_behind() {
    let collector = Collector::start().unwrap();
    collector.respond(Response::Delayed(Duration::from_secs(600)));
    let slow = Listener::new("inbound", with_exporter(json!({ "flush_interval": "50ms", "timeout": "10m" })));
    let other = Listener { vm: "other", ..Listener::new("outbound", json!({})) };
    let node = json!({ "id": "n", "cluster": "shop" });
    let proxy = Proxy::start(node, &[slow, other.clone()], collector.port()).unwrap();
    let in_flight = || proxy.envoy.stat(&shell::metric("callouts_in_flight")).unwrap();
    send(&proxy, 1);
    wait::until("a callout", || Some(()).filter(|()| in_flight() == 1)).unwrap();
    wait_for(&proxy, "a span in flight", &[("buffered", 1), ("held", 1)]);

    proxy.replace(&[other]).unwrap();
    wait::until("the end", || Some(()).filter(|()| in_flight() == 0)).unwrap();
    wait_for(&proxy, "the end of the gauge", &[("buffered", 1), ("dropped_shutdown", 1)]);
}

/// The exporter does not respond, and requests are answered all the same.
#[test]
fn no_request_waits_for_a_callout() {
    let collector = Collector::start().unwrap();
    collector.respond(Response::Delayed(Duration::from_secs(600)));
    let proxy =
        start(json!({ "flush_interval": "50ms", "timeout": "10m", "max_batch_spans": 1 }), collector.port());
    let in_flight = || proxy.envoy.stat(&shell::metric("callouts_in_flight")).unwrap();
    let begin = Instant::now();
    for number in 1..=20 {
        send(&proxy, number);
    }
    wait::until("callouts without a response", || Some(()).filter(|()| in_flight() == 4)).unwrap();
    for number in 21..=40 {
        send(&proxy, number);
    }
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
    wait_for(&proxy, "buffered spans", &[("buffered", 40), ("held", 40)]);
}

/// Rule 74: exports through another filter create no spans there, with any `edge`.
#[test]
fn exports_through_a_filter_are_not_exported() {
    let collector = Collector::start().unwrap();
    let node = || json!({ "id": "n", "cluster": "exporter" });
    let mut mesh_wide = with_exporter(json!({ "flush_interval": "50ms" }));
    mesh_wide["edge"] = "restart".into();
    mesh_wide["sampling"] = json!({ "keep_errors": true, "keep_slower_than": "1ms" });
    let sidecar = Proxy::start(node(), &[Listener::new("inbound", mesh_wide)], collector.port()).unwrap();
    let proxy = start(json!({ "flush_interval": "50ms" }), sidecar.address("inbound").port());
    const ALL: u64 = 5;
    for number in 0..ALL {
        send(&proxy, number.into());
        wait::until("a span", || Some(()).filter(|()| spans(&proxy)["sent"] == number + 1)).unwrap();
    }
    // The sidecar has a line for each export, and spans only for other requests.
    let exports = sidecar.envoy.lines(ALL as usize).unwrap().len();
    let mut connection = Connection::open(sidecar.address("inbound")).unwrap();
    connection.send("GET /v1/traces HTTP/1.1\r\nhost: x\r\nuser-agent: logtracer-filter/1\r\n\r\n").unwrap();
    connection.response().unwrap();
    wait_for(&sidecar, "a span of another request", &[("buffered", 1), ("sent", 1)]);
    assert_eq!(exports as u64, ALL);
    assert_eq!(collector.spans().len() as u64, ALL + 1);
}
