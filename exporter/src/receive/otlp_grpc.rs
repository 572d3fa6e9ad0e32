//! OTLP/gRPC: the unary calls `Export` of OpenTelemetry's `TraceService` and `LogsService`.
//!
//! A message is taken out of its frame here and goes on as bytes, as over HTTP: a generated service would build every
//! span before it could refuse one, or keep the message as it came. Statuses, with their details, are tonic's.
//!
//! See <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc> and
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::Receive;
use super::body::{self, Held, Packing};
use super::decode::{Format, Rejected};
use super::error::{RETRY_AFTER_SECONDS, RequestError};
use super::response::{essence, protobuf};
use crate::otlp::Signal;

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The services of `--grpc`.
pub(crate) fn services(receive: Receive) -> Router {
    Router::new()
        .route(TRACES, post(async |State(receive), request| export(receive, Signal::Traces, request).await))
        .route(LOGS, post(async |State(receive), request| export(receive, Signal::Logs, request).await))
        .fallback(unknown)
        .with_state(receive)
}

/// Any other call, or what is no call at all.
async fn unknown(request: Request) -> Response {
    if !is_call(request.method(), request.headers()) {
        let text = "this is a gRPC endpoint: OTLP/HTTP and Zipkin go to the address of --http\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    let method = request.uri().path();
    Status::unimplemented(format!("there is no method {method:?} here: only {TRACES} and {LOGS}")).into_http()
}

fn is_call(method: &Method, headers: &HeaderMap) -> bool {
    let essence = essence(headers).to_ascii_lowercase();
    method == Method::POST && matches!(essence.as_str(), "application/grpc" | "application/grpc+proto")
}

async fn export(receive: Receive, signal: Signal, request: Request) -> Response {
    if !is_call(request.method(), request.headers()) {
        return unknown(request).await;
    }
    let mut response = match take(&receive, signal, request).await {
        Ok(rejected) => accepted(&protobuf(signal, &rejected)),
        Err(error) => status(receive.counted(&error)).into_http(),
    };
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip"));
    response
}

async fn take(receive: &Receive, signal: Signal, request: Request) -> Result<Rejected, RequestError> {
    let (head, body) = request.into_parts();
    receive.admit(&head.headers)?;
    let packing = Packing::of(&head.headers, ENCODING)?;
    let Held { bytes, permit } = body::read(&receive.budget, body).await?;
    let (is_packed, bytes) = message(bytes)?;
    let held = match (is_packed, packing) {
        (false, _) => Held { bytes, permit },
        (true, Packing::Gzip) => body::unpack(&receive.budget, Held { bytes, permit }).await?,
        (true, Packing::None) => {
            return Err(RequestError::Frame(
                "it is marked as compressed, but grpc-encoding does not say how",
            ));
        }
    };
    receive.commit(Format::Protobuf(signal), held).await
}

/// The one message of a unary call, and whether it is compressed.
fn message(mut body: Bytes) -> Result<(bool, Bytes), RequestError> {
    const PREFIX: usize = 5;
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk::<PREFIX>() else {
        return Err(RequestError::Frame("it is shorter than the prefix of a message"));
    };
    if rest.len() != u32::from_be_bytes([a, b, c, d]) as usize {
        return Err(RequestError::Frame("it does not have the length that its prefix says"));
    }
    let message = body.split_off(PREFIX);
    match flag {
        0 => Ok((false, message)),
        1 => Ok((true, message)),
        _ => Err(RequestError::Frame("its first byte is neither 0 nor 1")),
    }
}

fn accepted(message: &[u8]) -> Response {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    // A response is a few bytes, or a sentence.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(0));
    frame.put_slice(message);
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(frame.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::new(body)).into_response()
}

/// A client tries again after `RESOURCE_EXHAUSTED` only if a `RetryInfo` says so.
fn status(error: &RequestError) -> Status {
    let (_, code) = error.codes();
    if error.is_transient() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(RETRY_AFTER_SECONDS)));
        Status::with_error_details(code, error.message(), details)
    } else {
        Status::new(code, error.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_one_message() {
        let of = |bytes: &'static [u8]| message(Bytes::from_static(bytes));
        assert_eq!(of(b"\0\0\0\0\x02ab"), Ok((false, Bytes::from_static(b"ab"))));
        assert_eq!(of(b"\x01\0\0\0\0"), Ok((true, Bytes::new())));
        for broken in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02a", b"\0\0\0\0\x01ab", b"\x02\0\0\0\0"] {
            assert!(matches!(of(broken), Err(RequestError::Frame(_))), "{broken:?}");
        }
    }

    #[test]
    fn a_transient_refusal_says_when_to_try_again() {
        let full = status(&RequestError::Full { waiting_bytes: 7 });
        assert_eq!(full.code(), tonic::Code::ResourceExhausted);
        let delay = full.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay, Some(Duration::from_secs(RETRY_AFTER_SECONDS)));
        assert!(status(&RequestError::TooLong).get_details_retry_info().is_none());
    }
}
