//! Several worker threads, each with its own VM, batch and ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logtracer_harness::collector::Collector;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::Connection;
use logtracer_harness::{lines, shell, wait};
use serde_json::json;

use crate::{CALLER, trace};

/// Rule 76: no span is lost, counted twice or has the id of another one.
#[test]
fn spans_of_two_workers_are_complete() {
    const REQUESTS: u64 = 60;
    let collector = Collector::start().unwrap();
    let listener = Listener::new("inbound", json!({ "exporter": { "cluster": "logtracer-exporter" } }));
    let node = json!({ "id": "n", "cluster": "shop" });
    let proxy = Proxy::start_with_workers(2, node, &[listener], collector.port()).unwrap();
    // The kernel distributes connections to the workers.
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
    let distinct = |ids: BTreeSet<&str>| ids.len() as u64;
    assert_eq!(distinct(spans.iter().map(|span| span.span_id.as_str()).collect()), REQUESTS);
    assert_eq!(distinct(spans.iter().map(|span| span.trace_id.as_str()).collect()), REQUESTS);
    let lines = proxy.envoy.lines(REQUESTS as usize).unwrap();
    let logged: BTreeSet<_> = lines.iter().filter_map(lines::trace_id).collect();
    assert_eq!(logged, spans.iter().map(|span| span.trace_id.as_str()).collect());
    wait::until("the sum of both workers' counters", || {
        let stats = proxy.envoy.stats(&format!("^{}", shell::metric(""))).unwrap();
        let counted = |name: &str| stats.get(&shell::metric(name)).copied();
        let all = ["requests", "lines", "spans_buffered", "spans_sent"].map(counted);
        Some(()).filter(|()| all == [Some(REQUESTS); 4])
    })
    .unwrap();
}

/// Rule 76: the first flush of each worker has a different delay.
#[test]
fn workers_do_not_flush_together() {
    const WORKERS: u8 = 4;
    const INTERVAL: Duration = Duration::from_secs(6);
    let collector = Collector::start().unwrap();
    let exporter = json!({ "cluster": "logtracer-exporter", "flush_interval": "6s" });
    let listener = Listener::new("inbound", json!({ "exporter": exporter }));
    let node = json!({ "id": "n", "cluster": "shop" });
    let proxy = Proxy::start_with_workers(WORKERS, node, &[listener], collector.port()).unwrap();
    let begin = Instant::now();
    for _ in 0..100 {
        let mut connection = Connection::open(proxy.address("inbound")).unwrap();
        connection.send("GET /origin/ok HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
        assert_eq!(connection.response().unwrap().status(), 200);
    }
    let mut arrivals = Vec::new();
    wait::until("a batch of each worker", || {
        arrivals.resize(collector.batches().len(), begin.elapsed());
        Some(()).filter(|()| arrivals.len() == usize::from(WORKERS))
    })
    .unwrap();
    // Each is between half of the interval and the interval.
    assert!(arrivals[0] < INTERVAL, "{arrivals:?}");
    assert!(arrivals[3] - arrivals[0] > Duration::from_millis(100), "{arrivals:?}");
}

/// Rule 75: configurations that are replaced under load lose no line and no span, and double none.
#[test]
fn updates_under_load_lose_nothing() {
    const UPDATES: u32 = 5;
    let collector = Collector::start().unwrap();
    let listener = |number: u32| {
        // The timeout does not change where the spans go.
        let exporter = json!({ "cluster": "logtracer-exporter", "flush_interval": "100ms",
            "max_batch_spans": 20, "timeout": format!("{}s", 2 + number) });
        [Listener::new("inbound", json!({ "exporter": exporter }))]
    };
    let node = json!({ "id": "n", "cluster": "shop" });
    let proxy = Proxy::start_with_workers(2, node, &listener(0), collector.port()).unwrap();
    let is_over = AtomicBool::new(false);
    let answered: BTreeSet<String> = std::thread::scope(|scope| {
        let send = |thread: u128| {
            let mut answered = Vec::new();
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let id = trace(thread << 32 | number);
                let request = format!("GET /origin/ok HTTP/1.1\r\nhost: shop\r\nb3: {id}-{CALLER}-1\r\n\r\n");
                // A draining listener closes connections.
                let Ok(mut connection) = Connection::open(proxy.address("inbound")) else { continue };
                let response = connection.send(request).and_then(|()| connection.response());
                if response.is_ok_and(|response| response.status() == 200) {
                    answered.push(id);
                }
            }
            answered
        };
        let threads: Vec<_> = (1..=3).map(|thread| scope.spawn(move || send(thread))).collect();
        for number in 1..=UPDATES {
            let before = proxy.envoy.stat("listener_manager.listener_modified").unwrap();
            proxy.replace(&listener(number)).unwrap();
            wait::until("the new configuration", || {
                let modified = proxy.envoy.stat("listener_manager.listener_modified").unwrap();
                let draining = proxy.envoy.stat("listener_manager.total_listeners_draining").unwrap();
                Some(()).filter(|()| modified > before && draining == 0)
            })
            .unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answered.len() > 200, "{}", answered.len());
    let once = |ids: Vec<String>| {
        let mut counts = BTreeMap::new();
        ids.into_iter().filter(|id| answered.contains(id)).for_each(|id| *counts.entry(id).or_insert(0) += 1);
        counts.len() == answered.len() && counts.values().all(|count| *count == 1)
    };
    let of_lines = || {
        let lines = proxy.envoy.lines(0).unwrap();
        lines.iter().filter_map(lines::trace_id).map(str::to_owned).collect()
    };
    wait::until("each line once", || Some(()).filter(|()| once(of_lines()))).unwrap();
    let of_spans = || collector.spans().into_iter().map(|span| span.trace_id).collect();
    wait::until("each span once", || Some(()).filter(|()| once(of_spans()))).unwrap();
}

/// Each listener has a root with its own configuration, all in the one VM of a worker.
#[test]
fn listeners_share_the_vm_of_a_worker() {
    let collector = Collector::start().unwrap();
    let listeners =
        ["first", "second", "third"].map(|name| Listener::new(name, json!({ "service_name": name })));
    let node = json!({ "id": "n", "cluster": "shop" });
    let proxy = Proxy::start(node.clone(), &listeners, collector.port()).unwrap();
    for listener in ["first", "second", "third"] {
        let mut connection = Connection::open(proxy.address(listener)).unwrap();
        connection.send("GET /origin/ok HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
        assert_eq!(connection.response().unwrap().status(), 200);
    }
    let lines = proxy.envoy.lines(3).unwrap();
    let mut names: Vec<_> =
        lines.iter().map(|line| line["message"].as_str().unwrap().split(' ').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["first", "second", "third"]);
    let vms = |proxy: &Proxy| proxy.envoy.stats("^wasm[.].*[.]active$").unwrap();
    let alone = Proxy::start(node, &listeners[..1], collector.port()).unwrap();
    assert_eq!(vms(&proxy), vms(&alone));
    assert!(vms(&alone).values().sum::<u64>() > 0, "{:?}", vms(&alone));
}
