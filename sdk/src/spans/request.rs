//! [`RequestSpan`]: the span of an incoming or outgoing request.

use logtracer_core::otlp::Attributes;
use logtracer_core::request::Exchange;
use logtracer_core::span::{Span, SpanKind, SpanStatus};
use logtracer_core::{Sampling, TraceContext};

use super::open::Open;
use super::queue;
use crate::current::{TraceContextExt, tracestate_of};
use crate::system;

/// A request whose span is recorded at its end.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    context: TraceContext,
    kind: SpanKind,
    start_unix_nanos: u64,
    open: Open,
}

impl RequestSpan {
    /// Returns the context of the request, and its span if one is recorded.
    ///
    /// If the context is the span of another service or of the caller (`is_parent`), the request gets a child of it.
    /// Otherwise the context was made for this request.
    pub(crate) fn start(
        kind: SpanKind,
        context: TraceContext,
        wants_span: bool,
        is_parent: bool,
    ) -> (TraceContext, Option<Self>) {
        let was_decided = context.sampling.is_decided();
        let context = queue::decide_around(kind, context);
        if !queue::is_recorded(&context) {
            return (context, None);
        }
        if !wants_span {
            // The ids of a new context name no recorded span: without a decision of the caller, nothing below them
            // is sampled.
            let keeps_decision = is_parent || was_decided;
            return (if keeps_decision { context } else { context.with_sampling(Sampling::Deny) }, None);
        }
        let context = if is_parent { context.child() } else { context };
        let open = Open::new(context.span_id);
        (context, Some(Self { context, kind, start_unix_nanos: system::unix_nanos(), open }))
    }

    /// Records the span. Its status is `Error` if the request `failed`, whatever the response is.
    pub(crate) fn end(
        self,
        exchange: &Exchange<'_>,
        name: &[u8],
        failed: bool,
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        let carried = tracestate_of(self.context.trace_id);
        let tracestate = carried.as_ref().and_then(|carried| carried.tracestate.as_deref());
        let details = self.open.close();
        let failed = failed || details.as_ref().is_some_and(|details| details.failed);
        let span = Span {
            context: self.context,
            tracestate: tracestate.unwrap_or_default(),
            name,
            kind: self.kind,
            start_unix_nanos: self.start_unix_nanos,
            end_unix_nanos: self.start_unix_nanos.saturating_add(exchange.duration.as_nanos() as u64),
            status: if failed { SpanStatus::Error } else { exchange.outcome.span_status(self.kind) },
            link: None,
        };
        queue::record(&span, |to| {
            match &details {
                // A value of the application has precedence over that of the layer.
                Some(details) => {
                    to.attributes_except(|key| details.has_attribute(key), attributes);
                    details.write(to);
                }
                None => attributes(&mut to.attributes()),
            }
        });
    }
}
