//! HTTP for the sinks that use it: the client, and the meaning of its responses.

mod error_body;

use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, RequestBuilder, Response, StatusCode};

use crate::deliver::{DeliveryError, Denied};
use crate::error_chain::error_chain;
use crate::truncate::truncate;
use error_body::ErrorBody;

/// The timeout of a call.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout of a new connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) const USER_AGENT: &str = concat!("logtracer-exporter/", env!("CARGO_PKG_VERSION"));

/// The size up to which a response is read.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// The length to which the error message of a response is truncated.
const MAX_REASON_BYTES: usize = 500;

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
    let content = Content::of(content_type);
    let body = read(response).await.map_err(|error| unavailable(error_chain(&error.without_url())))?;
    if status.is_success() {
        if content == Content::Html {
            let reason = format!("HTTP {status}: an HTML page, not a response of the sink");
            return Err(DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Call });
        }
        return Ok(Success { content, body });
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

/// Returns the meaning of an error status, by RFC 9110 and the OTLP/HTTP specification.
fn delivery_error(status: StatusCode, retry_after: Option<Duration>, message: &str) -> DeliveryError {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = truncate(&message, MAX_REASON_BYTES);
    let reason =
        if message.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {message}") };
    match status.as_u16() {
        401 => DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Token },
        408 | 425 | 429 | 502 | 503 | 504 => DeliveryError::Unavailable { reason, retry_after },
        // With `Retry-After` it is not about the access.
        403 | 404 if retry_after.is_none() => {
            DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Resource }
        }
        300..=399 | 403..=407 | 410 | 411 | 415 | 501 | 505 => {
            DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Call }
        }
        400..=499 => DeliveryError::Rejected { reason },
        _ => DeliveryError::Failed { reason, retry_after },
    }
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

async fn read(mut response: Response) -> reqwest::Result<Bytes> {
    let mut body = BytesMut::new();
    while body.len() < MAX_RESPONSE_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_RESPONSE_BYTES);
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_error() {
        let retry_after = Some(Duration::from_secs(3));
        for (codes, kind) in [
            (&[408, 429, 502, 503, 504][..], "later"),
            (&[401], "token"),
            (&[301, 308, 403, 404, 405, 407, 415, 501], "denied"),
            (&[400, 409, 413, 414, 422, 431, 451], "never"),
            (&[500, 507, 520], "perhaps"),
        ] {
            for code in codes {
                let error =
                    delivery_error(StatusCode::from_u16(*code).unwrap(), retry_after, " the\nmessage ");
                let (got, reason) = match error {
                    DeliveryError::Unavailable { reason, retry_after: Some(_) } => ("later", reason),
                    DeliveryError::AccessDenied { reason, retry_after: Some(_), denied: Denied::Token } => {
                        ("token", reason)
                    }
                    DeliveryError::AccessDenied { reason, retry_after: Some(_), denied: Denied::Call } => {
                        ("denied", reason)
                    }
                    DeliveryError::Failed { reason, retry_after: Some(_) } => ("perhaps", reason),
                    DeliveryError::Rejected { reason } => ("never", reason),
                    other => panic!("{other:?}"),
                };
                assert_eq!(got, kind, "{code}");
                assert!(
                    reason.starts_with(&format!("HTTP {code}")) && reason.ends_with(": the message"),
                    "{reason}"
                );
            }
        }
    }

    #[test]
    fn a_denied_resource_is_not_a_wrong_call() {
        let retry_after = Some(Duration::from_secs(3));
        for (code, retry_after, what) in [
            (403, None, Denied::Resource),
            (404, None, Denied::Resource),
            (403, retry_after, Denied::Call),
            (302, None, Denied::Call),
            (407, None, Denied::Call),
            (501, None, Denied::Call),
        ] {
            let error = delivery_error(StatusCode::from_u16(code).unwrap(), retry_after, "");
            assert!(
                matches!(error, DeliveryError::AccessDenied { denied: is, .. } if is == what),
                "{code}: {error:?}"
            );
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2015-10-21T07:27:00Z".parse().unwrap();
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:26:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_long_message_is_truncated_at_a_character() {
        let DeliveryError::Rejected { reason } =
            delivery_error(StatusCode::BAD_REQUEST, None, &"ä".repeat(5000))
        else {
            panic!("expected a rejection")
        };
        assert!(reason.len() < 600 && reason.ends_with('ä'));
    }
}
