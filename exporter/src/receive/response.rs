//! Responses of OTLP/HTTP, in the encoding of the request.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;

use super::error::{RETRY_AFTER_SECONDS, RequestError};
use crate::otlp::Signal;
use crate::otlp::left_out::{LeftOut, Reason};

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
pub(super) fn accepted(signal: Signal, encoding: Encoding, left_out: &LeftOut) -> Response {
    let rejected = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Logs => "rejectedLogRecords",
    };
    let body = match encoding {
        Encoding::Protobuf => encode_response(signal, left_out),
        Encoding::Json if left_out.is_empty() => b"{}".to_vec(),
        // In the order of the fields: a client that cuts the body still has the number.
        Encoding::Json => format!(
            r#"{{"partialSuccess":{{"{rejected}":"{}","errorMessage":{}}}}}"#,
            left_out.items(),
            serde_json::Value::from(message(signal, left_out))
        )
        .into_bytes(),
    };
    (content_type(encoding), body).into_response()
}

/// Encodes the response message of the signal.
pub(super) fn encode_response(signal: Signal, left_out: &LeftOut) -> Vec<u8> {
    if left_out.is_empty() {
        return Vec::new();
    }
    let (rejected, error_message) = (left_out.items().into(), message(signal, left_out));
    match signal {
        Signal::Traces => {
            let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        }
        Signal::Logs => {
            let partial = ExportLogsPartialSuccess { rejected_log_records: rejected, error_message };
            ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        }
    }
}

/// Returns what was left out and why. A partial success without rejected items is a warning.
fn message(signal: Signal, left_out: &LeftOut) -> String {
    let items = match signal {
        Signal::Traces => "spans",
        Signal::Logs => "log records",
    };
    let list = |name: &str, counts: &BTreeMap<Reason, u32>| {
        let reasons: Vec<_> =
            counts.iter().map(|(reason, count)| format!("{} ({count})", reason.as_str())).collect();
        (!reasons.is_empty()).then(|| format!("{name} rejected: {}", reasons.join(", ")))
    };
    let sentences =
        [list(items, &left_out.items), list("attributes, events, links or fields", &left_out.parts)];
    sentences.into_iter().flatten().collect::<Vec<_>>().join("; ")
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
