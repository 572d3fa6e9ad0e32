//! The batches that are read from the outbox and not yet acknowledged.
//!
//! Calls end in any order, and a batch can be in several of them. The cursor advances up to the first batch that is not
//! settled.

use std::collections::VecDeque;

use crate::outbox::{Batch, Settled};

/// The unacknowledged batches, by ascending id.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    id: i64,
    bytes: usize,
    /// The number of items that are neither delivered nor dropped yet.
    unsettled: u32,
    settled: Vec<Settled>,
}

impl Ledger {
    /// Adds a batch, whose id is above all ids that were added before.
    pub(super) fn enter(&mut self, batch: &Batch, wanted: u32) {
        let bytes = batch.body.len();
        self.bytes += bytes;
        self.entries.push_back(Entry { id: batch.id, bytes, unsettled: wanted, settled: Vec::new() });
    }

    /// Settles items of a batch.
    pub(super) fn settle(&mut self, settled: Settled) {
        if let Ok(index) = self.entries.binary_search_by_key(&settled.id, |entry| entry.id)
            && let Some(entry) = self.entries.get_mut(index)
        {
            entry.unsettled =
                entry.unsettled.saturating_sub(u32::try_from(settled.items).unwrap_or(u32::MAX));
            entry.settled.push(settled);
        }
    }

    /// Removes the settled batches before the first that is not. Returns the last id, and what to count.
    pub(super) fn take_settled(&mut self) -> Option<(i64, Vec<Settled>)> {
        let mut taken: Option<(i64, Vec<Settled>)> = None;
        while self.entries.front().is_some_and(|entry| entry.unsettled == 0)
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes -= entry.bytes;
            let (to, settled) = taken.get_or_insert((entry.id, Vec::new()));
            *to = entry.id;
            settled.extend(entry.settled);
        }
        taken
    }

    /// Returns the size of the bodies of all entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
