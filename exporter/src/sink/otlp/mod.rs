//! Any receiver of OTLP: what waits in the outbox goes out as it is.
//!
//! The bodies of several requests, one after the other, are one request with all their resources (protobuf appends
//! what is repeated), so that nothing is decoded on the way.

mod grpc;
mod headers;
pub(crate) mod http;

use std::time::Duration;

use anyhow::Context;
use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink};
use grpc::Grpc;
use http::Http;

/// A receiver of OTLP.
#[derive(Debug)]
pub(crate) enum Otlp {
    Http(Http),
    Grpc(Grpc),
}

/// Headers for every call, as the SDKs of OpenTelemetry take them.
pub(crate) const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

impl Otlp {
    /// Connects to nothing yet. Has to be called inside of the runtime.
    pub(crate) fn new(url: &Url) -> anyhow::Result<Self> {
        let headers = match std::env::var(HEADERS) {
            Ok(text) => headers::parse(&text).with_context(|| format!("cannot read {HEADERS}"))?,
            Err(_) => HeaderMap::new(),
        };
        match url.scheme() {
            "grpc" | "grpcs" => Ok(Self::Grpc(Grpc::new(url, headers)?)),
            _ => Ok(Self::Http(Http::new(url, headers)?)),
        }
    }
}

impl Sink for Otlp {
    /// Receivers of gRPC take 4 MiB by default; the linger makes few calls of many small batches.
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
