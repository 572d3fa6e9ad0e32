//! The status of a span as a `google.rpc.Status`, with the gRPC code of the call.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::model::Status;
use crate::truncate::truncate;

const UNKNOWN: i32 = 2;

/// In bytes. Google documents no limit.
const MAX_MESSAGE: usize = 1024;

/// Returns the status of a span, or `None` if it is unset. An error has the code of its gRPC or HTTP response, if any.
pub(super) fn status(span: &Span) -> Option<Status> {
    let status = span.status.as_ref()?;
    match status.code() {
        StatusCode::Unset => None,
        StatusCode::Ok => Some(Status { code: 0, message: String::new() }),
        StatusCode::Error => {
            let code = grpc(span).or_else(|| http(span)).unwrap_or(UNKNOWN);
            Some(Status { code, message: truncate(&status.message, MAX_MESSAGE).to_owned() })
        }
    }
}

fn grpc(span: &Span) -> Option<i32> {
    let code = match attribute(span, &["rpc.response.status_code", "rpc.grpc.status_code"])? {
        Any::IntValue(code) => i32::try_from(*code).ok()?,
        Any::StringValue(text) => text
            .parse()
            .ok()
            .or_else(|| NAMES.iter().position(|name| name == text).and_then(|code| code.try_into().ok()))?,
        _ => return None,
    };
    // 0 is not the code of an error.
    (1..=16).contains(&code).then_some(code)
}

/// Maps an HTTP status by the table "HTTP Mapping" of
/// [`google.rpc.Code`](https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto).
fn http(span: &Span) -> Option<i32> {
    let status = match attribute(span, &["http.response.status_code", "http.status_code"])? {
        Any::IntValue(status) => *status,
        Any::StringValue(text) => text.parse().ok()?,
        _ => return None,
    };
    Some(match status {
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 10,
        429 => 8,
        499 => 1,
        400..=498 => 3,
        501 => 12,
        503 => 14,
        504 => 4,
        500..=599 => 13,
        _ => return None,
    })
}

/// The names of the codes from 0 on.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn attribute<'s>(span: &'s Span, keys: &[&str]) -> Option<&'s Any> {
    let attribute =
        keys.iter().find_map(|key| span.attributes.iter().rfind(|attribute| attribute.key == *key))?;
    attribute.value.as_ref()?.value.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1 as otlp;

    #[test]
    fn errors_have_the_code_of_their_protocol() {
        let text = |text: &str| Any::StringValue(text.to_owned());
        for (key, value, code) in [
            ("rpc.response.status_code", text("UNAVAILABLE"), 14),
            ("rpc.grpc.status_code", Any::IntValue(4), 4),
            ("rpc.grpc.status_code", Any::IntValue(0), 2),
            ("rpc.grpc.status_code", Any::IntValue(99), 2),
            ("http.response.status_code", Any::IntValue(503), 14),
            ("http.response.status_code", Any::IntValue(404), 5),
            ("http.status_code", text("429"), 8),
            ("http.status_code", Any::IntValue(500), 13),
            ("http.status_code", Any::IntValue(418), 3),
            ("http.status_code", Any::IntValue(200), 2),
            ("other", Any::IntValue(1), 2),
        ] {
            let attribute = KeyValue {
                key: key.to_owned(),
                value: Some(AnyValue { value: Some(value) }),
                key_strindex: 0,
            };
            let mut span = Span { attributes: vec![attribute], ..Default::default() };
            assert_eq!(status(&span), None, "no status is set");
            span.status = Some(otlp::Status { code: 1, message: "fine".to_owned() });
            assert_eq!(status(&span), Some(Status { code: 0, message: String::new() }));
            span.status = Some(otlp::Status { code: 2, message: "no".to_owned() });
            assert_eq!(status(&span), Some(Status { code, message: "no".to_owned() }), "{span:?}");
        }
    }
}
