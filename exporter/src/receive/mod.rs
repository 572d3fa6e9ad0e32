//! Receiving: a request becomes one batch in the outbox, or it is rejected with a response that gives the reason.
//!
//! ```text
//!  otlp_http ─┐
//!  otlp_grpc ─┼─► check_head ──────────────► body (size, time, memory, gzip) ──► decode ──► outbox ──► response
//!  zipkin    ─┘   host, page, token, size    budget, memory                      otlp::check
//! ```
//!
//! A protobuf body is checked and stored unchanged; JSON is converted to protobuf.
//! Every error is a [`RequestError`]. Each protocol turns it into a response of its own format.

mod body;
mod budget;
mod decode;
mod error;
#[cfg(test)]
mod growth;
mod gzip;
mod limits;
mod memory;
mod otlp_grpc;
mod otlp_http;
mod response;
mod zipkin;

pub(crate) use otlp_grpc::services;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::http::request::Parts;
use axum::routing::post;

use crate::listen::{Connections, Hosts, TokenFile, is_from_page};
use crate::log;
use crate::metrics::{Metrics, ReasonLabel};
use crate::otlp::left_out::LeftOut;
use crate::otlp::{Items, Signal};
use crate::outbox::{AppendError, Outbox};
use body::{BufferedBody, Compression};
use budget::Budget;
use decode::{Format, ValidBatch};
use error::RequestError;
use limits::MAX_HEADER_BYTES;

/// Returns the routes of `--http`, which listens on this address.
pub(crate) fn router(receiver: Receiver, address: IpAddr) -> Router {
    Router::new()
        .route("/v1/traces", post(otlp_http::traces))
        .route("/v1/logs", post(otlp_http::logs))
        .route("/api/v2/spans", post(zipkin::spans))
        .method_not_allowed_fallback(otlp_http::method_not_allowed)
        .fallback(otlp_http::not_found)
        .with_state(receiver.listening_on(address))
}

/// The state that the handlers of all protocols share.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    outbox: Outbox,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    token: Option<Arc<TokenFile>>,
    hosts: Hosts,
}

impl Receiver {
    /// `connections` are those whose requests it handles.
    pub(crate) fn new(
        outbox: Outbox,
        metrics: Arc<Metrics>,
        token: Option<TokenFile>,
        connections: Connections,
    ) -> Self {
        let (token, budget) = (token.map(Arc::new), Arc::new(Budget::new(Some(connections))));
        Self { outbox, metrics, budget, token, hosts: Hosts::Any }
    }

    fn listening_on(self, address: IpAddr) -> Self {
        Self { hosts: if address.is_loopback() { Hosts::Private } else { Hosts::Any }, ..self }
    }

    /// Processes a request over HTTP from its headers to the commit. Returns what was left out.
    async fn receive(
        &self,
        request: Request,
        format: Result<Format, RequestError>,
    ) -> Result<LeftOut, RequestError> {
        let (head, body) = request.into_parts();
        let checked = self
            .check_head(&head)
            .and_then(|()| Ok((format?, Compression::from_header(&head.headers, header::CONTENT_ENCODING)?)));
        let (format, compression) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                body::drain(body).await;
                return Err(error);
            }
        };
        let body = body::read(&self.budget, body).await?;
        let body = match compression {
            Compression::None => body,
            Compression::Gzip => gzip::decompress(body).await?,
        };
        self.commit(format, body).await
    }

    /// Checks where the request comes from, its token, and the size of the headers.
    fn check_head(&self, head: &Parts) -> Result<(), RequestError> {
        let headers = &head.headers;
        if !self.hosts.accept(head) {
            return Err(RequestError::ForeignHost);
        }
        if is_from_page(headers) {
            return Err(RequestError::FromPage);
        }
        if self.token.as_ref().is_some_and(|token| !token.authorize(headers)) {
            return Err(RequestError::Unauthorized);
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if bytes > MAX_HEADER_BYTES { Err(RequestError::HeadersTooLong) } else { Ok(()) }
    }

    /// Commits the valid items of a body to the outbox. Returns what was left out.
    async fn commit(&self, format: Format, body: BufferedBody) -> Result<LeftOut, RequestError> {
        if !self.outbox.takes(format.signal()) {
            return Err(RequestError::NoSink(format.signal()));
        }
        let (decoded, _until_the_commit) = decode::decode(&self.budget, format, body).await?;
        let ValidBatch { signal, body, items, left_out } = decoded;
        let mut received = Items::default();
        received.add(signal, u64::from(items) + u64::from(left_out.items()));
        self.metrics.received.add(received);
        self.report(signal, &left_out);
        if items > 0 {
            self.outbox.append(signal, body, items).await.map_err(|error| match error {
                AppendError::TooLarge { bytes, max_bytes } => {
                    RequestError::TooLargeForOutbox { bytes, max_bytes }
                }
                AppendError::Full { waiting_bytes } => RequestError::OutboxFull { waiting_bytes },
                AppendError::Unwritable(reason) => RequestError::OutboxUnwritable(reason),
                AppendError::Closed => RequestError::ShuttingDown,
            })?;
        }
        Ok(left_out)
    }

    /// Counts and logs what was left out of a request.
    fn report(&self, signal: Signal, left_out: &LeftOut) {
        let items = match signal {
            Signal::Traces => &self.metrics.spans_rejected,
            Signal::Logs => &self.metrics.log_records_rejected,
        };
        let counts = [
            (items, &left_out.items, "rejected invalid spans or log records of a request"),
            (&self.metrics.attributes_rejected, &left_out.parts, "rejected invalid attributes of a request"),
        ];
        for (counter, reasons, message) in counts {
            for (reason, count) in reasons {
                let (reason, count) = (reason.as_str(), u64::from(*count));
                counter.get_or_create(&ReasonLabel { reason }).inc_by(count);
                let fields = [("reason", log::Value::Str(reason)), ("count", log::Value::U64(count))];
                log::warn(message, &fields);
            }
        }
    }

    /// Counts a rejected request, and returns its error.
    fn count<'a>(&self, error: &'a RequestError) -> &'a RequestError {
        let label = ReasonLabel { reason: error.reason() };
        self.metrics.requests_rejected.get_or_create(&label).inc();
        error
    }
}
