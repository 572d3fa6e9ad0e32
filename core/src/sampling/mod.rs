//! Sampling of new traces: [`Ratio`] (a fraction of them), [`Rules`] (by request) and [`RateLimiter`] (per second).
//!
//! A decision that the request carries takes precedence. These apply to traces without one.

mod rate_limiter;
mod ratio;
mod rules;

pub use rate_limiter::RateLimiter;
pub use ratio::Ratio;
pub use rules::{Condition, HeaderCondition, RequestParts, Rule, Rules};
