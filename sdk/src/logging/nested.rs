//! [`Nested`]: a JSON value with others in it, within bounds.

use logtracer_core::line::{MAX_NAME_BYTES, MAX_TEXT_BYTES, Value, render_value};

use super::field_value::write_text;

/// The maximum number of arrays and objects inside one another.
const MAX_DEPTH: usize = 16;

/// The maximum number of items of all arrays and objects together.
const MAX_ITEMS: usize = 1024;

/// The bytes that an item needs at least, besides its name: the longest number, or a short text.
const MIN_ITEM_BYTES: usize = 64;

/// What takes the place of a value that exceeds a bound, and of its name.
const CUT: &str = "…";

/// A value that was written by [`Nested`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rendered {
    /// A plain text, without quotes and without a bound.
    Text(String),
    /// Everything else, as JSON.
    Json(String),
}

impl Rendered {
    pub(super) fn as_value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Str(text),
            Self::Json(json) => Value::Json(json),
        }
    }
}

/// A writer of one JSON value of at most 16 KiB. It stays valid where it is cut: `[1,2,"…"]`.
#[derive(Debug)]
pub(super) struct Nested {
    /// The value, if it is a text.
    text: Option<String>,
    out: Vec<u8>,
    /// The ends of the open arrays and objects.
    ends: Vec<u8>,
    /// The number of open newtypes, which have no text of their own.
    newtypes: usize,
    items: usize,
    is_full: bool,
}

impl Nested {
    pub(super) fn new() -> Self {
        Self { text: None, out: Vec::new(), ends: Vec::new(), newtypes: 0, items: 0, is_full: false }
    }

    /// Writes a value that has no others in it.
    pub(super) fn scalar(&mut self, value: Value<'_>) {
        if self.ends.is_empty() && matches!(value, Value::Str(_) | Value::Fmt(_)) {
            let mut text = String::new();
            // The caller's `Display` may fail; the text before the failure stays.
            let _ = write_text(&mut text, value);
            self.text = Some(text);
            return;
        }
        let max_bytes = self.free_bytes();
        render_value(&mut self.out, value, max_bytes);
    }

    /// Writes a number in the shortest form that this type needs: `9.99`, and not `9.989999771118164`.
    #[cfg_attr(
        not(any(feature = "log-serde", all(tracing_unstable, feature = "valuable"))),
        allow(dead_code)
    )]
    pub(super) fn f32(&mut self, value: f32) {
        self.scalar(Value::F64(value.to_string().parse().unwrap_or(value.into())));
    }

    /// Begins a value that has one other value in it and is written as this one. Returns false if it is too deep.
    #[cfg_attr(not(all(tracing_unstable, feature = "valuable")), allow(dead_code))]
    pub(super) fn begin_newtype(&mut self) -> bool {
        let is_allowed = self.has_depth();
        if is_allowed {
            self.newtypes += 1;
        } else {
            self.scalar(Value::Str(CUT));
        }
        is_allowed
    }

    #[cfg_attr(not(all(tracing_unstable, feature = "valuable")), allow(dead_code))]
    pub(super) fn end_newtype(&mut self) {
        self.newtypes = self.newtypes.saturating_sub(1);
    }

    /// Begins an array. Returns false if it cannot have items, because it is too deep.
    pub(super) fn begin_array(&mut self) -> bool {
        self.begin(b'[', b']')
    }

    /// Begins an object. Returns false if it cannot have members, because it is too deep.
    pub(super) fn begin_object(&mut self) -> bool {
        self.begin(b'{', b'}')
    }

    fn begin(&mut self, start: u8, end: u8) -> bool {
        let is_allowed = self.has_depth();
        if is_allowed {
            self.out.push(start);
            self.ends.push(end);
        } else {
            self.scalar(Value::Str(CUT));
        }
        is_allowed
    }

    /// Ends the array or object that began last.
    pub(super) fn end(&mut self) {
        self.out.extend(self.ends.pop());
    }

    /// Begins an item of an array. Returns false if there is no space for this item and those after it.
    pub(super) fn item(&mut self) -> bool {
        if self.take_item(0) {
            self.comma();
            return true;
        }
        if !std::mem::replace(&mut self.is_full, true) {
            self.comma();
            self.scalar(Value::Str(CUT));
        }
        false
    }

    /// Begins a member of an object. Returns false if there is no space for this member and those after it.
    pub(super) fn member(&mut self, name: &str) -> bool {
        let has_space = self.take_item(name.len().min(MAX_NAME_BYTES) * 6);
        let is_written = has_space || !self.is_full;
        if is_written {
            self.comma();
            render_value(&mut self.out, Value::Str(if has_space { name } else { CUT }), MAX_NAME_BYTES);
            self.out.push(b':');
        }
        if is_written && !has_space {
            self.scalar(Value::Str(CUT));
            self.is_full = true;
        }
        has_space
    }

    /// Returns the value. It ends what is open; `"…"` takes the place of a value that began and failed.
    pub(super) fn finish(mut self) -> Rendered {
        if let Some(text) = self.text {
            return Rendered::Text(text);
        }
        if matches!(self.out.last(), Some(b':' | b',')) {
            self.scalar(Value::Str(CUT));
        }
        while !self.ends.is_empty() {
            self.end();
        }
        Rendered::Json(String::from_utf8(self.out).unwrap_or_default())
    }

    fn has_depth(&self) -> bool {
        self.ends.len() + self.newtypes < MAX_DEPTH
    }

    /// Counts an item. Returns whether there is room for it and its name.
    fn take_item(&mut self, name_bytes: usize) -> bool {
        self.items += 1;
        !self.is_full && self.items <= MAX_ITEMS && self.free_bytes() >= MIN_ITEM_BYTES + name_bytes
    }

    fn free_bytes(&self) -> usize {
        // What is open takes a byte each, and what is cut some.
        (MAX_TEXT_BYTES - MAX_DEPTH - MIN_ITEM_BYTES).saturating_sub(self.out.len())
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), Some(b'[' | b'{')) {
            self.out.push(b',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn json_of(nested: Nested) -> String {
        match nested.finish() {
            Rendered::Json(json) => json,
            text @ Rendered::Text(_) => panic!("{text:?}"),
        }
    }

    #[test]
    fn a_text_has_no_quotes() {
        let mut nested = Nested::new();
        nested.scalar(Value::Str("a \"quote\""));
        assert_eq!(nested.finish(), Rendered::Text("a \"quote\"".to_owned()));
    }

    #[test]
    fn a_value_that_failed_is_cut() {
        let cut = |write: &dyn Fn(&mut Nested)| {
            let mut nested = Nested::new();
            write(&mut nested);
            json_of(nested)
        };
        assert_eq!(cut(&|it| assert!(it.begin_object() && it.member("file"))), r#"{"file":"…"}"#);
        let second_item = |it: &mut Nested| {
            it.begin_array();
            it.item();
            it.scalar(Value::U64(1));
            it.item();
        };
        assert_eq!(cut(&second_item), r#"[1,"…"]"#);
        let in_a_member = |it: &mut Nested| {
            it.begin_object();
            it.member("list");
            second_item(it);
        };
        assert_eq!(cut(&in_a_member), r#"{"list":[1,"…"]}"#);
        assert_eq!(cut(&|it| assert!(it.begin_array() && it.item())), "[]");
    }

    #[test]
    fn what_exceeds_a_bound_is_cut_and_stays_valid() {
        let mut many = Nested::new();
        assert!(many.begin_array());
        let written = (0..10_000).take_while(|number| {
            let has_space = many.item();
            if has_space {
                many.scalar(Value::U64(*number));
            }
            has_space
        });
        assert_eq!(written.count(), MAX_ITEMS);
        assert!(json_of(many).ends_with(r#",1022,1023,"…"]"#));

        let mut deep = Nested::new();
        let depth = (0..100).take_while(|_| deep.begin_object() && deep.member("in")).count();
        assert_eq!(depth, MAX_DEPTH);
        assert_eq!(json_of(deep), format!("{}\"…\"{}", r#"{"in":"#.repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH)));

        let mut long = Nested::new();
        long.begin_object();
        let text = "\u{1}".repeat(1000);
        let written = (0..100).filter(|number| {
            let has_space = long.member(&format!("member {number}"));
            if has_space {
                long.scalar(Value::Str(&text));
            }
            has_space
        });
        assert_eq!(written.count(), 3);
        let json = json_of(long);
        assert!(json.ends_with(r#"…","…":"…"}"#) && json.len() <= MAX_TEXT_BYTES, "{}", json.len());
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }
}
