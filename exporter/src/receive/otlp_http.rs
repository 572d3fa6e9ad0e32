//! OTLP/HTTP: `POST /v1/traces` and `POST /v1/logs`.
//!
//! See <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::Receiver;
use super::decode::Format;
use super::error::RequestError;
use super::response::{Encoding, accepted, rejected};
use crate::otlp::Signal;

pub(super) async fn traces(State(receiver): State<Receiver>, request: Request) -> Response {
    export(&receiver, Signal::Traces, request).await
}

pub(super) async fn logs(State(receiver): State<Receiver>, request: Request) -> Response {
    export(&receiver, Signal::Logs, request).await
}

/// Responds to a request for an unknown path.
pub(super) async fn not_found(State(receiver): State<Receiver>, headers: HeaderMap) -> Response {
    let response_encoding = Encoding::from_headers(&headers).unwrap_or(Encoding::Json);
    rejected(response_encoding, receiver.count(&RequestError::NotFound))
}

/// Responds to a method other than POST.
pub(super) async fn method_not_allowed(State(receiver): State<Receiver>, headers: HeaderMap) -> Response {
    let response_encoding = Encoding::from_headers(&headers).unwrap_or(Encoding::Json);
    rejected(response_encoding, receiver.count(&RequestError::MethodNotAllowed))
}

async fn export(receiver: &Receiver, signal: Signal, request: Request) -> Response {
    let encoding = Encoding::from_headers(request.headers());
    // The response to an unknown content type is in JSON, which people can read.
    let response_encoding = *encoding.as_ref().unwrap_or(&Encoding::Json);
    let format = encoding.map(|encoding| match encoding {
        Encoding::Protobuf => Format::Protobuf(signal),
        Encoding::Json => Format::Json(signal),
    });
    match receiver.receive(request, format).await {
        Ok(left_out) => accepted(signal, response_encoding, &left_out),
        Err(error) => rejected(response_encoding, receiver.count(&error)),
    }
}
