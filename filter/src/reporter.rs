//! [`Reporter`]: sends batches to the exporter, a few at a time, and retries those that were not delivered.
//!
//! The reporter decides what is sent when, without a host call; [`crate::destination`] makes the callouts and passes on
//! the responses.
//!
//! A root has a reporter for each cluster of the exporter.
//!
//! Invariant: the spans outside of the buffer are at most those of `max_batches` full batches, whatever the exporter
//! responds.
//!
//! All times are nanoseconds of a monotonic clock.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Mutex;

use logtracer_core::Backoff;
use logtracer_core::span_buffer::{Batch, SpanBuffer};

use crate::batch_limits::BatchLimits;
use crate::recovery::Recovery;
use crate::shared::lock;

/// The maximum number of callouts in flight of a root. They are divided among its clusters, and each has at least one.
/// Batches that wait for another attempt are sent before new ones.
pub(crate) const MAX_BATCHES: usize = 4;
/// The number of attempts before a batch is dropped that fails although others are delivered.
pub(crate) const MAX_ATTEMPTS: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// The longest `Retry-After` that the reporter respects.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Which spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Batches that wait for another attempt, and full batches.
    Due,
    /// All spans.
    All,
}

/// The response of the exporter to a callout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Response {
    /// The HTTP status; `None` if the callout failed.
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<Duration>,
}

/// The result of an attempt to send a batch, with the number of its spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendResult {
    /// The exporter accepted the batch.
    Delivered(usize),
    /// The batch is sent again.
    Retrying(usize),
    /// The batch is too large for one request and is sent again in two halves.
    Split(usize),
    /// The exporter rejected the batch. Another attempt would not help.
    RequestRejected(usize),
    /// A single span is too large for one request.
    TooLarge(usize),
    /// This was at least the last of [`MAX_ATTEMPTS`], and other batches were delivered meanwhile.
    RetriesExhausted(usize),
}

/// One batch on its way to the exporter.
#[derive(Debug)]
struct Delivery {
    batch: Batch,
    attempts: u32,
    sent_at: u64,
    /// The number of successes before the first attempt.
    successes: u64,
}

/// The state of the delivery to one cluster of the exporter.
#[derive(Debug)]
pub(crate) struct Reporter {
    /// Callouts without a response, by their tokens.
    in_flight: Vec<(u32, Delivery)>,
    /// Batches that wait for another attempt.
    waiting: VecDeque<Delivery>,
    max_batches: usize,
    /// Counts the outages since the last success.
    backoff: Backoff,
    /// The end of the current pause.
    backoff_until: u64,
    /// From this time on, a buffer of `retry_mark` bytes ends the pause early.
    earliest: u64,
    /// The size of the buffer at which it would overflow during the whole pause.
    retry_mark: usize,
    /// When the last outage was counted.
    failed_at: u64,
    /// The number of batches that the exporter accepted.
    successes: u64,
    /// Shared with the other roots of the process that use the same exporter.
    recovery: Recovery,
}

impl Reporter {
    /// Creates a reporter that makes at most `max_batches` callouts at a time, and shares its successes with other roots.
    pub(crate) const fn new(max_batches: usize, recovery: Recovery) -> Self {
        Self {
            in_flight: Vec::new(),
            waiting: VecDeque::new(),
            max_batches,
            backoff: Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF),
            backoff_until: 0,
            earliest: 0,
            retry_mark: usize::MAX,
            failed_at: 0,
            successes: 0,
            recovery,
        }
    }

    /// Returns the number of callouts without a response.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns the number of spans that are in flight or wait for another attempt.
    pub(crate) fn spans(&self) -> usize {
        let in_flight = self.in_flight.iter().map(|(_, delivery)| delivery);
        in_flight.chain(&self.waiting).map(|delivery| delivery.batch.spans()).sum()
    }

    /// Returns whether the exporter has failed and not recovered since.
    pub(crate) fn is_failing(&self) -> bool {
        self.backoff.failures() > 0
    }

    /// Returns whether nothing is in flight although the exporter is available, as far as is known.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && !self.is_failing()
    }

    /// Returns when [`Self::flush`] can send the next batch; `None` if there is none to send or a response must come
    /// first.
    pub(crate) fn next_send(&self, has_full_batch: bool) -> Option<u64> {
        let has_batch = !self.waiting.is_empty() || has_full_batch;
        (has_batch && self.in_flight.len() < self.max_in_flight()).then_some(self.backoff_until)
    }

    /// Ends the current back-off, for the last attempt before the root ends.
    pub(crate) fn end_backoff(&mut self) {
        self.backoff_until = 0;
    }

    /// Takes all batches, those that are in flight first.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Batch> + use<> {
        let in_flight = core::mem::take(&mut self.in_flight).into_iter().map(|(_, delivery)| delivery);
        in_flight.chain(core::mem::take(&mut self.waiting)).map(|delivery| delivery.batch)
    }

    /// Sends what may be sent now. `call` makes a callout and returns its token, or `None` if it fails at once: then
    /// the result is returned, and nothing more is sent.
    ///
    /// `random` spreads the attempts of many proxies.
    pub(crate) fn flush(
        &mut self,
        flush: Flush,
        now: u64,
        random: u64,
        buffer: &Mutex<SpanBuffer>,
        limits: BatchLimits,
        mut call: impl FnMut(&[u8]) -> Option<u32>,
    ) -> Option<SendResult> {
        // A clock that is set back must not extend the back-off.
        let longest = (MAX_RETRY_AFTER + FIRST_BACKOFF).as_nanos() as u64;
        self.backoff_until = self.backoff_until.min(now.saturating_add(longest));
        self.earliest = self.earliest.min(self.backoff_until);
        if self.is_failing() && self.recovery.is_after(self.failed_at) {
            // Another root delivered a batch.
            self.backoff_until = 0;
        }
        // Not locked during a callout, because streams wait for the buffer.
        while self.may_send(now, &lock(buffer)) && self.in_flight.len() < self.max_in_flight() {
            let next = self.waiting.pop_front().or_else(|| {
                let mut buffer = lock(buffer);
                let is_due = flush == Flush::All || limits.has_full_batch(&buffer);
                let batch = if is_due { limits.take_batch(&mut buffer) } else { None };
                batch.map(|batch| Delivery { batch, attempts: 0, sent_at: now, successes: self.successes })
            })?;
            let delivery = Delivery { attempts: next.attempts + 1, sent_at: now, ..next };
            match call(&delivery.batch.bytes) {
                Some(token) => self.in_flight.push((token, delivery)),
                None => return Some(self.fail(delivery, None, now, random, &lock(buffer))),
            }
        }
        None
    }

    /// Handles the response to a callout. Returns the result and the duration of the callout; `None` if the token is
    /// unknown.
    pub(crate) fn on_response(
        &mut self,
        token: u32,
        response: Response,
        now: u64,
        random: u64,
        buffer: &SpanBuffer,
    ) -> Option<(SendResult, Duration)> {
        let index = self.in_flight.iter().position(|(known, _)| *known == token)?;
        let (_, delivery) = self.in_flight.swap_remove(index);
        let duration = Duration::from_nanos(now.saturating_sub(delivery.sent_at));
        let spans = delivery.batch.spans();
        let result = match response.status {
            Some(200..=299) => {
                self.successes += 1;
                // A callout that was made before an outage does not prove that the outage is over.
                self.recovery.set(delivery.sent_at);
                if !self.is_failing() || delivery.sent_at > self.failed_at {
                    self.backoff.reset();
                    self.backoff_until = 0;
                }
                SendResult::Delivered(spans)
            }
            Some(413) => self.split(delivery),
            // Of all 4xx only 408 and 429 allow another attempt.
            Some(status @ 400..=499) if status != 408 && status != 429 => SendResult::RequestRejected(spans),
            _ => self.fail(delivery, response.retry_after, now, random, buffer),
        };
        Some((result, duration))
    }

    /// Returns how many callouts may be in flight: during an outage one, which finds out when the outage is over.
    fn max_in_flight(&self) -> usize {
        if self.is_failing() { 1 } else { self.max_batches }
    }

    /// Returns whether no pause is in progress, or it must end early.
    fn may_send(&self, now: u64, buffer: &SpanBuffer) -> bool {
        now >= self.backoff_until || (now >= self.earliest && buffer.bytes() >= self.retry_mark)
    }

    fn split(&mut self, delivery: Delivery) -> SendResult {
        let spans = delivery.batch.spans();
        let Some((first, second)) = delivery.batch.split_in_half() else {
            return SendResult::TooLarge(spans);
        };
        for batch in [second, first] {
            self.waiting.push_front(Delivery { batch, attempts: 0, ..delivery });
        }
        SendResult::Split(spans)
    }

    fn fail(
        &mut self,
        delivery: Delivery,
        retry_after: Option<Duration>,
        now: u64,
        random: u64,
        buffer: &SpanBuffer,
    ) -> SendResult {
        // Callouts that were in flight together fail in the same outage, which extends the back-off once.
        let is_new = !self.is_failing() || delivery.sent_at > self.failed_at;
        if is_new {
            self.failed_at = now;
            let shortest = Backoff::new(FIRST_BACKOFF, FIRST_BACKOFF).next(random);
            self.earliest = now.saturating_add(shortest.as_nanos() as u64);
            self.backoff_until = now.saturating_add(self.backoff.next(random).as_nanos() as u64);
            self.retry_mark = buffer.retry_mark();
        }
        if let Some(retry_after) = retry_after {
            let nanos = retry_after.min(MAX_RETRY_AFTER).as_nanos() as u64;
            // Never earlier than requested, and spread over a second. A request for a short pause ends a long one.
            let spread = random % (FIRST_BACKOFF.as_nanos() as u64);
            let requested = now.saturating_add(nanos + spread);
            self.earliest = self.earliest.max(requested);
            self.backoff_until = if is_new { self.earliest } else { self.backoff_until.max(requested) };
        }
        let spans = delivery.batch.spans();
        // In an outage no attempt can succeed, so its attempts drop no batch.
        if delivery.attempts >= MAX_ATTEMPTS && self.successes > delivery.successes {
            return SendResult::RetriesExhausted(spans);
        }
        self.waiting.push_back(delivery);
        SendResult::Retrying(spans)
    }
}

#[cfg(test)]
mod tests;
