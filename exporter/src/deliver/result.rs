//! What becomes of a part when its call has ended.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::jitter;
use super::chunk::Halves;
use super::queue::Attempt;
use super::sink::{Accepted, DeliveryError, RejectedItems, Sink};
use super::{Chunk, Delivery, Origin, tell};
use crate::log::{self, Severity, Value};
use crate::outbox::Settled;

/// A part that failed so often while others were accepted is taken as the cause.
const SUSPICIOUS_FAILURES: u32 = 8;

/// Where the failures look as if they were about the sink, it takes this long, too, and as many others that were accepted.
const SUSPICIOUS_AFTER: Duration = Duration::from_secs(10 * 60);

/// After so many refusals without a part that was accepted it is not single spans that are wrong, so that nothing is
/// halved any more.
const REFUSED_IN_A_ROW: u32 = 32;

const CANNOT_KEEP: &str = "cannot keep a dead letter";

/// The longest pause that a sink can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);

/// Whether a sink that takes others seems to be unavailable for this one: a call that a proxy answers, or that always takes
/// too long.
fn is_stuck(attempt: &Attempt, accepted: u64, now: Instant) -> bool {
    let others = accepted.saturating_sub(attempt.accepted_before);
    attempt.failures >= SUSPICIOUS_FAILURES
        && others >= u64::from(attempt.failures)
        && attempt.failed_first.is_some_and(|first| now.duration_since(first) >= SUSPICIOUS_AFTER)
}

/// Whether these are smaller than the part that was divided, and nothing has been left out.
fn are_the_whole(chunks: &[Chunk], chunk: &Chunk) -> bool {
    chunks.len() > 1
        && chunks.iter().map(|chunk| u64::from(chunk.items())).sum::<u64>() == u64::from(chunk.items())
}

impl<S: Sink> Delivery<S> {
    /// Takes note of the end of a call that was started in this round.
    pub(super) async fn judge(
        &mut self,
        mut attempt: Attempt,
        round: u64,
        result: Result<Accepted, DeliveryError>,
    ) {
        match result {
            Ok(accepted) => self.accept(attempt, round, accepted).await,
            Err(DeliveryError::Split { chunks }) if are_the_whole(&chunks, &attempt.chunk) => {
                self.queue.divided(chunks.into_iter());
            }
            Err(DeliveryError::Split { .. }) => {
                self.keep(attempt, "it cannot be divided as the sink wants it").await;
            }
            Err(
                DeliveryError::Unavailable { reason, retry_after }
                | DeliveryError::AccessDenied { reason, retry_after, .. },
            ) => {
                let now = Instant::now();
                attempt.fail(self.accepted, now);
                if is_stuck(&attempt, self.accepted, now) {
                    let reason = format!("it fails while others are accepted: {reason}");
                    self.refuse(attempt, &reason).await;
                } else {
                    self.retry(attempt, round, &reason, retry_after);
                }
            }
            Err(DeliveryError::Failed { reason, retry_after }) => {
                attempt.fail(self.accepted, Instant::now());
                let others_pass = self.accepted > attempt.accepted_before;
                if attempt.failures >= SUSPICIOUS_FAILURES && others_pass {
                    let reason = format!("it fails while others are accepted: {reason}");
                    self.refuse(attempt, &reason).await;
                } else {
                    self.retry(attempt, round, &reason, retry_after);
                }
            }
            Err(DeliveryError::Rejected { reason }) => self.refuse(attempt, &reason).await,
            Err(DeliveryError::Undeliverable { reason }) => self.keep(attempt, &reason).await,
        }
    }

    async fn accept(&mut self, attempt: Attempt, round: u64, accepted: Accepted) {
        match accepted.rejected {
            None => self.settle(&attempt.chunk, 0),
            Some(rejected) if rejected.items >= attempt.chunk.items() => {
                return self.refuse(attempt, &rejected.reason).await;
            }
            Some(RejectedItems { items, reason }) => {
                // Sent again it would be there twice; so it is kept for somebody to judge.
                let reason = format!("{items} of {} were rejected: {reason}", attempt.chunk.items());
                if !self.store(&attempt.chunk, &reason).await {
                    return self.retry(attempt, round, CANNOT_KEEP, None);
                }
                self.settle(&attempt.chunk, items);
            }
        }
        self.accepted += 1;
        self.refused_in_a_row = 0;
        self.throttle.succeeded();
        if round == self.round {
            self.backoff.reset();
            if self.paused_until.take().is_some() {
                log::repeated(Severity::Info, "delivering again", &[("sink", Value::Str(&self.name))]);
            }
        }
    }

    /// Puts it back, and waits.
    fn retry(&mut self, attempt: Attempt, round: u64, reason: &str, retry_after: Option<Duration>) {
        self.metrics.count_retry(&self.name);
        let requested = retry_after.unwrap_or_default().min(LONGEST_ASKED);
        let now = Instant::now();
        if round == self.round {
            self.round += 1;
            self.throttle.failed();
            self.paused_until = Some(now + self.backoff.next(jitter()).max(requested));
        } else if !requested.is_zero() {
            self.paused_until = self.paused_until.max(Some(now + requested));
        }
        let pause = self.paused_until.map_or(Duration::ZERO, |until| until.duration_since(now));
        let fields = [
            ("sink", Value::Str(&self.name)),
            ("error", Value::Str(reason)),
            ("retry_seconds", Value::F64(pause.as_secs_f64())),
        ];
        log::repeated(Severity::Warning, "cannot deliver", &fields);
        self.queue.again(attempt);
    }

    /// Halves what is refused, until the culprit stands alone.
    async fn refuse(&mut self, attempt: Attempt, reason: &str) {
        if self.refused_in_a_row >= REFUSED_IN_A_ROW {
            return self.keep(attempt, reason).await;
        }
        match attempt.chunk.halves() {
            Halves::Two(first, second) => self.queue.divided([first, second].into_iter()),
            Halves::One(chunk) => self.keep(chunk.into(), reason).await,
        }
    }

    /// Gives it up, as a dead letter.
    async fn keep(&mut self, attempt: Attempt, reason: &str) {
        if self.store(&attempt.chunk, reason).await {
            self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
            self.settle(&attempt.chunk, attempt.chunk.items());
        } else {
            self.retry(attempt, self.round, CANNOT_KEEP, None);
        }
    }

    /// Whether it is on disk now.
    async fn store(&self, chunk: &Chunk, reason: &str) -> bool {
        match self.letters.keep(&self.name, chunk, reason).await {
            Ok(()) => {
                self.tell_kept(chunk, reason);
                true
            }
            Err(error) => {
                tell(&self.name, CANNOT_KEEP, &error);
                false
            }
        }
    }

    fn tell_kept(&self, chunk: &Chunk, reason: &str) {
        let fields = [
            ("sink", Value::Str(&self.name)),
            ("error", Value::Str(reason)),
            ("items", Value::U64(chunk.items().into())),
            ("refused_before", Value::U64(self.metrics.dropped(&self.name, "refused").spans.get())),
        ];
        log::repeated(Severity::Error, "refused, kept as a dead letter", &fields);
    }

    /// Enters the fate of a part: so many of its items are dropped, the others delivered.
    pub(super) fn settle(&mut self, chunk: &Chunk, dropped: u32) {
        let (delivered, refused) =
            (self.metrics.delivered(&self.name), self.metrics.dropped(&self.name, "refused"));
        let mut to_drop = dropped;
        for slice in chunk.slices() {
            let dropped = slice.items.min(to_drop);
            to_drop -= dropped;
            match slice.origin {
                Origin::Batch(id) => {
                    for (items, tally) in [(slice.items - dropped, &delivered), (dropped, &refused)] {
                        if items > 0 {
                            let items = u64::from(items);
                            self.ledger.settle(Settled {
                                id,
                                signal: chunk.signal(),
                                items,
                                tally: tally.clone(),
                            });
                        }
                    }
                }
                Origin::DeadLetter(id) => self.settle_letter(id, slice.items),
            }
        }
    }

    fn settle_letter(&mut self, id: i64, items: u32) {
        if let Some(unsettled) = self.letters_out.get_mut(&id) {
            *unsettled = unsettled.saturating_sub(items);
            if *unsettled == 0 {
                self.letters_out.remove(&id);
                self.letters_settled.push(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::tests::body;
    use super::super::{Origin, Slice};
    use super::*;
    use crate::otlp::Signal;

    #[test]
    fn what_fails_for_long_while_others_pass_is_stuck() {
        let start = Instant::now();
        let slice = Slice { origin: Origin::Batch(1), items: 1, body: body(&["a"]) };
        for (failures, accepted, after, expected) in [
            (8, 8, SUSPICIOUS_AFTER, true),
            (7, 8, SUSPICIOUS_AFTER, false),
            (8, 7, SUSPICIOUS_AFTER, false),
            (8, 0, SUSPICIOUS_AFTER * 100, false),
            (100, 100_000, SUSPICIOUS_AFTER - Duration::from_secs(1), false),
        ] {
            let mut attempt = Attempt::from(Chunk::new(Signal::Traces, slice.clone()));
            (0..failures).for_each(|_| attempt.fail(1000, start));
            let is = is_stuck(&attempt, 1000 + accepted, start + after);
            assert_eq!(is, expected, "{failures} failures, {accepted} accepted, {after:?}");
        }
    }
}
