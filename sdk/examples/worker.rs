//! A worker without requests: each job is a trace, with spans for its parts.
//!
//! `cargo run -p logtracer-sdk --example worker` runs two jobs and exits. With the address of an exporter
//! (`-- http://127.0.0.1:4318`) the spans appear in its viewer.

use std::time::Duration;

use logtracer_sdk::client::traced;
use logtracer_sdk::prelude::*;
use logtracer_sdk::spans::{SpanExport, span};
use logtracer_sdk::{Format, Logging, Project, spawn, spawn_blocking};

async fn job(number: u32) {
    tracing::info!(job = number, "job started");
    let rows = traced("database", async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        42
    })
    .await;
    // Other tasks and threads have the same trace.
    let logged = spawn(async move { log::info!("{rows} rows, logged by a crate that only knows `log`") });
    let counted = spawn_blocking(move || {
        let _span = span("count").attribute("rows", rows.to_string()).enter();
        tracing::info!(rows, "counted");
    });
    let _ = tokio::join!(logged, counted);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let logging = Logging::new(Project::none(), "worker").format(Format::Local).non_blocking();
    let handle = logging.install()?;
    let exporter = std::env::args().nth(1).map(|url| SpanExport::new("worker", url).install()).transpose()?;

    for number in 1..=2 {
        job(number).in_span("job").await;
    }

    handle.flush(Duration::from_secs(2));
    tokio::task::spawn_blocking(|| drop(exporter)).await?;
    Ok(())
}
