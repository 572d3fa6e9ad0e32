//! The current trace as headers of a request.

use http::{HeaderMap, HeaderName, HeaderValue};
use logtracer_core::propagation::{Carrier, Header, Propagator, TraceState};

use super::allowed::{B3_VALUES, BAGGAGE, X_REQUEST_ID};
use crate::current::{carried_beside, current_trace, tracestate_of};

/// Returns headers with the current trace, for any HTTP client; none without a current trace.
///
/// They are `x-b3-*`, `traceparent` and `x-cloud-trace-context`, and the `tracestate`, the `baggage` and the
/// `x-request-id` of the request that is being served.
///
/// ```
/// use logtracer_sdk::client::trace_headers;
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::TraceContext;
///
/// assert!(trace_headers().is_empty());
/// let context = TraceContext::new_root();
/// let headers = context.run(trace_headers);
/// assert_eq!(headers["x-b3-traceid"], context.trace_id.to_string());
/// ```
pub fn trace_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    headers
}

/// Writes the current trace into the headers of a request; does nothing without a current trace.
///
/// Trace headers of the request are replaced or removed, so that no two of them disagree.
/// An `x-request-id` or `baggage` of the request is kept.
///
/// ```
/// use logtracer_sdk::client::inject;
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::TraceContext;
///
/// let mut request = http::Request::get("/").header("b3", "0").body(()).unwrap();
/// TraceContext::new_root().run(|| inject(request.headers_mut()));
/// assert!(request.headers().contains_key("traceparent"));
/// assert!(!request.headers().contains_key("b3"));
/// ```
pub fn inject(headers: &mut HeaderMap) {
    inject_with(&Propagator::default(), headers);
}

/// Does what [`inject`] does, in the formats of this propagator only.
///
/// ```
/// use logtracer_sdk::client::inject_with;
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::TraceContext;
/// use logtracer_sdk::propagation::{Formats, PropagationFormat, Propagator};
///
/// let propagator = Propagator { inject: Formats::of(&[PropagationFormat::B3]), ..Propagator::default() };
/// let mut headers = http::HeaderMap::new();
/// TraceContext::new_root().run(|| inject_with(&propagator, &mut headers));
/// assert!(headers.contains_key("b3") && !headers.contains_key("traceparent"));
/// ```
pub fn inject_with(propagator: &Propagator, headers: &mut HeaderMap) {
    let Some(context) = current_trace() else { return };
    let carried = carried_beside(context.trace_id);
    let carried = carried.as_deref();
    let request_id = carried.and_then(|carried| carried.request_id.as_deref());
    let baggage = carried.and_then(|carried| carried.baggage.as_deref());
    let tracestate = tracestate_of(context.trace_id);
    let tracestate = tracestate.as_deref().and_then(|carried| carried.tracestate.as_deref());
    let tracestate = tracestate.map(TraceState::from_line).unwrap_or_default();
    propagator.inject(&context, &tracestate, &mut Headers(headers));
    headers.remove(B3_VALUES);
    // The request's own values win.
    for (name, value) in [(X_REQUEST_ID, request_id), (BAGGAGE, baggage)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.entry(name).or_insert(value);
        }
    }
}

/// The headers of `http` as a carrier.
pub(super) struct Headers<'a>(pub(super) &'a mut HeaderMap);

impl Carrier for Headers<'_> {
    fn set(&mut self, header: Header, value: &str) {
        let value = match value {
            "0" => Ok(HeaderValue::from_static("0")),
            "1" => Ok(HeaderValue::from_static("1")),
            // Core writes only visible ASCII, which is always a valid value.
            other => HeaderValue::from_str(other),
        };
        if let Ok(value) = value {
            self.0.insert(name_of(header), value);
        }
    }

    fn remove(&mut self, header: Header) {
        self.0.remove(name_of(header));
    }
}

/// The names of [`Header::ALL`], parsed once: parsing them takes longer than all else here.
static NAMES: [HeaderName; Header::ALL.len()] = [
    HeaderName::from_static(Header::B3.name()),
    HeaderName::from_static(Header::XB3TraceId.name()),
    HeaderName::from_static(Header::XB3SpanId.name()),
    HeaderName::from_static(Header::XB3ParentSpanId.name()),
    HeaderName::from_static(Header::XB3Sampled.name()),
    HeaderName::from_static(Header::XB3Flags.name()),
    HeaderName::from_static(Header::Traceparent.name()),
    HeaderName::from_static(Header::Tracestate.name()),
    HeaderName::from_static(Header::XCloudTraceContext.name()),
    HeaderName::from_static(Header::GrpcTraceBin.name()),
];

fn name_of(header: Header) -> HeaderName {
    NAMES.get(header as usize).cloned().unwrap_or_else(|| HeaderName::from_static(header.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_all_headers() {
        assert_eq!(NAMES.each_ref().map(HeaderName::as_str), Header::ALL.map(Header::name));
        assert_eq!(Header::ALL.map(|header| name_of(header).to_string()), Header::ALL.map(Header::name));
    }
}
