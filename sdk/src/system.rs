//! The clock and the random source of the system.

use std::hash::{BuildHasher, RandomState};
#[cfg(any(feature = "logging", feature = "spans"))]
use std::time::{SystemTime, UNIX_EPOCH};

use logtracer_core::{SpanId, TraceId};

/// Returns the nanoseconds since 1970; zero if the clock is set to an earlier time.
#[cfg(any(feature = "logging", feature = "spans"))]
pub(crate) fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

pub(crate) fn new_trace_id() -> TraceId {
    loop {
        let value = u128::from(random()) << 64 | u128::from(random());
        if let Some(id) = TraceId::new(value) {
            return id;
        }
    }
}

pub(crate) fn new_span_id() -> SpanId {
    loop {
        if let Some(id) = SpanId::new(random()) {
            return id;
        }
    }
}

pub(crate) fn random() -> u64 {
    // A system without a random source must not fail a request. The keys of the hasher differ from call to call.
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(0))
}

/// Returns an environment variable. What is not UTF-8 is an invalid value, and not an absent one.
#[cfg(any(feature = "logging", feature = "spans"))]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        assert_ne!(new_trace_id(), new_trace_id());
        assert_ne!(new_span_id(), new_span_id());
    }
}
