//! Failed, rejected and slow exports.

use std::time::{Duration, Instant};

use logtracer_harness::collector::{Collector, Response};
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::{ports, wait};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use serde_json::json;

use super::{send, spans, start, wait_for};
use crate::trace;

/// Rules 72, 73 and 77: failed spans are retried unchanged, and counted as sent after the acknowledgement.
#[test]
fn failed_exports_are_retried() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "50ms", "timeout": "200ms" }), collector.port());
    let failures = [
        Response::Status(503),
        Response::Status(429),
        Response::Status(408),
        Response::Close,
        Response::Delayed(Duration::from_millis(500)),
    ];
    for (index, failure) in failures.into_iter().enumerate() {
        let (number, done) = (index as u128, index as u64);
        collector.respond_next([failure.clone()]);
        send(&proxy, number);

        // No span counts as sent before the exporter acknowledges it.
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
        assert_eq!(first.response, failure);
        assert_eq!(first.spans, second.spans, "{failure:?}");
    }
    let errors = proxy.envoy.errors();
    assert!(errors.contains("exporter unavailable (status 503), retrying"), "{errors}");
}

/// Rules 72 and 78: a rejected request is final, and rejected items of an accepted one are not counted as sent.
#[test]
fn rejected_spans_are_counted() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "50ms" }), collector.port());

    collector.respond_next([Response::Status(400)]);
    send(&proxy, 1);
    wait_for(&proxy, "the rejected request", &[("buffered", 1), ("dropped_refused", 1)]);

    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "too old".to_owned(),
        }),
    };
    collector.respond_next([Response::Body(partial.encode_to_vec())]);
    send(&proxy, 2);
    wait_for(
        &proxy,
        "the rejected span",
        &[("buffered", 2), ("dropped_refused", 1), ("dropped_rejected", 1)],
    );

    // A reason that exceeds the part of the body that is read.
    let verbose = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "x".repeat(10_000),
        }),
    };
    collector.respond_next([Response::Body(verbose.encode_to_vec())]);
    send(&proxy, 50);
    wait_for(&proxy, "a long reason", &[("buffered", 3), ("dropped_refused", 1), ("dropped_rejected", 2)]);

    // A body without rejected spans is an acknowledgement, even if it is invalid.
    let enormous = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: -7,
            error_message: "x".repeat(10_000),
        }),
    };
    let bodies = [b"<html>404</html>".to_vec(), vec![0xff; 5000], b"\x0a".to_vec(), enormous.encode_to_vec()];
    for (index, body) in bodies.into_iter().enumerate() {
        collector.respond_next([Response::Body(body)]);
        send(&proxy, 3 + index as u128);
        let sent = index as u64 + 1;
        wait_for(
            &proxy,
            "the acknowledgement",
            &[("buffered", 3 + sent), ("dropped_refused", 1), ("dropped_rejected", 2), ("sent", sent)],
        );
    }
    send(&proxy, 100);
    proxy.telemetry(&collector, &trace(100)).unwrap();
    assert_eq!(collector.batches().len(), 8); // none was sent twice
}

/// Rule 73: a retry waits for its back-off, not for the next flush, and follows `retry-after` of the exporter.
#[test]
fn a_retry_does_not_wait_for_the_interval() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "1h", "max_batch_spans": 1 }), collector.port());
    collector.respond_next([Response::Status(503)]);
    send(&proxy, 1);
    wait_for(&proxy, "the retry", &[("buffered", 1), ("retried", 1), ("sent", 1)]);

    const RETRY_AFTER: u64 = 4;
    collector.respond_next([Response::RetryAfter(429, RETRY_AFTER)]);
    send(&proxy, 2);
    let attempt = |count: usize| {
        wait::until("an attempt", || Some(Instant::now()).filter(|_| collector.batches().len() == count))
            .unwrap()
    };
    let (rejected, accepted) = (attempt(3), attempt(4));
    assert!(accepted - rejected > Duration::from_secs(RETRY_AFTER) - Duration::from_millis(500));
    wait_for(&proxy, "the end", &[("buffered", 2), ("retried", 2), ("sent", 2)]);
}

/// A batch that is too large is split in halves, and only a span that is too large alone is dropped.
#[test]
fn too_large_batches_are_split() {
    let collector = Collector::start().unwrap();
    let proxy = start(json!({ "flush_interval": "1h", "max_batch_spans": 4 }), collector.port());
    collector.respond_next([Response::Status(413)]);
    for number in 0..4 {
        send(&proxy, number);
    }
    wait_for(&proxy, "the halves", &[("buffered", 4), ("retried", 4), ("sent", 4)]);
    assert_eq!(collector.spans().len(), 4);

    // The batch, both halves and each span.
    collector.respond_next([413; 7].map(Response::Status));
    for number in 4..8 {
        send(&proxy, number);
    }
    wait_for(&proxy, "the drops", &[("buffered", 8), ("retried", 12), ("dropped_too_large", 4), ("sent", 4)]);
}

#[test]
fn an_unknown_cluster_fails_no_request() {
    let exporter = json!({ "exporter": { "cluster": "nowhere", "flush_interval": "50ms" } });
    let listener = Listener::new("inbound", exporter);
    let proxy = Proxy::start(json!({ "id": "n", "cluster": "shop" }), &[listener], ports::reserve().unwrap())
        .unwrap();
    for number in 0..3 {
        send(&proxy, number);
        std::thread::sleep(Duration::from_millis(100)); // longer than a flush
    }
    assert_eq!(proxy.envoy.lines(3).unwrap().len(), 3);
}
