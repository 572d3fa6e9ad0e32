//! New ids: the one place that draws random numbers.

use std::hash::{BuildHasher, RandomState};

use logtracer_core::{SpanId, TraceId};

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

fn random() -> u64 {
    // A system without a random source must not fail a request; the keys of the hasher differ from call to call.
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(0))
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
