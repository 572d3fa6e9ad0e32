//! What has been read from the outbox and is not passed yet.
//!
//! Calls end in any order, and a batch can be in several of them; the cursor follows only as far as everything
//! before it is settled.

use std::collections::VecDeque;

use crate::outbox::{Batch, Settled};

/// The open batches, by ascending id.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: VecDeque<Open>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    id: i64,
    bytes: usize,
    /// Items whose fate is not known yet.
    unsettled: u32,
    passed: Vec<Settled>,
}

impl Ledger {
    /// Enters a batch that comes after all that were entered before.
    pub(super) fn enter(&mut self, batch: &Batch, wanted: u32) {
        let bytes = batch.body.len();
        self.bytes += bytes;
        self.open.push_back(Open { id: batch.id, bytes, unsettled: wanted, passed: Vec::new() });
    }

    /// Notes that this many items of a batch have met their fate, which the tally counts.
    pub(super) fn settle(&mut self, passed: Settled) {
        if let Ok(index) = self.open.binary_search_by_key(&passed.id, |open| open.id)
            && let Some(open) = self.open.get_mut(index)
        {
            open.unsettled = open.unsettled.saturating_sub(u32::try_from(passed.items).unwrap_or(u32::MAX));
            open.passed.push(passed);
        }
    }

    /// Takes out what is settled up to the first batch that is not: the last id, and what to count.
    pub(super) fn take_settled(&mut self) -> Option<(i64, Vec<Settled>)> {
        let mut taken: Option<(i64, Vec<Settled>)> = None;
        while self.open.front().is_some_and(|open| open.unsettled == 0)
            && let Some(open) = self.open.pop_front()
        {
            self.bytes -= open.bytes;
            let (to, passed) = taken.get_or_insert((open.id, Vec::new()));
            *to = open.id;
            passed.extend(open.passed);
        }
        taken
    }

    /// The size of the bodies of all open batches.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many batches are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}
