//! The way in: a request becomes one batch in the outbox, or an answer that says what was wrong with it.
//!
//! ```text
//!  otlp_http ─┐
//!  otlp_grpc ─┼─► admit (headers, token) ──► body (size, time, memory, gzip) ──► decode ──► outbox ──► the answer
//!  zipkin    ─┘                                  protobuf is scanned and kept; JSON becomes protobuf
//! ```
//!
//! Whatever is wrong is a [`Refusal`], which each protocol answers in its own way.

mod auth;
mod body;
mod budget;
mod decode;
mod error;
mod otlp_grpc;
mod otlp_http;
mod response;
mod zipkin;

pub(crate) use auth::TokenFile;
pub(crate) use otlp_grpc::services;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::routing::post;

use crate::metrics::{Metrics, Reason};
use crate::otlp::Items;
use crate::outbox::{AppendError, Outbox};
use body::{Held, Packing};
use budget::{Budget, MAX_HEADER_BYTES};
use decode::{Decoded, Format, Rejected};
use error::RequestError;

/// The routes of `--http`.
pub(crate) fn router(receive: Receive) -> Router {
    Router::new()
        .route("/v1/traces", post(otlp_http::traces))
        .route("/v1/logs", post(otlp_http::logs))
        .route("/api/v2/spans", post(zipkin::spans))
        .method_not_allowed_fallback(otlp_http::wrong_method)
        .fallback(otlp_http::nothing_here)
        .with_state(receive)
}

/// What every receiver needs.
#[derive(Debug, Clone)]
pub(crate) struct Receive {
    outbox: Outbox,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    token: Option<Arc<TokenFile>>,
}

impl Receive {
    pub(crate) fn new(outbox: Outbox, metrics: Arc<Metrics>, token: Option<TokenFile>) -> Self {
        Self { outbox, metrics, budget: Arc::new(Budget::default()), token: token.map(Arc::new) }
    }

    /// The way of a request over HTTP, from its headers to the commit; returns the spans that were left out.
    async fn http(
        &self,
        request: Request,
        format: Result<Format, RequestError>,
    ) -> Result<Rejected, RequestError> {
        let (head, body) = request.into_parts();
        let admitted = self
            .admit(&head.headers)
            .and_then(|()| Ok((format?, Packing::of(&head.headers, header::CONTENT_ENCODING)?)));
        let (format, packing) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                body::drain(body).await;
                return Err(error);
            }
        };
        let held = body::read(&self.budget, body).await?;
        let held = match packing {
            Packing::None => held,
            Packing::Gzip => body::unpack(&self.budget, held).await?,
        };
        self.commit(format, held).await
    }

    /// Whether a request may be read at all.
    fn admit(&self, headers: &HeaderMap) -> Result<(), RequestError> {
        if self.token.as_ref().is_some_and(|token| !token.admits(headers)) {
            return Err(RequestError::Unauthorized);
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if bytes > MAX_HEADER_BYTES { Err(RequestError::HeadersTooLong) } else { Ok(()) }
    }

    /// Commits what is valid of a body; returns the spans that were left out.
    async fn commit(&self, format: Format, held: Held) -> Result<Rejected, RequestError> {
        if !self.outbox.is_wanted(format.signal()) {
            return Err(RequestError::NoSinkForLogs);
        }
        let (decoded, _until_the_commit) = decode::decode(&self.budget, format, held).await?;
        let Decoded { signal, body, items, invalid } = decoded;
        let mut received = Items::default();
        received.add(signal, u64::from(items) + u64::from(invalid.values().sum::<u32>()));
        self.metrics.received.add(received);
        for (reason, count) in &invalid {
            let label = Reason { reason: reason.as_str() };
            self.metrics.spans_rejected.get_or_create(&label).inc_by(u64::from(*count));
        }
        if items > 0 {
            self.outbox.append(signal, body, items).await.map_err(|error| match error {
                AppendError::TooLarge { bytes, max_bytes } => {
                    RequestError::TooLargeForOutbox { bytes, max_bytes }
                }
                AppendError::Full { waiting_bytes } => RequestError::Full { waiting_bytes },
                AppendError::Unwritable(reason) => RequestError::Unwritable(reason),
                AppendError::Closed => RequestError::Closing,
            })?;
        }
        Ok(invalid)
    }

    fn counted<'a>(&self, error: &'a RequestError) -> &'a RequestError {
        let label = Reason { reason: error.reason() };
        self.metrics.requests_refused.get_or_create(&label).inc();
        error
    }
}
