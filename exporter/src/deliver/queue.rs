//! Parts that wait for a call: those that are being filled, and those that are ready.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::chunk::{Chunk, Cut, Origin, Slice, cut};
use super::sink::Pace;
use crate::otlp::Signal;

/// A part, and how it has fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) chunk: Chunk,
    /// How many calls with it have failed.
    pub(super) failures: u32,
    /// How many calls had been accepted when its first call failed.
    pub(super) accepted_before: u64,
    /// When that was.
    pub(super) failed_first: Option<Instant>,
}

impl Attempt {
    /// Takes note of a call that failed, before which so many calls had been accepted.
    pub(super) fn fail(&mut self, accepted: u64, now: Instant) {
        if self.failures == 0 {
            self.accepted_before = accepted;
            self.failed_first = Some(now);
        }
        self.failures = self.failures.saturating_add(1);
    }
}

impl From<Chunk> for Attempt {
    fn from(chunk: Chunk) -> Self {
        Self { chunk, failures: 0, accepted_before: 0, failed_first: None }
    }
}

/// Which pieces may share a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lane {
    signal: Signal,
    is_dead_letter: bool,
}

/// A part that has room for more.
#[derive(Debug)]
struct Open {
    lane: Lane,
    chunk: Chunk,
    since: Instant,
}

/// What has been read and is in no part yet.
#[derive(Debug)]
enum Fresh {
    Slice(Slice),
    Cut(Cut),
    /// It cannot be cut.
    Whole(Slice),
}

#[derive(Debug)]
pub(super) struct Queue {
    pace: Pace,
    fresh: VecDeque<(Signal, Fresh)>,
    ready: VecDeque<Attempt>,
    /// What has failed.
    again: VecDeque<Attempt>,
    /// At most one for each lane.
    open: Vec<Open>,
    last_was_again: bool,
}

impl Queue {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            fresh: VecDeque::new(),
            ready: VecDeque::new(),
            again: VecDeque::new(),
            open: Vec::new(),
            last_was_again: false,
        }
    }

    /// Adds what has been read; what is too large for one call is cut.
    pub(super) fn add(&mut self, signal: Signal, slice: Slice, now: Instant) {
        let fresh = if slice.items <= self.pace.items && slice.body.len() <= self.pace.bytes {
            Fresh::Slice(slice)
        } else {
            match cut(signal, &slice, self.pace.items, self.pace.bytes) {
                Some(cut) => Fresh::Cut(cut),
                None => Fresh::Whole(slice),
            }
        };
        self.fresh.push_back((signal, fresh));
        self.fill(now);
    }

    /// Fills parts until one is ready.
    fn fill(&mut self, now: Instant) {
        while self.ready.is_empty()
            && let Some((signal, fresh)) = self.fresh.pop_front()
        {
            match fresh {
                Fresh::Slice(slice) => self.gather(signal, slice, now),
                Fresh::Whole(slice) => self.ready.push_back(Chunk::new(signal, slice).into()),
                Fresh::Cut(mut cut) => {
                    if let Some(slice) = cut.next() {
                        self.fresh.push_front((signal, Fresh::Cut(cut)));
                        self.gather(signal, slice, now);
                    }
                }
            }
        }
    }

    fn gather(&mut self, signal: Signal, slice: Slice, now: Instant) {
        let lane = Lane { signal, is_dead_letter: matches!(slice.origin, Origin::DeadLetter(_)) };
        let Some(index) = self.open.iter().position(|open| open.lane == lane) else {
            self.open.push(Open { lane, chunk: Chunk::new(signal, slice), since: now });
            return;
        };
        let Some(open) = self.open.get_mut(index) else { return };
        let fits = open.chunk.items().saturating_add(slice.items) <= self.pace.items
            && open.chunk.bytes() + slice.body.len() <= self.pace.bytes;
        if fits {
            open.chunk.push(slice);
        } else {
            let full = std::mem::replace(open, Open { lane, chunk: Chunk::new(signal, slice), since: now });
            self.ready.push_back(full.chunk.into());
        }
    }

    /// Puts back what is to be tried again; it takes turns with what has not been tried yet.
    pub(super) fn again(&mut self, attempt: Attempt) {
        self.again.push_back(attempt);
    }

    /// Puts in front what a part has been divided into.
    pub(super) fn divided(&mut self, chunks: impl DoubleEndedIterator<Item = Chunk>) {
        chunks.rev().for_each(|chunk| self.ready.push_front(chunk.into()));
    }

    /// What is to be sent now, if anything: what is full, and what has waited for long enough.
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt> {
        let again = if self.last_was_again { None } else { self.again.pop_front() };
        self.last_was_again = again.is_some();
        again.or_else(|| self.next_fresh(now)).or_else(|| self.again.pop_front())
    }

    fn next_fresh(&mut self, now: Instant) -> Option<Attempt> {
        self.fill(now);
        if let Some(attempt) = self.ready.pop_front() {
            return Some(attempt);
        }
        let due = self.open.iter().position(|open| self.due(open) <= now)?;
        Some(self.open.remove(due).chunk.into())
    }

    /// When [`next`](Self::next) will have something, if nothing is added.
    pub(super) fn next_at(&self) -> Option<Instant> {
        if self.ready.is_empty() && self.again.is_empty() && self.fresh.is_empty() {
            self.open.iter().map(|open| self.due(open)).min()
        } else {
            Some(Instant::now())
        }
    }

    fn due(&self, open: &Open) -> Instant {
        let is_full = open.chunk.items() >= self.pace.items || open.chunk.bytes() >= self.pace.bytes;
        open.since + if is_full { Duration::ZERO } else { self.pace.linger }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::tests::{body, names};
    use super::*;

    const PACE: Pace = Pace { calls: 1, items: 3, bytes: 1 << 20, linger: Duration::from_secs(1) };

    fn slice(origin: Origin, names: &[&str]) -> Slice {
        Slice { origin, items: u32::try_from(names.len()).unwrap(), body: body(names) }
    }

    fn drain(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.next(now)).map(|attempt| names(&attempt.chunk).join(" ")).collect()
    }

    #[test]
    fn small_batches_share_a_part_and_large_ones_are_cut() {
        let now = Instant::now();
        let mut queue = Queue::new(PACE);
        let batches: [&[&str]; 5] = [&["a"], &["b", "c"], &["d"], &["e", "f", "g", "h"], &["i"]];
        for (id, names) in (1..).zip(batches) {
            queue.add(Signal::Traces, slice(Origin::Batch(id), names), now);
        }
        assert_eq!(drain(&mut queue, now), ["a b c", "d", "e f g"], "the last one may still grow");
        assert_eq!(queue.next_at(), Some(now + PACE.linger));
        assert_eq!(drain(&mut queue, now + PACE.linger), ["h i"]);
        assert_eq!(queue.next_at(), None);
    }

    #[test]
    fn what_is_full_does_not_wait() {
        let now = Instant::now();
        let mut queue = Queue::new(PACE);
        queue.add(Signal::Traces, slice(Origin::Batch(1), &["a", "b", "c"]), now);
        assert_eq!(drain(&mut queue, now), ["a b c"]);
    }

    #[test]
    fn what_is_cut_takes_memory_piece_by_piece() {
        let now = Instant::now();
        let mut queue = Queue::new(Pace { items: 1, ..PACE });
        queue.add(Signal::Traces, slice(Origin::Batch(1), &["a"; 100]), now);
        assert!(queue.ready.len() + queue.open.len() <= 2, "{} ready", queue.ready.len());
        assert_eq!(queue.next_at().map(|at| at <= Instant::now()), Some(true));
        assert_eq!(drain(&mut queue, now).len(), 100);
        assert_eq!(queue.next_at(), None);
    }

    #[test]
    fn dead_letters_go_apart() {
        let now = Instant::now();
        let mut queue = Queue::new(Pace { linger: Duration::ZERO, ..PACE });
        queue.add(Signal::Traces, slice(Origin::Batch(1), &["a"]), now);
        queue.add(Signal::Traces, slice(Origin::DeadLetter(1), &["x"]), now);
        queue.add(Signal::Traces, slice(Origin::DeadLetter(2), &["y"]), now);
        assert_eq!(drain(&mut queue, now), ["a", "x y"]);
    }

    #[test]
    fn what_cannot_be_cut_goes_whole() {
        let now = Instant::now();
        let mut queue = Queue::new(PACE);
        let damaged = Slice { origin: Origin::Batch(1), items: 9, body: body(&["a"]) };
        queue.add(Signal::Traces, damaged, now);
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
        queue.again(a);
        queue.again(b);
        let chunk = |name| Chunk::new(Signal::Traces, slice(Origin::Batch(9), &[name]));
        queue.divided([chunk("x"), chunk("y")].into_iter());
        assert_eq!(drain(&mut queue, now), ["a", "x", "b", "y", "c", "d"]);
    }
}
