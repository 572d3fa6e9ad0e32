//! Attributes and their values, as JSON and as text.

use std::io;

use serde::ser::{Serialize, Serializer};

use super::super::check::MAX_DEPTH;
use super::super::text::{Base64, not_finite};
use super::{Fields, Value, low_i32, messages, text};

/// A list of attributes, which is serialized as a JSON object.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    message: &'a [u8],
    number: u32,
    depth: u32,
}

impl<'a> Attributes<'a> {
    /// Returns the attributes in this field of a message.
    pub(super) const fn new(message: &'a [u8], number: u32) -> Self {
        Self { message, number, depth: 0 }
    }

    /// Returns the attributes without reading their values.
    pub(crate) fn refs(self) -> impl Iterator<Item = Attribute<'a>> {
        messages(self.message, self.number).map(Attribute::new)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, AnyRef<'a>)> {
        messages(self.message, self.number).map(move |body| key_value(body, self.depth))
    }

    /// Returns whether a key or a value passes, see [`AnyRef::has_text`].
    pub(crate) fn has_text(self, max_bytes: usize, is_match: impl Fn(&str) -> bool) -> bool {
        self.iter().any(|(key, value)| is_match(key) || value.has_text(max_bytes, &is_match))
    }
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

fn key_value(body: &[u8], depth: u32) -> (&str, AnyRef<'_>) {
    let attribute = Attribute::new(body);
    (text(attribute.key), AnyRef::new_or_null(bytes_of(body, 2), depth + 1))
}

/// An attribute, of which the key is compared before the value is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attribute<'a> {
    pub(crate) key: &'a [u8],
    body: &'a [u8],
}

impl<'a> Attribute<'a> {
    // As `read_field`: this reads each attribute of each span that arrives.
    #[inline(always)]
    pub(super) fn new(body: &'a [u8]) -> Self {
        let key = match first_key(body) {
            Some(key) => key,
            None => bytes_of(body, 1).unwrap_or_default(),
        };
        Self { key, body }
    }

    /// Returns the stored bytes. Attributes with the same bytes are equal.
    pub(crate) const fn body(&self) -> &'a [u8] {
        self.body
    }

    pub(crate) fn value(&self) -> AnyRef<'a> {
        AnyRef::new_or_null(bytes_of(self.body, 2), 1)
    }
}

/// Returns the key if it comes first and is short, as nearly all keys are. There is no second one: the check of the
/// receiver finds it, and the request is merged.
#[inline(always)]
fn first_key(body: &[u8]) -> Option<&[u8]> {
    const KEY: u8 = 1 << 3 | 2;
    match body {
        [KEY, length @ 0..0x80, rest @ ..] => rest.get(..usize::from(*length)),
        _ => None,
    }
}

/// Returns the last field with this number.
fn bytes_of(body: &[u8], number: u32) -> Option<&[u8]> {
    messages(body, number).last()
}

/// An `AnyValue`, which is serialized as [`super::any_value::Json`] is.
#[derive(Clone, Copy, Default)]
pub(crate) enum AnyRef<'a> {
    #[default]
    Null,
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(Elements<'a>),
    Object(Attributes<'a>),
    Bytes(&'a [u8]),
}

/// The elements of an `ArrayValue`.
#[derive(Clone, Copy)]
pub(crate) struct Elements<'a> {
    message: &'a [u8],
    depth: u32,
}

impl<'a> Elements<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = AnyRef<'a>> {
        messages(self.message, 1).map(move |body| AnyRef::new(body, self.depth + 1))
    }
}

impl<'a> AnyRef<'a> {
    fn new_or_null(body: Option<&'a [u8]>, depth: u32) -> Self {
        body.map_or(Self::Null, |body| Self::new(body, depth))
    }

    pub(super) fn new(body: &'a [u8], depth: u32) -> Self {
        let mut found = Self::Null;
        for field in Fields(body) {
            found = match field {
                (1, Value::Bytes(bytes)) => Self::Text(text(bytes)),
                (2, Value::Varint(boolean)) => Self::Bool(boolean != 0),
                (3, Value::Varint(number)) => Self::Int(number.cast_signed()),
                (4, Value::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
                (5 | 6, _) if depth > MAX_DEPTH => Self::Null,
                (5, Value::Bytes(message)) => Self::Array(Elements { message, depth }),
                (6, Value::Bytes(message)) => Self::Object(Attributes { message, number: 1, depth }),
                (7, Value::Bytes(bytes)) => Self::Bytes(bytes),
                (8, Value::Varint(index)) => Self::Int(low_i32(index).into()),
                _ => found,
            };
        }
        found
    }

    /// Returns a string without quotes, and anything else as JSON: at most this many bytes of it, and whether that is all.
    pub(crate) fn text_within(&self, max_bytes: usize) -> (String, bool) {
        if let Self::Text(whole) = self {
            let start = text(whole.as_bytes().get(..max_bytes).unwrap_or(whole.as_bytes()));
            return (start.to_owned(), start.len() == whole.len());
        }
        let mut out = Limited { bytes: Vec::new(), max_bytes };
        let result = match self {
            Self::Null => Ok(()),
            Self::Double(number) if !number.is_finite() => {
                io::Write::write_all(&mut out, not_finite(*number).as_bytes())
            }
            Self::Bytes(bytes) => io::Write::write_fmt(&mut out, format_args!("{}", Base64(bytes))),
            value => serde_json::to_writer(&mut out, value).map_err(io::Error::from),
        };
        (text(&out.bytes).to_owned(), result.is_ok())
    }

    /// Returns whether a string, or the JSON of another value up to this many bytes, passes.
    pub(crate) fn has_text(&self, max_bytes: usize, is_match: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Text(text) => is_match(text),
            value => is_match(&value.text_within(max_bytes).0),
        }
    }

    /// Returns the value as JSON, unless it has more bytes.
    pub(crate) fn json_within(&self, max_bytes: usize) -> Option<String> {
        let mut out = Limited { bytes: Vec::new(), max_bytes };
        serde_json::to_writer(&mut out, self).ok()?;
        String::from_utf8(out.bytes).ok()
    }
}

/// A buffer for at most this many bytes. More is an error.
struct Limited {
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let free = self.max_bytes.saturating_sub(self.bytes.len());
        let taken = bytes.get(..free.min(bytes.len())).unwrap_or_default();
        self.bytes.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Serialize for AnyRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bool(boolean) => serializer.serialize_bool(*boolean),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Double(number) if number.is_finite() => serializer.serialize_f64(*number),
            Self::Double(number) => serializer.serialize_str(not_finite(*number)),
            Self::Array(elements) => serializer.collect_seq(elements.iter()),
            Self::Object(attributes) => attributes.serialize(serializer),
            Self::Bytes(bytes) => serializer.collect_str(&Base64(bytes)),
        }
    }
}
