//! OTLP/gRPC: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.
//!
//! The message stays bytes, and its response is read as one over HTTP: up to the same length, and with the same
//! meaning of a response that is not OTLP. A client of tonic would reject a long response to spans that the receiver has
//! accepted.

use std::future::poll_fn;
use std::time::Duration;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::super::body::BodyBudget;
use super::super::http::{
    CALL_TIMEOUT, CONNECT_TIMEOUT, Content, MAX_RESPONSE_BYTES, Reply, Success, USER_AGENT, gunzip,
    install_crypto, no_response_of_the_sink, within_timeout,
};
use super::http::{not_otlp, read};
use super::{success, without_method};
use crate::deliver::{Accepted, Chunk, DeliveryError, Denied};
use crate::error_chain::error_chain;
use crate::otlp::Signal;

/// The length of the prefix of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const EXPORT_TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const EXPORT_LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

#[derive(Debug)]
pub(crate) struct Grpc {
    channel: Channel,
    headers: HeaderMap,
    budget: BodyBudget,
}

impl Grpc {
    pub(super) fn new(url: &Url, headers: HeaderMap) -> anyhow::Result<Self> {
        install_crypto();
        let is_secure = url.scheme() == "grpcs";
        let port = url.port().unwrap_or(if is_secure { 443 } else { 4317 });
        let host = url.host_str().unwrap_or_default();
        let scheme = if is_secure { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{host}:{port}"))
            .context("the address is not that of a gRPC server")?
            .user_agent(USER_AGENT)?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_adaptive_window(true);
        if is_secure {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        Ok(Self { channel: endpoint.connect_lazy(), headers, budget: BodyBudget::new() })
    }

    pub(super) async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let ((), frame) = self.budget.make(PREFIX + chunk.bytes(), || Ok(((), frame(chunk)))).await?;
        // The endpoint's timeout ends with the headers of the response.
        within_timeout(self.call(chunk.signal(), frame)).await
    }

    async fn call(&self, signal: Signal, frame: Bytes) -> Result<Accepted, DeliveryError> {
        let mut channel = self.channel.clone();
        poll_fn(|context| channel.poll_ready(context))
            .await
            .map_err(|error| DeliveryError::Unavailable { reason: error_chain(&error), retry_after: None })?;
        let response = channel.call(self.request(signal, frame)).await;
        let response = response.map_err(|error| status_error(&Status::from_error(error.into()), signal))?;
        Response::read(response).await.map_err(|status| status_error(&status, signal))?.accepted(signal)
    }

    fn request(&self, signal: Signal, frame: Bytes) -> http::Request<Body> {
        let mut request = http::Request::new(Body::new(Full::new(frame)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static(path(signal));
        *request.headers_mut() = self.headers.clone();
        let timeout = format!("{}m", CALL_TIMEOUT.as_millis());
        for (name, value) in [
            (CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
            (TE, HeaderValue::from_static("trailers")),
            (ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip")),
            (TIMEOUT, HeaderValue::try_from(timeout).unwrap_or(HeaderValue::from_static("30S"))),
        ] {
            request.headers_mut().insert(name, value);
        }
        request
    }
}

fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => EXPORT_TRACES,
        Signal::Logs => EXPORT_LOGS,
    }
}

/// Returns a chunk as one message, with its prefix.
fn frame(chunk: &Chunk) -> Bytes {
    let bodies: Vec<Bytes> = chunk.bodies().collect();
    let length = bodies.iter().map(Bytes::len).sum::<usize>();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    // A chunk is far smaller than 4 GiB.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bodies.into_iter().for_each(|body| frame.put(body));
    frame.freeze()
}

/// A response, of which the body is read as far as it is needed.
struct Response {
    status: http::StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// Set if the body is longer.
    is_cut: bool,
    trailers: HeaderMap,
}

impl Response {
    /// Reads a response to its end, where its status is.
    async fn read(response: http::Response<Body>) -> Result<Self, Status> {
        let (head, mut body) = response.into_parts();
        let (mut bytes, mut is_cut, mut trailers) = (BytesMut::new(), false, HeaderMap::new());
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => {
                    let free = (PREFIX + MAX_RESPONSE_BYTES).saturating_sub(bytes.len());
                    is_cut |= data.len() > free;
                    bytes.extend_from_slice(data.get(..free).unwrap_or(&data));
                }
                Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        let (status, headers, body) = (head.status, head.headers, bytes.freeze());
        Ok(Self { status, headers, body, is_cut, trailers })
    }

    /// Returns the meaning of the response. A success has the status 0, so something that has no status was not sent by
    /// the receiver.
    fn accepted(self, signal: Signal) -> Result<Accepted, DeliveryError> {
        let status =
            Status::from_header_map(&self.trailers).or_else(|| Status::from_header_map(&self.headers));
        match status {
            Some(status) if status.code() == Code::Ok => self.message(),
            Some(status) => Err(status_error(&status, signal)),
            // A proxy (<https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html>).
            None if self.status != http::StatusCode::OK => {
                let Self { status, headers, body, is_cut, .. } = self;
                let reply = Reply::new(status, &headers, body, is_cut, MAX_RESPONSE_BYTES);
                let error = success(reply, signal, path(signal)).err();
                Err(error.unwrap_or_else(|| not_otlp("it has no grpc-status")))
            }
            None if Content::of(&self.headers) == Content::Html => {
                Err(no_response_of_the_sink(self.status, None))
            }
            None => Err(not_otlp("it has no grpc-status")),
        }
    }

    /// Reads the message of a success. A message that is compressed in an unknown way is not read.
    fn message(self) -> Result<Accepted, DeliveryError> {
        let Self { headers, mut body, mut is_cut, .. } = self;
        if body.is_empty() {
            return Ok(Accepted::default());
        }
        let Some((&[flag, ..], _)) = body.split_first_chunk::<PREFIX>() else {
            return Err(not_otlp("it is shorter than the prefix of a message"));
        };
        body = body.split_off(PREFIX);
        let content = match (flag, headers.get(ENCODING)) {
            (0, _) => Content::Protobuf,
            (1, Some(encoding)) if encoding.as_bytes().eq_ignore_ascii_case(b"gzip") => {
                (body, is_cut) = gunzip(&body, is_cut, MAX_RESPONSE_BYTES);
                Content::Protobuf
            }
            (1, Some(_)) => Content::Other,
            (1, None) => return Err(not_otlp("it is compressed without a grpc-encoding")),
            _ => return Err(not_otlp("its first byte is neither 0 nor 1")),
        };
        read(Success { content, body, is_cut })
    }
}

/// Returns the meaning of a status, by the OTLP/gRPC specification.
fn status_error(status: &Status, signal: Signal) -> DeliveryError {
    let name = format!("{:?}", status.code());
    let mut reason = if status.message().is_empty() {
        format!("gRPC {name}")
    } else {
        format!("gRPC {name}: {}", status.message())
    };
    if let Some(source) = std::error::Error::source(status) {
        reason = format!("{reason}: {}", error_chain(source));
    }
    let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    match status.code() {
        // Some servers report with these that a message is too large. A smaller one may be accepted.
        Code::ResourceExhausted | Code::OutOfRange
            if retry_after.is_none() && is_too_large(status.message()) =>
        {
            DeliveryError::Rejected { reason }
        }
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => DeliveryError::Unavailable { reason, retry_after },
        Code::Unauthenticated => DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Token },
        Code::Unimplemented if signal == Signal::Logs && retry_after.is_none() => {
            without_method(path(signal), &reason)
        }
        Code::PermissionDenied | Code::NotFound | Code::Unimplemented => {
            DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Resource }
        }
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition => {
            DeliveryError::Rejected { reason }
        }
        Code::Ok | Code::Unknown | Code::Internal => DeliveryError::Failed { reason, retry_after },
    }
}

fn is_too_large(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["larger than max", "too large", "message size", "exceeds limit"]
        .iter()
        .any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn each_code_has_its_error() {
        let kind_of = |status: &Status| match status_error(status, Signal::Logs) {
            DeliveryError::Unavailable { retry_after, .. } => ("later", retry_after),
            DeliveryError::AccessDenied { retry_after, .. } => ("denied", retry_after),
            DeliveryError::Failed { retry_after, .. } => ("perhaps", retry_after),
            DeliveryError::Rejected { .. } => ("never", None),
            DeliveryError::Unsupported { .. } => ("unsupported", None),
            other => panic!("{other:?}"),
        };
        for (code, message, kind) in [
            (Code::Unavailable, "", "later"),
            (Code::ResourceExhausted, "quota", "later"),
            (Code::ResourceExhausted, "grpc: received message larger than max (5 vs. 4)", "never"),
            (Code::OutOfRange, "Error, decoded message length too large: found 5 bytes", "never"),
            (Code::PermissionDenied, "", "denied"),
            (Code::Unimplemented, "", "unsupported"),
            (Code::InvalidArgument, "", "never"),
            (Code::Internal, "", "perhaps"),
            (Code::Unknown, "", "perhaps"),
        ] {
            assert_eq!(kind_of(&Status::new(code, message)), (kind, None), "{code:?} {message}");
        }
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
        for (code, kind) in [(Code::ResourceExhausted, "later"), (Code::Unimplemented, "denied")] {
            let status = Status::with_error_details(code, "message size quota", details.clone());
            assert_eq!(kind_of(&status), (kind, Some(Duration::from_secs(7))), "{code:?}");
        }
    }
}
