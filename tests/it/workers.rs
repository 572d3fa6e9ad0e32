//! Several worker threads, each with a VM, a batch and ids of its own.

use std::collections::BTreeSet;

use logtracer_tests::collector::Collector;
use logtracer_tests::proxy::{Listener, Proxy};
use logtracer_tests::wire::Connection;
use logtracer_tests::{lines, wait};
use serde_json::json;

/// Rules 71 and 75: nothing is lost, counted twice or given the id of another between the workers.
#[test]
fn two_workers_make_one_whole() {
    const REQUESTS: u64 = 60;
    let collector = Collector::start().unwrap();
    let listener = Listener::new("inbound", json!({ "exporter": { "cluster": "logtracer-exporter" } }));
    let node = json!({ "id": "n", "cluster": "shop" });
    let proxy = Proxy::start_with_workers(2, node, &[listener], collector.port()).unwrap();
    // The kernel spreads connections over the workers.
    for _ in 0..REQUESTS {
        let mut connection = Connection::open(proxy.address("inbound")).unwrap();
        connection.send("GET /origin/ok HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
        assert_eq!(connection.response().unwrap().status(), 200);
    }

    let connections = proxy.envoy.stats("worker_[01].downstream_cx_total$").unwrap();
    assert_eq!(connections.len(), 2, "{connections:?}");
    assert!(connections.values().all(|&count| count > 0), "{connections:?}");
    wait::until("the spans of both workers", || {
        Some(()).filter(|()| collector.spans().len() as u64 == REQUESTS)
    })
    .unwrap();
    let spans = collector.spans();
    let different = |ids: BTreeSet<&str>| ids.len() as u64;
    assert_eq!(different(spans.iter().map(|span| span.span_id.as_str()).collect()), REQUESTS);
    assert_eq!(different(spans.iter().map(|span| span.trace_id.as_str()).collect()), REQUESTS);
    let lines = proxy.envoy.lines(REQUESTS as usize).unwrap();
    let logged: BTreeSet<_> = lines.iter().filter_map(lines::trace_id).collect();
    assert_eq!(logged, spans.iter().map(|span| span.trace_id.as_str()).collect());
    wait::until("the sum of both workers' counters", || {
        let stats = proxy.envoy.stats("^wasmcustom.logtracer_").unwrap();
        let counted = |name: &str| stats.get(&format!("wasmcustom.logtracer_{name}")).copied();
        let all = ["requests", "lines", "spans_buffered", "spans_sent"].map(counted);
        Some(()).filter(|()| all == [Some(REQUESTS); 4])
    })
    .unwrap();
}
