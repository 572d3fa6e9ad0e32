//! A request and its response, in or out: their log lines and their span.
//!
//! ```text
//!  TraceService ──► Pending ──► ResponseFuture: status, headers ──► TraceBody: sizes, trailers
//!  (layer of a side)   └── Record ────────────────────────────────────┴──► dropped: log line, span
//! ```

mod body;
mod captured;
mod errors;
mod future;
mod lines;
mod message;
mod pending;
mod record;
mod service;
mod span;

pub use body::TraceBody;
pub use future::ResponseFuture;
use http::{HeaderMap, header};
use logtracer_core::request::grpc;
use logtracer_core::request::url::Query;
use logtracer_core::span::SpanKind;
#[cfg(feature = "server")]
pub(crate) use message::RequestMessage;
pub(crate) use pending::Pending;
pub(crate) use record::{Parts, Record};
pub(crate) use service::{StartRequest, TraceService};
pub(crate) use span::RequestSpan;
use tracing::Level;

/// The side of the request that this service is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    Server,
    #[cfg_attr(not(feature = "client"), allow(dead_code))]
    Client,
}

impl Side {
    pub(crate) fn kind(self) -> SpanKind {
        match self {
            Self::Server => SpanKind::Server,
            Self::Client => SpanKind::Client,
        }
    }
}

/// What a layer logs for each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOptions {
    pub(crate) side: Side,
    pub(crate) requests: RequestLog,
    /// The level of failures caused by the caller.
    pub(crate) client_errors: Level,
    pub(crate) query: Query,
    /// Treats every request as gRPC, whatever its content type is.
    pub(crate) grpc: bool,
}

impl LogOptions {
    pub(crate) const fn new(side: Side) -> Self {
        Self {
            side,
            requests: RequestLog::Off,
            client_errors: Level::WARN,
            query: Query::Redact,
            grpc: false,
        }
    }

    /// Returns true for a gRPC call.
    pub(crate) fn is_grpc(&self, headers: &HeaderMap) -> bool {
        let content_type = headers.get(header::CONTENT_TYPE);
        self.grpc || content_type.is_some_and(|value| grpc::is_content_type(value.as_bytes()))
    }
}

/// The lines that a layer logs for each request.
///
/// ```
/// use logtracer_sdk::server::RequestLog;
///
/// assert_eq!(RequestLog::default(), RequestLog::Off);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RequestLog {
    /// No line: the sidecar logs one.
    #[default]
    Off,
    /// One line at the end of the response, with `httpRequest` and the latency.
    Single,
    /// The two lines of bbc/logtracer: `GET - <url>` and `200 OK - <url>`, or `OUTBOUND GET - <url>` for a client.
    Pair,
}
