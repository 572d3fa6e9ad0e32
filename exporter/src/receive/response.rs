//! Responses of OTLP/HTTP, in the encoding of the request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;

use super::decode::RejectedSpans;
use super::error::{RETRY_AFTER_SECONDS, RequestError};
use crate::otlp::Signal;

/// The encoding of an OTLP body.
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

    /// Reads the content type.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, RequestError> {
        let media_type = media_type(headers);
        let found = [Self::Protobuf, Self::Json]
            .into_iter()
            .find(|encoding| media_type.eq_ignore_ascii_case(encoding.content_type()));
        let expected = "application/x-protobuf or application/json";
        found.ok_or(RequestError::ContentType { got: media_type, expected })
    }
}

/// Returns the content type without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
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

/// Builds the response to a rejected request.
pub(super) fn rejected(encoding: Encoding, error: &RequestError) -> Response {
    let (http, code) = error.codes();
    let (code, message) = (code as i32, error.message());
    let body = match encoding {
        Encoding::Protobuf => Status { code, message }.encode_to_vec(),
        Encoding::Json => json!({ "code": code, "message": message }).to_string().into_bytes(),
    };
    let mut response = (http, content_type(encoding), body).into_response();
    add_error_headers(&mut response, error);
    response
}

/// Adds the headers that a client needs to correct or retry its request.
pub(super) fn add_error_headers(response: &mut Response, error: &RequestError) {
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

/// Builds the response to a request whose valid items are committed.
pub(super) fn accepted(signal: Signal, encoding: Encoding, rejected: &RejectedSpans) -> Response {
    let body = match encoding {
        Encoding::Protobuf => encode_response(signal, rejected),
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

/// Encodes the response message of the signal.
pub(super) fn encode_response(signal: Signal, rejected: &RejectedSpans) -> Vec<u8> {
    match signal {
        Signal::Traces => {
            ExportTraceServiceResponse { partial_success: partial_success(rejected) }.encode_to_vec()
        }
        // Log records are never rejected: an invalid id is treated as absent.
        Signal::Logs => ExportLogsServiceResponse::default().encode_to_vec(),
    }
}

fn partial_success(rejected: &RejectedSpans) -> Option<ExportTracePartialSuccess> {
    if rejected.is_empty() {
        return None;
    }
    let reasons: Vec<String> =
        rejected.iter().map(|(reason, count)| format!("{} ({count})", reason.as_str())).collect();
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
    fn the_content_type_can_have_parameters() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            Encoding::from_headers(&headers)
        };
        assert_eq!(of("application/x-protobuf"), Ok(Encoding::Protobuf));
        assert_eq!(of("Application/JSON; charset=utf-8"), Ok(Encoding::Json));
        for (result, got) in
            [(of("text/plain"), "text/plain"), (Encoding::from_headers(&HeaderMap::new()), "")]
        {
            assert!(matches!(result, Err(RequestError::ContentType { got: g, .. }) if g == got));
        }
    }
}
