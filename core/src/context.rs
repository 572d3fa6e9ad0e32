//! [`TraceContext`]: where in which trace a piece of work stands, and whether it is recorded.

use crate::{SpanId, TraceId};

/// Whether the spans of a trace are recorded, in B3's words.
///
/// The decision goes down the whole trace with the headers.
/// Ids are made and passed on whatever it is, so that the logs of a trace that is not recorded still find each
/// other.
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
    pub const fn is_sampled(self) -> bool {
        matches!(self, Self::Accept | Self::Debug)
    }

    /// True where someone has decided already.
    pub const fn is_decided(self) -> bool {
        !matches!(self, Self::Defer)
    }

    /// `Accept` for true, `Deny` for false.
    pub const fn from_sampled(sampled: bool) -> Self {
        if sampled { Self::Accept } else { Self::Deny }
    }
}

/// The position of one span: its own id, the id of its parent, and the trace that both belong to.
///
/// `Copy`, and without anything on the heap.
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
}

impl TraceContext {
    /// The first span of a new trace.
    pub const fn root(trace_id: TraceId, span_id: SpanId, sampling: Sampling) -> Self {
        Self { trace_id, span_id, parent_span_id: None, sampling }
    }

    /// The same span under another decision.
    #[must_use]
    pub const fn with_sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }
}

/// What a caller says of itself in its headers.
///
/// Unlike a [`TraceContext`] it may name a trace without a span: Google's load balancers send `T/0` and `T`.
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
}

impl RemoteContext {
    /// The span of this hop: below the caller's, or the root of the caller's trace where the caller has no span.
    #[must_use]
    pub const fn child(&self, span_id: SpanId) -> TraceContext {
        TraceContext {
            trace_id: self.trace_id,
            span_id,
            parent_span_id: self.span_id,
            sampling: self.sampling,
        }
    }

    /// The caller's own span as a context: what a service does that runs behind a sidecar and records no span of
    /// its own. `None` where the caller named no span.
    #[must_use]
    pub fn join(&self) -> Option<TraceContext> {
        Some(TraceContext {
            trace_id: self.trace_id,
            span_id: self.span_id?,
            parent_span_id: self.parent_span_id,
            sampling: self.sampling,
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
        }
    }
}
