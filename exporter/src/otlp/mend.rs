//! Writing a protobuf request again, without the parts that make it invalid.
//!
//! Text that is not UTF-8 gets U+FFFD in place of the invalid bytes. Any other error costs as little as possible, as
//! in JSON ([`super::json`]). Known messages are only nested and copied, never decoded.

use super::check::{MAX_DECODED_BYTES, MAX_DEPTH};
use super::ids::check_reference;
use super::json::text_bytes;
use super::left_out::{LeftOut, Reason};
use super::output::{Open, Output};
use super::schema::{Kind, MessageType};
use super::signal::Signal;
use super::wire::{Value, read_field};

/// Returns an upper limit for the length of a mended body. Each byte that is not UTF-8 can become U+FFFD, of three
/// bytes, and a number of elements that were left out can be longer than the element.
pub(crate) fn written_bytes(body: &[u8]) -> usize {
    let replaced = body.iter().filter(|byte| !byte.is_ascii()).count();
    (body.len() + body.len() / 2 + 2 * replaced + 64).min(MAX_DECODED_BYTES)
}

/// Writes a request again. It takes memory for [`written_bytes`].
///
/// # Errors
///
/// The outermost message is malformed, or has none of the fields of a request, or the result is too long.
pub(crate) fn mend(signal: Signal, body: &[u8]) -> Result<(Vec<u8>, LeftOut), Reason> {
    let mut mender = Mender { output: Output::with_capacity(written_bytes(body)), is_full: false };
    let result = mender.message(signal.request_type(), body, 0);
    if mender.is_full {
        return Err(Reason::OutOfRange);
    }
    result?;
    let Output { mut bytes, left_out, .. } = mender.output;
    if !body.is_empty() && !has_resources(body) {
        return Err(Reason::Malformed);
    }
    bytes.shrink_to_fit();
    Ok((bytes, left_out))
}

/// Returns true if the field 1 is in the message.
fn has_resources(mut body: &[u8]) -> bool {
    std::iter::from_fn(|| read_field(&mut body).ok()).any(|(number, _)| number == 1)
}

const REPLACEMENT: &str = "\u{fffd}";

struct Mender {
    output: Output,
    /// True if the result is too long.
    is_full: bool,
}

impl Mender {
    fn message(&mut self, message: &MessageType, mut rest: &[u8], depth: u32) -> Result<(), Reason> {
        if depth > MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        let mut open = Open::default();
        while !rest.is_empty() {
            let (number, value) = read_field(&mut rest)?;
            let field = message.field(number);
            // Without its known fields, a request with unknown ones would not be one.
            if depth == 0 && matches!(field.kind, Kind::Any) {
                continue;
            }
            self.reserve(match (value, field.kind) {
                (Value::Bytes(bytes), Kind::Text) => text_bytes(bytes),
                (Value::Bytes(bytes), Kind::Bytes | Kind::Id | Kind::Any) => bytes.len(),
                _ => 0,
            })?;
            let (start, result) = match (value, field.kind) {
                (Value::Bytes(bytes), Kind::Message(inner)) => {
                    let start = self.output.start(number);
                    (Some(start), self.message(inner, bytes, depth + 1))
                }
                (value, kind) => (None, self.scalar(number, value, kind, message, &mut open)),
            };
            self.output.finish(start, (message, &mut open), field, result)?;
        }
        self.output.complete(message, &open)
    }

    /// Fails if the result becomes too long.
    fn reserve(&mut self, bytes: usize) -> Result<(), Reason> {
        /// Keys, lengths and numbers that are written around it.
        const MARGIN: usize = 1 << 10;
        self.is_full |= self.output.bytes.len() + bytes + MARGIN > MAX_DECODED_BYTES;
        if self.is_full { Err(Reason::OutOfRange) } else { Ok(()) }
    }

    fn scalar(
        &mut self,
        number: u32,
        value: Value<'_>,
        kind: Kind,
        owner: &MessageType,
        open: &mut Open,
    ) -> Result<(), Reason> {
        if !value.is_of(kind) {
            return Err(Reason::Malformed);
        }
        match value {
            Value::Varint(value) => {
                open.record_count(owner, number, value);
                self.output.varint(number, value);
            }
            Value::Fixed64(value) => self.output.fixed64(number, value),
            Value::Fixed32(value) => self.output.fixed32(number, value),
            Value::Bytes(bytes) if matches!(kind, Kind::Text) => {
                let start = self.output.start(number);
                for chunk in bytes.utf8_chunks() {
                    self.output.bytes.extend_from_slice(chunk.valid().as_bytes());
                    if !chunk.invalid().is_empty() {
                        self.output.bytes.extend_from_slice(REPLACEMENT.as_bytes());
                    }
                }
                self.output.close(start);
            }
            Value::Bytes(bytes) => {
                check_reference(owner.role, number, bytes)?;
                open.ids.record(owner.role, number, bytes);
                self.output.delimited(number, bytes);
            }
            // A group has no known field.
            Value::Group => {}
        }
        Ok(())
    }
}
