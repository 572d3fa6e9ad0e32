//! [`Reporter`]: takes batches to the exporter, a few at a time, and keeps those that did not arrive for another
//! try.
//!
//! What is sent when is decided here, without a call into the host; [`crate::root`] dispatches and passes on the
//! answers.
//!
//! Invariant: at most [`MAX_BATCHES`] batches exist outside of the [`Batch`], whatever the exporter does.

use core::time::Duration;
use std::collections::VecDeque;

use crate::batch::{Batch, Taken};

/// Batches that are on their way or wait for another try.
pub(crate) const MAX_BATCHES: usize = 4;
/// Tries of one batch before it is given up.
const MAX_ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One batch on its way.
#[derive(Debug)]
struct Sending {
    taken: Taken,
    attempts: u32,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The exporter has these spans.
    Sent(usize),
    /// They go out once more.
    Retry(usize),
    /// The exporter does not want them, and never will.
    Refused(usize),
    /// They have been tried often enough.
    Exhausted(usize),
}

/// The state of the way to the exporter.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    in_flight: Vec<(u32, Sending)>,
    waiting: VecDeque<Sending>,
    /// Until then nothing is sent.
    paused_until: u64,
    /// Failures since the last success.
    failures: u32,
}

impl Reporter {
    /// The number of callouts without an answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// True where the last callout failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The spans of batches that wait for another try, which are forgotten with this.
    pub(crate) fn give_up(&mut self) -> usize {
        self.waiting.drain(..).map(|sending| sending.taken.spans).sum()
    }

    /// Sends what may be sent now; `dispatch` returns the token of a callout, or nothing if it could not be made.
    ///
    /// `random` spreads the pauses of many proxies.
    pub(crate) fn flush(
        &mut self,
        now: u64,
        random: u64,
        batch: &mut Batch,
        mut dispatch: impl FnMut(&[u8]) -> Option<u32>,
    ) -> Option<Fate> {
        while now >= self.paused_until && self.in_flight.len() < MAX_BATCHES {
            // A batch may only be taken where there is room for it to wait in.
            let room = self.in_flight.len() + self.waiting.len() < MAX_BATCHES;
            let next = self.waiting.pop_front().or_else(|| {
                let taken = if room { batch.take() } else { None };
                taken.map(|taken| Sending { taken, attempts: 0 })
            })?;
            let sending = Sending { attempts: next.attempts + 1, ..next };
            match dispatch(&sending.taken.bytes) {
                Some(token) => self.in_flight.push((token, sending)),
                None => return Some(self.failed(sending, now, random)),
            }
        }
        None
    }

    /// Takes the answer to a callout: its HTTP status, or none where there was no answer.
    pub(crate) fn answered(
        &mut self,
        token: u32,
        status: Option<u16>,
        now: u64,
        random: u64,
    ) -> Option<Fate> {
        let index = self.in_flight.iter().position(|(known, _)| *known == token)?;
        let (_, sending) = self.in_flight.swap_remove(index);
        Some(match status {
            Some(200..=299) => {
                self.failures = 0;
                self.paused_until = 0;
                Fate::Sent(sending.taken.spans)
            }
            // 408 and 429 ask for another try; every other 4xx says that it is no use.
            Some(status @ 400..=499) if status != 408 && status != 429 => Fate::Refused(sending.taken.spans),
            _ => self.failed(sending, now, random),
        })
    }

    fn failed(&mut self, sending: Sending, now: u64, random: u64) -> Fate {
        self.failures = self.failures.saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(5)).min(LONGEST_PAUSE);
        let nanos = pause.as_nanos() as u64;
        // Between half and all of the pause.
        self.paused_until = now.saturating_add(nanos / 2 + random % (nanos / 2 + 1));
        let spans = sending.taken.spans;
        if sending.attempts >= MAX_ATTEMPTS {
            return Fate::Exhausted(spans);
        }
        self.waiting.push_back(sending);
        Fate::Retry(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Bounds;

    const SECOND: u64 = 1_000_000_000;

    fn batch_of(spans: usize) -> Batch {
        let mut batch = Batch::new(Bounds { bytes: 1 << 20, spans_together: 10 });
        for _ in 0..spans {
            batch.push(|out| out.push(b'x'));
        }
        batch
    }

    /// Sends as much as it may; returns the sizes of what was dispatched.
    fn flush(reporter: &mut Reporter, now: u64, batch: &mut Batch, tokens: &mut u32) -> Vec<usize> {
        let mut sizes = Vec::new();
        reporter.flush(now, 0, batch, |bytes| {
            sizes.push(bytes.len());
            *tokens += 1;
            Some(*tokens)
        });
        sizes
    }

    #[test]
    fn spans_count_as_sent_after_the_answer() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(25), 0);
        assert_eq!(flush(&mut reporter, 0, &mut batch, &mut tokens), [10, 10, 5]);
        assert_eq!(reporter.in_flight(), 3);
        assert_eq!(reporter.answered(2, Some(200), 0, 0), Some(Fate::Sent(10)));
        assert_eq!(reporter.answered(2, Some(200), 0, 0), None);
        assert_eq!(reporter.answered(99, Some(200), 0, 0), None);
        assert_eq!(reporter.in_flight(), 2);
    }

    /// Rule 73: a small cap on what is in flight, and on what waits.
    #[test]
    fn no_more_than_a_few_batches_are_out() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(100), 0);
        assert_eq!(flush(&mut reporter, 0, &mut batch, &mut tokens).len(), MAX_BATCHES);
        for token in 1..=MAX_BATCHES as u32 {
            assert_eq!(reporter.answered(token, None, 0, 0), Some(Fate::Retry(10)));
        }
        // After the pause the same batches go out, and none besides.
        assert_eq!(flush(&mut reporter, 1, &mut batch, &mut tokens).len(), 0);
        assert_eq!(flush(&mut reporter, 60 * SECOND, &mut batch, &mut tokens).len(), MAX_BATCHES);
        assert_eq!(batch.len(), 60);
    }

    #[test]
    fn the_pause_doubles_up_to_a_limit() {
        let (mut reporter, mut batch, mut now) = (Reporter::default(), batch_of(1), 0);
        let mut pauses = Vec::new();
        loop {
            let fate = reporter.flush(now, u64::MAX, &mut batch, |_| None);
            match fate {
                Some(Fate::Retry(1)) => pauses.push((reporter.paused_until - now) / (SECOND / 2)),
                other => {
                    assert_eq!(other, Some(Fate::Exhausted(1)));
                    break;
                }
            }
            now = reporter.paused_until;
        }
        assert_eq!(pauses.len(), MAX_ATTEMPTS as usize - 1);
        for (index, pause) in pauses.iter().enumerate() {
            let longest = 2u64 << index;
            assert!((longest / 2..=longest).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn a_refusal_is_final_and_pauses_nothing() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(11), 0);
        flush(&mut reporter, 0, &mut batch, &mut tokens);
        assert_eq!(reporter.answered(1, Some(400), 0, 0), Some(Fate::Refused(10)));
        assert_eq!(reporter.answered(2, Some(429), 0, 0), Some(Fate::Retry(1)));
        assert!(reporter.is_failing());
        assert_eq!(reporter.give_up(), 1);
    }
}
