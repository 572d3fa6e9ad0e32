//! [`Properties`]: what Envoy measured of a completed request.
//!
//! Each result of a host call costs a call back into the VM to allocate its memory, the most expensive operation of
//! a filter. The properties that every request needs are therefore one list, read in one host call.

use core::time::Duration;

use logtracer_core::request::IncompleteCause;

use crate::hostcalls::{self, Expression};

/// A time limit may have ended a request that took at least this long. Its span reports the time to the first byte.
pub(crate) const LONG_REQUEST: Duration = Duration::from_secs(1);

/// The response code details of a time limit, which may expire before a response or during it.
///
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/response_code_details>
const TIME_LIMITS: [&[u8]; 7] = [
    b"response_timeout",
    b"upstream_per_try_timeout",
    b"upstream_per_try_idle_timeout",
    b"upstream_max_stream_duration_reached",
    b"stream_idle_timeout",
    b"max_duration_timeout",
    b"downstream duration timeout",
];

/// What Envoy measured of a completed request. An unknown text is empty, an unknown number zero.
pub(crate) struct Properties {
    pub(crate) protocol: Vec<u8>,
    pub(crate) remote: Vec<u8>,
    pub(crate) upstream: Vec<u8>,
    pub(crate) cluster: Vec<u8>,
    pub(crate) route: Vec<u8>,
    /// Empty if the upstream responded without an error in less than [`LONG_REQUEST`].
    code_details: Vec<u8>,
    /// The HTTP status; zero without a response.
    pub(crate) status: u64,
    /// See [`crate::response_flags`].
    pub(crate) response_flags: u64,
    pub(crate) attempts: u64,
    pub(crate) request_size: u64,
    pub(crate) response_size: u64,
    /// The direction of the listener.
    direction: u64,
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    /// Nanoseconds.
    pub(crate) duration: u64,
}

impl Properties {
    /// Compiles the expression with which [`Self::read`] needs one host call only.
    pub(crate) fn expression() -> Option<Expression> {
        let mut paths = Vec::new();
        Self::gather(|path| {
            paths.push(path.replace('\0', "."));
            Vec::new()
        });
        Expression::new(&format!("[{}]", paths.join(", ")))
    }

    /// Reads all properties in one host call, or one by one if any of them is absent: an aborted request has no
    /// status, and one to which Envoy responded itself has no upstream.
    pub(crate) fn read(expression: Option<&Expression>) -> Self {
        let mut properties = match expression.and_then(Expression::evaluate_list) {
            Some(values) => {
                let mut values = values.iter();
                Self::gather(|_| values.next().map(|(value, _)| value.to_vec()).unwrap_or_default())
            }
            None => Self::gather(|path| hostcalls::property(path).unwrap_or_default()),
        };
        // Usually the details are "via_upstream", which is not worth a host call. They may differ if a flag is set, if
        // Envoy responded itself, or if a time limit ended a long stream, which sets no flag.
        let may_be_notable = properties.response_flags != 0
            || properties.upstream.is_empty()
            || properties.status >= 400
            || properties.duration >= LONG_REQUEST.as_nanos() as u64;
        if may_be_notable {
            properties.code_details = hostcalls::property("response\0code_details").unwrap_or_default();
        }
        properties
    }

    /// Reads the properties that every request needs, in the order of the list.
    fn gather(mut value: impl FnMut(&str) -> Vec<u8>) -> Self {
        let number = |value: Vec<u8>| hostcalls::number(&value).unwrap_or_default();
        Self {
            protocol: value("request\0protocol"),
            remote: value("source\0address"),
            upstream: value("upstream\0address"),
            cluster: value("xds\0cluster_name"),
            route: value("xds\0route_name"),
            status: number(value("response\0code")),
            response_flags: number(value("response\0flags")),
            attempts: number(value("upstream\0request_attempt_count")),
            request_size: number(value("request\0total_size")),
            response_size: number(value("response\0total_size")),
            direction: number(value("xds\0listener_direction")),
            start: number(value("request\0time")),
            duration: number(value("request\0duration")),
            code_details: Vec::new(),
        }
    }

    /// Returns whether the request came through an outbound listener.
    pub(crate) const fn is_outbound(&self) -> bool {
        const OUTBOUND: u64 = 2;
        self.direction == OUTBOUND
    }

    /// Returns the end of the request in nanoseconds since 1970.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.duration)
    }

    /// Returns the response code details, or nothing if they only report that the upstream responded.
    pub(crate) fn notable_code_details(&self) -> &[u8] {
        if self.code_details == b"via_upstream" { b"" } else { &self.code_details }
    }

    /// Returns what ended the response before it was complete; `None` if it is complete, or if the caller ended it.
    pub(crate) fn incomplete_cause(&self) -> Option<IncompleteCause> {
        let details = &self.code_details;
        if details.starts_with(b"upstream_reset_after_response_started") {
            return Some(IncompleteCause::Disconnect);
        }
        // Envoy's own responses have the same details and are complete. Their statuses are 5xx, 408 and 413.
        if self.status == 0 || self.status >= 500 || matches!(self.status, 408 | 413) {
            return None;
        }
        if TIME_LIMITS.contains(&details.as_slice()) {
            Some(IncompleteCause::Timeout)
        } else if self.is_local_disconnect() || details == b"response_payload_too_large" {
            Some(IncompleteCause::Disconnect)
        } else {
            None
        }
    }

    /// Returns whether Envoy closed the caller's connection itself.
    pub(crate) fn is_local_disconnect(&self) -> bool {
        self.code_details.starts_with(b"downstream_local_disconnect")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_incomplete_by_its_details() {
        use IncompleteCause::{Disconnect, Timeout};
        let cause = |status, details: &[u8]| {
            let properties =
                Properties { status, code_details: details.to_vec(), ..Properties::gather(|_| Vec::new()) };
            properties.incomplete_cause()
        };
        for (status, details, expected) in [
            (200, &b""[..], None),
            (200, b"via_upstream", None),
            (200, b"upstream_reset_after_response_started{connection_termination}", Some(Disconnect)),
            (503, b"upstream_reset_after_response_started{protocol_error}", Some(Disconnect)),
            (503, b"upstream_reset_before_response_started{connection_termination}", None),
            (200, b"downstream_remote_disconnect", None),
            (200, b"downstream_local_disconnect(max_connection_duration_reached)", Some(Disconnect)),
            (0, b"downstream_local_disconnect", None),
            (200, b"response_payload_too_large", Some(Disconnect)),
            (404, b"response_timeout", Some(Timeout)),
            // The responses of Envoy itself.
            (500, b"response_payload_too_large", None),
            (413, b"request_payload_too_large", None),
            (504, b"response_timeout", None),
            (408, b"stream_idle_timeout", None),
            (0, b"stream_idle_timeout", None),
        ] {
            assert_eq!(cause(status, details), expected, "{status} {}", String::from_utf8_lossy(details));
        }
        for limit in TIME_LIMITS {
            assert_eq!(cause(200, limit), Some(Timeout), "{}", String::from_utf8_lossy(limit));
        }
    }
}
