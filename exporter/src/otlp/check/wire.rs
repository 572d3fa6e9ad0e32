//! One pass over the wire format of protobuf.

use super::ids::InvalidIds;
use super::schema::{Field, Role, Shape};
use super::{MAX_DECODED_BYTES, MAX_ITEMS};
use Field::{Any, Bytes, Fixed32, Fixed64, Text, Varint};

/// What the walk has met so far.
pub(super) struct Seen {
    /// Spans or log records.
    pub(super) items: u32,
    /// The sizes of the body, of the elements of all lists, and of what each text takes beside its bytes.
    pub(super) decoded_bytes: usize,
    pub(super) is_odd: bool,
}

impl Seen {
    pub(super) fn new(body: &[u8]) -> Self {
        Self { items: 0, decoded_bytes: body.len(), is_odd: false }
    }

    fn count_item(&mut self) -> Result<(), Fault> {
        self.items += 1;
        if self.items > MAX_ITEMS { Err(Fault::TooMany) } else { Ok(()) }
    }

    fn add(&mut self, bytes: usize) -> Result<(), Fault> {
        self.decoded_bytes += bytes;
        if self.decoded_bytes > MAX_DECODED_BYTES { Err(Fault::TooLarge) } else { Ok(()) }
    }
}

pub(super) enum Fault {
    Malformed,
    TooDeep,
    TooMany,
    TooLarge,
}

/// An allocation of few bytes, or a text as an element of a list.
const TEXT_BYTES: usize = 32;

/// Well below the 100 of prost.
const MAX_DEPTH: u32 = 64;

/// The ids of one span, while it is read. As in every protobuf message, the last of several counts.
#[derive(Default)]
struct Ids<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
}

/// Walks over one message, and over those that it holds.
pub(super) fn message(shape: &Shape, mut rest: &[u8], depth: u32, seen: &mut Seen) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::TooDeep);
    }
    let mut ids = Ids::default();
    while !rest.is_empty() {
        let (number, wire_type) = key(&mut rest).ok_or(Fault::Malformed)?;
        let field = shape.fields.get(number as usize).copied().unwrap_or(Any);
        match (wire_type, field) {
            (0, Varint | Any) | (1, Fixed64 | Any) | (5, Fixed32 | Any) => {
                skip(&mut rest, number, wire_type, depth)?;
            }
            (2, Bytes | Text | Field::Message(_) | Any) => {
                let bytes = delimited(&mut rest).ok_or(Fault::Malformed)?;
                match field {
                    Text => {
                        check_text(bytes)?;
                        seen.add(TEXT_BYTES)?;
                    }
                    Field::Message(inner) => {
                        seen.add(inner.size)?;
                        message(inner, bytes, depth + 1, seen)?;
                    }
                    Bytes => seen.add(TEXT_BYTES)?,
                    _ => {}
                }
                if shape.role == Role::Span {
                    match number {
                        1 => ids.trace_id = bytes,
                        2 => ids.span_id = bytes,
                        4 => ids.parent_span_id = bytes,
                        _ => {}
                    }
                }
            }
            (3, Any) => {
                seen.is_odd = true;
                skip(&mut rest, number, wire_type, depth)?;
            }
            _ => return Err(Fault::Malformed),
        }
    }
    match shape.role {
        Role::Chunk => {}
        Role::Span => {
            seen.is_odd |= InvalidIds::check(ids.trace_id, ids.span_id, ids.parent_span_id).is_some();
            seen.count_item()?;
        }
        Role::LogRecord => seen.count_item()?,
    }
    Ok(())
}

/// Texts are short and ASCII, most of them.
#[inline]
fn check_text(bytes: &[u8]) -> Result<(), Fault> {
    if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() { Ok(()) } else { Err(Fault::Malformed) }
}

/// Goes past the value of a field; a group ends with its number.
fn skip(rest: &mut &[u8], number: u32, wire_type: u32, depth: u32) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::TooDeep);
    }
    let skipped = match wire_type {
        0 => varint(rest).map(drop),
        1 => take(rest, 8).map(drop),
        2 => delimited(rest).map(drop),
        3 => loop {
            match key(rest).ok_or(Fault::Malformed)? {
                (end, 4) if end == number => break Some(()),
                (_, 4) => break None,
                (inner, wire_type) => skip(rest, inner, wire_type, depth + 1)?,
            }
        },
        5 => take(rest, 4).map(drop),
        _ => None,
    };
    skipped.ok_or(Fault::Malformed)
}

/// The number and the wire type of a field.
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
    // Nearly every key and length is a single byte.
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
