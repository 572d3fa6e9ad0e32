//! [`RequestError`]: the reason of a rejected request, with its metric label, its HTTP and gRPC codes, and its message.

use axum::http::StatusCode;
use tonic::Code;

use super::limits::{BODY_TIMEOUT, MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_WIRE_BYTES};
use crate::otlp::Signal;
use crate::otlp::check::{MAX_DECODED_BYTES, MAX_ITEMS};

/// The reason why a whole request was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestError {
    NotFound,
    MethodNotAllowed,
    Unauthorized,
    /// The `Host` of a request to a loopback address is not a name of this machine.
    ForeignHost,
    /// A browser sent the request for a web page.
    FromPage,
    ContentType {
        got: String,
        expected: &'static str,
    },
    ContentEncoding(String),
    HeadersTooLong,
    TooLong,
    DecompressedTooLong,
    TooManyItems,
    TooLargeDecoded,
    /// The size of the body in the outbox, and the limit for one batch.
    TooLargeForOutbox {
        bytes: u64,
        max_bytes: u64,
    },
    Timeout,
    Aborted(String),
    Gzip(String),
    /// The length prefix of the message of a gRPC call is invalid.
    GrpcFrame(&'static str),
    Malformed {
        expected: &'static str,
        error: String,
    },
    /// No sink accepts this signal.
    NoSink(Signal),
    /// The memory budget is used up.
    Busy,
    /// The body arrived slowly while other requests waited for memory.
    Slow,
    OutboxFull {
        waiting_bytes: u64,
    },
    OutboxUnwritable(String),
    ShuttingDown,
}

/// The time after which a client should retry a request that was rejected with a transient error.
pub(super) const RETRY_AFTER_SECONDS: u64 = 2;

/// Messages quote the request, so they are truncated.
const MAX_MESSAGE_CHARS: usize = 400;

impl RequestError {
    /// Returns the label `reason` of the metric.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "no such path",
            Self::MethodNotAllowed => "method",
            Self::Unauthorized => "unauthorized",
            Self::ForeignHost => "foreign host",
            Self::FromPage => "from a web page",
            Self::ContentType { .. } => "content type",
            Self::ContentEncoding(_) => "content encoding",
            Self::HeadersTooLong => "headers too long",
            Self::TooLong | Self::DecompressedTooLong => "too long",
            Self::TooManyItems => "too many",
            Self::TooLargeDecoded => "too large decoded",
            Self::TooLargeForOutbox { .. } => "too large for the outbox",
            Self::Timeout => "timeout",
            Self::Aborted(_) => "aborted",
            Self::Gzip(_) => "gzip",
            Self::GrpcFrame(_) | Self::Malformed { .. } => "malformed",
            Self::NoSink(Signal::Traces) => "no sink for spans",
            Self::NoSink(Signal::Logs) => "no sink for logs",
            Self::Busy => "busy",
            Self::Slow => "slow",
            Self::OutboxFull { .. } => "outbox full",
            Self::OutboxUnwritable(_) | Self::ShuttingDown => "unavailable",
        }
    }

    /// Returns the HTTP status, and the code for gRPC and `google.rpc.Status`.
    pub(super) const fn codes(&self) -> (StatusCode, Code) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, Code::NotFound),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            Self::ForeignHost | Self::FromPage => (StatusCode::FORBIDDEN, Code::PermissionDenied),
            Self::ContentType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            // The gRPC specification requires this code for an unknown compression.
            Self::ContentEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented),
            Self::HeadersTooLong => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::InvalidArgument),
            Self::TooLong
            | Self::DecompressedTooLong
            | Self::TooManyItems
            | Self::TooLargeDecoded
            | Self::TooLargeForOutbox { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
            Self::Aborted(_) | Self::Gzip(_) | Self::GrpcFrame(_) | Self::Malformed { .. } => {
                (StatusCode::BAD_REQUEST, Code::InvalidArgument)
            }
            Self::NoSink(_) => (StatusCode::NOT_IMPLEMENTED, Code::Unimplemented),
            Self::Busy | Self::Slow | Self::OutboxFull { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted)
            }
            Self::OutboxUnwritable(_) | Self::ShuttingDown => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
        }
    }

    /// Returns true if the same request can succeed later.
    pub(super) const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::Slow
                | Self::OutboxFull { .. }
                | Self::OutboxUnwritable(_)
                | Self::ShuttingDown
        )
    }

    /// Returns what is wrong with the request, and what to send instead.
    pub(super) fn message(&self) -> String {
        let message = match self {
            Self::NotFound => {
                "no such path: send OTLP to /v1/traces or /v1/logs, and Zipkin v2 to /api/v2/spans".to_owned()
            }
            Self::MethodNotAllowed => "method not allowed: use POST".to_owned(),
            Self::Unauthorized => {
                "the header \"authorization: Bearer TOKEN\" is absent, or its token is not in --token-file"
                    .to_owned()
            }
            Self::ForeignHost => {
                "this address is a loopback address and accepts only names of this machine as the host: \
                 to use another name, set --http and --grpc to another address"
                    .to_owned()
            }
            Self::FromPage => {
                "the header \"origin\" or \"sec-fetch-site\" shows that a web page sent the request: \
                 this exporter accepts none from browsers"
                    .to_owned()
            }
            Self::ContentType { got, expected } if got.is_empty() => {
                format!("the header \"content-type\" is absent: send {expected}")
            }
            Self::ContentType { got, expected } => {
                format!("content type {got:?} is not supported: send {expected}")
            }
            Self::ContentEncoding(got) => {
                format!("content encoding {got:?} is not supported: send gzip or none")
            }
            Self::HeadersTooLong => format!("the headers are longer than {} KiB", MAX_HEADER_BYTES >> 10),
            Self::TooLong => format!("the body is longer than {} MiB", MAX_WIRE_BYTES >> 20),
            Self::DecompressedTooLong => {
                format!("the decompressed body is longer than {} MiB", MAX_BODY_BYTES >> 20)
            }
            Self::TooManyItems => {
                format!(
                    "the request has more than {MAX_ITEMS} spans or log records: send fewer in one request"
                )
            }
            Self::TooLargeDecoded => {
                format!(
                    "the decoded body takes more than {} MiB of memory: send fewer spans, attributes, events and links in one request",
                    MAX_DECODED_BYTES >> 20
                )
            }
            Self::TooLargeForOutbox { bytes, max_bytes } => {
                format!(
                    "the body takes {bytes} bytes in the outbox, which accepts at most {max_bytes} in one batch: send fewer spans or log records in one request"
                )
            }
            Self::Timeout => format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
            Self::Aborted(error) => format!("the connection failed before the end of the body: {error}"),
            Self::Gzip(error) => format!("the body is not valid gzip: {error}"),
            Self::GrpcFrame(error) => format!("the body is not one gRPC message: {error}"),
            Self::Malformed { expected, error } => format!("the body is not {expected}: {error}"),
            Self::NoSink(signal) => {
                let items = match signal {
                    Signal::Traces => "spans",
                    Signal::Logs => "log records",
                };
                format!("no sink of this exporter accepts {items}: add one that does, such as --sink store")
            }
            Self::Busy => "too many requests at once: retry later".to_owned(),
            Self::Slow => "the body arrived too slowly while other requests waited: retry later".to_owned(),
            Self::OutboxFull { waiting_bytes } => {
                format!("the outbox is full ({waiting_bytes} bytes wait for the sinks): retry later")
            }
            Self::OutboxUnwritable(reason) => format!("failed to write the outbox: {reason}"),
            Self::ShuttingDown => "the exporter is shutting down".to_owned(),
        };
        message.chars().take(MAX_MESSAGE_CHARS).collect()
    }
}
