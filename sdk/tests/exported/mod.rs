//! The export of a test process, which its tests share.

use std::sync::OnceLock;
use std::time::Duration;

use logtracer_sdk::prelude::*;
use logtracer_sdk::spans::{SpanExport, SpanExporter};
use logtracer_sdk::{Sampling, TraceContext, TraceId};
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::received::Received;

/// Returns the export of the process, and its receiver.
pub(crate) fn export() -> &'static (SpanExporter, Received) {
    static EXPORT: OnceLock<(SpanExporter, Received)> = OnceLock::new();
    EXPORT.get_or_init(|| {
        let (url, is_served) = std::sync::mpsc::channel();
        let received = Received::default();
        let serving = received.clone();
        // The receiver outlives the tests.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                url.send(serving.serve().await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        (SpanExport::new("shop", is_served.recv().unwrap()).install().unwrap(), received)
    })
}

/// Returns the ended spans of a trace.
pub(crate) async fn spans_of(trace_id: TraceId) -> Vec<Span> {
    let (exporter, received) = export();
    tokio::task::spawn_blocking(|| exporter.flush(Duration::from_secs(30))).await.unwrap().unwrap();
    received.of_trace(trace_id.to_bytes())
}

pub(crate) fn sampled() -> TraceContext {
    export();
    TraceContext::new_root().with_sampling(Sampling::Accept)
}
