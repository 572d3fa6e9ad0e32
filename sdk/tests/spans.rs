//! The lifecycle of an export of spans, in a separate process.

mod received;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logtracer_sdk::prelude::*;
use logtracer_sdk::spans::{DropReason, FlushError, SpanExport, SpanExportError, SpanExporter, span};
use logtracer_sdk::{Logging, Sampling, TraceContext, current_trace};

use received::{Received, names};

/// Flushes on another thread, because the receiver runs on this one.
async fn flush(exporter: &Arc<SpanExporter>, timeout: Duration) -> Result<(), FlushError> {
    let exporter = Arc::clone(exporter);
    tokio::task::spawn_blocking(move || exporter.flush(timeout)).await.unwrap()
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lifecycle_of_an_export() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let logging = Logging::new("my-project", "shop").level("info").ignore_environment();
    let _logging =
        logging.output(move |line| sink.lock().unwrap().extend_from_slice(line)).install().unwrap();

    // Without an export there is no span, and the context of the sidecar does not change.
    let context = TraceContext::new_root().with_sampling(Sampling::Accept);
    context.run(|| {
        let _span = span("not recorded").enter();
        assert_eq!(current_trace(), Some(context));
    });

    let received = Received::default();
    let exporter = Arc::new(SpanExport::new("shop", received.serve().await).install().unwrap());
    let again = SpanExport::new("shop", "http://127.0.0.1:1").install();
    assert!(matches!(again, Err(SpanExportError::AlreadyInstalled)));

    a_failed_request_is_retried(&exporter, &received).await;
    a_flush_shortens_the_backoff(&exporter, &received).await;
    a_request_for_a_pause_is_respected(&exporter, &received).await;
    a_pause_ends_before_the_queue_overflows(&exporter, &received).await;
    assert_eq!(exporter.dropped_spans(), 0);
    an_outage_blocks_no_caller(&exporter, &received).await;
    losses_are_logged(&exporter, &lines).await;

    // Dropping the handle sends the remaining spans.
    drop(span("last").enter());
    let exporter = Arc::into_inner(exporter).unwrap();
    tokio::task::spawn_blocking(move || drop(exporter)).await.unwrap();
    assert_eq!(names(&received.take()), ["last"]);
}

async fn a_failed_request_is_retried(exporter: &Arc<SpanExporter>, received: &Received) {
    received.fail_next(1);
    drop(span("retried").enter());
    flush(exporter, LONG).await.unwrap();
    assert_eq!(names(&received.take()), ["retried"]);
}

/// After six failed attempts the back-off is at least 1.6 s, longer than the timeout of the flush.
async fn a_flush_shortens_the_backoff(exporter: &Arc<SpanExporter>, received: &Received) {
    received.set_down(true);
    drop(span("during an outage").enter());
    wait_for_failures(received, received.failures() + 6).await;
    received.set_down(false);
    flush(exporter, Duration::from_millis(900)).await.unwrap();
    assert_eq!(names(&received.take()), ["during an outage"]);
    flush(exporter, Duration::MAX).await.unwrap();
}

/// The back-off alone would be at most 100 ms.
async fn a_request_for_a_pause_is_respected(exporter: &Arc<SpanExporter>, received: &Received) {
    received.set_retry_after(2);
    received.fail_next(1);
    drop(span("asked to wait").enter());
    wait_for_failures(received, received.failures() + 1).await;
    let start = Instant::now();
    let mut spans = Vec::new();
    while spans.is_empty() {
        assert!(start.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(10)).await;
        spans = received.take();
    }
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(20), "{took:?}");
    received.set_retry_after(0);
    flush(exporter, LONG).await.unwrap();
}

/// After eight failures the back-off is at least 6.4 s. The queue would be full before its end.
async fn a_pause_ends_before_the_queue_overflows(exporter: &Arc<SpanExporter>, received: &Received) {
    received.set_down(true);
    drop(span("first").enter());
    wait_for_failures(received, received.failures() + 8).await;
    // The pause has begun when the sender has read the response.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let failures = received.failures();
    let start = Instant::now();
    // Far more than half of the queue, and less than all of it.
    (0..9_000).for_each(|_| drop(span("many").enter()));
    wait_for_failures(received, failures + 1).await;
    let took = start.elapsed();
    received.set_down(false);
    assert!(took < Duration::from_secs(4), "{took:?}");
    flush(exporter, LONG).await.unwrap();
    assert_eq!(received.take().len(), 9_001);
}

async fn wait_for_failures(received: &Received, count: u32) {
    let start = Instant::now();
    while received.failures() < count {
        assert!(start.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// During an outage spans end as fast as ever, in bounded memory, and dropped spans are counted.
async fn an_outage_blocks_no_caller(exporter: &Arc<SpanExporter>, received: &Received) {
    const SPANS: u64 = 50_000;
    received.set_down(true);
    let start = Instant::now();
    (0..SPANS).for_each(|_| drop(span("during an outage").enter()));
    let took = start.elapsed();
    // A caller that waited for the exporter would take longer.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let error = flush(exporter, Duration::from_millis(50)).await.unwrap_err();
    assert!(error.waiting() > 0, "{error}");
    received.set_down(false);
    // It returns only what was dropped since the first one: nothing, because there is space again.
    flush(exporter, LONG).await.unwrap();
    let (sent, dropped) = (received.take().len() as u64, exporter.dropped_spans());
    assert!(dropped > 0 && sent > 0, "{sent} sent, {dropped} dropped");
    assert_eq!(sent + dropped, SPANS);
    assert_eq!(exporter.dropped().by(DropReason::BufferFull), dropped);
    assert_eq!(error.dropped().total(), dropped);
}

/// One line has all losses of the outage, or it is logged within a minute after the first one.
async fn losses_are_logged(exporter: &SpanExporter, lines: &Mutex<Vec<u8>>) {
    let start = Instant::now();
    let line = loop {
        let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        match text.lines().next() {
            Some(line) => break serde_json::from_str::<serde_json::Value>(line).unwrap(),
            None => assert!(start.elapsed() < LONG),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let dropped = line["dropped_spans"].as_u64().unwrap();
    assert!(dropped > 0 && dropped <= exporter.dropped_spans(), "{line}");
    assert_eq!(line["severity"], "WARNING");
    let message = line["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("shop - dropped spans: {dropped} buffer full")), "{line}");
}
