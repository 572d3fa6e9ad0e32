//! HTTP: customer → shop → stock. One trace through three programs, an error with its cause, a panic, an exclusion.
//!
//! `cargo run -p logtracer-sdk --example axum` starts the services, sends some requests, prints the log lines of all
//! and their spans, and exits. `LOGGING_FORMAT=local` prints shorter lines.

mod services;

use std::error::Error;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{Excluded, RequestLog, Routes, TraceLayer};
use logtracer_sdk::spans::{SpanExport, SpanExporter, span};
use logtracer_sdk::{Logging, Project};
use services::Services;

/// What each service does first. The spans that wait are sent when the handle is dropped, at the end of `main`.
fn start_telemetry(service: &str, endpoint: &str) -> Result<SpanExporter, Box<dyn Error>> {
    Logging::new(Project::from("my-project"), service)
        .version(env!("CARGO_PKG_VERSION"))
        .report_errors(tracing::Level::ERROR)
        .log_panics(true)
        .install()?;
    Ok(SpanExport::new(service, endpoint).install()?)
}

// === the shop: a server that calls another one ===

#[derive(Clone)]
struct Shop {
    client: reqwest::Client,
    stock: String,
}

fn shop(stock: String) -> Router {
    Router::new()
        .route("/orders/{id}", get(order))
        .route("/panics", get(async || -> &'static str { panic!("on purpose") }))
        .route("/healthz", get(async || "ok\n"))
        .layer(
            TraceLayer::new()
                .requests(RequestLog::Single)
                .exclude(Routes::new().exact("/healthz"))
                .exclude_from(Excluded::Both),
        )
        .with_state(Shop { client: reqwest::Client::new(), stock })
}

async fn order(Path(id): Path<u32>, State(shop): State<Shop>) -> Result<String, StatusCode> {
    tracing::info!(order = id, "order opened");
    match shop.left(if id == 7 { "bread" } else { "eggs" }).await {
        Ok(left) => Ok(format!("order {id}, {left} left\n")),
        Err(error) => {
            tracing::error!(order = id, error = &error as &dyn Error, "no stock");
            Err(StatusCode::BAD_GATEWAY)
        }
    }
}

impl Shop {
    async fn left(&self, item: &str) -> reqwest::Result<String> {
        // `.with_trace().send()` does the same without lines of its own.
        let response = self.client.get(format!("{}/stock/{item}", self.stock)).send_traced().await?;
        response.error_for_status()?.text().await
    }
}

// === the stock: the server behind it ===

fn stock() -> Router {
    Router::new().route("/stock/{item}", get(count)).layer(TraceLayer::new().requests(RequestLog::Single))
}

async fn count(Path(item): Path<String>) -> Result<&'static str, StatusCode> {
    // A block of code as a span of its own.
    let _span = span("count the shelf").attribute("item", item.clone()).enter();
    tracing::info!(item, "counted");
    if item == "bread" { Ok("3") } else { Err(StatusCode::SERVICE_UNAVAILABLE) }
}

// === the customer: a program that is not a server ===

async fn customer() -> Result<(), Box<dyn Error>> {
    let mut services = Services::new().await?;
    let stock = services.start("stock", "")?;
    let shop = services.start("shop", &stock)?;
    let exporter = start_telemetry("customer", services.endpoint())?;

    let client = reqwest::Client::new();
    for path in ["/orders/7?token=secret", "/orders/8", "/panics", "/healthz"] {
        // Within a server layer there is a current trace. Elsewhere, a span starts one.
        let _ = client.get(format!("{shop}{path}")).send_traced().in_span("shopping").await;
    }
    drop((client, exporter));
    services.stop()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(service), Some(calls)) = (arguments.next(), arguments.next()) else { return customer().await };
    let _exporter = start_telemetry(&service, &services::endpoint().ok_or("no address for spans")?)?;
    let app = if service == "shop" { shop(calls) } else { stock() };
    axum::serve(services::listener()?, app).with_graceful_shutdown(services::stopped()).await?;
    Ok(())
}
