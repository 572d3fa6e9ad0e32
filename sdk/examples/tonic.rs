//! gRPC: customer → shop → wholesaler. One trace through three programs, and request messages with a redacted field.
//!
//! `cargo run -p logtracer-sdk --example tonic` starts the services, calls the shop twice, prints the log lines of all
//! and their spans, and exits. `LOGGING_FORMAT=local` prints shorter lines.

mod services;
mod shop_rpc;

use std::error::Error;

use logtracer_sdk::client::{self, TraceService};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{Messages, RequestLog, TraceLayer};
use logtracer_sdk::spans::{SpanExport, SpanExporter};
use logtracer_sdk::{Logging, Project};
use services::Services;
use shop_rpc::{BuyReply, BuyRequest, ShopServer, buy, descriptors};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tower::Layer;

/// What each service does first. The spans that wait are sent when the handle is dropped, at the end of `main`.
fn start_telemetry(service: &str, endpoint: &str) -> Result<SpanExporter, Box<dyn Error>> {
    Logging::new(Project::from("my-project"), service).log_panics(true).install()?;
    Ok(SpanExport::new(service, endpoint).install()?)
}

// === the shop: a server that calls another one ===

async fn shop(wholesaler: String) -> Result<(), Box<dyn Error>> {
    let channel = Channel::from_shared(wholesaler)?.connect_lazy();
    let wholesaler = client::TraceLayer::new().layer(channel);
    let messages = Messages::new(&descriptors())?.redact(["card"])?;
    Server::builder()
        .layer(TraceLayer::grpc().requests(RequestLog::Pair).messages(messages))
        .add_service(ShopServer(move |request| sell(request, wholesaler.clone())))
        .serve_with_incoming_shutdown(TcpIncoming::from(services::listener()?), services::stopped())
        .await?;
    Ok(())
}

async fn sell(
    request: Request<BuyRequest>,
    wholesaler: TraceService<Channel>,
) -> Result<Response<BuyReply>, Status> {
    let BuyRequest { item, card } = request.into_inner();
    tracing::info!(item, "selling");
    let reply = buy(wholesaler, &item, &card).await.inspect_err(|status| {
        tracing::warn!(item, code = ?status.code(), "no delivery: {}", status.message());
    })?;
    Ok(Response::new(reply))
}

// === the wholesaler: the server behind it ===

async fn wholesaler() -> Result<(), Box<dyn Error>> {
    Server::builder()
        .layer(TraceLayer::grpc().requests(RequestLog::Single))
        .add_service(ShopServer(deliver))
        .serve_with_incoming_shutdown(TcpIncoming::from(services::listener()?), services::stopped())
        .await?;
    Ok(())
}

async fn deliver(request: Request<BuyRequest>) -> Result<Response<BuyReply>, Status> {
    // A future as a span of its own.
    match count(&request.get_ref().item).in_span("count the shelf").await {
        0 => Err(Status::not_found("we have only bread")),
        left => {
            tracing::info!(left, "one less");
            Ok(Response::new(BuyReply { order: 7 }))
        }
    }
}

async fn count(item: &str) -> u32 {
    if item == "bread" { 3 } else { 0 }
}

// === the customer: a program that is not a server ===

async fn customer() -> Result<(), Box<dyn Error>> {
    let mut services = Services::new().await?;
    let wholesaler = services.start("wholesaler", "")?;
    let shop = services.start("shop", &wholesaler)?;
    let exporter = start_telemetry("customer", services.endpoint())?;

    let channel = Channel::from_shared(shop)?.connect().await?;
    let shop = client::TraceLayer::new().requests(RequestLog::Pair).layer(channel);
    for item in ["bread", "eggs"] {
        // Within a server layer there is a current trace. Elsewhere, a span starts one.
        let _ = buy(shop.clone(), item, "4111-1111").in_span("shopping").await;
    }
    drop((shop, exporter));
    services.stop()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(service), Some(calls)) = (arguments.next(), arguments.next()) else { return customer().await };
    let _exporter = start_telemetry(&service, &services::endpoint().ok_or("no address for spans")?)?;
    if service == "shop" { shop(calls).await } else { wholesaler().await }
}
