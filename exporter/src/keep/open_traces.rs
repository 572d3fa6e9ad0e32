//! [`OpenTraces`]: the traces that are not decided yet.
//!
//! A trace takes 40 bytes in a list of blocks, and about ten in the index. Nothing of a span is kept.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::policy::Matches;

/// What is known of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenTrace {
    pub(super) id: u128,
    start_unix_nano: u64,
    end_unix_nano: u64,
    pub(super) matches: Matches,
}

impl OpenTrace {
    pub(super) fn duration_nanos(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano)
    }

    /// Adds a span.
    pub(super) fn add(&mut self, start: u64, end: u64, matches: Matches) {
        self.start_unix_nano = self.start_unix_nano.min(start);
        self.end_unix_nano = self.end_unix_nano.max(end);
        self.matches |= matches;
    }

    pub(super) fn new(id: u128, start: u64, end: u64, matches: Matches) -> Self {
        Self { id, start_unix_nano: start, end_unix_nano: end, matches }
    }
}

/// A trace as it is stored: an `OpenTrace` would take 48 bytes, because of the alignment of its id.
#[derive(Debug, Clone, Copy)]
struct Slot {
    id: [u64; 2],
    start: u64,
    end: u64,
    matches: Matches,
}

impl Slot {
    const fn id(&self) -> u128 {
        (self.id[0] as u128) << 64 | self.id[1] as u128
    }

    const fn of(trace: &OpenTrace) -> Self {
        let id = [(trace.id >> 64) as u64, trace.id as u64];
        Self { id, start: trace.start_unix_nano, end: trace.end_unix_nano, matches: trace.matches }
    }

    const fn trace(&self) -> OpenTrace {
        OpenTrace {
            id: self.id(),
            start_unix_nano: self.start,
            end_unix_nano: self.end,
            matches: self.matches,
        }
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
    hasher: RandomState,
}

impl OpenTraces {
    /// Returns an empty table for at most this many traces.
    pub(super) fn new(max: usize) -> Self {
        Self { max, index: HashTable::new(), blocks: Vec::new(), free: Vec::new(), hasher: RandomState::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Adds a span to its trace. Returns false if the trace is new and the table is full.
    pub(super) fn add(&mut self, span: &OpenTrace) -> bool {
        let hash = self.hasher.hash_one(span.id);
        let is_full = self.index.len() >= self.max;
        let (blocks, hasher) = (&self.blocks, &self.hasher);
        let entry = self.index.entry(
            hash,
            |number| slot(blocks, *number).is_some_and(|slot| slot.id() == span.id),
            |number| slot(blocks, *number).map_or(0, |slot| hasher.hash_one(slot.id())),
        );
        match entry {
            Entry::Occupied(number) => {
                let number = *number.get();
                if let Some(slot) = slot_mut(&mut self.blocks, number) {
                    let mut trace = slot.trace();
                    trace.add(span.start_unix_nano, span.end_unix_nano, span.matches);
                    *slot = Slot::of(&trace);
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

    /// Returns the rules that the trace matches so far.
    pub(super) fn matches(&self, id: u128) -> Matches {
        let found = self.index.find(self.hasher.hash_one(id), |number| {
            slot(&self.blocks, *number).is_some_and(|slot| slot.id() == id)
        });
        found.and_then(|number| slot(&self.blocks, *number)).map_or(0, |slot| slot.matches)
    }

    /// Removes a trace.
    pub(super) fn remove(&mut self, id: u128) -> Option<OpenTrace> {
        let blocks = &self.blocks;
        let found = self.index.find_entry(self.hasher.hash_one(id), |number| {
            slot(blocks, *number).is_some_and(|slot| slot.id() == id)
        });
        let (number, _) = found.ok()?.remove();
        self.free.push(number);
        slot(&self.blocks, number).map(Slot::trace)
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

    fn span(id: u128, start: u64, end: u64, matches: Matches) -> OpenTrace {
        OpenTrace::new(id, start, end, matches)
    }

    #[test]
    fn spans_of_a_trace_are_joined() {
        let mut open = OpenTraces::new(10);
        for part in [span(7, 100, 200, 1), span(9, 5, 6, 0), span(7, 50, 120, 4)] {
            assert!(open.add(&part));
        }
        assert_eq!((open.len(), open.matches(7), open.matches(8)), (2, 5, 0));
        let trace = open.remove(7).unwrap();
        assert_eq!((trace.duration_nanos(), trace.matches), (150, 5));
        assert_eq!(open.remove(7), None);
        assert_eq!(open.len(), 1);
    }

    #[test]
    fn a_full_table_takes_no_new_trace() {
        let mut open = OpenTraces::new(2);
        assert!(open.add(&span(1, 0, 1, 0)) && open.add(&span(2, 0, 1, 0)));
        assert!(!open.add(&span(3, 0, 1, 0)));
        assert!(open.add(&span(1, 0, 9, 2)), "a known trace still gets its spans");
        open.remove(2);
        assert!(open.add(&span(3, 0, 1, 0)));
    }

    /// The table does what a map of the standard library does, with slots that are used again.
    #[test]
    fn it_equals_a_map() {
        let mut open = OpenTraces::new(usize::MAX);
        let mut map: HashMap<u128, OpenTrace> = HashMap::new();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..100_000 {
            let id = u128::from(random.u64(..20_000)) << 50;
            if random.u8(..) < 100 {
                assert_eq!(open.remove(id), map.remove(&id));
            } else {
                let new = span(id, random.u64(..1000), 1000 + random.u64(..1000), 1 << random.u8(..32));
                open.add(&new);
                map.entry(id)
                    .and_modify(|trace| trace.add(new.start_unix_nano, new.end_unix_nano, new.matches))
                    .or_insert(new);
            }
            assert_eq!(open.len(), map.len());
        }
        let slots = next_number(&open.blocks) as usize;
        assert!(slots < 20_001, "{slots} slots");
    }

    /// The goal is 64 bytes for an open trace.
    #[test]
    fn an_open_trace_takes_64_bytes_at_most() {
        const TRACES: u64 = 1_000_000;
        let (open, bytes) = logtracer_allocations::peak_bytes(|| {
            let mut open = OpenTraces::new(usize::MAX);
            for id in 1..=TRACES {
                open.add(&span(u128::from(id.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 3, id, id + 1, 0));
            }
            open
        });
        let of_trace = bytes as usize / open.len();
        assert!(of_trace <= 64, "{of_trace} bytes");
    }
}
