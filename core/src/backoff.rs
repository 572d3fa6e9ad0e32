//! [`Backoff`]: how long to wait before the next attempt.

use core::time::Duration;

/// Exponential back-off with jitter.
///
/// The full pause doubles with each failure in a row, up to a limit. Each pause is between half of the full pause and
/// the full pause, so that many clients do not retry at the same moment. The random number is an argument.
///
/// ```
/// use std::time::Duration;
/// use logtracer_core::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// assert_eq!(backoff.next(0), Duration::from_millis(500)); // half of one second
/// assert_eq!(backoff.next(0), Duration::from_secs(1)); // half of two seconds
/// assert_eq!(backoff.failures(), 2);
///
/// backoff.reset();
/// assert_eq!(backoff.failures(), 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// The number of different lengths of one pause.
    const STEPS: u32 = 1024;

    /// Creates a back-off without failures. The full pause is `first` after one failure and never exceeds `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Counts a failure and returns the pause before the next attempt.
    ///
    /// The low 10 bits of `random` select the length: `0` the shortest, `u64::MAX` the longest, which is the full
    /// pause less 1/2048.
    pub fn next(&mut self, random: u64) -> Duration {
        let full = self.first.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        let step = (random % u64::from(Self::STEPS)) as u32;
        half.saturating_add((half / Self::STEPS).saturating_mul(step))
    }

    /// Returns the number of failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Clears the failures after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let first = Duration::from_millis(200);
        let mut backoff = Backoff::new(first, Duration::from_secs(30));
        let pauses: Vec<u128> = (0..10).map(|_| backoff.next(1023).as_millis()).collect();
        assert_eq!(pauses, [199, 399, 799, 1599, 3198, 6396, 12793, 25587, 29985, 29985]);
        assert_eq!(backoff.failures(), 10);
        backoff.reset();
        assert_eq!(backoff.next(0), first / 2);
    }

    #[test]
    fn long_pauses_saturate() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        backoff.failures = u32::MAX;
        assert!(backoff.next(u64::MAX) > Duration::MAX / 3);
        assert_eq!(backoff.failures(), u32::MAX);
    }

    proptest! {
        #[test]
        fn a_pause_is_between_half_and_all_of_its_length(random: u64, failures in 0u32..100, seconds in 1u64..1000) {
            let (first, longest) = (Duration::from_secs(1), Duration::from_secs(seconds));
            let mut backoff = Backoff { failures, ..Backoff::new(first, longest) };
            let full = Duration::from_secs(1 << failures.min(40)).min(longest);
            let pause = backoff.next(random);
            prop_assert!((full / 2..=full).contains(&pause), "{:?} of {:?}", pause, full);
        }
    }
}
