//! What becomes of a part when its call has ended.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::jitter;
use super::part::Halves;
use super::queue::Attempt;
use super::{Delivery, Part, Place, tell};
use crate::log::{self, Severity, Value};
use crate::outbox::Passed;
use crate::sink::{Accepted, DeliveryError, Rejected, Sink};

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
fn are_the_whole(parts: &[Part], part: &Part) -> bool {
    parts.len() > 1
        && parts.iter().map(|part| u64::from(part.items())).sum::<u64>() == u64::from(part.items())
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
            Err(DeliveryError::Divided { parts }) if are_the_whole(&parts, &attempt.part) => {
                self.queue.divided(parts.into_iter());
            }
            Err(DeliveryError::Divided { .. }) => {
                self.keep(attempt, "it cannot be divided as the sink wants it").await;
            }
            Err(
                DeliveryError::Unavailable { reason, after } | DeliveryError::Denied { reason, after, .. },
            ) => {
                let now = Instant::now();
                attempt.fail(self.accepted, now);
                if is_stuck(&attempt, self.accepted, now) {
                    let reason = format!("it fails while others are accepted: {reason}");
                    self.refuse(attempt, &reason).await;
                } else {
                    self.retry(attempt, round, &reason, after);
                }
            }
            Err(DeliveryError::Failed { reason, after }) => {
                attempt.fail(self.accepted, Instant::now());
                let others_pass = self.accepted > attempt.accepted_before;
                if attempt.failures >= SUSPICIOUS_FAILURES && others_pass {
                    let reason = format!("it fails while others are accepted: {reason}");
                    self.refuse(attempt, &reason).await;
                } else {
                    self.retry(attempt, round, &reason, after);
                }
            }
            Err(DeliveryError::Refused { reason }) => self.refuse(attempt, &reason).await,
            Err(DeliveryError::Unwanted { reason }) => self.keep(attempt, &reason).await,
        }
    }

    async fn accept(&mut self, attempt: Attempt, round: u64, accepted: Accepted) {
        match accepted.rejected {
            None => self.settle(&attempt.part, 0),
            Some(rejected) if rejected.items >= attempt.part.items() => {
                return self.refuse(attempt, &rejected.reason).await;
            }
            Some(Rejected { items, reason }) => {
                // Sent again it would be there twice; so it is kept for somebody to judge.
                let reason = format!("{items} of {} were rejected: {reason}", attempt.part.items());
                if !self.store(&attempt.part, &reason).await {
                    return self.retry(attempt, round, CANNOT_KEEP, None);
                }
                self.settle(&attempt.part, items);
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
    fn retry(&mut self, attempt: Attempt, round: u64, reason: &str, after: Option<Duration>) {
        self.metrics.count_retry(&self.name);
        let asked = after.unwrap_or_default().min(LONGEST_ASKED);
        let now = Instant::now();
        if round == self.round {
            self.round += 1;
            self.throttle.failed();
            self.paused_until = Some(now + self.backoff.next(jitter()).max(asked));
        } else if !asked.is_zero() {
            self.paused_until = self.paused_until.max(Some(now + asked));
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
        match attempt.part.halves() {
            Halves::Two(first, second) => self.queue.divided([first, second].into_iter()),
            Halves::One(part) => self.keep(part.into(), reason).await,
        }
    }

    /// Gives it up, as a dead letter.
    async fn keep(&mut self, attempt: Attempt, reason: &str) {
        if self.store(&attempt.part, reason).await {
            self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
            self.settle(&attempt.part, attempt.part.items());
        } else {
            self.retry(attempt, self.round, CANNOT_KEEP, None);
        }
    }

    /// Whether it is on disk now.
    async fn store(&self, part: &Part, reason: &str) -> bool {
        match self.letters.keep(&self.name, part, reason).await {
            Ok(()) => {
                self.tell_kept(part, reason);
                true
            }
            Err(error) => {
                tell(&self.name, CANNOT_KEEP, &error);
                false
            }
        }
    }

    fn tell_kept(&self, part: &Part, reason: &str) {
        let fields = [
            ("sink", Value::Str(&self.name)),
            ("error", Value::Str(reason)),
            ("items", Value::U64(part.items().into())),
            ("refused_before", Value::U64(self.metrics.dropped(&self.name, "refused").spans.get())),
        ];
        log::repeated(Severity::Error, "refused, kept as a dead letter", &fields);
    }

    /// Enters the fate of a part: so many of its items are dropped, the others delivered.
    pub(super) fn settle(&mut self, part: &Part, dropped: u32) {
        let (delivered, refused) =
            (self.metrics.delivered(&self.name), self.metrics.dropped(&self.name, "refused"));
        let mut to_drop = dropped;
        for piece in part.pieces() {
            let dropped = piece.items.min(to_drop);
            to_drop -= dropped;
            match piece.place {
                Place::Batch(id) => {
                    for (items, tally) in [(piece.items - dropped, &delivered), (dropped, &refused)] {
                        if items > 0 {
                            let items = u64::from(items);
                            self.ledger.settle(Passed {
                                id,
                                signal: part.signal(),
                                items,
                                tally: tally.clone(),
                            });
                        }
                    }
                }
                Place::DeadLetter(id) => self.settle_letter(id, piece.items),
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
    use super::super::part::tests::body;
    use super::super::{Piece, Place};
    use super::*;
    use crate::outbox::Signal;

    #[test]
    fn what_fails_for_long_while_others_pass_is_stuck() {
        let start = Instant::now();
        let piece = Piece { place: Place::Batch(1), items: 1, body: body(&["a"]) };
        for (failures, accepted, after, expected) in [
            (8, 8, SUSPICIOUS_AFTER, true),
            (7, 8, SUSPICIOUS_AFTER, false),
            (8, 7, SUSPICIOUS_AFTER, false),
            (8, 0, SUSPICIOUS_AFTER * 100, false),
            (100, 100_000, SUSPICIOUS_AFTER - Duration::from_secs(1), false),
        ] {
            let mut attempt = Attempt::from(Part::new(Signal::Traces, piece.clone()));
            (0..failures).for_each(|_| attempt.fail(1000, start));
            let is = is_stuck(&attempt, 1000 + accepted, start + after);
            assert_eq!(is, expected, "{failures} failures, {accepted} accepted, {after:?}");
        }
    }
}
