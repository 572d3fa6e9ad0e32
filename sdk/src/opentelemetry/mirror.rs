//! The current trace in OpenTelemetry's current context.
//!
//! Invariant: a trace that this crate makes current is also OpenTelemetry's current span, for exactly as long. So if
//! OpenTelemetry's current span is another one, it was entered later, and it is the innermost.
//!
//! Invariant: nothing here keeps an OpenTelemetry span alive beyond the poll or the guard that entered it. Many spans
//! end when they are dropped, and would end too late.

use std::fmt;
use std::mem;
use std::sync::Arc;

use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, ContextGuard};

use super::convert::{from_context, with_remote_span};
use super::thread;
use crate::current::Carried;
use crate::{Sampling, TraceContext, TraceId};

/// Returns OpenTelemetry's current span if it is another one than the trace that this crate has made current.
pub(crate) fn foreign(own: Option<TraceContext>) -> Option<TraceContext> {
    let span = thread::with_current(from_context)??;
    match own {
        Some(own) if is_same(&own, &span) => None,
        Some(own) if own.trace_id == span.trace_id => {
            // What OpenTelemetry does not know about the trace.
            let is_debug = own.sampling == Sampling::Debug && span.sampling.is_sampled();
            let sampling = if is_debug { Sampling::Debug } else { span.sampling };
            Some(TraceContext { sampling, random_trace_id: own.random_trace_id, ..span })
        }
        _ => Some(span),
    }
}

fn is_same(one: &TraceContext, other: &TraceContext) -> bool {
    (one.trace_id, one.span_id) == (other.trace_id, other.span_id)
}

/// Returns the `tracestate` of OpenTelemetry's current span, if it is in this trace and has one.
pub(crate) fn carried_beside(trace_id: TraceId) -> Option<Arc<Carried>> {
    thread::with_current(|context| {
        let span = context.span();
        let span = span.span_context();
        let tracestate = span.trace_state();
        if span.trace_id().to_bytes() != trace_id.to_bytes() || *tracestate == Default::default() {
            return None;
        }
        let tracestate = Some(tracestate.header().into());
        Some(Arc::new(Carried::tracestate(trace_id, tracestate)))
    })?
}

/// A trace as an OpenTelemetry context, with the values (such as baggage) that were current when it was made.
#[derive(Clone, Default)]
pub(crate) struct Mirror(Option<Context>);

impl Mirror {
    pub(crate) fn of(trace: &TraceContext, carried: Option<&Carried>) -> Self {
        Self(thread::with_current(|current| with_remote_span(current, trace, carried)))
    }

    /// The current values without a span.
    pub(crate) fn without_span() -> Self {
        Self(thread::with_current(|current| current.with_remote_span_context(SpanContext::NONE)))
    }

    /// Makes this OpenTelemetry's current context until the returned guard is dropped.
    ///
    /// If OpenTelemetry's current span is this one, the current context stays: its span may be the recording one.
    pub(crate) fn attach(&self) -> Attached {
        let Some(context) = &self.0 else { return Attached(None) };
        let context = thread::with_current(|current| {
            let is_current = current.span().span_context().span_id()
                == context.span().span_context().span_id()
                && current.span().span_context().trace_id() == context.span().span_context().trace_id();
            if is_current { current.clone() } else { context.clone() }
        });
        Attached(context.map(Context::attach))
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mirror")
    }
}

/// The guard of a [`Mirror`] that is attached. Dropping it may end a span, which runs foreign code.
#[derive(Debug, Default)]
pub(crate) struct Attached(Option<ContextGuard>);

impl Drop for Attached {
    fn drop(&mut self) {
        // While the thread ends, OpenTelemetry's stack may be gone, and dropping the guard would panic.
        if !thread::is_usable() {
            mem::forget(self.0.take());
        }
    }
}
