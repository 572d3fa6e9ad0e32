//! A [`TraceContext`] as an OpenTelemetry context, and back.

use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
use opentelemetry::{Context, SpanId as OtelSpanId, TraceId as OtelTraceId};

use super::sampler::Undecided;
use super::thread;
use crate::current::{Carried, tracestate_of};
use crate::{Sampling, SpanId, TraceContext, TraceId};

/// Returns OpenTelemetry's current context with this trace as its remote span.
///
/// A span that starts under it is a child of this one. The W3C `tracestate` of the request that is being served goes
/// with it. The bridge does this by itself for every trace that becomes current.
///
/// ```
/// use logtracer_sdk::TraceContext;
/// use logtracer_sdk::opentelemetry::to_context;
/// use logtracer_sdk::prelude::*;
/// use opentelemetry::trace::TraceContextExt as _;
///
/// let trace = TraceContext::new_root();
/// let context = to_context(&trace);
/// assert_eq!(context.span().span_context().span_id().to_bytes(), trace.span_id.to_bytes());
/// assert!(context.span().span_context().is_remote());
/// ```
pub fn to_context(trace: &TraceContext) -> Context {
    let current = thread::with_current(Context::clone).unwrap_or_default();
    with_remote_span(&current, trace, tracestate_of(trace.trace_id).as_deref())
}

/// Returns the span of an OpenTelemetry context, or `None` if it has none.
///
/// The id of the parent is unknown, and OpenTelemetry always has a sampling decision.
///
/// ```
/// use logtracer_sdk::Sampling;
/// use logtracer_sdk::opentelemetry::from_context;
/// use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
///
/// # let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
/// let span = provider.tracer("shop").start("basket");
/// let context = opentelemetry::Context::new().with_span(span);
/// let trace = from_context(&context).unwrap();
/// assert_eq!(trace.span_id.to_string(), context.span().span_context().span_id().to_string());
/// assert_eq!(trace.sampling, Sampling::Accept);
/// assert_eq!(from_context(&opentelemetry::Context::new()), None);
/// ```
pub fn from_context(context: &Context) -> Option<TraceContext> {
    if !context.has_active_span() {
        return None;
    }
    let span = context.span();
    let span = span.span_context();
    Some(TraceContext {
        trace_id: TraceId::from_bytes(span.trace_id().to_bytes())?,
        span_id: SpanId::from_bytes(span.span_id().to_bytes())?,
        parent_span_id: None,
        sampling: match Undecided::is_parent(context) {
            true => Sampling::Defer,
            false => Sampling::from_sampled(span.is_sampled()),
        },
        // The other bits of the flags are not read: OpenTelemetry's B3 propagator gives them another meaning.
        random_trace_id: false,
    })
}

/// Returns `base` with this trace as its remote span.
pub(super) fn with_remote_span(base: &Context, trace: &TraceContext, carried: Option<&Carried>) -> Context {
    let tracestate = carried.and_then(|carried| carried.tracestate.as_deref());
    let tracestate = tracestate.and_then(|line| line.parse().ok()).unwrap_or(TraceState::NONE);
    let is_decided = trace.sampling.is_decided();
    let flags = match trace.sampling.is_sampled() || !is_decided {
        true => TraceFlags::SAMPLED,
        false => TraceFlags::NOT_SAMPLED,
    };
    let span = SpanContext::new(
        OtelTraceId::from_bytes(trace.trace_id.to_bytes()),
        OtelSpanId::from_bytes(trace.span_id.to_bytes()),
        flags,
        true,
        tracestate,
    );
    if is_decided {
        base.with_remote_span_context(span)
    } else {
        base.with_value(Undecided::on(&span)).with_remote_span_context(span)
    }
}
