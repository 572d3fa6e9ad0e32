//! Panics as log lines: the hook, and the count of panics that it has logged.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// The number of hooks that were installed. Only the newest one writes lines.
static INSTALLED: AtomicU64 = AtomicU64::new(0);

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Installs a hook that writes one line for each panic, instead of Rust's message on stderr. If the line cannot be
/// written, the text of the panic goes to stderr. A hook that another crate has set is called after it.
///
/// It writes to the output directly, because the panic may come from a subscriber.
pub(super) fn install_hook(service: Arc<Service>, output: Output) {
    let number = INSTALLED.fetch_add(1, Ordering::Relaxed) + 1;
    let earlier = take_earlier_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if INSTALLED.load(Ordering::Relaxed) == number {
            log(&service, &output, panic);
        }
        if let Some(earlier) = &earlier {
            earlier(panic);
        }
    }));
}

/// Returns the hook of the process, or `None` for Rust's own.
fn take_earlier_hook() -> Option<Hook> {
    let hook = std::panic::take_hook();
    // After that, the hook is Rust's own, which has no state: it is known by its functions.
    let own = std::panic::take_hook();
    (!std::ptr::eq(&*hook, &*own)).then_some(hook)
}

fn log(service: &Service, output: &Output, panic: &PanicHookInfo<'_>) {
    // An output that panicked would panic again.
    let is_logged = !output::is_writing() && {
        let is_written = output.write_and_wait(line_of(service, panic), TIMEOUT);
        LOGGED.set(LOGGED.get() + 1);
        expect_caught(panic_text(panic.payload()));
        is_written
    };
    if !is_logged {
        let _ = writeln!(std::io::stderr(), "{panic}");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_of_rust_is_known() {
        let of_the_process = std::panic::take_hook();
        assert!(take_earlier_hook().is_none());
        std::panic::set_hook(Box::new(|_| ()));
        assert!(take_earlier_hook().is_some());
        assert!(take_earlier_hook().is_none());
        std::panic::set_hook(of_the_process);
    }
}
