//! Which new traces are recorded: a share of them ([`Ratio`]), by rules ([`Rules`]), not too many a second
//! ([`Limiter`]).
//!
//! A decision that came with the request stands; this is for traces that nobody has decided on yet.

mod limiter;
mod ratio;
mod rules;

pub use limiter::Limiter;
pub use ratio::Ratio;
pub use rules::{Condition, Facts, HeaderCondition, Rule, Rules};
