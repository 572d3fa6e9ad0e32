//! [`WasmHost`]: the operations of a host, as host calls.

use core::time::Duration;

use logtracer_filter::host::{
    ExportRequest, ExportResponse, ForwardingHost, HeaderLines, HeadersHost, HeadersOf, Host, LogHost,
    LogLevel, NodeHost, RootHost, StreamHost,
};
use logtracer_filter::{Metric, Properties};

use crate::header_map::HeaderMap;
use crate::hostcalls::{self, Expression, MapType};
use crate::{metric_ids, properties};

/// The host of a root and of its streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WasmHost {
    /// Reads all properties of a request in one host call; `None` if the host does not support that.
    properties: Option<Expression>,
    /// The id of the root, which only its own streams can read.
    root: Option<Expression>,
    /// The id of the stream's context, or of the root's.
    context: u32,
}

impl WasmHost {
    /// Creates the host in a callback of the root.
    pub(crate) fn new(root: u32) -> Self {
        Self { properties: properties::expression(), root: Expression::new(&root.to_string()), context: root }
    }

    /// Returns the host of a stream.
    pub(crate) const fn of_stream(self, context: u32) -> Self {
        Self { context, ..self }
    }

    /// Returns the id of the root of the stream whose callback runs.
    pub(crate) fn root_of_stream(&self) -> Option<u32> {
        u32::try_from(hostcalls::number(&self.root?.evaluate()?)?).ok()
    }
}

impl Host for WasmHost {
    fn unix_nanos(&self) -> u64 {
        hostcalls::now_unix_nanos()
    }

    fn monotonic_nanos(&self) -> u64 {
        hostcalls::now_monotonic_nanos()
    }

    fn random<const N: usize>(&self) -> Option<[u8; N]> {
        hostcalls::random()
    }

    fn log(&self, level: LogLevel, message: &str) {
        hostcalls::log(level, message);
    }
}

impl HeaderLines for HeaderMap {
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.iter()
    }
}

impl HeadersHost for WasmHost {
    type Lines = HeaderMap;

    fn header_lines(&self, of: HeadersOf) -> HeaderMap {
        hostcalls::header_map(map_type(of))
    }

    fn header(&self, of: HeadersOf, name: &str) -> Option<Vec<u8>> {
        hostcalls::header(map_type(of), name)
    }
}

impl ForwardingHost for WasmHost {
    fn add_header(&self, of: HeadersOf, name: &str, value: &str) {
        hostcalls::add_header(map_type(of), name, value);
    }

    fn replace_header(&self, of: HeadersOf, name: &str, value: &str) {
        hostcalls::replace_header(map_type(of), name, value);
    }

    fn remove_header(&self, of: HeadersOf, name: &str) {
        hostcalls::remove_header(map_type(of), name);
    }
}

impl StreamHost for WasmHost {
    fn stream_key(&self) -> u64 {
        self.context.into()
    }

    /// Compares when the streams started, in nanoseconds.
    fn is_in_stream_of(&self, key: u64) -> bool {
        let start = || hostcalls::property("request\0time");
        let Ok(other) = u32::try_from(key) else { return false };
        let of_other = hostcalls::set_effective_context(other).then(start).flatten();
        hostcalls::set_effective_context(self.context);
        of_other.is_some() && of_other == start()
    }
}

impl NodeHost for WasmHost {
    /// Not inlined, because it is called for each of many paths.
    #[inline(never)]
    fn node_text(&self, path: &[&str]) -> Option<String> {
        let path = format!("xds\0node\0{}", path.join("\0"));
        hostcalls::text_property(&path)
    }

    fn plugin_name(&self) -> Option<String> {
        let name = hostcalls::property("plugin_name").map(|name| String::from_utf8_lossy(&name).into_owned());
        name.filter(|name| !name.is_empty())
    }
}

impl LogHost for WasmHost {
    fn with_properties<R>(&self, run: impl FnOnce(&Properties<'_>) -> R) -> R {
        properties::read(self.properties, run)
    }

    fn code_details(&self) -> Vec<u8> {
        hostcalls::property("response\0code_details").unwrap_or_default()
    }

    fn backend_latency_nanos(&self) -> Option<u64> {
        hostcalls::number(&hostcalls::property("response\0backend_latency")?)
    }

    /// Sets the filter state `wasm.logtracer`, from which Envoy's access log prints the line.
    fn write_line(&self, line: Vec<u8>) -> bool {
        hostcalls::set_property("logtracer", &line);
        true
    }

    /// Sets the filter state `wasm.logtracer_skipped`.
    fn skip_line(&self) {
        hostcalls::set_property("logtracer_skipped", b"1");
    }

    /// The tick is due at once.
    fn wake_root(&self) {
        hostcalls::set_tick_period(Duration::from_millis(1));
    }
}

impl RootHost for WasmHost {
    fn add_to_metric(&self, metric: Metric, amount: i64) {
        metric_ids::add(metric, amount);
    }

    fn set_tick(&self, interval: Duration) {
        hostcalls::set_tick_period(interval);
    }

    fn send(&self, request: &ExportRequest<'_>) -> Option<u32> {
        hostcalls::dispatch_http_call(request.cluster, request.headers, request.body, request.timeout)
    }
}

fn map_type(of: HeadersOf) -> MapType {
    match of {
        HeadersOf::Request => MapType::RequestHeaders,
        HeadersOf::Response => MapType::ResponseHeaders,
        HeadersOf::Trailers => MapType::ResponseTrailers,
    }
}

/// Returns the response to a callout, in the callback for it. Without headers there is no response: the callout
/// failed.
pub(crate) fn export_response(has_headers: bool, body_size: usize) -> Option<ExportResponse> {
    let header = |name| hostcalls::header(MapType::HttpCallResponseHeaders, name);
    let status = || core::str::from_utf8(&header(":status")?).ok()?.parse().ok();
    has_headers.then(|| ExportResponse {
        status: status(),
        retry_after: header("retry-after"),
        body: if body_size > 0 { hostcalls::http_call_response_body() } else { Vec::new() },
    })
}
