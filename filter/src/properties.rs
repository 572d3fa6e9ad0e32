//! [`Properties`]: what the proxy measured of a completed request.

use core::time::Duration;

/// A time limit may have ended a request that took at least this long. Its span reports the time to the first byte.
pub(crate) const LONG_REQUEST: Duration = Duration::from_secs(1);

/// What the proxy measured of a completed request. An unknown text is empty, an unknown number zero.
#[derive(Debug, Clone, Copy, Default)]
pub struct Properties<'p> {
    /// `HTTP/1.1`, for example.
    pub protocol: &'p [u8],
    /// The address of the caller, with or without a port.
    pub remote: &'p [u8],
    /// The address of the host that the request was forwarded to, with its port.
    pub upstream: &'p [u8],
    /// The cluster that the request was forwarded to.
    pub cluster: &'p [u8],
    /// The name of the route.
    pub route: &'p [u8],
    /// The HTTP status; zero without a response.
    pub status: u64,
    /// Envoy's response flags as a bit mask.
    ///
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#response-flags>
    pub response_flags: u64,
    /// The number of attempts, with the retries.
    pub attempts: u64,
    /// The bytes of headers, body and trailers, with what filters add.
    pub request_size: u64,
    /// The bytes of the body, as announced by the caller or as received.
    pub request_body_size: u64,
    /// The bytes of headers, body and trailers.
    pub response_size: u64,
    /// True if the request came through an outbound listener.
    pub is_outbound: bool,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds.
    pub duration: u64,
}

impl Properties<'_> {
    /// Returns the end of the request in nanoseconds since 1970.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.duration)
    }

    /// Returns whether the response code details may report more than that the upstream responded, which is not worth
    /// a host call. They may differ if a flag is set, if Envoy responded itself, or if a time limit ended a long stream,
    /// which sets no flag.
    pub(crate) fn may_have_notable_code_details(&self) -> bool {
        self.response_flags != 0
            || self.upstream.is_empty()
            || self.status >= 400
            || self.duration >= LONG_REQUEST.as_nanos() as u64
    }
}
