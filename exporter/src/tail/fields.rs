//! The members of a JSON object that a log line is read for. The others are checked and skipped, so that a line takes
//! no more memory than its text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::otlp::json::escape;

/// The value of a member that is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Field {
    Text(String),
    Number(u64),
    /// An object with `seconds` and `nanos`.
    Time(Box<(Field, Field)>),
    Other,
}

impl Field {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a number, which can be written as a text.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// The members with these names, in their order. Of members with the same name, the last counts.
#[derive(Debug)]
pub(super) struct Fields<const N: usize> {
    names: &'static [&'static str; N],
    values: [Field; N],
}

impl<const N: usize> Fields<N> {
    /// Reads a JSON object.
    pub(super) fn read(names: &'static [&'static str; N], text: &str) -> serde_json::Result<Self> {
        let mut fields = Self { names, values: [const { Field::Other }; N] };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(&mut fields)?;
        deserializer.end()?;
        Ok(fields)
    }

    pub(super) fn get(&self, name: &str) -> &Field {
        let index = self.names.iter().position(|known| *known == name);
        index.and_then(|index| self.values.get(index)).unwrap_or(&Field::Other)
    }

    /// Returns the first of these members that can be read.
    pub(super) fn first<'a, T>(&'a self, names: &[&str], read: impl Fn(&'a str) -> Option<T>) -> Option<T> {
        names.iter().find_map(|name| read(self.get(name).text()?))
    }
}

impl<'de, const N: usize> Visitor<'de> for &mut Fields<N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match self
                .names
                .iter()
                .position(|known| *known == name)
                .and_then(|index| self.values.get_mut(index))
            {
                Some(value) => *value = map.next_value()?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A name, borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor { is_member: false })
    }
}

/// A member of a [`Field::Time`].
struct Part(Field);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor { is_member: true }).map(Part)
    }
}

struct FieldVisitor {
    is_member: bool,
}

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Field, E> {
        Ok(Field::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field, E> {
        Ok(Field::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        let (mut seconds, mut nanos) = (Field::Other, Field::Number(0));
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                "seconds" if !self.is_member => seconds = map.next_value::<Part>()?.0,
                "nanos" if !self.is_member => nanos = map.next_value::<Part>()?.0,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(if self.is_member { Field::Other } else { Field::Time(Box::new((seconds, nanos))) })
    }
}

/// Replaces escapes of half a surrogate pair, which is no character, by U+FFFD. Node writes them for a text that was
/// cut inside a pair.
pub(super) fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    let mut replaced = String::new();
    let (mut done, mut from) = (0, 0);
    while let Some(at) = text.get(from..).and_then(|rest| rest.find('\\')).map(|at| from + at) {
        let after = text.get(at + 1..).unwrap_or_default();
        match after.strip_prefix('u').map(escape::unicode) {
            Some(Some((char::REPLACEMENT_CHARACTER, length))) => {
                replaced.push_str(text.get(done..at).unwrap_or_default());
                replaced.push_str("\\ufffd");
                from = at + 2 + length;
                done = from;
            }
            Some(Some((_, length))) => from = at + 2 + length,
            // Another escape, of two characters.
            _ => from = at + 1 + after.chars().next().map_or(0, char::len_utf8),
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        for (text, expected) in [
            (r"", r""),
            (r"\", r"\"),
            (r"\u", r"\u"),
            (r"\ud83", r"\ud83"),
            (r"\é\ud83d", r"\é\ufffd"),
            (r"cut \ud83d", r"cut \ufffd"),
            (r"cut \uD83Dé", r"cut \ufffdé"),
            (r"\ud83d\ude00", r"\ud83d\ude00"),
            (r"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00"),
            (r"\ude00\ud83d", r"\ufffd\ufffd"),
            (r"\ud83d\n\ude00", r"\ufffd\n\ufffd"),
            (r"\ud83d \ude00 \u0041", r"\ufffd \ufffd \u0041"),
            (r"\\ud83d", r"\\ud83d"),
            (r"\\\ud83d", r"\\\ufffd"),
            (r"\u005cud83d", r"\u005cud83d"),
        ] {
            assert_eq!(replace_lone_surrogates(text), expected, "{text}");
        }
    }
}
