//! Bodies of responses that report an error.

use std::time::Duration;

use prost::Message;
use serde::Deserialize;
use tonic_types::RpcStatusExt as _;

/// The message of an error, and when to retry.
pub(super) struct ErrorBody {
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl ErrorBody {
    /// Reads an error of Google's APIs. Anything else is taken as text.
    pub(super) fn read(body: &[u8]) -> Self {
        if let Ok(GoogleError { error }) = serde_json::from_slice(body) {
            let mut details = error.details.iter();
            let retry_after = details.find_map(|detail| seconds(detail.retry_delay.as_deref()?));
            return Self { message: error.message, retry_after };
        }
        Self { message: String::from_utf8_lossy(body).into_owned(), retry_after: None }
    }

    /// Reads a `google.rpc.Status`, which OTLP receivers send.
    pub(super) fn read_protobuf(body: &[u8]) -> Self {
        let status = tonic_types::Status::decode(body).unwrap_or_default();
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Self { message: status.message, retry_after }
    }
}

/// The error body of Google's APIs.
#[derive(Deserialize)]
struct GoogleError {
    error: GoogleErrorBody,
}

#[derive(Deserialize)]
struct GoogleErrorBody {
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Vec<Detail>,
}

/// A detail of `google.rpc`. Only `RetryInfo` is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    retry_delay: Option<String>,
}

/// Reads a `google.protobuf.Duration` in JSON, such as `"3.5s"`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt as _;

    #[test]
    fn the_retry_delay_of_google_is_read() {
        let body = r#"{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.Help"},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3.5s"}]}}"#;
        let error = ErrorBody::read(body.as_bytes());
        assert_eq!(
            (error.message.as_str(), error.retry_after),
            ("Quota exceeded", Some(Duration::from_millis(3500)))
        );
        for body in ["", "oops", "{}", r#"{"error":"oops"}"#] {
            let error = ErrorBody::read(body.as_bytes());
            assert_eq!((error.message.as_str(), error.retry_after), (body, None));
        }
    }

    #[test]
    fn the_retry_delay_of_an_otlp_receiver_is_read() {
        for retry_after in [None, Some(Duration::from_millis(3500))] {
            let mut details = tonic_types::ErrorDetails::new();
            if retry_after.is_some() {
                details.set_retry_info(retry_after);
            }
            let status = tonic::Status::with_error_details(tonic::Code::Unavailable, "busy", details);
            let error = ErrorBody::read_protobuf(status.details());
            assert_eq!((error.message.as_str(), error.retry_after), ("busy", retry_after));
        }
    }
}
