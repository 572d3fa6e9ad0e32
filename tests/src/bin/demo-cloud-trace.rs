//! A fake Cloud Trace for the stack of containers. It accepts `projects.traces.batchWrite` and lists the spans.
//!
//! It parses requests with Google's own types. An unknown field or an invalid name rejects the whole request. The tests
//! of the exporter check Google's limits.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use google_cloud_trace_v2::model::Span;
use logtracer_sdk::{Format, Logging};
use serde_json::{Value, json};
use tracing::{info, warn};

#[derive(Parser)]
struct Options {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[derive(Clone, Default)]
struct Seen {
    names: Arc<Mutex<BTreeSet<String>>>,
    rejected: Arc<Mutex<Vec<String>>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    Logging::new("demo-project", "cloud-trace").format(Format::Stackdriver).install()?;
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/spans", get(spans))
        .fallback(batch_write)
        .with_state(Seen::default());
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    info!(listen = %listener.local_addr()?, "ready");
    axum::serve(listener, router).await?;
    Ok(())
}

/// Lists the names of the accepted spans and the errors of the rejected requests.
async fn spans(State(seen): State<Seen>) -> Json<Value> {
    let names = seen.names.lock().unwrap_or_else(PoisonError::into_inner);
    let rejected = seen.rejected.lock().unwrap_or_else(PoisonError::into_inner);
    Json(json!({ "names": *names, "rejected": *rejected }))
}

async fn batch_write(State(seen): State<Seen>, uri: Uri, body: Bytes) -> (StatusCode, Json<Value>) {
    match names(uri.path(), &body) {
        Ok(names) => {
            seen.names.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
            (StatusCode::OK, Json(json!({})))
        }
        Err(mistake) => {
            warn!(mistake, "request rejected");
            seen.rejected.lock().unwrap_or_else(PoisonError::into_inner).push(mistake.clone());
            let error = json!({ "code": 400, "message": mistake, "status": "INVALID_ARGUMENT" });
            (StatusCode::BAD_REQUEST, Json(json!({ "error": error })))
        }
    }
}

fn names(path: &str, body: &[u8]) -> Result<Vec<String>, String> {
    let project = path.strip_prefix("/v2/projects/").and_then(|path| path.strip_suffix("/traces:batchWrite"));
    let project = project.ok_or_else(|| format!("no such method: {path}"))?;
    let mut body: Value = serde_json::from_slice(body).map_err(|cause| cause.to_string())?;
    let spans: Vec<Span> = serde_json::from_value(body["spans"].take()).map_err(|cause| cause.to_string())?;
    let fits = |span: &Span| {
        let of_project = span.name.strip_prefix(&format!("projects/{project}/traces/"));
        let ids = of_project.and_then(|rest| rest.split_once("/spans/"));
        ids.is_some_and(|(trace_id, span_id)| trace_id.len() == 32 && span_id == span.span_id)
    };
    for span in &spans {
        // The types keep unknown fields.
        if !fits(span) || format!("{span:?}").contains("_unknown_fields") {
            return Err(format!("not a span: {span:?}"));
        }
    }
    Ok(spans.into_iter().map(|span| span.name).collect())
}
