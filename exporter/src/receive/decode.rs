//! From the bytes of a request to a batch: protobuf, checked, without the spans that are invalid.
//!
//! A protobuf body in which every span is valid goes on as it came ([`scan`] reads it without building anything).
//! JSON, and a body with invalid spans, is decoded and encoded again.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::scan::{self, Verdict};
use super::status::{Encoding, Refusal};
use crate::outbox::Signal;

/// What goes into the outbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// `ExportTraceServiceRequest` as protobuf, with valid spans only.
    pub(super) body: Bytes,
    pub(super) spans: u32,
    /// How many spans were left out, by reason.
    pub(super) invalid: BTreeMap<Invalid, u32>,
}

/// What makes a span invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Invalid {
    TraceIdLength,
    TraceIdZero,
    SpanIdLength,
    SpanIdZero,
    ParentLength,
}

impl Invalid {
    /// The first thing that is wrong with a span, from its three ids.
    pub(super) fn check(trace_id: &[u8], span_id: &[u8], parent_span_id: &[u8]) -> Option<Self> {
        match (trace_id.len(), span_id.len(), parent_span_id.len()) {
            (len, _, _) if len != 16 => Some(Self::TraceIdLength),
            (_, len, _) if len != 8 => Some(Self::SpanIdLength),
            (_, _, len) if len != 8 && len != 0 => Some(Self::ParentLength),
            _ if trace_id.iter().all(|byte| *byte == 0) => Some(Self::TraceIdZero),
            _ if span_id.iter().all(|byte| *byte == 0) => Some(Self::SpanIdZero),
            _ => None,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::TraceIdLength => "trace id without 16 bytes",
            Self::TraceIdZero => "trace id is zero",
            Self::SpanIdLength => "span id without 8 bytes",
            Self::SpanIdZero => "span id is zero",
            Self::ParentLength => "parent span id without 8 bytes",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a request to `/v1/traces`.
pub(super) fn traces(encoding: Encoding, body: Bytes) -> Result<Decoded, Refusal> {
    let malformed = |error: String| Refusal::Malformed { encoding, error };
    let too_deep = || malformed("values are nested too deeply".to_owned());
    let decoded = match encoding {
        Encoding::Protobuf => match scan::check(Signal::Traces, &body) {
            Verdict::InOrder { items } => {
                return Ok(Decoded { body, spans: items, invalid: BTreeMap::new() });
            }
            Verdict::TooMany => return Err(Refusal::TooMany),
            Verdict::TooLarge => return Err(Refusal::TooLargeDecoded),
            Verdict::TooDeep => return Err(too_deep()),
            // The decoder stops where the scan did, and says why.
            Verdict::Odd | Verdict::Malformed => {
                encode(ExportTraceServiceRequest::decode(body).map_err(|e| malformed(e.to_string()))?)
            }
        },
        Encoding::Json if scan::json_is_too_large(&body) => return Err(Refusal::TooLargeDecoded),
        Encoding::Json => encode(serde_json::from_slice(&body).map_err(|e| malformed(e.to_string()))?),
    };
    // JSON can nest deeper than a reader of protobuf goes.
    match scan::check(Signal::Traces, &decoded.body) {
        Verdict::InOrder { .. } => Ok(decoded),
        Verdict::TooMany => Err(Refusal::TooMany),
        Verdict::TooLarge => Err(Refusal::TooLargeDecoded),
        Verdict::TooDeep | Verdict::Odd | Verdict::Malformed => Err(too_deep()),
    }
}

fn encode(mut request: ExportTraceServiceRequest) -> Decoded {
    let mut spans = 0;
    let mut invalid = BTreeMap::new();
    let mut is_valid = |span: &Span| match Invalid::check(&span.trace_id, &span.span_id, &span.parent_span_id)
    {
        None => {
            spans += 1;
            true
        }
        Some(reason) => {
            *invalid.entry(reason).or_insert(0) += 1;
            false
        }
    };
    for resource_spans in &mut request.resource_spans {
        for scope_spans in &mut resource_spans.scope_spans {
            scope_spans.spans.retain(&mut is_valid);
        }
    }
    Decoded { body: request.encode_to_vec().into(), spans, invalid }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::scan::tests::{bombs, request};

    #[test]
    fn a_valid_protobuf_body_goes_on_as_it_came() {
        let body = Bytes::from(request(3).encode_to_vec());
        let decoded = traces(Encoding::Protobuf, body.clone()).unwrap();
        assert_eq!(decoded, Decoded { body: body.clone(), spans: 3, invalid: BTreeMap::new() });
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
        let decoded = traces(Encoding::Protobuf, bad.encode_to_vec().into()).unwrap();
        assert_eq!(decoded.spans, 1);
        let reasons = [
            Invalid::TraceIdLength,
            Invalid::TraceIdZero,
            Invalid::SpanIdLength,
            Invalid::SpanIdZero,
            Invalid::ParentLength,
        ];
        assert_eq!(decoded.invalid, reasons.map(|reason| (reason, 1)).into());
        let kept = ExportTraceServiceRequest::decode(decoded.body).unwrap();
        assert_eq!(kept.resource_spans[0].scope_spans[0].spans.len(), 1);
    }

    #[test]
    fn json_becomes_protobuf() {
        let json = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
            "scopeSpans":[{"spans":[{"traceId":"463AC35C9F6413AD48485A3953BB6124","spanId":"00f067aa0ba902b7",
            "name":"GET /","kind":2,"startTimeUnixNano":"1000","endTimeUnixNano":2000,"newField":[1],
            "attributes":[{"key":"n","value":{"intValue":"7"}}]}]}]}]}"#;
        let decoded = traces(Encoding::Json, Bytes::from(json)).unwrap();
        assert_eq!(decoded.spans, 1);
        let request = ExportTraceServiceRequest::decode(decoded.body).unwrap();
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(
            (span.name.as_str(), span.start_time_unix_nano, span.end_time_unix_nano),
            ("GET /", 1000, 2000)
        );
    }

    #[test]
    fn malformed_bodies_are_refused_with_the_reason() {
        for (encoding, body) in [
            (Encoding::Protobuf, &b"\xff\xff\xff"[..]),
            (Encoding::Protobuf, b"{}"),
            (Encoding::Json, b""),
            (Encoding::Json, b"[]["),
            (Encoding::Json, br#"{"resourceSpans":7}"#),
            (Encoding::Json, br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}"#),
        ] {
            let refusal = traces(encoding, Bytes::from_static(body)).unwrap_err();
            assert!(matches!(&refusal, Refusal::Malformed { error, .. } if !error.is_empty()), "{refusal:?}");
        }
    }

    #[test]
    fn what_grows_too_much_is_refused_on_every_way() {
        let is_too_much = |result| matches!(result, Err(Refusal::TooLargeDecoded | Refusal::TooMany));
        for mut bomb in bombs() {
            assert!(is_too_much(traces(Encoding::Protobuf, bomb.clone().into())));
            // With an invalid span before it, which is left to the thorough way.
            let mut bad = request(1);
            bad.resource_spans[0].scope_spans[0].spans[0].trace_id.clear();
            bomb.splice(0..0, bad.encode_to_vec());
            assert!(is_too_much(traces(Encoding::Protobuf, bomb.into())));
        }
        let json = format!("{{\"resourceSpans\":[{{}}{}]}}", ",{}".repeat(1 << 20));
        assert_eq!(traces(Encoding::Json, json.into()), Err(Refusal::TooLargeDecoded));
    }

    #[test]
    fn an_empty_request_is_fine() {
        assert_eq!(traces(Encoding::Protobuf, Bytes::new()).unwrap().spans, 0);
        assert_eq!(traces(Encoding::Json, Bytes::from_static(b"{}")).unwrap().spans, 0);
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
            if let Ok(decoded) = traces(Encoding::Json, Bytes::from(json)) {
                ExportTraceServiceRequest::decode(decoded.body).unwrap();
            }
        }
    }
}
