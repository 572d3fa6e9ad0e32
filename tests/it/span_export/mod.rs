//! Spans on their way from the filter to an exporter that fails, is slow or is unavailable. Requests are not affected.

mod buffer;
mod failures;
mod metrics;
mod shutdown;

use std::collections::BTreeMap;

use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::Connection;
use logtracer_harness::{shell, wait};
use serde_json::{Value, json};

use crate::{CALLER, trace};

fn start(exporter: Value, port: u16) -> Proxy {
    let listener = Listener::new("inbound", with_exporter(exporter));
    Proxy::start(json!({ "id": "n", "cluster": "shop" }), &[listener], port).unwrap()
}

fn with_exporter(mut exporter: Value) -> Value {
    exporter["cluster"] = "logtracer-exporter".into();
    json!({ "exporter": exporter })
}

/// Sends a request in a new trace.
#[track_caller]
fn send(proxy: &Proxy, number: u128) {
    send_to(proxy, "inbound", number);
}

#[track_caller]
fn send_to(proxy: &Proxy, listener: &str, number: u128) {
    let mut connection = Connection::open(proxy.address(listener)).unwrap();
    let b3 = format!("{}-{CALLER}-1", trace(number));
    connection.send(format!("GET /origin/ok HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n")).unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
}

/// Returns the name of a counter of spans.
fn counter(name: &str) -> String {
    shell::metric(&format!("spans_{name}"))
}

/// Returns the counters of spans without their common prefix.
fn spans(proxy: &Proxy) -> BTreeMap<String, u64> {
    let prefix = counter("");
    let counters = proxy.envoy.stats(&format!("^{prefix}")).unwrap();
    counters.into_iter().map(|(name, count)| (name[prefix.len()..].to_owned(), count)).collect()
}

/// Waits until the counters have these values, and all others are 0.
#[track_caller]
fn wait_for(proxy: &Proxy, what: &str, expected: &[(&'static str, u64)]) {
    let expected: BTreeMap<_, _> = expected.iter().map(|(name, count)| (name.to_string(), *count)).collect();
    let mut found = BTreeMap::new();
    let waited = wait::until(what, || {
        found = spans(proxy);
        found.retain(|_, count| *count > 0);
        Some(()).filter(|()| found == expected)
    });
    assert!(waited.is_ok(), "{what}: {found:?}, not {expected:?}");
}
