//! Answers of OTLP/HTTP, in the encoding that the request came in.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;

use super::decode::Rejected;
use super::error::{RETRY_AFTER_SECONDS, RequestError};
use crate::otlp::Signal;

/// How an OTLP body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// What the content type says.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, RequestError> {
        let essence = essence(headers);
        let found = [Self::Protobuf, Self::Json]
            .into_iter()
            .find(|encoding| essence.eq_ignore_ascii_case(encoding.content_type()));
        let expected = "application/x-protobuf or application/json";
        found.ok_or(RequestError::ContentType { got: essence, expected })
    }
}

/// The content type without its parameters.
pub(super) fn essence(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned()
}

/// `google.rpc.Status`, the body of an OTLP error.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The answer to a request that was refused.
pub(super) fn refused(encoding: Encoding, error: &RequestError) -> Response {
    let (http, code) = error.codes();
    let (code, message) = (code as i32, error.message());
    let body = match encoding {
        Encoding::Protobuf => Status { code, message }.encode_to_vec(),
        Encoding::Json => json!({ "code": code, "message": message }).to_string().into_bytes(),
    };
    let mut response = (http, content_type(encoding), body).into_response();
    add_hints(&mut response, error);
    response
}

/// The headers that tell a refused client what to do.
pub(super) fn add_hints(response: &mut Response, error: &RequestError) {
    let status = response.status();
    let headers = response.headers_mut();
    if error.is_transient() {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    }
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}

/// The answer to a request whose valid items are committed.
pub(super) fn accepted(signal: Signal, encoding: Encoding, rejected: &Rejected) -> Response {
    let body = match encoding {
        Encoding::Protobuf => protobuf(signal, rejected),
        Encoding::Json => match partial_success(rejected) {
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

/// The response of the signal's service.
pub(super) fn protobuf(signal: Signal, rejected: &Rejected) -> Vec<u8> {
    match signal {
        Signal::Traces => {
            ExportTraceServiceResponse { partial_success: partial_success(rejected) }.encode_to_vec()
        }
        // No log record is rejected: one with an invalid id is one without an id.
        Signal::Logs => ExportLogsServiceResponse::default().encode_to_vec(),
    }
}

fn partial_success(rejected: &Rejected) -> Option<ExportTracePartialSuccess> {
    if rejected.is_empty() {
        return None;
    }
    let reasons: Vec<String> = rejected.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
    Some(ExportTracePartialSuccess {
        rejected_spans: rejected.values().copied().map(i64::from).sum(),
        error_message: format!("spans rejected: {}", reasons.join(", ")),
    })
}

const fn content_type(encoding: Encoding) -> [(HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, encoding.content_type())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_may_have_parameters() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            Encoding::of(&headers)
        };
        assert_eq!(of("application/x-protobuf"), Ok(Encoding::Protobuf));
        assert_eq!(of("Application/JSON; charset=utf-8"), Ok(Encoding::Json));
        for (headers, got) in [(of("text/plain"), "text/plain"), (Encoding::of(&HeaderMap::new()), "")] {
            assert!(matches!(headers, Err(RequestError::ContentType { got: g, .. }) if g == got));
        }
    }
}
