//! The members of a log line, one below the other. Texts are shown as they are, without the escapes of JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::view::bounded::Allowance;

/// More members are counted.
const MAX_MEMBERS: usize = 200;

/// The members of deeper objects are shown as JSON.
const MAX_DEPTH: usize = 6;

/// The size of the elements around a member.
const MEMBER_BYTES: usize = 16;

/// The members, and whether they are all.
pub(super) struct LineText {
    pub(super) members: Vec<(String, String)>,
    allowance: Allowance,
    pub(super) is_cut: bool,
}

impl LineText {
    /// Reads an object. Anything else is one member without a name.
    pub(super) fn new(json: &str, max_bytes: usize) -> Self {
        let mut text = Self { members: Vec::new(), allowance: Allowance::new(max_bytes), is_cut: false };
        let mut raw = serde_json::Deserializer::from_str(json);
        match <&RawValue as serde::Deserialize>::deserialize(&mut raw) {
            Ok(value) => text.value("", value.get(), 0),
            Err(_) => text.add("", json),
        }
        text
    }

    fn add(&mut self, name: &str, value: &str) {
        if self.members.len() >= MAX_MEMBERS || !self.allowance.spend(MEMBER_BYTES) {
            self.is_cut = true;
            return;
        }
        let (name, has_name) = self.allowance.take(name, 512);
        let (value, is_all) = self.allowance.take(value, usize::MAX);
        self.is_cut |= !has_name || !is_all;
        self.members.push((name.to_owned(), format!("{value}{}", if is_all { "" } else { "…" })));
    }

    fn value(&mut self, name: &str, json: &str, depth: usize) {
        match json.as_bytes().first() {
            Some(b'"') => {
                let text: Result<Cow<'_, str>, _> = serde_json::from_str::<Text<'_>>(json).map(|text| text.0);
                self.add(name, text.as_deref().unwrap_or(json));
            }
            Some(b'{' | b'[') if depth < MAX_DEPTH && json.len() > 2 => {
                let mut deserializer = serde_json::Deserializer::from_str(json);
                // An error is the end of what is allowed.
                let _ = Nested { text: self, name, depth }.deserialize(&mut deserializer);
            }
            _ => self.add(name, json),
        }
    }
}

/// A text that is borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object, or the elements of an array.
struct Nested<'t, 'n> {
    text: &'t mut LineText,
    name: &'n str,
    depth: usize,
}

impl Nested<'_, '_> {
    /// Marks the text as cut if nothing more fits. Returns whether that is so.
    fn cut_if_full(&mut self) -> bool {
        let is_full = self.text.members.len() >= MAX_MEMBERS || self.text.allowance.left() == 0;
        self.text.is_cut |= is_full;
        is_full
    }
}

impl<'de> DeserializeSeed<'de> for Nested<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'de>>()? {
            if self.cut_if_full() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let (key, is_whole) = crate::view::bounded::start(&key.0, 256);
            self.text.is_cut |= !is_whole;
            let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
            self.text.value(&name, map.next_value::<&RawValue>()?.get(), self.depth + 1);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(value) = elements.next_element::<&RawValue>()? {
            if !self.cut_if_full() {
                self.text.value(&format!("{}[{index}]", self.name), value.get(), self.depth + 1);
            }
            index += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(json: &str, max_bytes: usize) -> (String, bool) {
        let text = LineText::new(json, max_bytes);
        let members = text.members.iter().map(|(name, value)| {
            if name.is_empty() { format!("{value}\n") } else { format!("{name}  {value}\n") }
        });
        (members.collect(), text.is_cut)
    }

    #[test]
    fn texts_have_no_escapes_and_objects_are_flat() {
        for (json, expected) in [
            (r#"{"message":"panic: a\n\tat b","n":1}"#, "message  panic: a\n\tat b\nn  1\n"),
            (
                r#"{"b":{"error":"x\ny","deep":{"z":null}},"a":[1,{"s":"\u00e4"}]}"#,
                "b.error  x\ny\nb.deep.z  null\na[0]  1\na[1].s  ä\n",
            ),
            (r#"{"e":{},"f":[]}"#, "e  {}\nf  []\n"),
            ("{}", "{}\n"),
            ("not JSON", "not JSON\n"),
            (r#"{"a":"<b>"}"#, "a  <b>\n"),
        ] {
            assert_eq!(rendered(json, 1000), (expected.to_owned(), false), "{json}");
        }
    }

    #[test]
    fn a_large_line_is_cut() {
        for json in [
            format!(r#"{{"a":"{}"}}"#, "<".repeat(100_000)),
            format!(r#"{{"a":{{{}"z":1}}}}"#, r#""b":1,"#.repeat(100_000)),
            format!(r#"{{"a":[{}1]}}"#, "1,".repeat(100_000)),
            format!(r#"{{"{}":1}}"#, "k".repeat(100_000)),
            format!("{}1{}", "[".repeat(120), "]".repeat(120)),
        ] {
            let (text, is_cut) = rendered(&json, 5000);
            assert!(text.len() < 8200, "{} bytes", text.len());
            assert!(is_cut || json.starts_with("[["), "{}", &json[..20]);
        }
    }
}
