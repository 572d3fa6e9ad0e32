//! Envoy's response code details: how a response ended.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/response_code_details>

use logtracer_core::request::IncompleteCause;

/// The details of a time limit, which may expire before a response or during it.
const TIME_LIMITS: [&[u8]; 7] = [
    b"response_timeout",
    b"upstream_per_try_timeout",
    b"upstream_per_try_idle_timeout",
    b"upstream_max_stream_duration_reached",
    b"stream_idle_timeout",
    b"max_duration_timeout",
    b"downstream duration timeout",
];

/// Returns what ended the response before it was complete; `None` if it is complete, or if the caller ended it.
pub(crate) fn incomplete_cause(status: u64, details: &[u8]) -> Option<IncompleteCause> {
    if details.starts_with(b"upstream_reset_after_response_started") {
        return Some(IncompleteCause::Disconnect);
    }
    // Envoy's own responses have the same details and are complete. Their statuses are 5xx, 408 and 413.
    if status == 0 || status >= 500 || matches!(status, 408 | 413) {
        return None;
    }
    if TIME_LIMITS.contains(&details) {
        Some(IncompleteCause::Timeout)
    } else if is_local_disconnect(details) || details == b"response_payload_too_large" {
        Some(IncompleteCause::Disconnect)
    } else {
        None
    }
}

/// Returns whether Envoy closed the caller's connection itself.
pub(crate) fn is_local_disconnect(details: &[u8]) -> bool {
    details.starts_with(b"downstream_local_disconnect")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_incomplete_by_its_details() {
        use IncompleteCause::{Disconnect, Timeout};
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
            let cause = incomplete_cause(status, details);
            assert_eq!(cause, expected, "{status} {}", String::from_utf8_lossy(details));
        }
        for limit in TIME_LIMITS {
            assert_eq!(incomplete_cause(200, limit), Some(Timeout), "{}", String::from_utf8_lossy(limit));
        }
    }
}
