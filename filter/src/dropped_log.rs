//! [`DroppedLog`]: limits the log messages about dropped spans to one a minute.

use core::time::Duration;

const INTERVAL: Duration = Duration::from_secs(60);

/// The number of spans that were dropped since the last message.
#[derive(Debug, Default)]
pub(crate) struct DroppedLog {
    spans: usize,
    logged_at: Option<u64>,
}

impl DroppedLog {
    /// Adds dropped spans. Returns the number to log, or `None` if the last message is less than a minute old.
    pub(crate) fn add(&mut self, spans: usize, now_nanos: u64) -> Option<usize> {
        self.spans += spans;
        let interval = INTERVAL.as_nanos() as u64;
        if self.logged_at.is_some_and(|logged_at| now_nanos < logged_at.saturating_add(interval)) {
            return None;
        }
        self.logged_at = Some(now_nanos);
        Some(core::mem::take(&mut self.spans))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule 78.
    #[test]
    fn dropped_spans_are_logged_once_a_minute() {
        let second = 1_000_000_000;
        let mut log = DroppedLog::default();
        assert_eq!(log.add(5, second), Some(5));
        assert_eq!(log.add(3, 2 * second), None);
        assert_eq!(log.add(4, 60 * second), None);
        assert_eq!(log.add(1, 61 * second), Some(8));
    }
}
