//! Values of the crate `valuable`, as JSON.

use valuable::{Fields, NamedValues, Slice, Valuable, Value as Other, Visit};

use logtracer_core::line::{MAX_NAME_BYTES, Value};

use super::field_value::write_bounded_text;
use super::nested::{Nested, Rendered};
use crate::errors::Chain;

/// Returns a value as a text or as JSON within bounds.
pub(super) fn render(value: Other<'_>) -> Rendered {
    let mut nested = Nested::new();
    write(&mut nested, value);
    nested.finish()
}

fn write(nested: &mut Nested, value: Other<'_>) {
    match value {
        Other::Bool(value) => nested.scalar(Value::Bool(value)),
        Other::Char(value) => nested.scalar(Value::Fmt(format_args!("{value}"))),
        Other::F32(value) => nested.f32(value),
        Other::F64(value) => nested.scalar(Value::F64(value)),
        Other::I8(value) => nested.scalar(Value::I64(value.into())),
        Other::I16(value) => nested.scalar(Value::I64(value.into())),
        Other::I32(value) => nested.scalar(Value::I64(value.into())),
        Other::I64(value) => nested.scalar(Value::I64(value)),
        Other::I128(value) => nested.scalar(Value::I128(value)),
        Other::Isize(value) => nested.scalar(Value::I128(value as i128)),
        Other::U8(value) => nested.scalar(Value::U64(value.into())),
        Other::U16(value) => nested.scalar(Value::U64(value.into())),
        Other::U32(value) => nested.scalar(Value::U64(value.into())),
        Other::U64(value) => nested.scalar(Value::U64(value)),
        Other::U128(value) => nested.scalar(Value::U128(value)),
        Other::Usize(value) => nested.scalar(Value::U128(value as u128)),
        Other::String(value) => nested.scalar(Value::Str(value)),
        Other::Path(value) => nested.scalar(Value::Fmt(format_args!("{}", value.display()))),
        Other::Error(value) => nested.scalar(Value::Fmt(format_args!("{}", Chain(value)))),
        Other::Unit => nested.scalar(Value::Json("null")),
        Other::Listable(list) => array(nested, list),
        Other::Tuplable(tuple) if tuple.definition().is_unit() => nested.scalar(Value::Json("null")),
        Other::Tuplable(tuple) => array(nested, tuple),
        Other::Mappable(map) => object(nested, map),
        Other::Structable(value) => fields(nested, value.definition().fields(), value),
        Other::Enumerable(value) => {
            let variant = value.variant();
            let has_fields = match variant.fields() {
                Fields::Named(names) => !names.is_empty(),
                Fields::Unnamed(count) => *count > 0,
            };
            if !has_fields {
                nested.scalar(Value::Str(variant.name()));
            } else if nested.begin_object() {
                if nested.member(variant.name()) {
                    fields(nested, variant.fields(), value);
                }
                nested.end();
            }
        }
        // A kind of a later version.
        other => nested.scalar(Value::Fmt(format_args!("{other:?}"))),
    }
}

fn fields(nested: &mut Nested, names: &Fields<'_>, value: &(impl Valuable + ?Sized)) {
    match names {
        Fields::Named(_) => object(nested, value),
        Fields::Unnamed(1) => newtype(nested, value),
        Fields::Unnamed(_) => array(nested, value),
    }
}

/// Writes a value with one unnamed field as this field, as serde does.
fn newtype(nested: &mut Nested, value: &(impl Valuable + ?Sized)) {
    if nested.begin_newtype() {
        let mut field = OnlyField { nested, is_written: false };
        value.visit(&mut field);
        if !field.is_written {
            field.nested.scalar(Value::Json("null"));
        }
        nested.end_newtype();
    }
}

fn array(nested: &mut Nested, value: &(impl Valuable + ?Sized)) {
    if nested.begin_array() {
        value.visit(&mut Items(nested));
        nested.end();
    }
}

fn object(nested: &mut Nested, value: &(impl Valuable + ?Sized)) {
    if nested.begin_object() {
        value.visit(&mut Items(nested));
        nested.end();
    }
}

/// A visitor of the field of a newtype. Further ones are ignored.
struct OnlyField<'n> {
    nested: &'n mut Nested,
    is_written: bool,
}

impl Visit for OnlyField<'_> {
    fn visit_value(&mut self, value: Other<'_>) {
        if !std::mem::replace(&mut self.is_written, true) {
            write(self.nested, value);
        }
    }

    fn visit_unnamed_fields(&mut self, values: &[Other<'_>]) {
        values.iter().for_each(|value| self.visit_value(*value));
    }
}

/// A visitor of the items of an array, or the members of an object.
struct Items<'n>(&'n mut Nested);

impl Visit for Items<'_> {
    fn visit_value(&mut self, value: Other<'_>) {
        if self.0.item() {
            write(self.0, value);
        }
    }

    fn visit_primitive_slice(&mut self, slice: Slice<'_>) {
        // The first one that has no space is the last.
        for value in slice {
            if !self.0.item() {
                return;
            }
            write(self.0, value);
        }
    }

    fn visit_unnamed_fields(&mut self, values: &[Other<'_>]) {
        values.iter().for_each(|value| self.visit_value(*value));
    }

    fn visit_named_fields(&mut self, values: &NamedValues<'_>) {
        for (field, value) in values {
            if self.0.member(field.name()) {
                write(self.0, *value);
            }
        }
    }

    fn visit_entry(&mut self, key: Other<'_>, value: Other<'_>) {
        let mut name = String::new();
        match key {
            Other::String(key) => name.extend(key.chars().take(MAX_NAME_BYTES)),
            other => _ = write_bounded_text(&mut name, MAX_NAME_BYTES, Value::Fmt(format_args!("{other:?}"))),
        }
        if self.0.member(&name) {
            write(self.0, value);
        }
    }
}
