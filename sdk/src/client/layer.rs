//! [`TraceLayer`]: hands the trace on with every request of a tower client.

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use logtracer_core::propagation::Propagator;
use logtracer_core::request::url::Query;
use tower_layer::Layer;
use tower_service::Service;

use super::{RequestLog, ResponseFuture, TraceBody, call};
use crate::exchange::{Side, Telling};

/// Hands the current trace on with every request: a layer for hyper, tonic and every other tower client.
///
/// Without a current trace requests stay as they are.
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
    pub(super) telling: Telling,
    pub(super) propagator: Propagator,
}

impl TraceLayer {
    /// A layer that writes no line.
    pub fn new() -> Self {
        Self { telling: Telling::of(Side::Client), propagator: Propagator::default() }
    }

    /// Writes the formats that this propagator injects, and no other; the default's are B3 in several headers,
    /// W3C's and Google's.
    #[must_use]
    pub fn propagator(mut self, propagator: Propagator) -> Self {
        self.propagator = propagator;
        self
    }

    /// Which lines are written for a request; none by default.
    ///
    /// They are events of `tracing` with the target `logtracer::client`, `INFO` unless the call failed (`WARN`).
    #[must_use]
    pub fn requests(mut self, requests: RequestLog) -> Self {
        self.telling.requests = requests;
        self
    }

    /// What becomes of query strings in lines and spans; their values are redacted by default.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.telling.query = query;
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

/// A client whose requests carry the trace; made by [`TraceLayer`].
#[derive(Debug, Clone)]
pub struct TraceService<S> {
    inner: S,
    layer: TraceLayer,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for TraceService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: Body,
{
    type Response = Response<TraceBody<ResponseBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let (method, uri, version) = (request.method().clone(), request.uri().clone(), request.version());
        let begun = call::start(&self.layer, &method, &uri, version, request.headers_mut());
        begun.call(None, || self.inner.call(request))
    }
}
