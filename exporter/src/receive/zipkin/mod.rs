//! Zipkin's v2 API: `POST /api/v2/spans`, a list of spans in JSON, converted to OTLP.
//!
//! See <https://zipkin.io/zipkin-api/#/default/post_spans> for the format, and
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/> for the conversion.
//!
//! A client and a server can use the same id for their two spans, with or without `shared`. A store and most backends
//! keep one span per id, so the server's span gets a new id, derived from the shared one, and the client's span as its
//! parent.
//! Spans of the same list and the same service that are below the shared id are moved below the server's span.
//!
//! ```text
//!  json (text → one span) ──► span (OTLP) ──► groups (by service and scope, in protobuf)
//! ```

mod groups;
pub(super) mod json;
mod scalar;
mod span;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Receiver;
use super::decode::Format;
use super::error::RequestError;
use super::response::{add_error_headers, media_type};

/// Responds as Zipkin does: 202 without a body, or an error as text.
pub(super) async fn spans(State(receiver): State<Receiver>, request: Request) -> Response {
    let media_type = media_type(request.headers());
    let format = if media_type.eq_ignore_ascii_case("application/json") {
        Ok(Format::Zipkin)
    } else {
        Err(RequestError::ContentType { got: media_type, expected: "application/json" })
    };
    match receiver.receive(request, format).await {
        Ok(_) => StatusCode::ACCEPTED.into_response(),
        Err(error) => {
            let (status, _) = receiver.count(&error).codes();
            let mut response = (status, error.message() + "\n").into_response();
            add_error_headers(&mut response, &error);
            response
        }
    }
}
