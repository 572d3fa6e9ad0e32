//! Checking an OTLP request in protobuf without decoding it: the fields of every message, the UTF-8 of every text, the
//! ids of every span, and the memory that the decoded request takes.
//!
//! A valid body can be stored unchanged, because every later reader can decode it. The check is much cheaper than
//! decoding, because it does not allocate.
//!
//! Invariant: prost decodes every body that is [`CheckResult::Valid`] (`valid_bodies_can_be_decoded`).

#[cfg(test)]
pub(crate) mod tests;

use super::ids::{Ids, check_reference};
use super::left_out::Reason;
use super::schema::{Field, Kind, MessageType, Role};
use super::signal::Signal;
use super::times::Times;
use super::wire::{Value, read_field};

/// The largest decoded request: its bytes, the elements of its lists and the allocations of its texts.
///
/// Two bytes on the wire can become an element of a hundred bytes, so a limit for the body alone is not enough.
pub(crate) const MAX_DECODED_BYTES: usize = 32 << 20;

/// The largest number of spans or log records in one request.
pub(crate) const MAX_ITEMS: u32 = 50_000;

/// How deeply messages can be nested, well below the limit of prost, which is 100.
pub(super) const MAX_DEPTH: u32 = 64;

/// The result of [`check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckResult {
    /// The body can be stored unchanged, and has this number of spans or log records.
    Valid { items: u32 },
    /// The body has a part that is invalid.
    Invalid,
    /// The body has more than [`MAX_ITEMS`] spans or log records.
    TooManyItems,
    /// The decoded body is larger than [`MAX_DECODED_BYTES`].
    TooLarge,
}

/// Checks the export request of a signal.
pub(crate) fn check(signal: Signal, body: &[u8]) -> CheckResult {
    examine(signal, body).0
}

/// What a valid request still needs before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// A span or a log record lacks a time.
    pub(crate) times: bool,
    /// A field that is not a list occurs twice, or a value has two.
    pub(crate) merge: bool,
}

/// Checks a request as [`check`] does. Also returns what it needs.
pub(crate) fn examine(signal: Signal, body: &[u8]) -> (CheckResult, Needs) {
    let mut totals = Totals::new(body);
    let result = check_message(signal.request_type(), body, 0, &mut totals);
    let result = match result {
        _ if totals.items > MAX_ITEMS => CheckResult::TooManyItems,
        Ok(()) if !totals.is_invalid && (totals.is_request || body.is_empty()) => {
            CheckResult::Valid { items: totals.items }
        }
        Err(Stop::TooLarge) => CheckResult::TooLarge,
        Ok(()) | Err(Stop::Invalid) => CheckResult::Invalid,
    };
    (result, totals.needs)
}

/// Returns true if decoding a body takes too much memory.
///
/// The receivers write no such body to the outbox, but a file can contain anything.
pub(crate) fn is_too_large(signal: Signal, body: &[u8]) -> bool {
    matches!(check(signal, body), CheckResult::TooLarge | CheckResult::TooManyItems)
}

/// The totals of the bytes that were read so far.
struct Totals {
    /// Spans or log records.
    items: u32,
    /// The size of the body, of the elements of all lists, and of the allocation of each text in addition to its bytes.
    decoded_bytes: usize,
    /// True if the outermost message has a known field.
    is_request: bool,
    /// True if there is something invalid after which prost continues.
    is_invalid: bool,
    needs: Needs,
}

/// The size of a small allocation, or of a text as an element of a list.
const TEXT_BYTES: usize = 32;

/// The reason why the check stops.
enum Stop {
    Invalid,
    TooLarge,
}

impl From<Reason> for Stop {
    fn from(_: Reason) -> Self {
        Self::Invalid
    }
}

impl Totals {
    fn new(body: &[u8]) -> Self {
        Self {
            items: 0,
            decoded_bytes: body.len(),
            is_request: false,
            is_invalid: false,
            needs: Needs::default(),
        }
    }

    fn add(&mut self, bytes: usize) -> Result<(), Stop> {
        self.decoded_bytes += bytes;
        if self.decoded_bytes > MAX_DECODED_BYTES { Err(Stop::TooLarge) } else { Ok(()) }
    }
}

/// The fields of a message that are not lists, as far as they were seen.
#[derive(Default)]
struct Seen(u32);

impl Seen {
    /// Records a field. Returns whether it was here before and must not be here a second time.
    #[inline]
    fn mark_seen(&mut self, message: &MessageType, field: &Field, number: u32) -> bool {
        if field.is_repeated || matches!(field.kind, Kind::Any) {
            return false;
        }
        // A value has one field. The number of a known field is below 32.
        let bit = if message.role == Role::Value { 1 } else { 1_u32.wrapping_shl(number) };
        let is_repeated = self.0 & bit != 0;
        self.0 |= bit;
        is_repeated
    }
}

/// Checks a message and the messages in it.
fn check_message(
    message: &MessageType,
    mut rest: &[u8],
    depth: u32,
    totals: &mut Totals,
) -> Result<(), Stop> {
    if depth > MAX_DEPTH {
        return Err(Stop::Invalid);
    }
    let (mut ids, mut times, mut seen) = (Ids::default(), Times::default(), Seen::default());
    while !rest.is_empty() {
        let (number, value) = read_field(&mut rest)?;
        let field = message.field(number);
        totals.needs.merge |= seen.mark_seen(message, field, number);
        totals.is_request |= depth == 0 && number == 1;
        if !value.is_of(field.kind) {
            return Err(Stop::Invalid);
        }
        match (value, field.kind) {
            (Value::Group, _) => totals.is_invalid = true,
            (Value::Fixed64(nanos), Kind::Fixed64) => times.record(message.role, number, nanos),
            (Value::Bytes(bytes), Kind::Message(inner)) => {
                totals.add(inner.size)?;
                check_message(inner, bytes, depth + 1, totals)?;
            }
            (Value::Bytes(bytes), Kind::Text) => {
                totals.add(TEXT_BYTES)?;
                check_text(bytes)?;
            }
            (Value::Bytes(bytes), Kind::Bytes | Kind::Id) => {
                totals.add(TEXT_BYTES)?;
                ids.record(message.role, number, bytes);
                totals.is_invalid |= check_reference(message.role, number, bytes).is_err();
            }
            _ => {}
        }
    }
    if matches!(message.role, Role::Span | Role::LogRecord) {
        totals.items += 1;
        if totals.items > MAX_ITEMS {
            return Err(Stop::TooLarge);
        }
    }
    totals.needs.times |= times.is_incomplete(message.role);
    if message.role == Role::Span {
        totals.is_invalid |= ids.check().is_err();
    }
    Ok(())
}

/// Checks that a text is UTF-8. Most texts are short and ASCII, which is faster to check.
#[inline]
fn check_text(bytes: &[u8]) -> Result<(), Stop> {
    if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() { Ok(()) } else { Err(Stop::Invalid) }
}
