//! Checking an OTLP request without decoding it: the fields of every message, the UTF-8 of every text, the ids of
//! every span, and the memory that the decoded request takes.
//!
//! ```text
//!  protobuf ──► wire (one pass over the wire format) ──► schema (the type of each field)
//!                                                   └──► ids    (the ids of each span)
//!  JSON ──────► json (an estimate of the decoded size)
//! ```
//!
//! A valid body can be stored unchanged, because every later reader can decode it. The check is much cheaper than
//! decoding, because it does not allocate.
//!
//! Invariant: prost decodes every body that is [`CheckResult::Valid`] (`valid_bodies_can_be_decoded`).
//! Invariant: decoding a body that is not [`CheckResult::TooLarge`] takes at most a small multiple of
//! [`MAX_DECODED_BYTES`], because prost fails where the check fails.
//! A body with groups or an invalid span has to be decoded and encoded again, which is the receiver's task.

mod ids;
mod json;
mod schema;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use crate::otlp::Signal;
pub(crate) use ids::InvalidIds;
pub(crate) use json::decoded_bytes as json_decoded_bytes;
use wire::{Totals, WireError};

/// The largest decoded request: its bytes, the elements of its lists and the allocations of its texts.
///
/// Two bytes on the wire can become an element of a hundred bytes, so a limit for the body alone is not enough.
pub(crate) const MAX_DECODED_BYTES: usize = 32 << 20;

/// The largest number of spans or log records in one request.
pub(crate) const MAX_ITEMS: u32 = 50_000;

/// The result of [`check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckResult {
    /// The body can be stored unchanged, and has this number of spans or log records.
    Valid { items: u32 },
    /// The body can be decoded in this much memory, but not be stored unchanged.
    NeedsDecoding { decoded_bytes: usize },
    /// The body cannot be decoded. The attempt takes this much memory.
    Malformed { decoded_bytes: usize },
    /// The values are nested too deeply.
    TooDeep,
    /// The body has more than [`MAX_ITEMS`] spans or log records.
    TooManyItems,
    /// The decoded body is larger than [`MAX_DECODED_BYTES`].
    TooLarge,
}

/// Checks the export request of a signal.
pub(crate) fn check(signal: Signal, body: &[u8]) -> CheckResult {
    let request = match signal {
        Signal::Traces => &schema::TRACES,
        Signal::Logs => &schema::LOGS,
    };
    let mut totals = Totals::new(body);
    match wire::check_message(request, body, 0, &mut totals) {
        Ok(()) if totals.needs_decoding => CheckResult::NeedsDecoding { decoded_bytes: totals.decoded_bytes },
        Ok(()) => CheckResult::Valid { items: totals.items },
        Err(WireError::Malformed) => CheckResult::Malformed { decoded_bytes: totals.decoded_bytes },
        Err(WireError::TooDeep) => CheckResult::TooDeep,
        Err(WireError::TooManyItems) => CheckResult::TooManyItems,
        Err(WireError::TooLarge) => CheckResult::TooLarge,
    }
}

/// Returns the size of a decoded span. If it exceeds [`MAX_DECODED_BYTES`], the result is any number above that.
pub(crate) fn span_bytes(body: &[u8]) -> usize {
    let mut totals = Totals::new(body);
    // The decoder reads a malformed span no further than this check.
    let _ = wire::check_message(&schema::SPAN, body, 0, &mut totals);
    totals.decoded_bytes
}

/// Returns true if decoding a body takes too much memory.
///
/// The receivers write no such body to the outbox, but a file can contain anything.
pub(crate) fn is_too_large(signal: Signal, body: &[u8]) -> bool {
    matches!(check(signal, body), CheckResult::TooLarge | CheckResult::TooManyItems)
}
