//! [`Recent`]: the verdicts of the last hour, for the spans that come after the verdict on their trace.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::time::Duration;

use super::policy::TraceVerdict;
use crate::clock::millis;
use crate::outbox::DecidedTraces;

/// How long a verdict holds.
pub(super) const HELD: Duration = Duration::from_secs(3600);

/// The verdicts are forgotten in generations.
const GENERATIONS: usize = 6;

/// A full generation ends early, so that the verdicts take about 30 bytes × this × [`GENERATIONS`] at most: 90 MiB.
const MAX_GENERATION: usize = 1 << 19;

/// The stored size of a verdict: the trace id, and the verdict.
const RECORD_BYTES: usize = 20;

/// The verdicts of the last hour, by a hash of the trace id.
#[derive(Debug, Default)]
pub(super) struct Recent {
    hasher: RandomState,
    newest: Generation,
    older: VecDeque<Generation>,
}

#[derive(Debug, Default)]
struct Generation {
    began_ms: i64,
    verdicts: HashMap<u64, TraceVerdict>,
}

impl Recent {
    /// Returns the verdict on a trace.
    pub(super) fn get(&self, id: u128) -> Option<TraceVerdict> {
        let key = self.hasher.hash_one(id);
        let generations = std::iter::once(&self.newest).chain(&self.older);
        generations.filter_map(|generation| generation.verdicts.get(&key)).next().copied()
    }

    /// Adds a verdict, and forgets old ones.
    pub(super) fn add(&mut self, id: u128, verdict: TraceVerdict, now_ms: i64) {
        let age = now_ms - self.newest.began_ms;
        let length = millis(HELD) / (GENERATIONS as i64 - 1);
        if !(0..length).contains(&age) || self.newest.verdicts.len() >= MAX_GENERATION {
            let fresh = Generation { began_ms: now_ms, verdicts: HashMap::default() };
            self.older.push_front(mem::replace(&mut self.newest, fresh));
            self.older.truncate(GENERATIONS - 1);
        }
        self.newest.verdicts.insert(self.hasher.hash_one(id), verdict);
    }

    /// Returns the verdicts of an earlier process.
    pub(super) fn load(stored: impl IntoIterator<Item = DecidedTraces>) -> Self {
        let mut recent = Self::default();
        for DecidedTraces { at_ms, traces } in stored {
            for record in traces.chunks_exact(RECORD_BYTES) {
                if let (Some(id), Some(verdict)) = (record.first_chunk(), record.last_chunk()) {
                    let verdict = TraceVerdict(u32::from_be_bytes(*verdict));
                    recent.add(u128::from_be_bytes(*id), verdict, at_ms);
                }
            }
        }
        recent
    }
}

/// Appends a verdict in its stored form.
pub(super) fn store(out: &mut Vec<u8>, id: u128, verdict: TraceVerdict) {
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&verdict.0.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_forgotten_after_an_hour() {
        let minute = 60_000;
        let mut recent = Recent::default();
        recent.add(7, TraceVerdict(1), 1000 * minute);
        for at in 1001_i64..1060 {
            recent.add(at.unsigned_abs().into(), TraceVerdict(2), at * minute);
            assert_eq!(recent.get(7), Some(TraceVerdict(1)), "after {} minutes", at - 1000);
        }
        for at in 1060_i64..1090 {
            recent.add(at.unsigned_abs().into(), TraceVerdict(2), at * minute);
        }
        assert_eq!(recent.get(7), None);
        assert_eq!(recent.get(1089), Some(TraceVerdict(2)));
    }

    #[test]
    fn full_generations_end_early() {
        let mut recent = Recent::default();
        let all = (MAX_GENERATION * (GENERATIONS + 1)) as u128;
        (0..all).for_each(|id| recent.add(id, TraceVerdict(1), 5));
        let held: usize =
            recent.newest.verdicts.len() + recent.older.iter().map(|it| it.verdicts.len()).sum::<usize>();
        assert!(held <= MAX_GENERATION * GENERATIONS, "{held}");
        assert_eq!((recent.get(0), recent.get(all - 1)), (None, Some(TraceVerdict(1))));
    }

    #[test]
    fn verdicts_are_stored_and_loaded() {
        let mut traces = Vec::new();
        store(&mut traces, u128::MAX, TraceVerdict(0x8000_0001));
        store(&mut traces, 3, TraceVerdict(2));
        let recent = Recent::load([DecidedTraces { at_ms: 1_800_000_000_000, traces }]);
        assert_eq!(recent.get(u128::MAX), Some(TraceVerdict(0x8000_0001)));
        assert_eq!(recent.get(3), Some(TraceVerdict(2)));
    }
}
