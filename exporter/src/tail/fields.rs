//! The members of a JSON object that a log line is read for. The others are checked and skipped, so that a line takes
//! no more memory than its text.

use std::borrow::Cow;

use crate::otlp::json::{Reader, Token, escape, integer};

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
    /// Reads a member to its end.
    fn read(reader: &mut Reader<'_>) -> Self {
        let token = reader.token();
        if token != Token::Object {
            return Self::scalar(reader, token);
        }
        let (mut seconds, mut nanos) = (Self::Other, Self::Number(0));
        while let Some(key) = reader.key() {
            match &*key.word() {
                "seconds" => seconds = Self::next_scalar(reader),
                "nanos" => nanos = Self::next_scalar(reader),
                _ => reader.skip(),
            }
        }
        Self::Time(Box::new((seconds, nanos)))
    }

    fn next_scalar(reader: &mut Reader<'_>) -> Self {
        let token = reader.token();
        Self::scalar(reader, token)
    }

    /// Reads the rest of a value that is a text or a number, or neither.
    fn scalar(reader: &mut Reader<'_>, token: Token<'_>) -> Self {
        match token {
            Token::Text(text) => Self::Text(text.text().into_owned()),
            token @ Token::Number(_) => integer(&token).map_or(Self::Other, Self::Number),
            Token::Object | Token::Array => {
                reader.leave();
                Self::Other
            }
            Token::Null | Token::Bool(_) => Self::Other,
        }
    }

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
    /// Reads a JSON object. Returns `None` if the text is not one.
    pub(super) fn read(names: &'static [&'static str; N], text: &str) -> Option<Self> {
        let mut fields = Self { names, values: [const { Field::Other }; N] };
        let mut reader = Reader::new(text).ok()?;
        if reader.token() != Token::Object {
            return None;
        }
        while let Some(key) = reader.key() {
            let key = key.word();
            let index = names.iter().position(|known| *known == key);
            match index.and_then(|index| fields.values.get_mut(index)) {
                Some(value) => *value = Field::read(&mut reader),
                None => reader.skip(),
            }
        }
        Some(fields)
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

/// Replaces escapes of half a surrogate pair, which is not a character, by U+FFFD. Node writes them for a text that was
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

/// Writes `NaN`, `Infinity` and `-Infinity` as texts. Python writes them for such numbers, and they are not JSON.
pub(super) fn quote_non_numbers(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
    let mut quoted = String::new();
    let (mut done, mut at, mut is_in_text) = (0, 0, false);
    while let Some(byte) = text.as_bytes().get(at) {
        at += match byte {
            b'\\' => 2,
            b'"' => {
                is_in_text = !is_in_text;
                1
            }
            b'N' | b'I' | b'-' if !is_in_text => {
                let rest = text.get(at..).unwrap_or_default();
                match WORDS.iter().find(|word| rest.starts_with(**word)) {
                    Some(word) => {
                        quoted.push_str(text.get(done..at).unwrap_or_default());
                        quoted.extend(["\"", word, "\""]);
                        done = at + word.len();
                        word.len()
                    }
                    None => 1,
                }
            }
            _ => 1,
        };
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    quoted.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_python_that_are_not_json_are_quoted() {
        for (text, expected) in [
            (
                r#"{"a":NaN,"b":[-Infinity, Infinity],"c":-1}"#,
                r#"{"a":"NaN","b":["-Infinity", "Infinity"],"c":-1}"#,
            ),
            (r#"{"a":"NaN \" Infinity","ä":NaN}"#, r#"{"a":"NaN \" Infinity","ä":"NaN"}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r"\", r"\"),
        ] {
            assert_eq!(quote_non_numbers(text), expected);
        }
    }

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
