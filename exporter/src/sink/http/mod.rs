//! What the sinks that speak HTTP share: the client, and what its answers mean.

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

/// How long a call may take, and a connection to come about.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) const USER_AGENT: &str = concat!("logtracer-exporter/", env!("CARGO_PKG_VERSION"));

/// Of an answer no more than this is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Of what an answer says no more than this is told.
const MAX_REASON_BYTES: usize = 500;

/// A client with its own connections.
pub(crate) fn client() -> anyhow::Result<Client> {
    install_crypto();
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        // A body that is sent to another place may be told to somebody else.
        .redirect(Policy::none())
        .build()
        .context("cannot start the HTTP client of a sink")
}

/// Says which cryptography the process uses for TLS; the libraries leave that open.
pub(crate) fn install_crypto() {
    // An error says that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A body that is let go of as soon as it is sent: others are kept for a second try until the answer comes, which is
/// much memory where many calls wait for theirs.
pub(crate) fn body(bytes: Bytes) -> Body {
    Body::wrap(Full::new(bytes))
}

/// Sends a request; its answer if that is a success.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, DeliveryError> {
    let unavailable = |reason| DeliveryError::Unavailable { reason, retry_after: None };
    let response = request.send().await.map_err(|error| unavailable(error_chain(&error.without_url())))?;
    let status = response.status();
    let retry_after = retry_after(response.headers(), Timestamp::now());
    let content_type = response.headers().get(CONTENT_TYPE);
    let content = Content::of(content_type);
    let body = read(response).await.map_err(|error| unavailable(error_chain(&error.without_url())))?;
    if status.is_success() {
        if content == Content::Html {
            let reason = format!("HTTP {status}: a page of HTML, as if somebody else had answered");
            return Err(DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Call });
        }
        return Ok(Answer { content, body });
    }
    let error = match content {
        Content::Protobuf => ErrorBody::read_protobuf(&body),
        _ => ErrorBody::read(&body),
    };
    Err(delivery_error(status, retry_after.or(error.retry_after), &error.message))
}

/// What a success says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) content: Content,
    pub(crate) body: Bytes,
}

/// How a body is written, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Protobuf,
    Json,
    /// For people, such as the page of a login.
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

/// What a status that is no success means, by RFC 9110 and the specification of OTLP/HTTP.
fn delivery_error(status: StatusCode, retry_after: Option<Duration>, said: &str) -> DeliveryError {
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = truncate(&said, MAX_REASON_BYTES);
    let reason = if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {said}") };
    match status.as_u16() {
        401 => DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Token },
        408 | 425 | 429 | 502 | 503 | 504 => DeliveryError::Unavailable { reason, retry_after },
        // A pause that is asked for is no answer about the access.
        403 | 404 if retry_after.is_none() => {
            DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Access }
        }
        300..=399 | 403..=407 | 410 | 411 | 415 | 501 | 505 => {
            DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Call }
        }
        400..=499 => DeliveryError::Rejected { reason },
        _ => DeliveryError::Failed { reason, retry_after },
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
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
    while body.len() < MAX_ANSWER_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_ANSWER_BYTES);
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart() {
        let retry_after = Some(Duration::from_secs(3));
        for (codes, kind) in [
            (&[408, 429, 502, 503, 504][..], "later"),
            (&[401], "token"),
            (&[301, 308, 403, 404, 405, 407, 415, 501], "denied"),
            (&[400, 409, 413, 414, 422, 431, 451], "never"),
            (&[500, 507, 520], "perhaps"),
        ] {
            for code in codes {
                let error = delivery_error(StatusCode::from_u16(*code).unwrap(), retry_after, " it\nsaid ");
                let (told, reason) = match error {
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
                assert_eq!(told, kind, "{code}");
                assert!(
                    reason.starts_with(&format!("HTTP {code}")) && reason.ends_with(": it said"),
                    "{reason}"
                );
            }
        }
    }

    #[test]
    fn a_lack_of_access_is_told_from_a_wrong_call() {
        let retry_after = Some(Duration::from_secs(3));
        for (code, retry_after, what) in [
            (403, None, Denied::Access),
            (404, None, Denied::Access),
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
    fn a_long_answer_is_cut_at_a_character() {
        let DeliveryError::Rejected { reason } =
            delivery_error(StatusCode::BAD_REQUEST, None, &"ä".repeat(5000))
        else {
            panic!("refused")
        };
        assert!(reason.len() < 600 && reason.ends_with('ä'));
    }
}
