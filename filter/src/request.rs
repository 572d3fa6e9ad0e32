//! [`Request`]: reads a request's headers, and decides about its trace. `propagation` sets the headers of the next hop.

use std::borrow::Cow;

use logtracer_core::propagation::{Extracted, Header, TraceHeaders};
use logtracer_core::sampling::HeaderCondition;

use crate::config::Edge;
use crate::decision::Decision;
use crate::grpc_status::GrpcStatus;
use crate::host::{ForwardingHost, HeaderLines, HeadersHost, HeadersOf};
use crate::kept_head::KeptHead;
use crate::plugin::Plugin;
use crate::propagation;
use crate::request_head::{Protocol, RequestHead};

/// The part of a request that the filter keeps until it is completed.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) decision: Decision,
    /// The caller's tracestate. It belongs to the trace, or to the link if the trace is not continued.
    pub(crate) tracestate: String,
    pub(crate) head: KeptHead,
    /// The start of the response in nanoseconds since 1970. Zero without a response, and for a request that cannot
    /// stay open ([`KeptHead::may_stay_open`]).
    pub(crate) response_start: u64,
    /// The gRPC status in the response's trailers.
    pub(crate) grpc_status: Option<GrpcStatus>,
    /// The configuration excludes the request: it has no span.
    pub(crate) is_excluded: bool,
    /// The request delivers spans of a filter to the exporter. A span of it would have to be delivered in turn.
    pub(crate) is_export: bool,
}

impl Request {
    /// Reads the request's headers, decides about its trace, counts the decision, and sets the headers of the next hop.
    pub(crate) fn forward(host: &impl ForwardingHost, plugin: &Plugin) -> Self {
        Self::start(host, plugin, |headers, authority, decision, extracted| {
            propagation::forward(host, &plugin.config.propagation, headers, authority, decision, extracted);
        })
    }

    /// Reads the headers of a completed request that was not forwarded, decides about its trace, and counts the
    /// decision.
    pub(crate) fn completed(host: &impl HeadersHost, plugin: &Plugin) -> Self {
        Self::start(host, plugin, |_, _, _, _| {})
    }

    fn start(
        host: &impl HeadersHost,
        plugin: &Plugin,
        forward: impl FnOnce(&TraceHeaders<'_>, &[u8], &Decision, &Extracted<'_>),
    ) -> Self {
        let config = &plugin.config;
        let lines = host.header_lines(HeadersOf::Request);
        let mut headers = TraceHeaders::default();
        let mut head = RequestHead::default();
        for (name, value) in lines.iter() {
            match Header::from_lower_case(name) {
                Some(header) => headers.push(header, value),
                None => head.read(name, value, &config.request_headers),
            }
        }
        let extracted = config.propagation.propagator.extract(&headers);
        let header =
            |condition: &HeaderCondition| lines.iter().any(|(name, value)| condition.is_met_by(name, value));
        let parts = head.parts();
        let decision = Decision::new(host, config, plugin.limiter.as_ref(), &extracted, parts, header);
        propagation::count(&extracted, &decision);
        let is_trusted = config.propagation.edge == Edge::Trust;
        forward(&headers, parts.authority, &decision, &extracted);
        let has_tracestate = is_trusted || decision.link.is_some();
        let tracestate = extracted.tracestate.with_line(str::to_owned).filter(|_| has_tracestate);
        Self {
            decision,
            tracestate: tracestate.unwrap_or_default(),
            is_excluded: config.exclude.matches(parts.path, head.user_agent),
            is_export: config
                .exporter
                .as_ref()
                .is_some_and(|exporter| exporter.is_export(parts.method, parts.path, head.user_agent)),
            head: KeptHead::new(&head, config.query, &config.request_headers),
            response_start: 0,
            grpc_status: None,
        }
    }

    /// Returns the gRPC status from the response's trailers, or from the headers of a response without a body.
    pub(crate) fn read_grpc_status(&self, host: &impl HeadersHost) -> Option<Cow<'_, GrpcStatus>> {
        match &self.grpc_status {
            Some(status) => Some(Cow::Borrowed(status)),
            None if self.head.protocol == Protocol::Http => None,
            None => GrpcStatus::read(host, HeadersOf::Response).map(Cow::Owned),
        }
    }
}
