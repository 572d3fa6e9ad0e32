//! The trace without a crate for traces: the ids of `traceparent` in a span, a line for each response, and the header in
//! the call.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use http::{HeaderMap, Request, Response, header};
use tower_http::trace::TraceLayer;
use tracing::{Span, info, info_span};

use crate::shop::Stock;

const TRACEPARENT: &str = "traceparent";

pub fn app(stock: Stock) -> Router {
    let layer = TraceLayer::new_for_http()
        .make_span_with(|request: &Request<_>| {
            let (trace_id, span_id) = ids(request.headers());
            let user_agent = text(request.headers(), header::USER_AGENT.as_str());
            let (method, uri) = (request.method(), request.uri());
            info_span!("request", %method, %uri, version = ?request.version(), user_agent, trace_id, span_id)
        })
        .on_request(())
        .on_response(|response: &Response<_>, latency: Duration, _: &Span| {
            info!(status = response.status().as_u16(), latency = latency.as_secs_f64(), "response");
        });
    Router::new().route("/basket/{id}", get(basket)).layer(layer).with_state(stock)
}

async fn basket(Path(id): Path<u32>, State(stock): State<Stock>, headers: HeaderMap) -> String {
    info!(basket = id, "looking up");
    let mut next = HeaderMap::new();
    if let Some(traceparent) = headers.get(TRACEPARENT) {
        next.insert(TRACEPARENT, traceparent.clone());
    }
    stock.call(next).await
}

fn ids(headers: &HeaderMap) -> (Option<&str>, Option<&str>) {
    let mut parts = text(headers, TRACEPARENT).unwrap_or_default().split('-').skip(1);
    (parts.next(), parts.next())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
