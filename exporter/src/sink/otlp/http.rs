//! OTLP/HTTP with protobuf: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;

use super::super::http;
use super::super::http::{Content, Success};
use crate::deliver::{Accepted, Chunk, DeliveryError, Denied, RejectedItems};

#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

impl Http {
    pub(super) fn new(url: &Url, headers: HeaderMap) -> anyhow::Result<Self> {
        Ok(Self { client: http::client()?, url: traces(url), headers })
    }

    pub(super) async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone());
        send(request, chunk.body()).await
    }
}

/// Sends an export request, and reads its response.
pub(crate) async fn send(request: RequestBuilder, body: Bytes) -> Result<Accepted, DeliveryError> {
    let request = request.header(CONTENT_TYPE, "application/x-protobuf").body(http::body(body));
    read(http::send(request).await?)
}

/// Reads a success. Many receivers send no body, or a word. A body with a content type of OTLP has to be an OTLP response.
fn read(Success { content, body }: Success) -> Result<Accepted, DeliveryError> {
    let response = match content {
        _ if body.is_empty() => Ok(ExportTraceServiceResponse::default()),
        Content::Protobuf => ExportTraceServiceResponse::decode(body).map_err(|error| error.to_string()),
        Content::Json => from_json(&body).map_err(|error| error.to_string()),
        Content::Html | Content::Other => Ok(ExportTraceServiceResponse::default()),
    };
    response.map(accepted).map_err(|error| {
        let reason = format!("a success that is not an OTLP response: {error}");
        DeliveryError::AccessDenied { reason, retry_after: None, denied: Denied::Call }
    })
}

/// Reads an `ExportTraceServiceResponse` as JSON, in which a 64-bit number is a string or a number.
fn from_json(body: &[u8]) -> serde_json::Result<ExportTraceServiceResponse> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Response {
        partial_success: Option<PartialSuccess>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct PartialSuccess {
        rejected_spans: serde_json::Value,
        error_message: Option<String>,
    }
    let response: Option<Response> = serde_json::from_slice(body)?;
    let partial_success = response.and_then(|response| response.partial_success);
    let partial_success = partial_success.map(|partial| {
        let rejected = &partial.rejected_spans;
        let number = rejected.as_i64().or_else(|| rejected.as_str()?.parse().ok());
        ExportTracePartialSuccess {
            rejected_spans: number.unwrap_or(0),
            error_message: partial.error_message.unwrap_or_default(),
        }
    });
    Ok(ExportTraceServiceResponse { partial_success })
}

/// Returns what the receiver has accepted and rejected.
pub(super) fn accepted(response: ExportTraceServiceResponse) -> Accepted {
    let rejected = response.partial_success.filter(|partial| partial.rejected_spans > 0);
    Accepted {
        rejected: rejected.map(|partial| RejectedItems {
            items: u32::try_from(partial.rejected_spans).unwrap_or(u32::MAX),
            reason: partial.error_message,
        }),
    }
}

/// Returns the URL for traces. A URL without that path is a base URL, as for the OpenTelemetry SDKs.
fn traces(url: &Url) -> Url {
    let mut url = url.clone();
    let path = url.path().trim_end_matches('/');
    if !path.ends_with("/v1/traces") {
        let path = format!("{path}/v1/traces");
        url.set_path(&path);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_has_to_be_an_otlp_response() {
        let response = |content, body: &[u8]| read(Success { content, body: Bytes::copy_from_slice(body) });
        let rejected = |items, reason: &str| {
            Ok(Accepted { rejected: Some(RejectedItems { items, reason: reason.to_owned() }) })
        };
        let nothing = br#"{"partialSuccess":{"rejectedSpans":null,"errorMessage":null}}"#;
        for body in [&b""[..], b"{}", b"null", br#"{"partialSuccess":{}}"#, nothing] {
            assert_eq!(response(Content::Json, body), Ok(Accepted::default()));
        }
        for number in ["\"7\"", "7"] {
            let body = format!(r#"{{"partialSuccess":{{"rejectedSpans":{number},"errorMessage":"no"}}}}"#);
            assert_eq!(response(Content::Json, body.as_bytes()), rejected(7, "no"));
        }
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "no".to_owned() });
        let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        assert_eq!(response(Content::Protobuf, &body), rejected(3, "no"));
        assert_eq!(response(Content::Other, b"accepted"), Ok(Accepted::default()));
        for (content, body) in [(Content::Protobuf, b"<html>"), (Content::Json, b"<html>")] {
            assert!(matches!(
                response(content, body),
                Err(DeliveryError::AccessDenied { denied: Denied::Call, .. })
            ));
        }
    }

    #[test]
    fn the_url_is_a_base_or_complete() {
        for (given, complete) in [
            ("http://tempo:4318", "http://tempo:4318/v1/traces"),
            ("http://tempo:4318/", "http://tempo:4318/v1/traces"),
            ("https://otlp.example/otlp?key=1", "https://otlp.example/otlp/v1/traces?key=1"),
            ("https://otlp.example/a/v1/traces", "https://otlp.example/a/v1/traces"),
        ] {
            assert_eq!(traces(&Url::parse(given).unwrap()).as_str(), complete);
        }
    }
}
