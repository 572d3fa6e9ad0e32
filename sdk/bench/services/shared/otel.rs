//! OpenTelemetry: `axum-tracing-opentelemetry` makes the span of a request, `tracing-opentelemetry` makes spans of
//! OpenTelemetry from those of `tracing`, and `json-subscriber` writes their ids.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use axum_tracing_opentelemetry::middleware::OtelAxumLayer;
use http::{HeaderMap, Request, Response};
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower_http::trace::TraceLayer;
use tracing::{Span, info};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::shop::Stock;

pub fn install(provider: &SdkTracerProvider) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::registry()
        .with(EnvFilter::new("info"))
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("shop")))
        .with(json_subscriber::layer().with_opentelemetry_ids(true))
        .try_init()?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(())
}

pub fn app(stock: Stock) -> Router {
    let lines = TraceLayer::new_for_http()
        .make_span_with(|_: &Request<_>| Span::current())
        .on_request(())
        .on_response(|response: &Response<_>, latency: Duration, _: &Span| {
            info!(status = response.status().as_u16(), latency = latency.as_secs_f64(), "response");
        });
    let router = Router::new().route("/basket/{id}", get(basket)).layer(lines);
    router.layer(OtelAxumLayer::default()).with_state(stock)
}

async fn basket(Path(id): Path<u32>, State(stock): State<Stock>) -> String {
    info!(basket = id, "looking up");
    let mut headers = HeaderMap::new();
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderInjector(&mut headers));
    });
    stock.call(headers).await
}
