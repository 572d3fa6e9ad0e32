//! Decoding: the bytes of a request become a batch, which is protobuf and contains only valid spans.
//!
//! A protobuf body without invalid spans is stored unchanged: [`check::check`] reads it without decoding it.
//! JSON, and a protobuf body with invalid spans, is decoded and encoded again, with a permit for the memory that this takes.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde::de::DeserializeOwned;

use super::body::{BufferedBody, spawn_if_large};
use super::budget::Budget;
use super::error::RequestError;
use super::memory::Permit;
use super::zipkin::json as zipkin;
use crate::otlp::Signal;
use crate::otlp::check::{self, CheckResult, InvalidIds, MAX_DECODED_BYTES};

/// The format of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf(Signal),
    Json(Signal),
    /// A list of spans of Zipkin's v2 API.
    Zipkin,
}

/// A batch for the outbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ValidBatch {
    pub(super) signal: Signal,
    /// The export request of the signal as protobuf, with valid spans only.
    pub(super) body: Bytes,
    pub(super) items: u32,
    pub(super) rejected: RejectedSpans,
}

/// The number of invalid spans that were removed from a request, by reason.
pub(super) type RejectedSpans = BTreeMap<InvalidIds, u32>;

impl Format {
    pub(super) const fn signal(self) -> Signal {
        match self {
            Self::Protobuf(signal) | Self::Json(signal) => signal,
            Self::Zipkin => Signal::Traces,
        }
    }

    /// Returns the name for messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Protobuf(Signal::Traces) => "an ExportTraceServiceRequest in protobuf",
            Self::Protobuf(Signal::Logs) => "an ExportLogsServiceRequest in protobuf",
            Self::Json(Signal::Traces) => "an ExportTraceServiceRequest in JSON",
            Self::Json(Signal::Logs) => "an ExportLogsServiceRequest in JSON",
            Self::Zipkin => "a list of Zipkin v2 spans in JSON",
        }
    }

    fn malformed(self, error: impl fmt::Display) -> RequestError {
        RequestError::Malformed { expected: self.name(), error: error.to_string() }
    }
}

/// Turns a request into a batch. The returned permit is that of `body`.
pub(super) async fn decode(
    budget: &Budget,
    format: Format,
    body: BufferedBody,
) -> Result<(ValidBatch, Permit), RequestError> {
    let BufferedBody { bytes, permit } = body;
    let body = bytes.clone();
    let (valid_items, decoded_bytes) = spawn_if_large(bytes.len(), move || check_body(format, &body)).await?;
    if let Some(items) = valid_items {
        let rejected = RejectedSpans::new();
        return Ok((ValidBatch { signal: format.signal(), body: bytes, items, rejected }, permit));
    }
    let decoding_permit = budget.acquire_decoding(decoded_bytes).await?;
    let decoded = spawn_if_large(decoded_bytes, move || {
        let _until_it_is_decoded = decoding_permit;
        reencode(format, &bytes)
    });
    Ok((decoded.await?, permit))
}

/// Returns the number of items if the body can be stored unchanged, and the memory that decoding it takes otherwise.
fn check_body(format: Format, body: &[u8]) -> Result<(Option<u32>, usize), RequestError> {
    match format {
        Format::Protobuf(signal) => match check::check(signal, body) {
            CheckResult::Valid { items } => Ok((Some(items), 0)),
            // The decoder fails where the check fails, and returns the reason.
            CheckResult::NeedsDecoding { decoded_bytes } | CheckResult::Malformed { decoded_bytes } => {
                Ok((None, decoded_bytes))
            }
            result => Err(request_error(format, result)),
        },
        Format::Json(_) | Format::Zipkin => match check::json_decoded_bytes(body) {
            bytes if bytes > MAX_DECODED_BYTES => Err(RequestError::TooLargeDecoded),
            bytes => Ok((None, bytes)),
        },
    }
}

/// Converts a result other than [`CheckResult::Valid`].
fn request_error(format: Format, result: CheckResult) -> RequestError {
    match result {
        CheckResult::TooManyItems => RequestError::TooManyItems,
        CheckResult::TooLarge => RequestError::TooLargeDecoded,
        _ => format.malformed("values are nested too deeply"),
    }
}

/// Decodes a request, removes the invalid spans, and encodes the rest.
fn reencode(format: Format, body: &[u8]) -> Result<ValidBatch, RequestError> {
    let (body, rejected) = match format {
        Format::Protobuf(Signal::Traces) => reject_invalid(protobuf(format, body)?),
        Format::Json(Signal::Traces) => reject_invalid(json(format, body)?),
        Format::Zipkin => reject_invalid(zipkin::convert(body).map_err(|error| format.malformed(error))?),
        Format::Protobuf(Signal::Logs) => {
            (protobuf::<ExportLogsServiceRequest>(format, body)?.encode_to_vec(), RejectedSpans::new())
        }
        Format::Json(Signal::Logs) => {
            (json::<ExportLogsServiceRequest>(format, body)?.encode_to_vec(), RejectedSpans::new())
        }
    };
    // JSON can be nested more deeply than a reader of protobuf accepts.
    match check::check(format.signal(), &body) {
        CheckResult::Valid { items } => {
            Ok(ValidBatch { signal: format.signal(), body: body.into(), items, rejected })
        }
        result => Err(request_error(format, result)),
    }
}

fn protobuf<T: Message + Default>(format: Format, body: &[u8]) -> Result<T, RequestError> {
    T::decode(body).map_err(|error| format.malformed(error))
}

fn json<T: DeserializeOwned>(format: Format, body: &[u8]) -> Result<T, RequestError> {
    serde_json::from_slice(body).map_err(|error| format.malformed(error))
}

/// Removes the invalid spans, and the scopes and resources that are empty then. Returns the encoded rest.
fn reject_invalid(mut request: ExportTraceServiceRequest) -> (Vec<u8>, RejectedSpans) {
    let mut rejected = RejectedSpans::new();
    let mut keep = |span: &Span| match InvalidIds::check(&span.trace_id, &span.span_id, &span.parent_span_id)
    {
        None => true,
        Some(reason) => {
            *rejected.entry(reason).or_insert(0) += 1;
            false
        }
    };
    for resource_spans in &mut request.resource_spans {
        for scope_spans in &mut resource_spans.scope_spans {
            scope_spans.spans.retain(&mut keep);
        }
        resource_spans.scope_spans.retain(|scope_spans| !scope_spans.spans.is_empty());
    }
    request.resource_spans.retain(|resource_spans| !resource_spans.scope_spans.is_empty());
    (request.encode_to_vec(), rejected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::check::tests::{bombs, log_request, request};

    const PROTOBUF: Format = Format::Protobuf(Signal::Traces);
    const JSON: Format = Format::Json(Signal::Traces);

    /// Decodes a request as the handlers do.
    fn decode_now(format: Format, body: impl Into<Bytes>) -> Result<ValidBatch, RequestError> {
        let bytes = body.into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let budget = Budget::default();
            let permit = budget.acquire_body(bytes.len()).await?;
            decode(&budget, format, BufferedBody { bytes, permit }).await.map(|(decoded, _)| decoded)
        })
    }

    #[test]
    fn a_valid_protobuf_body_is_stored_unchanged() {
        let body = Bytes::from(request(3).encode_to_vec());
        let decoded = decode_now(PROTOBUF, body.clone()).unwrap();
        assert_eq!(
            decoded,
            ValidBatch {
                signal: Signal::Traces,
                body: body.clone(),
                items: 3,
                rejected: RejectedSpans::new()
            }
        );
        assert_eq!(decoded.body.as_ptr(), body.as_ptr(), "not copied");
    }

    #[test]
    fn invalid_spans_are_rejected_and_counted() {
        let mut bad = request(6);
        let spans = &mut bad.resource_spans[0].scope_spans[0].spans;
        spans[0].trace_id = vec![0; 16];
        spans[1].trace_id = vec![1; 15];
        spans[2].span_id = vec![];
        spans[3].span_id = vec![0; 8];
        spans[4].parent_span_id = vec![1; 3];
        let decoded = decode_now(PROTOBUF, bad.encode_to_vec()).unwrap();
        assert_eq!(decoded.items, 1);
        let reasons = [
            InvalidIds::TraceIdLength,
            InvalidIds::TraceIdZero,
            InvalidIds::SpanIdLength,
            InvalidIds::SpanIdZero,
            InvalidIds::ParentSpanIdLength,
        ];
        assert_eq!(decoded.rejected, reasons.map(|reason| (reason, 1)).into());
        let stored = ExportTraceServiceRequest::decode(decoded.body).unwrap();
        assert_eq!(stored.resource_spans[0].scope_spans[0].spans.len(), 1);
    }

    #[test]
    fn scopes_and_resources_with_only_invalid_spans_are_removed() {
        let mut bad = request(2);
        let mut other = request(1);
        other.resource_spans[0].scope_spans[0].spans[0].span_id.clear();
        bad.resource_spans[0].scope_spans.extend(other.resource_spans[0].scope_spans.clone());
        bad.resource_spans.extend(other.resource_spans);
        let decoded = decode_now(PROTOBUF, bad.encode_to_vec()).unwrap();
        assert_eq!((decoded.items, decoded.rejected), (2, [(InvalidIds::SpanIdLength, 2)].into()));
        let stored = ExportTraceServiceRequest::decode(decoded.body).unwrap();
        assert_eq!(stored, request(2));
    }

    #[test]
    fn json_becomes_protobuf() {
        let json = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
            "scopeSpans":[{"spans":[{"traceId":"463AC35C9F6413AD48485A3953BB6124","spanId":"00f067aa0ba902b7",
            "name":"GET /","kind":2,"startTimeUnixNano":"1000","endTimeUnixNano":2000,"newField":[1],
            "attributes":[{"key":"n","value":{"intValue":"7"}}]}]}]}]}"#;
        let decoded = decode_now(JSON, Bytes::from(json)).unwrap();
        assert_eq!(decoded.items, 1);
        let request = ExportTraceServiceRequest::decode(decoded.body).unwrap();
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(
            (span.name.as_str(), span.start_time_unix_nano, span.end_time_unix_nano),
            ("GET /", 1000, 2000)
        );
    }

    #[test]
    fn malformed_bodies_are_rejected_with_the_reason() {
        for (format, body) in [
            (PROTOBUF, &b"\xff\xff\xff"[..]),
            (PROTOBUF, b"{}"),
            (JSON, b""),
            (JSON, b"[]["),
            (JSON, br#"{"resourceSpans":7}"#),
            (JSON, br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}"#),
        ] {
            let error = decode_now(format, Bytes::from_static(body)).unwrap_err();
            assert!(
                matches!(&error, RequestError::Malformed { error, .. } if !error.is_empty()),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_body_that_is_too_large_when_decoded_is_rejected_in_every_format() {
        let is_too_large =
            |result| matches!(result, Err(RequestError::TooLargeDecoded | RequestError::TooManyItems));
        for mut bomb in bombs() {
            assert!(is_too_large(decode_now(PROTOBUF, bomb.clone())));
            // Preceded by an invalid span, so the body needs decoding.
            let mut bad = request(1);
            bad.resource_spans[0].scope_spans[0].spans[0].trace_id.clear();
            bomb.splice(0..0, bad.encode_to_vec());
            assert!(is_too_large(decode_now(PROTOBUF, bomb)));
        }
        let json = format!("{{\"resourceSpans\":[{{}}{}]}}", ",{}".repeat(1 << 20));
        assert_eq!(decode_now(JSON, json), Err(RequestError::TooLargeDecoded));
    }

    #[test]
    fn an_empty_request_is_valid() {
        assert_eq!(decode_now(PROTOBUF, Bytes::new()).unwrap().items, 0);
        assert_eq!(decode_now(JSON, Bytes::from_static(b"{}")).unwrap().items, 0);
    }

    #[test]
    fn deeply_nested_json_is_rejected_or_readable() {
        for depth in [5, 20, 30, 40, 60, 100, 5000] {
            let value = format!(
                "{}{{\"stringValue\":\"x\"}}{}",
                r#"{"arrayValue":{"values":["#.repeat(depth),
                "]}}".repeat(depth)
            );
            let json = format!(
                r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k","value":{value}}}]}}}}]}}"#
            );
            if let Ok(decoded) = decode_now(JSON, Bytes::from(json)) {
                ExportTraceServiceRequest::decode(decoded.body).unwrap();
            }
        }
    }

    #[test]
    fn log_records_are_read_in_both_encodings() {
        let body = Bytes::from(log_request(3).encode_to_vec());
        let decoded = decode_now(Format::Protobuf(Signal::Logs), body.clone()).unwrap();
        assert_eq!((decoded.items, decoded.signal), (3, Signal::Logs));
        assert_eq!(decoded.body.as_ptr(), body.as_ptr(), "not copied");

        let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"5","severityNumber":9,
            "traceId":"463AC35C9F6413AD48485A3953BB6124","spanId":"","body":{"stringValue":"first"}},
            {"body":{"stringValue":"without a trace"}}]}]}]}"#;
        let decoded = decode_now(Format::Json(Signal::Logs), json).unwrap();
        assert_eq!(decoded.items, 2);
        let request = ExportLogsServiceRequest::decode(decoded.body).unwrap();
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!((record.time_unix_nano, record.trace_id.len(), record.span_id.len()), (5, 16, 0));
    }
}
