//! Errors and panics of a server's handlers and bodies: each is logged once, in its trace.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{Record, Side};
use crate::errors::panic_text;
use crate::targets;

thread_local! {
    static ERRORS_LOGGED: Cell<u64> = const { Cell::new(0) };
}

/// Logs an error unless an inner layer has logged it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ErrorLog {
    side: Side,
    logged_before: u64,
}

impl ErrorLog {
    /// Remembers what this thread has logged so far; made just before a handler or a body is polled.
    pub(super) fn new(side: Side) -> Self {
        Self { side, logged_before: ERRORS_LOGGED.get() }
    }

    /// Logs why a handler or a body failed, in the current trace. The error of a client is left to its caller.
    pub(super) fn log(self, error: impl fmt::Display) {
        if self.side == Side::Server && self.logged_before == ERRORS_LOGGED.get() {
            tracing::error!(target: targets::ERROR, "failed: {error}");
            ERRORS_LOGGED.set(ERRORS_LOGGED.get() + 1);
        }
    }
}

/// Runs a poll of a handler or a body, in the trace of its request. If it panics, the panic is logged and continues.
///
/// Only a server logs it: a client runs within a server's handler.
pub(super) fn log_panics<R>(side: Side, record: &mut Option<Box<Record>>, poll: impl FnOnce() -> R) -> R {
    if side == Side::Client {
        return poll();
    }
    let logged_before = panics_logged();
    catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|payload| {
        if panics_logged() == logged_before {
            log_panic(&*payload);
        }
        if let Some(mut record) = record.take() {
            record.mark_panicked();
        }
        resume_unwind(payload)
    })
}

/// Returns how many panics of this thread have been logged.
fn panics_logged() -> u64 {
    #[cfg(feature = "logging")]
    let logged = crate::logging::panic::logged();
    #[cfg(not(feature = "logging"))]
    let logged = 0;
    logged
}

fn log_panic(payload: &(dyn Any + Send)) {
    let text = panic_text(payload);
    tracing::error!(target: targets::PANIC, "panicked: {text}");
    #[cfg(feature = "logging")]
    crate::logging::panic::add_logged(text);
}
