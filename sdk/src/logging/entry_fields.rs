//! [`EntryFields`]: the fields `logtracer.insert_id` and `logtracer.operation.*` of an event and of its spans.

use std::ops::Range;

use logtracer_core::line::{Line, MAX_LABEL_BYTES, Operation, Value};

use super::field_value::write_bounded_text;

/// The prefix of these fields. Only `logtracer.severity` has it, too.
pub(super) const ENTRY: &str = "logtracer.";

/// The parts of one line; the buffer is reused.
#[derive(Debug, Default)]
pub(super) struct EntryFields {
    text: String,
    insert_id: Range<usize>,
    operation_id: Range<usize>,
    producer: Range<usize>,
    first: bool,
    last: bool,
}

impl EntryFields {
    pub(super) const fn new() -> Self {
        Self {
            text: String::new(),
            insert_id: 0..0,
            operation_id: 0..0,
            producer: 0..0,
            first: false,
            last: false,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    pub(super) fn clear(&mut self) {
        if self.is_empty() {
            return;
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = Self { text, ..Self::new() };
    }

    /// Returns true if a span can have a field of this name for all its lines.
    pub(super) fn is_of_span(name: &str) -> bool {
        matches!(name, "logtracer.operation.id" | "logtracer.operation.producer")
    }

    /// Sets the part that the field names, unless it is set. Returns false if there is no such part, or if it cannot have
    /// this value.
    pub(super) fn set(&mut self, name: &str, value: Value<'_>) -> bool {
        match (name, value) {
            ("logtracer.operation.first", Value::Bool(value)) => self.first |= value,
            ("logtracer.operation.last", Value::Bool(value)) => self.last |= value,
            _ => return self.set_text(name, value),
        }
        true
    }

    fn set_text(&mut self, name: &str, value: Value<'_>) -> bool {
        let range = match name {
            "logtracer.insert_id" => &mut self.insert_id,
            "logtracer.operation.id" => &mut self.operation_id,
            "logtracer.operation.producer" => &mut self.producer,
            _ => return false,
        };
        if range.start == range.end {
            let start = self.text.len();
            write_bounded_text(&mut self.text, MAX_LABEL_BYTES, value);
            *range = start..self.text.len();
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() && !self.first && !self.last
    }

    pub(super) fn write(&self, line: &mut Line<'_>) {
        if self.is_empty() {
            return;
        }
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        if !self.insert_id.is_empty() {
            line.insert_id(text(&self.insert_id));
        }
        line.operation(&Operation {
            id: text(&self.operation_id),
            producer: text(&self.producer),
            first: self.first,
            last: self.last,
        });
    }
}
