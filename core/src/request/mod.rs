//! [`Exchange`]: a completed request, the source of its log line and its span.
//!
//! | module | content |
//! |---|---|
//! | [`url`] | redaction of URLs |
//! | `name` | the span name, of low cardinality |
//! | `outcome` | status and severity |
//! | `attributes` | the span attributes, from the semantic conventions |
//! | `routes` | matching by path and host |
//! | [`grpc`], `http` | status codes and their names |

mod attributes;
pub mod grpc;
mod http;
mod name;
mod outcome;
mod routes;
pub mod url;

pub use http::reason;
pub use outcome::{IncompleteCause, Outcome};
pub(crate) use routes::contains;
pub use routes::{HostPattern, InvalidHost, Routes};

use core::fmt;
use core::time::Duration;

use crate::decimal::Digits;
use crate::line::HttpRequest;
use crate::lossy;

/// A completed request and its response, as a proxy, a server or a client observes them.
///
/// Header values are raw bytes. Unknown members are empty, zero or `None`, and lines and spans omit them.
///
/// ```
/// use logtracer_core::request::{Exchange, Outcome};
///
/// let exchange = Exchange {
///     method: b"GET",
///     target: b"/users/42?x=1",
///     url: b"http://shop/users/42?x=1",
///     outcome: Outcome::Http(404),
///     ..Exchange::default()
/// };
/// let mut message = String::new();
/// exchange.write_message(&mut message);
/// assert_eq!(message, "GET - http://shop/users/42?x=1 - 404 Not Found");
///
/// let mut name = Vec::new();
/// exchange.write_span_name(&mut name);
/// assert_eq!(name, b"GET /users/*");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Exchange<'a> {
    /// `GET`, `POST` …
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// `:authority` or `host`, with or without a port.
    pub authority: &'a [u8],
    /// The path and the query, redacted by [`url::write_target`].
    pub target: &'a [u8],
    /// Scheme, authority and target, from [`url::write_full`].
    pub url: &'a [u8],
    /// `HTTP/1.1`, `HTTP/2` …
    pub protocol: &'a [u8],
    /// The `user-agent` header.
    pub user_agent: &'a [u8],
    /// The `referer` header, redacted by [`url::write_url`].
    pub referer: &'a [u8],
    /// The address of the client, without the port.
    pub remote_ip: &'a [u8],
    /// The address of the server, without the port.
    pub server_ip: &'a [u8],
    /// The size of the request in bytes, including headers.
    pub request_size: u64,
    /// The size of the response in bytes, including headers.
    pub response_size: u64,
    /// The name of the route, if the proxy or the framework provides one.
    pub route: &'a [u8],
    /// The outcome.
    pub outcome: Outcome,
    /// The gRPC status message, decoded by [`grpc::write_message`].
    pub grpc_message: &'a [u8],
    /// The time from the first byte of the request to the last byte of the response.
    pub duration: Duration,
}

impl<'a> Exchange<'a> {
    /// Returns the path without the query.
    pub fn path(&self) -> &'a [u8] {
        self.target.split(|&byte| byte == b'?').next().unwrap_or_default()
    }

    /// Returns the query without its question mark.
    pub fn query(&self) -> &'a [u8] {
        self.target.splitn(2, |&byte| byte == b'?').nth(1).unwrap_or_default()
    }

    /// Returns `httpRequest` of the log line.
    pub fn http_request(&self) -> HttpRequest<'a> {
        HttpRequest {
            method: self.method,
            url: self.url,
            request_size: self.request_size,
            status: self.outcome.status(),
            response_size: self.response_size,
            user_agent: self.user_agent,
            remote_ip: self.remote_ip,
            server_ip: self.server_ip,
            referer: self.referer,
            latency: self.duration,
            protocol: self.protocol,
        }
    }

    /// Writes the message of the log line: `<METHOD> - <url> - <status> <reason>` or, for gRPC,
    /// `<path> - <CODE> - <grpc-message>`. That of an incomplete response ends with ` - incomplete response`.
    pub fn write_message(&self, out: &mut impl fmt::Write) {
        if let Outcome::Grpc { code, .. } = self.outcome {
            write_lossy(out, self.path());
            write(out, " - ");
            write(out, grpc::name(code));
            self.write_grpc_message(out);
            return;
        }
        // A request that is not HTTP has neither.
        for part in [self.method, self.url].into_iter().filter(|part| !part.is_empty()) {
            write_lossy(out, part);
            write(out, " - ");
        }
        self.write_status(out);
        self.write_incomplete(out);
    }

    /// Writes ` - incomplete response`, unless the response is complete.
    pub fn write_incomplete(&self, out: &mut impl fmt::Write) {
        if let Outcome::Incomplete { .. } = self.outcome {
            write(out, " - incomplete response");
        }
    }

    /// Writes ` - <grpc-message>`, unless it is empty.
    pub fn write_grpc_message(&self, out: &mut impl fmt::Write) {
        if !self.grpc_message.is_empty() {
            write(out, " - ");
            write_lossy(out, self.grpc_message);
        }
    }

    /// Writes `<status> <reason>`, or `no response`.
    pub fn write_status(&self, out: &mut impl fmt::Write) {
        match self.outcome.status() {
            0 => write(out, "no response"),
            status => {
                write(out, Digits::of(status.into()).as_str());
                if let Some(reason) = reason(status) {
                    write(out, " ");
                    write(out, reason);
                }
            }
        }
    }
}

/// Ignores errors: a writer with a limit marks a truncated text itself.
fn write(out: &mut impl fmt::Write, text: &str) {
    let _ = out.write_str(text);
}

fn write_lossy(out: &mut impl fmt::Write, bytes: &[u8]) {
    // Faster than the search for pieces, and nearly always enough.
    if let Ok(text) = core::str::from_utf8(bytes) {
        return write(out, text);
    }
    for piece in lossy::pieces(bytes) {
        let _ = out.write_str(piece);
    }
}
