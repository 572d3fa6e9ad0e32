//! [`RandomId`]: ids from the random source of the system.

use crate::{SpanId, TraceId, system};

/// Random ids, for a context that is made by hand.
///
/// [`TraceContextExt::new_root`](crate::TraceContextExt::new_root) and
/// [`child`](crate::TraceContextExt::child) make whole contexts.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{Sampling, SpanId, TraceContext, TraceId};
///
/// let job = TraceContext::root(TraceId::random(), SpanId::random(), Sampling::Accept).with_random_trace_id();
/// assert_eq!(job.to_traceparent(), format!("00-{}-{}-03", job.trace_id, job.span_id));
/// assert_ne!(TraceId::random(), TraceId::random());
/// ```
pub trait RandomId {
    /// Returns a new id. All its bits are random.
    fn random() -> Self;
}

impl RandomId for TraceId {
    fn random() -> Self {
        system::new_trace_id()
    }
}

impl RandomId for SpanId {
    fn random() -> Self {
        system::new_span_id()
    }
}
