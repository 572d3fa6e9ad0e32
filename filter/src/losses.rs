//! [`Losses`]: what is told of lost spans in Envoy's log, at most once a minute.

use core::time::Duration;

/// Spans that were lost since the last message.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    spans: usize,
    told_at: Option<u64>,
}

const PAUSE: Duration = Duration::from_secs(60);

impl Losses {
    /// Counts the spans; the number to tell of, where it is time to.
    pub(crate) fn count(&mut self, spans: usize, now_nanos: u64) -> Option<usize> {
        self.spans += spans;
        let pause = PAUSE.as_nanos() as u64;
        if self.told_at.is_some_and(|told_at| now_nanos < told_at.saturating_add(pause)) {
            return None;
        }
        self.told_at = Some(now_nanos);
        Some(core::mem::take(&mut self.spans))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule 78: a wrong path is one message a minute, not one for each batch.
    #[test]
    fn losses_are_told_once_a_minute() {
        let second = 1_000_000_000;
        let mut losses = Losses::default();
        assert_eq!(losses.count(5, second), Some(5));
        assert_eq!(losses.count(3, 2 * second), None);
        assert_eq!(losses.count(4, 60 * second), None);
        assert_eq!(losses.count(1, 61 * second), Some(8));
    }
}
