//! Key-values of `log` with a structure (`:serde`, `:sval`), as JSON.

use std::fmt::{self, Display};

use log::kv;
use logtracer_core::line::{MAX_NAME_BYTES, Value};
use serde_core::ser::{self, Serialize, Serializer};

use super::field_value::write_bounded_text;
use super::nested::{Nested, Rendered};

/// Returns a value as what it serializes to: a text, such as that of a newtype, or JSON within bounds.
pub(super) fn render(value: &kv::Value<'_>) -> Rendered {
    let mut nested = Nested::new();
    // A value that fails, or that is too long, ends there.
    let _ = value.serialize(Json(&mut nested));
    match nested.finish() {
        Rendered::Json(json) if json.is_empty() => Rendered::Json("null".to_owned()),
        rendered => rendered,
    }
}

/// The bounds are reached, or the value failed.
#[derive(Debug)]
struct Stopped;

impl Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value is cut")
    }
}

impl std::error::Error for Stopped {}

impl ser::Error for Stopped {
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

/// A serializer of one value.
struct Json<'n>(&'n mut Nested);

impl Json<'_> {
    fn scalar(self, value: Value<'_>) -> Result<(), Stopped> {
        self.0.scalar(value);
        Ok(())
    }
}

impl<'n> Json<'n> {
    fn array(self) -> Result<Items<'n>, Stopped> {
        let is_open = self.0.begin_array();
        Ok(Items { nested: self.0, is_open, levels: 1 })
    }

    fn object(self) -> Result<Items<'n>, Stopped> {
        let is_open = self.0.begin_object();
        Ok(Items { nested: self.0, is_open, levels: 1 })
    }

    /// Begins `{"variant":`, and what is in it.
    fn variant(
        self,
        name: &'static str,
        begin: impl FnOnce(&mut Nested) -> bool,
    ) -> Result<Items<'n>, Stopped> {
        if !self.0.begin_object() {
            return Ok(Items { nested: self.0, is_open: false, levels: 0 });
        }
        require(self.0.member(name))?;
        if begin(self.0) {
            return Ok(Items { nested: self.0, is_open: true, levels: 2 });
        }
        self.0.end();
        Ok(Items { nested: self.0, is_open: false, levels: 0 })
    }
}

fn require(has_space: bool) -> Result<(), Stopped> {
    has_space.then_some(()).ok_or(Stopped)
}

impl<'n> Serializer for Json<'n> {
    type Ok = ();
    type Error = Stopped;
    type SerializeSeq = Items<'n>;
    type SerializeTuple = Items<'n>;
    type SerializeTupleStruct = Items<'n>;
    type SerializeTupleVariant = Items<'n>;
    type SerializeMap = Items<'n>;
    type SerializeStruct = Items<'n>;
    type SerializeStructVariant = Items<'n>;

    fn serialize_bool(self, value: bool) -> Result<(), Stopped> {
        self.scalar(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<(), Stopped> {
        self.scalar(Value::I64(value.into()))
    }

    fn serialize_i16(self, value: i16) -> Result<(), Stopped> {
        self.scalar(Value::I64(value.into()))
    }

    fn serialize_i32(self, value: i32) -> Result<(), Stopped> {
        self.scalar(Value::I64(value.into()))
    }

    fn serialize_i64(self, value: i64) -> Result<(), Stopped> {
        self.scalar(Value::I64(value))
    }

    fn serialize_i128(self, value: i128) -> Result<(), Stopped> {
        self.scalar(Value::I128(value))
    }

    fn serialize_u8(self, value: u8) -> Result<(), Stopped> {
        self.scalar(Value::U64(value.into()))
    }

    fn serialize_u16(self, value: u16) -> Result<(), Stopped> {
        self.scalar(Value::U64(value.into()))
    }

    fn serialize_u32(self, value: u32) -> Result<(), Stopped> {
        self.scalar(Value::U64(value.into()))
    }

    fn serialize_u64(self, value: u64) -> Result<(), Stopped> {
        self.scalar(Value::U64(value))
    }

    fn serialize_u128(self, value: u128) -> Result<(), Stopped> {
        self.scalar(Value::U128(value))
    }

    fn serialize_f32(self, value: f32) -> Result<(), Stopped> {
        self.0.f32(value);
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Stopped> {
        self.scalar(Value::F64(value))
    }

    fn serialize_char(self, value: char) -> Result<(), Stopped> {
        self.scalar(Value::Fmt(format_args!("{value}")))
    }

    fn serialize_str(self, value: &str) -> Result<(), Stopped> {
        self.scalar(Value::Str(value))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Stopped> {
        self.scalar(Value::Fmt(format_args!("{value}")))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Stopped> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Stopped> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stopped> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Stopped> {
        self.scalar(Value::Json("null"))
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Stopped> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Stopped> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Stopped> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Stopped> {
        let mut object = self.object()?;
        object.add_member(variant, value)?;
        object.finish()
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Items<'n>, Stopped> {
        self.array()
    }

    fn serialize_tuple(self, _len: usize) -> Result<Items<'n>, Stopped> {
        self.array()
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Items<'n>, Stopped> {
        self.array()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Items<'n>, Stopped> {
        self.variant(variant, Nested::begin_array)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Items<'n>, Stopped> {
        self.object()
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Items<'n>, Stopped> {
        self.object()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Items<'n>, Stopped> {
        self.variant(variant, Nested::begin_object)
    }
}

/// The items of an array, or the members of an object.
struct Items<'n> {
    nested: &'n mut Nested,
    /// False if it is too deep to have any.
    is_open: bool,
    /// How many arrays and objects end with it.
    levels: u8,
}

impl Items<'_> {
    fn add_item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stopped> {
        if !self.is_open {
            return Ok(());
        }
        require(self.nested.item())?;
        value.serialize(Json(self.nested))
    }

    fn add_member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Stopped> {
        if !self.is_open {
            return Ok(());
        }
        require(self.nested.member(name))?;
        value.serialize(Json(self.nested))
    }

    fn finish(self) -> Result<(), Stopped> {
        if self.is_open {
            (0..self.levels).for_each(|_| self.nested.end());
        }
        Ok(())
    }
}

macro_rules! items {
    ($($of:ident $add:ident),*) => {$(
        impl ser::$of for Items<'_> {
            type Ok = ();
            type Error = Stopped;

            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stopped> {
                self.add_item(value)
            }

            fn end(self) -> Result<(), Stopped> {
                self.finish()
            }
        }
    )*};
}
items!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

macro_rules! members {
    ($($of:ident),*) => {$(
        impl ser::$of for Items<'_> {
            type Ok = ();
            type Error = Stopped;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Stopped> {
                self.add_member(name, value)
            }

            fn end(self) -> Result<(), Stopped> {
                self.finish()
            }
        }
    )*};
}
members!(SerializeStruct, SerializeStructVariant);

/// The text of a key. JSON has no others, and what has a structure is empty.
struct Key<'k, T: ?Sized>(&'k T);

impl<T: Serialize + ?Sized> Display for Key<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

impl ser::SerializeMap for Items<'_> {
    type Ok = ();
    type Error = Stopped;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stopped> {
        if !self.is_open {
            return Ok(());
        }
        let mut text = String::new();
        write_bounded_text(&mut text, MAX_NAME_BYTES, Value::Fmt(format_args!("{}", Key(key))));
        require(self.nested.member(&text))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stopped> {
        if !self.is_open {
            return Ok(());
        }
        value.serialize(Json(self.nested))
    }

    fn end(self) -> Result<(), Stopped> {
        self.finish()
    }
}
