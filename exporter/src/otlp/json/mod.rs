//! OTLP/JSON to protobuf, in one pass and without a tree of values, by the rules of ProtoJSON.
//!
//! ```text
//!  reader (tokens) ──► the type of each field (schema) ──► scalar ──► output (protobuf)
//! ```
//!
//! [`any`] reads a JSON object of any other program as attributes.
//!
//! Keys can be in lowerCamelCase or as in the definition of the message. Unknown keys are ignored, and `null` is the
//! default. A repeated key is read as a repeated field of protobuf: the last scalar counts, and lists are joined.
//!
//! A value that is invalid costs as little as possible ([`Field::can_be_left_out_of`]): its attribute, event, link, span
//! or log record is left out and counted.

pub(crate) mod any;
pub(crate) mod escape;
mod reader;
mod scalar;
#[cfg(test)]
mod tests;

pub(crate) use reader::{Reader, Token, check_bytes, escape_control_characters, text, text_bytes, unescaped};
pub(crate) use scalar::{boolean, double, integer};

use super::check::MAX_DEPTH;
use super::ids::check_reference;
use super::left_out::{LeftOut, Reason};
use super::output::{Open, Output};
use super::schema::{Field, Kind, MessageType, Role};
use super::signal::Signal;

/// Returns an upper limit for the length of a converted text of this length: every field is shorter in protobuf, except
/// negative numbers of one digit, such as `"kind":-1`.
pub(crate) const fn written_bytes(text_bytes: usize) -> usize {
    text_bytes + text_bytes / 8 + 64
}

/// Converts a request. It takes memory for [`written_bytes`].
///
/// # Errors
///
/// The text is not JSON, or not an object, or has none of the fields of a request.
pub(crate) fn to_protobuf(signal: Signal, text: &str) -> Result<(Vec<u8>, LeftOut), String> {
    let reader = Reader::with_non_numbers(text).map_err(|error| error.to_string())?;
    let mut converter = Converter { reader, output: Output::with_capacity(written_bytes(text.len())) };
    converter.request(signal.request_type())?;
    let Output { mut bytes, left_out, .. } = converter.output;
    bytes.shrink_to_fit();
    Ok((bytes, left_out))
}

struct Converter<'a> {
    reader: Reader<'a>,
    output: Output,
}

impl Converter<'_> {
    fn request(&mut self, request: &MessageType) -> Result<(), String> {
        if self.reader.token() != Token::Object {
            return Err("expected an object".to_owned());
        }
        let (mut is_empty, mut is_known) = (true, false);
        let mut open = Open::default();
        while let Some(key) = self.reader.key() {
            is_empty = false;
            match request.number(&key.word()) {
                Some(number) => {
                    is_known = true;
                    let result = self.field(request, &mut open, number, 0);
                    result.map_err(|reason| format!("{}: {}", key.word(), reason.as_str()))?;
                }
                None => self.reader.skip(),
            }
        }
        if is_empty || is_known {
            return Ok(());
        }
        let expected: Vec<_> = request.fields.iter().flat_map(Field::json_name).map(char::from).collect();
        Err(format!("the object has no {}", String::from_iter(expected)))
    }

    /// Converts a message. Its value is read to the end, even if it is invalid.
    fn message(&mut self, message: &MessageType, depth: u32) -> Result<(), Reason> {
        let token = self.reader.token();
        let is_too_deep = depth > MAX_DEPTH;
        let is_empty = match token {
            Token::Object if !is_too_deep => false,
            // An element of a list cannot be absent, so it is empty.
            Token::Null if message.role == Role::Value && !is_too_deep => return Ok(()),
            // PHP writes an empty object like an empty list.
            Token::Array if !is_too_deep && !self.reader.has_element() => true,
            token => {
                if matches!(token, Token::Object | Token::Array) {
                    self.reader.leave();
                }
                return Err(if is_too_deep { Reason::TooDeep } else { Reason::WrongType });
            }
        };
        let mut open = Open::default();
        let (mut has_unknown, mut has_list) = (false, false);
        let mut result = Ok(());
        let mut value = None;
        while !is_empty && let Some(key) = self.reader.key() {
            let number = message.number(&key.word());
            has_unknown |= number.is_none();
            has_list |= number.is_some_and(|number| message.field(number).has_items());
            match number {
                Some(number) if result.is_ok() && !self.reader.skip_null() => {
                    if message.role == Role::Value && value.replace(number).is_some_and(|old| old != number) {
                        result = Err(Reason::SeveralValues);
                        self.reader.skip();
                        continue;
                    }
                    result = self.field(message, &mut open, number, depth);
                }
                Some(_) if result.is_ok() => {}
                _ => self.reader.skip(),
            }
        }
        result?;
        // What the other names mean cannot be stored, and the sender does not notice that.
        if message.role == Role::Envelope && has_unknown && !has_list {
            return Err(Reason::UnknownFields);
        }
        self.output.complete(message, &open)
    }

    /// Converts a field, or all elements of one.
    fn field(&mut self, owner: &MessageType, open: &mut Open, number: u32, depth: u32) -> Result<(), Reason> {
        let field = owner.field(number);
        if !field.is_repeated {
            return self.value(owner, open, number, depth);
        }
        match self.reader.token() {
            Token::Array => {}
            Token::Null => return Ok(()),
            token => {
                if token == Token::Object {
                    if self.reader.key().is_none() {
                        // Lua writes an empty list like an empty object.
                        return Ok(());
                    }
                    self.reader.leave();
                }
                let costs_request = depth == 0;
                if costs_request {
                    return Err(Reason::WrongType);
                }
                return self.output.finish(None, (owner, open), field, Err(Reason::WrongType));
            }
        }
        let mut result = Ok(());
        while self.reader.has_element() {
            match result {
                Ok(()) => result = self.value(owner, open, number, depth),
                Err(_) => self.reader.skip(),
            }
        }
        result
    }

    fn value(&mut self, owner: &MessageType, open: &mut Open, number: u32, depth: u32) -> Result<(), Reason> {
        let field = owner.field(number);
        if let Kind::Message(inner) = field.kind {
            let start = self.output.start(number);
            let result = self.message(inner, depth + 1);
            return self.output.finish(Some(start), (owner, open), field, result);
        }
        let token = self.reader.token();
        if matches!(token, Token::Object | Token::Array) {
            self.reader.leave();
        }
        if matches!(field.kind, Kind::Text | Kind::Bytes | Kind::Id) {
            let start = self.output.start(number);
            let result = self.text(owner, open, number, &token);
            return self.output.finish(Some(start), (owner, open), field, result);
        }
        let result = self.scalar(owner, open, number, &token);
        self.output.finish(None, (owner, open), field, result)
    }

    /// Writes what a text stands for, without a copy of it.
    fn text(
        &mut self,
        owner: &MessageType,
        open: &mut Open,
        number: u32,
        token: &Token<'_>,
    ) -> Result<(), Reason> {
        let Token::Text(text) = token else { return Err(Reason::WrongType) };
        let out = &mut self.output.bytes;
        match owner.field(number).kind {
            Kind::Bytes => scalar::base64(*text, out),
            Kind::Id => {
                let from = out.len();
                scalar::hex(*text, out)?;
                let id = out.get(from..).unwrap_or_default();
                open.ids.record(owner.role, number, id);
                check_reference(owner.role, number, id)
            }
            _ => {
                text.for_each_part(|part| out.extend_from_slice(part.as_bytes()));
                Ok(())
            }
        }
    }

    fn scalar(
        &mut self,
        owner: &MessageType,
        open: &mut Open,
        number: u32,
        token: &Token<'_>,
    ) -> Result<(), Reason> {
        let out = &mut self.output;
        match owner.field(number).kind {
            Kind::Bool => out.varint(number, scalar::boolean(token)?.into()),
            Kind::Int32 => out.varint(number, sign_extended(scalar::integer::<i32>(token)?.into())),
            Kind::Int64 => out.varint(number, sign_extended(scalar::integer(token)?)),
            Kind::Enum(names) => out.varint(number, sign_extended(scalar::enum_value(token, names)?.into())),
            Kind::Uint32 => {
                let value = u64::from(scalar::integer::<u32>(token)?);
                open.record_count(owner, number, value);
                out.varint(number, value);
            }
            Kind::Fixed32 => out.fixed32(number, scalar::integer(token)?),
            Kind::Fixed64 => out.fixed64(number, scalar::integer(token)?),
            Kind::Double => out.fixed64(number, scalar::double(token)?.to_bits()),
            Kind::Text | Kind::Bytes | Kind::Id | Kind::Any | Kind::Message(_) => {}
        }
        Ok(())
    }
}

/// Returns the bits of a signed number, as protobuf encodes `int32`, `int64` and enums.
const fn sign_extended(number: i64) -> u64 {
    number.cast_unsigned()
}
