//! OTLP/gRPC: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.

use std::time::Duration;

use anyhow::Context;
use bytes::{Buf, BufMut, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::Url;
use reqwest::header::HeaderMap;
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::super::body::BodyBudget;
use super::super::http::{CALL_TIMEOUT, CONNECT_TIMEOUT, USER_AGENT, install_crypto};
use super::http::{accepted, not_otlp};
use crate::deliver::{Accepted, Chunk, DeliveryError, Denied};
use crate::error_chain::error_chain;

/// The size of a response. The delivery is not repeated because a long error message exceeds the default of 4 MiB.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[derive(Debug)]
pub(crate) struct Grpc {
    channel: Channel,
    headers: HeaderMap,
    budget: BodyBudget,
    /// Of a whole call.
    timeout: Duration,
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
        Ok(Self {
            channel: endpoint.connect_lazy(),
            headers,
            budget: BodyBudget::new(),
            timeout: CALL_TIMEOUT,
        })
    }

    pub(super) async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let ((), body) = self.budget.make(chunk.bytes(), || Ok(((), chunk.body()))).await?;
        // The endpoint's timeout ends with the headers of the response.
        let call = tokio::time::timeout(self.timeout, self.call(body)).await;
        call.unwrap_or_else(|_| {
            let reason = format!("no complete response within {} s", self.timeout.as_secs_f64());
            Err(DeliveryError::Unavailable { reason, retry_after: None })
        })
    }

    async fn call(&self, body: Bytes) -> Result<Accepted, DeliveryError> {
        let mut client = Client::new(self.channel.clone()).max_decoding_message_size(MAX_RESPONSE_BYTES);
        client
            .ready()
            .await
            .map_err(|error| DeliveryError::Unavailable { reason: error_chain(&error), retry_after: None })?;
        let mut request = Request::new(body);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        request.set_timeout(self.timeout);
        let response = client
            .unary(request, PathAndQuery::from_static(EXPORT), Raw)
            .await
            .map_err(|status| delivery_error(&status))?;
        match ExportTraceServiceResponse::decode(response.into_inner()) {
            Ok(response) => Ok(accepted(response)),
            Err(error) => Err(not_otlp(&error.to_string())),
        }
    }
}

/// Returns the meaning of a status, by the OTLP/gRPC specification.
fn delivery_error(status: &Status) -> DeliveryError {
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
        Code::PermissionDenied | Code::Unimplemented | Code::NotFound => {
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

/// A codec for messages that are encoded already.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{Origin, Slice};
    use crate::otlp::Signal;
    use tonic_types::ErrorDetails;

    /// A body that never ends, without a byte.
    struct Endless;

    impl axum::body::HttpBody for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    /// The headers of a response of gRPC arrive, and then nothing.
    #[tokio::test]
    async fn a_response_without_an_end_is_a_timeout() {
        use axum::body::Body;
        use axum::http::Response;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endless = async || {
            let body = Body::new(Endless);
            Response::builder().header("content-type", "application/grpc").body(body).unwrap()
        };
        let server = tokio::spawn(axum::serve(listener, axum::Router::new().fallback(endless)).into_future());
        let url = Url::parse(&format!("grpc://{address}")).unwrap();
        let timeout = Duration::from_millis(300);
        let grpc = Grpc { timeout, ..Grpc::new(&url, HeaderMap::new()).unwrap() };
        let chunk = Chunk::new(Signal::Traces, Slice::new(Origin::Batch(1), 1, Bytes::new()));
        let result = tokio::time::timeout(Duration::from_secs(20), grpc.deliver(&chunk)).await;
        let reason = "no complete response within 0.3 s".to_owned();
        assert_eq!(result.unwrap(), Err(DeliveryError::Unavailable { reason, retry_after: None }));
        server.abort();
    }

    #[test]
    fn each_code_has_its_error() {
        let kind_of = |status: &Status| match delivery_error(status) {
            DeliveryError::Unavailable { retry_after, .. } => ("later", retry_after),
            DeliveryError::AccessDenied { retry_after, .. } => ("denied", retry_after),
            DeliveryError::Failed { retry_after, .. } => ("perhaps", retry_after),
            DeliveryError::Rejected { .. } => ("never", None),
            other => panic!("{other:?}"),
        };
        for (code, message, kind) in [
            (Code::Unavailable, "", "later"),
            (Code::ResourceExhausted, "quota", "later"),
            (Code::ResourceExhausted, "grpc: received message larger than max (5 vs. 4)", "never"),
            (Code::OutOfRange, "Error, decoded message length too large: found 5 bytes", "never"),
            (Code::PermissionDenied, "", "denied"),
            (Code::Unimplemented, "", "denied"),
            (Code::InvalidArgument, "", "never"),
            (Code::Internal, "", "perhaps"),
            (Code::Unknown, "", "perhaps"),
        ] {
            assert_eq!(kind_of(&Status::new(code, message)), (kind, None), "{code:?} {message}");
        }
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
        let status = Status::with_error_details(Code::ResourceExhausted, "message size quota", details);
        assert_eq!(kind_of(&status), ("later", Some(Duration::from_secs(7))));
    }
}
