//! [`ErrorText`]: the text of an error, and the backtrace that belongs to it.

use logtracer_core::line::{Line, MAX_MESSAGE_BYTES, Value};

use super::field_value::write_bounded_text;

/// What `anyhow` and similar crates write before the backtrace in the output of `{:?}`.
const BEFORE_BACKTRACE: &str = "\n\nStack backtrace:\n";

/// What `std` writes for a [`Backtrace`](std::backtrace::Backtrace) that was not captured, with `%` and with `?`.
const NOT_CAPTURED: [&str; 4] =
    ["disabled backtrace", "unsupported backtrace", "<disabled>", "<unsupported>"];

/// What `std` writes before the frames of a backtrace with `?`, which are on one line.
const DEBUG_START: &str = "Backtrace [";

/// The error of one event, and its backtrace; the buffers are reused.
#[derive(Debug, Default)]
pub(super) struct ErrorText {
    error: String,
    backtrace: String,
}

impl ErrorText {
    pub(super) const fn new() -> Self {
        Self { error: String::new(), backtrace: String::new() }
    }

    pub(super) fn capacity(&self) -> usize {
        self.error.capacity() + self.backtrace.capacity()
    }

    /// Returns true if there is something to write.
    pub(super) fn has_backtrace(&self) -> bool {
        !self.backtrace.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.error.clear();
        self.backtrace.clear();
    }

    /// Takes the text of an error; returns it without its backtrace, and how many bytes of it are cut.
    pub(super) fn set_error(&mut self, value: Value<'_>) -> (&str, usize) {
        self.error.clear();
        let mut cut_bytes = write_bounded_text(&mut self.error, MAX_MESSAGE_BYTES, value);
        if let Some((error, backtrace)) = self.error.split_once(BEFORE_BACKTRACE) {
            self.backtrace.clear();
            self.backtrace.push_str(backtrace);
            self.error.truncate(error.len());
            cut_bytes = 0;
        }
        (&self.error, cut_bytes)
    }

    /// Takes a backtrace that is a field of its own. Returns false if the value is none. One that is not captured does
    /// not replace that of the error.
    pub(super) fn set_backtrace(&mut self, value: Value<'_>) -> bool {
        let start = self.backtrace.len();
        write_bounded_text(&mut self.backtrace, MAX_MESSAGE_BYTES, value);
        let text = self.backtrace.get(start..).unwrap_or_default();
        let is_debug = text.starts_with(DEBUG_START);
        // The number of the first frame.
        let is_backtrace = is_debug || text.trim_start().starts_with("0: ");
        let is_empty = NOT_CAPTURED.contains(&text.trim());
        if is_debug {
            self.backtrace = text.replace("}, { fn: ", "},\n{ fn: ");
        } else if is_backtrace {
            self.backtrace.drain(..start);
        } else {
            self.backtrace.truncate(start);
        }
        is_backtrace || is_empty
    }

    /// Writes the backtrace as `stack_trace`, in the form of a panic's: the error, and then the frames.
    pub(super) fn write(&self, line: &mut Line<'_>) {
        if self.has_backtrace() {
            line.stack_trace(|text| {
                if !self.error.is_empty() {
                    text.push(&self.error);
                    text.push("\n");
                }
                text.push(&self.backtrace);
            });
        }
    }
}
