//! The targets of the SDK's own events; the directive `logtracer=off` disables them all.

/// Incoming requests.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub(crate) const SERVER: &str = "logtracer::server";
/// Outgoing requests.
#[cfg_attr(not(feature = "client"), allow(dead_code))]
pub(crate) const CLIENT: &str = "logtracer::client";
/// Panics of handlers.
pub(crate) const PANIC: &str = "logtracer::panic";
/// Errors of handlers and of bodies.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub(crate) const ERROR: &str = "logtracer::error";
/// The export of spans.
#[cfg(feature = "spans")]
pub(crate) const SPANS: &str = "logtracer::spans";

/// Returns true for the targets above.
#[cfg(feature = "logging")]
pub(crate) fn is_own(target: &str) -> bool {
    target.starts_with("logtracer::")
}
