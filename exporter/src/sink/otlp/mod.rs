//! Any OTLP receiver: the requests of the outbox are sent unchanged.
//!
//! The concatenated bodies of several requests are one request with all their resources, because protobuf appends
//! repeated fields. So nothing is decoded on the way.

mod grpc;
mod headers;
pub(crate) mod http;

use std::time::Duration;

use anyhow::Context;
use reqwest::Url;
use reqwest::header::HeaderMap;

use super::http::{Reply, Success};
use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink};
use crate::otlp::Signal;
use grpc::Grpc;
use http::Http;

/// An OTLP receiver.
#[derive(Debug)]
pub(crate) enum Otlp {
    Http(Http),
    Grpc(Grpc),
}

/// The environment variable with headers for every call, as in the OpenTelemetry SDKs.
pub(crate) const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

impl Otlp {
    /// Makes the client, without a connection. Has to be called inside the runtime.
    pub(crate) fn new(url: &Url) -> anyhow::Result<Self> {
        let headers = match std::env::var(HEADERS) {
            Ok(text) => headers::parse(&text).with_context(|| format!("invalid {HEADERS}"))?,
            Err(_) => HeaderMap::new(),
        };
        match url.scheme() {
            "grpc" | "grpcs" => Ok(Self::Grpc(Grpc::new(url, headers)?)),
            _ => Ok(Self::Http(Http::new(url, headers)?)),
        }
    }
}

/// Returns the response to a call if it is a success. Every receiver takes spans, but some have no method for log records.
fn success(reply: Reply, signal: Signal, path: &str) -> Result<Success, DeliveryError> {
    if signal == Signal::Logs && reply.is_without_method() {
        return Err(without_method(path, &format!("HTTP {}", reply.status)));
    }
    reply.success()
}

/// Returns the error for log records that a receiver has no method for.
fn without_method(path: &str, answer: &str) -> DeliveryError {
    DeliveryError::Unsupported { reason: format!("no log records at {path}: {answer}") }
}

impl Sink for Otlp {
    /// gRPC receivers take 4 MiB by default. The linger merges many small batches into few calls.
    fn pace(&self) -> Pace {
        Pace { calls: 32, items: 4096, bytes: 1 << 20, linger: Duration::from_millis(50) }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        match self {
            Self::Http(http) => http.deliver(chunk).await,
            Self::Grpc(grpc) => grpc.deliver(chunk).await,
        }
    }
}
