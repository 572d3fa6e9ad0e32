//! Messages that occur twice in a field that is not a list, and values with two, as protobuf merges them
//! (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
//!
//! Every reader of stored requests can then take a field where it finds it.

use super::check::MAX_DECODED_BYTES;
use super::left_out::Reason;
use super::output::Output;
use super::schema::{Kind, MessageType, Role};
use super::signal::Signal;
use super::wire::{Value, read_field};

/// The maximum number of parts of messages that are merged in one request. No client sends more.
const MAX_PARTS: usize = 1 << 15;

/// Returns how much memory [`merge`] takes for a valid body.
pub(crate) fn merged_bytes(body: &[u8]) -> usize {
    (body.len() + MAX_PARTS * size_of::<&[u8]>() + 64).min(MAX_DECODED_BYTES)
}

/// Writes a valid request with each field once that is not a list.
///
/// # Errors
///
/// Fails if there are too many parts.
pub(crate) fn merge(signal: Signal, body: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut merger = Merger { output: Output::with_capacity(body.len()), parts: 0 };
    merger.message(signal.request_type(), &[body])?;
    Ok(merger.output.bytes)
}

struct Merger {
    output: Output,
    parts: usize,
}

/// The fields of a message that is in several parts: what follows the beginning of the last one is the same message.
fn fields<'a>(parts: &[&'a [u8]]) -> impl Iterator<Item = (u32, Value<'a>, &'a [u8])> {
    parts.iter().flat_map(|part| {
        let mut rest = *part;
        std::iter::from_fn(move || {
            let before = rest;
            // The body is valid, so the end is the only error.
            let (number, value) = read_field(&mut rest).ok()?;
            Some((number, value, before.get(..before.len() - rest.len())?))
        })
    })
}

impl Merger {
    fn message(&mut self, message: &MessageType, parts: &[&[u8]]) -> Result<(), Reason> {
        let counts = Counts::new(message, parts);
        let mut seen = [0_usize; FIELDS];
        for (number, value, bytes) in fields(parts) {
            let field = message.field(number);
            let is_list = field.is_repeated || matches!(field.kind, Kind::Any);
            if !is_list && let Some(seen) = seen.get_mut(number as usize) {
                *seen += 1;
                if *seen < counts.all(number) || counts.is_replaced(number) {
                    continue;
                }
            }
            let (Value::Bytes(body), Kind::Message(inner)) = (value, field.kind) else {
                self.output.bytes.extend_from_slice(bytes);
                continue;
            };
            let start = self.output.start(number);
            if is_list || counts.merged(number) == 1 {
                self.message(inner, &[body])?;
            } else {
                let skipped = counts.all(number) - counts.merged(number);
                let parts = self.parts_of(parts, number, skipped)?;
                self.message(inner, &parts)?;
            }
            self.output.close(start);
        }
        Ok(())
    }

    /// Returns the messages in a field, without the first ones.
    fn parts_of<'a>(
        &mut self,
        parts: &[&'a [u8]],
        number: u32,
        skipped: usize,
    ) -> Result<Vec<&'a [u8]>, Reason> {
        let mut found = Vec::new();
        for (_, value, _) in fields(parts).filter(|(other, ..)| *other == number).skip(skipped) {
            let Value::Bytes(body) = value else { continue };
            self.parts += 1;
            if self.parts > MAX_PARTS {
                return Err(Reason::OutOfRange);
            }
            found.push(body);
        }
        Ok(found)
    }
}

/// No known field has a greater number.
const FIELDS: usize = 32;

/// How often the fields of a message occur that are not lists.
struct Counts {
    /// By number.
    all: [usize; FIELDS],
    /// Of a value: its last field, and how often it occurs after another one.
    last: Option<(u32, usize)>,
}

impl Counts {
    fn new(message: &MessageType, parts: &[&[u8]]) -> Self {
        let mut counts = Self { all: [0; FIELDS], last: None };
        for (number, ..) in fields(parts) {
            let field = message.field(number);
            if field.is_repeated || matches!(field.kind, Kind::Any) {
                continue;
            }
            if let Some(count) = counts.all.get_mut(number as usize) {
                *count += 1;
            }
            if message.role == Role::Value {
                let count = counts.last.filter(|(last, _)| *last == number).map_or(0, |(_, count)| count);
                counts.last = Some((number, count + 1));
            }
        }
        counts
    }

    fn all(&self, number: u32) -> usize {
        self.all.get(number as usize).copied().unwrap_or(0)
    }

    /// Returns how many occurrences of a message become one. Another field of a value removes those before it.
    fn merged(&self, number: u32) -> usize {
        match self.last {
            Some((last, count)) if last == number => count,
            _ => self.all(number),
        }
    }

    /// Returns whether a later field of a value takes the place of this one.
    fn is_replaced(&self, number: u32) -> bool {
        self.last.is_some_and(|(last, _)| last != number)
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
