//! [`Reader`]: a cursor over a JSON text, which reads what other readers of JSON refuse.
//!
//! The halves of surrogate pairs in texts become U+FFFD, numbers stay text, and control characters in texts need no
//! escape.

use std::borrow::Cow;
use std::io;

use serde::de::IgnoredAny;

use super::escape;

/// A cursor over a text that is valid JSON, except for control characters in its texts.
///
/// Because the text is valid, commas and colons can be skipped like spaces.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// A value, or the start of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Raw<'a>),
    /// The members follow: read each with [`Reader::key`] and then its value.
    Object,
    /// The elements follow: [`Reader::has_element`] precedes each.
    Array,
}

/// A text as it is written, with its escapes. Removing them makes it no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw<'a>(&'a str);

/// A longer text with escapes is neither a known name nor a number.
const MAX_WORD_BYTES: usize = 1 << 10;

impl<'a> Raw<'a> {
    /// Returns the text without escapes, as a copy if it has some.
    pub(crate) fn text(self) -> Cow<'a, str> {
        if !self.0.contains('\\') {
            return Cow::Borrowed(self.0);
        }
        let mut text = String::with_capacity(self.0.len());
        self.for_each_part(|part| text.push_str(part));
        Cow::Owned(text)
    }

    /// Returns the text if it can be a name or a number, and else nothing. A copy of it is short.
    pub(crate) fn word(self) -> Cow<'a, str> {
        if self.0.len() > MAX_WORD_BYTES && self.0.contains('\\') { Cow::Borrowed("") } else { self.text() }
    }

    /// Calls `take` with each part of the text without escapes.
    pub(crate) fn for_each_part(self, mut take: impl FnMut(&str)) {
        let mut rest = self.0;
        while let Some((before, after)) = rest.split_once('\\') {
            take(before);
            let mut chars = after.chars();
            let escape = chars.next();
            rest = chars.as_str();
            let unescaped = match escape {
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => escaped_char(&mut rest),
                Some(other) => other,
                None => break,
            };
            take(unescaped.encode_utf8(&mut [0; 4]));
        }
        take(rest);
    }
}

/// Returns a JSON text without the escapes in its texts, to search in it.
pub(crate) fn unescaped(json: &str) -> Cow<'_, str> {
    Raw(json).text()
}

/// Returns an upper limit for the memory that [`Reader::new`] takes: it keeps a byte for each object and array around a
/// value, in a buffer that doubles.
pub(crate) fn check_bytes(body: &[u8]) -> usize {
    3 * body.iter().filter(|byte| matches!(**byte, b'{' | b'[')).count()
}

/// Returns the length of a body as text.
pub(crate) fn text_bytes(body: &[u8]) -> usize {
    let replacement =
        |invalid: &[u8]| if invalid.is_empty() { 0 } else { char::REPLACEMENT_CHARACTER.len_utf8() };
    body.utf8_chunks().map(|chunk| chunk.valid().len() + replacement(chunk.invalid())).sum()
}

/// Returns a body as text. Bytes that are not UTF-8 become U+FFFD, and a byte order mark is removed.
pub(crate) fn text(body: &[u8]) -> Cow<'_, str> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    if let Ok(text) = std::str::from_utf8(body) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(text_bytes(body));
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Cow::Owned(text)
}

impl<'a> Reader<'a> {
    /// Checks the syntax of the whole text, however deeply it is nested.
    pub(crate) fn new(text: &'a str) -> serde_json::Result<Self> {
        let checked = serde_json::from_str::<IgnoredAny>(text).or_else(|_| {
            // Zipkin and other readers of JSON accept control characters in texts. The error is that of the rest.
            serde_json::from_reader(Masked::new(text, false))
        });
        checked.map(|_| Self { text, at: 0 })
    }

    /// As [`Self::new`], but `NaN`, `Infinity` and `-Infinity` are numbers, as Python writes them. Other words that begin
    /// like these are read as numbers as well, and are none.
    pub(crate) fn with_non_numbers(text: &'a str) -> serde_json::Result<Self> {
        Self::new(text).or_else(|error| {
            let checked = serde_json::from_reader::<_, IgnoredAny>(Masked::new(text, true));
            checked.map(|_| Self { text, at: 0 }).map_err(|_| error)
        })
    }

    /// Reads a scalar, or enters an object or an array.
    pub(crate) fn token(&mut self) -> Token<'a> {
        match self.peek() {
            Some(b'"') => Token::Text(self.string()),
            Some(b'{') => {
                self.at += 1;
                Token::Object
            }
            Some(b'[') => {
                self.at += 1;
                Token::Array
            }
            _ => match self.word() {
                "" | "null" => Token::Null,
                "true" => Token::Bool(true),
                "false" => Token::Bool(false),
                number => Token::Number(number),
            },
        }
    }

    /// Returns true and skips it if the next value is `null`.
    pub(crate) fn skip_null(&mut self) -> bool {
        let is_null = self.peek() == Some(b'n');
        if is_null {
            self.word();
        }
        is_null
    }

    /// Returns the next key of the object that was entered last, or leaves the object.
    pub(crate) fn key(&mut self) -> Option<Raw<'a>> {
        self.has_element().then(|| self.string())
    }

    /// Returns true if the array that was entered last has another element, or leaves the array.
    pub(crate) fn has_element(&mut self) -> bool {
        match self.peek() {
            None => false,
            Some(b']' | b'}') => {
                self.at += 1;
                false
            }
            Some(_) => true,
        }
    }

    /// Returns the number of bytes that were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Skips a value.
    pub(crate) fn skip(&mut self) {
        if matches!(self.token(), Token::Object | Token::Array) {
            self.leave();
        }
    }

    /// Skips the rest of the object or the array that was entered last.
    pub(crate) fn leave(&mut self) {
        let mut depth = 1u32;
        while depth > 0 {
            match self.peek() {
                None => return,
                Some(b'"') => drop(self.string()),
                Some(b'{' | b'[') => {
                    self.at += 1;
                    depth += 1;
                }
                Some(b'}' | b']') => {
                    self.at += 1;
                    depth -= 1;
                }
                Some(_) => drop(self.word()),
            }
        }
    }

    /// Returns the first byte of the next value.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let skipped =
            rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b':'))?;
        self.at += skipped;
        rest.get(skipped).copied()
    }

    /// Reads a number or a literal.
    fn word(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_in_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.bytes().position(|byte| !is_in_word(byte)).unwrap_or(rest.len());
        // The text is valid, so a word has at least one byte; but never stand still.
        self.at += length.max(1);
        rest.get(..length).unwrap_or_default()
    }

    /// Returns what is between the quotes.
    fn string(&mut self) -> Raw<'a> {
        if self.peek() != Some(b'"') {
            self.at += 1;
            return Raw("");
        }
        let start = self.at + 1;
        let mut bytes = self.text.bytes().enumerate().skip(start);
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'\\' => drop(bytes.next()),
                b'"' => {
                    self.at = at + 1;
                    return Raw(self.text.get(start..at).unwrap_or_default());
                }
                _ => {}
            }
        }
        self.at = self.text.len();
        Raw("")
    }
}

/// A JSON text with spaces in place of the control characters in its texts, and digits in place of words such as `NaN`.
struct Masked<'a> {
    rest: &'a [u8],
    place: Place,
    masks_words: bool,
    is_in_word: bool,
}

impl<'a> Masked<'a> {
    const fn new(text: &'a str, masks_words: bool) -> Self {
        Self { rest: text.as_bytes(), place: Place::Outside, masks_words, is_in_word: false }
    }
}

/// Where a byte of JSON is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    InText,
    AfterBackslash,
}

impl Place {
    /// Returns the place after a byte.
    const fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Outside | Self::AfterBackslash, b'"') | (Self::AfterBackslash, _) => Self::InText,
            (Self::InText, b'"') => Self::Outside,
            (Self::InText, b'\\') => Self::AfterBackslash,
            (place, _) => place,
        }
    }
}

impl io::Read for Masked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.rest.len().min(buffer.len());
        let (now, rest) = self.rest.split_at(length);
        for (from, to) in now.iter().zip(buffer) {
            let is_word = matches!(from, b'N' | b'I') || (self.is_in_word && from.is_ascii_alphabetic());
            self.is_in_word = self.masks_words && self.place == Place::Outside && is_word;
            *to = match self.place {
                Place::InText if from.is_ascii_control() => b' ',
                _ if self.is_in_word => b'1',
                _ => *from,
            };
            self.place = self.place.after(*from);
        }
        self.rest = rest;
        Ok(length)
    }
}

/// Escapes the control characters in the texts of JSON.
pub(crate) fn escape_control_characters(json: &str) -> Cow<'_, str> {
    if !json.contains(|char: char| char.is_ascii_control()) {
        return Cow::Borrowed(json);
    }
    let (mut escaped, mut place) = (String::with_capacity(json.len() + 64), Place::Outside);
    for char in json.chars() {
        if place == Place::InText && char < ' ' {
            escaped.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            escaped.push(char);
        }
        // No byte of a longer character is one of ASCII.
        place = place.after(u8::try_from(char).unwrap_or(b'.'));
    }
    Cow::Owned(escaped)
}

/// Reads the rest of the escape `\u` at the start of a text.
fn escaped_char(rest: &mut &str) -> char {
    let (unescaped, length) = escape::unicode(rest).unwrap_or((char::REPLACEMENT_CHARACTER, 0));
    *rest = rest.get(length..).unwrap_or_default();
    unescaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Builds the value as `serde_json` does.
    fn value(reader: &mut Reader<'_>) -> Value {
        match reader.token() {
            Token::Null => Value::Null,
            Token::Bool(boolean) => boolean.into(),
            Token::Number(number) => serde_json::from_str(number).unwrap(),
            Token::Text(text) => text.text().into(),
            Token::Array => {
                let mut values = Vec::new();
                while reader.has_element() {
                    values.push(value(reader));
                }
                values.into()
            }
            Token::Object => {
                let mut members = serde_json::Map::new();
                while let Some(key) = reader.key() {
                    let value = value(reader);
                    members.insert(key.text().into_owned(), value);
                }
                members.into()
            }
        }
    }

    #[test]
    fn values_are_read_as_by_serde_json() {
        for text in [
            "null",
            " [ ] ",
            "{}",
            r#"[1,-2.5e+3,true,false,null,"",{"a":[{}],"b\n":"x"},[[],[1]]]"#,
            r#"{"a" : "\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00", "é:,{[":"}],"}"#,
        ] {
            let mut reader = Reader::new(text).unwrap();
            assert_eq!(value(&mut reader), serde_json::from_str::<Value>(text).unwrap(), "{text}");
            assert_eq!(reader.peek(), None);
            let wrapped = format!("[{text},7]");
            let mut reader = Reader::new(&wrapped).unwrap();
            assert_eq!(reader.token(), Token::Array);
            reader.skip();
            assert_eq!(reader.token(), Token::Number("7"), "{text} is skipped");
        }
        for text in ["", "[", "{\"a\"}", "[1 2]", "\"\\x\"", "\"\\\n\"", "\u{1}1", "01", "nul", "[1],"] {
            assert!(Reader::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        for (escaped, expected) in [
            (r"cut \ud83d", "cut \u{fffd}"),
            (r"\ude00 cut", "\u{fffd} cut"),
            (r"\ud83dx", "\u{fffd}x"),
            (r"\ud83d\n", "\u{fffd}\n"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (r"\uDE00\uD83D", "\u{fffd}\u{fffd}"),
            (r"\\ud83d", "\\ud83d"),
        ] {
            let text = format!("{{\"{escaped}\":\"{escaped}\"}}");
            let mut reader = Reader::new(&text).unwrap();
            assert_eq!(reader.token(), Token::Object);
            assert_eq!(reader.key().unwrap().text(), expected);
            let Token::Text(text) = reader.token() else { panic!("a text") };
            assert_eq!((text.text(), text.word()), (expected.into(), expected.into()));
        }
    }

    #[test]
    fn words_of_python_are_numbers() {
        let text = r#"{"a":[NaN,-Infinity , Infinity],"NaN":"Infinity","b":null,"c":false}"#;
        assert!(Reader::new(text).is_err());
        let mut reader = Reader::with_non_numbers(text).unwrap();
        assert_eq!(reader.token(), Token::Object);
        assert_eq!(reader.key().unwrap().text(), "a");
        assert_eq!(reader.token(), Token::Array);
        for word in ["NaN", "-Infinity", "Infinity"] {
            assert!(reader.has_element());
            assert_eq!(reader.token(), Token::Number(word));
        }
        assert!(!reader.has_element());
        assert_eq!(reader.key().unwrap().text(), "NaN");
        let Token::Text(value) = reader.token() else { panic!("a text") };
        assert_eq!(value.text(), "Infinity");
        for wrong in ["{\"a\":nan}", "{\"a\":NaN", "[undefined]"] {
            let error = Reader::with_non_numbers(wrong).err().unwrap().to_string();
            assert_eq!(error, Reader::new(wrong).err().unwrap().to_string());
        }
    }

    #[test]
    fn control_characters_in_texts_need_no_escape() {
        let text = "{\"a\tb\":\"\u{1b}[1m\n\\\"é\u{7f}\u{0}\",\n\t\"c\":[1]}";
        let mut reader = Reader::new(text).unwrap();
        assert_eq!(reader.token(), Token::Object);
        assert_eq!(reader.key().unwrap().text(), "a\tb");
        let Token::Text(value) = reader.token() else { panic!("a text") };
        assert_eq!(value.text(), "\u{1b}[1m\n\"é\u{7f}\u{0}");
        assert_eq!(reader.key().unwrap().text(), "c");
        let error = Reader::new("{\"a\":\"\t\",]").err().unwrap().to_string();
        assert!(error.starts_with("key must be a string"), "{error}");
        let escaped = escape_control_characters(text);
        let value: Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(value, serde_json::json!({ "a\tb": "\u{1b}[1m\n\"é\u{7f}\u{0}", "c": [1] }));
        assert!(matches!(escape_control_characters("{\"a\":\"é\"}"), Cow::Borrowed(_)));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        assert_eq!(text(b"\xef\xbb\xbf\"a\xff\""), "\"a\u{fffd}\"");
    }

    #[test]
    fn deep_nesting_is_skipped() {
        let text = format!("[{}{},1]", "[".repeat(100_000), "]".repeat(100_000));
        let mut reader = Reader::new(&text).unwrap();
        assert_eq!(reader.token(), Token::Array);
        reader.skip();
        assert_eq!(reader.token(), Token::Number("1"));
    }
}
