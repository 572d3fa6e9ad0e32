//! [`WaitingBatches`]: the traces of the batches that wait for their decision, so that these batches are not read again.

use std::collections::VecDeque;

use crate::outbox::Batch;

/// The maximum size of all lists. The batches beyond it are read from the outbox once more.
const MAX_BYTES: usize = 16 << 20;

/// Spans of a trace that follow each other: the id, and their number.
pub(super) type Run = (u128, u32);

/// A batch, and when it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) id: i64,
    /// In milliseconds since 1970.
    pub(super) received_ms: i64,
}

impl Received {
    pub(super) const fn of(batch: &Batch) -> Self {
        Self { id: batch.id, received_ms: batch.received_ms }
    }
}

/// The traces of a batch, in the order of its spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WaitingBatch {
    pub(super) batch: Received,
    /// An `(u128, u32)` would take 32 bytes.
    runs: Vec<[u32; 5]>,
}

impl WaitingBatch {
    pub(super) const fn new(batch: Received) -> Self {
        Self { batch, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, (id, spans): Run) {
        let [a, b, c, d] = [96, 64, 32, 0].map(|shift| (id >> shift) as u32);
        self.runs.push([a, b, c, d, spans]);
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        self.runs.iter().map(|[a, b, c, d, spans]| {
            ([*a, *b, *c, *d].into_iter().fold(0, |id, word| id << 32 | u128::from(word)), *spans)
        })
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.runs.capacity() * size_of::<[u32; 5]>()
    }
}

/// The batches that wait, in ascending order. Some can be missing.
#[derive(Debug, Default)]
pub(super) struct WaitingBatches {
    batches: VecDeque<WaitingBatch>,
    bytes: usize,
}

impl WaitingBatches {
    /// Adds the newest batch, unless there is no room.
    pub(super) fn push(&mut self, mut batch: WaitingBatch) {
        batch.runs.shrink_to_fit();
        if self.bytes + batch.bytes() <= MAX_BYTES {
            self.bytes += batch.bytes();
            self.batches.push_back(batch);
        }
    }

    /// Drops the batches until this one. Returns the id of the first after it.
    pub(super) fn discard_until(&mut self, id: i64) -> Option<i64> {
        while self.batches.front().is_some_and(|waiting| waiting.batch.id <= id) {
            self.pop();
        }
        self.batches.front().map(|waiting| waiting.batch.id)
    }

    /// Removes the first batch.
    pub(super) fn pop(&mut self) -> Option<WaitingBatch> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.bytes();
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(id: i64, runs: &[Run]) -> WaitingBatch {
        let mut batch = WaitingBatch::new(Received { id, received_ms: 7 });
        runs.iter().for_each(|run| batch.push(*run));
        batch
    }

    #[test]
    fn batches_are_returned_in_their_order() {
        let mut waiting = WaitingBatches::default();
        let runs = [(u128::MAX - 1, 8), (1 << 96 | 2 << 64 | 3 << 32 | 4, u32::MAX)];
        waiting.push(batch(3, &runs));
        waiting.push(batch(5, &[]));
        waiting.push(batch(6, &[(1, 1)]));
        assert_eq!(waiting.discard_until(2), Some(3));
        assert_eq!(waiting.pop().unwrap().runs().collect::<Vec<_>>(), runs);
        assert_eq!(waiting.discard_until(5), Some(6));
        assert_eq!(waiting.discard_until(6), None);
        assert_eq!((waiting.bytes, waiting.pop()), (0, None));
    }

    #[test]
    fn the_size_is_bounded() {
        let mut waiting = WaitingBatches::default();
        let large = batch(1, &vec![(1, 1); MAX_BYTES / 50]);
        (1..=5).for_each(|id| {
            waiting.push(WaitingBatch { batch: Received { id, received_ms: 7 }, ..large.clone() });
        });
        assert_eq!(waiting.batches.len(), 2);
        assert!(waiting.bytes <= MAX_BYTES);
        assert_eq!(waiting.discard_until(1), Some(2));
        waiting.push(batch(6, &[]));
        assert_eq!(waiting.batches.back().unwrap().batch.id, 6, "there is room again");
    }
}
