//! A request and its response, in or out: their log lines and their span.
//!
//! ```text
//!  TraceService ──► Pending ──► ResponseFuture: status, headers ──► TraceBody: sizes, trailers
//!  (layer of a side)   └── Record ────────────────────────────────────┴──► dropped: log line, span
//! ```

mod body;
mod bounds;
mod captured;
mod errors;
#[cfg_attr(not(feature = "server"), allow(dead_code, unreachable_pub))]
mod fields;
mod forwarded;
mod future;
mod headers;
mod lines;
mod message;
mod pending;
mod progress;
mod ready;
mod record;
mod service;
mod span;
mod time_limit;

use std::time::Duration;

pub use body::TraceBody;
pub use bounds::{ResponseBody, ServiceError};
#[cfg(feature = "server")]
pub(crate) use fields::RequestFields;
#[cfg(feature = "server")]
pub use fields::{FieldValue, record, set_route};
pub use future::ResponseFuture;
pub(crate) use headers::RequestHeaders;
use logtracer_core::request::url::Query;
use logtracer_core::span::SpanKind;
#[cfg(feature = "server")]
pub(crate) use message::RequestMessage;
pub(crate) use pending::Pending;
pub(crate) use ready::ReadyLog;
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
    /// The time limit of a server for the head of its response.
    pub(crate) timeout: Option<Duration>,
    /// The number of proxies whose `x-forwarded-*` headers are read.
    pub(crate) trusted_proxies: usize,
}

impl LogOptions {
    pub(crate) const fn new(side: Side) -> Self {
        Self {
            side,
            requests: RequestLog::Off,
            client_errors: Level::WARN,
            query: Query::Redact,
            grpc: false,
            timeout: None,
            trusted_proxies: 0,
        }
    }

    /// Returns true for a gRPC call.
    pub(crate) fn is_grpc(&self, headers: &RequestHeaders<'_>) -> bool {
        self.grpc || headers.is_grpc()
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
