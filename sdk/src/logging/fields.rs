//! Fields of events and spans: `tracing`'s values to those of a line.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use logtracer_core::line::{Format, Line, Text, Value, render_field};
use tracing_core::field::{Field, Visit};

use super::special::Special;

/// The field that holds the text of an event.
const MESSAGE: &str = "message";

/// The name of a field; `r#type` is `type`.
pub(super) fn name_of(field: &Field) -> &'static str {
    let name = field.name();
    name.strip_prefix("r#").unwrap_or(name)
}

/// Calls a function for each field with its value.
pub(super) struct Each<F>(pub(super) F);

impl<F: FnMut(&Field, Value<'_>)> Visit for Each<F> {
    fn record_str(&mut self, field: &Field, value: &str) {
        (self.0)(field, Value::Str(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        (self.0)(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        (self.0)(field, Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        (self.0)(field, Value::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        (self.0)(field, Value::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        (self.0)(field, Value::U128(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        (self.0)(field, Value::F64(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        (self.0)(field, Value::Fmt(format_args!("{}", Chain(value))));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        (self.0)(field, Value::Fmt(format_args!("{value:?}")));
    }
}

/// An error and what it came from: `cannot open basket: no such file`.
struct Chain<'a>(&'a (dyn Error + 'static));

/// The errors of a chain that are written: a chain may be a circle.
const MAX_CAUSES: usize = 16;

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        for _ in 0..MAX_CAUSES {
            let Some(cause) = next else { break };
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

/// Writes the text of an event; true if it has one.
pub(super) fn write_message(event: &tracing_core::Event<'_>, text: &mut Text<'_>) -> bool {
    let mut found = false;
    event.record(&mut Each(|field: &Field, value: Value<'_>| {
        if field.name() == MESSAGE {
            found = true;
            match value {
                Value::Str(value) => text.push(value),
                Value::Fmt(value) => {
                    let _ = fmt::Write::write_fmt(text, value);
                }
                // `message` of another type is rare and stays legible.
                other => {
                    let _ = fmt::Write::write_fmt(text, format_args!("{other:?}"));
                }
            }
        }
    }));
    found
}

/// Writes the fields of an event but its text and the special ones, and notes their names.
pub(super) fn write_event(
    event: &tracing_core::Event<'_>,
    line: &mut Line<'_>,
    names: &mut Vec<&'static str>,
    special: Special,
) {
    event.record(&mut Each(|field: &Field, value: Value<'_>| {
        if field.name() != MESSAGE && !special.takes(field.name()) {
            let name = name_of(field);
            line.field(name, value);
            names.push(name);
        }
    }));
}

/// The fields of a span, rendered once for all the lines within it.
#[derive(Debug, Default)]
pub(super) struct SpanFields {
    rendered: Vec<u8>,
    places: Vec<(&'static str, Range<usize>)>,
}

impl SpanFields {
    /// Renders fields; one that was recorded before gets the new value.
    pub(super) fn record(&mut self, format: Format, record: impl FnOnce(&mut dyn Visit)) {
        record(&mut Each(|field: &Field, value: Value<'_>| {
            let name = name_of(field);
            let start = self.rendered.len();
            render_field(&mut self.rendered, format, name, value);
            let place = start..self.rendered.len();
            match self.places.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = place,
                None => self.places.push((name, place)),
            }
        }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds the fields whose names are not taken, and takes them.
    pub(super) fn write(&self, line: &mut Line<'_>, names: &mut Vec<&'static str>) {
        for (name, place) in &self.places {
            if !names.contains(name) {
                names.push(name);
                line.rendered_field(self.rendered.get(place.clone()).unwrap_or_default());
            }
        }
    }
}
