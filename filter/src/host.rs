//! What the filter needs of its host, the proxy that runs it.
//!
//! The filter's logic knows no proxy. A *shell* connects it to one: it implements the traits of this module and passes
//! the proxy's callbacks on to a [`Root`](crate::Root) and its [`Stream`](crate::Stream)s. `filter/wasm` is the shell
//! for proxy-wasm, `filter/native` the one for Envoy's dynamic modules.
//!
//! No operation fails a request: one that the host rejects returns `None` or does nothing.

use core::time::Duration;

use crate::metrics::Metric;
use crate::properties::Properties;

/// The level of a message in the proxy's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// A recovery, such as resumed delivery.
    Info,
    /// Spans are late or were dropped.
    Warn,
    /// The configuration was rejected.
    Error,
}

/// The headers or trailers of a request that an operation reads or changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadersOf {
    /// The request's headers, which the next hop receives.
    Request,
    /// The response's headers.
    Response,
    /// The response's trailers, which are the status of a gRPC call.
    Trailers,
}

/// What every callback can do.
pub trait Host {
    /// Returns the nanoseconds since 1970; 0 without a clock.
    fn unix_nanos(&self) -> u64;

    /// Returns the nanoseconds of a clock that is never set.
    fn monotonic_nanos(&self) -> u64;

    /// Returns random bytes; `None` if the generator fails.
    fn random<const N: usize>(&self) -> Option<[u8; N]>;

    /// Writes to the proxy's own log, which is too expensive for every request.
    fn log(&self, level: LogLevel, message: &str);
}

/// Lines of headers that were copied from the proxy.
pub trait HeaderLines {
    /// Returns the name, in lower case, and the value of each line, in order.
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
}

/// What every callback of a request can do.
pub trait HeadersHost: Host {
    /// A copy of all lines.
    type Lines: HeaderLines;

    /// Returns all lines; none if there are no such headers.
    fn header_lines(&self, of: HeadersOf) -> Self::Lines;

    /// Returns the value of the first line of a header.
    fn header(&self, of: HeadersOf, name: &str) -> Option<Vec<u8>>;
}

/// What the callbacks for the headers of a request and of its response can do.
pub trait ForwardingHost: HeadersHost + StreamHost {
    /// Adds a line. The caller knows that the header is absent.
    fn add_header(&self, of: HeadersOf, name: &str, value: &str);

    /// Adds a line after those of the same name.
    fn append_header(&self, of: HeadersOf, name: &str, value: &str) {
        self.add_header(of, name, value);
    }

    /// Replaces a header that has one line.
    fn replace_header(&self, of: HeadersOf, name: &str, value: &str);

    /// Removes all lines of a header.
    fn remove_header(&self, of: HeadersOf, name: &str);
}

/// Whether two filters of a host are in the same stream.
pub trait StreamHost {
    /// Returns a number for this filter of the stream, until the stream ends.
    fn stream_key(&self) -> u64;

    /// Returns whether the filter with this number is in the same stream. It is called only if that is likely.
    fn is_in_stream_of(&self, key: u64) -> bool;
}

/// What the callback after the end of a request can do.
pub trait LogHost: HeadersHost + StreamHost {
    /// Calls `run` with what the proxy measured.
    fn with_properties<R>(&self, run: impl FnOnce(&Properties<'_>) -> R) -> R;

    /// Returns the response code details; nothing if the host does not know them.
    fn code_details(&self) -> Vec<u8>;

    /// Returns the nanoseconds from the end of the request until the first byte of the response.
    fn backend_latency_nanos(&self) -> Option<u64>;

    /// Prints the request's line. Returns false if the line is dropped. The line ends with a line break only if
    /// `line_break` is configured. A shell that writes to stdout itself ends each line.
    fn write_line(&self, line: Vec<u8>) -> bool;

    /// Marks a request that has no line on purpose, so that an access logger for requests without one skips it.
    fn skip_line(&self) {}

    /// Calls [`Root::on_tick`](crate::Root::on_tick) soon, from outside of the request.
    fn wake_root(&self);
}

/// What the callbacks of a root can do.
pub trait RootHost: Host {
    /// Adds to a counter, or to a gauge, for which the amount may be negative.
    fn add_to_metric(&self, metric: Metric, amount: i64);

    /// Calls [`Root::on_tick`](crate::Root::on_tick) after this time, and then in this interval until the next call of
    /// this function.
    fn set_tick(&self, interval: Duration);

    /// Sends a request and returns the token of its response, for [`Root::on_response`](crate::Root::on_response).
    /// Returns `None` if the cluster does not exist or has no reachable host.
    fn send(&self, request: &ExportRequest<'_>) -> Option<u32>;
}

/// A request that delivers spans to the exporter.
#[derive(Debug)]
pub struct ExportRequest<'r> {
    /// The Envoy cluster.
    pub cluster: &'r str,
    /// The lines of the headers, with `:method`, `:path` and `:authority`.
    pub headers: &'r [(&'r str, &'r str)],
    /// An OTLP request in protobuf.
    pub body: &'r [u8],
    /// The longest time until the response is complete.
    pub timeout: Duration,
}

/// A response to an [`ExportRequest`].
#[derive(Debug, Default)]
pub struct ExportResponse {
    /// The HTTP status; `None` if it is malformed.
    pub status: Option<u16>,
    /// The value of `retry-after`.
    pub retry_after: Option<Vec<u8>>,
    /// The body, or its first 4096 bytes.
    pub body: Vec<u8>,
}

/// What the proxy knows about itself, when a root is configured. [`Node`](crate::Node) interprets it.
pub trait NodeHost {
    /// Returns the text at a path below the node of the proxy's bootstrap configuration, such as `["metadata", "NAME"]`.
    fn node_text(&self, path: &[&str]) -> Option<String>;

    /// Returns the name of this plugin in the proxy's configuration.
    fn plugin_name(&self) -> Option<String>;
}
