//! The request's trace, its line and the headers of the call, by logtracer-sdk.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use logtracer_sdk::client::trace_headers;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use tracing::info;

use crate::shop::Stock;

pub fn app(stock: Stock) -> Router {
    let layer = TraceLayer::new().requests(RequestLog::Single);
    Router::new().route("/basket/{id}", get(basket)).layer(layer).with_state(stock)
}

async fn basket(Path(id): Path<u32>, State(stock): State<Stock>) -> String {
    info!(basket = id, "looking up");
    stock.call(trace_headers()).await
}
