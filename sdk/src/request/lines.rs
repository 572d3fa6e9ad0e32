//! The log lines of a request: `tracing` events, which levels and subscribers filter like all others.

use std::borrow::Cow;
use std::fmt;

use logtracer_core::line::Severity;
use logtracer_core::request::{Exchange, Outcome, grpc};
use tracing::Level;

use super::{LogOptions, RequestLog, Side};
use crate::events::at_level;
use crate::targets;

/// Logs the first line of a [`RequestLog::Pair`].
pub(super) fn start(options: &LogOptions, exchange: &Exchange<'_>, is_grpc: bool) {
    if options.requests != RequestLog::Pair {
        return;
    }
    let (method, url) = (Lossy(exchange.method), Lossy(exchange.url));
    let path = Lossy(exchange.path());
    match (options.side, is_grpc) {
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

/// Logs the last line of a request.
pub(super) fn end(options: &LogOptions, exchange: &Exchange<'_>, message: Option<&str>) {
    let level = level_of(options, exchange.outcome);
    let last = LastLine(exchange, options.side);
    match (options.requests, options.side) {
        (RequestLog::Off, _) => {}
        (RequestLog::Pair, Side::Server) => at_level!(level, targets::SERVER, "{last}"),
        (RequestLog::Pair, Side::Client) => at_level!(level, targets::CLIENT, "{last}"),
        (RequestLog::Single, side) => single(level, side, exchange, message),
    }
}

fn single(level: Level, side: Side, exchange: &Exchange<'_>, message: Option<&str>) {
    let request = exchange.http_request();
    let number = |number: u64| (number > 0).then_some(number);
    macro_rules! line {
        ($target:expr, $prefix:literal) => {
            at_level!(
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
                    labels.route = text(exchange.named_route()).as_deref(),
                    request = message,
                },
                concat!($prefix, "{}"),
                SingleLine(exchange)
            )
        };
    }
    match side {
        Side::Server => line!(targets::SERVER, ""),
        Side::Client => line!(targets::CLIENT, "OUTBOUND "),
    }
}

fn level_of(options: &LogOptions, outcome: Outcome) -> Level {
    match (outcome.severity(), options.side) {
        // A failed call need not fail the request that makes it.
        (Severity::Error, Side::Client) => Level::WARN,
        _ if outcome.status() == 0 => Level::WARN,
        (Severity::Error, Side::Server) => Level::ERROR,
        (Severity::Warning, _) => options.client_errors,
        _ => Level::INFO,
    }
}

/// `GET - http://shop/basket - 200 OK`, or `/demo.Shop/Buy - OK`.
struct SingleLine<'a>(&'a Exchange<'a>);

impl fmt::Display for SingleLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_message(f);
        Ok(())
    }
}

/// The last line of a [`RequestLog::Pair`]: `200 OK - http://shop/basket`.
///
/// For gRPC it is `/demo.Shop/Buy - OK - returning gRPC call` on a server, and
/// `Response received from /demo.Shop/Buy - OK` on a client.
struct LastLine<'a>(&'a Exchange<'a>, Side);

impl fmt::Display for LastLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(exchange, side) = self;
        let Outcome::Grpc { code, .. } = exchange.outcome else {
            exchange.write_status(f);
            exchange.write_incomplete(f);
            return write!(f, " - {}", Lossy(exchange.url));
        };
        let (path, code) = (Lossy(exchange.path()), grpc::name(code));
        match side {
            Side::Server => write!(f, "{path} - {code} - returning gRPC call")?,
            Side::Client => write!(f, "Response received from {path} - {code}")?,
        }
        exchange.write_grpc_message(f);
        Ok(())
    }
}

/// Returns the bytes as text, or `None` if there are none.
fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes))
}

/// Displays bytes as text, with U+FFFD for what is not UTF-8.
struct Lossy<'a>(&'a [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}
