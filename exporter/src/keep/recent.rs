//! [`Recent`]: the verdicts of the last hour, for the spans that come after the verdict on their trace.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::policy::TraceVerdict;
use super::trace_key::TraceKey;
use crate::clock::millis;
use crate::outbox::DecidedTraces;

/// How long a verdict holds.
const HELD: Duration = Duration::from_secs(3600);

/// The verdicts are forgotten in generations.
const GENERATIONS: usize = 6;

/// A full generation ends early: a table of 2^19 places has room for this many, and takes 9 MiB.
const MAX_GENERATION: usize = 7 << 16;

/// The stored size of a verdict: the trace id, and the verdict.
const RECORD_BYTES: usize = 20;

/// The verdicts of the last hour.
#[derive(Debug, Default)]
pub(super) struct Recent {
    newest: Generation,
    older: VecDeque<Generation>,
}

#[derive(Debug, Default)]
struct Generation {
    began_ms: i64,
    /// The first batch that was decided in it.
    first_batch: i64,
    /// By the hash of the trace id, which stands for it.
    verdicts: HashTable<(u64, TraceVerdict)>,
}

impl Recent {
    /// Returns the verdict on a trace.
    pub(super) fn get(&self, key: TraceKey) -> Option<TraceVerdict> {
        let of = |generation: &Generation| {
            let found = generation.verdicts.find(key.hash, |(hash, _)| *hash == key.hash);
            found.map(|(_, verdict)| *verdict)
        };
        of(&self.newest).or_else(|| self.older.iter().find_map(of))
    }

    /// Adds a verdict that is stored with this batch, and forgets old ones.
    pub(super) fn add(&mut self, key: TraceKey, verdict: TraceVerdict, batch: i64, now_ms: i64) {
        let age = now_ms - self.newest.began_ms;
        let length = millis(HELD) / (GENERATIONS as i64 - 1);
        if !(0..length).contains(&age) || self.newest.verdicts.len() >= MAX_GENERATION {
            let fresh = Generation { began_ms: now_ms, first_batch: batch, verdicts: HashTable::new() };
            self.older.push_front(mem::replace(&mut self.newest, fresh));
            self.older.truncate(GENERATIONS - 1);
        }
        let is_same = |(hash, _): &(u64, TraceVerdict)| *hash == key.hash;
        match self.newest.verdicts.entry(key.hash, is_same, |(hash, _)| *hash) {
            Entry::Occupied(mut known) => known.get_mut().1 = verdict,
            Entry::Vacant(free) => drop(free.insert((key.hash, verdict))),
        }
    }

    /// Returns the last batch whose verdicts are forgotten.
    pub(super) fn forgotten_until(&self) -> i64 {
        self.older.back().unwrap_or(&self.newest).first_batch - 1
    }

    /// Adds verdicts of an earlier process.
    pub(super) fn load(&mut self, stored: DecidedTraces<'_>, key: impl Fn(u128) -> TraceKey) {
        for record in stored.traces.chunks_exact(RECORD_BYTES) {
            if let (Some(id), Some(verdict)) = (record.first_chunk(), record.last_chunk()) {
                let verdict = TraceVerdict(u32::from_be_bytes(*verdict));
                self.add(key(u128::from_be_bytes(*id)), verdict, stored.batch, stored.at_ms);
            }
        }
    }
}

/// Appends a verdict in its stored form.
pub(super) fn store(out: &mut Vec<u8>, id: u128, verdict: TraceVerdict) {
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&verdict.0.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::trace_key::TraceKeys;
    use super::*;

    #[test]
    fn a_verdict_is_forgotten_after_an_hour() {
        let minute = 60_000;
        let keys = TraceKeys::default();
        let mut recent = Recent::default();
        recent.add(keys.of(7), TraceVerdict(1), 1000, 1000 * minute);
        for at in 1001_i64..1060 {
            recent.add(keys.of(at.unsigned_abs().into()), TraceVerdict(2), at, at * minute);
            assert_eq!(recent.get(keys.of(7)), Some(TraceVerdict(1)), "after {} minutes", at - 1000);
        }
        for at in 1060_i64..1090 {
            recent.add(keys.of(at.unsigned_abs().into()), TraceVerdict(2), at, at * minute);
        }
        assert_eq!(recent.get(keys.of(7)), None);
        assert_eq!(recent.get(keys.of(1089)), Some(TraceVerdict(2)));
        assert!((1000..1060).contains(&recent.forgotten_until()), "{}", recent.forgotten_until());
    }

    #[test]
    fn full_generations_end_early() {
        let keys = TraceKeys::default();
        let mut recent = Recent::default();
        let all = (MAX_GENERATION * (GENERATIONS + 1)) as u128;
        (0..all).for_each(|id| recent.add(keys.of(id), TraceVerdict(1), 5, 5));
        let held: usize =
            recent.newest.verdicts.len() + recent.older.iter().map(|it| it.verdicts.len()).sum::<usize>();
        assert!(held <= MAX_GENERATION * GENERATIONS, "{held}");
        let bytes = GENERATIONS * (recent.newest.verdicts.allocation_size());
        assert!(bytes <= 54 << 20, "{bytes}");
        assert_eq!((recent.get(keys.of(0)), recent.get(keys.of(all - 1))), (None, Some(TraceVerdict(1))));
    }

    /// A step of the clock forgets nothing that is still held.
    #[test]
    fn a_step_of_the_clock_is_a_new_generation() {
        let keys = TraceKeys::default();
        let mut recent = Recent::default();
        let year = 365 * 24 * 3_600_000;
        recent.add(keys.of(1), TraceVerdict(1), 1, year);
        recent.add(keys.of(2), TraceVerdict(2), 2, 0);
        recent.add(keys.of(3), TraceVerdict(1), 3, 1);
        assert_eq!(
            [1, 2, 3].map(|id| recent.get(keys.of(id)).map(|verdict| verdict.0)),
            [Some(1), Some(2), Some(1)]
        );
        assert!(recent.forgotten_until() < 1);
    }

    #[test]
    fn verdicts_are_stored_and_loaded() {
        let mut traces = Vec::new();
        store(&mut traces, u128::MAX, TraceVerdict(0x8000_0001));
        store(&mut traces, 3, TraceVerdict(2));
        let keys = TraceKeys::default();
        let mut recent = Recent::default();
        let stored = DecidedTraces { batch: 4, at_ms: 1_800_000_000_000, traces: &traces };
        recent.load(stored, |id| keys.of(id));
        assert_eq!(recent.get(keys.of(u128::MAX)), Some(TraceVerdict(0x8000_0001)));
        assert_eq!(recent.get(keys.of(3)), Some(TraceVerdict(2)));
    }
}
