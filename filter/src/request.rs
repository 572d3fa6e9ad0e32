//! [`Request`]: reads a request's headers, and decides about its trace. `propagation` sets the headers of the next hop.

use std::borrow::Cow;

use logtracer_core::propagation::{Extracted, Header, TraceHeaders};
use logtracer_core::sampling::HeaderCondition;

use crate::config::Edge;
use crate::decision::Decision;
use crate::grpc_status::GrpcStatus;
use crate::host::{ForwardingHost, HeaderLines, HeadersHost, HeadersOf, LogHost, StreamHost};
use crate::kept_head::KeptHead;
use crate::live::{self, LiveSpan};
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
    /// The bytes of the names and values of the caller's headers.
    pub(crate) header_bytes: u64,
    /// While it exists, another instance of the filter in this stream does nothing.
    pub(crate) live: Option<LiveSpan>,
}

/// Another instance of the filter handles the request.
#[derive(Debug)]
pub(crate) struct Duplicate;

impl Request {
    /// Reads the request's headers, decides about its trace, counts the decision, and sets the headers of the next hop.
    pub(crate) fn forward(host: &impl ForwardingHost, plugin: &Plugin) -> Result<Self, Duplicate> {
        let mut request = Self::start(host, plugin, |lines, headers, authority, decision, extracted| {
            let config = &plugin.config.propagation;
            propagation::forward(host, config, lines, headers, authority, decision, extracted);
        })?;
        request.live = Some(live::start(host, request.decision.context.span_id, &plugin.name));
        Ok(request)
    }

    /// Reads the headers of a completed request that was not forwarded, decides about its trace, and counts the
    /// decision.
    pub(crate) fn not_forwarded(host: &impl LogHost, plugin: &Plugin) -> Result<Self, Duplicate> {
        if let Some(owner) = live::owner_of_logged(host) {
            plugin.report_duplicate(host, &owner);
            return Err(Duplicate);
        }
        Self::start(host, plugin, |_, _, _, _, _| {})
    }

    fn start<H: HeadersHost + StreamHost>(
        host: &H,
        plugin: &Plugin,
        forward: impl FnOnce(&H::Lines, &TraceHeaders<'_>, &[u8], &Decision, &Extracted<'_>),
    ) -> Result<Self, Duplicate> {
        let config = &plugin.config;
        let lines = host.header_lines(HeadersOf::Request);
        let mut headers = TraceHeaders::default();
        let mut head = RequestHead::default();
        let mut header_bytes = 0;
        for (name, value) in lines.iter() {
            if !is_set_by_proxies(name) {
                header_bytes += name.len() + value.len();
            }
            match Header::from_lower_case(name) {
                Some(header) => {
                    headers.push(header, value);
                    head.capture(name, value, &config.request_headers);
                }
                None => head.read(name, value, &config.request_headers),
            }
        }
        let extracted = config.propagation.propagator.extract(&headers);
        let parent = extracted.parent.and_then(|parent| parent.span_id);
        let owner = live::owner_of_parent(host, parent).or_else(|| live::owner_of_last_started(host));
        if let Some(owner) = owner {
            plugin.report_duplicate(host, &owner);
            return Err(Duplicate);
        }
        let header =
            |condition: &HeaderCondition| lines.iter().any(|(name, value)| condition.is_met_by(name, value));
        let parts = head.parts();
        let decision = Decision::new(host, config, plugin.limiter.as_ref(), &extracted, parts, header);
        propagation::count(&extracted, &decision);
        let is_trusted = config.propagation.edge == Edge::Trust;
        forward(&lines, &headers, parts.authority, &decision, &extracted);
        let has_tracestate = is_trusted || decision.link.is_some();
        let tracestate = extracted.tracestate.with_line(str::to_owned).filter(|_| has_tracestate);
        Ok(Self {
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
            header_bytes: header_bytes as u64,
            live: None,
        })
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

/// Returns whether proxies set the header: Envoy adds these to what the caller sent.
fn is_set_by_proxies(name: &[u8]) -> bool {
    name.starts_with(b"x-")
        && (name.starts_with(b"x-envoy-") || name.starts_with(b"x-forwarded-") || name == b"x-request-id")
}
