//! OpenTelemetry's current context on this thread, without its panic while the thread ends.
//!
//! `opentelemetry` keeps its current context in a thread-local with a destructor, and panics if it is used after that.
//! Thread-locals are destroyed in the reverse order of their first use, so [`LAST`], which is first used after it, is
//! destroyed before it.
//!
//! With `panic = "abort"` the panic of a first use while the thread ends cannot be caught, and ends the process.

use std::cell::Cell;
use std::panic;

use opentelemetry::Context;

thread_local! {
    /// It has no destructor, so that it can be read at any time.
    static STATE: Cell<State> = const { Cell::new(State::Unknown) };
    static LAST: Last = const { Last };
}

#[derive(Clone, Copy)]
enum State {
    Unknown,
    Usable,
    Unusable,
}

struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        STATE.set(State::Unusable);
    }
}

/// Calls `read` with OpenTelemetry's current context, unless the thread is ending.
///
/// `read` must not attach a context.
pub(super) fn with_current<R>(read: impl FnOnce(&Context) -> R) -> Option<R> {
    is_usable().then(|| Context::map_current(read))
}

/// Returns false while the thread ends.
pub(super) fn is_usable() -> bool {
    match STATE.get() {
        State::Usable => true,
        State::Unusable => false,
        State::Unknown => first_use(),
    }
}

#[cold]
fn first_use() -> bool {
    // If this panics, the panic hook may log a line, which calls this function again.
    STATE.set(State::Unusable);
    let is_usable =
        panic::catch_unwind(|| Context::map_current(|_| ())).is_ok() && LAST.try_with(|_| ()).is_ok();
    if is_usable {
        STATE.set(State::Usable);
    }
    is_usable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_unusable_while_the_thread_ends() {
        struct UsesOnDrop;
        impl Drop for UsesOnDrop {
            fn drop(&mut self) {
                let _ = with_current(|_| ());
                let _ = crate::current_trace();
            }
        }
        thread_local!(static FIRST: UsesOnDrop = const { UsesOnDrop });
        for uses_first in [true, false] {
            let thread = std::thread::spawn(move || {
                // Destroyed after OpenTelemetry's, because it is used before it.
                FIRST.with(|_| ());
                if uses_first {
                    assert!(with_current(|_| ()).is_some());
                } else {
                    let _ = Context::current();
                }
            });
            assert!(thread.join().is_ok());
        }
    }
}
