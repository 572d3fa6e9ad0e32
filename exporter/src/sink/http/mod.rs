//! HTTP for the sinks that use it: the client, and the meaning of its responses.

mod error_body;
mod status;

use std::io::Read;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::Full;
use jiff::Timestamp;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, ClientBuilder, RequestBuilder, Response, StatusCode};

use crate::deliver::{DeliveryError, Denied};
use crate::error_chain::error_chain;
use error_body::ErrorBody;
use status::retry_after;

/// The timeout of a call: a token, the connection, the request and the whole response. Shorter in unit tests.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// The timeout of a new connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) const USER_AGENT: &str = concat!("logtracer-exporter/", env!("CARGO_PKG_VERSION"));

/// The size up to which a response is read, unless a sink needs more of it.
pub(crate) const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// Returns a client with its own connections.
pub(crate) fn client() -> anyhow::Result<Client> {
    builder().build().context("failed to start the HTTP client of a sink")
}

/// Returns a client that uses no proxy.
pub(crate) fn direct_client() -> anyhow::Result<Client> {
    builder().no_proxy().build().context("failed to start an HTTP client")
}

fn builder() -> ClientBuilder {
    install_crypto();
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        // A redirect could send the body to someone else.
        .redirect(Policy::none())
}

/// Installs the cryptography that the process uses for TLS.
pub(crate) fn install_crypto() {
    // An error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Returns a body that is freed as soon as it is sent. `reqwest` keeps other bodies for a second attempt until the response
/// comes, which takes much memory when many calls are in flight.
pub(crate) fn body(bytes: Bytes) -> Body {
    Body::wrap(Full::new(bytes))
}

/// Ends a call after [`CALL_TIMEOUT`], whatever the server does.
pub(crate) async fn within_timeout<T>(
    call: impl Future<Output = Result<T, DeliveryError>>,
) -> Result<T, DeliveryError> {
    tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| {
        let reason = format!("no complete response within {} s", CALL_TIMEOUT.as_secs());
        Err(DeliveryError::Unavailable { reason, retry_after: None })
    })
}

/// Sends a request, and returns the response if it is a success.
pub(crate) async fn send(request: RequestBuilder) -> Result<Success, DeliveryError> {
    exchange(request).await?.success()
}

/// Sends a request, and returns the response with any status.
pub(crate) async fn exchange(request: RequestBuilder) -> Result<Reply, DeliveryError> {
    exchange_within(request, MAX_RESPONSE_BYTES).await
}

/// Sends a request, and returns the response with any status. At most `max_bytes` of its body are read.
pub(crate) async fn exchange_within(
    request: RequestBuilder,
    max_bytes: usize,
) -> Result<Reply, DeliveryError> {
    let unavailable = |reason| DeliveryError::Unavailable { reason, retry_after: None };
    let response = request.send().await.map_err(|error| unavailable(error_chain(&error.without_url())))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let (body, is_cut) =
        read(response, max_bytes).await.map_err(|error| unavailable(error_chain(&error.without_url())))?;
    Ok(Reply::new(status, &headers, body, is_cut, max_bytes))
}

/// A response with any status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    content: Content,
    /// The beginning of the body, without its compression.
    pub(crate) body: Bytes,
    /// Set if the body is longer, or the rest cannot be read.
    pub(crate) is_cut: bool,
    /// Of the header `Retry-After`.
    retry_after: Option<Duration>,
}

impl Reply {
    /// Returns a response, of which at most `max_bytes` are kept after the decompression.
    pub(crate) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
        is_cut: bool,
        max_bytes: usize,
    ) -> Self {
        let (content, body, is_cut) = decode(headers, body, is_cut, max_bytes);
        Self { status, content, body, is_cut, retry_after: retry_after(headers, Timestamp::now()) }
    }

    /// Returns the response if it is a success.
    pub(crate) fn success(self) -> Result<Success, DeliveryError> {
        if !self.status.is_success() {
            return Err(self.error());
        }
        let Self { status, content, body, is_cut, retry_after } = self;
        match content {
            Content::Html => Err(no_response_of_the_sink(status, retry_after)),
            content => Ok(Success { content, body, is_cut }),
        }
    }

    /// Returns when to retry, by the header or by the body of an error.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after.or_else(|| self.error_body().retry_after)
    }

    /// Returns whether the server has nothing at this path, or not for this method. With `Retry-After`, it may have it later.
    pub(crate) fn is_without_method(&self) -> bool {
        matches!(self.status.as_u16(), 404 | 405 | 501) && self.retry_after.is_none()
    }

    /// Returns the meaning of an error response, whose body can be cut or anything else.
    fn error(&self) -> DeliveryError {
        let body = self.error_body();
        status::delivery_error(self.status, self.retry_after.or(body.retry_after), &body.message)
    }

    fn error_body(&self) -> ErrorBody {
        match self.content {
            Content::Protobuf => ErrorBody::read_protobuf(&self.body),
            _ => ErrorBody::read(&self.body),
        }
    }
}

/// Returns the error for a success with a page for people.
pub(crate) fn no_response_of_the_sink(status: StatusCode, retry_after: Option<Duration>) -> DeliveryError {
    let reason = format!("HTTP {status}: an HTML page, not a response of the sink");
    DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Call }
}

/// Decompresses a body. No compression was requested, and one that is not known leaves nothing to read.
fn decode(headers: &HeaderMap, body: Bytes, is_cut: bool, max_bytes: usize) -> (Content, Bytes, bool) {
    let content = Content::of(headers);
    let encoding = headers.get(CONTENT_ENCODING).map_or(&b"identity"[..], HeaderValue::as_bytes);
    match encoding.to_ascii_lowercase().as_slice() {
        b"identity" | b"" => (content, body, is_cut),
        b"gzip" | b"x-gzip" => {
            let (body, is_cut) = gunzip(&body, is_cut, max_bytes);
            (content, body, is_cut)
        }
        _ if content == Content::Html => (content, Bytes::new(), is_cut),
        _ => (Content::Other, Bytes::new(), is_cut),
    }
}

/// Decompresses the beginning of a body. Returns it, and whether there is more or the rest cannot be read.
pub(crate) fn gunzip(body: &[u8], is_cut: bool, max_bytes: usize) -> (Bytes, bool) {
    let mut bytes = Vec::new();
    let mut decoder = MultiGzDecoder::new(body).take(max_bytes as u64 + 1);
    let result = decoder.read_to_end(&mut bytes);
    let is_cut = is_cut || result.is_err() || bytes.len() > max_bytes;
    bytes.truncate(max_bytes);
    (bytes.into(), is_cut)
}

/// A successful response.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) content: Content,
    pub(crate) body: Bytes,
    /// Set if the body is longer than what is read of it.
    pub(crate) is_cut: bool,
}

/// The format of a body, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Protobuf,
    Json,
    /// A page for people, such as a login.
    Html,
    Other,
}

impl Content {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let essence = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok()?.split(';').next())
            .unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Self::Protobuf,
            "application/json" => Self::Json,
            "text/html" | "application/xhtml+xml" => Self::Html,
            _ => Self::Other,
        }
    }
}

/// Returns the beginning of the body, and whether there is more.
pub(crate) async fn read(mut response: Response, max_bytes: usize) -> reqwest::Result<(Bytes, bool)> {
    let mut body = BytesMut::new();
    while body.len() <= max_bytes
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    let is_cut = body.len() > max_bytes;
    body.truncate(max_bytes);
    Ok((body.freeze(), is_cut))
}
