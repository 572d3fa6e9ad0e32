//! Zipkin's v2 API: `POST /api/v2/spans`, a list of spans in JSON, as OTLP.
//!
//! See <https://zipkin.io/zipkin-api/#/default/post_spans> for the spans, and
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/> for what becomes what.
//!
//! With `shared` a client and a server give one id to two spans; here the server's gets an id of its own, made from
//! that id, below the client's, for a store and most backends keep one span for an id.

pub(super) mod json;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Receive;
use super::decode::Format;
use super::error::RequestError;
use super::response::{add_hints, essence};

/// Answers as Zipkin does: 202 without a body, or a sentence.
pub(super) async fn spans(State(receive): State<Receive>, request: Request) -> Response {
    let essence = essence(request.headers());
    let format = if essence.is_empty() || essence.eq_ignore_ascii_case("application/json") {
        Ok(Format::Zipkin)
    } else {
        Err(RequestError::ContentType { got: essence, expected: "application/json" })
    };
    match receive.http(request, format).await {
        Ok(_) => StatusCode::ACCEPTED.into_response(),
        Err(error) => {
            let (status, _) = receive.counted(&error).codes();
            let mut response = (status, error.message() + "\n").into_response();
            add_hints(&mut response, &error);
            response
        }
    }
}
