//! [`Stream`]: one request, from its headers to its line and span.

use std::rc::Rc;

use logtracer_core::propagation::{Carrier, Extracted, Header, Propagator, TraceHeaders};
use logtracer_core::{Sampling, TraceContext};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

use crate::metrics::{self, Metric};
use crate::observed::{self, Kept};
use crate::root::Plugin;
use crate::{host, ids};

/// One request. Any callback may be the first one and none is sure to come: an earlier filter may answer, and the
/// caller may go away at any time.
#[derive(Debug)]
pub(crate) struct Stream {
    plugin: Option<Rc<Plugin>>,
    request: Option<Request>,
}

/// What is known once the request's headers were seen.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) context: TraceContext,
    pub(crate) tracestate: String,
    pub(crate) kept: Kept,
}

impl Stream {
    pub(crate) fn new(plugin: Option<Rc<Plugin>>) -> Self {
        Self { plugin, request: None }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        if let Some(plugin) = &self.plugin {
            self.request = Some(Request::read(plugin, Some(&plugin.config.propagation)));
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        if let (Some(plugin), Some(request)) = (&self.plugin, &self.request)
            && let Some(name) = &plugin.config.response_header
        {
            host::set_header(MapType::HttpResponseHeaders, name, &request.context.trace_id.to_hex());
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        let Some(plugin) = self.plugin.take() else { return };
        // Rule 54: an earlier filter may have answered before this one saw the request; it is readable still.
        let request = self.request.take().unwrap_or_else(|| Request::read(&plugin, None));
        observed::log(&plugin, &request);
    }
}

impl Request {
    /// Reads the request's headers, finds or makes its context, and (while the request is still to be forwarded)
    /// writes it back.
    fn read(plugin: &Plugin, inject: Option<&Propagator>) -> Self {
        let lines = host::header_lines(MapType::HttpRequestHeaders);
        let mut headers = TraceHeaders::default();
        let mut kept = Kept::default();
        for (name, value) in lines.iter() {
            match Header::from_name(name) {
                Some(header) => headers.push(header, value),
                None => kept.see(name, value),
            }
        }
        let kept = kept.own(plugin.config.query);
        let extracted = plugin.config.propagation.extract(&headers);
        let context = context_of(plugin, &extracted);
        count(&extracted, &context);
        if let Some(propagator) = inject {
            let mut carrier = RequestHeaders { present: &headers };
            propagator.inject(&context, &extracted.tracestate, &mut carrier);
        }
        Self { context, tracestate: extracted.tracestate.with_line(str::to_owned).unwrap_or_default(), kept }
    }
}

/// The span of this hop, below the caller's or at the root of a new trace, with a decision in any case.
fn context_of(plugin: &Plugin, extracted: &Extracted<'_>) -> TraceContext {
    let span_id = ids::span_id();
    let context = match extracted.parent {
        Some(parent) => parent.child(span_id),
        None => TraceContext::root(ids::trace_id(), span_id, extracted.sampling),
    };
    if context.sampling.is_decided() {
        return context;
    }
    let sampled = plugin.config.sampling_rate.keeps(context.trace_id);
    context.with_sampling(Sampling::from_sampled(sampled))
}

fn count(extracted: &Extracted<'_>, context: &TraceContext) {
    metrics::count(Metric::Requests);
    metrics::count(extracted.format.map_or(Metric::ExtractedNone, Metric::Extracted));
    for format in extracted.invalid.iter() {
        metrics::count(Metric::Invalid(format));
    }
    if extracted.conflict {
        metrics::count(Metric::Conflicts);
    }
    metrics::count(if context.sampling.is_sampled() { Metric::Sampled } else { Metric::Denied });
}

/// The headers of the request on its way to the next hop.
struct RequestHeaders<'h> {
    present: &'h TraceHeaders<'h>,
}

impl Carrier for RequestHeaders<'_> {
    fn set(&mut self, header: Header, value: &str) {
        // Replacing changes the first line only.
        if self.present.repeated().contains(header) {
            host::remove_header(MapType::HttpRequestHeaders, header.name());
        }
        host::set_header(MapType::HttpRequestHeaders, header.name(), value);
    }

    fn remove(&mut self, header: Header) {
        if self.present.present().contains(header) {
            host::remove_header(MapType::HttpRequestHeaders, header.name());
        }
    }
}
