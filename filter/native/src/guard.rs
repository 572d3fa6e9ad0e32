//! [`guard`]: the one place where panics are caught.

use std::panic::{AssertUnwindSafe, catch_unwind};

use logtracer_filter::Metric;
use logtracer_filter::host::LogLevel;

use crate::clock;

/// Runs a hook. If it panics, the panic is counted and logged, and Envoy gets `otherwise`: the request passes.
///
/// State that the hook has changed stays valid: locks ignore a panic, and a stream that panicked has no line.
pub(crate) fn guard<R>(otherwise: R, hook: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|panic| {
        Metric::Panics.add(1);
        let text = panic.downcast_ref::<&str>().copied();
        let text =
            text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        clock::log(LogLevel::Error, &format!("logtracer: panic in a callback: {text}"));
        otherwise
    })
}
