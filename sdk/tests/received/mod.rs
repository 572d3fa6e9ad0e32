//! A test double of the exporter: it keeps the received spans, and can be down.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// The received spans, and the responses to requests.
#[derive(Clone, Default)]
pub(crate) struct Received {
    spans: Arc<Mutex<Vec<Span>>>,
    fail_next: Arc<AtomicU32>,
    is_down: Arc<AtomicBool>,
    failures: Arc<AtomicU32>,
    retry_after: Arc<AtomicU32>,
}

impl Received {
    /// Serves until the runtime ends; returns the URL.
    pub(crate) async fn serve(&self) -> String {
        let received = self.clone();
        let receive = async move |headers: HeaderMap, body: Bytes| received.receive(&headers, body);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/v1/traces", post(receive));
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn receive(&self, headers: &HeaderMap, body: Bytes) -> Response {
        assert_eq!(headers["b3"], "0", "requests with spans must not be traced");
        let decrement = |left: u32| left.checked_sub(1);
        let is_failed = self.fail_next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement).is_ok();
        if is_failed || self.is_down.load(Ordering::Relaxed) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            let seconds = self.retry_after.load(Ordering::Relaxed);
            let retry_after = (seconds > 0).then(|| (header::RETRY_AFTER, HeaderValue::from(seconds)));
            let headers = HeaderMap::from_iter(retry_after);
            return (StatusCode::SERVICE_UNAVAILABLE, headers).into_response();
        }
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        StatusCode::OK.into_response()
    }

    /// Responds with 503 to the next requests.
    #[allow(dead_code, reason = "not used by each test binary")]
    pub(crate) fn fail_next(&self, requests: u32) {
        self.fail_next.store(requests, Ordering::Relaxed);
    }

    /// Adds `Retry-After` with this number of seconds to failures, unless it is zero.
    #[allow(dead_code, reason = "not used by each test binary")]
    pub(crate) fn set_retry_after(&self, seconds: u32) {
        self.retry_after.store(seconds, Ordering::Relaxed);
    }

    /// While it is down, it responds with 503 to all requests.
    #[allow(dead_code, reason = "not used by each test binary")]
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Returns the number of requests that were answered with 503.
    #[allow(dead_code, reason = "not used by each test binary")]
    pub(crate) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Takes the spans received since the last call.
    #[allow(dead_code, reason = "not used by each test binary")]
    pub(crate) fn take(&self) -> Vec<Span> {
        std::mem::take(&mut self.spans.lock().unwrap())
    }

    /// Returns the spans of a trace.
    #[allow(dead_code, reason = "not used by each test binary")]
    pub(crate) fn of_trace(&self, trace_id: [u8; 16]) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.trace_id == trace_id).cloned().collect()
    }
}

pub(crate) fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}
