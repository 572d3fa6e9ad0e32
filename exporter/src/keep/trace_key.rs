//! [`TraceKey`]: a trace id and its hash, which both tables use.

use std::hash::{BuildHasher, RandomState};

/// A trace id with its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceKey {
    pub(super) id: u128,
    pub(super) hash: u64,
}

/// Hashes trace ids with random keys, so that nobody can choose ids that collide.
#[derive(Debug, Default)]
pub(super) struct TraceKeys(RandomState);

impl TraceKeys {
    pub(super) fn of(&self, id: u128) -> TraceKey {
        TraceKey { id, hash: self.hash(id) }
    }

    pub(super) fn hash(&self, id: u128) -> u64 {
        self.0.hash_one(id)
    }
}
