//! How long to wait after a failure, and how many calls to make at one time.

use std::time::Duration;

/// Exponential pauses, each between half and all of its length.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

impl Backoff {
    /// `jitter` is a random number.
    pub(super) fn next(&mut self, jitter: u64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let chunk = (jitter % 1024) as f64 / 1024.;
        full.mul_f64(0.5 + chunk / 2.)
    }

    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Random enough that many exporters do not retry at the same moment.
pub(super) fn jitter() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

/// How many calls may be out: fewer after failures, more with each success.
///
/// A sink that is down is asked by one call at a time; one that comes back is at its full number after a few rounds,
/// for each success makes room for one call more.
#[derive(Debug)]
pub(super) struct Throttle {
    most: usize,
    now: usize,
}

impl Throttle {
    pub(super) fn new(most: usize) -> Self {
        Self { most, now: most }
    }

    pub(super) fn calls(&self) -> usize {
        self.now
    }

    pub(super) fn succeeded(&mut self) {
        self.now = (self.now + 1).min(self.most);
    }

    pub(super) fn failed(&mut self) {
        self.now = (self.now / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..10).map(|_| backoff.next(1023).as_millis()).collect();
        assert_eq!(pauses, [199, 399, 799, 1599, 3198, 6396, 12793, 25587, 29985, 29985]);
        backoff.reset();
        assert_eq!(backoff.next(0), FIRST / 2);
    }

    #[test]
    fn fewer_calls_after_failures_more_after_successes() {
        let mut throttle = Throttle::new(32);
        let calls: Vec<usize> = (0..6)
            .map(|_| {
                throttle.failed();
                throttle.calls()
            })
            .collect();
        assert_eq!(calls, [16, 8, 4, 2, 1, 1]);
        (0..31).for_each(|_| throttle.succeeded());
        assert_eq!(throttle.calls(), 32);
        throttle.succeeded();
        assert_eq!(throttle.calls(), 32);
    }
}
