//! The targets of the SDK's own events; `logtracer=off` among the levels silences them all.

/// Requests that came in.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub(crate) const SERVER: &str = "logtracer::server";
/// Requests that went out.
#[cfg_attr(not(feature = "client"), allow(dead_code))]
pub(crate) const CLIENT: &str = "logtracer::client";
/// Panics of handlers.
pub(crate) const PANIC: &str = "logtracer::panic";
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub(crate) const ERROR: &str = "logtracer::error";

/// True for the targets above.
#[cfg(feature = "logging")]
pub(crate) fn is_own(target: &str) -> bool {
    target.starts_with("logtracer::")
}
