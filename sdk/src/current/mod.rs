//! The current trace of a thread.
//!
//! ```text
//!  TraceContextExt::run, .enter ──► Scope ──► CONTEXT ──► current_trace()
//!  requests, in_trace, spans          │  └──► CARRIED ──► headers of the next hop
//!                                     └─────► stack of bindings: the values to restore
//! ```
//!
//! With the feature `opentelemetry`, what is current is also OpenTelemetry's current context ([`Mirror`]), and a span
//! that OpenTelemetry entered later is the current one ([`foreign`]).
//!
//! Two thread-locals hold what is current: the [`TraceContext`], a plain value that takes a nanosecond to read, and
//! [`Carried`], the values that go with it to the next hop. Only clients read [`Carried`].
//! Calls and polls end in the reverse order of their start ([`Scope::enter`]); guards and spans may end in any order
//! ([`Scope::bind`], [`unbind`]).
//!
//! Invariant: no binding outlives the scope in which it was made, so that a guard held over an `.await` has no effect
//! on other tasks of the thread.

mod bindings;
mod context_ext;
mod mirror;
mod scope;

use std::cell::Cell;
use std::sync::Arc;

#[cfg(feature = "logging")]
pub(crate) use bindings::has_only_span_bindings;
#[cfg_attr(not(feature = "logging"), allow(unused_imports))]
pub(crate) use bindings::{Key, unbind};
pub(crate) use context_ext::join;
pub use context_ext::{TraceContextExt, TraceGuard};
use logtracer_core::{TraceContext, TraceId};
use mirror::{Attached, Mirror, foreign};
pub(crate) use scope::{Scope, detached};

thread_local! {
    static CONTEXT: Cell<Option<TraceContext>> = const { Cell::new(None) };
    static CARRIED: Cell<Option<Arc<Carried>>> = const { Cell::new(None) };
}

// Invariant: `CONTEXT` has no destructor, so that `with` does not panic while the thread ends.
// (`try_with` does not panic either, but copies the value twice.)
const _: () = assert!(!std::mem::needs_drop::<Cell<Option<TraceContext>>>());

/// Returns the trace that the calling code works for, or `None` outside of a request.
///
/// It works anywhere at any time, never panics, and takes about a nanosecond.
/// It does not depend on log levels or on a subscriber.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{TraceContext, current_trace};
///
/// assert_eq!(current_trace(), None);
/// let context = TraceContext::new_root();
/// context.run(|| assert_eq!(current_trace(), Some(context)));
/// assert_eq!(current_trace(), None);
/// ```
#[inline]
pub fn current_trace() -> Option<TraceContext> {
    let own = CONTEXT.with(Cell::get);
    foreign(own).or(own)
}

/// Returns the current span of OpenTelemetry if it was entered after the trace that this crate has made current.
#[cfg_attr(not(any(feature = "logging", feature = "server")), allow(dead_code))]
pub(crate) fn foreign_span() -> Option<TraceContext> {
    foreign(CONTEXT.with(Cell::get))
}

/// What is carried beside a trace to the next hop, unread.
// A server writes it and a client reads it.
#[cfg_attr(not(all(feature = "server", feature = "client")), allow(dead_code))]
#[derive(Debug)]
pub(crate) struct Carried {
    /// The trace that it belongs to.
    pub(crate) trace_id: TraceId,
    /// Envoy's `x-request-id`.
    pub(crate) request_id: Option<Box<str>>,
    /// W3C `tracestate`, in one line.
    pub(crate) tracestate: Option<Box<str>>,
    /// W3C `baggage`, in one line.
    pub(crate) baggage: Option<Box<str>>,
    /// What the application adds to the line and the span of the request, if it has one of them. It is not sent.
    #[cfg(feature = "server")]
    pub(crate) fields: Option<crate::request::RequestFields>,
}

impl Carried {
    /// Carries a tracestate only.
    pub(crate) fn tracestate(trace_id: TraceId, tracestate: Option<Box<str>>) -> Self {
        Self {
            trace_id,
            request_id: None,
            tracestate,
            baggage: None,
            #[cfg(feature = "server")]
            fields: None,
        }
    }
}

/// Returns what this thread carries beside a trace.
pub(crate) fn carried_beside(trace_id: TraceId) -> Option<Arc<Carried>> {
    carried().filter(|carried| carried.trace_id == trace_id)
}

/// Returns the W3C `tracestate` of a trace, with the trace that it belongs to: that of OpenTelemetry's current span if
/// it is in this trace, because a span may have changed it, otherwise what this thread carries.
pub(crate) fn tracestate_of(trace_id: TraceId) -> Option<Arc<Carried>> {
    mirror::carried_beside(trace_id).or_else(|| carried_beside(trace_id))
}

fn carried() -> Option<Arc<Carried>> {
    let carried = CARRIED.try_with(|cell| {
        let carried = cell.take();
        cell.set(carried.clone());
        carried
    });
    carried.unwrap_or_default()
}

fn swap_carried(other: &mut Option<Arc<Carried>>) {
    let _ = CARRIED.try_with(|cell| *other = cell.replace(other.take()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scope that carries a request id.
    fn scope_of(context: TraceContext) -> Scope {
        let trace_id = context.trace_id;
        Scope::new(
            context,
            Some(Carried {
                trace_id,
                request_id: Some("7".into()),
                tracestate: None,
                baggage: None,
                #[cfg(feature = "server")]
                fields: None,
            }),
        )
    }

    #[test]
    fn guards_may_be_dropped_in_any_order() {
        let contexts = [(); 3].map(|()| TraceContext::new_root());
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1]] {
            let mut guards = contexts.map(|context| Some(context.enter()));
            for index in order {
                guards[index] = None;
                let latest = guards.iter().rposition(Option::is_some);
                assert_eq!(current_trace(), latest.map(|index| contexts[index]), "{order:?}");
            }
        }
    }

    #[test]
    fn a_guard_may_be_dropped_in_a_scope_above_it() {
        let (outer, inner) = (TraceContext::new_root(), TraceContext::new_root());
        let guard = outer.enter();
        inner.run(|| {
            drop(guard);
            assert_eq!(current_trace(), Some(inner));
        });
        assert_eq!(current_trace(), None);
    }

    #[test]
    fn a_guard_does_not_outlive_its_scope() {
        let context = TraceContext::new_root();
        let mut scope = scope_of(context);
        for _ in 0..2 {
            let entered = scope.enter();
            assert!(carried().is_some());
            let guard = TraceContext::new_root().enter();
            assert!(carried().is_none());
            drop(entered);
            assert_eq!((current_trace(), carried().is_none()), (None, true));
            drop(guard);
            assert_eq!((current_trace(), carried().is_none()), (None, true));
        }
    }

    #[test]
    fn a_panic_restores_what_was_before() {
        let outer = TraceContext::new_root();
        outer.run(|| {
            let caught = std::panic::catch_unwind(|| TraceContext::new_root().run(|| panic!("on purpose")));
            assert!(caught.is_err());
            assert_eq!(current_trace(), Some(outer));
        });
    }

    #[test]
    fn only_its_own_trace_carries_a_value() {
        let context = TraceContext::new_root();
        let mut scope = scope_of(context);
        let request_id = || carried().and_then(|carried| carried.request_id.clone());
        let entered = scope.enter();
        assert_eq!(request_id().as_deref(), Some("7"));
        context.child().run(|| assert_eq!(request_id().as_deref(), Some("7")));
        TraceContext::new_root().run(|| assert_eq!(request_id(), None));
        let guard = TraceContext::new_root().enter();
        assert_eq!(request_id(), None);
        drop(guard);
        assert_eq!(request_id().as_deref(), Some("7"));
        drop(entered);
        assert_eq!(request_id(), None);
    }

    #[test]
    fn it_works_while_a_thread_ends() {
        struct CheckedOnDrop;
        impl Drop for CheckedOnDrop {
            fn drop(&mut self) {
                let context = TraceContext::new_root();
                assert_eq!(context.run(current_trace), Some(context));
                drop(context.enter());
                let _ = (current_trace(), carried(), Scope::current());
            }
        }
        thread_local!(static LAST: CheckedOnDrop = const { CheckedOnDrop });
        let thread = std::thread::spawn(|| {
            LAST.with(|_| TraceContext::new_root().run(current_trace));
            let _ = (TraceContext::new_root().enter(), carried());
        });
        assert!(thread.join().is_ok());
    }
}
