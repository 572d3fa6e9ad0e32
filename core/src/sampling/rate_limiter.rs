//! [`RateLimiter`]: a limit per second, with the time as an argument.

/// A token bucket that holds the tokens of one second.
///
/// ```
/// use logtracer_core::sampling::RateLimiter;
///
/// let mut limiter = RateLimiter::new(2.0);
/// let second = 1_000_000_000;
/// assert!(limiter.try_acquire(0));
/// assert!(limiter.try_acquire(0));
/// assert!(!limiter.try_acquire(0));
/// assert!(limiter.try_acquire(second / 2)); // half a second adds one token
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimiter {
    per_second: f64,
    tokens: f64,
    last_nanos: u64,
}

impl RateLimiter {
    /// Creates a full bucket. It holds at least one token, even if the rate is below one per second.
    pub fn new(per_second: f64) -> Self {
        Self { per_second, tokens: per_second.max(1.0), last_nanos: 0 }
    }

    /// Takes a token, and returns false if there is none. `now_nanos` counts from any fixed point; a clock that was set
    /// back adds no tokens.
    pub fn try_acquire(&mut self, now_nanos: u64) -> bool {
        let passed = now_nanos.saturating_sub(self.last_nanos) as f64 / 1e9;
        self.last_nanos = now_nanos;
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second.max(1.0));
        let has_token = self.tokens >= 1.0;
        if has_token {
            self.tokens -= 1.0;
        }
        has_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_rate_is_not_exceeded() {
        for per_second in [0.5, 1.0, 7.0, 100.0] {
            let mut limiter = RateLimiter::new(per_second);
            let passed = (0..10_000).filter(|tick| limiter.try_acquire(tick * 1_000_000)).count() as f64;
            let max = per_second * 10.0 + per_second.max(1.0);
            assert!(passed <= max && passed >= per_second * 10.0 - 1.0, "{per_second}: {passed}");
        }
    }

    #[test]
    fn it_recovers_after_the_clock_was_set_back() {
        let mut limiter = RateLimiter::new(1.0);
        assert!(limiter.try_acquire(5_000_000_000));
        assert!(!limiter.try_acquire(1_000_000_000));
        assert!(limiter.try_acquire(2_000_000_000));
    }
}
