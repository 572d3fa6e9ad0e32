//! The exporter's end, played by the tests: it keeps the spans that it gets, and may be down.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Spans that have been received, and how requests are answered.
#[derive(Clone, Default)]
pub(crate) struct Received {
    spans: Arc<Mutex<Vec<Span>>>,
    refuse_next: Arc<AtomicU32>,
    is_down: Arc<AtomicBool>,
}

impl Received {
    /// Serves as long as the runtime runs; returns the URL.
    pub(crate) async fn serve(&self) -> String {
        let received = self.clone();
        let take = async move |headers: HeaderMap, body: Bytes| received.take_request(&headers, body);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn take_request(&self, headers: &HeaderMap, body: Bytes) -> StatusCode {
        assert_eq!(headers["b3"], "0", "what takes spans away is not traced");
        let refuses = |left: u32| left.checked_sub(1);
        let is_refused = self.refuse_next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuses).is_ok();
        if is_refused || self.is_down.load(Ordering::Relaxed) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        StatusCode::OK
    }

    /// Answers 503 to as many requests.
    #[allow(dead_code, reason = "each test binary has its own needs")]
    pub(crate) fn refuse(&self, requests: u32) {
        self.refuse_next.store(requests, Ordering::Relaxed);
    }

    /// Answers 503 until it is told otherwise.
    #[allow(dead_code, reason = "each test binary has its own needs")]
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    /// The spans that have come since it was asked last.
    #[allow(dead_code, reason = "each test binary has its own needs")]
    pub(crate) fn take(&self) -> Vec<Span> {
        std::mem::take(&mut self.spans.lock().unwrap())
    }

    /// The spans of a trace.
    #[allow(dead_code, reason = "each test binary has its own needs")]
    pub(crate) fn of_trace(&self, trace_id: [u8; 16]) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.trace_id == trace_id).cloned().collect()
    }
}

pub(crate) fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}
