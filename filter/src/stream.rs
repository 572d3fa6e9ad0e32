//! [`Stream`]: one request, from its headers to its line and span.

use std::rc::Rc;

use logtracer_core::propagation::{Carrier, Extracted, Header, Propagator, TraceHeaders, TraceState};
use logtracer_core::sampling::HeaderCondition;

use crate::config::Edge;
use crate::decision::Decision;
use crate::grpc_status::GrpcStatus;
use crate::host::{self, Map};
use crate::kept::{Kept, Protocol};
use crate::metrics::{self, Metric};
use crate::observed;
use crate::root::Plugin;

/// One request. Any callback may be the first one and none is sure to come: an earlier filter may answer, and the
/// caller may go away at any time.
#[derive(Debug)]
pub(crate) struct Stream {
    plugin: Rc<Plugin>,
    request: Option<Request>,
}

/// What is known once the request's headers were seen.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) decision: Decision,
    /// The caller's: it goes on with its trace, or stands at the link to it.
    pub(crate) tracestate: String,
    pub(crate) kept: Kept,
    /// Nanoseconds since 1970, of those that may stay open; zero where there was no response.
    pub(crate) response_began: u64,
    /// What the response's trailers say of a call of gRPC.
    pub(crate) grpc_status: Option<GrpcStatus>,
    /// One of those that leave no span.
    pub(crate) is_excluded: bool,
    /// Brings spans of a filter to the exporter: a span of it would be one more to bring.
    pub(crate) is_export: bool,
}

/// Whether the request is still on its way to the next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Forwarding,
    Over,
}

impl Stream {
    pub(crate) const fn new(plugin: Rc<Plugin>) -> Self {
        Self { plugin, request: None }
    }

    /// The request is on its way to the next hop.
    pub(crate) fn on_request_headers(&mut self) {
        self.request = Some(Request::read(&self.plugin, Phase::Forwarding));
    }

    /// The response is on its way back to the caller.
    pub(crate) fn on_response_headers(&mut self) {
        let Some(request) = &mut self.request else { return };
        if let Some(name) = &self.plugin.config.response_header {
            // Replacing would change the first of several lines only.
            host::remove_header(Map::Response, name);
            host::add_header(Map::Response, name, &request.decision.context.trace_id.to_hex());
        }
        // Of all others Envoy knows it.
        if request.kept.may_stay_open() {
            request.response_began = host::now_unix_nanos();
        }
    }

    /// The response's trailers are on their way back to the caller; few responses but those of gRPC have any.
    ///
    /// Envoy's filter for gRPC-Web, where it stands before this one, moves them into the body after this.
    pub(crate) fn on_response_trailers(&mut self) {
        if let Some(request) = &mut self.request
            && request.kept.protocol != Protocol::Http
        {
            request.grpc_status = GrpcStatus::read(Map::ResponseTrailers);
        }
    }

    /// The request is over.
    pub(crate) fn on_log(&mut self) {
        // Rule 54: an earlier filter may have answered before this one saw the request; it is readable still.
        let request = self.request.take().unwrap_or_else(|| Request::read(&self.plugin, Phase::Over));
        observed::log(&self.plugin, &request);
    }
}

impl Request {
    /// Reads the request's headers, finds or makes its context, and writes it back for the next hop.
    fn read(plugin: &Plugin, phase: Phase) -> Self {
        let config = &plugin.config;
        let lines = host::header_lines(Map::Request);
        let mut headers = TraceHeaders::default();
        let mut seen = Kept::default();
        for (name, value) in lines.iter() {
            match Header::from_name(name) {
                Some(header) => headers.push(header, value),
                None => seen.see(name, value, &config.request_headers),
            }
        }
        let extracted = config.propagation.propagator.extract(&headers);
        let header =
            |condition: &HeaderCondition| lines.iter().any(|(name, value)| condition.is_met_by(name, value));
        let facts = seen.facts();
        let decision = Decision::make(config, plugin.limiter.as_ref(), &extracted, facts, header);
        let is_trusted = config.propagation.edge == Edge::Trust;
        if phase == Phase::Forwarding {
            let tracestate = if is_trusted { extracted.tracestate } else { TraceState::default() };
            let mut carrier = RequestHeaders { present: &headers };
            let is_stripped = config.propagation.strip_hosts.iter().any(|host| host.matches(facts.authority));
            if is_stripped {
                Propagator::strip(&mut carrier);
            } else {
                config.propagation.propagator.inject(&decision.context, &tracestate, &mut carrier);
            }
            if is_stripped || !is_trusted {
                host::remove_header(Map::Request, "baggage");
            }
        }
        count(&extracted, &decision);
        let is_told = is_trusted || decision.link.is_some();
        let tracestate = extracted.tracestate.with_line(str::to_owned).filter(|_| is_told);
        Self {
            decision,
            tracestate: tracestate.unwrap_or_default(),
            is_excluded: config.exclude.matches(facts.path, seen.user_agent),
            is_export: config
                .exporter
                .as_ref()
                .is_some_and(|exporter| exporter.is_export(facts.method, facts.path, seen.user_agent)),
            kept: seen.own(config.query, &config.request_headers),
            response_began: 0,
            grpc_status: None,
        }
    }
}

fn count(extracted: &Extracted<'_>, decision: &Decision) {
    metrics::count(Metric::Requests);
    metrics::count(extracted.format.map_or(Metric::ExtractedNone, Metric::extracted));
    for format in extracted.invalid.iter() {
        metrics::count(Metric::invalid(format));
    }
    if extracted.conflict {
        metrics::count(Metric::Conflicts);
    }
    metrics::count(decision.reason.metric());
    metrics::count(if decision.context.sampling.is_sampled() { Metric::Sampled } else { Metric::Denied });
}

/// The headers of the request on its way to the next hop.
struct RequestHeaders<'h> {
    present: &'h TraceHeaders<'h>,
}

impl Carrier for RequestHeaders<'_> {
    fn set(&mut self, header: Header, value: &str) {
        let name = header.name();
        match self.present.only_line(header) {
            Some(present) if present == value.as_bytes() => {}
            Some(_) => host::set_header(Map::Request, name, value),
            None => {
                // Replacing would change the first of several lines only.
                self.remove(header);
                host::add_header(Map::Request, name, value);
            }
        }
    }

    fn remove(&mut self, header: Header) {
        if self.present.present().contains(header) {
            host::remove_header(Map::Request, header.name());
        }
    }
}
