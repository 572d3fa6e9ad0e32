//! A service of the demo. With `--calls` it is the shop's front, which asks another; without, the one that is asked.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use logtracer_sdk::client::WithTrace;
use logtracer_sdk::server::TraceLayer;
use logtracer_sdk::{Format, Logging, current_trace};
use logtracer_tests::service;
use serde_json::{Value, json};
use tracing::{error, info, warn};

#[derive(Parser)]
struct Options {
    /// The service's name in its lines
    #[arg(long)]
    name: String,
    /// The Google Cloud project in its lines
    #[arg(long)]
    project: Option<String>,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The service to ask
    #[arg(long, value_name = "URL")]
    calls: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    Logging::new(options.project, options.name).format(Format::Stackdriver).install()?;

    let router = match options.calls {
        Some(calls) => front(Backend { url: calls, client: reqwest::Client::builder().no_proxy().build()? }),
        None => back(),
    };
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    info!(listen = %listener.local_addr()?, "ready");
    // A probe has no trace and no line: its route is added outside the layer.
    let router = router.layer(TraceLayer::new()).route("/healthz", get(async || "ok"));
    axum::serve(listener, router).await?;
    Ok(())
}

// === The front ===

#[derive(Clone)]
struct Backend {
    url: String,
    client: reqwest::Client,
}

impl Backend {
    async fn ask(&self, path: &str) -> Result<Value, reqwest::Error> {
        let request = self.client.get(format!("{}{path}", self.url)).with_trace();
        request.send().await?.error_for_status()?.json().await
    }
}

type Answer = (StatusCode, Json<Value>);

fn front(backend: Backend) -> Router {
    Router::new()
        .route("/orders/{id}", get(order))
        .route("/checkout/{id}", get(checkout))
        .route("/echo", get(async |headers: HeaderMap| service::echo(&headers)))
        .with_state(backend)
}

async fn order(Path(id): Path<u32>, State(backend): State<Backend>) -> Answer {
    info!(order = id, "order opened");
    match backend.ask(&format!("/stock/{id}")).await {
        Ok(stock) => {
            info!(order = id, left = stock["left"].as_u64(), "order can be sent");
            answer(StatusCode::OK, json!({ "order": id, "left": stock["left"] }))
        }
        Err(cause) => {
            warn!(order = id, %cause, "stock is not known");
            answer(StatusCode::OK, json!({ "order": id }))
        }
    }
}

async fn checkout(Path(id): Path<u32>, State(backend): State<Backend>) -> Answer {
    match backend.ask(&format!("/payments/{id}")).await {
        Ok(_) => answer(StatusCode::OK, json!({ "order": id })),
        Err(cause) => {
            error!(order = id, %cause, "order cannot be paid");
            answer(StatusCode::BAD_GATEWAY, json!({ "order": id }))
        }
    }
}

// === The one that is asked ===

fn back() -> Router {
    Router::new().route("/stock/{id}", get(stock)).route("/payments/{id}", get(payment))
}

async fn stock(Path(id): Path<u32>) -> Answer {
    tokio::time::sleep(Duration::from_millis(4)).await;
    info!(order = id, left = 3, "stock counted");
    answer(StatusCode::OK, json!({ "left": 3 }))
}

async fn payment(Path(id): Path<u32>) -> Answer {
    tokio::time::sleep(Duration::from_millis(9)).await;
    error!(order = id, "the bank does not answer");
    answer(StatusCode::SERVICE_UNAVAILABLE, json!({}))
}

// Each answer names the trace it belongs to, so that a caller without one learns it.
fn answer(status: StatusCode, mut body: Value) -> Answer {
    body["trace_id"] = json!(current_trace().map(|trace| trace.trace_id.to_string()));
    (status, Json(body))
}
