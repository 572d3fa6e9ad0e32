//! Envoy ends while the filter holds spans.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use logtracer_harness::collector::{Collector, Response};
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::{ports, shell, wait};
use serde_json::{Value, json};

use super::{counter, send_to, with_exporter};

const REQUESTS: u64 = 40;

/// Rule 75: on SIGTERM, Envoy exits at once and runs no callout any more. Each span that waits or is in flight is
/// counted and logged.
#[test]
fn spans_that_are_held_when_envoy_ends_are_dropped_and_counted() {
    let waits = json!({ "flush_interval": "30m" });
    let is_sent = json!({ "flush_interval": "50ms", "timeout": "10m", "max_batch_spans": 3 });
    for (name, exporter, response) in [
        ("in the buffer", &waits, Some(Response::Status(200))),
        ("in flight and in the buffer", &is_sent, Some(Response::Delayed(Duration::from_secs(600)))),
        ("waiting for a retry", &is_sent, None),
    ] {
        let collector = Collector::start().unwrap();
        let port = if response.is_some() { collector.port() } else { ports::reserve().unwrap() };
        response.into_iter().for_each(|response| collector.respond(response));
        let mut ended = Ended::start(exporter, port);
        ended.send_all();
        if exporter == &is_sent {
            let stat = |proxy: &Proxy, name: &str| proxy.envoy.stat(&counter(name)).unwrap();
            let moved = |proxy: &Proxy| {
                stat(proxy, "retried") > 0
                    || proxy.envoy.stat(&shell::metric("callouts_in_flight")).unwrap() > 0
            };
            wait::until("a callout", || Some(()).filter(|()| moved(&ended.proxy))).unwrap();
        }
        let counted = ended.stop();
        assert_eq!(counted["buffered"], REQUESTS, "{name}");
        assert_eq!(counted.get("dropped_shutdown"), Some(&REQUESTS), "{name}: {counted:?}");
        let errors = ended.proxy.envoy.errors();
        let logged = errors.lines().filter_map(|line| {
            line.split_once("logtracer: dropped ")?.1.strip_suffix(" spans: shutdown")?.parse::<u64>().ok()
        });
        assert_eq!(logged.sum::<u64>(), REQUESTS, "{name}: {errors}");
    }
}

/// Spans are delivered during a drain that is longer than the flush interval.
#[test]
fn a_drain_delivers_the_spans_before_envoy_ends() {
    let collector = Collector::start().unwrap();
    let mut ended = Ended::start(&json!({ "flush_interval": "500ms" }), collector.port());
    ended.send_all();
    ended.proxy.envoy.drain().unwrap();
    wait::until("the spans", || Some(()).filter(|()| collector.spans().len() as u64 == REQUESTS)).unwrap();
    wait::until("their count", || {
        Some(()).filter(|()| ended.proxy.envoy.stat(&counter("sent")).unwrap() == REQUESTS)
    })
    .unwrap();
    let counted = ended.stop();
    assert_eq!((counted["buffered"], counted["sent"]), (REQUESTS, REQUESTS), "{counted:?}");
    assert_eq!(counted.get("dropped_shutdown"), None, "{counted:?}");
}

/// An Envoy with two workers and two instances of the filter in each, whose last statistics are read.
struct Ended {
    proxy: Proxy,
    statsd: UdpSocket,
}

impl Ended {
    fn start(exporter: &Value, port: u16) -> Self {
        let statsd = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listeners = ["first", "second"].map(|name| {
            let mut filter = with_exporter(exporter.clone());
            filter["service_name"] = name.into();
            Listener::new(name, filter)
        });
        let node = json!({ "id": "n", "cluster": "shop" });
        let statsd_port = statsd.local_addr().unwrap().port();
        let proxy = Proxy::start_with_statsd(node, &listeners, port, statsd_port).unwrap();
        Self { proxy, statsd }
    }

    fn send_all(&self) {
        for number in 0..REQUESTS {
            send_to(&self.proxy, if number % 2 == 0 { "first" } else { "second" }, number.into());
        }
    }

    /// Stops Envoy, and returns its counters of spans.
    fn stop(&mut self) -> BTreeMap<String, u64> {
        self.proxy.envoy.stop();
        self.statsd.set_nonblocking(true).unwrap();
        let (mut counted, mut packet) = (BTreeMap::new(), [0; 65536]);
        while let Ok(size) = self.statsd.recv(&mut packet) {
            for line in String::from_utf8_lossy(&packet[..size]).lines() {
                let counter = line.strip_suffix("|c").and_then(|line| line.strip_prefix("envoy."));
                let counter =
                    counter.and_then(|line| line.strip_prefix(&super::counter(""))?.split_once(':'));
                if let Some((name, count)) = counter {
                    *counted.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap();
                }
            }
        }
        counted
    }
}
