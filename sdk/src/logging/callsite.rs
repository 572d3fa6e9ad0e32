//! [`Callsites`]: what all lines of a callsite have in common, rendered once in each thread.

use std::ptr;

use logtracer_core::line::{Format, Line, MarkedField};
use tracing_core::Metadata;
use tracing_core::field::Field;

use super::field_value::name_of;
use super::known_fields::KnownFields;
use super::service::{Service, SourceLocation};

/// What the lines of a callsite have in common.
#[derive(Debug)]
pub(super) struct Callsite {
    /// With the next two, what the rest was rendered for.
    metadata: Option<&'static Metadata<'static>>,
    format: Format,
    reserved: &'static [&'static str],
    known: KnownFields,
    /// `{`, the source location, and the names of the fields.
    rendered: Vec<u8>,
    /// The end of the source location, and that of each name.
    ends: Vec<usize>,
}

impl Callsite {
    const fn new() -> Self {
        Self {
            metadata: None,
            format: Format::Stackdriver,
            reserved: &[],
            known: KnownFields::NONE,
            rendered: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Returns the known fields, without those of key-values.
    pub(super) fn known(&self) -> KnownFields {
        self.known
    }

    /// Returns the source location for [`Line::rendered_field`]. It is empty if the callsite has none.
    pub(super) fn source_location(&self) -> &[u8] {
        self.ends.first().and_then(|end| self.rendered.get(1..*end)).unwrap_or_default()
    }

    /// Returns the name of a field of the callsite for [`Line::named_field`].
    pub(super) fn name(&self, field: &Field) -> &[u8] {
        let name = match self.ends.get(field.index()..) {
            Some([start, end, ..]) => self.rendered.get(*start..*end),
            _ => None,
        };
        name.unwrap_or_default()
    }

    fn is_of(&self, metadata: &'static Metadata<'static>, service: &Service) -> bool {
        self.metadata.is_some_and(|own| ptr::eq(own, metadata))
            && self.format == service.format
            && ptr::eq(self.reserved, service.reserved_names())
    }

    fn render(&mut self, metadata: &'static Metadata<'static>, service: &Service) {
        let reserved = service.reserved_names();
        self.metadata = Some(metadata);
        self.format = service.format;
        self.reserved = reserved;
        self.known = KnownFields::of(metadata);
        self.rendered.clear();
        self.ends.clear();
        SourceLocation::of(metadata).write(&mut Line::new(&mut self.rendered, service.format, None));
        self.ends.push(self.rendered.len());
        for field in metadata.fields() {
            let name = MarkedField { name: name_of(&field), reserved, ..MarkedField::default() };
            name.render_name(&mut self.rendered, service.format);
            self.ends.push(self.rendered.len());
        }
    }
}

/// The callsites whose lines a thread has written. A callsite takes the place of another one if there are many.
#[derive(Debug)]
pub(super) struct Callsites {
    places: Vec<Callsite>,
    none: Callsite,
}

impl Callsites {
    /// The binary logarithm of the number of places.
    const BITS: u32 = 7;

    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), none: Callsite::new() }
    }

    pub(super) fn get(&mut self, metadata: &'static Metadata<'static>, service: &Service) -> &Callsite {
        let place = Self::place(metadata);
        if place >= self.places.len() {
            self.places.resize_with(1 << Self::BITS, Callsite::new);
        }
        // There is a place for each number.
        let callsite = self.places.get_mut(place).unwrap_or(&mut self.none);
        if !callsite.is_of(metadata, service) {
            callsite.render(metadata, service);
        }
        callsite
    }

    /// Fibonacci hashing: addresses differ in a few bits in the middle.
    fn place(metadata: &'static Metadata<'static>) -> usize {
        let address = ptr::from_ref(metadata).addr() as u64;
        (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - Self::BITS)) as usize
    }
}
