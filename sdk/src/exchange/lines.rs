//! The lines about a request: events of `tracing`, so that levels and subscribers apply as to all others.

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use logtracer_core::line::Severity;
use logtracer_core::request::{Exchange, Outcome, grpc};
use tracing::Level;

use super::{RequestLog, Side, Telling};
use crate::errors::panic_text;
use crate::events::at_level;
use crate::targets;

pub(super) fn begin(telling: &Telling, exchange: &Exchange<'_>, is_grpc: bool) {
    if telling.requests != RequestLog::Pair {
        return;
    }
    let (method, url) = (Lossy(exchange.method), Lossy(exchange.url));
    let path = Lossy(exchange.path());
    match (telling.side, is_grpc) {
        (Side::Server, false) => tracing::info!(target: targets::SERVER, "{method} - {url}"),
        (Side::Server, true) => received(&path, None),
        (Side::Client, false) => tracing::info!(target: targets::CLIENT, "OUTBOUND {method} - {url}"),
        (Side::Client, true) => tracing::info!(target: targets::CLIENT, "{path} - outbound gRPC call"),
    }
}

/// The first line of a call, with its message where that is told.
pub(super) fn received(path: impl fmt::Display, message: Option<&str>) {
    tracing::info!(target: targets::SERVER, request = message, "{path} - received gRPC call");
}

pub(super) fn end(telling: &Telling, exchange: &Exchange<'_>, message: Option<&str>) {
    let level = level_of(telling, exchange.outcome);
    match (telling.requests, telling.side) {
        (RequestLog::Off, _) => {}
        (RequestLog::Pair, Side::Server) => at_level!(level, targets::SERVER, "{}", Returned(exchange)),
        (RequestLog::Pair, Side::Client) => at_level!(level, targets::CLIENT, "{}", Answered(exchange)),
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
                Summary(exchange)
            )
        };
    }
    match side {
        Side::Server => line!(targets::SERVER, ""),
        Side::Client => line!(targets::CLIENT, "OUTBOUND "),
    }
}

/// The panics of this thread that have their line already.
pub(super) fn panics_written() -> u64 {
    #[cfg(feature = "logging")]
    let written = crate::logging::panic::written();
    #[cfg(not(feature = "logging"))]
    let written = 0;
    written
}

pub(super) fn panicked(payload: &(dyn Any + Send)) {
    tracing::error!(target: targets::PANIC, "panicked: {}", panic_text(payload));
    // A layer around this one has nothing to add.
    #[cfg(feature = "logging")]
    crate::logging::panic::count();
}

thread_local! {
    static FAILURES: Cell<u64> = const { Cell::new(0) };
}

/// The failures of this thread that have their line already.
pub(super) fn failures_told() -> u64 {
    FAILURES.get()
}

/// Tells why a service or a body has failed.
pub(crate) fn failed(why: impl fmt::Display) {
    tracing::error!(target: targets::ERROR, "failed: {why}");
    // A layer around this one has nothing to add.
    FAILURES.set(FAILURES.get() + 1);
}

fn level_of(telling: &Telling, outcome: Outcome) -> Level {
    match (outcome.severity(), telling.side) {
        // What another service got wrong is not yet an error of this one.
        (Severity::Error, Side::Client) => Level::WARN,
        _ if outcome.status() == 0 => Level::WARN,
        (Severity::Error, Side::Server) => Level::ERROR,
        (Severity::Warning, _) => telling.client_errors,
        _ => Level::INFO,
    }
}

/// `GET - http://shop/basket - 200 OK`, or `/demo.Shop/Buy - OK`.
struct Summary<'a>(&'a Exchange<'a>);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_message(f);
        Ok(())
    }
}

/// `200 OK - http://shop/basket`, or `/demo.Shop/Buy - OK - returning gRPC call`.
struct Returned<'a>(&'a Exchange<'a>);

impl fmt::Display for Returned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exchange = self.0;
        match exchange.outcome {
            Outcome::Grpc { code, .. } => {
                write!(f, "{} - {} - returning gRPC call", Lossy(exchange.path()), grpc::name(code))?;
                exchange.write_grpc_message(f);
                Ok(())
            }
            _ => {
                exchange.write_status(f);
                write!(f, " - {}", Lossy(exchange.url))
            }
        }
    }
}

/// `200 OK - http://shop/basket`, or `Response received from /demo.Shop/Buy - OK`.
struct Answered<'a>(&'a Exchange<'a>);

impl fmt::Display for Answered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exchange = self.0;
        match exchange.outcome {
            Outcome::Grpc { code, .. } => {
                write!(f, "Response received from {} - {}", Lossy(exchange.path()), grpc::name(code))?;
                exchange.write_grpc_message(f);
                Ok(())
            }
            _ => Returned(exchange).fmt(f),
        }
    }
}

/// Bytes as text, if there are any.
fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes))
}

/// Bytes as text.
struct Lossy<'a>(&'a [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}
