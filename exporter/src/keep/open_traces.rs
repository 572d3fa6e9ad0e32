//! [`OpenTraces`]: the traces that are not decided yet.
//!
//! A trace takes 40 bytes in a list of blocks, and about ten in the index. Nothing of a span is kept.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::rules::Matches;
use super::trace_key::{TraceKey, TraceKeys};
use crate::outbox::ObservedRun;

/// What is known of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenTrace {
    pub(super) id: u128,
    start_unix_nano: u64,
    end_unix_nano: u64,
    pub(super) matches: Matches,
    /// The last batch with one of its spans.
    batch: i64,
}

impl OpenTrace {
    /// Returns the trace of these spans alone.
    pub(super) const fn of(run: &ObservedRun, batch: i64) -> Self {
        let (start, end) = (run.start_time_unix_nano, run.end_time_unix_nano);
        Self::new(run.trace_id, start, end, run.matches, batch)
    }

    /// Returns the trace of one span.
    pub(super) const fn new(id: u128, start: u64, end: u64, matches: Matches, batch: i64) -> Self {
        Self { id, start_unix_nano: start, end_unix_nano: end, matches, batch }
    }

    pub(super) const fn duration_nanos(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano)
    }

    /// Adds the spans of another part of the trace.
    pub(super) fn add(&mut self, other: &Self) {
        self.start_unix_nano = self.start_unix_nano.min(other.start_unix_nano);
        self.end_unix_nano = self.end_unix_nano.max(other.end_unix_nano);
        self.matches |= other.matches;
        self.batch = self.batch.max(other.batch);
    }
}

/// A trace as it is stored: an `OpenTrace` would take 48 bytes.
#[derive(Debug, Clone, Copy)]
struct Slot {
    id: [u64; 2],
    start: u64,
    end: u64,
    matches: Matches,
    /// The low bits of the batch. Only batches that are close to each other are compared.
    batch: u32,
}

impl Slot {
    const fn id(&self) -> u128 {
        (self.id[0] as u128) << 64 | self.id[1] as u128
    }

    const fn of(trace: &OpenTrace) -> Self {
        Self {
            id: [(trace.id >> 64) as u64, trace.id as u64],
            start: trace.start_unix_nano,
            end: trace.end_unix_nano,
            matches: trace.matches,
            batch: trace.batch as u32,
        }
    }

    const fn trace(&self) -> OpenTrace {
        OpenTrace::new(self.id(), self.start, self.end, self.matches, self.batch as i64)
    }

    /// Returns whether the last batch of the trace is this one or an earlier one.
    const fn is_until(&self, batch: i64) -> bool {
        (batch as u32).wrapping_sub(self.batch) < 1 << 31
    }
}

/// The number of slots that are allocated together.
const BLOCK: usize = 4096;

/// The traces that are not decided yet, at most [`max`](Self::new) of them.
#[derive(Debug)]
pub(super) struct OpenTraces {
    max: usize,
    /// The numbers of the slots, by trace id.
    index: HashTable<u32>,
    blocks: Vec<Vec<Slot>>,
    free: Vec<u32>,
}

impl OpenTraces {
    /// Returns an empty table for at most this many traces.
    pub(super) const fn new(max: usize) -> Self {
        Self { max, index: HashTable::new(), blocks: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Adds a span to its trace. Returns false if the trace is new and the table is full.
    pub(super) fn add(&mut self, keys: &TraceKeys, key: TraceKey, span: &OpenTrace) -> bool {
        let is_full = self.index.len() >= self.max;
        let blocks = &self.blocks;
        let entry = self.index.entry(
            key.hash,
            |number| slot(blocks, *number).is_some_and(|slot| slot.id() == key.id),
            |number| slot(blocks, *number).map_or(0, |slot| keys.hash(slot.id())),
        );
        match entry {
            Entry::Occupied(number) => {
                let number = *number.get();
                if let Some(slot) = slot_mut(&mut self.blocks, number) {
                    let mut trace = slot.trace();
                    trace.add(span);
                    // The newer batch is that of the span.
                    *slot = Slot { batch: span.batch as u32, ..Slot::of(&trace) };
                }
                true
            }
            Entry::Vacant(_) if is_full => false,
            Entry::Vacant(vacant) => {
                let number = match self.free.pop() {
                    Some(number) => number,
                    None => next_number(&self.blocks),
                };
                vacant.insert(number);
                put(&mut self.blocks, number, Slot::of(span));
                true
            }
        }
    }

    /// Returns whether a trace is open.
    pub(super) fn contains(&self, key: TraceKey) -> bool {
        let is_same = |number: &u32| slot(&self.blocks, *number).is_some_and(|slot| slot.id() == key.id);
        self.index.find(key.hash, is_same).is_some()
    }

    /// Removes a trace.
    pub(super) fn remove(&mut self, key: TraceKey) -> Option<OpenTrace> {
        let blocks = &self.blocks;
        let found = self
            .index
            .find_entry(key.hash, |number| slot(blocks, *number).is_some_and(|slot| slot.id() == key.id));
        let (number, _) = found.ok()?.remove();
        self.free.push(number);
        slot(&self.blocks, number).map(Slot::trace)
    }

    /// Removes the traces without a span after this batch: the outbox has dropped their batches.
    pub(super) fn forget_until(&mut self, batch: i64) {
        let Self { index, blocks, free, .. } = self;
        index.retain(|number| {
            let is_gone = slot(blocks, *number).is_none_or(|slot| slot.is_until(batch));
            if is_gone {
                free.push(*number);
            }
            !is_gone
        });
    }
}

fn position(number: u32) -> (usize, usize) {
    (number as usize / BLOCK, number as usize % BLOCK)
}

fn slot(blocks: &[Vec<Slot>], number: u32) -> Option<&Slot> {
    let (block, index) = position(number);
    blocks.get(block)?.get(index)
}

fn slot_mut(blocks: &mut [Vec<Slot>], number: u32) -> Option<&mut Slot> {
    let (block, index) = position(number);
    blocks.get_mut(block)?.get_mut(index)
}

/// Returns the number of the first slot that was never used.
fn next_number(blocks: &[Vec<Slot>]) -> u32 {
    let used = match blocks.split_last() {
        None => 0,
        Some((last, full)) => full.len() * BLOCK + last.len(),
    };
    u32::try_from(used).unwrap_or(u32::MAX)
}

fn put(blocks: &mut Vec<Vec<Slot>>, number: u32, new: Slot) {
    if let Some(slot) = slot_mut(blocks, number) {
        *slot = new;
        return;
    }
    match blocks.last_mut() {
        Some(last) if last.len() < BLOCK => last.push(new),
        _ => {
            let mut block = Vec::with_capacity(BLOCK);
            block.push(new);
            blocks.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const fn span(id: u128, start: u64, end: u64, matches: Matches) -> OpenTrace {
        OpenTrace::new(id, start, end, matches, 1)
    }

    fn add(open: &mut OpenTraces, keys: &TraceKeys, span: &OpenTrace) -> bool {
        open.add(keys, keys.of(span.id), span)
    }

    #[test]
    fn spans_of_a_trace_are_joined() {
        let (keys, mut open) = (TraceKeys::default(), OpenTraces::new(10));
        for part in [span(7, 100, 200, 1), span(9, 5, 6, 0), span(7, 50, 120, 4)] {
            assert!(add(&mut open, &keys, &part));
        }
        assert_eq!((open.len(), open.contains(keys.of(7)), open.contains(keys.of(8))), (2, true, false));
        let trace = open.remove(keys.of(7)).unwrap();
        assert_eq!((trace.duration_nanos(), trace.matches), (150, 5));
        assert_eq!(open.remove(keys.of(7)), None);
        assert_eq!(open.len(), 1);
    }

    #[test]
    fn a_full_table_takes_no_new_trace() {
        let (keys, mut open) = (TraceKeys::default(), OpenTraces::new(2));
        assert!(add(&mut open, &keys, &span(1, 0, 1, 0)) && add(&mut open, &keys, &span(2, 0, 1, 0)));
        assert!(!add(&mut open, &keys, &span(3, 0, 1, 0)));
        assert!(add(&mut open, &keys, &span(1, 0, 9, 2)), "a known trace still gets its spans");
        open.remove(keys.of(2));
        assert!(add(&mut open, &keys, &span(3, 0, 1, 0)));
    }

    /// The table does what a map of the standard library does, with slots that are used again.
    #[test]
    fn it_equals_a_map() {
        let (keys, mut open) = (TraceKeys::default(), OpenTraces::new(usize::MAX));
        let mut map: HashMap<u128, OpenTrace> = HashMap::new();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..100_000 {
            let id = u128::from(random.u64(..20_000)) << 50;
            if random.u8(..) < 100 {
                assert_eq!(open.remove(keys.of(id)), map.remove(&id));
            } else {
                let new = span(id, random.u64(..1000), 1000 + random.u64(..1000), 1 << random.u8(..32));
                add(&mut open, &keys, &new);
                map.entry(id).and_modify(|trace| trace.add(&new)).or_insert(new);
            }
            assert_eq!(open.len(), map.len());
        }
        let slots = next_number(&open.blocks) as usize;
        assert!(slots < 20_001, "{slots} slots");
    }

    /// Traces whose batches the outbox has dropped do not fill the table.
    #[test]
    fn dropped_batches_are_forgotten() {
        let (keys, mut open) = (TraceKeys::default(), OpenTraces::new(usize::MAX));
        let first = i64::from(u32::MAX) - 5;
        for number in 0..10_u32 {
            let batch = first + i64::from(number);
            add(&mut open, &keys, &OpenTrace::new(number.into(), 0, 1, 0, batch));
        }
        add(&mut open, &keys, &OpenTrace::new(0, 0, 1, 0, first + 9));
        open.forget_until(first + 6);
        let left: Vec<u128> = (0..10).filter(|id| open.contains(keys.of(*id))).collect();
        assert_eq!(left, [0, 7, 8, 9]);
    }

    /// The goal is 64 bytes for an open trace.
    #[test]
    fn an_open_trace_takes_64_bytes_at_most() {
        const TRACES: u64 = 1_000_000;
        let keys = TraceKeys::default();
        let (open, bytes) = logtracer_allocations::peak_bytes(|| {
            let mut open = OpenTraces::new(usize::MAX);
            for id in 1..=TRACES {
                let id = u128::from(id.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 3;
                add(&mut open, &keys, &span(id, 1, 2, 0));
            }
            open
        });
        let of_trace = bytes / open.len();
        assert!(of_trace <= 64, "{of_trace} bytes");
    }
}
