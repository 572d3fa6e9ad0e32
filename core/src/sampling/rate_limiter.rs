//! [`RateLimiter`]: a bound on what happens in a second, with the time passed in.

/// Lets at most so many through in a second: a bucket of one second's worth that fills evenly.
///
/// ```
/// use logtracer_core::sampling::RateLimiter;
///
/// let mut limiter = RateLimiter::new(2.0);
/// let second = 1_000_000_000;
/// assert!(limiter.try_acquire(0));
/// assert!(limiter.try_acquire(0));
/// assert!(!limiter.try_acquire(0));
/// assert!(limiter.try_acquire(second / 2)); // half a second is one more
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimiter {
    per_second: f64,
    tokens: f64,
    last_nanos: u64,
}

impl RateLimiter {
    /// A full bucket; a rate below one in a second still lets one through, and then waits.
    pub fn new(per_second: f64) -> Self {
        Self { per_second, tokens: per_second.max(1.0), last_nanos: 0 }
    }

    /// Takes one, if there is one at this time (nanoseconds from any fixed point; a clock set back adds nothing).
    pub fn try_acquire(&mut self, now_nanos: u64) -> bool {
        let passed = now_nanos.saturating_sub(self.last_nanos) as f64 / 1e9;
        self.last_nanos = now_nanos;
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second.max(1.0));
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn no_more_than_the_rate_pass() {
        for per_second in [0.5, 1.0, 7.0, 100.0] {
            let mut limiter = RateLimiter::new(per_second);
            let passed = (0..10_000).filter(|tick| limiter.try_acquire(tick * 1_000_000)).count() as f64;
            let most = per_second * 10.0 + per_second.max(1.0);
            assert!(passed <= most && passed >= per_second * 10.0 - 1.0, "{per_second}: {passed}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let mut limiter = RateLimiter::new(1.0);
        assert!(limiter.try_acquire(5_000_000_000));
        assert!(!limiter.try_acquire(1_000_000_000));
        assert!(limiter.try_acquire(2_000_000_000));
    }
}
