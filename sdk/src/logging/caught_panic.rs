//! tower-http's `CatchPanicLayer` logs each panic that it catches. If the panic has a line already, from the hook or
//! from a [`TraceLayer`](crate::server::TraceLayer) within, its event is not written.

use std::cell::Cell;

use logtracer_core::line::Value;
use tracing_core::Event;
use tracing_core::field::Field;

use super::field_value::{EachField, write_bounded_text};

const TARGET: &str = "tower_http::catch_panic";
/// What the layer writes before the text of a panic.
const PREFIX: &str = "Service panicked";
/// How much of a text is compared.
const MAX_TEXT_BYTES: usize = 256;

thread_local! {
    /// The text of the last panic of this thread that has a line.
    static LAST: Cell<Option<String>> = const { Cell::new(None) };
}

/// Remembers a panic that has a line.
pub(super) fn expect(text: &str) {
    let _ = LAST.try_with(|last| last.set(Some(bounded(Value::Str(text)))));
}

/// Returns true for an event about the last panic of this thread that has a line, once for each panic.
pub(super) fn is_logged(event: &Event<'_>) -> bool {
    if event.metadata().target() != TARGET {
        return false;
    }
    let Some(last) = LAST.try_with(Cell::take).ok().flatten() else { return false };
    let mut is_logged = false;
    event.record(&mut EachField(|field: &Field, value: Value<'_>| {
        if field.name() == "message" {
            let message = bounded(value);
            let text = message.strip_prefix(PREFIX);
            is_logged = text.is_some_and(|text| match text.strip_prefix(": ") {
                // Both texts are truncated, the event's by the prefix more.
                Some(text) => last.starts_with(text),
                // It cannot be read there either.
                None => true,
            });
        }
    }));
    is_logged
}

fn bounded(value: Value<'_>) -> String {
    let mut text = String::new();
    write_bounded_text(&mut text, MAX_TEXT_BYTES, value);
    text
}
