//! The life of an export of spans, from before it is installed until it is dropped; in a process of its own.

mod received;

use std::sync::Arc;
use std::time::{Duration, Instant};

use logtracer_sdk::prelude::*;
use logtracer_sdk::spans::{SpanExport, SpanExportError, SpanExporter, span};
use logtracer_sdk::{Sampling, TraceContext, current_trace};

use received::{Received, names};

/// Flushes on a thread of its own, for the receiver runs on this one; true when nothing is left.
async fn flush(exporter: &Arc<SpanExporter>, patience: Duration) -> bool {
    let exporter = Arc::clone(exporter);
    tokio::task::spawn_blocking(move || exporter.flush(patience)).await.unwrap()
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_an_export() {
    // Without an export there is no span, and the context stays that of the sidecar.
    let context = TraceContext::new_root().with_sampling(Sampling::Accept);
    context.run(|| {
        let _span = span("nobody records it").enter();
        assert_eq!(current_trace(), Some(context));
    });

    let received = Received::default();
    let exporter = Arc::new(SpanExport::new("shop", received.serve().await).install().unwrap());
    let again = SpanExport::new("shop", "http://127.0.0.1:1").install();
    assert!(matches!(again, Err(SpanExportError::AlreadyInstalled)));

    a_refusal_loses_nothing(&exporter, &received).await;
    whoever_waits_does_not_wait_for_a_long_pause(&exporter, &received).await;
    assert_eq!(exporter.dropped_spans(), 0);
    an_outage_holds_up_nobody(&exporter, &received).await;

    // What is left when the process ends is sent by dropping the handle.
    drop(span("last").enter());
    let exporter = Arc::into_inner(exporter).unwrap();
    tokio::task::spawn_blocking(move || drop(exporter)).await.unwrap();
    assert_eq!(names(&received.take()), ["last"]);
}

async fn a_refusal_loses_nothing(exporter: &Arc<SpanExporter>, received: &Received) {
    received.refuse(1);
    drop(span("tried again").enter());
    assert!(flush(exporter, PATIENCE).await);
    assert_eq!(names(&received.take()), ["tried again"]);
}

/// One that an outage has made long.
async fn whoever_waits_does_not_wait_for_a_long_pause(exporter: &Arc<SpanExporter>, received: &Received) {
    received.set_down(true);
    drop(span("during an outage").enter());
    tokio::time::sleep(Duration::from_millis(2600)).await;
    received.set_down(false);
    assert!(flush(exporter, Duration::from_millis(900)).await);
    assert_eq!(names(&received.take()), ["during an outage"]);
    assert!(flush(exporter, Duration::MAX).await);
}

/// Spans end as fast as ever while nobody takes them, in bounded memory, and what is lost is counted.
async fn an_outage_holds_up_nobody(exporter: &Arc<SpanExporter>, received: &Received) {
    const SPANS: u64 = 50_000;
    received.set_down(true);
    let start = Instant::now();
    (0..SPANS).for_each(|_| drop(span("in vain").enter()));
    let took = start.elapsed();
    // A pause alone would be longer than all of them.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!flush(exporter, Duration::from_millis(50)).await);
    received.set_down(false);
    assert!(flush(exporter, PATIENCE).await);
    let (sent, dropped) = (received.take().len() as u64, exporter.dropped_spans());
    assert!(dropped > 0 && sent > 0, "{sent} sent, {dropped} dropped");
    assert_eq!(sent + dropped, SPANS);
}
