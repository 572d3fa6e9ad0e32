//! [`Record`]: what is known of one request, until it is logged and its span ends.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use http_body::Frame;
use logtracer_core::request::{Exchange, grpc};

use super::captured::Captured;
use super::fields::FieldsSnapshot;
#[cfg(feature = "server")]
use super::fields::RequestFields;
use super::message::RequestMessage;
use super::progress::Progress;
use super::span::SpanEnd;
use super::time_limit::TimeLimits;
use super::{LogOptions, RequestHeaders, RequestLog, RequestSpan, ServiceError, Side, lines};
use crate::current::Scope;
use crate::errors::Failure;

/// The record of a request; dropping it logs the last line and ends the span.
#[derive(Debug)]
pub(crate) struct Record {
    options: LogOptions,
    scope: Option<Scope>,
    start: Instant,
    limits: TimeLimits,
    span: Option<RequestSpan>,
    message: Option<Arc<RequestMessage>>,
    method: Method,
    http_version: &'static [u8],
    captured: Captured,
    request_size: u64,
    response_size: u64,
    protocol: Protocol,
    /// The decoded `grpc-message`.
    status_message: Vec<u8>,
    progress: Progress,
    /// The `content-length` of the response.
    response_length: Option<u64>,
    failure: Option<KeptFailure>,
    /// The name of the span, instead of that of a request.
    span_name: Option<Cow<'static, str>>,
}

/// Where the status of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
    /// gRPC-Web, which has its status in the body.
    GrpcWeb,
}

impl Protocol {
    pub(super) fn is_grpc(self) -> bool {
        self != Self::Http
    }
}

/// The text and the type of a [`Failure`], kept until the end of its request.
#[derive(Debug)]
struct KeptFailure {
    /// The error and its causes.
    text: String,
    /// The value of the attribute `error.type`.
    error_type: Cow<'static, str>,
    /// True for the error of a time limit.
    is_timeout: bool,
}

/// The error of a request in its line and its span.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndError<'a> {
    /// The error of a call and its causes. That of a server has its own line.
    pub(super) text: Option<&'a str>,
    /// The value of `error.type`, if it is not that of the response.
    pub(super) error_type: Option<&'a str>,
}

/// The head of a request.
pub(crate) struct Parts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    /// `None` for a call whose protocol is not known.
    pub(crate) version: Option<Version>,
    pub(crate) headers: &'a HeaderMap,
    /// The headers above that are read.
    pub(crate) known: &'a RequestHeaders<'a>,
    /// The route that the framework matched, or the template of the URL of a call.
    pub(crate) route: &'a str,
    /// The address of the caller, if it is known.
    pub(crate) caller_ip: Option<IpAddr>,
    /// The URL of the server, for a call whose own URL has only a path.
    pub(crate) server_uri: Option<&'a Uri>,
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
        let Parts { method, version, known, .. } = *parts;
        let protocol = match options.is_grpc(known) {
            true if grpc::is_web_content_type(known.content_type) => Protocol::GrpcWeb,
            true => Protocol::Grpc,
            false => Protocol::Http,
        };
        let mut record = Box::new(Self {
            options,
            scope: scope.cloned(),
            start: Instant::now(),
            limits: TimeLimits::new(&options, protocol.is_grpc(), known),
            span,
            message,
            method: method.clone(),
            http_version: version.map_or(b"", version_text),
            captured: Captured::new(&options, parts),
            request_size: read_number(known.content_length).unwrap_or(0),
            response_size: 0,
            protocol,
            status_message: Vec::new(),
            progress: Progress::Waiting,
            response_length: None,
            failure: None,
            span_name: None,
        });
        if options.requests == RequestLog::Pair && record.message.is_none() {
            let mut scope = record.scope.take();
            {
                let _entered = scope.as_mut().map(Scope::enter);
                let exchange = record.exchange(Duration::ZERO, false);
                lines::start(options.side, &exchange, protocol.is_grpc());
            }
            record.scope = scope;
        }
        Some(record)
    }

    #[cfg(feature = "server")]
    pub(super) fn message(&self) -> Option<Arc<RequestMessage>> {
        self.message.clone()
    }

    #[cfg_attr(not(feature = "client"), allow(dead_code))]
    pub(crate) fn set_span_name(&mut self, name: Cow<'static, str>) {
        self.span_name = Some(name);
    }

    /// Records the head of the response.
    pub(crate) fn set_head(&mut self, status: StatusCode, headers: &HeaderMap) {
        // A gRPC response without a body has its status among its headers ("trailers-only").
        let grpc = self.read_grpc_status(headers);
        self.progress = Progress::Sending { status, grpc };
        self.response_length =
            headers.get(header::CONTENT_LENGTH).and_then(|value| read_number(value.as_bytes()));
        let has_no_body = self.method == Method::HEAD
            || (self.response_length == Some(0) && !self.protocol.is_grpc())
            || status.is_informational()
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        if has_no_body {
            self.mark_complete();
        }
    }

    /// Records the length that the body names, which hyper sends as `content-length` if there is none.
    pub(super) fn set_body_length(&mut self, length: Option<u64>) {
        // A gRPC call is complete only with its status.
        if !self.protocol.is_grpc() {
            self.response_length = self.response_length.or(length);
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
        let Some(trailers) = frame.trailers_ref() else { return };
        let code = self.read_grpc_status(trailers);
        if let (Some(code), Progress::Sending { grpc, .. } | Progress::Complete { grpc, .. }) =
            (code, &mut self.progress)
        {
            *grpc = Some(code);
        }
        // Trailers end a message (RFC 9110, section 6.5): hyper polls no further.
        self.mark_complete();
    }

    /// Returns the status code of a gRPC call, and keeps its message.
    fn read_grpc_status(&mut self, headers: &HeaderMap) -> Option<u32> {
        if !self.protocol.is_grpc() {
            return None;
        }
        if let Some(message) = headers.get("grpc-message") {
            self.status_message.clear();
            grpc::write_message(&mut self.status_message, message.as_bytes());
        }
        headers.get("grpc-status")?.to_str().ok()?.parse().ok()
    }

    pub(crate) fn mark_complete(&mut self) {
        self.progress.mark_complete();
    }

    /// Records that the service or the body failed, and why.
    pub(super) fn mark_failed<E: ServiceError>(&mut self, failure: &Failure<'_, E>) {
        self.progress.mark_failed();
        if self.failure.is_none() {
            let is_timeout = match self.options.side {
                Side::Client => failure.is_timeout(),
                // The failure of a call that the handler makes is not a time limit of the request.
                Side::Server => failure.is_time_limit(),
            };
            self.failure =
                Some(KeptFailure { text: failure.to_string(), error_type: failure.error_type(), is_timeout });
        }
    }

    /// Records a panic with this text.
    pub(super) fn mark_panicked(&mut self, text: &str) {
        self.progress.mark_failed();
        let text = format!("panicked: {text}");
        self.failure.get_or_insert(KeptFailure { text, error_type: "panic".into(), is_timeout: false });
    }

    /// Returns true for a call that is dropped before its response.
    fn is_cancelled(&self, is_timed_out: bool) -> bool {
        self.options.side == Side::Client && self.progress == Progress::Waiting && !is_timed_out
    }

    /// Returns true if the request ends because of a time limit.
    fn is_timed_out(&self, elapsed: Duration) -> bool {
        match self.progress {
            Progress::Waiting => self.limits.is_head_late(elapsed),
            Progress::Sending { grpc: None, .. } => self.limits.is_body_late(elapsed),
            // The status with which a layer inside of this one ends a request.
            Progress::Complete { status: StatusCode::REQUEST_TIMEOUT, .. } => {
                self.options.side == Side::Server && self.limits.is_head_late(elapsed)
            }
            // The error of a time limit within this layer.
            Progress::Failed { .. } => self.failure.as_ref().is_some_and(|failure| failure.is_timeout),
            _ => false,
        }
    }

    fn exchange(&self, duration: Duration, is_timed_out: bool) -> Exchange<'_> {
        let captured = &self.captured;
        Exchange {
            method: self.method.as_str().as_bytes(),
            scheme: captured.get(&captured.scheme),
            authority: captured.get(&captured.authority),
            target: captured.get(&captured.target),
            url: captured.get(&captured.url),
            protocol: self.http_version,
            user_agent: captured.get(&captured.user_agent),
            referer: captured.get(&captured.referer),
            remote_ip: captured.get(&captured.remote_ip),
            server_ip: b"",
            request_size: self.request_size,
            response_size: self.response_size,
            route: captured.get(&captured.route),
            outcome: self.progress.outcome(self.options.side, self.protocol, is_timed_out),
            grpc_message: &self.status_message,
            duration,
        }
    }

    fn error(&self, is_timed_out: bool) -> EndError<'_> {
        let failure = self.failure.as_ref().filter(|_| self.options.side == Side::Client);
        let error_type = if is_timed_out {
            Some("timeout")
        } else if self.is_cancelled(is_timed_out) && !self.protocol.is_grpc() {
            // For gRPC it is the code.
            Some("cancelled")
        } else {
            failure.map(|failure| &*failure.error_type)
        };
        EndError { text: failure.map(|failure| failure.text.as_str()), error_type }
    }

    /// Returns the fields that the application has added.
    fn fields(&self) -> FieldsSnapshot {
        #[cfg(feature = "server")]
        if self.options.side == Side::Server {
            let carried = self.scope.as_ref().and_then(Scope::carried);
            let fields = carried.as_ref().and_then(|carried| carried.fields.as_ref());
            return fields.map(RequestFields::get).unwrap_or_default();
        }
        FieldsSnapshot::default()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let fields = self.fields();
        let (mut scope, span) = (self.scope.take(), self.span.take());
        let elapsed = self.start.elapsed();
        let is_timed_out = self.is_timed_out(elapsed);
        let is_cancelled = self.is_cancelled(is_timed_out);
        let mut exchange = self.exchange(elapsed, is_timed_out);
        // The framework knows the route better than the application.
        if exchange.route.is_empty() {
            exchange.route = fields.route.as_bytes();
        }
        let _entered = scope.as_mut().map(Scope::enter);
        let error = self.error(is_timed_out);
        // The body may be dropped before its message is read.
        let message = self.message.as_deref().inspect(|message| message.set(None));
        let end = lines::End {
            exchange: &exchange,
            side: self.options.side,
            message: message.and_then(RequestMessage::text),
            error,
            is_timed_out,
            is_cancelled,
            has_response: !matches!(self.progress, Progress::Waiting | Progress::Failed { status: None, .. }),
            is_grpc: self.protocol.is_grpc(),
            fields: &fields.fields,
        };
        lines::end(&self.options, &end);
        if let Some(span) = span {
            #[cfg(feature = "spans")]
            fields.add_to_current_span();
            let is_failed = matches!(self.progress, Progress::Failed { .. });
            SpanEnd {
                exchange: &exchange,
                side: self.options.side,
                is_grpc: self.protocol.is_grpc(),
                name: self.span_name.as_deref(),
                is_failed: is_failed || is_timed_out || is_cancelled,
                error,
            }
            .end(span);
        }
    }
}

// === header values ===

/// Reads a number of decimal digits.
fn read_number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn version_text(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_09 => b"HTTP/0.9",
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_11 => b"HTTP/1.1",
        Version::HTTP_2 => b"HTTP/2",
        Version::HTTP_3 => b"HTTP/3",
        _ => b"",
    }
}
