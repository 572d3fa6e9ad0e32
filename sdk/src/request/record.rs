//! [`Record`]: what is known of one request, until it is logged and its span ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use http_body::Frame;
use logtracer_core::request::{Exchange, IncompleteCause, Outcome, grpc};

use super::captured::Captured;
use super::message::RequestMessage;
use super::{LogOptions, RequestLog, RequestSpan, Side, lines};
use crate::current::Scope;

/// The record of a request; dropping it logs the last line and ends the span.
#[derive(Debug)]
pub(crate) struct Record {
    options: LogOptions,
    scope: Option<Scope>,
    start: Instant,
    span: Option<RequestSpan>,
    message: Option<Arc<RequestMessage>>,
    method: Method,
    protocol: &'static [u8],
    captured: Captured,
    request_size: u64,
    response_size: u64,
    is_grpc: bool,
    /// True for gRPC-Web, which has its status in the body.
    is_grpc_web: bool,
    /// The decoded `grpc-message`.
    status_message: Vec<u8>,
    progress: Progress,
    /// The `content-length` of the response.
    response_length: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// No response yet. If the record is dropped now, the caller went away.
    Waiting,
    /// The headers are sent, the body is not complete.
    Sending {
        status: StatusCode,
        grpc: Option<u32>,
    },
    Complete {
        status: StatusCode,
        grpc: Option<u32>,
    },
    /// A panic, or an error of the service or of the body. An error of the body follows a `status`.
    Failed {
        status: Option<StatusCode>,
        grpc: Option<u32>,
    },
}

/// The head of a request.
pub(crate) struct Parts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    /// The route that the framework matched.
    pub(crate) route: &'a str,
    /// The address of the caller, if it is known.
    pub(crate) peer: Option<IpAddr>,
}

impl Record {
    /// Starts the record of a request and logs its first line; returns `None` if the request is neither logged nor
    /// has a span.
    ///
    /// If there is a `message`, the first line waits for its text.
    pub(crate) fn start(
        options: LogOptions,
        scope: Option<&Scope>,
        span: Option<RequestSpan>,
        message: Option<Arc<RequestMessage>>,
        parts: &Parts<'_>,
    ) -> Option<Box<Self>> {
        if options.requests == RequestLog::Off && span.is_none() {
            return None;
        }
        let Parts { method, version, headers, .. } = *parts;
        let content_type = headers.get(header::CONTENT_TYPE);
        let record = Box::new(Self {
            options,
            scope: scope.cloned(),
            start: Instant::now(),
            span,
            message,
            method: method.clone(),
            protocol: protocol(version),
            captured: Captured::new(&options, parts),
            request_size: content_length(headers).unwrap_or(0),
            response_size: 0,
            is_grpc: options.is_grpc(headers),
            is_grpc_web: content_type.is_some_and(|value| grpc::is_web_content_type(value.as_bytes())),
            status_message: Vec::new(),
            progress: Progress::Waiting,
            response_length: None,
        });
        if record.message.is_none() {
            record.in_scope(|| lines::start(&record.options, &record.exchange(), record.is_grpc));
        }
        Some(record)
    }

    #[cfg(feature = "server")]
    pub(super) fn message(&self) -> Option<Arc<RequestMessage>> {
        self.message.clone()
    }

    fn in_scope(&self, f: impl FnOnce()) {
        match self.scope.clone() {
            Some(scope) => scope.run(f),
            None => f(),
        }
    }

    /// Records the head of the response.
    pub(crate) fn set_head(&mut self, status: StatusCode, headers: &HeaderMap) {
        // A gRPC response without a body has its status among its headers ("trailers-only").
        let grpc = self.read_grpc_status(headers);
        self.progress = Progress::Sending { status, grpc };
        self.response_length = content_length(headers);
        let has_no_body = self.method == Method::HEAD
            || (self.response_length == Some(0) && !self.is_grpc)
            || status.is_informational()
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        if has_no_body {
            self.mark_complete();
        }
    }

    /// Records data of the response body.
    pub(crate) fn add_data(&mut self, bytes: usize) {
        self.response_size += bytes as u64;
        // The server polls no further after `content-length` bytes.
        if self.response_length.is_some_and(|length| self.response_size >= length) {
            self.mark_complete();
        }
    }

    /// Records a frame of the response body: data or trailers.
    pub(crate) fn add_frame<D: bytes::Buf>(&mut self, frame: &Frame<D>) {
        if let Some(data) = frame.data_ref() {
            self.add_data(data.remaining());
        }
        let code = frame.trailers_ref().and_then(|trailers| self.read_grpc_status(trailers));
        if let (Some(code), Progress::Sending { grpc, .. } | Progress::Complete { grpc, .. }) =
            (code, &mut self.progress)
        {
            *grpc = Some(code);
        }
    }

    /// Returns the status code of a gRPC call, and keeps its message.
    fn read_grpc_status(&mut self, headers: &HeaderMap) -> Option<u32> {
        if !self.is_grpc {
            return None;
        }
        if let Some(message) = headers.get("grpc-message") {
            self.status_message.clear();
            grpc::write_message(&mut self.status_message, message.as_bytes());
        }
        headers.get("grpc-status")?.to_str().ok()?.parse().ok()
    }

    pub(crate) fn mark_complete(&mut self) {
        if let Progress::Sending { status, grpc } = self.progress {
            self.progress = Progress::Complete { status, grpc };
        }
    }

    pub(crate) fn mark_failed(&mut self) {
        self.progress = match self.progress {
            Progress::Waiting => Progress::Failed { status: None, grpc: None },
            Progress::Sending { status, grpc } | Progress::Complete { status, grpc } => {
                Progress::Failed { status: Some(status), grpc }
            }
            failed @ Progress::Failed { .. } => failed,
        };
    }

    fn outcome(&self) -> Outcome {
        match self.progress {
            Progress::Waiting if self.is_grpc => Outcome::from_grpc(None, 0),
            Progress::Waiting => Outcome::Aborted,
            Progress::Sending { status, grpc: None } if self.is_grpc => {
                Outcome::Grpc { code: grpc::CANCELLED, http: status.as_u16() }
            }
            // A client need not read the whole body.
            Progress::Sending { status, .. } if !self.is_grpc && self.options.side == Side::Client => {
                Outcome::Http(status.as_u16())
            }
            Progress::Sending { .. } if !self.is_grpc => Outcome::Aborted,
            Progress::Sending { status, grpc } | Progress::Complete { status, grpc } if self.is_grpc_web => {
                Outcome::from_grpc_web(grpc, status.as_u16())
            }
            Progress::Sending { status, grpc } | Progress::Complete { status, grpc } if self.is_grpc => {
                Outcome::from_grpc(grpc, status.as_u16())
            }
            Progress::Sending { status, .. } | Progress::Complete { status, .. } => {
                Outcome::Http(status.as_u16())
            }
            Progress::Failed { status, grpc } if self.options.side == Side::Client => match status {
                None => Outcome::Http(0),
                Some(status) if self.is_grpc => Outcome::Grpc {
                    code: grpc.filter(|code| *code != grpc::OK).unwrap_or(grpc::UNKNOWN),
                    http: status.as_u16(),
                },
                Some(status) => {
                    Outcome::Incomplete { status: status.as_u16(), cause: IncompleteCause::Disconnect }
                }
            },
            // The status of a server that fails, even if it has sent another one before.
            Progress::Failed { .. } if self.is_grpc => Outcome::Grpc { code: grpc::UNKNOWN, http: 500 },
            Progress::Failed { .. } => Outcome::Http(500),
        }
    }

    fn exchange(&self) -> Exchange<'_> {
        let captured = &self.captured;
        Exchange {
            method: self.method.as_str().as_bytes(),
            scheme: captured.get(&captured.scheme),
            authority: captured.get(&captured.authority),
            target: captured.get(&captured.target),
            url: captured.get(&captured.url),
            protocol: self.protocol,
            user_agent: captured.get(&captured.user_agent),
            referer: captured.get(&captured.referer),
            remote_ip: captured.get(&captured.remote_ip),
            server_ip: b"",
            request_size: self.request_size,
            response_size: self.response_size,
            route: captured.get(&captured.route),
            outcome: self.outcome(),
            grpc_message: &self.status_message,
            duration: self.start.elapsed(),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let exchange = self.exchange();
        self.in_scope(|| {
            // The body may be dropped before its message is read.
            let message = self.message.as_deref().inspect(|message| message.set(None));
            lines::end(&self.options, &exchange, message.and_then(RequestMessage::text));
            if let Some(span) = &self.span {
                span.end(&exchange, matches!(self.progress, Progress::Failed { .. }));
            }
        });
    }
}

// === header values ===

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
