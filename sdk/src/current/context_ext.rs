//! [`TraceContextExt`]: new contexts, and how a context becomes current.

use std::marker::PhantomData;

use logtracer_core::{RemoteContext, Sampling, TraceContext};

use super::Scope;
use super::bindings::{Key, next_number, unbind};
use crate::system;

/// Joins the span that a caller or a sender names. A trace without a span gets a new one.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub(crate) fn join(parent: RemoteContext) -> TraceContext {
    parent.join().unwrap_or_else(|| parent.child(system::new_span_id()))
}

/// Methods of [`TraceContext`]: a new root or child, and to make it current.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{TraceContext, current_trace};
///
/// let root = TraceContext::new_root();
/// assert_eq!(root.run(current_trace), Some(root));
/// let child = root.child();
/// assert_eq!((child.trace_id, child.parent_span_id), (root.trace_id, Some(root.span_id)));
/// ```
pub trait TraceContextExt {
    /// Returns the root of a new trace, without a sampling decision.
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{Sampling, TraceContext};
    ///
    /// let context = TraceContext::new_root();
    /// assert_eq!((context.parent_span_id, context.sampling), (None, Sampling::Defer));
    /// assert!(context.random_trace_id, "the random flag of W3C Trace Context level 2");
    /// ```
    fn new_root() -> Self;

    /// Returns a new span below this one, in the same trace and with the same sampling decision.
    #[must_use]
    fn child(&self) -> Self;

    /// Runs `f` with this as the current trace of the thread.
    ///
    /// It is current while `f` runs, on this thread only. For a future use
    /// [`in_trace`](crate::FutureExt::in_trace).
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{TraceContext, current_trace};
    ///
    /// let context = TraceContext::new_root();
    /// let thread = std::thread::spawn(move || context.run(current_trace));
    /// assert_eq!(thread.join().unwrap(), Some(context));
    /// assert_eq!(current_trace(), None);
    /// ```
    fn run<R>(&self, f: impl FnOnce() -> R) -> R;

    /// Makes this the current trace of the thread until the guard is dropped.
    ///
    /// In async code use [`in_trace`](crate::FutureExt::in_trace): a guard that is held over an `.await` does not
    /// move to another thread with its task.
    fn enter(&self) -> TraceGuard;
}

impl TraceContextExt for TraceContext {
    fn new_root() -> Self {
        Self::root(system::new_trace_id(), system::new_span_id(), Sampling::Defer).with_random_trace_id()
    }

    fn child(&self) -> Self {
        Self { span_id: system::new_span_id(), parent_span_id: Some(self.span_id), ..*self }
    }

    fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let mut scope = Scope::of(*self);
        let _entered = scope.enter();
        f()
    }

    fn enter(&self) -> TraceGuard {
        let number = next_number();
        Scope::of(*self).bind(Key::Guard(number));
        TraceGuard { number, not_send: PhantomData }
    }
}

/// Keeps a trace current; see [`TraceContextExt::enter`].
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{TraceContext, current_trace};
///
/// let (outer, inner) = (TraceContext::new_root(), TraceContext::new_root());
/// let (first, second) = (outer.enter(), inner.enter());
/// drop(first); // in any order
/// assert_eq!(current_trace(), Some(inner));
/// drop(second);
/// assert_eq!(current_trace(), None);
/// ```
#[derive(Debug)]
#[must_use = "the trace is current until the guard is dropped"]
pub struct TraceGuard {
    number: u64,
    /// The guard must be dropped on its thread.
    not_send: PhantomData<*const ()>,
}

impl Drop for TraceGuard {
    fn drop(&mut self) {
        unbind(Key::Guard(self.number));
    }
}
