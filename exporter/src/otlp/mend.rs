//! Writing a protobuf request again, without the parts that make it invalid.
//!
//! Text that is not UTF-8 gets U+FFFD in place of the invalid bytes. Any other error costs as little as possible, as
//! in JSON ([`super::json`]). Known messages are only nested and copied, never decoded.

use super::check::{MAX_DECODED_BYTES, MAX_DEPTH};
use super::left_out::{LeftOut, Reason};
use super::output::{Open, Output};
use super::schema::{Kind, MessageType};
use super::signal::Signal;
use super::wire::{Value, read_field};

/// Writes a request again.
///
/// The result is at most three times as long, because U+FFFD has three bytes, and at most about
/// [`MAX_DECODED_BYTES`] long.
///
/// # Errors
///
/// The outermost message is malformed, or has none of the fields of a request, or the result is too long.
pub(crate) fn mend(signal: Signal, body: &[u8]) -> Result<(Vec<u8>, LeftOut), Reason> {
    let mut mender = Mender { output: Output::with_capacity(body.len()), is_full: false };
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
            if self.output.bytes.len() > MAX_DECODED_BYTES {
                self.is_full = true;
                return Err(Reason::OutOfRange);
            }
            let (number, value) = read_field(&mut rest)?;
            let field = message.field(number);
            // Without its known fields, a request with unknown ones would not be one.
            if depth == 0 && matches!(field.kind, Kind::Any) {
                continue;
            }
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
                self.output.delimited(number, String::from_utf8_lossy(bytes).as_bytes());
            }
            Value::Bytes(bytes) => {
                open.ids.record(owner.role, number, bytes);
                self.output.delimited(number, bytes);
            }
            // A group has no known field.
            Value::Group => {}
        }
        Ok(())
    }
}
