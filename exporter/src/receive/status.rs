//! Answers of the OTLP/HTTP receiver, in the encoding that the request came in.

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;

use super::decode::Invalid;
use super::limits::{BODY_TIMEOUT, MAX_BODY_BYTES, MAX_DECODED_BYTES, MAX_ITEMS, MAX_WIRE_BYTES};

/// How an OTLP body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// Why a request as a whole was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    ContentType(String),
    ContentEncoding(String),
    TooLong,
    TooLongUnpacked,
    TooMany,
    TooLargeDecoded,
    Timeout,
    Aborted(String),
    Gzip(String),
    Malformed { encoding: Encoding, error: String },
    Busy,
    Full { waiting_bytes: u64 },
    Unavailable(String),
}

/// `google.rpc.Status`, the body of an OTLP error.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

/// Seconds after which a refused client should try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// Messages may quote the request, but not at length.
const MAX_MESSAGE_CHARS: usize = 400;

impl Refusal {
    /// The label of the metric.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::ContentType(_) => "content type",
            Self::ContentEncoding(_) => "content encoding",
            Self::TooLong | Self::TooLongUnpacked => "too long",
            Self::TooMany => "too many",
            Self::TooLargeDecoded => "too large decoded",
            Self::Timeout => "timeout",
            Self::Aborted(_) => "aborted",
            Self::Gzip(_) => "gzip",
            Self::Malformed { .. } => "malformed",
            Self::Busy => "busy",
            Self::Full { .. } => "outbox full",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// The HTTP status, and the code of `google.rpc.Code`.
    const fn codes(&self) -> (StatusCode, i32) {
        const INVALID_ARGUMENT: i32 = 3;
        const DEADLINE_EXCEEDED: i32 = 4;
        const RESOURCE_EXHAUSTED: i32 = 8;
        const UNAVAILABLE: i32 = 14;
        match self {
            Self::ContentType(_) | Self::ContentEncoding(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_ARGUMENT)
            }
            Self::TooLong | Self::TooLongUnpacked | Self::TooMany | Self::TooLargeDecoded => {
                (StatusCode::PAYLOAD_TOO_LARGE, INVALID_ARGUMENT)
            }
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, DEADLINE_EXCEEDED),
            Self::Aborted(_) | Self::Gzip(_) | Self::Malformed { .. } => {
                (StatusCode::BAD_REQUEST, INVALID_ARGUMENT)
            }
            Self::Busy | Self::Full { .. } => (StatusCode::TOO_MANY_REQUESTS, RESOURCE_EXHAUSTED),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::ContentType(got) => {
                format!(
                    "content type {got:?} is not supported: send application/x-protobuf or application/json"
                )
            }
            Self::ContentEncoding(got) => {
                format!("content encoding {got:?} is not supported: send gzip or none")
            }
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
            Self::Timeout => format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
            Self::Aborted(error) => format!("the body broke off: {error}"),
            Self::Gzip(error) => format!("the body is not valid gzip: {error}"),
            Self::Malformed { encoding: Encoding::Protobuf, error } => {
                format!("the body is not an ExportTraceServiceRequest in protobuf: {error}")
            }
            Self::Malformed { encoding: Encoding::Json, error } => {
                format!("the body is not an ExportTraceServiceRequest in JSON: {error}")
            }
            Self::Busy => "too many requests at once: try again later".to_owned(),
            Self::Full { waiting_bytes } => {
                format!("the outbox is full ({waiting_bytes} bytes wait for the sinks): try again later")
            }
            Self::Unavailable(reason) => reason.clone(),
        }
    }

    pub(super) fn response(&self, encoding: Encoding) -> Response {
        let (http, code) = self.codes();
        let message: String = self.message().chars().take(MAX_MESSAGE_CHARS).collect();
        let body = match encoding {
            Encoding::Protobuf => Status { code, message }.encode_to_vec(),
            Encoding::Json => json!({ "code": code, "message": message }).to_string().into_bytes(),
        };
        let mut response = (http, content_type(encoding), body).into_response();
        if matches!(http, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if http == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// The answer to a request whose valid spans are committed.
pub(super) fn accepted(encoding: Encoding, invalid: &BTreeMap<Invalid, u32>) -> Response {
    let partial_success = partial_success(invalid);
    let body = match encoding {
        Encoding::Protobuf => ExportTraceServiceResponse { partial_success }.encode_to_vec(),
        Encoding::Json => match partial_success {
            None => b"{}".to_vec(),
            Some(partial) => json!({ "partialSuccess": {
                "rejectedSpans": partial.rejected_spans.to_string(),
                "errorMessage": partial.error_message,
            }})
            .to_string()
            .into_bytes(),
        },
    };
    (content_type(encoding), body).into_response()
}

fn partial_success(invalid: &BTreeMap<Invalid, u32>) -> Option<ExportTracePartialSuccess> {
    if invalid.is_empty() {
        return None;
    }
    let reasons: Vec<String> = invalid.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
    Some(ExportTracePartialSuccess {
        rejected_spans: invalid.values().copied().map(i64::from).sum(),
        error_message: format!("spans rejected: {}", reasons.join(", ")),
    })
}

const fn content_type(encoding: Encoding) -> [(HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, encoding.content_type())]
}
