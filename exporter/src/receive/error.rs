//! Why a request was refused: its reason in the metrics, its codes over HTTP and gRPC, and the words of the answer.

use axum::http::StatusCode;
use tonic::Code;

use super::budget::{BODY_TIMEOUT, MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_WIRE_BYTES};
use crate::otlp::check::{MAX_DECODED_BYTES, MAX_ITEMS};

/// Why a request as a whole was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestError {
    NothingHere,
    WrongMethod,
    Unauthorized,
    ContentType {
        got: String,
        expected: &'static str,
    },
    ContentEncoding(String),
    HeadersTooLong,
    TooLong,
    TooLongUnpacked,
    TooMany,
    TooLargeDecoded,
    /// What it takes in the outbox, and what it may.
    TooLargeForOutbox {
        bytes: u64,
        max_bytes: u64,
    },
    Timeout,
    Aborted(String),
    Gzip(String),
    /// The length-prefixed message of a gRPC call.
    Frame(&'static str),
    Malformed {
        expected: &'static str,
        error: String,
    },
    /// There is no sink for log records.
    NoSinkForLogs,
    Busy,
    Full {
        waiting_bytes: u64,
    },
    Unwritable(String),
    Closing,
}

/// Seconds after which a refused client should try again.
pub(super) const RETRY_AFTER_SECONDS: u64 = 2;

/// Messages may quote the request, but not at length.
const MAX_MESSAGE_CHARS: usize = 400;

impl RequestError {
    /// The label of the metric.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::NothingHere => "no such path",
            Self::WrongMethod => "method",
            Self::Unauthorized => "unauthorized",
            Self::ContentType { .. } => "content type",
            Self::ContentEncoding(_) => "content encoding",
            Self::HeadersTooLong => "headers too long",
            Self::TooLong | Self::TooLongUnpacked => "too long",
            Self::TooMany => "too many",
            Self::TooLargeDecoded => "too large decoded",
            Self::TooLargeForOutbox { .. } => "too large for the outbox",
            Self::Timeout => "timeout",
            Self::Aborted(_) => "aborted",
            Self::Gzip(_) => "gzip",
            Self::Frame(_) | Self::Malformed { .. } => "malformed",
            Self::NoSinkForLogs => "no sink for logs",
            Self::Busy => "busy",
            Self::Full { .. } => "outbox full",
            Self::Unwritable(_) | Self::Closing => "unavailable",
        }
    }

    /// The HTTP status, and the code of gRPC, which is that of `google.rpc.Status`, too.
    pub(super) const fn codes(&self) -> (StatusCode, Code) {
        match self {
            Self::NothingHere => (StatusCode::NOT_FOUND, Code::NotFound),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            Self::ContentType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            // What gRPC answers to a compression that it does not know.
            Self::ContentEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented),
            Self::HeadersTooLong => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::InvalidArgument),
            Self::TooLong
            | Self::TooLongUnpacked
            | Self::TooMany
            | Self::TooLargeDecoded
            | Self::TooLargeForOutbox { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
            Self::Aborted(_) | Self::Gzip(_) | Self::Frame(_) | Self::Malformed { .. } => {
                (StatusCode::BAD_REQUEST, Code::InvalidArgument)
            }
            Self::NoSinkForLogs => (StatusCode::NOT_IMPLEMENTED, Code::Unimplemented),
            Self::Busy | Self::Full { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
            Self::Unwritable(_) | Self::Closing => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        }
    }

    /// Whether the same request may be taken later.
    pub(super) const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Full { .. } | Self::Unwritable(_) | Self::Closing)
    }

    /// What was wrong and what would be right, in a sentence.
    pub(super) fn message(&self) -> String {
        let message = match self {
            Self::NothingHere => {
                "nothing is here: OTLP goes to POST /v1/traces and /v1/logs, Zipkin v2 to /api/v2/spans".to_owned()
            }
            Self::WrongMethod => "only POST is possible here".to_owned(),
            Self::Unauthorized => {
                "the header \"authorization: Bearer TOKEN\" is missing, or its token is not the one of --token-file"
                    .to_owned()
            }
            Self::ContentType { got, expected } => {
                format!("content type {got:?} is not supported: send {expected}")
            }
            Self::ContentEncoding(got) => {
                format!("content encoding {got:?} is not supported: send gzip or none")
            }
            Self::HeadersTooLong => format!("the headers are longer than {} KiB", MAX_HEADER_BYTES >> 10),
            Self::TooLong => format!("the body is longer than {} MiB", MAX_WIRE_BYTES >> 20),
            Self::TooLongUnpacked => format!("the unpacked body is longer than {} MiB", MAX_BODY_BYTES >> 20),
            Self::TooMany => {
                format!("the request has more than {MAX_ITEMS} spans or log records: send fewer at once")
            }
            Self::TooLargeDecoded => {
                format!(
                    "decoded the body takes more than {} MiB: send fewer spans, attributes, events and links at once",
                    MAX_DECODED_BYTES >> 20
                )
            }
            Self::TooLargeForOutbox { bytes, max_bytes } => {
                format!("the body takes {bytes} bytes in the outbox, which takes {max_bytes} at once: send fewer spans")
            }
            Self::Timeout => format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
            Self::Aborted(error) => format!("the body broke off: {error}"),
            Self::Gzip(error) => format!("the body is not valid gzip: {error}"),
            Self::Frame(error) => format!("the body is not one message of gRPC: {error}"),
            Self::Malformed { expected, error } => format!("the body is not {expected}: {error}"),
            Self::NoSinkForLogs => {
                "no sink of this exporter takes log records: add one that does, such as --sink store".to_owned()
            }
            Self::Busy => "too many requests at once: try again later".to_owned(),
            Self::Full { waiting_bytes } => {
                format!("the outbox is full ({waiting_bytes} bytes wait for the sinks): try again later")
            }
            Self::Unwritable(reason) => format!("cannot write the outbox: {reason}"),
            Self::Closing => "the exporter is shutting down".to_owned(),
        };
        message.chars().take(MAX_MESSAGE_CHARS).collect()
    }
}
