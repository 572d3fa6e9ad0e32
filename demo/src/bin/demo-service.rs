//! A service of the demo: with `--calls` the frontend of a shop, which calls another service by HTTP and gRPC; else that
//! backend.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use logtracer_demo::prices::{self, Quote, QuoteRequest};
use logtracer_harness::echo;
use logtracer_sdk::client::{self, TraceService, WithTrace};
use logtracer_sdk::server::TraceLayer;
use logtracer_sdk::{Format, Logging, current_trace};
use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::Channel;
use tower::Layer;
use tracing::{error, info, warn};

#[derive(Parser)]
struct Options {
    /// The service's name in its lines
    #[arg(long)]
    name: String,
    /// The Google Cloud project in its lines
    #[arg(long)]
    project: Option<String>,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The service to call
    #[arg(long, value_name = "URL")]
    calls: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    Logging::new(options.project, options.name).format(Format::Stackdriver).install()?;

    let router = match options.calls {
        Some(calls) => frontend(Backend {
            client: reqwest::Client::builder().no_proxy().build()?,
            prices: client::TraceLayer::new().layer(Channel::from_shared(calls.clone())?.connect_lazy()),
            url: calls,
        }),
        None => backend(),
    };
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    info!(listen = %listener.local_addr()?, "ready");
    // Probes need no trace and no line, so their route is outside the layer.
    let router = router.layer(TraceLayer::new()).route("/healthz", get(async || "ok"));
    axum::serve(listener, router).await?;
    Ok(())
}

// === The frontend ===

#[derive(Clone)]
struct Backend {
    url: String,
    client: reqwest::Client,
    prices: TraceService<Channel>,
}

impl Backend {
    async fn get(&self, path: &str) -> Result<Value, reqwest::Error> {
        let request = self.client.get(format!("{}{path}", self.url)).with_trace();
        request.send().await?.error_for_status()?.json().await
    }
}

type Response = (StatusCode, Json<Value>);

fn frontend(backend: Backend) -> Router {
    Router::new()
        .route("/orders/{id}", get(order))
        .route("/checkout/{id}", get(checkout))
        .route("/echo", get(async |headers: HeaderMap| echo::response(&headers)))
        .with_state(backend)
}

async fn order(Path(id): Path<u32>, State(backend): State<Backend>) -> Response {
    info!(order = id, "order opened");
    match backend.get(&format!("/stock/{id}")).await {
        Ok(stock) => {
            let cents = match prices::quote(backend.prices, id).await {
                Ok(quote) => Some(quote.cents),
                Err(status) => {
                    warn!(order = id, code = ?status.code(), cause = status.message(), "price unknown");
                    None
                }
            };
            info!(order = id, left = stock["left"].as_u64(), cents, "order is in stock");
            response(StatusCode::OK, json!({ "order": id, "left": stock["left"], "cents": cents }))
        }
        Err(cause) => {
            warn!(order = id, %cause, "stock unknown");
            response(StatusCode::OK, json!({ "order": id }))
        }
    }
}

async fn checkout(Path(id): Path<u32>, State(backend): State<Backend>) -> Response {
    match backend.get(&format!("/payments/{id}")).await {
        Ok(_) => response(StatusCode::OK, json!({ "order": id })),
        Err(cause) => {
            error!(order = id, %cause, "payment failed");
            response(StatusCode::BAD_GATEWAY, json!({ "order": id }))
        }
    }
}

// === The backend ===

fn backend() -> Router {
    Router::new()
        .route("/stock/{id}", get(stock))
        .route("/payments/{id}", get(payment))
        .route(prices::QUOTE, prices::service(quote))
}

async fn stock(Path(id): Path<u32>) -> Response {
    tokio::time::sleep(Duration::from_millis(4)).await;
    info!(order = id, left = 3, "stock counted");
    response(StatusCode::OK, json!({ "left": 3 }))
}

async fn quote(request: QuoteRequest) -> Result<Quote, Status> {
    info!(order = request.order, cents = 250, "price quoted");
    Ok(Quote { cents: 250 })
}

async fn payment(Path(id): Path<u32>) -> Response {
    tokio::time::sleep(Duration::from_millis(9)).await;
    error!(order = id, "bank unavailable");
    response(StatusCode::SERVICE_UNAVAILABLE, json!({}))
}

// Each response has its trace id, for callers that sent none.
fn response(status: StatusCode, mut body: Value) -> Response {
    body["trace_id"] = json!(current_trace().map(|trace| trace.trace_id.to_string()));
    (status, Json(body))
}
