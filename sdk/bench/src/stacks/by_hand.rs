//! Request lines by `tower_http::trace`, and trace headers without a crate for traces.
//!
//! A span holds the ids of the request, so that all lines in it have them. The client passes on the `traceparent` of the
//! request that is being served.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Body;
use tower::{Layer as _, Service};
use tower_http::trace::TraceLayer;
use tracing::{Span, info, info_span};

use crate::work::{self, RequestBody, Respond, ResponseBody};

const TRACEPARENT: &str = "traceparent";

/// A server that logs its requests with the ids in their `traceparent`.
pub(super) fn server()
-> impl Service<Request<RequestBody>, Response = Response<impl Body>, Error = Infallible> {
    logged(Respond, |request| {
        let (trace_id, span_id) = ids(request.headers());
        info_span!(
            "request",
            method = %request.method(),
            uri = %request.uri(),
            version = ?request.version(),
            user_agent = user_agent(request.headers()),
            trace_id,
            span_id,
        )
    })
}

/// A client that logs its calls, within a request that is being served.
pub(super) fn client()
-> impl Service<Request<RequestBody>, Response = Response<impl Body>, Error = Infallible> {
    logged(
        HandOn { inner: Respond, inject },
        |request| info_span!("call", method = %request.method(), uri = %request.uri(), version = ?request.version()),
    )
}

/// Runs `f` in the span of a request.
pub(super) fn in_request(f: impl FnOnce()) {
    let incoming = work::incoming();
    let (trace_id, span_id) = ids(&incoming);
    info_span!("request", trace_id, span_id).in_scope(f);
}

/// Adds a span with these fields around a service, and a line for each response.
pub(super) fn logged<S>(
    inner: S,
    make_span: fn(&Request<RequestBody>) -> Span,
) -> impl Service<Request<RequestBody>, Response = Response<impl Body>, Error = Infallible>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = Infallible>,
{
    TraceLayer::new_for_http()
        .make_span_with(make_span)
        .on_request(())
        .on_response(|response: &Response<_>, latency: Duration, _: &Span| {
            info!(status = response.status().as_u16(), latency = latency.as_secs_f64(), "response");
        })
        .on_body_chunk(())
        .on_eos(())
        .on_failure(())
        .layer(inner)
}

/// Writes the trace into the headers of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandOn<S> {
    pub(super) inner: S,
    pub(super) inject: fn(&mut HeaderMap),
}

impl<S: Service<Request<RequestBody>>> Service<Request<RequestBody>> for HandOn<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> S::Future {
        (self.inject)(request.headers_mut());
        self.inner.call(request)
    }
}

/// A service keeps the header of the request, and passes it to its calls.
fn inject(headers: &mut HeaderMap) {
    let current = HeaderValue::from_static("00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01");
    headers.insert(TRACEPARENT, current);
}

fn ids(headers: &HeaderMap) -> (Option<&str>, Option<&str>) {
    let traceparent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let mut parts = traceparent.unwrap_or_default().split('-').skip(1);
    (parts.next(), parts.next())
}

pub(super) fn user_agent(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok())
}
