//! [`RootSampler`]: OpenTelemetry's sampler decides on a trace on which nobody has decided.

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue, SpanId, TraceId};
use opentelemetry_sdk::trace::{SamplingResult, ShouldSample};

/// A sampler that treats a span as a root if nobody has decided on its trace.
///
/// A request without trace headers, or whose headers leave the decision to the next hop, has an undecided trace, which
/// OpenTelemetry cannot express: it sees a sampled parent, and a `ParentBased` sampler samples every such trace.
/// With this sampler around it, the sampler of the root decides.
///
/// ```
/// use logtracer_sdk::opentelemetry::RootSampler;
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{Sampling, TraceContext};
/// use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
/// use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
///
/// let none = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(0.0)));
/// let provider = SdkTracerProvider::builder().with_sampler(RootSampler::new(none)).build();
/// let is_sampled = || provider.tracer("shop").start("basket").span_context().is_sampled();
///
/// let undecided = TraceContext::new_root();
/// assert!(!undecided.run(is_sampled));
/// assert!(undecided.with_sampling(Sampling::Accept).run(is_sampled));
/// ```
#[derive(Debug, Clone)]
pub struct RootSampler<S>(S);

impl<S> RootSampler<S> {
    /// Calls `sampler`, without the parent if the trace is undecided.
    pub fn new(sampler: S) -> Self {
        Self(sampler)
    }
}

impl<S: ShouldSample + Clone + 'static> ShouldSample for RootSampler<S> {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent_context = parent_context.filter(|context| !Undecided::is_parent(context));
        self.0.should_sample(parent_context, trace_id, name, span_kind, attributes, links)
    }
}

/// A value of an OpenTelemetry context: nobody has decided on the trace of this remote span.
///
/// Contexts below keep the value, so it names its span.
pub(super) struct Undecided(SpanId);

impl Undecided {
    pub(super) fn on(span: &SpanContext) -> Self {
        Self(span.span_id())
    }

    /// Returns true if nobody has decided on the trace of the current span of this context.
    pub(super) fn is_parent(context: &Context) -> bool {
        context.get::<Self>().is_some_and(|undecided| undecided.0 == context.span().span_context().span_id())
    }
}
