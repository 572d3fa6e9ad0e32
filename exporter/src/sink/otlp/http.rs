//! OTLP/HTTP with protobuf: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.
//!
//! The responses to spans and to log records are the same in protobuf, so both are read as one to spans.

use std::borrow::Cow;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::encoding::{WireType, decode_key, decode_varint};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder, Url};

use super::super::body::BodyBudget;
use super::super::http;
use super::super::http::{Content, Success};
use crate::deliver::{Accepted, Chunk, DeliveryError, Denied, RejectedItems};
use crate::otlp::Signal;
use crate::otlp::json::{self, Reader, Token};
use crate::otlp::wire::{Value, read_field};
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
        Content::Protobuf => from_protobuf(&body).ok_or_else(|| "malformed protobuf".to_owned()),
        Content::Json => from_json(&body),
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

/// Reads an `ExportTraceServiceResponse` or `ExportLogsServiceResponse`. A message that is not UTF-8, such as one that was
/// cut, gets U+FFFD: the items are delivered whatever it says.
fn from_protobuf(body: &[u8]) -> Option<ExportTraceServiceResponse> {
    let mut response = ExportTraceServiceResponse::default();
    for_each_field(body, |number, value| match (number, value) {
        (1, Value::Bytes(fields)) => {
            let (mut rejected, mut message) = (0, Cow::Borrowed(""));
            for_each_field(fields, |number, value| {
                match (number, value) {
                    (1, Value::Varint(number)) => rejected = number.cast_signed(),
                    (2, Value::Bytes(text)) => message = String::from_utf8_lossy(text),
                    (1 | 2, _) => return None,
                    _ => {}
                }
                Some(())
            })?;
            response = partial(rejected, &message);
            Some(())
        }
        (1, _) => None,
        _ => Some(()),
    })?;
    Some(response)
}

/// Calls `each` with the fields of a message. Returns `None` if it is malformed, or if `each` does.
fn for_each_field<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(u32, Value<'a>) -> Option<()>,
) -> Option<()> {
    while !message.is_empty() {
        let (number, value) = read_field(&mut message).ok()?;
        each(number, value)?;
    }
    Some(())
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
    let after = |name: String| text.split_once(&name).map(|(_, rest)| rest);
    let value = REJECTED.iter().find_map(|name| after(format!("\"{name}\""))).unwrap_or("");
    let digits: String =
        value.trim_start_matches([':', ' ', '"']).chars().take_while(char::is_ascii_digit).collect();
    partial(digits.parse().unwrap_or(0), "the response is too long")
}

/// The message of a partial success is truncated to this length.
const MAX_MESSAGE_BYTES: usize = 2048;

/// The names of the number of rejected items: those of ProtoJSON, and those in the definition of the messages.
const REJECTED: [&str; 4] = ["rejectedSpans", "rejected_spans", "rejectedLogRecords", "rejected_log_records"];

/// Reads an `ExportTraceServiceResponse` or `ExportLogsServiceResponse` by the rules of ProtoJSON. A text is mended, as in
/// protobuf.
fn from_json(body: &[u8]) -> Result<ExportTraceServiceResponse, String> {
    let text = json::text(body);
    let mut reader = Reader::new(&text).map_err(|error| error.to_string())?;
    let mut response = ExportTraceServiceResponse::default();
    match reader.token() {
        Token::Object => {}
        Token::Null => return Ok(response),
        _ => return Err("expected an object".to_owned()),
    }
    while let Some(key) = reader.key() {
        if !matches!(&*key.word(), "partialSuccess" | "partial_success") {
            reader.skip();
        } else if let Some(partial) = partial_success(&mut reader)? {
            response = partial;
        }
    }
    Ok(response)
}

/// Reads a partial success, or nothing for `null`.
fn partial_success(reader: &mut Reader<'_>) -> Result<Option<ExportTraceServiceResponse>, String> {
    match reader.token() {
        Token::Object => {}
        Token::Null => return Ok(None),
        _ => return Err("the partial success is not an object".to_owned()),
    }
    let (mut rejected, mut message) = (0, Cow::Borrowed(""));
    while let Some(key) = reader.key() {
        let key = key.word();
        if REJECTED.contains(&&*key) {
            let token = reader.token();
            if matches!(token, Token::Object | Token::Array) {
                reader.leave();
            }
            rejected = json::integer(&token).unwrap_or(0);
        } else if matches!(&*key, "errorMessage" | "error_message") {
            match reader.token() {
                Token::Text(text) => message = text.text(),
                Token::Object | Token::Array => reader.leave(),
                _ => {}
            }
        } else {
            reader.skip();
        }
    }
    Ok(Some(partial(rejected, &message)))
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
    use prost::Message;

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
        for (name, number) in [
            ("rejectedSpans", "\"7\""),
            ("rejectedSpans", "7"),
            ("rejectedLogRecords", "7"),
            ("rejected_spans", "7.0"),
            ("rejected_log_records", "\"7e0\""),
        ] {
            let body = format!(r#"{{"partialSuccess":{{"{name}":{number},"errorMessage":"no"}}}}"#);
            assert_eq!(response(Content::Json, body.as_bytes()), rejected(7, "no"));
        }
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "no".to_owned() });
        let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        assert_eq!(response(Content::Protobuf, &body), rejected(3, "no"));
        assert_eq!(response(Content::Other, b"accepted"), Ok(Accepted::default()));
        // A message that was cut within a character, or that repeats what is not text.
        for (content, body) in [
            (Content::Protobuf, &b"\x0a\x09\x08\x03\x12\x05cut \xc3"[..]),
            (Content::Protobuf, b"\x0a\x09\x12\x05cut \xff\x08\x03"),
            (Content::Json, br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"cut \ud83d"}}"#),
            (Content::Json, b"{\"partial_success\":{\"rejected_spans\":3,\"error_message\":\"cut \xff\"}}"),
        ] {
            assert_eq!(response(content, body), rejected(3, "cut \u{fffd}"));
        }
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
        for (content, body) in [
            (Content::Protobuf, &b"<html>"[..]),
            (Content::Protobuf, b"\x08\x01"),
            (Content::Protobuf, b"\x0a\x02\x0d\x01"),
            (Content::Json, b"<html>"),
            (Content::Json, b"[]"),
            (Content::Json, br#"{"partialSuccess":7}"#),
        ] {
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
