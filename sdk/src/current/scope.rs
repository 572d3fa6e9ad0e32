//! [`Scope`]: a trace context that can be made current.

use std::sync::Arc;

use logtracer_core::TraceContext;

use super::bindings::{BINDINGS, Binding, Key, next_number};
#[cfg(feature = "server")]
use super::foreign_span;
use super::{Attached, CONTEXT, Carried, Mirror, carried_beside, current_trace, mirror, swap_carried};

/// A context with what is carried beside it; stored in futures and spans, and moved to other tasks.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    context: TraceContext,
    carried: Option<Arc<Carried>>,
    mirror: Mirror,
}

impl Scope {
    pub(crate) fn new(context: TraceContext, carried: Option<Carried>) -> Self {
        let mirror = Mirror::of(&context, carried.as_ref());
        Self { context, carried: carried.map(Arc::new), mirror }
    }

    /// Returns the scope that is current on this thread.
    pub(crate) fn current() -> Option<Self> {
        current_trace().map(Self::of)
    }

    /// Returns a scope of this context, with what the thread carries beside its trace.
    pub(crate) fn of(context: TraceContext) -> Self {
        let own = carried_beside(context.trace_id);
        let of_opentelemetry = mirror::carried_beside(context.trace_id);
        let mirror = Mirror::of(&context, of_opentelemetry.as_deref().or(own.as_deref()));
        Self { context, carried: own.or(of_opentelemetry), mirror }
    }

    /// Returns the scope of OpenTelemetry's current span, with what this one carries, if that span was entered within
    /// this scope; otherwise this scope.
    #[cfg(feature = "server")]
    pub(crate) fn at_foreign_span(self) -> Self {
        let is_within = |span: &TraceContext| {
            span.trace_id == self.context.trace_id && Some(span.span_id) != self.context.parent_span_id
        };
        match foreign_span().filter(is_within) {
            Some(context) => {
                // Its `tracestate` wins, because a span may have changed it.
                let of_opentelemetry = mirror::carried_beside(context.trace_id);
                let mirror = Mirror::of(&context, of_opentelemetry.as_deref().or(self.carried.as_deref()));
                Self { context, mirror, ..self }
            }
            None => self,
        }
    }

    /// Returns the scope of an OpenTelemetry span in this trace that is attached already, with what this one carries.
    #[cfg(feature = "logging")]
    pub(crate) fn of_attached(self, context: TraceContext) -> Self {
        Self { context, mirror: Mirror::default(), ..self }
    }

    #[cfg(any(feature = "logging", feature = "server", feature = "client"))]
    pub(crate) fn context(&self) -> TraceContext {
        self.context
    }

    /// Returns what the scope carries; `None` while it is entered.
    #[cfg(feature = "server")]
    pub(crate) fn carried(&self) -> Option<Arc<Carried>> {
        self.carried.clone()
    }

    /// Runs `f` in the scope.
    pub(crate) fn run<R>(mut self, f: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        f()
    }

    /// Makes the scope current until [`unbind`](super::unbind) is called with the same key.
    pub(crate) fn bind(self, key: Key) {
        let _ = BINDINGS.try_with(|bindings| {
            let attached = self.mirror.attach();
            let context = CONTEXT.replace(Some(self.context));
            let mut carried = self.carried;
            swap_carried(&mut carried);
            bindings.borrow_mut().push(Binding { key, context, carried, attached });
        });
    }

    /// Makes the scope current until the returned guard is dropped, even by a panic.
    pub(crate) fn enter(&mut self) -> Entered<'_> {
        let number = next_number();
        let attached = self.mirror.attach();
        let previous = CONTEXT.replace(Some(self.context));
        swap_carried(&mut self.carried);
        let _ = BINDINGS.try_with(|bindings| {
            let carried = self.carried.take();
            let attached = Attached::default();
            bindings.borrow_mut().push(Binding {
                key: Key::Scope(number),
                context: previous,
                carried,
                attached,
            });
        });
        Entered { scope: self, number, previous, _attached: attached }
    }
}

/// The guard of a scope that is current.
pub(crate) struct Entered<'a> {
    scope: &'a mut Scope,
    number: u64,
    /// The context to restore if the thread is ending and its stack is gone.
    previous: Option<TraceContext>,
    /// Dropped last.
    _attached: Attached,
}

impl Drop for Entered<'_> {
    /// Restores what was current before, removes bindings that were made in the scope and not ended, and returns to
    /// the scope what it carries.
    fn drop(&mut self) {
        let removed = BINDINGS.try_with(|bindings| {
            let mut bindings = bindings.borrow_mut();
            let key = Key::Scope(self.number);
            let index = bindings.iter().rposition(|binding| binding.key == key)?;
            let inner = bindings.split_off(index + 1);
            bindings.pop().map(|own| (own, inner))
        });
        let Ok(Some((mut own, inner))) = removed else {
            CONTEXT.set(self.previous);
            return swap_carried(&mut self.scope.carried);
        };
        CONTEXT.set(own.context);
        swap_carried(&mut own.carried);
        // The first binding made in the scope has replaced, and so holds, what the scope carries.
        self.scope.carried = inner.into_iter().next().map_or(own.carried, |binding| binding.carried);
    }
}

/// Runs `f` without a current trace. `f` must not leave a binding.
pub(crate) fn detached<R>(f: impl FnOnce() -> R) -> R {
    let _detached = Detached::new();
    f()
}

/// What was current before; restored by the drop, even in a panic.
struct Detached {
    context: Option<TraceContext>,
    carried: Option<Arc<Carried>>,
    _attached: Attached,
}

impl Detached {
    fn new() -> Self {
        let _attached = Mirror::without_span().attach();
        let mut carried = None;
        swap_carried(&mut carried);
        Self { context: CONTEXT.replace(None), carried, _attached }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        CONTEXT.set(self.context);
        swap_carried(&mut self.carried);
    }
}
