//! One pass over the protobuf wire format, without decoding.

use super::ids::InvalidIds;
use super::schema::{Field, MessageType, Role};
use super::{MAX_DECODED_BYTES, MAX_ITEMS};
use Field::{Any, Bytes, Fixed32, Fixed64, Text, Varint};

/// The totals of the bytes that were read so far.
pub(super) struct Totals {
    /// Spans or log records.
    pub(super) items: u32,
    /// The size of the body, of the elements of all lists, and of the allocation of each text in addition to its bytes.
    pub(super) decoded_bytes: usize,
    /// True if the body contains a group or an invalid span.
    pub(super) needs_decoding: bool,
}

impl Totals {
    pub(super) fn new(body: &[u8]) -> Self {
        Self { items: 0, decoded_bytes: body.len(), needs_decoding: false }
    }

    fn count_item(&mut self) -> Result<(), WireError> {
        self.items += 1;
        if self.items > MAX_ITEMS { Err(WireError::TooManyItems) } else { Ok(()) }
    }

    fn add(&mut self, bytes: usize) -> Result<(), WireError> {
        self.decoded_bytes += bytes;
        if self.decoded_bytes > MAX_DECODED_BYTES { Err(WireError::TooLarge) } else { Ok(()) }
    }
}

/// The reason why the check stops.
pub(super) enum WireError {
    Malformed,
    TooDeep,
    TooManyItems,
    TooLarge,
}

/// The size of a small allocation, or of a text as an element of a list.
const TEXT_BYTES: usize = 32;

/// Well below the limit of prost, which is 100.
const MAX_DEPTH: u32 = 64;

/// The ids of the span that is being read. If a field is repeated, the last one is used, as in every protobuf message.
#[derive(Default)]
struct Ids<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
}

/// Checks a message and the messages in it.
pub(super) fn check_message(
    message: &MessageType,
    mut rest: &[u8],
    depth: u32,
    totals: &mut Totals,
) -> Result<(), WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::TooDeep);
    }
    let mut ids = Ids::default();
    while !rest.is_empty() {
        let (number, wire_type) = key(&mut rest).ok_or(WireError::Malformed)?;
        let field = message.fields.get(number as usize).copied().unwrap_or(Any);
        match (wire_type, field) {
            (0, Varint | Any) | (1, Fixed64 | Any) | (5, Fixed32 | Any) => {
                skip(&mut rest, number, wire_type, depth)?;
            }
            (2, Bytes | Text | Field::Message(_) | Any) => {
                let bytes = delimited(&mut rest).ok_or(WireError::Malformed)?;
                match field {
                    Text => {
                        check_text(bytes)?;
                        totals.add(TEXT_BYTES)?;
                    }
                    Field::Message(inner) => {
                        totals.add(inner.size)?;
                        check_message(inner, bytes, depth + 1, totals)?;
                    }
                    Bytes => totals.add(TEXT_BYTES)?,
                    _ => {}
                }
                if message.role == Role::Span {
                    match number {
                        1 => ids.trace_id = bytes,
                        2 => ids.span_id = bytes,
                        4 => ids.parent_span_id = bytes,
                        _ => {}
                    }
                }
            }
            (3, Any) => {
                totals.needs_decoding = true;
                skip(&mut rest, number, wire_type, depth)?;
            }
            _ => return Err(WireError::Malformed),
        }
    }
    match message.role {
        Role::Other => {}
        Role::Span => {
            totals.needs_decoding |=
                InvalidIds::check(ids.trace_id, ids.span_id, ids.parent_span_id).is_some();
            totals.count_item()?;
        }
        Role::LogRecord => totals.count_item()?,
    }
    Ok(())
}

/// Checks that a text is UTF-8. Most texts are short and ASCII, which is faster to check.
#[inline]
fn check_text(bytes: &[u8]) -> Result<(), WireError> {
    if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() { Ok(()) } else { Err(WireError::Malformed) }
}

/// Skips the value of a field. A group ends with an end tag of the same number.
fn skip(rest: &mut &[u8], number: u32, wire_type: u32, depth: u32) -> Result<(), WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::TooDeep);
    }
    let skipped = match wire_type {
        0 => varint(rest).map(drop),
        1 => take(rest, 8).map(drop),
        2 => delimited(rest).map(drop),
        3 => loop {
            match key(rest).ok_or(WireError::Malformed)? {
                (end, 4) if end == number => break Some(()),
                (_, 4) => break None,
                (inner, wire_type) => skip(rest, inner, wire_type, depth + 1)?,
            }
        },
        5 => take(rest, 4).map(drop),
        _ => None,
    };
    skipped.ok_or(WireError::Malformed)
}

/// Reads the number and the wire type of a field.
#[inline]
fn key(rest: &mut &[u8]) -> Option<(u32, u32)> {
    let key = u32::try_from(varint(rest)?).ok()?;
    if key >> 3 == 0 { None } else { Some((key >> 3, key & 7)) }
}

#[inline]
fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    take(rest, length)
}

#[inline]
fn varint(rest: &mut &[u8]) -> Option<u64> {
    // Almost every key and length is a single byte.
    match rest.split_first() {
        Some((&byte, after)) if byte < 0x80 => {
            *rest = after;
            Some(byte.into())
        }
        _ => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in rest.iter().enumerate().take(10) {
        if index == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *rest = rest.get(index + 1..)?;
            return Some(value);
        }
    }
    None
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}
