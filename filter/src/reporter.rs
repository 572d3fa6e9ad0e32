//! [`Reporter`]: takes batches to the exporter, a few at a time, and keeps those that did not arrive for another
//! try.
//!
//! What is sent when is decided here, without a call into the host; [`crate::root`] dispatches and passes on the
//! answers.
//!
//! Invariant: spans of at most [`MAX_BATCHES`] batches exist outside of the [`Batch`], whatever the exporter does.
//!
//! All times are those of a clock that nobody sets.

use core::time::Duration;
use std::collections::VecDeque;

use crate::batch::{Batch, Taken};

/// Batches that are on their way or wait for another try.
pub(crate) const MAX_BATCHES: usize = 4;
/// Tries of one batch before it is given up.
pub(crate) const MAX_ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest that an exporter may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(300);

/// One batch on its way.
#[derive(Debug)]
struct Sending {
    taken: Taken,
    attempts: u32,
    sent_at: u64,
}

/// Which spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Those that wait for another try, and full batches.
    Due,
    /// All that there are.
    All,
}

/// What the exporter has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    /// The HTTP status; `None` where there was no answer.
    pub(crate) status: Option<u16>,
    /// How long it wants to be left alone (`Retry-After`).
    pub(crate) retry_after: Option<Duration>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The exporter has these spans.
    Sent(usize),
    /// They go out once more.
    Retry(usize),
    /// They were too many for one request, and go out once more in two.
    Halved(usize),
    /// The exporter does not want them, and never will.
    Refused(usize),
    /// A single span is too large for it.
    TooLarge(usize),
    /// They have been tried often enough.
    Exhausted(usize),
}

/// A callout that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    /// What became of its batch.
    pub(crate) fate: Fate,
    /// How long that took.
    pub(crate) took: Duration,
}

/// The state of the way to the exporter.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    in_flight: Vec<(u32, Sending)>,
    waiting: VecDeque<Sending>,
    /// Until then nothing is sent.
    paused_until: u64,
    /// Outages in a row since the last success, and when the last one showed.
    failures: u32,
    failed_at: u64,
}

impl Reporter {
    /// The number of callouts without an answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The number of spans that are on their way or wait for another try.
    pub(crate) fn spans(&self) -> usize {
        let sending = self.in_flight.iter().map(|(_, sending)| sending);
        sending.chain(&self.waiting).map(|sending| sending.taken.spans()).sum()
    }

    /// True where the last callout failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// When there is something to send again, of what waits here or in a batch that is due; `None` where only an
    /// answer can change that.
    pub(crate) fn next_try(&self, batch_is_due: bool) -> Option<u64> {
        let waits = !self.waiting.is_empty() || (batch_is_due && self.has_room());
        (waits && self.in_flight.len() < self.most_in_flight()).then_some(self.paused_until)
    }

    /// Ends a pause that is under way: who asks for this has no later chance.
    pub(crate) fn end_pause(&mut self) {
        self.paused_until = 0;
    }

    /// The spans that are not delivered, which are forgotten with this.
    pub(crate) fn give_up(&mut self) -> usize {
        let spans = self.spans();
        self.waiting.clear();
        self.in_flight.clear();
        spans
    }

    /// Sends what may be sent now; `dispatch` returns the token of a callout, or nothing if it could not be made.
    ///
    /// `random` spreads the pauses of many proxies.
    pub(crate) fn flush(
        &mut self,
        what: Flush,
        now: u64,
        random: u64,
        batch: &mut Batch,
        mut dispatch: impl FnMut(&[u8]) -> Option<u32>,
    ) -> Option<Fate> {
        // Where the clock can be set after all, a pause still has an end.
        self.paused_until =
            self.paused_until.min(now.saturating_add((LONGEST_WISH + FIRST_PAUSE).as_nanos() as u64));
        while now >= self.paused_until && self.in_flight.len() < self.most_in_flight() {
            // A batch may only be taken where there is room for it to wait in.
            let takes = self.has_room() && (what == Flush::All || batch.is_due());
            let next = self.waiting.pop_front().or_else(|| {
                let taken = if takes { batch.take() } else { None };
                taken.map(|taken| Sending { taken, attempts: 0, sent_at: now })
            })?;
            let sending = Sending { attempts: next.attempts + 1, sent_at: now, ..next };
            match dispatch(&sending.taken.bytes) {
                Some(token) => self.in_flight.push((token, sending)),
                None => return Some(self.failed(sending, None, now, random)),
            }
        }
        None
    }

    /// Takes the answer to a callout.
    pub(crate) fn answered(&mut self, token: u32, answer: Answer, now: u64, random: u64) -> Option<Answered> {
        let index = self.in_flight.iter().position(|(known, _)| *known == token)?;
        let (_, sending) = self.in_flight.swap_remove(index);
        let took = Duration::from_nanos(now.saturating_sub(sending.sent_at));
        let spans = sending.taken.spans();
        let fate = match answer.status {
            Some(200..=299) => {
                // One that was under way when another failed tells nothing of what came after.
                if self.failures == 0 || sending.sent_at > self.failed_at {
                    self.failures = 0;
                    self.paused_until = 0;
                }
                Fate::Sent(spans)
            }
            Some(413) => self.too_large(sending),
            // 408 and 429 ask for another try; every other 4xx says that it is no use.
            Some(status @ 400..=499) if status != 408 && status != 429 => Fate::Refused(spans),
            _ => self.failed(sending, answer.retry_after, now, random),
        };
        Some(Answered { fate, took })
    }

    /// While it fails one batch is enough to find out whether it still does.
    const fn most_in_flight(&self) -> usize {
        if self.failures > 0 { 1 } else { MAX_BATCHES }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() + self.waiting.len() < MAX_BATCHES
    }

    fn too_large(&mut self, sending: Sending) -> Fate {
        let spans = sending.taken.spans();
        let Some((first, second)) = sending.taken.halves() else {
            return Fate::TooLarge(spans);
        };
        for taken in [second, first] {
            self.waiting.push_front(Sending { taken, attempts: 0, sent_at: sending.sent_at });
        }
        Fate::Halved(spans)
    }

    fn failed(&mut self, sending: Sending, wish: Option<Duration>, now: u64, random: u64) -> Fate {
        // Callouts that were out together fail of one outage, which makes the pause longer once.
        if self.failures == 0 || sending.sent_at > self.failed_at {
            let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(5)).min(LONGEST_PAUSE);
            let half = pause.as_nanos() as u64 / 2;
            self.failures = self.failures.saturating_add(1);
            self.failed_at = now;
            // Between half and all of the pause.
            self.paused_until = now.saturating_add(half + random % (half + 1));
        }
        if let Some(wish) = wish {
            let nanos = wish.min(LONGEST_WISH).as_nanos() as u64;
            // Never earlier than asked for, and not all proxies at one time.
            let spread = random % (FIRST_PAUSE.as_nanos() as u64);
            self.paused_until = self.paused_until.max(now.saturating_add(nanos + spread));
        }
        let spans = sending.taken.spans();
        if sending.attempts >= MAX_ATTEMPTS {
            return Fate::Exhausted(spans);
        }
        self.waiting.push_back(sending);
        Fate::Retry(spans)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::Bounds;

    const SECOND: u64 = 1_000_000_000;

    const NONE: Answer = Answer { status: None, retry_after: None };

    fn status(status: u16) -> Answer {
        Answer { status: Some(status), retry_after: None }
    }

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
        reporter.flush(Flush::All, now, 0, batch, |bytes| {
            sizes.push(bytes.len());
            *tokens += 1;
            Some(*tokens)
        });
        sizes
    }

    fn answered(reporter: &mut Reporter, token: u32, answer: Answer, now: u64) -> Option<Fate> {
        reporter.answered(token, answer, now, 0).map(|answered| answered.fate)
    }

    /// What was sent before a failure ends no pause that came of it.
    #[test]
    fn an_answer_from_before_an_outage_ends_no_pause() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(30), 0);
        assert_eq!(flush(&mut reporter, SECOND, &mut batch, &mut tokens), [10, 10, 10]);
        let busy = Answer { status: Some(429), retry_after: Some(Duration::from_secs(60)) };
        assert_eq!(answered(&mut reporter, 1, busy, 2 * SECOND), Some(Fate::Retry(10)));
        for token in [2, 3] {
            assert_eq!(answered(&mut reporter, token, status(200), 2 * SECOND), Some(Fate::Sent(10)));
        }
        assert!(reporter.is_failing());
        assert!(flush(&mut reporter, 61 * SECOND, &mut batch, &mut tokens).is_empty());
        assert_eq!(flush(&mut reporter, 63 * SECOND, &mut batch, &mut tokens), [10]);
        assert_eq!(answered(&mut reporter, 4, status(200), 64 * SECOND), Some(Fate::Sent(10)));
        assert!(!reporter.is_failing());
    }

    /// A pause ends with the root, which has one try left; and with a clock that was set back.
    #[test]
    fn no_pause_outlives_its_reason() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(10), 0);
        flush(&mut reporter, 9_000 * SECOND, &mut batch, &mut tokens);
        answered(&mut reporter, 1, NONE, 9_000 * SECOND);
        assert!(flush(&mut reporter, 9_000 * SECOND, &mut batch, &mut tokens).is_empty());
        assert!(flush(&mut reporter, SECOND, &mut batch, &mut tokens).is_empty());
        assert_eq!(flush(&mut reporter, 302 * SECOND, &mut batch, &mut tokens), [10]);
        answered(&mut reporter, 2, NONE, 302 * SECOND);
        reporter.end_pause();
        assert_eq!(flush(&mut reporter, 302 * SECOND, &mut batch, &mut tokens), [10]);
    }

    #[test]
    fn spans_count_as_sent_after_the_answer() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(25), 0);
        assert_eq!(flush(&mut reporter, 0, &mut batch, &mut tokens), [10, 10, 5]);
        assert_eq!((reporter.in_flight(), reporter.spans()), (3, 25));
        let expected = Answered { fate: Fate::Sent(10), took: Duration::from_secs(1) };
        assert_eq!(reporter.answered(2, status(200), SECOND, 0), Some(expected));
        assert_eq!(answered(&mut reporter, 2, status(200), SECOND), None);
        assert_eq!(answered(&mut reporter, 99, status(200), SECOND), None);
        assert_eq!((reporter.in_flight(), reporter.spans()), (2, 15));
    }

    #[test]
    fn only_what_is_due_goes_before_the_interval() {
        let (mut reporter, mut batch, mut sizes) = (Reporter::default(), batch_of(13), Vec::new());
        assert_eq!(reporter.next_try(batch.is_due()), Some(0));
        reporter.flush(Flush::Due, 0, 0, &mut batch, |bytes| {
            sizes.push(bytes.len());
            Some(sizes.len() as u32)
        });
        assert_eq!((sizes, batch.len()), (vec![10], 3));
        assert_eq!(reporter.next_try(batch.is_due()), None);
    }

    /// Rule 73: a small cap on what is in flight, and on what waits.
    #[test]
    fn no_more_than_a_few_batches_are_out() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(100), 0);
        assert_eq!(flush(&mut reporter, 0, &mut batch, &mut tokens).len(), MAX_BATCHES);
        for token in 1..=MAX_BATCHES as u32 {
            assert_eq!(answered(&mut reporter, token, NONE, 0), Some(Fate::Retry(10)));
        }
        assert_eq!((batch.len(), reporter.spans()), (60, 40));
        assert_eq!(flush(&mut reporter, 1, &mut batch, &mut tokens).len(), 0);
        assert_eq!(batch.len(), 60);
    }

    /// Four callouts that fail of one outage make one pause, and one of them finds out whether it is over.
    #[test]
    fn one_outage_is_one_failure() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(100), 0);
        flush(&mut reporter, 0, &mut batch, &mut tokens);
        for token in 1..=MAX_BATCHES as u32 {
            let at = 2 * SECOND + u64::from(token);
            assert_eq!(answered(&mut reporter, token, NONE, at), Some(Fate::Retry(10)));
        }
        assert_eq!(reporter.paused_until, 2 * SECOND + 1 + SECOND / 2);
        assert_eq!(reporter.next_try(false), Some(reporter.paused_until));

        let now = reporter.paused_until;
        assert_eq!(flush(&mut reporter, now, &mut batch, &mut tokens).len(), 1);
        assert_eq!(reporter.next_try(true), None); // its answer comes first
        assert_eq!(answered(&mut reporter, tokens, NONE, now + 1), Some(Fate::Retry(10)));
        assert_eq!(reporter.paused_until, now + 1 + SECOND); // half of two seconds

        let now = reporter.paused_until;
        assert_eq!(flush(&mut reporter, now, &mut batch, &mut tokens).len(), 1);
        assert_eq!(answered(&mut reporter, tokens, status(200), now + 1), Some(Fate::Sent(10)));
        // The others follow at once.
        assert_eq!(reporter.next_try(false), Some(0));
        assert_eq!(flush(&mut reporter, now + 1, &mut batch, &mut tokens).len(), MAX_BATCHES);
    }

    #[test]
    fn the_pause_doubles_up_to_a_limit() {
        let (mut reporter, mut batch, mut now) = (Reporter::default(), batch_of(1), 0);
        let mut pauses = Vec::new();
        loop {
            let fate = reporter.flush(Flush::All, now, u64::MAX, &mut batch, |_| None);
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

    /// Rule 78: the exporter is left alone for as long as it asks, but not for ever.
    #[test]
    fn the_exporter_may_ask_for_a_pause() {
        for (wish, expected) in [(0, SECOND / 2), (7, 7 * SECOND), (1_000_000, 300 * SECOND)] {
            let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(1), 0);
            flush(&mut reporter, 0, &mut batch, &mut tokens);
            let answer = Answer { status: Some(429), retry_after: Some(Duration::from_secs(wish)) };
            assert_eq!(answered(&mut reporter, 1, answer, 0), Some(Fate::Retry(1)));
            assert_eq!(reporter.paused_until, expected, "{wish} seconds");
        }
    }

    /// What is too large for one request goes in two, down to the span that is too large alone.
    #[test]
    fn what_is_too_large_is_halved() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(10), 0);
        assert_eq!(flush(&mut reporter, 0, &mut batch, &mut tokens), [10]);
        assert_eq!(answered(&mut reporter, 1, status(413), 0), Some(Fate::Halved(10)));
        assert!(!reporter.is_failing());
        assert_eq!(flush(&mut reporter, 0, &mut batch, &mut tokens), [5, 5]);
        assert_eq!(answered(&mut reporter, 2, status(200), 0), Some(Fate::Sent(5)));
        let mut lost = 0;
        let mut answers = 0;
        while reporter.spans() > 0 {
            let (token, _) = reporter.in_flight[0];
            match answered(&mut reporter, token, status(413), 0) {
                Some(Fate::TooLarge(1)) => lost += 1,
                other => assert!(matches!(other, Some(Fate::Halved(_))), "{other:?}"),
            }
            flush(&mut reporter, 0, &mut batch, &mut tokens);
            answers += 1;
        }
        assert_eq!((lost, answers), (5, 9)); // five single spans, and four larger parts
    }

    #[test]
    fn a_refusal_is_final_and_pauses_nothing() {
        let (mut reporter, mut batch, mut tokens) = (Reporter::default(), batch_of(11), 0);
        flush(&mut reporter, 0, &mut batch, &mut tokens);
        assert_eq!(answered(&mut reporter, 1, status(400), 0), Some(Fate::Refused(10)));
        assert_eq!(answered(&mut reporter, 2, status(429), 0), Some(Fate::Retry(1)));
        assert!(reporter.is_failing());
        assert_eq!(reporter.give_up(), 1);
        assert_eq!(reporter.spans(), 0);
    }

    proptest! {
        /// Whatever the exporter answers and when: no span is lost without a fate, never more than the spans of a
        /// few batches are out, and there is always a next step.
        #[test]
        fn every_span_has_one_fate(
            steps in proptest::collection::vec((0u64..40, 0usize..30, 0usize..8, any::<u64>()), 1..200),
        ) {
            let (mut reporter, mut batch) = (Reporter::default(), batch_of(0));
            let (mut now, mut tokens, mut pushed, mut done) = (0, 0, 0, 0);
            for (seconds, spans, answer, random) in steps {
                now += seconds * SECOND / 4;
                for _ in 0..spans {
                    batch.push(|out| out.push(b'x'));
                }
                pushed += spans;
                let mut fates = Vec::new();
                fates.extend(reporter.flush(Flush::All, now, random, &mut batch, |_| {
                    tokens += 1;
                    (random % 11 > 0).then_some(tokens)
                }));
                let answer = [NONE, status(200), status(200), status(413), status(400), status(503)]
                    .get(answer)
                    .copied()
                    .unwrap_or(Answer { status: Some(429), retry_after: Some(Duration::from_secs(random % 9)) });
                let oldest = reporter.in_flight.iter().map(|(token, _)| *token).min();
                fates.extend(oldest.and_then(|token| reporter.answered(token, answer, now, random)).map(|answered| answered.fate));
                for fate in fates {
                    done += match fate {
                        Fate::Sent(spans) | Fate::Refused(spans) | Fate::TooLarge(spans) | Fate::Exhausted(spans) => spans,
                        Fate::Retry(_) | Fate::Halved(_) => 0,
                    };
                }
                prop_assert_eq!(pushed, done + reporter.spans() + batch.len());
                prop_assert!(reporter.spans() <= MAX_BATCHES * 10 && reporter.in_flight() <= MAX_BATCHES);
                prop_assert!(reporter.in_flight() > 0 || reporter.waiting.is_empty() || reporter.next_try(false).is_some());
            }
        }
    }
}
