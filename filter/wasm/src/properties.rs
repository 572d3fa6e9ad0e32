//! Reads what Envoy measured of a completed request.
//!
//! Each result of a host call costs a call back into the VM to allocate its memory, the most expensive operation of
//! a filter. The properties are therefore one list, read in one host call and borrowed from its result.

use logtracer_filter::Properties;

use crate::header_map::HeaderMap;
use crate::hostcalls::{self, Expression};

/// The properties of the list, in its order. NULs separate the parts of a path.
const PATHS: [&str; 14] = [
    "request\0protocol",
    "source\0address",
    "upstream\0address",
    "xds\0cluster_name",
    "xds\0route_name",
    "response\0code",
    "response\0flags",
    "upstream\0request_attempt_count",
    "request\0total_size",
    "request\0size",
    "response\0total_size",
    "xds\0listener_direction",
    "request\0time",
    "request\0duration",
];

/// Compiles the list, in a callback of a root.
pub(crate) fn expression() -> Option<Expression> {
    Expression::new(&format!("[{}]", PATHS.map(|path| path.replace('\0', ".")).join(", ")))
}

/// Reads all properties in one host call, or one by one if any of them is absent: an aborted request has no status, and
/// one to which Envoy responded itself has no upstream.
pub(crate) fn read<R>(expression: Option<Expression>, run: impl FnOnce(&Properties<'_>) -> R) -> R {
    // A list is a map in which each value is a name with an empty value.
    if let Some(values) = expression.and_then(|expression| expression.evaluate()).map(HeaderMap::new) {
        let mut values = values.iter().map(|(value, _)| value);
        return run(&gather(|| values.next().unwrap_or_default()));
    }
    let values = PATHS.map(|path| hostcalls::property(path).unwrap_or_default());
    let mut values = values.iter().map(Vec::as_slice);
    run(&gather(|| values.next().unwrap_or_default()))
}

/// Takes the values in the order of [`PATHS`].
fn gather<'v>(mut next: impl FnMut() -> &'v [u8]) -> Properties<'v> {
    const OUTBOUND: u64 = 2;
    let number = |value: &[u8]| hostcalls::number(value).unwrap_or_default();
    // The fields of a struct expression are evaluated in the order in which they are written.
    Properties {
        protocol: next(),
        remote: next(),
        upstream: next(),
        cluster: next(),
        route: next(),
        status: number(next()),
        response_flags: number(next()),
        attempts: number(next()),
        request_size: number(next()),
        request_body_size: number(next()),
        response_size: number(next()),
        is_outbound: number(next()) == OUTBOUND,
        start: number(next()),
        duration: number(next()),
    }
}
