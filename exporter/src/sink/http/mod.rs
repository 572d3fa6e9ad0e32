//! HTTP for the sinks that use it: the client, and the meaning of its responses.

mod error_body;
mod status;

use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use jiff::Timestamp;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, RequestBuilder, Response};

use crate::deliver::{DeliveryError, Denied};
use crate::error_chain::error_chain;
use error_body::ErrorBody;
use status::{delivery_error, retry_after};

/// The timeout of a call.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout of a new connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) const USER_AGENT: &str = concat!("logtracer-exporter/", env!("CARGO_PKG_VERSION"));

/// The size up to which a response is read.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// Returns a client with its own connections.
pub(crate) fn client() -> anyhow::Result<Client> {
    install_crypto();
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        // A redirect could send the body to someone else.
        .redirect(Policy::none())
        .build()
        .context("failed to start the HTTP client of a sink")
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

/// Sends a request, and returns the response if it is a success.
pub(crate) async fn send(request: RequestBuilder) -> Result<Success, DeliveryError> {
    let unavailable = |reason| DeliveryError::Unavailable { reason, retry_after: None };
    let response = request.send().await.map_err(|error| unavailable(error_chain(&error.without_url())))?;
    let status = response.status();
    let retry_after = retry_after(response.headers(), Timestamp::now());
    let content_type = response.headers().get(CONTENT_TYPE);
    let content = match response.headers().get(CONTENT_ENCODING) {
        // It was not requested, and cannot be read.
        Some(encoding) if encoding != "identity" => Content::Other,
        _ => Content::of(content_type),
    };
    let (body, is_cut) =
        read(response).await.map_err(|error| unavailable(error_chain(&error.without_url())))?;
    if status.is_success() {
        if content == Content::Html {
            let reason = format!("HTTP {status}: an HTML page, not a response of the sink");
            return Err(DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Call });
        }
        return Ok(Success { content, body, is_cut });
    }
    let error = match content {
        Content::Protobuf => ErrorBody::read_protobuf(&body),
        _ => ErrorBody::read(&body),
    };
    Err(delivery_error(status, retry_after.or(error.retry_after), &error.message))
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
    fn of(content_type: Option<&HeaderValue>) -> Self {
        let essence =
            content_type.and_then(|value| value.to_str().ok()?.split(';').next()).unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Self::Protobuf,
            "application/json" => Self::Json,
            "text/html" | "application/xhtml+xml" => Self::Html,
            _ => Self::Other,
        }
    }
}

/// Returns the beginning of the body, and whether there is more.
async fn read(mut response: Response) -> reqwest::Result<(Bytes, bool)> {
    let mut body = BytesMut::new();
    while body.len() <= MAX_RESPONSE_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    let is_cut = body.len() > MAX_RESPONSE_BYTES;
    body.truncate(MAX_RESPONSE_BYTES);
    Ok((body.freeze(), is_cut))
}
