//! OTLP/gRPC: the unary calls `Export` of OpenTelemetry's `TraceService` and `LogsService`.
//!
//! The message is taken out of its frame and stays bytes, as over HTTP. A generated service would decode every span, so
//! it could neither limit the memory for that nor store the message unchanged. Statuses and their details are tonic's.
//!
//! See <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc> and
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::net::IpAddr;
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

use super::Receiver;
use super::body::{self, BufferedBody, Compression};
use super::decode::Format;
use super::error::{RETRY_AFTER_SECONDS, RequestError};
use super::gzip;
use super::response::{encode_response, media_type};
use crate::otlp::Signal;
use crate::otlp::left_out::LeftOut;

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Returns the services of `--grpc`, which listens on this address.
pub(crate) fn services(receiver: Receiver, address: IpAddr) -> Router {
    Router::new()
        .route(TRACES, post(async |State(receiver), request| export(receiver, Signal::Traces, request).await))
        .route(LOGS, post(async |State(receiver), request| export(receiver, Signal::Logs, request).await))
        .fallback(unknown_method)
        .with_state(receiver.listening_on(address))
}

/// Responds to another method, and to requests that are not gRPC.
async fn unknown_method(State(receiver): State<Receiver>, request: Request) -> Response {
    if !is_grpc(request.method(), request.headers()) {
        let got = media_type(request.headers());
        receiver.count(&RequestError::ContentType { got, expected: "application/grpc" });
        let text = "this is a gRPC endpoint: send OTLP/HTTP and Zipkin to the address of --http\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    receiver.count(&RequestError::NotFound);
    let method = request.uri().path();
    Status::unimplemented(format!("unknown method {method:?}: use {TRACES} or {LOGS}")).into_http()
}

fn is_grpc(method: &Method, headers: &HeaderMap) -> bool {
    let media_type = media_type(headers).to_ascii_lowercase();
    method == Method::POST && matches!(media_type.as_str(), "application/grpc" | "application/grpc+proto")
}

async fn export(receiver: Receiver, signal: Signal, request: Request) -> Response {
    if !is_grpc(request.method(), request.headers()) {
        return unknown_method(State(receiver), request).await;
    }
    let mut response = match receive(&receiver, signal, request).await {
        Ok(left_out) => accepted(&encode_response(signal, &left_out)),
        Err(error) => status(receiver.count(&error)).into_http(),
    };
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip"));
    response
}

async fn receive(receiver: &Receiver, signal: Signal, request: Request) -> Result<LeftOut, RequestError> {
    let (head, body) = request.into_parts();
    receiver.check_head(&head)?;
    let compression = Compression::from_header(&head.headers, ENCODING)?;
    let BufferedBody { bytes, permit } = body::read(&receiver.budget, body).await?;
    let (is_compressed, bytes) = message(bytes)?;
    let body = BufferedBody { bytes, permit };
    let body = match (is_compressed, compression) {
        (false, _) => body,
        (true, Compression::Gzip) => gzip::decompress(body).await?,
        (true, Compression::None) => {
            return Err(RequestError::GrpcFrame("it is compressed, but grpc-encoding is absent"));
        }
    };
    receiver.commit(Format::Protobuf(signal), body).await
}

/// Returns the only message of a unary call, preceded by true if it is compressed.
fn message(mut body: Bytes) -> Result<(bool, Bytes), RequestError> {
    const PREFIX: usize = 5;
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk::<PREFIX>() else {
        return Err(RequestError::GrpcFrame("it is shorter than a length prefix"));
    };
    if rest.len() != u32::from_be_bytes([a, b, c, d]) as usize {
        return Err(RequestError::GrpcFrame("its length differs from its prefix"));
    }
    let message = body.split_off(PREFIX);
    match flag {
        0 => Ok((false, message)),
        1 => Ok((true, message)),
        _ => Err(RequestError::GrpcFrame("its first byte is neither 0 nor 1")),
    }
}

fn accepted(message: &[u8]) -> Response {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    // A response is short: at most two sentences.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(0));
    frame.put_slice(message);
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(frame.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::new(body)).into_response()
}

/// Builds the status. A client retries after `RESOURCE_EXHAUSTED` only if the details contain a `RetryInfo`.
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
    fn a_frame_contains_one_message() {
        let of = |bytes: &'static [u8]| message(Bytes::from_static(bytes));
        assert_eq!(of(b"\0\0\0\0\x02ab"), Ok((false, Bytes::from_static(b"ab"))));
        assert_eq!(of(b"\x01\0\0\0\0"), Ok((true, Bytes::new())));
        for invalid in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02a", b"\0\0\0\0\x01ab", b"\x02\0\0\0\0"] {
            assert!(matches!(of(invalid), Err(RequestError::GrpcFrame(_))), "{invalid:?}");
        }
    }

    #[test]
    fn a_transient_error_contains_the_time_to_retry_after() {
        let full = status(&RequestError::OutboxFull { waiting_bytes: 7 });
        assert_eq!(full.code(), tonic::Code::ResourceExhausted);
        let delay = full.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay, Some(Duration::from_secs(RETRY_AFTER_SECONDS)));
        assert!(status(&RequestError::TooLong).get_details_retry_info().is_none());
    }
}
