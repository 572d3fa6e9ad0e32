//! Which new traces are recorded: a share of them ([`Ratio`]), by rules ([`Rules`]), not too many a second
//! ([`RateLimiter`]).
//!
//! A decision that came with the request stands; this is for traces that nobody has decided on yet.

mod rate_limiter;
mod ratio;
mod rules;

pub use rate_limiter::RateLimiter;
pub use ratio::Ratio;
pub use rules::{Condition, HeaderCondition, RequestParts, Rule, Rules};
