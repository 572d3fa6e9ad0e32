//! Errors and panics of a server's handlers and bodies: each is logged once, in its trace.

use std::cell::Cell;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use logtracer_core::TraceId;

use super::{Record, Side};
use crate::current::current_trace;
use crate::errors::panic_text;
use crate::targets;

/// How many of the last lines of a thread are remembered. A poll of a request seldom has more than one.
const REMEMBERED: usize = 8;

thread_local! {
    /// The number of lines of this thread.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// The last lines, each at its number modulo the length.
    static LAST: Cell<[Option<Line>; REMEMBERED]> = const { Cell::new([None; REMEMBERED]) };
}

/// What identifies a line about an error or a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    /// The trace of the request: a handler may call other services in the same process.
    trace_id: Option<TraceId>,
    text_hash: u64,
}

impl Line {
    /// Returns the line with this text in the current trace.
    fn new(text: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self { trace_id: current_trace().map(|trace| trace.trace_id), text_hash: hasher.finish() }
    }
}

/// Logs an error or a panic unless an inner layer has logged it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ErrorLog {
    side: Side,
    logged_before: u64,
}

impl ErrorLog {
    /// Remembers what this thread has logged so far; made just before a handler or a body is polled.
    pub(super) fn new(side: Side) -> Self {
        Self { side, logged_before: COUNT.get() }
    }

    /// Logs why a handler or a body failed, in the current trace. The error of a client is left to its caller.
    pub(super) fn log(self, error: impl fmt::Display) {
        if self.side == Side::Server {
            self.log_once(
                &format!("failed: {error}"),
                |text| tracing::error!(target: targets::ERROR, "{text}"),
            );
        }
    }

    /// Calls `log` unless the poll has logged this text in the current trace. Another error of the poll has its own
    /// line.
    fn log_once(self, text: &str, log: impl FnOnce(&str)) {
        let line = Line::new(text);
        if self.has_logged(line) {
            return;
        }
        log(text);
        let (number, mut last) = (COUNT.get(), LAST.get());
        if let Some(entry) = last.get_mut(place(number)) {
            *entry = Some(line);
        }
        LAST.set(last);
        COUNT.set(number + 1);
    }

    fn has_logged(self, line: Line) -> bool {
        let (count, last) = (COUNT.get(), LAST.get());
        let first = self.logged_before.max(count.saturating_sub(REMEMBERED as u64));
        (first..count).any(|number| last.get(place(number)) == Some(&Some(line)))
    }
}

fn place(number: u64) -> usize {
    (number % REMEMBERED as u64) as usize
}

/// Runs a poll of a handler, a call or a body, in the trace of its request. If it panics, the request ends, and the
/// panic is logged and continues.
///
/// Only a server logs it: a client runs within a server's handler.
pub(super) fn log_panics<R>(side: Side, record: &mut Option<Box<Record>>, poll: impl FnOnce() -> R) -> R {
    let (errors, logged_by_hook) = (ErrorLog::new(side), logged_by_hook());
    catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|payload| {
        let text = panic_text(&*payload);
        if side == Side::Server && logged_by_hook == self::logged_by_hook() {
            log_panic(errors, text);
        }
        if let Some(mut record) = record.take() {
            record.mark_panicked(text);
        }
        resume_unwind(payload)
    })
}

/// Returns how many panics of this thread the hook has logged.
fn logged_by_hook() -> u64 {
    #[cfg(feature = "logging")]
    let logged = crate::logging::panic::logged_by_hook();
    #[cfg(not(feature = "logging"))]
    let logged = 0;
    logged
}

fn log_panic(errors: ErrorLog, text: &str) {
    errors.log_once(&format!("panicked: {text}"), |line| tracing::error!(target: targets::PANIC, "{line}"));
    #[cfg(feature = "logging")]
    crate::logging::panic::expect_caught(text);
}
