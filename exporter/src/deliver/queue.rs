//! The chunks that wait for a call: those that are being filled, and those that are ready.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::chunk::{Chunk, Split, split};
use super::sink::Pace;
use super::slice::{Origin, Slice};
use crate::otlp::Signal;

/// A chunk and its failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) chunk: Chunk,
    /// The number of failed calls.
    pub(super) failures: u32,
    /// The number of calls that were accepted before its first failure.
    pub(super) accepted_before: u64,
    /// The time of the first failure.
    pub(super) first_failure: Option<Instant>,
    /// The next call is a trial (`trial.rs`).
    pub(super) is_trial: bool,
}

impl Attempt {
    /// Records a failed call, before which this many calls were accepted.
    pub(super) fn fail(&mut self, accepted: u64, now: Instant) {
        if self.failures == 0 {
            self.accepted_before = accepted;
            self.first_failure = Some(now);
        }
        self.failures = self.failures.saturating_add(1);
    }
}

impl From<Chunk> for Attempt {
    fn from(chunk: Chunk) -> Self {
        Self { chunk, failures: 0, accepted_before: 0, first_failure: None, is_trial: false }
    }
}

/// Slices of one lane can share a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lane {
    signal: Signal,
    is_dead_letter: bool,
}

/// A chunk that is being filled.
#[derive(Debug)]
struct Filling {
    lane: Lane,
    chunk: Chunk,
    since: Instant,
}

/// The chunks of one sink, in the order in which they are sent.
#[derive(Debug)]
pub(super) struct Queue {
    pace: Pace,
    /// Slices that are in no chunk yet.
    incoming: VecDeque<(Signal, Slice)>,
    /// The slice that is being split, because it is too large for one chunk.
    splitting: Option<(Signal, Split)>,
    ready: VecDeque<Attempt>,
    /// Chunks to retry.
    retries: VecDeque<Attempt>,
    /// At most one for each lane.
    filling: Vec<Filling>,
    last_was_retry: bool,
}

impl Queue {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            incoming: VecDeque::new(),
            splitting: None,
            ready: VecDeque::new(),
            retries: VecDeque::new(),
            filling: Vec::new(),
            last_was_retry: false,
        }
    }

    /// Adds a slice. A slice that is too large for one call is split.
    pub(super) fn add(&mut self, signal: Signal, slice: Slice, now: Instant) {
        self.incoming.push_back((signal, slice));
        self.fill(now);
    }

    /// Fills chunks until one is ready.
    fn fill(&mut self, now: Instant) {
        while self.ready.is_empty() {
            if let Some((signal, split)) = &mut self.splitting {
                let signal = *signal;
                match split.next() {
                    Some(slice) => self.gather(signal, slice, now),
                    None => self.splitting = None,
                }
                continue;
            }
            let Some((signal, slice)) = self.incoming.pop_front() else { return };
            if slice.items <= self.pace.items && slice.bytes() <= self.pace.bytes {
                self.gather(signal, slice, now);
            } else {
                self.splitting =
                    split(signal, &slice, self.pace.items, self.pace.bytes).map(|split| (signal, split));
                if self.splitting.is_none() {
                    self.ready.push_back(Chunk::new(signal, slice).into());
                }
            }
        }
    }

    fn gather(&mut self, signal: Signal, slice: Slice, now: Instant) {
        let lane = Lane { signal, is_dead_letter: matches!(slice.origin, Origin::DeadLetter(_)) };
        let Some(index) = self.filling.iter().position(|filling| filling.lane == lane) else {
            self.filling.push(Filling { lane, chunk: Chunk::new(signal, slice), since: now });
            return;
        };
        let Some(filling) = self.filling.get_mut(index) else { return };
        let fits = filling.chunk.items().saturating_add(slice.items) <= self.pace.items
            && filling.chunk.bytes() + slice.bytes() <= self.pace.bytes;
        if fits {
            filling.chunk.push(slice);
        } else {
            let full =
                std::mem::replace(filling, Filling { lane, chunk: Chunk::new(signal, slice), since: now });
            self.ready.push_back(full.chunk.into());
        }
    }

    /// Queues a chunk again. Retries take turns with chunks that were not tried yet.
    pub(super) fn retry(&mut self, attempt: Attempt) {
        self.retries.push_back(attempt);
    }

    /// Queues the chunks that a chunk was split into, before all others.
    pub(super) fn push_split(&mut self, chunks: impl DoubleEndedIterator<Item = Chunk>) {
        chunks.rev().for_each(|chunk| self.ready.push_front(chunk.into()));
    }

    /// Returns the next chunk to send: one that is full, or has waited long enough.
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt> {
        let retry = if self.last_was_retry { None } else { self.retries.pop_front() };
        self.last_was_retry = retry.is_some();
        retry.or_else(|| self.next_ready(now)).or_else(|| self.retries.pop_front())
    }

    fn next_ready(&mut self, now: Instant) -> Option<Attempt> {
        self.fill(now);
        if let Some(attempt) = self.ready.pop_front() {
            return Some(attempt);
        }
        let due = self.filling.iter().position(|filling| self.due(filling) <= now)?;
        Some(self.filling.remove(due).chunk.into())
    }

    /// Returns the time at which [`next`](Self::next) has a chunk, if nothing is added before.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let is_filled = self.incoming.is_empty() && self.splitting.is_none();
        if self.ready.is_empty() && self.retries.is_empty() && is_filled {
            self.filling.iter().map(|filling| self.due(filling)).min()
        } else {
            Some(Instant::now())
        }
    }

    fn due(&self, filling: &Filling) -> Instant {
        let is_full = filling.chunk.items() >= self.pace.items || filling.chunk.bytes() >= self.pace.bytes;
        filling.since + if is_full { Duration::ZERO } else { self.pace.linger }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::tests::{body, names};
    use super::*;

    const PACE: Pace = Pace { calls: 1, items: 3, bytes: 1 << 20, linger: Duration::from_secs(1) };

    fn slice(origin: Origin, names: &[&str]) -> Slice {
        Slice::new(origin, u32::try_from(names.len()).unwrap(), body(names))
    }

    fn drain(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.next(now)).map(|attempt| names(&attempt.chunk).join(" ")).collect()
    }

    #[test]
    fn small_batches_share_a_chunk_and_large_ones_are_split() {
        let now = Instant::now();
        let mut queue = Queue::new(PACE);
        let batches: [&[&str]; 5] = [&["a"], &["b", "c"], &["d"], &["e", "f", "g", "h"], &["i"]];
        for (id, names) in (1..).zip(batches) {
            queue.add(Signal::Traces, slice(Origin::Batch(id), names), now);
        }
        assert_eq!(drain(&mut queue, now), ["a b c", "d", "e f g"], "the last one is still being filled");
        assert_eq!(queue.next_at(), Some(now + PACE.linger));
        assert_eq!(drain(&mut queue, now + PACE.linger), ["h i"]);
        assert_eq!(queue.next_at(), None);
    }

    #[test]
    fn a_full_chunk_does_not_wait() {
        let now = Instant::now();
        let mut queue = Queue::new(PACE);
        queue.add(Signal::Traces, slice(Origin::Batch(1), &["a", "b", "c"]), now);
        assert_eq!(drain(&mut queue, now), ["a b c"]);
    }

    #[test]
    fn a_split_slice_takes_memory_one_chunk_at_a_time() {
        let now = Instant::now();
        let mut queue = Queue::new(Pace { items: 1, ..PACE });
        queue.add(Signal::Traces, slice(Origin::Batch(1), &["a"; 100]), now);
        assert!(queue.ready.len() + queue.filling.len() <= 2, "{} ready", queue.ready.len());
        assert_eq!(queue.next_at().map(|at| at <= Instant::now()), Some(true));
        assert_eq!(drain(&mut queue, now).len(), 100);
        assert_eq!(queue.next_at(), None);
    }

    #[test]
    fn dead_letters_have_their_own_chunks() {
        let now = Instant::now();
        let mut queue = Queue::new(Pace { linger: Duration::ZERO, ..PACE });
        queue.add(Signal::Traces, slice(Origin::Batch(1), &["a"]), now);
        queue.add(Signal::Traces, slice(Origin::DeadLetter(1), &["x"]), now);
        queue.add(Signal::Traces, slice(Origin::DeadLetter(2), &["y"]), now);
        assert_eq!(drain(&mut queue, now), ["a", "x y"]);
    }

    #[test]
    fn a_slice_that_cannot_be_split_is_sent_whole() {
        let now = Instant::now();
        let mut queue = Queue::new(PACE);
        let corrupt = Slice::new(Origin::Batch(1), 9, body(&["a"]));
        queue.add(Signal::Traces, corrupt, now);
        assert_eq!(drain(&mut queue, now), ["a"]);
    }

    #[test]
    fn halves_come_first_and_retries_take_turns() {
        let now = Instant::now();
        let mut queue = Queue::new(Pace { items: 1, ..PACE });
        for (id, name) in (1..).zip(["a", "b", "c", "d"]) {
            queue.add(Signal::Traces, slice(Origin::Batch(id), &[name]), now);
        }
        let (a, b) = (queue.next(now).unwrap(), queue.next(now).unwrap());
        queue.retry(a);
        queue.retry(b);
        let chunk = |name| Chunk::new(Signal::Traces, slice(Origin::Batch(9), &[name]));
        queue.push_split([chunk("x"), chunk("y")].into_iter());
        assert_eq!(drain(&mut queue, now), ["a", "x", "b", "y", "c", "d"]);
    }
}
