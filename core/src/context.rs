//! [`TraceContext`]: the ids of a span and its trace, and the sampling decision.

use crate::{SpanId, TraceId};

/// The sampling decision of a trace, in the terms of B3.
///
/// The headers carry the decision to every hop of the trace.
/// Ids are created and propagated for every decision, so that the log lines of an unsampled trace are still linked.
///
/// ```
/// # use logtracer_core::Sampling;
/// assert_eq!(Sampling::default(), Sampling::Defer);
/// assert!(Sampling::Debug.is_sampled() && !Sampling::Defer.is_sampled());
/// assert!(Sampling::Deny.is_decided() && !Sampling::Defer.is_decided());
/// assert_eq!([true, false].map(Sampling::from_sampled), [Sampling::Accept, Sampling::Deny]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sampling {
    /// The spans are recorded.
    Accept,
    /// The spans are not recorded.
    Deny,
    /// Not decided yet: the next hop decides.
    #[default]
    Defer,
    /// The spans are recorded, and every hop is requested to do so. Implies [`Sampling::Accept`].
    Debug,
}

impl Sampling {
    /// Returns true if spans are recorded. This is false for a deferred decision.
    pub const fn is_sampled(self) -> bool {
        matches!(self, Self::Accept | Self::Debug)
    }

    /// Returns true unless the decision is deferred.
    pub const fn is_decided(self) -> bool {
        !matches!(self, Self::Defer)
    }

    /// Returns `Accept` for true and `Deny` for false.
    pub const fn from_sampled(sampled: bool) -> Self {
        if sampled { Self::Accept } else { Self::Deny }
    }
}

/// The context of one span: its id, the id of its parent, their trace, and the sampling decision.
///
/// ```
/// # use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
/// let (trace_id, span_id) = (TraceId::new(7).unwrap(), SpanId::new(74).unwrap());
/// let root = TraceContext { trace_id, span_id, parent_span_id: None, sampling: Sampling::Accept, random_trace_id: false };
/// assert_eq!(root, TraceContext::root(trace_id, span_id, Sampling::Accept));
/// assert_eq!(root.with_sampling(Sampling::Deny).sampling, Sampling::Deny);
/// assert!(root.with_random_trace_id().random_trace_id);
/// assert_eq!(std::mem::size_of::<Option<TraceContext>>(), 48);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The id of the trace.
    pub trace_id: TraceId,
    /// The id of the span. The next hop sees it as its parent.
    pub span_id: SpanId,
    /// The id of the parent span, `None` for the root of a trace.
    pub parent_span_id: Option<SpanId>,
    /// The decision that the headers carry with the ids.
    pub sampling: Sampling,
    /// True if the low 56 bits of the trace id are known to be random, from the caller's `traceparent` or because
    /// this hop generated the id.
    pub random_trace_id: bool,
}

impl TraceContext {
    pub(crate) const SAMPLED: u8 = 0x01;
    /// W3C Trace Context level 2, section 3.2.2.5.2.
    pub(crate) const RANDOM_TRACE_ID: u8 = 0x02;

    /// Returns the trace flags of W3C Trace Context, 0 to 3.
    pub const fn flags(&self) -> u8 {
        let sampled = if self.sampling.is_sampled() { Self::SAMPLED } else { 0 };
        let random = if self.random_trace_id { Self::RANDOM_TRACE_ID } else { 0 };
        sampled | random
    }

    /// Returns the context of the first span of a new trace.
    pub const fn root(trace_id: TraceId, span_id: SpanId, sampling: Sampling) -> Self {
        Self { trace_id, span_id, parent_span_id: None, sampling, random_trace_id: false }
    }

    /// Marks the trace id as random (W3C Trace Context level 2).
    #[must_use]
    pub const fn with_random_trace_id(self) -> Self {
        Self { random_trace_id: true, ..self }
    }

    /// Replaces the sampling decision.
    #[must_use]
    pub const fn with_sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }
}

/// The context of the caller, extracted from its headers.
///
/// Unlike a [`TraceContext`] it may have a trace without a span: Google's load balancers send `T/0` and `T`.
///
/// ```
/// # use logtracer_core::propagation::{Propagator, TraceHeaders};
/// # use logtracer_core::{RemoteContext, SpanId};
/// let headers = TraceHeaders::collect([("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/0;o=1")]);
/// let remote = Propagator::default().extract(&headers).parent.unwrap();
/// assert_eq!(remote.span_id, None);
/// assert!(remote.sampling.is_sampled());
///
/// let child = remote.child(SpanId::new(75).unwrap());
/// assert_eq!((child.trace_id, child.parent_span_id), (remote.trace_id, None));
/// assert_eq!(RemoteContext::from(child).join(), Some(child));
/// assert_eq!(remote.join(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RemoteContext {
    /// The id of the trace.
    pub trace_id: TraceId,
    /// The id of the caller's span, if it has one.
    pub span_id: Option<SpanId>,
    /// The id of the parent of the caller's span, if the format carries it (B3).
    pub parent_span_id: Option<SpanId>,
    /// The caller's decision.
    pub sampling: Sampling,
    /// True if the caller's `traceparent` marks the low 56 bits of the trace id as random.
    pub random_trace_id: bool,
}

impl RemoteContext {
    /// Returns the context of this hop's span: a child of the caller's span, or the root of the caller's trace if the
    /// caller has no span.
    #[must_use]
    pub const fn child(&self, span_id: SpanId) -> TraceContext {
        TraceContext {
            trace_id: self.trace_id,
            span_id,
            parent_span_id: self.span_id,
            sampling: self.sampling,
            random_trace_id: self.random_trace_id,
        }
    }

    /// Returns the context of the caller's span, for a service that records no span itself because its sidecar does.
    /// Returns `None` if the caller has no span.
    #[must_use]
    pub fn join(&self) -> Option<TraceContext> {
        Some(TraceContext {
            trace_id: self.trace_id,
            span_id: self.span_id?,
            parent_span_id: self.parent_span_id,
            sampling: self.sampling,
            random_trace_id: self.random_trace_id,
        })
    }
}

impl From<TraceContext> for RemoteContext {
    fn from(context: TraceContext) -> Self {
        Self {
            trace_id: context.trace_id,
            span_id: Some(context.span_id),
            parent_span_id: context.parent_span_id,
            sampling: context.sampling,
            random_trace_id: context.random_trace_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// What each decision means for the spans, for later hops and for the trace flags.
    #[test]
    fn decisions() {
        let root = TraceContext::root(TraceId::new(7).unwrap(), SpanId::new(74).unwrap(), Sampling::Defer);
        for (sampling, is_sampled, is_decided, flags) in [
            (Sampling::Accept, true, true, 1),
            (Sampling::Deny, false, true, 0),
            (Sampling::Defer, false, false, 0),
            (Sampling::Debug, true, true, 1),
        ] {
            assert_eq!(
                (sampling.is_sampled(), sampling.is_decided()),
                (is_sampled, is_decided),
                "{sampling:?}"
            );
            let context = root.with_sampling(sampling);
            assert_eq!(context, TraceContext { sampling, ..root });
            assert_eq!(context.flags(), flags, "{sampling:?}");
            let random = context.with_random_trace_id();
            assert_eq!(random, TraceContext { sampling, random_trace_id: true, ..root });
            assert_eq!(random.flags(), flags + 2, "{sampling:?}");
        }
        assert_eq!([true, false].map(Sampling::from_sampled), [Sampling::Accept, Sampling::Deny]);
    }
}
