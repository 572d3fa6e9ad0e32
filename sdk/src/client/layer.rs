//! [`TraceLayer`]: the layer of a client, and its options.

use logtracer_core::propagation::Propagator;
use logtracer_core::request::url::Query;
use tower_layer::Layer;

use super::{RequestLog, TraceService};
use crate::request::{LogOptions, Side};

/// Injects the current trace into every request: a layer for hyper, tonic and every other tower client, and a
/// middleware for `reqwest-middleware`.
///
/// Without a current trace requests are not changed.
///
/// ```
/// use http_body_util::Empty;
/// use logtracer_sdk::client::TraceLayer;
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::TraceContext;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let client = ServiceBuilder::new().layer(TraceLayer::new()).service(service_fn(
///     async |request: http::Request<()>| {
///         assert!(request.headers().contains_key("traceparent"));
///         Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<&[u8]>::new()))
///     },
/// ));
/// let request = http::Request::get("http://next.hop/").body(()).unwrap();
/// client.oneshot(request).in_trace(TraceContext::new_root()).await.unwrap();
/// # });
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TraceLayer {
    pub(super) log: LogOptions,
    pub(super) propagator: Propagator,
}

impl TraceLayer {
    /// Returns a layer that logs no requests.
    pub fn new() -> Self {
        Self { log: LogOptions::new(Side::Client), propagator: Propagator::default() }
    }

    /// Sets the formats to inject; by default B3 in several headers, W3C's and Google's.
    #[must_use]
    pub fn propagator(mut self, propagator: Propagator) -> Self {
        self.propagator = propagator;
        self
    }

    /// Sets the lines to log for each request; none by default.
    ///
    /// They are events of `tracing` with the target `logtracer::client` and the level `INFO`, or `WARN` for a call that
    /// failed.
    #[must_use]
    pub fn requests(mut self, requests: RequestLog) -> Self {
        self.log.requests = requests;
        self
    }

    /// Sets how query strings appear in lines and spans; their values are redacted by default.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.log.query = query;
        self
    }
}

impl Default for TraceLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> TraceService<S> {
        TraceService { inner, layer: *self }
    }
}
