//! HTTP in, gRPC out: customer → shop (axum) → wholesaler (tonic), all in one trace.
//!
//! `cargo run -p logtracer-sdk --example mixed` starts the services, sends one request, prints the log lines of all
//! and their spans, and exits. `LOGGING_FORMAT=local` prints shorter lines.

mod services;
mod shop_rpc;

use std::error::Error;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use logtracer_sdk::client::{self, TraceService};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use logtracer_sdk::spans::{SpanExport, SpanExporter};
use logtracer_sdk::{Logging, Project};
use services::Services;
use shop_rpc::{BuyReply, BuyRequest, ShopServer, buy};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tower::Layer;

/// What each service does first. The spans that wait are sent when the handle is dropped, at the end of `main`.
fn start_telemetry(service: &str, endpoint: &str) -> Result<SpanExporter, Box<dyn Error>> {
    Logging::new(Project::from("my-project"), service).log_panics(true).install()?;
    Ok(SpanExport::new(service, endpoint).install()?)
}

// === the shop: HTTP in, gRPC out ===

async fn shop(wholesaler: String) -> Result<(), Box<dyn Error>> {
    let channel = Channel::from_shared(wholesaler)?.connect_lazy();
    let app = Router::new()
        .route("/buy/{item}", get(sell))
        .layer(TraceLayer::new().requests(RequestLog::Single))
        .with_state(client::TraceLayer::new().layer(channel));
    axum::serve(services::listener()?, app).with_graceful_shutdown(services::stopped()).await?;
    Ok(())
}

async fn sell(
    Path(item): Path<String>,
    State(wholesaler): State<TraceService<Channel>>,
) -> Result<String, StatusCode> {
    match buy(wholesaler, &item, "4111-1111").await {
        Ok(reply) => {
            tracing::info!(order = reply.order, item, "sold");
            Ok(format!("order {}\n", reply.order))
        }
        Err(status) => {
            tracing::error!(item, code = ?status.code(), "no delivery: {}", status.message());
            Err(StatusCode::BAD_GATEWAY)
        }
    }
}

// === the wholesaler: gRPC ===

async fn wholesaler() -> Result<(), Box<dyn Error>> {
    Server::builder()
        .layer(TraceLayer::grpc().requests(RequestLog::Single))
        .add_service(ShopServer(deliver))
        .serve_with_incoming_shutdown(TcpIncoming::from(services::listener()?), services::stopped())
        .await?;
    Ok(())
}

async fn deliver(_request: Request<BuyRequest>) -> Result<Response<BuyReply>, Status> {
    tracing::info!(left = 3, "one less");
    Ok(Response::new(BuyReply { order: 7 }))
}

// === the customer: a program that is not a server ===

async fn customer() -> Result<(), Box<dyn Error>> {
    let mut services = Services::new().await?;
    let wholesaler = services.start("wholesaler", "")?;
    let shop = services.start("shop", &wholesaler)?;
    let exporter = start_telemetry("customer", services.endpoint())?;

    let client = reqwest::Client::new();
    // Within a server layer there is a current trace. Elsewhere, a span starts one.
    let response = client.get(format!("{shop}/buy/bread")).send_traced().in_span("shopping").await?;
    assert_eq!(response.text().await?, "order 7\n");
    drop((client, exporter));
    services.stop()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(service), Some(calls)) = (arguments.next(), arguments.next()) else { return customer().await };
    let _exporter = start_telemetry(&service, &services::endpoint().ok_or("no address for spans")?)?;
    if service == "shop" { shop(calls).await } else { wholesaler().await }
}
