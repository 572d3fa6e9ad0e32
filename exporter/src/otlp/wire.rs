//! The wire format of protobuf.

use super::check::MAX_DEPTH;
use super::left_out::Reason;
use super::schema::Kind;

/// The value of a field.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    Group,
}

impl Value<'_> {
    /// Returns true if a field of this kind has this wire type.
    #[inline]
    pub(super) const fn is_of(self, kind: Kind) -> bool {
        use Kind::{
            Any, Bool, Bytes, Double, Enum, Fixed32, Fixed64, Id, Int32, Int64, Message, Text, Uint32,
        };
        match self {
            Self::Varint(_) => matches!(kind, Bool | Int32 | Int64 | Uint32 | Enum(_) | Any),
            Self::Fixed64(_) => matches!(kind, Fixed64 | Double | Any),
            Self::Fixed32(_) => matches!(kind, Fixed32 | Any),
            Self::Bytes(_) => matches!(kind, Text | Bytes | Id | Message(_) | Any),
            Self::Group => matches!(kind, Any),
        }
    }
}

/// Reads a field: its number and its value. Inlined, because all of the exporter reads spans with it.
#[inline(always)]
pub(crate) fn read_field<'a>(rest: &mut &'a [u8]) -> Result<(u32, Value<'a>), Reason> {
    let (number, wire_type) = key(rest).ok_or(Reason::Malformed)?;
    let value = if wire_type == 3 {
        skip_group(rest, number, 1)?;
        Some(Value::Group)
    } else {
        value(rest, wire_type)
    };
    Ok((number, value.ok_or(Reason::Malformed)?))
}

#[inline(always)]
fn value<'a>(rest: &mut &'a [u8], wire_type: u32) -> Option<Value<'a>> {
    match wire_type {
        0 => varint(rest).map(Value::Varint),
        1 => take(rest, 8)?.try_into().ok().map(|bytes| Value::Fixed64(u64::from_le_bytes(bytes))),
        2 => delimited(rest).map(Value::Bytes),
        5 => take(rest, 4)?.try_into().ok().map(|bytes| Value::Fixed32(u32::from_le_bytes(bytes))),
        _ => None,
    }
}

/// Skips a group, which ends with an end tag of the same number.
fn skip_group(rest: &mut &[u8], number: u32, depth: u32) -> Result<(), Reason> {
    if depth > MAX_DEPTH {
        return Err(Reason::TooDeep);
    }
    loop {
        match key(rest).ok_or(Reason::Malformed)? {
            (end, 4) if end == number => return Ok(()),
            (inner, 3) => skip_group(rest, inner, depth + 1)?,
            (_, wire_type) => drop(value(rest, wire_type).ok_or(Reason::Malformed)?),
        }
    }
}

/// Reads the number and the wire type of a field.
#[inline(always)]
fn key(rest: &mut &[u8]) -> Option<(u32, u32)> {
    let key = u32::try_from(varint(rest)?).ok()?;
    if key >> 3 == 0 { None } else { Some((key >> 3, key & 7)) }
}

#[inline(always)]
fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    take(rest, length)
}

#[inline(always)]
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

#[cold]
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

#[inline(always)]
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}
