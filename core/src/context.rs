//! [`TraceContext`]: where in which trace a piece of work stands, and whether it is recorded.

use crate::{SpanId, TraceId};

/// Whether the spans of a trace are recorded, in B3's words.
///
/// The decision goes down the whole trace with the headers.
/// Ids are made and passed on whatever it is, so that the logs of a trace that is not recorded still find each
/// other.
///
/// ```
/// use logtracer_core::Sampling;
///
/// assert_eq!(Sampling::default(), Sampling::Defer);
/// assert!(Sampling::Debug.is_sampled() && !Sampling::Defer.is_sampled());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sampling {
    /// Recorded.
    Accept,
    /// Not recorded.
    Deny,
    /// Not decided yet: whoever comes next decides.
    #[default]
    Defer,
    /// Recorded, and a wish to be recorded by everyone; implies [`Sampling::Accept`].
    Debug,
}

impl Sampling {
    /// True where spans are recorded; a deferred decision is not one.
    ///
    /// ```
    /// use logtracer_core::Sampling;
    ///
    /// let sampled = [Sampling::Accept, Sampling::Deny, Sampling::Defer, Sampling::Debug].map(Sampling::is_sampled);
    /// assert_eq!(sampled, [true, false, false, true]);
    /// ```
    pub const fn is_sampled(self) -> bool {
        matches!(self, Self::Accept | Self::Debug)
    }

    /// True where someone has decided already.
    ///
    /// ```
    /// use logtracer_core::Sampling;
    ///
    /// assert!(Sampling::Deny.is_decided());
    /// assert!(!Sampling::Defer.is_decided());
    /// ```
    pub const fn is_decided(self) -> bool {
        !matches!(self, Self::Defer)
    }

    /// `Accept` for true, `Deny` for false.
    ///
    /// ```
    /// use logtracer_core::Sampling;
    ///
    /// assert_eq!([true, false].map(Sampling::from_sampled), [Sampling::Accept, Sampling::Deny]);
    /// ```
    pub const fn from_sampled(sampled: bool) -> Self {
        if sampled { Self::Accept } else { Self::Deny }
    }
}

/// The position of one span: its own id, the id of its parent, and the trace that both belong to.
///
/// `Copy`, and without anything on the heap.
///
/// ```
/// use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
///
/// let (trace_id, span_id) = (TraceId::new(7).unwrap(), SpanId::new(74).unwrap());
/// let root = TraceContext { trace_id, span_id, parent_span_id: None, sampling: Sampling::Accept, random_trace_id: false };
/// assert_eq!(root, TraceContext::root(trace_id, span_id, Sampling::Accept));
/// assert_eq!(std::mem::size_of::<Option<TraceContext>>(), 48);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that this context stands for; the next hop sees it as its parent.
    pub span_id: SpanId,
    /// The span above, `None` for the root of a trace.
    pub parent_span_id: Option<SpanId>,
    /// The decision that goes down with the ids.
    pub sampling: Sampling,
    /// True where the low 56 bits of the trace id are random: the caller's `traceparent` says so, or whoever made
    /// the id knows it.
    pub random_trace_id: bool,
}

impl TraceContext {
    pub(crate) const SAMPLED: u8 = 0x01;
    /// Level 2, section 3.2.2.5.2.
    pub(crate) const RANDOM_TRACE_ID: u8 = 0x02;

    /// The trace flags of W3C Trace Context.
    pub(crate) const fn flags(&self) -> u8 {
        let sampled = if self.sampling.is_sampled() { Self::SAMPLED } else { 0 };
        let random = if self.random_trace_id { Self::RANDOM_TRACE_ID } else { 0 };
        sampled | random
    }

    /// The first span of a new trace.
    ///
    /// ```
    /// use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
    ///
    /// let (trace_id, span_id) = (TraceId::new(7).unwrap(), SpanId::new(74).unwrap());
    /// assert_eq!(TraceContext::root(trace_id, span_id, Sampling::Defer).parent_span_id, None);
    /// ```
    pub const fn root(trace_id: TraceId, span_id: SpanId, sampling: Sampling) -> Self {
        Self { trace_id, span_id, parent_span_id: None, sampling, random_trace_id: false }
    }

    /// The same span in a trace whose id is random (W3C Trace Context level 2).
    ///
    /// ```
    /// use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
    ///
    /// let (trace_id, span_id) = (TraceId::new(0x9e37_79b9_7f4a_7c15).unwrap(), SpanId::new(74).unwrap());
    /// assert!(TraceContext::root(trace_id, span_id, Sampling::Accept).with_random_trace_id().random_trace_id);
    /// ```
    #[must_use]
    pub const fn with_random_trace_id(self) -> Self {
        Self { random_trace_id: true, ..self }
    }

    /// The same span under another decision.
    ///
    /// ```
    /// use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
    ///
    /// let (trace_id, span_id) = (TraceId::new(7).unwrap(), SpanId::new(74).unwrap());
    /// let undecided = TraceContext::root(trace_id, span_id, Sampling::Defer);
    /// let decided = undecided.with_sampling(Sampling::Deny);
    /// assert_eq!((decided.span_id, decided.sampling), (span_id, Sampling::Deny));
    /// ```
    #[must_use]
    pub const fn with_sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }
}

/// What a caller says of itself in its headers.
///
/// Unlike a [`TraceContext`] it may name a trace without a span: Google's load balancers send `T/0` and `T`.
///
/// ```
/// use logtracer_core::propagation::{Propagator, TraceHeaders};
///
/// let headers = TraceHeaders::collect([("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/0;o=1")]);
/// let remote = Propagator::default().extract(&headers).parent.unwrap();
/// assert_eq!(remote.span_id, None);
/// assert!(remote.sampling.is_sampled());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RemoteContext {
    /// The caller's trace.
    pub trace_id: TraceId,
    /// The caller's span, if it has one.
    pub span_id: Option<SpanId>,
    /// The span above the caller's, where the format tells it (B3).
    pub parent_span_id: Option<SpanId>,
    /// The caller's decision.
    pub sampling: Sampling,
    /// True where its `traceparent` says that the low 56 bits of the trace id are random.
    pub random_trace_id: bool,
}

impl RemoteContext {
    /// The span of this hop: below the caller's, or the root of the caller's trace where the caller has no span.
    ///
    /// ```
    /// use logtracer_core::{RemoteContext, Sampling, SpanId, TraceContext, TraceId};
    ///
    /// let (trace_id, span_id) = (TraceId::new(7).unwrap(), SpanId::new(74).unwrap());
    /// let remote = RemoteContext::from(TraceContext::root(trace_id, span_id, Sampling::Accept));
    /// let child = remote.child(SpanId::new(75).unwrap());
    /// assert_eq!((child.trace_id, child.parent_span_id), (trace_id, Some(span_id)));
    /// ```
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

    /// The caller's own span as a context: what a service does that runs behind a sidecar and records no span of
    /// its own. `None` where the caller named no span.
    ///
    /// ```
    /// use logtracer_core::{RemoteContext, Sampling, SpanId, TraceContext, TraceId};
    ///
    /// let (trace_id, span_id) = (TraceId::new(7).unwrap(), SpanId::new(74).unwrap());
    /// let remote = RemoteContext::from(TraceContext::root(trace_id, span_id, Sampling::Accept));
    /// assert_eq!(remote.join().map(|context| context.span_id), Some(span_id));
    /// assert_eq!(RemoteContext { span_id: None, ..remote }.join(), None);
    /// ```
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
