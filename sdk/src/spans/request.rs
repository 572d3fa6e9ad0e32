//! [`RequestSpan`]: the span of a request that comes in or goes out.

use logtracer_core::request::Exchange;
use logtracer_core::span::{Span, SpanKind, SpanStatus};
use logtracer_core::{Sampling, TraceContext};

use super::queue;
use crate::system;
use crate::current::{TraceContextExt, carried_beside};

/// A request whose span will be recorded.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    context: TraceContext,
    kind: SpanKind,
    start_unix_nanos: u64,
}

impl RequestSpan {
    /// The context to work in, and the span if there is one.
    ///
    /// A context that is someone else's span gets a child; one that was made for this request is the span itself.
    pub(crate) fn start(
        kind: SpanKind,
        context: TraceContext,
        wanted: bool,
        is_of_another: bool,
    ) -> (TraceContext, Option<Self>) {
        let is_decided = context.sampling.is_decided();
        let context = queue::decided(context);
        if !queue::records(&context) {
            return (context, None);
        }
        if !wanted {
            // Without a span of its own nothing may hang below the ids that were made for it, unless the caller
            // has decided otherwise.
            let stands = is_of_another || is_decided;
            return (if stands { context } else { context.with_sampling(Sampling::Deny) }, None);
        }
        let context = if is_of_another { context.child() } else { context };
        (context, Some(Self { context, kind, start_unix_nanos: system::unix_nanos() }))
    }

    /// Records the span; one that `failed` got no response at all.
    pub(crate) fn end(&self, exchange: &Exchange<'_>, failed: bool) {
        let carried = carried_beside(self.context.trace_id);
        let tracestate = carried.as_ref().and_then(|carried| carried.tracestate.as_deref());
        let mut name = Vec::with_capacity(64);
        exchange.write_span_name(&mut name);
        let span = Span {
            context: self.context,
            tracestate: tracestate.unwrap_or_default(),
            name: &name,
            kind: self.kind,
            start_unix_nanos: self.start_unix_nanos,
            end_unix_nanos: self.start_unix_nanos.saturating_add(exchange.duration.as_nanos() as u64),
            status: if failed { SpanStatus::Error } else { exchange.outcome.span_status(self.kind) },
            link: None,
        };
        queue::record(&span, |attributes| exchange.write_attributes(self.kind, attributes));
    }
}
