//! Panics as log lines: the hook, and the count of panics that it has logged.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::Duration;

use logtracer_core::line::{ErrorReport, Line, Severity};

use super::caught_panic;
use super::output::{self, Output};
use super::service::{Service, SourceLocation};
use crate::current::current_trace;
use crate::errors::panic_text;
use crate::{system, targets};

thread_local! {
    static LOGGED: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of panics of this thread that have a line of the hook.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub(crate) fn logged_by_hook() -> u64 {
    LOGGED.get()
}

/// Remembers a panic of this thread that has a line with this text.
pub(crate) fn expect_caught(text: &str) {
    caught_panic::expect(text);
}

/// Installs a hook that writes one line for each panic, instead of Rust's message on stderr. If the line cannot be
/// written, the text of the panic goes to stderr.
///
/// It writes to the output directly, because the panic may come from a subscriber.
pub(super) fn install_hook(service: Arc<Service>, output: Output) {
    std::panic::set_hook(Box::new(move |panic| {
        if output::is_writing() {
            // The output panicked, and would panic again.
            let _ = writeln!(std::io::stderr(), "{panic}");
            return;
        }
        if !output.write_and_wait(line_of(&service, panic), TIMEOUT) {
            let _ = writeln!(std::io::stderr(), "{panic}");
        }
        LOGGED.set(LOGGED.get() + 1);
        expect_caught(panic_text(panic.payload()));
    }));
}

/// How long a panic waits for queued lines: the process may end with it.
const TIMEOUT: Duration = Duration::from_secs(1);

fn line_of(service: &Service, panic: &PanicHookInfo<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let location = SourceLocation {
        target: targets::PANIC,
        file: panic.location().map(|location| location.file()),
        line: panic.location().map(|location| location.line()),
    };
    let message = panic_text(panic.payload());
    let mut line = Line::new(&mut out, service.format, service.project_id.as_deref());
    line.severity(Severity::Error)
        .message(|text| {
            service.write_name(location.target, text);
            text.push("panicked: ");
            text.push(message);
        })
        .time(system::unix_nanos());
    location.write(&mut line);
    if let Some(context) = current_trace() {
        line.trace(&context);
    }
    line.error_report(&ErrorReport {
        service: &service.name,
        version: &service.version,
        file: location.file.unwrap_or_default(),
        line: location.line,
    });
    // Captured only if RUST_BACKTRACE is set.
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
