//! The back-off after a failed call, and the number of calls in flight.

use std::time::Duration;

use logtracer_core::Backoff;

/// The back-off of everything that a delivery retries.
pub(super) const fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(30))
}

/// A limit on the calls in flight, which a failure halves and a success raises by one.
///
/// A sink that is down gets one call at a time. A sink that has recovered gets its full number after a few rounds.
#[derive(Debug)]
pub(super) struct Throttle {
    max_calls: usize,
    calls: usize,
}

impl Throttle {
    pub(super) fn new(max_calls: usize) -> Self {
        Self { max_calls, calls: max_calls }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    pub(super) fn succeed(&mut self) {
        self.calls = (self.calls + 1).min(self.max_calls);
    }

    pub(super) fn fail(&mut self) {
        self.calls = (self.calls / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let mut backoff = backoff();
        let pauses: Vec<u128> = (0..10).map(|_| backoff.next(1023).as_millis()).collect();
        assert_eq!(pauses, [199, 399, 799, 1599, 3198, 6396, 12793, 25587, 29985, 29985]);
    }

    #[test]
    fn failures_lower_the_limit_and_successes_raise_it() {
        let mut throttle = Throttle::new(32);
        let calls: Vec<usize> = (0..6)
            .map(|_| {
                throttle.fail();
                throttle.calls()
            })
            .collect();
        assert_eq!(calls, [16, 8, 4, 2, 1, 1]);
        (0..31).for_each(|_| throttle.succeed());
        assert_eq!(throttle.calls(), 32);
        throttle.succeed();
        assert_eq!(throttle.calls(), 32);
    }
}
