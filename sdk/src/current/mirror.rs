//! The current trace in OpenTelemetry's current context; nothing without the feature `opentelemetry`.

#[cfg(feature = "opentelemetry")]
pub(crate) use crate::opentelemetry::{Attached, Mirror, carried_beside, foreign};

#[cfg(not(feature = "opentelemetry"))]
pub(crate) use without_bridge::{Attached, Mirror, carried_beside, foreign};

#[cfg(not(feature = "opentelemetry"))]
mod without_bridge {
    use std::sync::Arc;

    use crate::current::Carried;
    use crate::{TraceContext, TraceId};

    #[inline(always)]
    pub(crate) fn foreign(_own: Option<TraceContext>) -> Option<TraceContext> {
        None
    }

    #[inline(always)]
    pub(crate) fn carried_beside(_trace_id: TraceId) -> Option<Arc<Carried>> {
        None
    }

    #[derive(Debug, Clone, Default)]
    pub(crate) struct Mirror(());

    impl Mirror {
        #[inline(always)]
        pub(crate) fn of(_trace: &TraceContext, _carried: Option<&Carried>) -> Self {
            Self(())
        }

        #[inline(always)]
        pub(crate) fn without_span() -> Self {
            Self(())
        }

        #[inline(always)]
        pub(crate) fn attach(&self) -> Attached {
            Attached(())
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Attached(());
}
