//! OTLP/HTTP with protobuf: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.
//!
//! The responses to spans and to log records are the same in protobuf, so both are read as one to spans.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;

use super::super::body::BodyBudget;
use super::super::http;
use super::super::http::{Content, Success};
use crate::deliver::{Accepted, Chunk, DeliveryError, Denied, RejectedItems};
use crate::otlp::Signal;
use crate::truncate::truncate;

#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    traces: Url,
    logs: Url,
    headers: HeaderMap,
    budget: BodyBudget,
}

impl Http {
    pub(super) fn new(url: &Url, headers: HeaderMap) -> anyhow::Result<Self> {
        let (traces, logs) = (url_of(Signal::Traces, url), url_of(Signal::Logs, url));
        Ok(Self { client: http::client()?, traces, logs, headers, budget: BodyBudget::new() })
    }

    pub(super) async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let url = match chunk.signal() {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
        };
        let request = self.client.post(url.clone()).headers(self.headers.clone());
        let ((), body) = self.budget.make(chunk.bytes(), || Ok(((), chunk.body()))).await?;
        let reply = http::exchange(with_body(request, body)).await?;
        read(super::success(reply, chunk.signal(), url.path())?)
    }
}

/// Sends an export request, and reads its response.
pub(crate) async fn send(request: RequestBuilder, body: Bytes) -> Result<Accepted, DeliveryError> {
    read(http::send(with_body(request, body)).await?)
}

fn with_body(request: RequestBuilder, body: Bytes) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/x-protobuf").body(http::body(body))
}

/// Reads a success. Many receivers send no body, or a word. A body with a content type of OTLP has to be an OTLP response.
pub(super) fn read(Success { content, body, is_cut }: Success) -> Result<Accepted, DeliveryError> {
    let response = match content {
        _ if body.is_empty() => Ok(ExportTraceServiceResponse::default()),
        // Without its end, it cannot be decoded. The items are delivered nevertheless.
        Content::Protobuf if is_cut => Ok(protobuf_prefix(&body)),
        Content::Json if is_cut => Ok(json_prefix(&body)),
        Content::Protobuf => ExportTraceServiceResponse::decode(body).map_err(|error| error.to_string()),
        Content::Json => from_json(&body).map_err(|error| error.to_string()),
        Content::Html | Content::Other => Ok(ExportTraceServiceResponse::default()),
    };
    response.map(accepted).map_err(|error| not_otlp(&error))
}

/// Returns the error for a success that is not an OTLP response: something else has answered.
pub(super) fn not_otlp(error: &str) -> DeliveryError {
    let reason = format!("a success that is not an OTLP response: {error}");
    DeliveryError::AccessDenied { reason, retry_after: None, denied: Denied::Call }
}

fn partial(rejected_spans: i64, error_message: &str) -> ExportTraceServiceResponse {
    let error_message = truncate(error_message, MAX_MESSAGE_BYTES).to_owned();
    ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans, error_message }),
    }
}

/// Reads the number of rejected items from the beginning of a response, and the message as far as it is there.
fn protobuf_prefix(mut body: &[u8]) -> ExportTraceServiceResponse {
    let (mut rejected, mut message) = (0, String::new());
    // The fields of the message and of the partial success in it, which is its only field.
    if let (Ok((1, WireType::LengthDelimited)), Ok(_)) = (decode_key(&mut body), decode_varint(&mut body)) {
        while let Ok(key) = decode_key(&mut body) {
            let Ok(number) = decode_varint(&mut body) else { break };
            match key {
                (1, WireType::Varint) => rejected = number.cast_signed(),
                (_, WireType::LengthDelimited) => {
                    let len = body.len().min(usize::try_from(number).unwrap_or(usize::MAX));
                    let (text, rest) = body.split_at(len);
                    message =
                        String::from_utf8_lossy(text.get(..MAX_MESSAGE_BYTES).unwrap_or(text)).into_owned();
                    body = rest;
                }
                _ => break,
            }
        }
    }
    partial(rejected, &message)
}

/// Reads the number of rejected items from the beginning of a response as JSON.
fn json_prefix(body: &[u8]) -> ExportTraceServiceResponse {
    let text = String::from_utf8_lossy(body);
    let after = |name| text.split_once(name).map(|(_, rest)| rest);
    let value = after("\"rejectedSpans\"").or_else(|| after("\"rejectedLogRecords\"")).unwrap_or("");
    let digits: String =
        value.trim_start_matches([':', ' ', '"']).chars().take_while(char::is_ascii_digit).collect();
    partial(digits.parse().unwrap_or(0), "the response is too long")
}

/// The message of a partial success is truncated to this length.
const MAX_MESSAGE_BYTES: usize = 2048;

/// Reads an `ExportTraceServiceResponse` or `ExportLogsServiceResponse` as JSON, in which a 64-bit number is a string or a number.
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
        #[serde(alias = "rejectedLogRecords")]
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
fn accepted(response: ExportTraceServiceResponse) -> Accepted {
    let rejected = response.partial_success.filter(|partial| partial.rejected_spans > 0);
    let rejected = rejected.map(|partial| RejectedItems {
        items: u32::try_from(partial.rejected_spans).unwrap_or(u32::MAX),
        reason: partial.error_message,
    });
    Accepted { rejected, ..Default::default() }
}

/// Returns the URL for a signal. A URL without the path of a signal is a base URL, as for the OpenTelemetry SDKs.
fn url_of(signal: Signal, url: &Url) -> Url {
    const PATHS: [(Signal, &str); 2] = [(Signal::Traces, "/v1/traces"), (Signal::Logs, "/v1/logs")];
    let mut url = url.clone();
    let path = url.path().trim_end_matches('/');
    let base = PATHS.iter().find_map(|(_, end)| path.strip_suffix(end)).unwrap_or(path);
    let end = PATHS.iter().find_map(|(of, end)| (*of == signal).then_some(*end)).unwrap_or_default();
    let path = format!("{base}{end}");
    url.set_path(&path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_has_to_be_an_otlp_response() {
        let read = |content, body: &[u8], is_cut| {
            read(Success { content, body: Bytes::copy_from_slice(body), is_cut })
        };
        let response = |content, body: &[u8]| read(content, body, false);
        let rejected = |items, reason: &str| {
            let rejected = Some(RejectedItems { items, reason: reason.to_owned() });
            Ok(Accepted { rejected, ..Default::default() })
        };
        let nothing = br#"{"partialSuccess":{"rejectedSpans":null,"errorMessage":null}}"#;
        for body in [&b""[..], b"{}", b"null", br#"{"partialSuccess":{}}"#, nothing] {
            assert_eq!(response(Content::Json, body), Ok(Accepted::default()));
        }
        for (name, number) in
            [("rejectedSpans", "\"7\""), ("rejectedSpans", "7"), ("rejectedLogRecords", "7")]
        {
            let body = format!(r#"{{"partialSuccess":{{"{name}":{number},"errorMessage":"no"}}}}"#);
            assert_eq!(response(Content::Json, body.as_bytes()), rejected(7, "no"));
        }
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "no".to_owned() });
        let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        assert_eq!(response(Content::Protobuf, &body), rejected(3, "no"));
        assert_eq!(response(Content::Other, b"accepted"), Ok(Accepted::default()));
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "x".repeat(100_000) });
        let long = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"xxx"#;
        let logs = br#"{"partialSuccess":{"rejectedLogRecords":3,"errorMessage":"xxx"#;
        for (content, body) in
            [(Content::Protobuf, &long[..70_000]), (Content::Json, &json[..]), (Content::Json, &logs[..])]
        {
            let rejected = read(content, body, true).unwrap().rejected.unwrap();
            assert_eq!(rejected.items, 3);
            assert!((10..=2048).contains(&rejected.reason.len()));
        }
        for garbage in [&b"\xff\xff\xff"[..], b"{", b"\x0a", b"\x0a\x05\x1d"] {
            assert_eq!(read(Content::Protobuf, garbage, true), Ok(Accepted::default()));
        }
        for (content, body) in [(Content::Protobuf, b"<html>"), (Content::Json, b"<html>")] {
            assert!(matches!(
                response(content, body),
                Err(DeliveryError::AccessDenied { denied: Denied::Call, .. })
            ));
        }
    }

    #[test]
    fn the_url_is_a_base_or_complete() {
        for (given, traces, logs) in [
            ("http://tempo:4318", "http://tempo:4318/v1/traces", "http://tempo:4318/v1/logs"),
            ("http://tempo:4318/", "http://tempo:4318/v1/traces", "http://tempo:4318/v1/logs"),
            (
                "https://a.example/otlp?k=1",
                "https://a.example/otlp/v1/traces?k=1",
                "https://a.example/otlp/v1/logs?k=1",
            ),
            ("https://a.example/a/v1/traces", "https://a.example/a/v1/traces", "https://a.example/a/v1/logs"),
            ("https://a.example/v1/logs/", "https://a.example/v1/traces", "https://a.example/v1/logs"),
        ] {
            let of = |signal| url_of(signal, &Url::parse(given).unwrap()).to_string();
            assert_eq!((of(Signal::Traces), of(Signal::Logs)), (traces.to_owned(), logs.to_owned()));
        }
    }
}
