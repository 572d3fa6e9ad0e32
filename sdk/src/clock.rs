//! The time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970; a clock that is set before that stands still.
pub(crate) fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
