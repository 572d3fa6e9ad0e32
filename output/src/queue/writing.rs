//! The thread that writes the lines, and reports those that are dropped.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{Counts, Message, ResultTo};
use crate::WriteError;

/// How often dropped lines are reported under load.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Writes the messages until all handles of the queue are gone.
pub(super) fn run(
    messages: &Receiver<Message>,
    counts: &Counts,
    mut write: impl FnMut(&[u8]) -> Result<(), WriteError>,
    report: impl Fn(u64) -> Vec<u8>,
) {
    let mut reports = Reports { reported: 0, at: None };
    // A writer that panics on one line may accept the next.
    let mut write = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| write(bytes)));
    loop {
        let (mut is_busy, mut is_last, mut flushed) = (false, false, None);
        match messages.recv_timeout(REPORT_INTERVAL) {
            Ok(Message::Write { bytes, to }) => {
                let result = write(&bytes);
                counts.queued_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
                match &result {
                    // A writer that panics on a line can still write the next one.
                    Err(_) => counts.drop_lines(1),
                    Ok(Err(error)) if !matches!(to, ResultTo::Caller(_)) => {
                        counts.drop_lines(error.dropped_lines);
                    }
                    _ => {}
                }
                if let Ok(result) = &result {
                    counts.has_failed.store(result.is_err(), Ordering::Relaxed);
                }
                let result = result.unwrap_or_else(|_| Err(io::Error::other("writer panicked").into()));
                let result = result.map_err(io::Error::from);
                match to {
                    ResultTo::Count => {}
                    ResultTo::Waiting(waiting) => drop(waiting.try_send(result)),
                    ResultTo::Caller(done) => done(result),
                }
                is_busy = true;
            }
            Ok(Message::Flush(done)) => flushed = Some(done),
            Err(error) => is_last = error == RecvTimeoutError::Disconnected,
        }
        let total = counts.dropped.load(Ordering::Relaxed);
        if !counts.has_failed.load(Ordering::Relaxed) && reports.is_due(total, is_busy) {
            if matches!(write(&report(total - reports.reported)), Ok(Ok(()))) {
                reports.reported = total;
                reports.at = Some(Instant::now());
            } else {
                counts.has_failed.store(true, Ordering::Relaxed);
            }
        }
        if let Some(done) = flushed {
            let _ = done.try_send(());
        }
        if is_last {
            return;
        }
    }
}

/// What was reported of the dropped lines.
struct Reports {
    reported: u64,
    at: Option<Instant>,
}

impl Reports {
    /// A report takes time, and under load more lines are dropped meanwhile.
    fn is_due(&self, total: u64, is_busy: bool) -> bool {
        total > self.reported && (!is_busy || self.at.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL))
    }
}
