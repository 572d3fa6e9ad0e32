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

/// Gives every request its trace: a layer for axum, hyper, tonic and every other tower server.
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
/// A panic of the handler gets one line for Error Reporting and goes on.
///
/// ```
/// use axum::{Router, routing::get};
/// use logtracer_sdk::current_trace;
/// use logtracer_sdk::server::{RequestLog, Routes, TraceLayer};
///
/// let app: Router = Router::new()
///     .route("/", get(async || format!("{:?}", current_trace())))
///     .layer(
///         TraceLayer::new()
///             .requests(RequestLog::Single)
///             .exclude(Routes::new().exact("/healthz").contains("/app-config/")),
///     );
/// ```
#[derive(Debug, Clone, Default)]
pub struct TraceLayer {
    options: Arc<Options>,
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
    ///
    /// let layer = TraceLayer::grpc().requests(RequestLog::Pair);
    /// # let server = tonic::transport::Server::builder().layer(layer);
    /// ```
    pub fn grpc() -> Self {
        Self::default().with(|options| options.telling.grpc = true)
    }

    /// Reads the formats that this propagator extracts, in its order.
    #[must_use]
    pub fn propagator(self, propagator: Propagator) -> Self {
        self.with(|options| options.propagator = propagator)
    }

    /// Which lines are written for a request; none by default.
    ///
    /// They are events of `tracing` with the target `logtracer::server`: what fails by the server's fault is an
    /// `ERROR`, by the caller's a `WARN` (see [`client_errors`](Self::client_errors)), all else is `INFO`.
    #[must_use]
    pub fn requests(self, requests: RequestLog) -> Self {
        self.with(|options| options.telling.requests = requests)
    }

    /// Leaves these paths out, as [`exclude_from`](Self::exclude_from) says.
    #[must_use]
    pub fn exclude(self, routes: Routes) -> Self {
        self.with(|options| options.exclude = routes)
    }

    /// What excluded paths are left out of; the spans by default.
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
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        self.with(|options| options.telling.query = query)
    }

    /// Tells the caller the trace id in this header of the response.
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
    /// ```no_run
    /// use logtracer_sdk::server::{Messages, RequestLog, TraceLayer};
    ///
    /// # fn descriptors() -> &'static [u8] { &[] }
    /// // What `tonic_prost_build`'s `file_descriptor_set_path` has written.
    /// let messages = Messages::new(descriptors())?.redact(["card", "buyer.email"])?;
    /// let layer = TraceLayer::grpc().requests(RequestLog::Pair).messages(messages);
    /// # let server = tonic::transport::Server::builder().layer(layer);
    /// # Ok::<(), logtracer_sdk::server::MessagesError>(())
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
