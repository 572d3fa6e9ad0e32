//! [`TraceLayer`]: the configuration.

use std::sync::Arc;

use http::HeaderName;
use logtracer_core::propagation::Propagator;
use logtracer_core::request::Routes;
use logtracer_core::request::url::Query;
use tower_layer::Layer;
use tracing::Level;

use super::{RequestLog, TraceService};
use crate::exchange::{Side, Telling};

/// Gives every request its trace: a layer for axum, hyper, tonic and every other tower server, and a middleware of
/// Actix (feature `actix`): `App::new().wrap(TraceLayer::new())`.
///
/// The caller's context is read from whatever dialect it speaks (B3, Google's `X-Cloud-Trace-Context`, W3C
/// `traceparent`, `grpc-trace-bin`).
/// The service *joins* the span that the headers name: the sidecar in front of the service has recorded it, and
/// the logs of the service belong to it.
/// A trace without a span gets one, and a request without a trace begins one.
/// Where the service sends spans itself (feature `spans`), it makes a child of its own instead.
///
/// The [`TraceContext`](crate::TraceContext) of the request is then
/// * [`current_trace()`](crate::current_trace) wherever the handler runs, and while the response body is polled,
/// * among the extensions of the request.
///
/// No other layer has to stand in a certain order to it, but only what is inside of it sees the trace.
///
/// Within another one it joins what that has begun: one trace, and one span.
///
/// A panic of the handler gets one line for Error Reporting and goes on.
/// What the service or its body fails with is an ERROR line; where `Logging::report_errors` says so, it is an event
/// of Error Reporting, too.
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use logtracer_sdk::current_trace;
/// use logtracer_sdk::server::{RequestLog, Routes, TraceLayer};
/// use tower::ServiceExt;
///
/// let app: Router = Router::new()
///     .route("/", get(async || current_trace().map(|it| it.trace_id.to_string()).unwrap_or_default()))
///     .layer(
///         TraceLayer::new()
///             .requests(RequestLog::Single)
///             .exclude(Routes::new().exact("/healthz").contains("/app-config/")),
///     );
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let request = http::Request::get("/").header("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124");
/// let request = request.header("x-b3-spanid", "00f067aa0ba902b7").body(Body::empty()).unwrap();
/// let answer = app.oneshot(request).await.unwrap().into_body();
/// let text = axum::body::to_bytes(answer, 100).await.unwrap();
/// assert_eq!(text, "463ac35c9f6413ad48485a3953bb6124");
/// # });
/// ```
#[derive(Debug, Clone, Default)]
pub struct TraceLayer {
    pub(super) options: Arc<Options>,
}

#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) propagator: Propagator,
    pub(super) exclude: Routes,
    pub(super) excluded: Excluded,
    pub(super) response_header: Option<HeaderName>,
    pub(super) telling: Telling,
    /// True where a [`MessageLayer`](super::MessageLayer) stands within.
    pub(super) reads_messages: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            propagator: Propagator::default(),
            exclude: Routes::new(),
            excluded: Excluded::default(),
            response_header: None,
            telling: Telling::of(Side::Server),
            reads_messages: false,
        }
    }
}

/// What an excluded request goes without; it has its trace in any case.
///
/// ```
/// use logtracer_sdk::server::Excluded;
///
/// assert_eq!(Excluded::default(), Excluded::Spans);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Excluded {
    /// The span of the service (feature `spans`), as in the original.
    #[default]
    Spans,
    /// The lines of [`RequestLog`].
    Logs,
    /// Both.
    Both,
}

impl TraceLayer {
    /// A layer that reads all dialects, B3 first, and writes no line.
    ///
    /// ```
    /// use logtracer_sdk::server::TraceLayer;
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// # let request = http::Request::get("http://shop/basket?token=7").body(()).unwrap();
    /// let service = TraceLayer::new().layer(handler);
    /// let (_, lines) = capture_async(service.oneshot(request)).await;
    /// assert!(lines.is_empty());
    /// # });
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// A layer for a gRPC server, such as tonic's.
    ///
    /// Its requests are logged by their method path, and end with the status of the trailers (or, where a response
    /// has nothing but trailers, of the headers).
    /// [`TraceLayer::new`] does the same for requests whose content type is gRPC's, so that one layer serves both;
    /// this one takes every request for one.
    /// Messages are not logged unless [`messages`](Self::messages) says so.
    ///
    /// ```
    /// use logtracer_sdk::server::{RequestLog, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// # let request = http::Request::get("http://shop/demo.Shop/Buy").body(()).unwrap();
    /// let service = TraceLayer::grpc().requests(RequestLog::Pair).layer(handler);
    /// let (_, lines) = capture_async(service.oneshot(request)).await;
    /// assert_eq!(lines[0]["message"], "test - /demo.Shop/Buy - received gRPC call");
    /// # });
    /// ```
    pub fn grpc() -> Self {
        Self::default().with(|options| options.telling.grpc = true)
    }

    /// Reads the formats that this propagator extracts, in its order.
    ///
    /// ```
    /// use logtracer_sdk::propagation::{Format, Formats, Propagator};
    /// use logtracer_sdk::server::TraceLayer;
    /// use logtracer_sdk::current_trace;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let only_w3c = Propagator { extract: Formats::of(&[Format::TraceContext]), ..Propagator::default() };
    /// let service = TraceLayer::new().propagator(only_w3c).layer(service_fn(async |_: http::Request<()>| {
    ///     let trace = current_trace().map(|trace| trace.trace_id.to_string());
    ///     assert_ne!(trace.as_deref(), Some("463ac35c9f6413ad48485a3953bb6124"));
    ///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    /// }));
    /// let b3 = http::Request::get("/").header("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1");
    /// service.oneshot(b3.body(()).unwrap()).await.unwrap();
    /// # });
    /// ```
    #[must_use]
    pub fn propagator(self, propagator: Propagator) -> Self {
        self.with(|options| options.propagator = propagator)
    }

    /// Which lines are written for a request; none by default.
    ///
    /// They are events of `tracing` with the target `logtracer::server`: what fails by the server's fault is an
    /// `ERROR`, by the caller's a `WARN` (see [`client_errors`](Self::client_errors)), all else is `INFO`.
    ///
    /// ```
    /// use logtracer_sdk::server::{RequestLog, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// # let request = http::Request::get("http://shop/basket?token=7").body(()).unwrap();
    /// let service = TraceLayer::new().requests(RequestLog::Single).layer(handler);
    /// let (_, lines) = capture_async(service.oneshot(request)).await;
    /// assert_eq!(lines[0]["message"], "test - GET - http://shop/basket?token=REDACTED - 200 OK");
    /// assert_eq!(lines[0]["httpRequest"]["status"], 200);
    /// # });
    /// ```
    #[must_use]
    pub fn requests(self, requests: RequestLog) -> Self {
        self.with(|options| options.telling.requests = requests)
    }

    /// Leaves these paths out, as [`exclude_from`](Self::exclude_from) says.
    ///
    /// ```
    /// use logtracer_sdk::server::{Excluded, RequestLog, Routes, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// # let request = http::Request::get("http://shop/healthz").body(()).unwrap();
    /// let service = TraceLayer::new()
    ///     .requests(RequestLog::Single)
    ///     .exclude(Routes::new().exact("/healthz"))
    ///     .exclude_from(Excluded::Both)
    ///     .layer(handler);
    /// let (_, lines) = capture_async(service.oneshot(request)).await;
    /// assert!(lines.is_empty());
    /// # });
    /// ```
    #[must_use]
    pub fn exclude(self, routes: Routes) -> Self {
        self.with(|options| options.exclude = routes)
    }

    /// What excluded paths are left out of; the spans by default.
    ///
    /// ```
    /// use logtracer_sdk::server::{Excluded, RequestLog, Routes, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// # let request = http::Request::get("http://shop/v1/app-config/x").body(()).unwrap();
    /// let service = TraceLayer::new()
    ///     .requests(RequestLog::Single)
    ///     .exclude(Routes::new().contains("/app-config/"))
    ///     .exclude_from(Excluded::Logs)
    ///     .layer(handler);
    /// let (_, lines) = capture_async(service.oneshot(request)).await;
    /// assert!(lines.is_empty());
    /// # });
    /// ```
    #[must_use]
    pub fn exclude_from(self, excluded: Excluded) -> Self {
        self.with(|options| options.excluded = excluded)
    }

    /// The level of requests that failed by the caller's fault, 4xx and its like in gRPC; `WARN` by default.
    ///
    /// ```
    /// use logtracer_sdk::server::{RequestLog, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let layer = TraceLayer::new().requests(RequestLog::Pair).client_errors(tracing::Level::INFO);
    /// let service = ServiceBuilder::new().layer(layer).service(service_fn(async |_: http::Request<()>| {
    ///     http::Response::builder().status(404).body(String::new())
    /// }));
    /// let request = http::Request::get("http://shop/?token=7").body(()).unwrap();
    /// let (_, lines) = capture_async(service.oneshot(request)).await;
    /// assert_eq!(lines[0]["message"], "test - GET - http://shop/?token=REDACTED");
    /// assert_eq!(lines[1]["severity"], "INFO");
    /// # });
    /// ```
    #[must_use]
    pub fn client_errors(self, level: Level) -> Self {
        self.with(|options| options.telling.client_errors = level)
    }

    /// What becomes of query strings in lines and spans; their values are redacted by default.
    ///
    /// ```
    /// use logtracer_sdk::server::{Query, RequestLog, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// # let request = http::Request::get("http://shop/basket?token=7").body(()).unwrap();
    /// let service = TraceLayer::new().requests(RequestLog::Single).query(Query::Keep).layer(handler);
    /// let (_, lines) = capture_async(service.oneshot(request)).await;
    /// assert_eq!(lines[0]["httpRequest"]["requestUrl"], "http://shop/basket?token=7");
    /// # });
    /// ```
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        self.with(|options| options.telling.query = query)
    }

    /// Tells the caller the trace id in this header of the response.
    ///
    /// In Actix an error of a handler becomes a response further out, without this header.
    ///
    /// ```
    /// use logtracer_sdk::server::TraceLayer;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let layer = TraceLayer::new().response_header(http::HeaderName::from_static("x-trace-id"));
    /// let service = ServiceBuilder::new().layer(layer).service(service_fn(async |_: http::Request<()>| {
    ///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    /// }));
    /// let response = service.oneshot(http::Request::new(())).await.unwrap();
    /// assert_eq!(response.headers()["x-trace-id"].len(), 32);
    /// # });
    /// ```
    #[must_use]
    pub fn response_header(self, name: HeaderName) -> Self {
        self.with(|options| options.response_header = Some(name))
    }

    /// Logs the first message of each gRPC request, without the fields that [`Messages`](super::Messages) names: in
    /// the field `request` of the line that a call was received ([`RequestLog::Pair`]) or of its one line
    /// ([`RequestLog::Single`]).
    ///
    /// The message is read along while the handler reads it; nothing waits for it.
    /// It is the last option, for it makes two layers of one.
    ///
    /// ```
    /// use http_body_util::{BodyExt, Full};
    /// use logtracer_sdk::server::{MessageBody, Messages, RequestLog, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// // In a service: include_bytes!(concat!(env!("OUT_DIR"), "/shop.bin")), and `.redact(["card"])?`.
    /// let messages = Messages::new(b"").unwrap();
    /// let layer = TraceLayer::grpc().requests(RequestLog::Pair).messages(messages);
    /// # let handler = service_fn(async |request: http::Request<MessageBody<Full<bytes::Bytes>>>| {
    /// #     let body = request.into_body().collect().await.unwrap().to_bytes();
    /// #     Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(body)))
    /// # });
    /// # let request = http::Request::post("http://shop/demo.Shop/Buy").body(Full::new(bytes::Bytes::from("?"))).unwrap();
    /// let (_, lines) = capture_async(layer.layer(handler).oneshot(request)).await;
    /// assert_eq!(lines[0]["message"], "test - /demo.Shop/Buy - received gRPC call");
    /// # });
    /// ```
    #[cfg(feature = "tonic")]
    pub fn messages(self, messages: super::Messages) -> tower_layer::Stack<super::MessageLayer, TraceLayer> {
        let outer = self.with(|options| options.reads_messages = true);
        tower_layer::Stack::new(super::MessageLayer(messages), outer)
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(Arc::make_mut(&mut self.options));
        self
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> TraceService<S> {
        TraceService { inner, options: Arc::clone(&self.options) }
    }
}
