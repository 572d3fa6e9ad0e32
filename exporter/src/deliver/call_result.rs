//! The handling of a call's result: accept, retry, halve, or store as a dead letter.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::chunk::Halves;
use super::queue::Attempt;
use super::sink::{Accepted, DeliveryError, DroppedItems, FailedItems, RejectedItems, Sink};
use super::{Chunk, Delivery, Origin, warn};
use crate::clock::unix_millis;
use crate::log::{self, Value};
use crate::metrics::Tally;
use crate::otlp::Signal;
use crate::outbox::{BatchContent, Settled};

/// After this many failures while others were accepted, the chunk itself is the cause, not the sink.
const SUSPICIOUS_FAILURES: u32 = 8;

/// If the failures look like those of an unavailable sink, they also have to last this long, and at least as many other
/// calls have to be accepted.
const SUSPICIOUS_AFTER: Duration = Duration::from_secs(10 * 60);

/// After this many dead letters without an accepted chunk, the cause is not a single item, and nothing more is halved.
const MAX_DEAD_LETTERS_IN_A_ROW: u32 = 32;

pub(super) const DEAD_LETTER_FAILED: &str = "failed to store a dead letter";

/// The reason of log records that a sink does not take, in the metrics.
const UNSUPPORTED: &str = "unsupported";

/// The longest back-off that a sink can request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// How long a call without spans may take. No other call is settled meanwhile.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns true if a sink that accepts other chunks seems unavailable for this one, for example because a proxy answers
/// the call or the call always times out.
fn is_stuck(attempt: &Attempt, accepted: u64, now: Instant) -> bool {
    let others = accepted.saturating_sub(attempt.accepted_before);
    attempt.failures >= SUSPICIOUS_FAILURES
        && others >= u64::from(attempt.failures)
        && attempt.first_failure.is_some_and(|first| now.duration_since(first) >= SUSPICIOUS_AFTER)
}

/// Returns true if the chunks are smaller than the one that was split, and hold all its items.
fn are_complete(chunks: &[Chunk], chunk: &Chunk) -> bool {
    chunks.len() > 1
        && chunks.iter().map(|chunk| u64::from(chunk.items())).sum::<u64>() == u64::from(chunk.items())
}

impl<S: Sink> Delivery<S> {
    /// Handles the result of a call. `round` is the round in which the call started.
    pub(super) async fn handle_result(
        &mut self,
        attempt: Attempt,
        round: u64,
        result: Result<Accepted, DeliveryError>,
    ) {
        let is_about_spans = attempt.chunk.signal() == Signal::Traces;
        match result {
            Ok(accepted) if accepted.is_nothing_of(&attempt.chunk) => {
                self.handle_failed(&attempt, round, accepted.failed).await;
            }
            Ok(accepted) => {
                self.accepts_spans |= is_about_spans;
                self.has_accepted_logs |= !is_about_spans;
                self.accept(attempt, round, accepted).await;
            }
            Err(error) => {
                let is_down = matches!(
                    error,
                    DeliveryError::Unavailable { .. }
                        | DeliveryError::AccessDenied { .. }
                        | DeliveryError::Failed { .. }
                );
                self.accepts_spans &= !(is_about_spans && is_down);
                self.handle_error(attempt, round, error).await;
            }
        }
    }

    async fn handle_error(&mut self, mut attempt: Attempt, round: u64, error: DeliveryError) {
        match error {
            DeliveryError::Split { chunks } if are_complete(&chunks, &attempt.chunk) => {
                self.queue.push_split(chunks.into_iter());
            }
            DeliveryError::Split { .. } => {
                self.move_to_dead_letters(attempt, "it cannot be split as the sink requires").await;
            }
            DeliveryError::Unavailable { reason, retry_after }
            | DeliveryError::AccessDenied { reason, retry_after, .. } => {
                let now = Instant::now();
                attempt.fail(self.accepted, now);
                if is_stuck(&attempt, self.accepted, now) {
                    self.halve(attempt, &format!("it fails while others are accepted: {reason}")).await;
                } else {
                    self.requeue(attempt, round, &reason, retry_after);
                }
            }
            DeliveryError::Failed { reason, retry_after } => {
                attempt.fail(self.accepted, Instant::now());
                if attempt.failures >= SUSPICIOUS_FAILURES && self.accepted > attempt.accepted_before {
                    self.halve(attempt, &format!("it fails while others are accepted: {reason}")).await;
                } else {
                    self.requeue(attempt, round, &reason, retry_after);
                }
            }
            DeliveryError::TooLarge { reason } => self.halve_now(attempt, &reason).await,
            DeliveryError::Rejected { reason } => self.halve(attempt, &reason).await,
            DeliveryError::Undeliverable { reason } => self.move_to_dead_letters(attempt, &reason).await,
            DeliveryError::Unsupported { reason } => self.handle_unsupported(attempt, round, &reason).await,
        }
    }

    /// Stores log records as dead letters, because the sink takes only spans, so that the spans do not wait.
    ///
    /// While the sink does not accept spans either, its address may be wrong, or something else may have answered. If no
    /// spans have come yet, a call without any finds out. If it has accepted log records before, it is an outage, too.
    /// Then these are retried.
    async fn handle_unsupported(&mut self, mut attempt: Attempt, round: u64, reason: &str) {
        if !self.has_accepted_logs {
            warn(&self.name, "the sink seems to take no log records: set --sink NAME,signals=traces", reason);
        }
        if !self.accepts_spans || self.has_accepted_logs {
            if !self.has_accepted_logs && self.cursor.takes(BatchContent::Traces) {
                // For the next call: the sink may have become available between the two.
                self.accepts_spans = timeout(PROBE_TIMEOUT, self.sink.accepts_spans()).await.unwrap_or(false);
            }
            attempt.fail(self.accepted, Instant::now());
            return self.requeue(attempt, round, reason, None);
        }
        if self.store_dead_letter(&attempt.chunk, reason).await {
            self.settle_with(&attempt.chunk, attempt.chunk.items(), UNSUPPORTED);
        } else {
            self.requeue(attempt, round, DEAD_LETTER_FAILED, None);
        }
    }

    async fn accept(&mut self, attempt: Attempt, round: u64, accepted: Accepted) {
        match accepted.rejected {
            None => match accepted.dropped {
                None => self.settle_accepted(&attempt.chunk, &accepted.failed),
                Some(DroppedItems { items, reason }) => self.settle_with(&attempt.chunk, items, reason),
            },
            Some(rejected) if rejected.items >= attempt.chunk.items() => {
                return self.halve(attempt, &rejected.reason).await;
            }
            Some(RejectedItems { items, reason }) => {
                // A retry would deliver the other items twice, so an operator decides.
                let reason = format!("{items} of {} items were rejected: {reason}", attempt.chunk.items());
                if !self.store_dead_letter(&attempt.chunk, &reason).await {
                    return self.requeue(attempt, round, DEAD_LETTER_FAILED, None);
                }
                self.settle(&attempt.chunk, items);
            }
        }
        self.metrics.count_truncated(&self.name, attempt.chunk.signal(), accepted.truncated);
        self.metrics.set_last_delivery(&self.name, unix_millis());
        self.accepted += 1;
        self.dead_letters_in_a_row = 0;
        self.throttle.succeed();
        if round == self.round {
            self.backoff.reset();
            if self.paused_until.take().is_some() {
                log::info("delivery resumed", &[("sink", Value::Str(&self.name))]);
            }
        }
        self.handle_failed(&attempt, round, accepted.failed).await;
    }

    /// Handles the items of a call that the sink did not accept, each group by its own error.
    async fn handle_failed(&mut self, attempt: &Attempt, round: u64, failed: Vec<FailedItems>) {
        for FailedItems { chunk, error } in failed {
            self.handle_error(Attempt { chunk, ..attempt.clone() }, round, error).await;
        }
    }

    /// Queues a chunk again, and starts a back-off unless the failure belongs to an outage that has one.
    fn requeue(&mut self, attempt: Attempt, round: u64, reason: &str, retry_after: Option<Duration>) {
        self.metrics.count_retry(&self.name);
        let requested = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        let now = Instant::now();
        if round == self.round {
            self.round += 1;
            self.throttle.fail();
            self.paused_until = Some(now + self.backoff.next(fastrand::u64(..)).max(requested));
        } else if !requested.is_zero() {
            self.paused_until = self.paused_until.max(Some(now + requested));
        }
        let pause = self.paused_until.map_or(Duration::ZERO, |until| until.duration_since(now));
        let fields = [
            ("sink", Value::Str(&self.name)),
            ("error", Value::Str(reason)),
            ("retry_seconds", Value::F64(pause.as_secs_f64())),
        ];
        log::warn("delivery failed, retrying", &fields);
        self.queue.retry(attempt);
    }

    /// Queues the halves of a rejected chunk, so that the rejected item ends up alone. A single item becomes a dead
    /// letter, and so does every chunk after [`MAX_DEAD_LETTERS_IN_A_ROW`] of them.
    async fn halve(&mut self, attempt: Attempt, reason: &str) {
        if self.dead_letters_in_a_row >= MAX_DEAD_LETTERS_IN_A_ROW {
            return self.move_to_dead_letters(attempt, reason).await;
        }
        self.halve_now(attempt, reason).await;
    }

    async fn halve_now(&mut self, attempt: Attempt, reason: &str) {
        match attempt.chunk.halves() {
            Halves::Two(first, second) => self.queue.push_split([first, second].into_iter()),
            Halves::One(chunk) => self.move_to_dead_letters(chunk.into(), reason).await,
        }
    }

    /// Stores a chunk as a dead letter, and settles its items. Queues it again if that fails.
    async fn move_to_dead_letters(&mut self, attempt: Attempt, reason: &str) {
        if self.store_dead_letter(&attempt.chunk, reason).await {
            self.dead_letters_in_a_row = self.dead_letters_in_a_row.saturating_add(1);
            self.settle(&attempt.chunk, attempt.chunk.items());
        } else {
            self.requeue(attempt, self.round, DEAD_LETTER_FAILED, None);
        }
    }

    /// Stores a chunk as a dead letter; returns false if that fails.
    async fn store_dead_letter(&self, chunk: &Chunk, reason: &str) -> bool {
        if let Err(error) = self.dead_letters.store(&self.name, chunk, reason).await {
            warn(&self.name, DEAD_LETTER_FAILED, &error);
            return false;
        }
        let fields = [
            ("sink", Value::Str(&self.name)),
            ("error", Value::Str(reason)),
            ("items", Value::U64(chunk.items().into())),
            ("rejected_before", Value::U64(self.rejected_before(chunk.signal()))),
        ];
        log::error("rejected, stored as a dead letter", &fields);
        true
    }

    /// Returns the number of items that the sink has rejected so far.
    fn rejected_before(&self, signal: Signal) -> u64 {
        let rejected = self.metrics.dropped(&self.name, "rejected");
        match signal {
            Signal::Traces => rejected.spans.get(),
            Signal::Logs => rejected.log_records.get(),
        }
    }

    /// Settles the items of a chunk as delivered, except those that failed.
    fn settle_accepted(&mut self, chunk: &Chunk, failed: &[FailedItems]) {
        if failed.is_empty() {
            return self.settle(chunk, 0);
        }
        let mut failed_of: HashMap<Origin, u32> = HashMap::new();
        for slice in failed.iter().flat_map(|items| items.chunk.slices()) {
            *failed_of.entry(slice.origin).or_default() += slice.items;
        }
        let delivered = self.metrics.delivered(&self.name);
        for slice in chunk.slices() {
            let failed = failed_of.entry(slice.origin).or_default();
            let items = slice.items.saturating_sub(*failed);
            *failed -= slice.items - items;
            if items > 0 {
                self.settle_items(chunk.signal(), slice.origin, items, &delivered);
            }
        }
    }

    fn settle_items(&mut self, signal: Signal, origin: Origin, items: u32, tally: &Tally) {
        match origin {
            Origin::Batch(id) => {
                self.ledger.settle(Settled { id, signal, items: items.into(), tally: tally.clone() });
            }
            Origin::DeadLetter(id) => self.settle_dead_letter(id, items),
        }
    }

    /// Settles a chunk: this many of its items are rejected, the others delivered.
    pub(super) fn settle(&mut self, chunk: &Chunk, rejected: u32) {
        self.settle_with(chunk, rejected, "rejected");
    }

    /// Settles a chunk: this many of its items are dropped for this reason, the others delivered.
    pub(super) fn settle_with(&mut self, chunk: &Chunk, dropped: u32, reason: &'static str) {
        let (delivered, rejected) =
            (self.metrics.delivered(&self.name), self.metrics.dropped(&self.name, reason));
        let mut to_drop = dropped;
        for slice in chunk.slices() {
            let dropped = slice.items.min(to_drop);
            to_drop -= dropped;
            for (items, tally) in [(slice.items - dropped, &delivered), (dropped, &rejected)] {
                if items > 0 {
                    self.settle_items(chunk.signal(), slice.origin, items, tally);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::tests::body;
    use super::super::{Origin, Slice};
    use super::*;

    #[test]
    fn a_chunk_that_fails_long_while_others_are_accepted_is_stuck() {
        let start = Instant::now();
        let slice = Slice::new(Origin::Batch(1), 1, body(&["a"]));
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
