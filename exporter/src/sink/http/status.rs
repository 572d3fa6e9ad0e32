//! The meaning of a response's error status: unavailable, access denied, failed, or rejected.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::deliver::{DeliveryError, Denied};
use crate::truncate::truncate;

/// The length to which the error message of a response is truncated.
const MAX_REASON_BYTES: usize = 500;

/// Returns the meaning of an error status, by RFC 9110 and the OTLP/HTTP specification.
pub(super) fn delivery_error(
    status: StatusCode,
    retry_after: Option<Duration>,
    message: &str,
) -> DeliveryError {
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
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
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
