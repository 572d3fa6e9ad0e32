//! The current trace of a thread, and how it is bound for a while.
//!
//! Two thread-locals hold it: the [`TraceContext`], a plain value that costs a nanosecond to read, and what
//! travels beside it on the way to the next hop ([`Carried`]), which only clients look at.
//! What they held before stands on a stack: for calls and polls ([`Scope::enter`]), which end in the order in which
//! they began, and for spans and guards, which may end in any ([`bind`], [`unbind`]).
//!
//! Invariant: no binding outlives the scope that it began in, so that a guard that is held over an `.await` reaches
//! no other task of the thread.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;

use logtracer_core::{Sampling, TraceContext, TraceId};

use crate::ids;

thread_local! {
    static CONTEXT: Cell<Option<TraceContext>> = const { Cell::new(None) };
    static CARRIED: Cell<Option<Arc<Carried>>> = const { Cell::new(None) };
    static BINDINGS: RefCell<Vec<Binding>> = const { RefCell::new(Vec::new()) };
    static NEXT_NUMBER: Cell<u64> = const { Cell::new(0) };
    /// Spans that are entered without being bound, by their numbers.
    #[cfg(feature = "logging")]
    static PASSED_OVER: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

// Invariant: `CONTEXT` has no destructor, so that it is there at any time in the life of a thread and `with` on it
// cannot fail. (`try_with` could not either, but copies the value twice.)
const _: () = assert!(!std::mem::needs_drop::<Cell<Option<TraceContext>>>());

/// The trace that the calling code works for, `None` outside of a request.
///
/// It can be called from anywhere at any time, never panics, and costs about a nanosecond.
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
    CONTEXT.with(Cell::get)
}

/// What a [`TraceContext`] does in a service: begin, go down, and be current for a while.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{TraceContext, current_trace};
///
/// let root = TraceContext::new_root();
/// let child = root.run(|| current_trace().map(|trace| trace.child()));
/// assert_eq!(child.map(|child| child.trace_id), Some(root.trace_id));
/// ```
pub trait TraceContextExt {
    /// The root of a new trace, under no decision yet.
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{Sampling, TraceContext};
    ///
    /// let context = TraceContext::new_root();
    /// assert_eq!((context.parent_span_id, context.sampling), (None, Sampling::Defer));
    /// assert!(context.random_trace_id, "as W3C Trace Context level 2 asks");
    /// ```
    fn new_root() -> Self;

    /// A new span below this one, in the same trace and under the same decision.
    ///
    /// ```
    /// use logtracer_sdk::TraceContext;
    /// use logtracer_sdk::prelude::*;
    ///
    /// let parent = TraceContext::new_root();
    /// let child = parent.child();
    /// assert_eq!((child.trace_id, child.parent_span_id), (parent.trace_id, Some(parent.span_id)));
    /// ```
    #[must_use]
    fn child(&self) -> Self;

    /// Runs `f` with this as the current trace of the thread.
    ///
    /// Holds only while `f` runs on this thread: a future that `f` returns needs
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
    /// In async code use [`in_trace`](crate::FutureExt::in_trace): a guard that is held over an `.await` stays
    /// behind on the thread.
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{TraceContext, current_trace};
    ///
    /// let context = TraceContext::new_root();
    /// let guard = context.enter();
    /// assert_eq!(current_trace(), Some(context));
    /// drop(guard);
    /// assert_eq!(current_trace(), None);
    /// ```
    fn enter(&self) -> TraceGuard;
}

impl TraceContextExt for TraceContext {
    fn new_root() -> Self {
        Self::root(ids::new_trace_id(), ids::new_span_id(), Sampling::Defer).with_random_trace_id()
    }

    fn child(&self) -> Self {
        Self { span_id: ids::new_span_id(), parent_span_id: Some(self.span_id), ..*self }
    }

    fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let mut scope = Scope::here(*self);
        let _entered = scope.enter();
        f()
    }

    fn enter(&self) -> TraceGuard {
        let number = next_number();
        bind(Key::Guard(number), Scope::here(*self));
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
/// drop(first); // guards may end in any order
/// assert_eq!(current_trace(), Some(inner));
/// drop(second);
/// assert_eq!(current_trace(), None);
/// ```
#[derive(Debug)]
#[must_use = "the trace is current only while the guard lives"]
pub struct TraceGuard {
    number: u64,
    /// The guard belongs to its thread.
    not_send: PhantomData<*const ()>,
}

impl Drop for TraceGuard {
    fn drop(&mut self) {
        unbind(Key::Guard(self.number));
    }
}

// === scopes ===

/// What goes on to the next hop beside the context, unread.
#[cfg_attr(not(all(feature = "server", feature = "client")), allow(dead_code))] // the one fills it, the other reads it
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
}

/// A context with what is carried beside it: what is bound, stored and moved to other tasks.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    context: TraceContext,
    carried: Option<Arc<Carried>>,
}

impl Scope {
    #[cfg(any(feature = "server", test))]
    pub(crate) fn new(context: TraceContext, carried: Option<Carried>) -> Self {
        Self { context, carried: carried.map(Arc::new) }
    }

    pub(crate) fn current() -> Option<Self> {
        current_trace().map(Self::here)
    }

    /// The context with what the thread carries for its trace.
    pub(crate) fn here(context: TraceContext) -> Self {
        Self { context, carried: carried().filter(|carried| carried.trace_id == context.trace_id) }
    }

    #[cfg(any(feature = "logging", feature = "server", feature = "client"))]
    pub(crate) fn context(&self) -> TraceContext {
        self.context
    }

    /// What the scope carries; nothing while it is entered.
    #[cfg(feature = "spans")]
    pub(crate) fn carried(&self) -> Option<Arc<Carried>> {
        self.carried.clone()
    }

    /// Runs `f` in the scope.
    #[cfg(any(feature = "server", feature = "client"))]
    pub(crate) fn entered<R>(mut self, f: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        f()
    }

    /// Makes the scope current until `Entered` is dropped, also by a panic.
    pub(crate) fn enter(&mut self) -> Entered<'_> {
        let number = next_number();
        let previous = CONTEXT.replace(Some(self.context));
        swap_carried(&mut self.carried);
        let _ = BINDINGS.try_with(|bindings| {
            let carried = self.carried.take();
            bindings.borrow_mut().push(Binding { key: Key::Scope(number), context: previous, carried });
        });
        Entered { scope: self, number, previous }
    }
}

/// While it lives the scope is current.
pub(crate) struct Entered<'a> {
    scope: &'a mut Scope,
    number: u64,
    /// What was current before, for a thread that ends and has no stack any more.
    previous: Option<TraceContext>,
}

impl Drop for Entered<'_> {
    /// Ends the bindings that were left open within the scope, too, and takes back what the scope carries.
    fn drop(&mut self) {
        let ended = BINDINGS.try_with(|bindings| {
            let mut bindings = bindings.borrow_mut();
            let key = Key::Scope(self.number);
            let place = bindings.iter().rposition(|binding| binding.key == key)?;
            let left_open = bindings.drain(place + 1..).next();
            bindings.pop().map(|ended| (ended, left_open))
        });
        let Ok(Some((mut ended, left_open))) = ended else {
            CONTEXT.set(self.previous);
            return swap_carried(&mut self.scope.carried);
        };
        CONTEXT.set(ended.context);
        swap_carried(&mut ended.carried);
        // The first binding within the scope has put aside what the scope itself carries.
        self.scope.carried = left_open.map_or(ended.carried, |binding| binding.carried);
    }
}

/// What is carried on this thread; it counts only for the trace that it names.
pub(crate) fn carried() -> Option<Arc<Carried>> {
    CARRIED
        .try_with(|cell| {
            let carried = cell.take();
            cell.set(carried.clone());
            carried
        })
        .unwrap_or_default()
}

fn swap_carried(other: &mut Option<Arc<Carried>>) {
    let _ = CARRIED.try_with(|cell| *other = cell.replace(other.take()));
}

fn next_number() -> u64 {
    NEXT_NUMBER.replace(NEXT_NUMBER.get() + 1)
}

// === bindings, of which guards and spans may end out of order ===

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Scope(u64),
    Guard(u64),
    #[cfg_attr(not(feature = "logging"), allow(dead_code))]
    Span(u64),
}

/// An open binding, and what was current when it began.
struct Binding {
    key: Key,
    context: Option<TraceContext>,
    carried: Option<Arc<Carried>>,
}

/// Makes the scope current until [`unbind`] is called with the same key.
pub(crate) fn bind(key: Key, scope: Scope) {
    let _ = BINDINGS.try_with(|bindings| {
        let context = CONTEXT.replace(Some(scope.context));
        let mut carried = scope.carried;
        swap_carried(&mut carried);
        bindings.borrow_mut().push(Binding { key, context, carried });
    });
}

/// Makes the scope of a span current, unless the thread works for a trace that is bound by more than a span.
///
/// A span may outlive the request that it was made in, and then be entered in another one, whose trace stands.
#[cfg(feature = "logging")]
pub(crate) fn enter_span(number: u64, scope: Scope) {
    let is_at_work = BINDINGS
        .try_with(|bindings| bindings.borrow().iter().any(|binding| !matches!(binding.key, Key::Span(_))));
    match is_at_work {
        Ok(true) => _ = PASSED_OVER.try_with(|spans| spans.borrow_mut().push(number)),
        _ => bind(Key::Span(number), scope),
    }
}

/// Ends what [`enter_span`] began.
#[cfg(feature = "logging")]
pub(crate) fn exit_span(number: u64) {
    let was_passed_over = PASSED_OVER.try_with(|spans| {
        let mut spans = spans.borrow_mut();
        let place = spans.iter().rposition(|passed| *passed == number)?;
        Some(spans.remove(place))
    });
    if !matches!(was_passed_over, Ok(Some(_))) {
        unbind(Key::Span(number));
    }
}

/// Ends the latest binding with this key, if there is one.
///
/// The last one to have begun gives way to what it replaced; one that ends earlier leaves that to the one above it,
/// which may be a scope.
pub(crate) fn unbind(key: Key) {
    let _ = BINDINGS.try_with(|bindings| {
        let mut bindings = bindings.borrow_mut();
        let Some(place) = bindings.iter().rposition(|binding| binding.key == key) else {
            return;
        };
        let mut ended = bindings.remove(place);
        match bindings.get_mut(place) {
            Some(above) => {
                above.context = ended.context;
                above.carried = ended.carried;
            }
            None => {
                CONTEXT.set(ended.context);
                swap_carried(&mut ended.carried);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_may_be_dropped_in_any_order() {
        let contexts = [(); 3].map(|()| TraceContext::new_root());
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1]] {
            let mut guards = contexts.map(|context| Some(context.enter()));
            for place in order {
                guards[place] = None;
                let latest = guards.iter().rposition(Option::is_some);
                assert_eq!(current_trace(), latest.map(|place| contexts[place]), "{order:?}");
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
        let request = Carried {
            trace_id: context.trace_id,
            request_id: Some("7".into()),
            tracestate: None,
            baggage: None,
        };
        let mut scope = Scope::new(context, Some(request));
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
    fn what_is_carried_belongs_to_its_trace() {
        let context = TraceContext::new_root();
        let request = Carried {
            trace_id: context.trace_id,
            request_id: Some("7".into()),
            tracestate: None,
            baggage: None,
        };
        let mut scope = Scope::new(context, Some(request));
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
    fn it_can_be_asked_while_a_thread_ends() {
        struct AsksWhenDropped;
        impl Drop for AsksWhenDropped {
            fn drop(&mut self) {
                let context = TraceContext::new_root();
                assert_eq!(context.run(current_trace), Some(context));
                drop(context.enter());
                let _ = (current_trace(), carried(), Scope::current());
            }
        }
        thread_local!(static LAST: AsksWhenDropped = const { AsksWhenDropped });
        let thread = std::thread::spawn(|| {
            LAST.with(|_| TraceContext::new_root().run(current_trace));
            let _ = (TraceContext::new_root().enter(), carried());
        });
        assert!(thread.join().is_ok());
    }
}
