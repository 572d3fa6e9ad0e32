//! [`LossLog`]: log lines about dropped spans, at most one a minute of each kind.
//!
//! Only the thread that sends spans and the end of the export write them. The end of a span writes none, so that a
//! subscriber that makes spans cannot call itself.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::dropped::{DroppedSpans, Failure, Losses};
use crate::targets;

#[derive(Debug)]
pub(super) struct LossLog {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The losses that have been logged.
    logged: DroppedSpans,
    last_loss: Option<Instant>,
    last_warning: Option<Instant>,
}

/// When a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// If the last line is older than the interval.
    Limited,
    /// Now, because the export ends.
    Now,
}

impl LossLog {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, state: Mutex::default() }
    }

    /// Logs the losses since the last line.
    pub(super) fn log_losses(&self, losses: &Losses, when: When) {
        let Some(new) = self.next_losses(losses.counts(), when) else { return };
        let spans = new.total();
        match losses.last_error(&new) {
            Some(error) => tracing::warn!(
                target: targets::SPANS,
                dropped_spans = spans,
                "dropped spans: {new}; last error: {error}"
            ),
            None => tracing::warn!(target: targets::SPANS, dropped_spans = spans, "dropped spans: {new}"),
        }
    }

    fn next_losses(&self, counts: DroppedSpans, when: When) -> Option<DroppedSpans> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let new = counts.since(&state.logged);
        if new.is_empty() || when == When::Limited && !self.is_due(state.last_loss) {
            return None;
        }
        state.logged = counts;
        state.last_loss = Some(Instant::now());
        Some(new)
    }

    /// Logs that spans wait until an operator corrects something.
    pub(super) fn log_retry(&self, failure: &Failure) {
        if failure.reason.is_configuration() && self.begin_warning() {
            tracing::warn!(target: targets::SPANS, "retrying to send spans: {}", failure.error);
        }
    }

    /// Logs a warning in a response that accepted all spans.
    pub(super) fn log_warning(&self, message: &str) {
        if !message.is_empty() && self.begin_warning() {
            tracing::warn!(target: targets::SPANS, "sent spans with a warning: {message}");
        }
    }

    fn begin_warning(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = self.is_due(state.last_warning);
        if is_due {
            state.last_warning = Some(Instant::now());
        }
        is_due
    }

    fn is_due(&self, last: Option<Instant>) -> bool {
        last.is_none_or(|last| last.elapsed() >= self.interval)
    }
}
