//! [`ReadyLog`]: why a service is not ready, which is in the line of no request.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{ServiceError, Side};
use crate::errors::{Failure, KnownErrors};
use crate::targets;

/// The time between two lines of a layer: `poll_ready` is called for each request.
const INTERVAL: Duration = Duration::from_secs(60);

/// Logs errors of `poll_ready`, at most once a minute.
#[derive(Debug, Default)]
pub(crate) struct ReadyLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_line: Option<Instant>,
    /// The errors since the last line.
    left_out: u64,
}

impl ReadyLog {
    /// Logs why a service is not ready, with its causes.
    pub(crate) fn log<E: ServiceError>(&self, side: Side, error: &E, known_errors: &KnownErrors) {
        let Some(left_out) = self.begin_line(Instant::now()) else { return };
        let failure = Failure::new(error, known_errors);
        let others =
            if left_out > 0 { format!(" ({left_out} more since the last line)") } else { String::new() };
        match side {
            Side::Server => tracing::error!(target: targets::ERROR, "not ready: {failure}{others}"),
            Side::Client => tracing::warn!(target: targets::CLIENT, "not ready: {failure}{others}"),
        }
    }

    /// Returns how many errors had no line before this one, or `None` if this one has none, either.
    fn begin_line(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = state.last_line.is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL);
        if is_due {
            state.last_line = Some(now);
            return Some(std::mem::take(&mut state.left_out));
        }
        state.left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_a_line_a_minute() {
        let (log, start) = (ReadyLog::default(), Instant::now());
        let lines = [0, 1, 59, 60, 61, 200].map(|second| log.begin_line(start + Duration::from_secs(second)));
        assert_eq!(lines, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
