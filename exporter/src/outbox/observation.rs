//! [`ObservedBatch`]: what the decisions of tail sampling need of a batch.
//!
//! ```text
//!  append ──► Observe::observe ──► writer: commit ──► Observations ──► DecisionLog::observed_after
//!             the bytes are at hand                   bounded          reads the batches that are not there
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The maximum size of the observations that wait for the decider. The batches beyond it are read from the file.
const MAX_BYTES: usize = 16 << 20;

/// The maximum number of observations that are returned together.
const MAX_TAKEN: usize = 256;

/// Reads a batch of spans when it is appended, while its bytes are at hand.
pub(crate) trait Observe: fmt::Debug + Send + Sync {
    /// Returns what is needed of the spans of a request in protobuf, in their order.
    fn observe(&self, body: &[u8]) -> Vec<ObservedRun>;
}

/// Spans of a trace that follow each other and match the same rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObservedRun {
    /// 0 if the length of the id is wrong, which only a damaged file has.
    pub(crate) trace_id: u128,
    /// The first start and the last end.
    pub(crate) start_time_unix_nano: u64,
    pub(crate) end_time_unix_nano: u64,
    /// A hash of the service and the route, if a rule needs it, else 0.
    pub(crate) route: u64,
    /// The rules that each of the spans matches, as bits.
    pub(crate) matches: u32,
    pub(crate) spans: u32,
}

impl ObservedRun {
    /// Returns whether a span that follows can be added.
    pub(crate) fn can_take(&self, span: &Self) -> bool {
        (self.trace_id, self.matches, self.route) == (span.trace_id, span.matches, span.route)
    }

    pub(crate) fn add(&mut self, span: &Self) {
        self.start_time_unix_nano = self.start_time_unix_nano.min(span.start_time_unix_nano);
        self.end_time_unix_nano = self.end_time_unix_nano.max(span.end_time_unix_nano);
        self.spans = self.spans.saturating_add(span.spans);
    }
}

/// A committed batch and what was observed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObservedBatch {
    pub(crate) id: i64,
    /// When it was received, in milliseconds since 1970.
    pub(crate) received_ms: i64,
    /// All its spans, in their order. None of a batch of log records.
    pub(crate) runs: Vec<ObservedRun>,
}

impl ObservedBatch {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.runs.capacity() * size_of::<ObservedRun>()
    }
}

/// The observations of committed batches that wait for the decider, in ascending order. Some can be missing.
#[derive(Debug, Default)]
pub(super) struct Observations(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<ObservedBatch>,
    bytes: usize,
}

impl Observations {
    /// Adds the newest batches, unless there is no room.
    pub(super) fn add(&self, batches: Vec<ObservedBatch>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            if waiting.bytes + batch.bytes() <= MAX_BYTES {
                waiting.bytes += batch.bytes();
                waiting.batches.push_back(batch);
            }
        }
    }

    /// Removes the observations until this batch. Returns the id of the first after it.
    pub(super) fn discard_until(&self, id: i64) -> Option<i64> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.batches.front().is_some_and(|batch| batch.id <= id) {
            waiting.pop();
        }
        waiting.batches.front().map(|batch| batch.id)
    }

    /// Removes the first observations until this batch, as long as no batch is missing between them.
    pub(super) fn take(&self, until: i64) -> Vec<ObservedBatch> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken: Vec<ObservedBatch> = Vec::new();
        while taken.len() < MAX_TAKEN
            && let Some(next) = waiting.batches.front()
            && next.id <= until
            && taken.last().is_none_or(|last| last.id + 1 == next.id)
        {
            taken.extend(waiting.pop());
        }
        taken
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<ObservedBatch> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.bytes();
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: ObservedRun = ObservedRun {
        trace_id: 1,
        start_time_unix_nano: 2,
        end_time_unix_nano: 3,
        route: 0,
        matches: 0,
        spans: 1,
    };

    fn batch(id: i64, runs: usize) -> ObservedBatch {
        ObservedBatch { id, received_ms: 7, runs: vec![RUN; runs] }
    }

    fn ids(batches: &[ObservedBatch]) -> Vec<i64> {
        batches.iter().map(|batch| batch.id).collect()
    }

    #[test]
    fn observations_are_taken_up_to_a_missing_batch() {
        let waiting = Observations::default();
        waiting.add(vec![batch(3, 1), batch(4, 0), batch(6, 2)]);
        assert_eq!(waiting.discard_until(2), Some(3));
        assert_eq!(ids(&waiting.take(3)), [3]);
        assert_eq!(ids(&waiting.take(9)), [4]);
        waiting.add(vec![batch(7, 1)]);
        assert_eq!((waiting.discard_until(6), ids(&waiting.take(9))), (Some(7), vec![7]));
        assert_eq!((waiting.discard_until(7), ids(&waiting.take(9))), (None, vec![]));
        assert_eq!(waiting.0.lock().unwrap().bytes, 0);
    }

    #[test]
    fn their_size_is_bounded() {
        let waiting = Observations::default();
        let runs = MAX_BYTES / size_of::<ObservedRun>() / 3;
        waiting.add((1..=5).map(|id| batch(id, runs)).collect());
        assert_eq!(ids(&waiting.take(9)), [1, 2]);
        waiting.add(vec![batch(6, runs)]);
        assert_eq!(waiting.discard_until(2), Some(6), "there is room again");
    }
}
