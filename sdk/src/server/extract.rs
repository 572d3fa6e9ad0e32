//! [`Extracted`]: the trace in the headers of a request, and what is carried beside it.

use http::{HeaderMap, header::HeaderValue};
use logtracer_core::propagation::{PropagationFormat, TraceHeaders};
use logtracer_core::{RemoteContext, Sampling, TraceContext, TraceId};

use super::b3_values;
use super::layer::Options;
use crate::current::{Carried, TraceContextExt, foreign_span, join};
use crate::request::{RequestFields, RequestHeaders};

/// The maximum length of an `x-request-id` that is passed on.
const MAX_REQUEST_ID_BYTES: usize = 256;

/// The limits of `baggage`: those that W3C requires every implementation to support.
const MAX_BAGGAGE_BYTES: usize = 8192;
const MAX_BAGGAGE_MEMBERS: usize = 64;

/// What the headers of a request contain about its trace.
pub(super) struct Extracted {
    parent: Option<RemoteContext>,
    sampling: Sampling,
    request_id: Option<Box<str>>,
    tracestate: Option<Box<str>>,
    baggage: Option<Box<str>>,
}

impl Extracted {
    /// Extracts the trace from `trace`; `known` are other headers of the same `headers`.
    pub(super) fn new(
        options: &Options,
        headers: &HeaderMap,
        known: &RequestHeaders<'_>,
        trace: &TraceHeaders<'_>,
    ) -> Self {
        let propagator = &options.propagator;
        let extracted = propagator.extract(trace);
        let (mut parent, mut sampling) = (extracted.parent, extracted.sampling);
        // A standard header wins: a proxy may have replaced it.
        let reads_b3 = || propagator.extract.iter().any(|format| format == PropagationFormat::B3Multi);
        if parent.is_none() && !known.b3_values.is_empty() && options.log.is_grpc(known) && reads_b3() {
            let legacy = b3_values::parse(known.b3_values);
            let legacy = propagator.extract(&legacy);
            sampling = if sampling.is_decided() { sampling } else { legacy.sampling };
            parent = legacy.parent.map(|parent| RemoteContext { sampling, ..parent });
        }
        let request_id = std::str::from_utf8(known.request_id).ok().filter(|id| {
            (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
                && id.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        });
        Self {
            parent,
            sampling,
            request_id: request_id.map(Box::from),
            tracestate: extracted.tracestate.with_line(|line| Box::from(line)),
            baggage: if known.has_baggage { baggage(headers) } else { None },
        }
    }

    /// Joins the span in the headers, which is the sidecar's. A trace without a span gets a new span, and a request
    /// without a trace starts one.
    pub(super) fn join_or_start(&self) -> TraceContext {
        match self.parent {
            Some(parent) => join(parent),
            None => TraceContext::new_root().with_sampling(self.sampling),
        }
    }

    /// Returns true if there is a span to join.
    pub(super) fn has_span(&self) -> bool {
        self.parent.is_some_and(|parent| parent.span_id.is_some())
    }

    /// Returns the span of an outer layer: `outer` of this crate, or that of a layer of OpenTelemetry within it, which
    /// is in the same trace.
    pub(super) fn span_of_outer_layer(&self, outer: Option<TraceContext>) -> Option<TraceContext> {
        let trace_id = outer.map(|outer| outer.trace_id).or(self.parent.map(|parent| parent.trace_id));
        let is_layer = |span: &TraceContext| {
            // A propagator that only attaches the caller's span is not a layer with a span.
            let is_caller = self.parent.and_then(|parent| parent.span_id) == Some(span.span_id);
            !is_caller && trace_id.is_none_or(|trace_id| trace_id == span.trace_id)
        };
        foreign_span().filter(is_layer).or(outer)
    }

    /// Returns what is carried beside the trace to the next hop, and what is recorded of the request.
    pub(super) fn into_carried(self, trace_id: TraceId, fields: Option<RequestFields>) -> Option<Carried> {
        let Self { request_id, tracestate, baggage, .. } = self;
        let is_empty = request_id.is_none() && tracestate.is_none() && baggage.is_none() && fields.is_none();
        (!is_empty).then_some(Carried { trace_id, request_id, tracestate, baggage, fields })
    }
}

/// Joins all `baggage` headers into one, up to the limits.
fn baggage(headers: &HeaderMap) -> Option<Box<str>> {
    let lines = headers.get_all("baggage").iter().map(HeaderValue::to_str).filter_map(Result::ok);
    let members = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|member| !member.is_empty());
    let mut joined = String::new();
    for member in members.take(MAX_BAGGAGE_MEMBERS) {
        let comma = if joined.is_empty() { "" } else { "," };
        if joined.len() + comma.len() + member.len() > MAX_BAGGAGE_BYTES {
            break;
        }
        joined.push_str(comma);
        joined.push_str(member);
    }
    (!joined.is_empty()).then(|| joined.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use logtracer_core::propagation::Propagator;

    fn extract(name: &'static str, value: &'static str) -> (TraceContext, Option<Carried>) {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
        let (known, trace) = RequestHeaders::with_trace(&headers);
        let extracted = Extracted::new(&Options::default(), &headers, &known, &trace);
        let context = extracted.join_or_start();
        (context, extracted.into_carried(context.trace_id, None))
    }

    #[track_caller]
    fn check(name: &'static str, value: &'static str, trace: &str, span: Option<&str>, sampling: Sampling) {
        let (context, _) = extract(name, value);
        assert_eq!(context.trace_id.to_string(), trace);
        assert_eq!(context.sampling, sampling);
        match span {
            Some(span) => assert_eq!(context.span_id.to_string(), span),
            None => assert_eq!(context.parent_span_id, None),
        }
    }

    #[test]
    fn every_format_is_extracted() {
        const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
        check(
            "b3",
            "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1",
            TRACE,
            Some("00f067aa0ba902b7"),
            Sampling::Accept,
        );
        check(
            "traceparent",
            "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-00",
            TRACE,
            Some("00f067aa0ba902b7"),
            Sampling::Deny,
        );
        check(
            "x-cloud-trace-context",
            "463ac35c9f6413ad48485a3953bb6124/74;o=1",
            TRACE,
            Some("000000000000004a"),
            Sampling::Accept,
        );
        check("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124", TRACE, None, Sampling::Defer);
        // Version 0, trace id, span id and options, in Base64.
        check(
            "grpc-trace-bin",
            "AABGOsNcn2QTrUhIWjlTu2EkAQDwZ6oLqQK3AgE",
            TRACE,
            Some("00f067aa0ba902b7"),
            Sampling::Accept,
        );
    }

    #[test]
    fn the_metadata_of_the_original_is_extracted() {
        const B3_VALUES: &str =
            r#"{"X-B3-TraceId": "463ac35c9f6413ad48485a3953bb6124", "X-B3-SpanId": "00f067aa0ba902b7"}"#;
        let extract = |propagator: &Propagator, headers: &HeaderMap| {
            let options = Options { propagator: *propagator, ..Options::default() };
            let (known, trace) = RequestHeaders::with_trace(headers);
            let parent = Extracted::new(&options, headers, &known, &trace).parent?;
            Some((parent.trace_id.to_string(), parent.span_id?.to_string()))
        };
        let mut headers = HeaderMap::new();
        headers.insert("b3-values", HeaderValue::from_static(B3_VALUES));
        assert_eq!(extract(&Propagator::default(), &headers), None, "not a gRPC call");
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        assert_eq!(
            extract(&Propagator::default(), &headers),
            Some(("463ac35c9f6413ad48485a3953bb6124".to_owned(), "00f067aa0ba902b7".to_owned()))
        );
        let only_w3c = Propagator {
            extract: logtracer_core::propagation::Formats::of(&[PropagationFormat::TraceContext]),
            ..Propagator::default()
        };
        assert_eq!(extract(&only_w3c, &headers), None);
        headers.insert("b3", HeaderValue::from_static("00000000000000000000000000000007-00f067aa0ba902b7"));
        assert_eq!(extract(&Propagator::default(), &headers).unwrap().0, "00000000000000000000000000000007");
    }

    #[test]
    fn missing_ids_are_generated() {
        let (first, _) = extract("b3", "0");
        let (second, _) = extract("b3", "0");
        assert_eq!((first.parent_span_id, first.sampling), (None, Sampling::Deny));
        assert_ne!(first.trace_id, second.trace_id);
        let (root, carried) = extract("traceparent", "nonsense");
        assert_eq!((root.parent_span_id, root.sampling), (None, Sampling::Defer));
        assert!(carried.is_none());
    }

    #[test]
    fn a_request_id_is_carried_without_a_trace() {
        let (context, carried) = extract("x-request-id", "0af76519");
        let carried = carried.unwrap();
        assert_eq!((carried.trace_id, carried.request_id.as_deref()), (context.trace_id, Some("0af76519")));
    }

    #[test]
    fn baggage_is_bounded() {
        let carried = |line: &str| {
            let headers =
                HeaderMap::from_iter([("baggage".parse().unwrap(), HeaderValue::from_str(line).unwrap())]);
            baggage(&headers).as_deref().map(str::to_owned)
        };
        assert_eq!(carried(""), None);
        assert_eq!(carried("a=1, b=2,,"), Some("a=1,b=2".to_owned()));
        assert_eq!(carried(&"a=1,".repeat(100)).unwrap().split(',').count(), 64);
        assert_eq!(carried(&format!("a=1,b={}", "x".repeat(9000))), Some("a=1".to_owned()));
        for (before, without_last) in [("a=", None), ("a=1,b=", Some("a=1".to_owned()))] {
            let longest = format!("{before}{}", "x".repeat(MAX_BAGGAGE_BYTES - before.len()));
            assert_eq!(carried(&format!("{longest}x")), without_last);
            assert_eq!(carried(&longest), Some(longest));
        }
    }
}
