//! A worker without requests: each job is a trace, with spans for its parts.
//!
//! `cargo run -p logtracer-sdk --example worker` runs two jobs, prints their log lines and spans, and exits.
//! `LOGGING_FORMAT=local` prints shorter lines.

mod services;

use std::error::Error;
use std::time::Duration;

use logtracer_sdk::client::traced;
use logtracer_sdk::prelude::*;
use logtracer_sdk::spans::{SpanExport, span};
use logtracer_sdk::{Logging, Project, spawn, spawn_blocking};
use services::Services;

async fn job(number: u32) {
    tracing::info!(job = number, "job started");
    let rows = traced("database", async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        42
    })
    .await;
    // Other tasks and threads have the same trace.
    let _ = spawn(async move { log::info!("{rows} rows, logged by a crate that only knows `log`") }).await;
    let count = move || {
        let _span = span("count").attribute("rows", rows.to_string()).enter();
        tracing::info!(rows, "counted");
    };
    let _ = spawn_blocking(count).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let services = Services::new().await?;
    let logging = Logging::new(Project::from("my-project"), "worker").non_blocking().install()?;
    let exporter = SpanExport::new("worker", services.endpoint()).install()?;

    for number in 1..=2 {
        job(number).in_span("job").await;
    }

    // The lines and the spans that wait.
    logging.flush(Duration::from_secs(2));
    drop(exporter);
    services.stop()
}
