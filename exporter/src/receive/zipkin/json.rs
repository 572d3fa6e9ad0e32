//! Converting Zipkin v2 spans in JSON to OTLP, one span at a time.
//!
//! Values are read as Zipkin's own reader does (`V2SpanReader` and `Span.Builder` of openzipkin/zipkin): numbers can be
//! texts and texts numbers, ids can be short, a negative time is absent. An invalid span is left out and counted.

use std::borrow::Cow;

use super::groups::Groups;
use super::scalar::{address, micros, port, text};
use super::span::{Endpoint, ZipkinSpan};
use crate::otlp::check::MAX_ITEMS;
use crate::otlp::json::{self, Reader, Token};
use crate::otlp::left_out::{LeftOut, Reason};

/// The reason why a whole list is rejected.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::receive) enum ConvertError {
    /// The body is not a list in JSON.
    Malformed(String),
    TooManySpans,
    TooLarge,
}

/// Returns the memory that [`convert`] usually takes for a text of this length: the spans as protobuf, twice while they
/// are grouped, and what is known of each.
pub(in crate::receive) const fn usual_bytes(text_bytes: usize) -> usize {
    6 * text_bytes + (256 << 10)
}

/// Converts a list of spans. `now` is the time of a span that has none, in nanoseconds since 1970.
///
/// # Errors
///
/// Fails also if it would take more than `max_bytes` of memory.
pub(in crate::receive) fn convert(
    text: &str,
    now: u64,
    max_bytes: usize,
) -> Result<(Vec<u8>, LeftOut), ConvertError> {
    let reader =
        Reader::with_non_numbers(text).map_err(|error| ConvertError::Malformed(error.to_string()))?;
    let mut converter = Converter { reader, left_out: LeftOut::default(), max_bytes, start: 0, parts: 0 };
    if converter.reader.token() != Token::Array {
        return Err(ConvertError::Malformed("expected a list of spans".to_owned()));
    }
    let mut groups = Groups::default();
    let mut spans = 0;
    while converter.reader.has_element() {
        spans += 1;
        if spans > MAX_ITEMS {
            return Err(ConvertError::TooManySpans);
        }
        converter.start_span(max_bytes.saturating_sub(groups.bytes()));
        let converted = converter.span()?.and_then(|span| groups.push(span, now));
        if let Err(reason) = converted {
            converter.left_out.count_item(reason);
        }
    }
    if groups.bytes() > max_bytes {
        return Err(ConvertError::TooLarge);
    }
    Ok((groups.into_request(), converter.left_out))
}

struct Converter<'a> {
    reader: Reader<'a>,
    left_out: LeftOut,
    /// The memory for the current span.
    max_bytes: usize,
    /// Where the current span starts in the text, and the number of its tags and annotations.
    start: usize,
    parts: usize,
}

impl<'a> Converter<'a> {
    fn start_span(&mut self, max_bytes: usize) {
        (self.max_bytes, self.start, self.parts) = (max_bytes, self.reader.position(), 0);
    }

    /// Reads a span to its end. The outer error is that of the whole list.
    fn span(&mut self) -> Result<Result<ZipkinSpan<'a>, Reason>, ConvertError> {
        match self.reader.token() {
            Token::Object => {}
            token => {
                if token == Token::Array {
                    self.reader.leave();
                }
                return Ok(Err(Reason::WrongType));
            }
        }
        let mut span = ZipkinSpan::default();
        while let Some(key) = self.reader.key() {
            match key.word().as_ref() {
                "traceId" => span.trace_id = self.text(),
                "id" => span.id = self.text(),
                "parentId" => span.parent_id = self.text(),
                "name" => span.name = self.text(),
                "kind" => span.kind = self.text(),
                "timestamp" => span.timestamp = self.micros(),
                "duration" => span.duration = self.micros(),
                "localEndpoint" => span.local = self.endpoint(&mut span.dropped_attributes),
                "remoteEndpoint" => span.remote = self.endpoint(&mut span.dropped_attributes),
                "annotations" => self.annotations(&mut span)?,
                "tags" => self.tags(&mut span)?,
                "shared" => span.is_shared = self.boolean(),
                // Read as v2, it would lose most of its content. Zipkin rejects such a list, too.
                "binaryAnnotations" => {
                    let reason =
                        "it has \"binaryAnnotations\", so its spans are those of Zipkin v1: send Zipkin v2";
                    return Err(ConvertError::Malformed(reason.to_owned()));
                }
                _ => self.reader.skip(),
            }
        }
        self.check_size()?;
        Ok(Ok(span))
    }

    fn tags(&mut self, span: &mut ZipkinSpan<'a>) -> Result<(), ConvertError> {
        match self.enter(&Token::Object) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(reason) => {
                self.leave_out(&mut span.dropped_attributes, reason);
                return Ok(());
            }
        }
        while let Some(key) = self.reader.key() {
            match self.scalar(text) {
                Ok(Some(value)) => {
                    self.parts += 1;
                    self.check_size()?;
                    span.tags.insert(key.text(), value);
                }
                // A tag without a value is not an attribute.
                Ok(None) => self.leave_out(&mut span.dropped_attributes, Reason::WrongType),
                Err(reason) => self.leave_out(&mut span.dropped_attributes, reason),
            }
        }
        Ok(())
    }

    fn annotations(&mut self, span: &mut ZipkinSpan<'a>) -> Result<(), ConvertError> {
        match self.enter(&Token::Array) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(reason) => {
                self.leave_out(&mut span.dropped_events, reason);
                return Ok(());
            }
        }
        while self.reader.has_element() {
            match self.annotation() {
                Ok(annotation) => {
                    self.parts += 1;
                    self.check_size()?;
                    span.annotations.push(annotation);
                }
                Err(reason) => self.leave_out(&mut span.dropped_events, reason),
            }
        }
        Ok(())
    }

    /// Reads an annotation to its end.
    fn annotation(&mut self) -> Result<(u64, Cow<'a, str>), Reason> {
        if !self.enter(&Token::Object)? {
            return Err(Reason::Malformed);
        }
        let (mut timestamp, mut value) = (Ok(None), Ok(None));
        while let Some(key) = self.reader.key() {
            match key.word().as_ref() {
                "timestamp" => timestamp = self.scalar(micros),
                "value" => value = self.scalar(text),
                _ => self.reader.skip(),
            }
        }
        timestamp?.flatten().zip(value?).ok_or(Reason::Malformed)
    }

    fn endpoint(&mut self, dropped: &mut u32) -> Endpoint<'a> {
        let mut endpoint = Endpoint::default();
        match self.enter(&Token::Object) {
            Ok(true) => {}
            Ok(false) => return endpoint,
            Err(reason) => {
                self.leave_out(dropped, reason);
                return endpoint;
            }
        }
        while let Some(key) = self.reader.key() {
            let key = key.word();
            let result = match key.as_ref() {
                "serviceName" => self.scalar(text).map(|name| {
                    endpoint.service_name = name.filter(|name| !name.is_empty());
                }),
                "ipv4" => self.scalar(address).map(|address| endpoint.ipv4 = address.flatten()),
                "ipv6" => self.scalar(address).map(|address| endpoint.ipv6 = address.flatten()),
                "port" => self.scalar(port).map(|port| endpoint.port = port.flatten()),
                _ => {
                    self.reader.skip();
                    Ok(())
                }
            };
            if let Err(reason) = result {
                self.leave_out(dropped, reason);
            }
        }
        endpoint
    }

    /// Enters an object or an array, and returns false for `null`, or for an empty one of the other kind, which PHP and
    /// Lua write. Any other value is skipped.
    fn enter(&mut self, expected: &Token<'_>) -> Result<bool, Reason> {
        let token = self.reader.token();
        if token == *expected {
            return Ok(true);
        }
        let is_empty = match token {
            Token::Null => return Ok(false),
            Token::Array => !self.reader.has_element(),
            Token::Object => self.reader.key().is_none(),
            _ => return Err(Reason::WrongType),
        };
        if is_empty {
            return Ok(false);
        }
        self.reader.leave();
        Err(Reason::WrongType)
    }

    /// Counts a part of the current span that is left out, also in the span.
    fn leave_out(&mut self, dropped: &mut u32, reason: Reason) {
        *dropped = dropped.saturating_add(1);
        self.left_out.count_part(reason);
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.field(text)
    }

    fn micros(&mut self) -> Option<u64> {
        self.field(micros).flatten()
    }

    fn boolean(&mut self) -> bool {
        self.field(|token| json::boolean(&token)).unwrap_or(false)
    }

    /// Reads a field of a span. An invalid one is absent, and counted.
    fn field<T>(&mut self, read: impl FnOnce(Token<'a>) -> Result<T, Reason>) -> Option<T> {
        self.scalar(read).unwrap_or_else(|reason| {
            self.left_out.count_part(reason);
            None
        })
    }

    /// Reads a scalar, or nothing for `null`. A value of another type is skipped.
    fn scalar<T>(&mut self, read: impl FnOnce(Token<'a>) -> Result<T, Reason>) -> Result<Option<T>, Reason> {
        match self.reader.token() {
            Token::Null => Ok(None),
            Token::Object | Token::Array => {
                self.reader.leave();
                Err(Reason::WrongType)
            }
            token => read(token).map(Some),
        }
    }

    /// Fails if the current span takes too much memory.
    fn check_size(&self) -> Result<(), ConvertError> {
        /// A tag or an annotation in its list, and as an attribute or an event of OTLP.
        const PART_BYTES: usize = 320;
        /// Each text without its escapes, as a part of OTLP, and as protobuf.
        const COPIES: usize = 4;
        /// Attributes that are derived, such as addresses.
        const DERIVED_BYTES: usize = 2 << 10;
        let text_bytes = self.reader.position().saturating_sub(self.start);
        let bytes = PART_BYTES * self.parts + COPIES * text_bytes + DERIVED_BYTES;
        if bytes > self.max_bytes { Err(ConvertError::TooLarge) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
