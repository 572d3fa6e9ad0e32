//! An axum service: request lines, exclusions, a panic, an error with its cause.
//!
//! `cargo run -p logtracer-sdk --example axum` sends some requests to itself and exits. With an address
//! (`-- 127.0.0.1:5005`) it serves until it is stopped.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use logtracer_sdk::logging::LoggerNames;
use logtracer_sdk::server::{Excluded, RequestLog, Routes, TraceLayer};
use logtracer_sdk::{Logging, Project, current_trace};
use tokio::net::TcpListener;

async fn user(Path(id): Path<u32>) -> Result<String, StatusCode> {
    tracing::info!(user = id, "looking up");
    match id {
        0 => {
            let error = std::io::Error::other("connection refused");
            tracing::error!(error = &error as &dyn std::error::Error, "no database");
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        }
        _ => Ok(format!(
            "user {id} in trace {}\n",
            current_trace().map_or("-".into(), |it| it.trace_id.to_string())
        )),
    }
}

fn app() -> Router {
    Router::new()
        .route("/users/{id}", get(user))
        .route("/panics", get(async || -> &'static str { panic!("on purpose") }))
        .route("/healthz", get(async || "ok\n"))
        .layer(
            TraceLayer::new()
                .requests(RequestLog::Single)
                .exclude(Routes::new().exact("/healthz"))
                .exclude_from(Excluded::Both),
        )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Logging::new(Project::from("my-project"), "shop")
        .logger_names(LoggerNames::Service)
        .version(env!("CARGO_PKG_VERSION"))
        .report_errors(tracing::Level::ERROR)
        .log_panics(true)
        .install()?;

    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let server = tokio::spawn(async move { axum::serve(listener, app()).await });
    if address.is_some() {
        return Ok(server.await??);
    }

    let client = reqwest::Client::new();
    for path in ["/users/7?token=secret", "/users/0", "/users/ada", "/panics", "/healthz"] {
        // As Google's load balancer sends it, with the span id in decimal.
        let request = client
            .get(format!("{url}{path}"))
            .header("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/67667974448284343;o=1");
        let _ = request.send().await;
    }
    Ok(())
}
