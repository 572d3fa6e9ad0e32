//! From the bytes of a request to a batch: protobuf, checked, without the spans that are invalid.
//!
//! A protobuf body in which every span is valid goes on as it came ([`scan`] reads it without building anything).
//! JSON, and a body with invalid spans, is decoded and encoded again, under a permit for what that takes.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde::de::DeserializeOwned;

use super::body::{Held, blocking};
use super::budget::{Budget, Permit};
use super::error::RequestError;
use super::zipkin;
use crate::otlp::Signal;
use crate::otlp::check::{self, InvalidIds, MAX_DECODED_BYTES, Verdict};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf(Signal),
    Json(Signal),
    /// A list of spans, Zipkin's v2 API.
    Zipkin,
}

/// What goes into the outbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) signal: Signal,
    /// The export request of the signal as protobuf, with valid spans only.
    pub(super) body: Bytes,
    pub(super) items: u32,
    /// How many spans were left out, by reason.
    pub(super) invalid: Rejected,
}

/// InvalidIds spans that were left out of their request, by reason.
pub(super) type Rejected = BTreeMap<InvalidIds, u32>;

impl Format {
    pub(super) const fn signal(self) -> Signal {
        match self {
            Self::Protobuf(signal) | Self::Json(signal) => signal,
            Self::Zipkin => Signal::Traces,
        }
    }

    /// How messages call it.
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

/// Reads a request; the permit stands for the body that goes on.
pub(super) async fn decode(
    budget: &Budget,
    format: Format,
    held: Held,
) -> Result<(Decoded, Permit), RequestError> {
    let Held { bytes, permit } = held;
    let body = bytes.clone();
    let (decoded_bytes, in_order) = blocking(bytes.len(), move || plan(format, &body)).await?;
    if let Some(items) = in_order {
        let decoded = Decoded { signal: format.signal(), body: bytes, items, invalid: Rejected::new() };
        return Ok((decoded, permit));
    }
    let decoding = budget.take_decoded(decoded_bytes).await?;
    let decoded = blocking(decoded_bytes, move || {
        let _held_until_it_is_decoded = decoding;
        thorough(format, &bytes)
    });
    Ok((decoded.await?, permit))
}

/// What the thorough way would take in memory, and the items of a body that can go on as it came.
fn plan(format: Format, body: &[u8]) -> Result<(usize, Option<u32>), RequestError> {
    match format {
        Format::Protobuf(signal) => match check::check(signal, body) {
            Verdict::InOrder { items } => Ok((0, Some(items))),
            // The decoder stops where the scan did, and says why.
            Verdict::Odd { decoded_bytes } | Verdict::Malformed { decoded_bytes } => {
                Ok((decoded_bytes, None))
            }
            verdict => Err(refused(format, verdict)),
        },
        Format::Json(_) | Format::Zipkin => match check::json_decoded_bytes(body) {
            bytes if bytes > MAX_DECODED_BYTES => Err(RequestError::TooLargeDecoded),
            bytes => Ok((bytes, None)),
        },
    }
}

/// What a verdict other than that it is in order means.
fn refused(format: Format, verdict: Verdict) -> RequestError {
    match verdict {
        Verdict::TooMany => RequestError::TooMany,
        Verdict::TooLarge => RequestError::TooLargeDecoded,
        _ => format.malformed("values are nested too deeply"),
    }
}

/// Decodes a request, leaves out what is invalid, and encodes the rest.
fn thorough(format: Format, body: &[u8]) -> Result<Decoded, RequestError> {
    let (body, invalid) = match format {
        Format::Protobuf(Signal::Traces) => valid(protobuf(format, body)?),
        Format::Json(Signal::Traces) => valid(json(format, body)?),
        Format::Zipkin => valid(zipkin::json::convert(body).map_err(|error| format.malformed(error))?),
        Format::Protobuf(Signal::Logs) => {
            (protobuf::<ExportLogsServiceRequest>(format, body)?.encode_to_vec(), Rejected::new())
        }
        Format::Json(Signal::Logs) => {
            (json::<ExportLogsServiceRequest>(format, body)?.encode_to_vec(), Rejected::new())
        }
    };
    // JSON can nest deeper than a reader of protobuf goes.
    match check::check(format.signal(), &body) {
        Verdict::InOrder { items } => {
            Ok(Decoded { signal: format.signal(), body: body.into(), items, invalid })
        }
        verdict => Err(refused(format, verdict)),
    }
}

fn protobuf<T: Message + Default>(format: Format, body: &[u8]) -> Result<T, RequestError> {
    T::decode(body).map_err(|error| format.malformed(error))
}

fn json<T: DeserializeOwned>(format: Format, body: &[u8]) -> Result<T, RequestError> {
    serde_json::from_slice(body).map_err(|error| format.malformed(error))
}

/// The request without its invalid spans, and without what is empty then.
fn valid(mut request: ExportTraceServiceRequest) -> (Vec<u8>, Rejected) {
    let mut invalid = Rejected::new();
    let mut is_valid =
        |span: &Span| match InvalidIds::check(&span.trace_id, &span.span_id, &span.parent_span_id) {
            None => true,
            Some(reason) => {
                *invalid.entry(reason).or_insert(0) += 1;
                false
            }
        };
    for resource_spans in &mut request.resource_spans {
        for scope_spans in &mut resource_spans.scope_spans {
            scope_spans.spans.retain(&mut is_valid);
        }
        resource_spans.scope_spans.retain(|scope_spans| !scope_spans.spans.is_empty());
    }
    request.resource_spans.retain(|resource_spans| !resource_spans.scope_spans.is_empty());
    (request.encode_to_vec(), invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::check::tests::{bombs, log_request, request};

    const PROTOBUF: Format = Format::Protobuf(Signal::Traces);
    const JSON: Format = Format::Json(Signal::Traces);

    /// Reads a request as a receiver does.
    fn decode_now(format: Format, body: impl Into<Bytes>) -> Result<Decoded, RequestError> {
        let bytes = body.into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let budget = Budget::default();
            let permit = budget.take(bytes.len()).await?;
            decode(&budget, format, Held { bytes, permit }).await.map(|(decoded, _)| decoded)
        })
    }

    #[test]
    fn a_valid_protobuf_body_goes_on_as_it_came() {
        let body = Bytes::from(request(3).encode_to_vec());
        let decoded = decode_now(PROTOBUF, body.clone()).unwrap();
        assert_eq!(
            decoded,
            Decoded { signal: Signal::Traces, body: body.clone(), items: 3, invalid: Rejected::new() }
        );
        assert_eq!(decoded.body.as_ptr(), body.as_ptr(), "not copied");
    }

    #[test]
    fn invalid_spans_are_left_out_and_counted() {
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
            InvalidIds::ParentLength,
        ];
        assert_eq!(decoded.invalid, reasons.map(|reason| (reason, 1)).into());
        let kept = ExportTraceServiceRequest::decode(decoded.body).unwrap();
        assert_eq!(kept.resource_spans[0].scope_spans[0].spans.len(), 1);
    }

    #[test]
    fn what_has_only_invalid_spans_is_left_out_whole() {
        let mut bad = request(2);
        let mut other = request(1);
        other.resource_spans[0].scope_spans[0].spans[0].span_id.clear();
        bad.resource_spans[0].scope_spans.extend(other.resource_spans[0].scope_spans.clone());
        bad.resource_spans.extend(other.resource_spans);
        let decoded = decode_now(PROTOBUF, bad.encode_to_vec()).unwrap();
        assert_eq!((decoded.items, decoded.invalid), (2, [(InvalidIds::SpanIdLength, 2)].into()));
        let kept = ExportTraceServiceRequest::decode(decoded.body).unwrap();
        assert_eq!(kept, request(2));
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
    fn malformed_bodies_are_refused_with_the_reason() {
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
    fn what_grows_too_much_is_refused_on_every_way() {
        let is_too_much =
            |result| matches!(result, Err(RequestError::TooLargeDecoded | RequestError::TooMany));
        for mut bomb in bombs() {
            assert!(is_too_much(decode_now(PROTOBUF, bomb.clone())));
            // With an invalid span before it, which is left to the thorough way.
            let mut bad = request(1);
            bad.resource_spans[0].scope_spans[0].spans[0].trace_id.clear();
            bomb.splice(0..0, bad.encode_to_vec());
            assert!(is_too_much(decode_now(PROTOBUF, bomb)));
        }
        let json = format!("{{\"resourceSpans\":[{{}}{}]}}", ",{}".repeat(1 << 20));
        assert_eq!(decode_now(JSON, json), Err(RequestError::TooLargeDecoded));
    }

    #[test]
    fn an_empty_request_is_fine() {
        assert_eq!(decode_now(PROTOBUF, Bytes::new()).unwrap().items, 0);
        assert_eq!(decode_now(JSON, Bytes::from_static(b"{}")).unwrap().items, 0);
    }

    #[test]
    fn deep_json_is_refused_or_readable() {
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
    fn logs_are_read_in_both_encodings() {
        let body = Bytes::from(log_request(3).encode_to_vec());
        let decoded = decode_now(Format::Protobuf(Signal::Logs), body.clone()).unwrap();
        assert_eq!((decoded.items, decoded.signal), (3, Signal::Logs));
        assert_eq!(decoded.body.as_ptr(), body.as_ptr(), "not copied");

        let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"5","severityNumber":9,
            "traceId":"463AC35C9F6413AD48485A3953BB6124","spanId":"","body":{"stringValue":"said"}},
            {"body":{"stringValue":"of no trace"}}]}]}]}"#;
        let decoded = decode_now(Format::Json(Signal::Logs), json).unwrap();
        assert_eq!(decoded.items, 2);
        let request = ExportLogsServiceRequest::decode(decoded.body).unwrap();
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!((record.time_unix_nano, record.trace_id.len(), record.span_id.len()), (5, 16, 0));
    }
}
