//! Converting Zipkin v2 spans in JSON to OTLP, one span at a time.
//!
//! Values are read as Zipkin's own reader does (`V2SpanReader` and `Span.Builder` of openzipkin/zipkin): numbers can be
//! texts and texts numbers, ids can be short, a negative time is absent. An invalid span is left out and counted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::groups::Groups;
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
    let reader = Reader::new(text).map_err(|error| ConvertError::Malformed(error.to_string()))?;
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
                "localEndpoint" => span.local = self.endpoint(),
                "remoteEndpoint" => span.remote = self.endpoint(),
                "annotations" => self.annotations(&mut span)?,
                "tags" => self.tags(&mut span.tags)?,
                "shared" => span.is_shared = self.boolean(),
                _ => self.reader.skip(),
            }
        }
        self.check_size()?;
        Ok(Ok(span))
    }

    fn tags(&mut self, tags: &mut BTreeMap<Cow<'a, str>, Cow<'a, str>>) -> Result<(), ConvertError> {
        if !self.enter(&Token::Object) {
            return Ok(());
        }
        while let Some(key) = self.reader.key() {
            if let Some(value) = self.text() {
                self.parts += 1;
                self.check_size()?;
                tags.insert(key.text(), value);
            }
        }
        Ok(())
    }

    fn annotations(&mut self, span: &mut ZipkinSpan<'a>) -> Result<(), ConvertError> {
        if !self.enter(&Token::Array) {
            return Ok(());
        }
        while self.reader.has_element() {
            let (mut timestamp, mut value) = (None, None);
            if self.enter(&Token::Object) {
                while let Some(key) = self.reader.key() {
                    match key.word().as_ref() {
                        "timestamp" => timestamp = self.micros(),
                        "value" => value = self.text(),
                        _ => self.reader.skip(),
                    }
                }
            }
            match (timestamp, value) {
                (Some(timestamp), Some(value)) => {
                    self.parts += 1;
                    self.check_size()?;
                    span.annotations.push((timestamp, value));
                }
                _ => self.left_out.count_part(Reason::Malformed),
            }
        }
        Ok(())
    }

    fn endpoint(&mut self) -> Endpoint<'a> {
        let mut endpoint = Endpoint::default();
        if self.enter(&Token::Object) {
            while let Some(key) = self.reader.key() {
                match key.word().as_ref() {
                    "serviceName" => endpoint.service_name = self.text().filter(|name| !name.is_empty()),
                    "ipv4" => endpoint.ipv4 = self.text().filter(|ip| !ip.is_empty()),
                    "ipv6" => endpoint.ipv6 = self.text().filter(|ip| !ip.is_empty()),
                    "port" => endpoint.port = self.port(),
                    _ => self.reader.skip(),
                }
            }
        }
        endpoint
    }

    /// Enters an object or an array. Any other value is skipped, and counted unless it is `null`.
    fn enter(&mut self, expected: &Token<'_>) -> bool {
        let token = self.reader.token();
        if token == *expected {
            return true;
        }
        if matches!(token, Token::Object | Token::Array) {
            self.reader.leave();
        }
        if token != Token::Null {
            self.left_out.count_part(Reason::WrongType);
        }
        false
    }

    /// Reads a text, or the text of a number or a boolean.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.scalar(|token| match token {
            Token::Text(text) => Ok(text.text()),
            Token::Number(number) => Ok(number.into()),
            Token::Bool(boolean) => Ok(if boolean { "true" } else { "false" }.into()),
            _ => Err(Reason::WrongType),
        })
    }

    /// Reads a number of microseconds. A number that is not positive is absent, and a fraction is cut off.
    fn micros(&mut self) -> Option<u64> {
        let micros = self.scalar(|token| match json::integer::<i128>(&token) {
            Err(_) => json::double(&token).map(|number| number as i128),
            integer => integer,
        })?;
        (micros > 0).then(|| u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn port(&mut self) -> Option<u16> {
        let port = self.scalar(|token| match json::integer::<i64>(&token)? {
            port @ 0..=65_535 => Ok(port),
            port if port < 0 => Ok(0),
            _ => Err(Reason::OutOfRange),
        })?;
        u16::try_from(port).ok().filter(|port| *port > 0)
    }

    fn boolean(&mut self) -> bool {
        self.scalar(|token| json::boolean(&token)).unwrap_or(false)
    }

    /// Reads a scalar. A value of another type is skipped, and counted unless it is `null`.
    fn scalar<T>(&mut self, read: impl FnOnce(Token<'a>) -> Result<T, Reason>) -> Option<T> {
        let result = match self.reader.token() {
            Token::Null => return None,
            Token::Object | Token::Array => {
                self.reader.leave();
                Err(Reason::WrongType)
            }
            token => read(token),
        };
        result.map_err(|reason| self.left_out.count_part(reason)).ok()
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
