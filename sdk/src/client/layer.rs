//! [`TraceLayer`]: hands the trace on with every request of a tower client.

use std::fmt;
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
    ///
    /// ```
    /// use logtracer_sdk::client::TraceLayer;
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{TraceContext, testing::capture_async};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let stock = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// # let request = http::Request::get("http://stock/items?key=7").body(()).unwrap();
    /// let client = TraceLayer::new().layer(stock);
    /// let (_, lines) = capture_async(client.oneshot(request).in_trace(TraceContext::new_root())).await;
    /// assert!(lines.is_empty());
    /// # });
    /// ```
    pub fn new() -> Self {
        Self { telling: Telling::of(Side::Client), propagator: Propagator::default() }
    }

    /// Writes the formats that this propagator injects, and no other; the default's are B3 in several headers,
    /// W3C's and Google's.
    ///
    /// ```
    /// use logtracer_sdk::client::TraceLayer;
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::TraceContext;
    /// use logtracer_sdk::propagation::{Format, Formats, Propagator};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let only_b3 = Propagator { inject: Formats::of(&[Format::B3]), ..Propagator::default() };
    /// let client = TraceLayer::new().propagator(only_b3).layer(service_fn(async |request: http::Request<()>| {
    ///     assert!(request.headers().contains_key("b3"));
    ///     assert!(!request.headers().contains_key("traceparent"));
    ///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    /// }));
    /// client.oneshot(http::Request::new(())).in_trace(TraceContext::new_root()).await.unwrap();
    /// # });
    /// ```
    #[must_use]
    pub fn propagator(mut self, propagator: Propagator) -> Self {
        self.propagator = propagator;
        self
    }

    /// Which lines are written for a request; none by default.
    ///
    /// They are events of `tracing` with the target `logtracer::client`, `INFO` unless the call failed (`WARN`).
    ///
    /// ```
    /// use logtracer_sdk::client::{RequestLog, TraceLayer};
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{TraceContext, testing::capture_async};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let stock = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// # let request = http::Request::get("http://stock/items?key=7").body(()).unwrap();
    /// let client = TraceLayer::new().requests(RequestLog::Pair).layer(stock);
    /// let (_, lines) = capture_async(client.oneshot(request).in_trace(TraceContext::new_root())).await;
    /// assert_eq!(lines[0]["message"], "test - OUTBOUND GET - http://stock/items?key=REDACTED");
    /// assert_eq!(lines[1]["message"], "test - 200 OK - http://stock/items?key=REDACTED");
    /// # });
    /// ```
    #[must_use]
    pub fn requests(mut self, requests: RequestLog) -> Self {
        self.telling.requests = requests;
        self
    }

    /// What becomes of query strings in lines and spans; their values are redacted by default.
    ///
    /// ```
    /// use logtracer_sdk::client::{Query, RequestLog, TraceLayer};
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{TraceContext, testing::capture_async};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let stock = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// # let request = http::Request::get("http://stock/items?key=7").body(()).unwrap();
    /// let client = TraceLayer::new().requests(RequestLog::Single).query(Query::Drop).layer(stock);
    /// let (_, lines) = capture_async(client.oneshot(request).in_trace(TraceContext::new_root())).await;
    /// assert_eq!(lines[0]["message"], "test - OUTBOUND GET - http://stock/items - 200 OK");
    /// # });
    /// ```
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
///
/// ```
/// use logtracer_sdk::client::{TraceLayer, TraceService};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let stock = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
/// let client: TraceService<_> = TraceLayer::new().layer(stock);
/// assert_eq!(client.oneshot(http::Request::new(())).await.unwrap().status(), 200);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct TraceService<S> {
    inner: S,
    layer: TraceLayer,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for TraceService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    S::Error: fmt::Display + 'static,
    ResponseBody: Body,
    ResponseBody::Error: fmt::Display + 'static,
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
