//! An exporter on a bad day: what becomes of the spans, and that no request notices.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use logtracer_tests::collector::{Answer, Collector};
use logtracer_tests::proxy::{Listener, Proxy};
use logtracer_tests::wire::Connection;
use logtracer_tests::{envoy, ports, wait};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
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

/// Sends a request that is part of its own trace.
#[track_caller]
fn send(proxy: &Proxy, number: u128) {
    let mut connection = Connection::open(proxy.address("inbound")).unwrap();
    let b3 = format!("{}-{CALLER}-1", trace(number));
    connection.send(format!("GET /origin/ok HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n")).unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
}

const SPANS: &str = "wasmcustom.logtracer_spans_";

/// The counters of spans, without their common prefix.
fn spans(proxy: &Proxy) -> BTreeMap<String, u64> {
    let counters = proxy.envoy.stats(&format!("^{SPANS}")).unwrap();
    counters.into_iter().map(|(name, count)| (name[SPANS.len()..].to_owned(), count)).collect()
}

/// Waits until the counters say this, and the others nothing.
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

/// Rules 72, 73 and 77: what did not arrive goes out again as it was, and counts once it has.
#[test]
fn what_fails_is_sent_again() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "50ms", "timeout": "200ms" }), collector.port());
    let failures = [
        Answer::Status(503),
        Answer::Status(429),
        Answer::Status(408),
        Answer::Cut,
        Answer::Late(Duration::from_millis(500)),
    ];
    for (index, failure) in failures.into_iter().enumerate() {
        let (number, done) = (index as u128, index as u64);
        collector.answer_next([failure.clone()]);
        send(&proxy, number);

        // Nothing counts as sent before the exporter has said so.
        wait::until("the failure", || {
            let found = spans(&proxy);
            assert!(found["sent"] <= collector.spans().len() as u64, "{failure:?}: {found:?}");
            Some(()).filter(|()| found["retried"] == done + 1)
        })
        .unwrap_or_else(|error| panic!("{failure:?}: {error}"));
        wait_for(
            &proxy,
            "the recovery",
            &[("buffered", done + 1), ("retried", done + 1), ("sent", done + 1)],
        );
        let batches: Vec<_> = collector
            .batches()
            .into_iter()
            .filter(|batch| batch.spans.iter().any(|span| span.trace_id == trace(number)))
            .collect();
        let [first, second] = &batches[..] else { panic!("{failure:?}: {batches:#?}") };
        assert_eq!(first.answer, failure);
        assert_eq!(first.spans, second.spans, "{failure:?}");
    }
    let errors = proxy.envoy.errors();
    assert!(errors.contains("exporter unavailable (status 503), retrying"), "{errors}");
}

/// Rules 72 and 78: a refusal is final, and what was taken only in part is not all sent.
#[test]
fn what_is_refused_is_counted() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "50ms" }), collector.port());

    collector.answer_next([Answer::Status(400)]);
    send(&proxy, 1);
    wait_for(&proxy, "a refusal", &[("buffered", 1), ("dropped_refused", 1)]);

    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "too old".to_owned(),
        }),
    };
    collector.answer_next([Answer::Body(partial.encode_to_vec())]);
    send(&proxy, 2);
    wait_for(&proxy, "a rejection", &[("buffered", 2), ("dropped_refused", 1), ("dropped_rejected", 1)]);

    // The reason may be longer than what is read of it.
    let verbose = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "x".repeat(10_000),
        }),
    };
    collector.answer_next([Answer::Body(verbose.encode_to_vec())]);
    send(&proxy, 50);
    wait_for(&proxy, "a long reason", &[("buffered", 3), ("dropped_refused", 1), ("dropped_rejected", 2)]);

    // A body that says nothing takes nothing back, whatever it is.
    let enormous = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: -7,
            error_message: "x".repeat(10_000),
        }),
    };
    let bodies = [b"<html>404</html>".to_vec(), vec![0xff; 5000], b"\x0a".to_vec(), enormous.encode_to_vec()];
    for (index, body) in bodies.into_iter().enumerate() {
        collector.answer_next([Answer::Body(body)]);
        send(&proxy, 3 + index as u128);
        let sent = index as u64 + 1;
        wait_for(
            &proxy,
            "the acknowledgement",
            &[("buffered", 3 + sent), ("dropped_refused", 1), ("dropped_rejected", 2), ("sent", sent)],
        );
    }
    send(&proxy, 100);
    proxy.traces(&collector, &trace(100)).unwrap();
    assert_eq!(collector.batches().len(), 8); // none was sent twice
}

/// Rule 73: what failed waits for the end of its pause, not for the next interval; and what the exporter asks for is
/// heard.
#[test]
fn a_retry_does_not_wait_for_the_interval() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "1h", "max_batch_spans": 1 }), collector.port());
    collector.answer_next([Answer::Status(503)]);
    send(&proxy, 1);
    wait_for(&proxy, "another try", &[("buffered", 1), ("retried", 1), ("sent", 1)]);

    const WISH: u64 = 4;
    collector.answer_next([Answer::RetryAfter(429, WISH)]);
    send(&proxy, 2);
    let tries = |count: usize| {
        wait::until("a try", || Some(Instant::now()).filter(|_| collector.batches().len() == count)).unwrap()
    };
    let (refused, accepted) = (tries(3), tries(4));
    assert!(accepted - refused > Duration::from_secs(WISH) - Duration::from_millis(500));
    wait_for(&proxy, "the end", &[("buffered", 2), ("retried", 2), ("sent", 2)]);
}

/// Rule 82: statistics lag behind by seconds, whatever the interval, and tell how long the exporter takes.
#[test]
fn statistics_are_told_between_flushes() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "1h", "max_batch_spans": 2 }), collector.port());
    send(&proxy, 1);
    wait_for(&proxy, "a span that waits", &[("buffered", 1), ("held", 1)]);
    let stat = |name: &str| proxy.envoy.stat(&format!("wasmcustom.logtracer_{name}")).unwrap();
    assert_eq!((stat("requests"), stat("lines"), stat("callouts")), (1, 1, 0));

    collector.answer_next([Answer::Late(Duration::from_millis(300))]);
    send(&proxy, 2);
    wait_for(&proxy, "a full batch", &[("buffered", 2), ("sent", 2)]);
    assert_eq!(stat("callouts"), 1);
    let took = stat("callout_milliseconds");
    assert!((300..60_000).contains(&took), "{took}");
}

/// What is too large for one request goes in two, and only a span that is too large alone is lost.
#[test]
fn what_is_too_large_goes_in_halves() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "1h", "max_batch_spans": 4 }), collector.port());
    collector.answer_next([Answer::Status(413)]);
    for number in 0..4 {
        send(&proxy, number);
    }
    wait_for(&proxy, "the halves", &[("buffered", 4), ("retried", 4), ("sent", 4)]);
    assert_eq!(collector.spans().len(), 4);

    // The whole, both halves, and each span.
    collector.answer_next([413; 7].map(Answer::Status));
    for number in 4..8 {
        send(&proxy, number);
    }
    wait_for(&proxy, "the loss", &[("buffered", 8), ("retried", 12), ("dropped_too_large", 4), ("sent", 4)]);
}

/// Rule 74: exports that pass a filter on their way make no spans of their own there, whatever its edge.
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
    // The sidecar has a line for each export, and spans of its own for all else.
    let exports = sidecar.envoy.lines(ALL as usize).unwrap().len();
    let mut connection = Connection::open(sidecar.address("inbound")).unwrap();
    connection.send("GET /v1/traces HTTP/1.1\r\nhost: x\r\nuser-agent: logtracer-filter/1\r\n\r\n").unwrap();
    connection.response().unwrap();
    wait_for(&sidecar, "a span of another request", &[("buffered", 1), ("sent", 1)]);
    assert_eq!(exports as u64, ALL);
    assert_eq!(collector.spans().len() as u64, ALL + 1);
}

/// Rule 72: while nobody takes spans the oldest make room, and all that is left arrives in the end.
#[test]
fn an_absent_exporter_costs_the_oldest_spans() {
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
    assert!(arrived.iter().any(|span| span.trace_id == trace(u128::from(ALL) - 1)), "the newest is there");
    let mut ids: Vec<_> = arrived.iter().map(|span| &span.span_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), arrived.len(), "none twice");
    wait::until("an end of callouts", || {
        Some(()).filter(|()| proxy.envoy.stat("wasmcustom.logtracer_callouts_in_flight").unwrap() == 0)
    })
    .unwrap();
}

#[test]
fn a_cluster_that_does_not_exist_is_no_reason_to_fail() {
    let exporter = json!({ "exporter": { "cluster": "nowhere", "flush_interval": "50ms" } });
    let listener = Listener::new("inbound", exporter);
    let proxy = Proxy::start(json!({ "id": "n", "cluster": "shop" }), &[listener], ports::reserve().unwrap())
        .unwrap();
    for number in 0..3 {
        send(&proxy, number);
        std::thread::sleep(Duration::from_millis(100)); // over a flush
    }
    assert_eq!(proxy.envoy.lines(3).unwrap().len(), 3);
}

/// Rule 72: what fills half a buffer goes out at once, long before the interval has passed.
#[test]
fn a_buffer_that_fills_by_bytes_loses_nothing() {
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

/// Rule 75: the spans of a configuration that is replaced are delivered, or counted as lost.
#[test]
fn a_new_configuration_flushes_the_old_one() {
    let collector = Collector::start().unwrap();
    let patient = |name: &str| json!({ "flush_interval": "30m", "authority": name });
    let proxy = start(patient("first"), collector.port());
    for number in 0..3 {
        send(&proxy, number);
    }
    assert_eq!(collector.batches().len(), 0);

    proxy.replace(&[Listener::new("inbound", with_exporter(patient("second")))]).unwrap();
    wait::until("the spans of the old configuration", || Some(()).filter(|()| collector.spans().len() == 3))
        .unwrap();
    assert_eq!(collector.batches()[0].header("host"), Some("first"));
    // The answer reached the old root before it was gone.
    wait_for(&proxy, "the count", &[("buffered", 3), ("sent", 3)]);

    // The new one works, and has an exporter that refuses at the worst moment.
    wait::until("the new listener", || {
        send(&proxy, 10);
        let lines = proxy.lines(&trace(10)).unwrap_or_default().len();
        Some(()).filter(|()| lines > 0)
    })
    .unwrap();
    collector.answer(Answer::Status(503));
    let soon = json!({ "flush_interval": "50ms" });
    proxy.replace(&[Listener::new("inbound", with_exporter(soon))]).unwrap();
    wait::until("the loss", || Some(()).filter(|()| spans(&proxy)["dropped_shutdown"] > 0)).unwrap();
    assert_eq!(spans(&proxy)["sent"], 3);
}

/// A request that waited for a callout would take as long as this exporter.
#[test]
fn no_request_waits_for_a_callout() {
    let collector = Collector::start().unwrap();
    collector.answer(Answer::Late(Duration::from_secs(600)));
    let proxy =
        start(json!({ "flush_interval": "50ms", "timeout": "10m", "max_batch_spans": 1 }), collector.port());
    let in_flight = || proxy.envoy.stat("wasmcustom.logtracer_callouts_in_flight").unwrap();
    let begin = Instant::now();
    for number in 1..=20 {
        send(&proxy, number);
    }
    wait::until("callouts without an answer", || Some(()).filter(|()| in_flight() == 4)).unwrap();
    for number in 21..=40 {
        send(&proxy, number);
    }
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
    wait_for(&proxy, "spans that wait", &[("buffered", 40), ("held", 40)]);
}

/// The VM ends while the exporter takes its time: no gauge stays behind. Whether what was on its way arrives nobody
/// is there to see.
#[test]
fn an_end_with_callouts_leaves_nothing_behind() {
    let collector = Collector::start().unwrap();
    collector.answer(Answer::Late(Duration::from_secs(600)));
    let slow = Listener::new("inbound", with_exporter(json!({ "flush_interval": "50ms", "timeout": "10m" })));
    let other = Listener { vm: "other", ..Listener::new("outbound", json!({})) };
    let node = json!({ "id": "n", "cluster": "shop" });
    let proxy = Proxy::start(node, &[slow, other.clone()], collector.port()).unwrap();
    let in_flight = || proxy.envoy.stat("wasmcustom.logtracer_callouts_in_flight").unwrap();
    send(&proxy, 1);
    wait::until("a callout", || Some(()).filter(|()| in_flight() == 1)).unwrap();
    wait_for(&proxy, "a span on its way", &[("buffered", 1), ("held", 1)]);

    proxy.replace(&[other]).unwrap();
    wait::until("the end", || Some(()).filter(|()| in_flight() == 0)).unwrap();
    wait_for(&proxy, "an end of what is held", &[("buffered", 1)]);
}

/// Rule 82: every name of `docs/metrics.md` is there from the start, and no other.
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
        for line in text.lines().filter(|line| line.starts_with("logtracer_")) {
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
        // How many callouts it takes, and how long, is not the same each time.
        let callouts = found.remove("logtracer_callouts");
        found.remove("logtracer_callout_milliseconds");
        Some(()).filter(|()| found == expected && callouts.is_some())
    });
    assert!(waited.is_ok(), "{found:#?}");
}
