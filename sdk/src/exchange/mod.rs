//! A request and its response on their way, in or out: what is seen of them, and the lines and spans that come of it.
//!
//! ```text
//!  Begun ──► ResponseFuture: status, headers ──► TraceBody: sizes, trailers ──► drop: line, span
//! ```

mod begin;
mod body;
mod failures;
mod future;
pub(crate) mod lines;
mod received;
mod seen;
mod texts;

pub(crate) use begin::{Begun, RequestSpan};
pub use body::TraceBody;
pub use future::ResponseFuture;
#[cfg(feature = "actix")]
pub(crate) use future::{Answered, Rest};
use http::{HeaderMap, header};
use logtracer_core::request::grpc;
use logtracer_core::request::url::Query;
use logtracer_core::span::SpanKind;
#[cfg(feature = "server")]
pub(crate) use received::Received;
pub(crate) use seen::Parts;
use tracing::Level;

/// Which side of the request this service is.
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

/// How a request is told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Telling {
    pub(crate) side: Side,
    pub(crate) requests: RequestLog,
    /// The level of failures that are the caller's fault.
    pub(crate) client_errors: Level,
    pub(crate) query: Query,
    /// gRPC by configuration, and not only where the content type says so.
    pub(crate) grpc: bool,
}

impl Telling {
    pub(crate) const fn of(side: Side) -> Self {
        Self {
            side,
            requests: RequestLog::Off,
            client_errors: Level::WARN,
            query: Query::Redact,
            grpc: false,
        }
    }

    /// True for a gRPC call.
    pub(crate) fn is_grpc(&self, headers: &HeaderMap) -> bool {
        let content_type = headers.get(header::CONTENT_TYPE);
        self.grpc || content_type.is_some_and(|value| grpc::is_content_type(value.as_bytes()))
    }
}

/// The lines that a layer writes for each request.
///
/// ```
/// use logtracer_sdk::server::RequestLog;
///
/// assert_eq!(RequestLog::default(), RequestLog::Off);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RequestLog {
    /// None: the sidecar writes one.
    #[default]
    Off,
    /// One when the response is over, with `httpRequest` and the latency.
    Single,
    /// The two of the original: `GET - <url>` and `200 OK - <url>`, or `OUTBOUND GET - <url>` for a client.
    Pair,
}
