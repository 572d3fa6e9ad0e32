//! Envoy's main thread, which loads the library.

use std::sync::OnceLock;
use std::thread::{self, ThreadId};

static MAIN: OnceLock<ThreadId> = OnceLock::new();

/// Remembers the current thread as the main thread.
pub(crate) fn set() {
    let _ = MAIN.set(thread::current().id());
}

/// Returns whether the current thread is the main thread.
pub(crate) fn is_current() -> bool {
    MAIN.get() == Some(&thread::current().id())
}
