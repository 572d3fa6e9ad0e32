//! Decoding: the bytes of a request become a batch, which is protobuf and contains only valid spans.
//!
//! A valid protobuf body is stored unchanged: [`check::examine`] reads it without decoding it.
//! JSON, and a protobuf body with invalid parts or without times, is written again, with a permit for the memory that
//! this takes.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::body::{BufferedBody, spawn_if_large};
use super::budget::Budget;
use super::error::RequestError;
use super::memory::Permit;
use super::zipkin::json as zipkin;
use crate::clock;
use crate::otlp::Signal;
use crate::otlp::check::{self, CheckResult, MAX_DECODED_BYTES};
use crate::otlp::left_out::{LeftOut, Reason};
use crate::otlp::{arrival, json, mend};

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
    /// The export request of the signal as protobuf, with valid items only.
    pub(super) body: Bytes,
    pub(super) items: u32,
    pub(super) left_out: LeftOut,
}

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

/// What the first pass over a body finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    /// The body can be stored unchanged.
    Valid { items: u32 },
    /// The body has to be written again, which takes at most this memory beside the body.
    Rewrite { max_bytes: usize },
}

/// Turns a request into a batch. The returned permit is for the body of the batch.
///
/// Permits go along with work on another thread, because that continues if the request is cancelled.
pub(super) async fn decode(
    budget: &Budget,
    format: Format,
    body: BufferedBody,
) -> Result<(ValidBatch, Permit), RequestError> {
    let (mut body, checked) = spawn_if_large(body.bytes.len(), move || {
        let checked = check_body(format, &body.bytes)?;
        Ok((body, checked))
    })
    .await?;
    let mut max_bytes = match checked {
        Checked::Valid { items } => {
            let BufferedBody { bytes, permit } = body;
            let left_out = LeftOut::default();
            return Ok((ValidBatch { signal: format.signal(), body: bytes, items, left_out }, permit));
        }
        Checked::Rewrite { max_bytes } => max_bytes,
    };
    loop {
        let decoding_permit = budget.acquire_decoding(max_bytes).await?;
        let (returned, result) = spawn_if_large(body.bytes.len(), move || {
            let result = rewrite(format, &body.bytes, max_bytes);
            Ok(((body, decoding_permit), result))
        })
        .await?;
        let _until_the_body_is_replaced;
        (body, _until_the_body_is_replaced) = returned;
        match result {
            // Unusual spans, and items without a time, take more than expected.
            Err(RequestError::TooLargeDecoded) if max_bytes < MAX_DECODED_BYTES => {
                max_bytes = MAX_DECODED_BYTES;
            }
            Err(error) => return Err(error),
            Ok((bytes, items, left_out)) => {
                let BufferedBody { bytes, permit } = body.replaced_by(bytes)?;
                return Ok((ValidBatch { signal: format.signal(), body: bytes, items, left_out }, permit));
            }
        }
    }
}

pub(super) fn check_body(format: Format, body: &[u8]) -> Result<Checked, RequestError> {
    if let Format::Protobuf(signal) = format {
        return match check::examine(signal, body) {
            (CheckResult::Valid { items }, false) => Ok(Checked::Valid { items }),
            (CheckResult::Valid { .. }, true) => {
                Ok(Checked::Rewrite { max_bytes: arrival::completed_bytes(signal, body) })
            }
            (CheckResult::Invalid, _) => Ok(Checked::Rewrite { max_bytes: mend::written_bytes(body) }),
            (result, _) => Err(request_error(result)),
        };
    }
    let text_bytes = json::text_bytes(body);
    // Text that is UTF-8 is not copied.
    let copied_bytes = if text_bytes == body.len() { 0 } else { text_bytes };
    let written_bytes = match format {
        Format::Zipkin => zipkin::usual_bytes(text_bytes),
        _ => json::written_bytes(text_bytes),
    };
    // The syntax is checked before anything is written.
    let max_bytes = copied_bytes + written_bytes.max(json::check_bytes(body));
    Ok(Checked::Rewrite {
        max_bytes: if format == Format::Zipkin { max_bytes.min(MAX_DECODED_BYTES) } else { max_bytes },
    })
}

/// Converts a result other than [`CheckResult::Valid`].
fn request_error(result: CheckResult) -> RequestError {
    match result {
        CheckResult::TooManyItems => RequestError::TooManyItems,
        _ => RequestError::TooLargeDecoded,
    }
}

/// Writes a request as protobuf, without the parts that are invalid and with the times that are missing. Returns it with
/// the number of its items.
pub(super) fn rewrite(
    format: Format,
    body: &[u8],
    max_bytes: usize,
) -> Result<(Vec<u8>, u32, LeftOut), RequestError> {
    let now = clock::unix_nanos();
    let (body, left_out) = match format {
        Format::Protobuf(signal) if matches!(check::check(signal, body), CheckResult::Valid { .. }) => {
            (arrival::complete(signal, body, now), LeftOut::default())
        }
        Format::Protobuf(signal) => mend::mend(signal, body).map_err(|reason| match reason {
            Reason::OutOfRange => RequestError::TooLargeDecoded,
            reason => format.malformed(reason.as_str()),
        })?,
        Format::Json(signal) => {
            json::to_protobuf(signal, &json::text(body)).map_err(|error| format.malformed(error))?
        }
        Format::Zipkin => {
            let text = json::text(body);
            let copied_bytes = if matches!(text, Cow::Owned(_)) { text.len() } else { 0 };
            let max_bytes = max_bytes.saturating_sub(copied_bytes);
            zipkin::convert(&text, now, max_bytes).map_err(|error| match error {
                zipkin::ConvertError::Malformed(error) => format.malformed(error),
                zipkin::ConvertError::TooManySpans => RequestError::TooManyItems,
                zipkin::ConvertError::TooLarge => RequestError::TooLargeDecoded,
            })?
        }
    };
    let signal = format.signal();
    match check::examine(signal, &body) {
        (CheckResult::Valid { items }, false) => Ok((body, items, left_out)),
        (CheckResult::Valid { items }, true) => {
            if body.len() + arrival::completed_bytes(signal, &body) > max_bytes {
                return Err(RequestError::TooLargeDecoded);
            }
            Ok((arrival::complete(signal, &body, now), items, left_out))
        }
        (result, _) => Err(request_error(result)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::check::tests::{bombs, log_request, request};
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;

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
            ValidBatch { signal: Signal::Traces, body: body.clone(), items: 3, left_out: LeftOut::default() }
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
            Reason::TraceIdLength,
            Reason::TraceIdZero,
            Reason::SpanIdLength,
            Reason::SpanIdZero,
            Reason::ParentSpanIdLength,
        ];
        assert_eq!(decoded.left_out.items, reasons.map(|reason| (reason, 1)).into());
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
        assert_eq!((decoded.items, decoded.left_out.items), (2, [(Reason::SpanIdLength, 2)].into()));
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
        let span = r#"{"traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"00f067aa0ba902b7"}"#;
        let spans = vec![span; 50_001].join(",");
        let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
        assert_eq!(decode_now(JSON, json), Err(RequestError::TooManyItems));
        let attributes = vec![r#"{"key":"k"}"#; 1 << 19].join(",");
        let span = span.replace('}', &format!(r#","attributes":[{attributes}]}}"#));
        let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
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
