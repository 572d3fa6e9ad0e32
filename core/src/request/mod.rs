//! What a request was, once it is over: the one source of its log line and of its span's attributes.
//!
//! [`Exchange`] holds what was seen; the modules beside it know what that means: [`url`] (what of a URL may be
//! told), `name` (of low cardinality), `outcome` (status, severity), `attributes` (semantic conventions), `routes` (which
//! requests are meant).

mod attributes;
pub mod grpc;
mod http;
mod name;
mod outcome;
mod routes;
pub mod url;

pub use http::reason;
pub use outcome::Outcome;
pub(crate) use routes::contains;
pub use routes::{HostPattern, Routes};

use core::fmt;
use core::time::Duration;

use crate::line::HttpRequest;
use crate::lossy;

/// A request and its response, as a proxy or a server has seen them; header values are bytes as they came.
///
/// What is unknown is empty, zero or `None`, and is left out of lines and spans.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exchange<'a> {
    /// `GET`, `POST` …
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// `:authority` or `host`, maybe with a port.
    pub authority: &'a [u8],
    /// Path and query, where the query has been treated by [`url::Query`] already.
    pub target: &'a [u8],
    /// Scheme, authority and target in one text, see [`url::write_full`].
    pub url: &'a [u8],
    /// `HTTP/1.1`, `HTTP/2` …
    pub protocol: &'a [u8],
    /// The `user-agent` header.
    pub user_agent: &'a [u8],
    /// The `referer` header, its query treated like the URL's own.
    pub referer: &'a [u8],
    /// The caller's address, without the port.
    pub remote_ip: &'a [u8],
    /// The address that answered, without the port.
    pub server_ip: &'a [u8],
    /// Bytes of the request, headers included.
    pub request_size: u64,
    /// Bytes of the response, headers included.
    pub response_size: u64,
    /// The name of the route, where the proxy or the framework gives one.
    pub route: &'a [u8],
    /// How it ended.
    pub outcome: Outcome,
    /// What a call of gRPC says of its end, decoded by [`grpc::write_message`].
    pub grpc_message: &'a [u8],
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
}

impl<'a> Exchange<'a> {
    /// The path without the query.
    pub fn path(&self) -> &'a [u8] {
        self.target.split(|&byte| byte == b'?').next().unwrap_or_default()
    }

    /// The query without its question mark.
    pub fn query(&self) -> &'a [u8] {
        self.target.splitn(2, |&byte| byte == b'?').nth(1).unwrap_or_default()
    }

    /// `httpRequest` of the log line.
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

    /// `<METHOD> - <url> - <status> <reason>`, or `<method path> - <CODE>` for gRPC, and what it says of that.
    pub fn write_message(&self, out: &mut impl fmt::Write) {
        if let Outcome::Grpc { code, .. } = self.outcome {
            write_lossy(out, self.path());
            write(out, format_args!(" - {}", grpc::name(code)));
            self.write_grpc_message(out);
            return;
        }
        // What was no HTTP has neither.
        for part in [self.method, self.url].into_iter().filter(|part| !part.is_empty()) {
            write_lossy(out, part);
            write(out, format_args!(" - "));
        }
        self.write_status(out);
    }

    /// ` - <grpc-message>`, if there is one.
    pub fn write_grpc_message(&self, out: &mut impl fmt::Write) {
        if !self.grpc_message.is_empty() {
            write(out, format_args!(" - "));
            write_lossy(out, self.grpc_message);
        }
    }

    /// `<status> <reason>`, or that there was no response.
    pub fn write_status(&self, out: &mut impl fmt::Write) {
        match (self.outcome.status(), reason(self.outcome.status())) {
            (0, _) => write(out, format_args!("no response")),
            (status, Some(reason)) => write(out, format_args!("{status} {reason}")),
            (status, None) => write(out, format_args!("{status}")),
        }
    }
}

/// A text that takes no more is full, which is for whoever reads it to see.
fn write(out: &mut impl fmt::Write, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn write_lossy(out: &mut impl fmt::Write, bytes: &[u8]) {
    for piece in lossy::pieces(bytes) {
        let _ = out.write_str(piece);
    }
}
