//! Checking an OTLP request without building it: the shape of every message, the UTF-8 of every text, the ids of
//! every span, and what it would take in memory.
//!
//! ```text
//!  walk (the wire format, one pass) ──► shapes (what each field of each message is)
//!  json (an estimate for JSON)
//! ```
//!
//! This is what makes it possible to keep a request as it came: a body that passes is one that a later reader can
//! decode. It costs a fraction of decoding, for it allocates nothing.
//!
//! Invariants: what [`check`] finds in order, prost decodes (held by `what_passes_can_be_decoded` in the tests).
//! What it does not find too large takes no more than a small multiple of [`MAX_DECODED_BYTES`](MAX_DECODED_BYTES) to decode: it stops
//! where prost would stop, or earlier.
//! What is odd (groups, an invalid span) is left to the thorough way in [`super::decode`].

mod ids;
mod json;
mod schema;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use crate::otlp::Signal;
pub(crate) use ids::InvalidIds;
pub(crate) use json::decoded_bytes as json_decoded_bytes;
use wire::{Fault, Seen};

/// The largest request when decoded: its bytes, the elements of its lists and the allocations of its texts.
///
/// Two bytes on the wire can stand for an element of a hundred, so the length of a body alone bounds nothing.
pub(crate) const MAX_DECODED_BYTES: usize = 32 << 20;

/// The most spans or log records in one request.
pub(crate) const MAX_ITEMS: u32 = 50_000;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Each span is valid; so many spans or log records there are.
    InOrder { items: u32 },
    /// It can be decoded in this much memory, but not kept as it is.
    Odd { decoded_bytes: usize },
    /// It cannot be decoded; an attempt takes this much memory.
    Malformed { decoded_bytes: usize },
    /// Its values are nested too deeply.
    TooDeep,
    /// It has more than [`MAX_ITEMS`](MAX_ITEMS) spans or log records.
    TooMany,
    /// Decoded it would be larger than [`MAX_DECODED_BYTES`](MAX_DECODED_BYTES).
    TooLarge,
}

/// Looks at the export request of a signal.
pub(crate) fn check(signal: Signal, body: &[u8]) -> Verdict {
    let shape = match signal {
        Signal::Traces => &schema::TRACES,
        Signal::Logs => &schema::LOGS,
    };
    let mut seen = Seen::new(body);
    match wire::message(shape, body, 0, &mut seen) {
        Ok(()) if seen.is_odd => Verdict::Odd { decoded_bytes: seen.decoded_bytes },
        Ok(()) => Verdict::InOrder { items: seen.items },
        Err(Fault::Malformed) => Verdict::Malformed { decoded_bytes: seen.decoded_bytes },
        Err(Fault::TooDeep) => Verdict::TooDeep,
        Err(Fault::TooMany) => Verdict::TooMany,
        Err(Fault::TooLarge) => Verdict::TooLarge,
    }
}

/// What one span takes when decoded; something above the bound, if that is more than the bound.
pub(crate) fn span_bytes(body: &[u8]) -> usize {
    let mut seen = Seen::new(body);
    // What is malformed is not decoded any further than it has been counted here.
    let _ = wire::message(&schema::SPAN, body, 0, &mut seen);
    seen.decoded_bytes
}

/// True if a body takes too much memory to be decoded.
///
/// The receivers let no such body into the outbox, but the file can hold anything.
pub(crate) fn is_too_large(signal: Signal, body: &[u8]) -> bool {
    matches!(check(signal, body), Verdict::TooLarge | Verdict::TooMany)
}
