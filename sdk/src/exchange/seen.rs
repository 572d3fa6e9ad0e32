//! [`Seen`]: what is seen of one request, until its lines and its span are written.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use http_body::Frame;
use logtracer_core::request::{Exchange, Outcome, grpc};

use super::received::Received;
use super::texts::Texts;
use super::{RequestSpan, Side, Telling, lines};
use crate::current::Scope;

/// A request on its way; when it is dropped, its line is written and its span is recorded.
#[derive(Debug)]
pub(crate) struct Seen {
    telling: Telling,
    scope: Option<Scope>,
    start: Instant,
    span: Option<RequestSpan>,
    received: Option<Arc<Received>>,
    method: Method,
    protocol: &'static [u8],
    texts: Texts,
    request_size: u64,
    response_size: u64,
    is_grpc: bool,
    /// gRPC-Web, whose status stands in the body.
    is_web: bool,
    /// What came with the status of gRPC, decoded.
    grpc_message: Vec<u8>,
    end: End,
    /// The bytes that the response has promised.
    promised: Option<u64>,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// No response yet; if it stays so the caller went away.
    None,
    /// Headers are out; the body is on its way.
    Sending {
        status: StatusCode,
        grpc: Option<u32>,
    },
    Complete {
        status: StatusCode,
        grpc: Option<u32>,
    },
    /// A panic, an error of the service or of the body.
    Failed,
}

/// The parts of a request that are told of.
pub(crate) struct Parts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    /// The route that the framework has matched.
    pub(crate) route: &'a str,
    /// The other end of the connection, where that is known.
    pub(crate) peer: Option<IpAddr>,
}

impl Seen {
    /// Begins to look at a request, and writes the first of its lines.
    pub(crate) fn new(
        telling: Telling,
        scope: Option<Scope>,
        span: Option<RequestSpan>,
        received: Option<Arc<Received>>,
        parts: &Parts<'_>,
    ) -> Box<Self> {
        let Parts { method, version, headers, .. } = *parts;
        let seen = Box::new(Self {
            telling,
            scope,
            start: Instant::now(),
            span,
            received,
            method: method.clone(),
            protocol: protocol(version),
            texts: Texts::of(&telling, parts),
            request_size: content_length(headers).unwrap_or(0),
            response_size: 0,
            is_grpc: telling.is_grpc(headers),
            is_web: headers
                .get(header::CONTENT_TYPE)
                .is_some_and(|value| grpc::is_web_content_type(value.as_bytes())),
            grpc_message: Vec::new(),
            end: End::None,
            promised: None,
        });
        if seen.received.is_none() {
            seen.within_scope(|| lines::begin(&seen.telling, &seen.exchange(), seen.is_grpc));
        }
        seen
    }

    fn within_scope(&self, f: impl FnOnce()) {
        match self.scope.clone() {
            Some(scope) => scope.entered(f),
            None => f(),
        }
    }

    pub(crate) fn response(&mut self, status: StatusCode, headers: &HeaderMap) {
        // Trailers-only: a gRPC response that has its status among its headers.
        let grpc = self.grpc_status(headers);
        self.end = End::Sending { status, grpc };
        self.promised = content_length(headers);
        let has_no_body = self.method == Method::HEAD
            || (self.promised == Some(0) && !self.is_grpc)
            || status.is_informational()
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        if has_no_body {
            self.is_complete();
        }
    }

    pub(crate) fn data(&mut self, bytes: usize) {
        self.response_size += bytes as u64;
        // The server stops where it has sent what it has promised.
        if self.promised.is_some_and(|promised| self.response_size >= promised) {
            self.is_complete();
        }
    }

    pub(crate) fn frame<D: bytes::Buf>(&mut self, frame: &Frame<D>) {
        if let Some(data) = frame.data_ref() {
            self.data(data.remaining());
        }
        let code = frame.trailers_ref().and_then(|trailers| self.grpc_status(trailers));
        if let (Some(code), End::Sending { grpc, .. } | End::Complete { grpc, .. }) = (code, &mut self.end) {
            *grpc = Some(code);
        }
    }

    /// The code of a call of gRPC, whose message is kept.
    fn grpc_status(&mut self, headers: &HeaderMap) -> Option<u32> {
        if !self.is_grpc {
            return None;
        }
        if let Some(message) = headers.get("grpc-message") {
            self.grpc_message.clear();
            grpc::write_message(&mut self.grpc_message, message.as_bytes());
        }
        headers.get("grpc-status")?.to_str().ok()?.parse().ok()
    }

    pub(crate) fn is_complete(&mut self) {
        if let End::Sending { status, grpc } = self.end {
            self.end = End::Complete { status, grpc };
        }
    }

    pub(crate) fn failed(&mut self) {
        self.end = End::Failed;
    }

    fn outcome(&self) -> Outcome {
        match self.end {
            End::None if self.is_grpc => Outcome::from_grpc(None, 0),
            End::None => Outcome::Aborted,
            End::Sending { status, grpc: None } if self.is_grpc => {
                Outcome::Grpc { code: grpc::CANCELLED, http: status.as_u16() }
            }
            // A caller may well have seen enough before the end of the body.
            End::Sending { status, .. } if !self.is_grpc && self.telling.side == Side::Client => {
                Outcome::Http(status.as_u16())
            }
            End::Sending { .. } if !self.is_grpc => Outcome::Aborted,
            End::Sending { status, grpc } | End::Complete { status, grpc } if self.is_web => {
                Outcome::from_grpc_web(grpc, status.as_u16())
            }
            End::Sending { status, grpc } | End::Complete { status, grpc } if self.is_grpc => {
                Outcome::from_grpc(grpc, status.as_u16())
            }
            End::Sending { status, .. } | End::Complete { status, .. } => Outcome::Http(status.as_u16()),
            // Nobody has answered.
            End::Failed if self.telling.side == Side::Client => Outcome::Http(0),
            End::Failed if self.is_grpc => Outcome::Grpc { code: grpc::UNKNOWN, http: 500 },
            End::Failed => Outcome::Http(500),
        }
    }

    fn exchange(&self) -> Exchange<'_> {
        let texts = &self.texts;
        Exchange {
            method: self.method.as_str().as_bytes(),
            scheme: texts.at(&texts.scheme),
            authority: texts.at(&texts.authority),
            target: texts.at(&texts.target),
            url: texts.at(&texts.url),
            protocol: self.protocol,
            user_agent: texts.at(&texts.user_agent),
            referer: texts.at(&texts.referer),
            remote_ip: texts.at(&texts.remote_ip),
            server_ip: b"",
            request_size: self.request_size,
            response_size: self.response_size,
            route: texts.at(&texts.route),
            outcome: self.outcome(),
            grpc_message: &self.grpc_message,
            duration: self.start.elapsed(),
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let exchange = self.exchange();
        self.within_scope(|| {
            // Nobody may have come as far as to read the message.
            let received = self.received.as_deref().inspect(|received| received.tell(None));
            lines::end(&self.telling, &exchange, received.and_then(Received::message));
            if let Some(span) = &self.span {
                span.end(&exchange, self.end == End::Failed);
            }
        });
    }
}

/// Runs a poll of the handler or of its body; a panic in it gets its line and goes on.
///
/// Only a server reports it: the code that calls a client runs in a server as well.
pub(crate) fn watch<R>(
    side: Side,
    scope: Option<&Scope>,
    seen: &mut Option<Box<Seen>>,
    poll: impl FnOnce() -> R,
) -> R {
    if side == Side::Client {
        return poll();
    }
    let written_before = lines::panics_written();
    catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|payload| {
        if lines::panics_written() == written_before {
            match scope.cloned() {
                Some(scope) => scope.entered(|| lines::panicked(&*payload)),
                None => lines::panicked(&*payload),
            }
        }
        if let Some(mut seen) = seen.take() {
            seen.failed();
        }
        resume_unwind(payload)
    })
}

// === what is read from headers ===

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_09 => b"HTTP/0.9",
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_11 => b"HTTP/1.1",
        Version::HTTP_2 => b"HTTP/2",
        Version::HTTP_3 => b"HTTP/3",
        _ => b"",
    }
}
