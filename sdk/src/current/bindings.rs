//! The stack of bindings of a thread: what was current before each of them.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use logtracer_core::TraceContext;

use super::{Attached, CONTEXT, Carried, swap_carried};

thread_local! {
    pub(super) static BINDINGS: RefCell<Vec<Binding>> = const { RefCell::new(Vec::new()) };
    static NEXT_NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// A binding that has not ended, with the values to restore.
pub(super) struct Binding {
    pub(super) key: Key,
    pub(super) context: Option<TraceContext>,
    pub(super) carried: Option<Arc<Carried>>,
    /// Keeps the bound context attached in OpenTelemetry. It is dropped after the stack is released.
    pub(super) attached: Attached,
}

/// The key of a binding; guards and spans may end in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Scope(u64),
    Guard(u64),
    #[cfg_attr(not(feature = "logging"), allow(dead_code))]
    Span(u64),
}

pub(super) fn next_number() -> u64 {
    NEXT_NUMBER.replace(NEXT_NUMBER.get() + 1)
}

/// Ends the latest binding with this key, if there is one.
///
/// The topmost binding restores what it replaced. Another one leaves these values to the binding above it.
pub(crate) fn unbind(key: Key) {
    let _attached = BINDINGS.try_with(|bindings| {
        let mut bindings = bindings.borrow_mut();
        let index = bindings.iter().rposition(|binding| binding.key == key)?;
        let mut ended = bindings.remove(index);
        match bindings.get_mut(index) {
            Some(above) => {
                above.context = ended.context;
                above.carried = ended.carried;
            }
            None => {
                CONTEXT.set(ended.context);
                swap_carried(&mut ended.carried);
            }
        }
        Some(ended.attached)
    });
}

/// Returns true if only spans have a binding on this thread.
#[cfg(feature = "logging")]
pub(crate) fn has_only_span_bindings() -> bool {
    let has_only_span_bindings = BINDINGS
        .try_with(|bindings| bindings.borrow().iter().all(|binding| matches!(binding.key, Key::Span(_))));
    has_only_span_bindings.unwrap_or(true)
}
