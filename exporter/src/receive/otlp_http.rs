//! OTLP/HTTP: `POST /v1/traces` and `POST /v1/logs`.
//!
//! See <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::Receive;
use super::decode::Format;
use super::error::RequestError;
use super::response::{Encoding, accepted, refused};
use crate::otlp::Signal;

pub(super) async fn traces(State(receive): State<Receive>, request: Request) -> Response {
    export(&receive, Signal::Traces, request).await
}

pub(super) async fn logs(State(receive): State<Receive>, request: Request) -> Response {
    export(&receive, Signal::Logs, request).await
}

/// The answer where there is nothing.
pub(super) async fn nothing_here(State(receive): State<Receive>, headers: HeaderMap) -> Response {
    let answered_in = Encoding::of(&headers).unwrap_or(Encoding::Json);
    refused(answered_in, receive.counted(&RequestError::NothingHere))
}

/// The answer to another method than POST.
pub(super) async fn wrong_method(State(receive): State<Receive>, headers: HeaderMap) -> Response {
    let answered_in = Encoding::of(&headers).unwrap_or(Encoding::Json);
    refused(answered_in, receive.counted(&RequestError::WrongMethod))
}

async fn export(receive: &Receive, signal: Signal, request: Request) -> Response {
    let encoding = Encoding::of(request.headers());
    // An unknown encoding is answered in JSON, which everybody can read.
    let answered_in = *encoding.as_ref().unwrap_or(&Encoding::Json);
    let format = encoding.map(|encoding| match encoding {
        Encoding::Protobuf => Format::Protobuf(signal),
        Encoding::Json => Format::Json(signal),
    });
    match receive.http(request, format).await {
        Ok(rejected) => accepted(signal, answered_in, &rejected),
        Err(error) => refused(answered_in, receive.counted(&error)),
    }
}
