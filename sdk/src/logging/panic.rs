//! Panics as lines: the hook, and the memory of what it has written.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::Duration;

use logtracer_core::line::{ErrorReport, Line, Severity};

use super::output::{self, Output};
use super::service::{Place, Service};
use crate::current::current_trace;
use crate::errors::panic_text;
use crate::targets;

thread_local! {
    /// How many panics of this thread have their line.
    static WRITTEN: Cell<u64> = const { Cell::new(0) };
}

/// The panics of this thread that have a line, from the hook or from a layer.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub(crate) fn written() -> u64 {
    WRITTEN.get()
}

/// Remembers that a panic of this thread has its line.
pub(crate) fn count() {
    WRITTEN.set(WRITTEN.get() + 1);
}

/// Writes one line for each panic of the process, instead of what Rust prints to stderr.
///
/// It writes to the output itself: a subscriber may be what panicked.
pub(super) fn install_hook(service: Arc<Service>, output: Output) {
    std::panic::set_hook(Box::new(move |panic| {
        if output::is_writing() {
            // It is the output that has panicked, and would do so again.
            let _ = writeln!(std::io::stderr(), "{panic}");
            return;
        }
        output.write_and_wait(line_of(&service, panic), TIMEOUT);
        count();
    }));
}

/// How long a panic waits for lines that another thread writes: the process may end with it.
const TIMEOUT: Duration = Duration::from_secs(1);

fn line_of(service: &Service, panic: &PanicHookInfo<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let place = Place {
        target: targets::PANIC,
        file: panic.location().map(|location| location.file()),
        line: panic.location().map(|location| location.line()),
    };
    let message = panic_text(panic.payload());
    let mut line = Line::new(&mut out, service.format, service.project_id.as_deref());
    line.severity(Severity::Error)
        .message(|text| {
            service.write_name(place.target, text);
            text.push("panicked: ");
            text.push(message);
        })
        .time(crate::clock::unix_nanos());
    place.write(&mut line);
    if let Some(context) = current_trace() {
        line.trace(&context);
    }
    line.error_report(&ErrorReport {
        service: &service.name,
        version: &service.version,
        file: place.file.unwrap_or_default(),
        line: place.line,
    });
    // Taken only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        line.stack_trace(|text| {
            let _ = std::fmt::Write::write_fmt(text, format_args!("{panic}\n{backtrace}"));
        });
    }
    service.write_labels(&mut line);
    line.finish();
    out.push(b'\n');
    out
}
