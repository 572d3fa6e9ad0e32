//! [`Outcome`]: the outcome of a request, and from it the severity of its line and the status of its span.

use super::grpc;
use crate::line::Severity;
use crate::span::{SpanKind, SpanStatus};

/// The outcome of a request.
///
/// ```
/// use logtracer_core::line::Severity;
/// use logtracer_core::request::Outcome;
/// use logtracer_core::span::{SpanKind, SpanStatus};
///
/// let outcome = Outcome::from_grpc(Some(5), 200);
/// assert_eq!(outcome.severity(), Severity::Warning);
/// assert_eq!(outcome.span_status(SpanKind::Server), SpanStatus::Unset);
/// assert_eq!(outcome.span_status(SpanKind::Client), SpanStatus::Error);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An HTTP response with this status; zero without a response.
    Http(u16),
    /// A gRPC response.
    Grpc {
        /// The code of `grpc-status`.
        code: u32,
        /// The HTTP status, normally 200.
        http: u16,
    },
    /// An HTTP response whose body ended before it was complete, though its client waited for the rest.
    Incomplete {
        /// The HTTP status, which was sent before the failure.
        status: u16,
        /// What ended the body.
        cause: IncompleteCause,
    },
    /// The client disconnected before a response.
    Aborted,
}

/// What ended a response before it was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncompleteCause {
    /// The stream or the connection was closed.
    Disconnect,
    /// A time limit expired.
    Timeout,
}

impl IncompleteCause {
    /// Returns the value of the attribute `error.type`.
    pub(super) const fn error_type(self) -> &'static str {
        match self {
            Self::Disconnect => "incomplete_response",
            Self::Timeout => "timeout",
        }
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self::Http(NO_RESPONSE)
    }
}

/// The status of a request without a response.
pub(super) const NO_RESPONSE: u16 = 0;

/// The status that nginx logs for a client that disconnected before a response.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Outcome {
    /// Returns the outcome of a gRPC call from its code or, without one, from the HTTP status. A status of zero means
    /// that the client disconnected: CANCELLED.
    pub const fn from_grpc(code: Option<u32>, http: u16) -> Self {
        match (code, http) {
            (_, 0) => Self::cancelled_grpc(http),
            (Some(code), http) => Self::Grpc { code, http },
            (None, http) => Self::Grpc { code: grpc::from_http_status(http), http },
        }
    }

    /// Returns the outcome of a gRPC call whose client disconnected before the code. `http` is zero if it disconnected
    /// before the HTTP status.
    pub const fn cancelled_grpc(http: u16) -> Self {
        let http = if http == 0 { CLIENT_CLOSED_REQUEST } else { http };
        Self::Grpc { code: grpc::CANCELLED, http }
    }

    /// Returns the outcome of a gRPC-Web call. A status of 200 without a code is [`Outcome::Http`]: the code can be
    /// in the body, which is not read. All other calls are as in [`Outcome::from_grpc`].
    pub const fn from_grpc_web(code: Option<u32>, http: u16) -> Self {
        match (code, http) {
            (None, 200) => Self::Http(http),
            _ => Self::from_grpc(code, http),
        }
    }

    /// Returns the HTTP status, which is 499 if the client disconnected.
    pub const fn status(self) -> u16 {
        match self {
            Self::Http(status) | Self::Incomplete { status, .. } | Self::Grpc { http: status, .. } => status,
            Self::Aborted => CLIENT_CLOSED_REQUEST,
        }
    }

    /// Returns the severity: `Error` for errors of the server and for incomplete responses, `Warning` for errors of the client, and `Info` for all
    /// others, including a client that disconnected.
    pub fn severity(self) -> Severity {
        match self {
            Self::Http(status) => Severity::from_http_status(status),
            Self::Aborted | Self::Grpc { code: grpc::OK | grpc::CANCELLED, .. } => Severity::Info,
            Self::Grpc { code, .. } if grpc::is_server_error(code) => Severity::Error,
            Self::Incomplete { .. } => Severity::Error,
            Self::Grpc { .. } => Severity::Warning,
        }
    }

    /// Returns the status of a span of this kind. A server span does not fail because of an error of the client. Both
    /// fail if the response is incomplete, whatever its status is, and a client span if there is no response.
    ///
    /// <https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status>
    pub const fn span_status(self, kind: SpanKind) -> SpanStatus {
        let is_client = matches!(kind, SpanKind::Client);
        let is_error = match self {
            Self::Http(NO_RESPONSE) => is_client,
            Self::Http(status) => {
                status >= 500 || (is_client && status >= 400 && status != CLIENT_CLOSED_REQUEST)
            }
            Self::Incomplete { .. } => true,
            Self::Grpc { code, .. } => grpc::is_server_error(code) || (is_client && code != grpc::OK),
            Self::Aborted => false,
        };
        if is_error { SpanStatus::Error } else { SpanStatus::Unset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[track_caller]
    fn check(outcome: Outcome, severity: Severity, server: SpanStatus, client: SpanStatus) {
        assert_eq!(outcome.severity(), severity);
        assert_eq!(outcome.span_status(SpanKind::Server), server);
        assert_eq!(outcome.span_status(SpanKind::Client), client);
    }

    /// Rules 55, 57, 59 and 66.
    #[test]
    fn severity_and_status() {
        use SpanStatus::{Error, Unset};
        let grpc = |code| Outcome::Grpc { code, http: 200 };
        check(Outcome::Http(200), Severity::Info, Unset, Unset);
        check(Outcome::Http(101), Severity::Info, Unset, Unset);
        check(Outcome::Http(302), Severity::Info, Unset, Unset);
        check(Outcome::Http(404), Severity::Warning, Unset, Error);
        check(Outcome::Http(499), Severity::Info, Unset, Unset);
        check(Outcome::Http(500), Severity::Error, Error, Error);
        check(Outcome::Http(503), Severity::Error, Error, Error);
        check(Outcome::Http(0), Severity::Info, Unset, Error);
        check(Outcome::Aborted, Severity::Info, Unset, Unset);
        for cause in [IncompleteCause::Disconnect, IncompleteCause::Timeout] {
            for status in [200, 302, 404, 503] {
                let incomplete = Outcome::Incomplete { status, cause };
                check(incomplete, Severity::Error, Error, Error);
                assert_eq!(incomplete.status(), status);
            }
        }
        check(grpc(0), Severity::Info, Unset, Unset);
        check(grpc(1), Severity::Info, Unset, Error);
        check(grpc(5), Severity::Warning, Unset, Error);
        check(grpc(13), Severity::Error, Error, Error);
        assert_eq!(Outcome::Aborted.status(), 499);
    }

    /// Rules 55 and 57.
    #[test]
    fn calls_of_grpc() {
        let grpc = |code, http| Outcome::Grpc { code, http };
        for (code, http, expected) in [
            (Some(5), 200, 5),
            (None, 200, 2),
            (None, 400, 13),
            (None, 401, 16),
            (None, 403, 7),
            (None, 404, 12),
            (None, 429, 14),
            (None, 503, 14),
            (None, 500, 2),
            (Some(8), 503, 8),
        ] {
            assert_eq!(Outcome::from_grpc(code, http), grpc(expected, http), "{code:?} {http}");
        }
        assert_eq!(Outcome::from_grpc(None, 0), grpc(1, 499));
        assert_eq!(Outcome::cancelled_grpc(200), grpc(1, 200));
        assert_eq!(Outcome::from_grpc_web(None, 200), Outcome::Http(200));
        assert_eq!(Outcome::from_grpc_web(Some(5), 200), grpc(5, 200));
        assert_eq!(Outcome::from_grpc_web(Some(2), 200), grpc(2, 200));
        assert_eq!(Outcome::from_grpc_web(None, 503), grpc(14, 503));
        assert_eq!(Outcome::from_grpc_web(None, 0), grpc(1, 499));
    }
}
