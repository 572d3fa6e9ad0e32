//! tower-http's `CatchPanicLayer` logs each panic that it catches. If the panic has a line already, from the hook or
//! from a [`TraceLayer`](crate::server::TraceLayer) within, its event is not written.

use std::cell::RefCell;
use std::time::{Duration, Instant};

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
    /// The text of the last panic of this thread that has a line, and when it was written.
    static LAST: RefCell<Option<(String, Instant)>> = const { RefCell::new(None) };
}

/// The longest time between a panic and the event about it. A later event is about another one.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Remembers a panic that has a line.
pub(super) fn expect(text: &str) {
    let _ = LAST.try_with(|last| last.replace(Some((bounded(Value::Str(text)), Instant::now()))));
}

/// Returns true, once, for an event about the last panic of this thread that has a line. A later event with the same
/// text is about another panic.
pub(super) fn is_logged(event: &Event<'_>) -> bool {
    if event.metadata().target() != TARGET {
        return false;
    }
    let recent = |last: &RefCell<Option<(String, Instant)>>| {
        last.borrow().clone().filter(|(_, at)| at.elapsed() < MAX_AGE).map(|(text, _)| text)
    };
    let Some(last) = LAST.try_with(recent).ok().flatten() else { return false };
    let mut is_logged = false;
    event.record(&mut EachField(|field: &Field, value: Value<'_>| {
        if field.name() == "message" {
            let message = bounded(value);
            let text = message.strip_prefix(PREFIX);
            is_logged = text.is_some_and(|text| match text.strip_prefix(": ") {
                // Both texts are truncated, the event's by the prefix more.
                Some(text) => last.starts_with(text),
                // The event of a payload without a text has none.
                None => true,
            });
        }
    }));
    if is_logged {
        let _ = LAST.try_with(RefCell::take);
    }
    is_logged
}

fn bounded(value: Value<'_>) -> String {
    let mut text = String::new();
    write_bounded_text(&mut text, MAX_TEXT_BYTES, value);
    text
}
