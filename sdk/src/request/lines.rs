//! The log lines of a request: `tracing` events, which levels and subscribers filter like all others.

use std::borrow::Cow;
use std::fmt;

use logtracer_core::line::Severity;
use logtracer_core::request::{Exchange, Outcome, grpc};
use tracing::Level;

use super::fields::FieldValue;
use super::record::EndError;
use super::{LogOptions, RequestLog, Side};
use crate::events::at_level;
use crate::targets;

/// Logs the first line of a [`RequestLog::Pair`].
pub(super) fn start(side: Side, exchange: &Exchange<'_>, is_grpc: bool) {
    let (method, url) = (Lossy(exchange.method), Lossy(exchange.url));
    let path = Lossy(exchange.path());
    match (side, is_grpc) {
        (Side::Server, false) => tracing::info!(target: targets::SERVER, "{method} - {url}"),
        (Side::Server, true) => received(&path, None),
        (Side::Client, false) => tracing::info!(target: targets::CLIENT, "OUTBOUND {method} - {url}"),
        (Side::Client, true) => tracing::info!(target: targets::CLIENT, "{path} - outbound gRPC call"),
    }
}

/// Logs the first line of a gRPC call, with its message if messages are logged.
pub(super) fn received(path: impl fmt::Display, message: Option<&str>) {
    tracing::info!(target: targets::SERVER, request = message, "{path} - received gRPC call");
}

/// The end of a request.
pub(super) struct End<'a> {
    pub(super) exchange: &'a Exchange<'a>,
    pub(super) side: Side,
    /// The message of a gRPC request.
    pub(super) message: Option<&'a str>,
    pub(super) error: EndError<'a>,
    pub(super) is_timed_out: bool,
    /// True for a call that was dropped before its response.
    pub(super) is_cancelled: bool,
    /// False if the call failed or was dropped before its response.
    pub(super) has_response: bool,
    pub(super) is_grpc: bool,
    /// The fields that the application has added.
    #[cfg_attr(not(feature = "logging"), allow(dead_code))]
    pub(super) fields: &'a [(Cow<'static, str>, FieldValue)],
}

/// Logs the last line of a request.
pub(super) fn end(options: &LogOptions, end: &End<'_>) {
    let write = || match options.requests {
        RequestLog::Off => {}
        RequestLog::Pair => end.log_last(end.level(options)),
        RequestLog::Single => end.log_single(end.level(options)),
    };
    #[cfg(feature = "logging")]
    if !end.fields.is_empty() && options.requests != RequestLog::Off {
        let fields = end.fields.iter().map(|(name, value)| (&**name, value.as_line_value()));
        return crate::logging::request_fields::with(fields, write);
    }
    write();
}

/// Logs an event with the fields of a request that are not part of `httpRequest`.
macro_rules! line {
    ($end:expr, $level:expr, $target:expr, { $($field:tt)* }, $($message:tt)+) => {
        at_level!(
            $level,
            $target,
            {
                $($field)*
                rpc.method = $end.rpc_method().as_deref(),
                rpc.response.status_code = $end.rpc_status(),
                error = $end.error.text,
                "error.type" = $end.error.error_type,
            },
            $($message)+
        )
    };
}

impl End<'_> {
    fn log_last(&self, level: Level) {
        let last = LastLine(self);
        match self.side {
            Side::Server => line!(self, level, targets::SERVER, {}, "{last}"),
            Side::Client => line!(self, level, targets::CLIENT, {}, "{last}"),
        }
    }

    fn log_single(&self, level: Level) {
        let request = self.exchange.http_request();
        let number = |number: u64| (number > 0).then_some(number);
        macro_rules! single {
            ($target:expr, $prefix:literal) => {
                line!(
                    self,
                    level,
                    $target,
                    {
                        http_request.request_method = text(request.method).as_deref(),
                        http_request.request_url = text(request.url).as_deref(),
                        http_request.request_size = number(request.request_size),
                        http_request.status = number(request.status.into()),
                        http_request.response_size = number(request.response_size),
                        http_request.user_agent = text(request.user_agent).as_deref(),
                        http_request.remote_ip = text(request.remote_ip).as_deref(),
                        http_request.referer = text(request.referer).as_deref(),
                        http_request.latency = request.latency.as_secs_f64(),
                        http_request.protocol = text(request.protocol).as_deref(),
                        labels.route = text(self.route()).as_deref(),
                        request = self.message,
                    },
                    concat!($prefix, "{}"),
                    SingleLine(self)
                )
            };
        }
        match self.side {
            Side::Server => single!(targets::SERVER, ""),
            Side::Client => single!(targets::CLIENT, "OUTBOUND "),
        }
    }

    fn level(&self, options: &LogOptions) -> Level {
        let outcome = self.exchange.outcome;
        match (outcome.severity(), self.side) {
            // A failed call need not fail the request that makes it.
            (Severity::Error, Side::Client) => Level::WARN,
            _ if self.is_timed_out && self.side == Side::Server => Level::ERROR,
            _ if self.is_cancelled => Level::INFO,
            _ if outcome.status() == 0 => Level::WARN,
            (Severity::Error, Side::Server) => Level::ERROR,
            (Severity::Warning, _) => options.client_errors,
            _ => Level::INFO,
        }
    }

    /// Returns the route, which for gRPC is the path of the method. Of a method that does not exist it is nothing: the
    /// caller could send any number of them.
    fn route(&self) -> &[u8] {
        match self.exchange.outcome {
            Outcome::Grpc { code: grpc::UNIMPLEMENTED, .. } => b"",
            Outcome::Grpc { .. } if self.side == Side::Server => self.exchange.path(),
            _ => self.exchange.named_route(),
        }
    }

    /// Returns the method of a gRPC call as in the attribute of its span.
    fn rpc_method(&self) -> Option<Cow<'_, str>> {
        let path = self.exchange.path();
        self.is_grpc.then(|| lossy(path.strip_prefix(b"/").unwrap_or(path)))
    }

    fn rpc_status(&self) -> Option<&'static str> {
        match self.exchange.outcome {
            Outcome::Grpc { code, .. } => Some(grpc::name(code)),
            _ => None,
        }
    }
}

/// `GET - http://shop/basket - 200 OK`, or `/demo.Shop/Buy - OK`.
struct SingleLine<'a>(&'a End<'a>);

impl fmt::Display for SingleLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(End { exchange, is_cancelled, is_grpc, .. }) = self;
        if *is_cancelled && !is_grpc {
            return write!(f, "{} - {} - {CANCELLED}", Lossy(exchange.method), Lossy(exchange.url));
        }
        exchange.write_message(f);
        Ok(())
    }
}

/// What takes the place of the status of a call that was dropped before its response.
const CANCELLED: &str = "cancelled";

/// The last line of a [`RequestLog::Pair`]: `200 OK - http://shop/basket`.
///
/// For gRPC it is `/demo.Shop/Buy - OK - returning gRPC call` on a server, and
/// `Response received from /demo.Shop/Buy - OK` on a client.
struct LastLine<'a>(&'a End<'a>);

impl fmt::Display for LastLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(End { exchange, side, has_response, is_cancelled, .. }) = self;
        let Outcome::Grpc { code, .. } = exchange.outcome else {
            if *is_cancelled {
                return write!(f, "{CANCELLED} - {}", Lossy(exchange.url));
            }
            exchange.write_status(f);
            exchange.write_incomplete(f);
            return write!(f, " - {}", Lossy(exchange.url));
        };
        let (path, code) = (Lossy(exchange.path()), grpc::name(code));
        match side {
            Side::Server => write!(f, "{path} - {code} - returning gRPC call")?,
            Side::Client if !has_response => write!(f, "No response from {path} - {code}")?,
            Side::Client => write!(f, "Response received from {path} - {code}")?,
        }
        exchange.write_grpc_message(f);
        Ok(())
    }
}

/// Returns the bytes as text, or `None` if there are none.
fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    (!bytes.is_empty()).then(|| lossy(bytes))
}

/// Returns the bytes as text, with U+FFFD for what is not UTF-8. Nearly all bytes are, and `from_utf8` is the faster way for
/// those.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Displays bytes as text, with U+FFFD for what is not UTF-8.
struct Lossy<'a>(&'a [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lossy(self.0))
    }
}
