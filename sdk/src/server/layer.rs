//! [`ServerTraceLayer`]: the layer of a server, and its options.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use logtracer_core::propagation::Propagator;
use logtracer_core::request::Routes;
use logtracer_core::request::url::Query;
use tower_layer::Layer;
use tracing::Level;

use super::{RequestLog, TraceService};
use crate::errors::KnownErrors;
use crate::request::{LogOptions, ReadyLog, Side};

/// The name of [`ServerTraceLayer`] for code that uses the path: `server::TraceLayer`.
///
/// ```
/// use logtracer_sdk::server::{self, ServerTraceLayer};
///
/// let layer: ServerTraceLayer = server::TraceLayer::new();
/// assert!(format!("{layer:?}").starts_with("ServerTraceLayer"));
/// ```
pub type TraceLayer = ServerTraceLayer;

/// Gives every request its trace: a layer for axum, hyper, tonic and every other tower server, and a middleware for
/// Actix (feature `actix`): `App::new().wrap(TraceLayer::new())`.
///
/// The layer extracts the caller's context from B3, Google's `X-Cloud-Trace-Context`, W3C `traceparent` and
/// `grpc-trace-bin`.
/// The service *joins* the span in the headers: the sidecar in front of the service has recorded it, and the logs of
/// the service belong to it.
/// A trace without a span gets a new span, and a request without a trace starts one.
/// If the service exports spans itself (feature `spans`), it makes a child span instead.
///
/// The [`TraceContext`](crate::TraceContext) of the request is then
/// * [`current_trace()`](crate::current_trace) in the handler and in the response body,
/// * an extension of the request.
///
/// Inner layers see the trace, outer ones do not.
/// A layer within another one joins its trace and makes no second span.
/// If both have request lines, the outer one writes them.
///
/// A panic of the handler is logged for Error Reporting and continues.
/// An error of the service or of its body is logged as an `ERROR`. With `Logging::report_errors` it is an event of
/// Error Reporting as well.
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
/// let body = app.oneshot(request).await.unwrap().into_body();
/// let text = axum::body::to_bytes(body, 100).await.unwrap();
/// assert_eq!(text, "463ac35c9f6413ad48485a3953bb6124");
/// # });
/// ```
#[derive(Debug, Clone, Default)]
pub struct ServerTraceLayer {
    pub(super) options: Arc<Options>,
}

#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) propagator: Propagator,
    pub(super) exclude: Routes,
    pub(super) excluded: Excluded,
    pub(super) response_header: Option<HeaderName>,
    pub(super) log: LogOptions,
    pub(super) known_errors: KnownErrors,
    pub(super) ready: Arc<ReadyLog>,
    /// True if there is an inner [`MessageLayer`](super::MessageLayer).
    pub(super) reads_messages: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            propagator: Propagator::default(),
            exclude: Routes::new(),
            excluded: Excluded::default(),
            response_header: None,
            log: LogOptions::new(Side::Server),
            known_errors: KnownErrors::default(),
            ready: Arc::default(),
            reads_messages: false,
        }
    }
}

/// What is disabled for an excluded request, which still has its trace.
///
/// ```
/// use logtracer_sdk::server::Excluded;
///
/// assert_eq!(Excluded::default(), Excluded::Spans);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Excluded {
    /// The span of the service (feature `spans`), as in bbc/logtracer.
    #[default]
    Spans,
    /// The lines of [`RequestLog`].
    Logs,
    /// The span and the lines.
    Both,
}

impl ServerTraceLayer {
    /// Returns a layer that extracts all formats, B3 first, and logs no requests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a layer for a gRPC server, such as tonic's.
    ///
    /// Its requests are logged with their method path, and with the status in the trailers (or in the headers of a
    /// response without a body).
    /// [`TraceLayer::new`] does the same for requests with gRPC's content type, so that one layer serves HTTP and
    /// gRPC; this one treats every request as gRPC.
    /// Messages are logged only with [`messages`](Self::messages).
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
        Self::default().with(|options| options.log.grpc = true)
    }

    /// Sets the formats to extract, in the order of this propagator.
    #[must_use]
    pub fn propagator(self, propagator: Propagator) -> Self {
        self.with(|options| options.propagator = propagator)
    }

    /// Sets the lines to log for each request; none by default.
    ///
    /// They are events of `tracing` with the target `logtracer::server`.
    /// Failures of the server have the level `ERROR`, failures caused by the caller `WARN` (see
    /// [`client_errors`](Self::client_errors)), all other requests `INFO`.
    #[must_use]
    pub fn requests(self, requests: RequestLog) -> Self {
        self.with(|options| options.log.requests = requests)
    }

    /// Sets the paths to exclude from spans or logs, see [`exclude_from`](Self::exclude_from).
    #[must_use]
    pub fn exclude(self, routes: Routes) -> Self {
        self.with(|options| options.exclude = routes)
    }

    /// Sets what is disabled for excluded paths; spans by default.
    #[must_use]
    pub fn exclude_from(self, excluded: Excluded) -> Self {
        self.with(|options| options.excluded = excluded)
    }

    /// Sets the level of requests that failed because of the caller (4xx, and the like in gRPC); `WARN` by default.
    #[must_use]
    pub fn client_errors(self, level: Level) -> Self {
        self.with(|options| options.log.client_errors = level)
    }

    /// Sets how query strings appear in lines and spans; their values are redacted by default.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        self.with(|options| options.log.query = query)
    }

    /// Sets the number of proxies in front of the server whose `x-forwarded-for` and `x-forwarded-proto` are trusted;
    /// 0 by default.
    ///
    /// Each of them adds an entry on the right of `x-forwarded-for`, and the entries to the left of theirs are the
    /// caller's own: they can be forged. With `n` proxies the address of the caller is the `n`-th entry from the
    /// right. Google's load balancers add two entries and count as two.
    /// If that entry is not an address, the line has none.
    /// Without trusted proxies or without the header it is the address of the connection, if the framework has it: axum
    /// with `into_make_service_with_connect_info`, tonic, and Actix.
    ///
    /// ```
    /// use logtracer_sdk::server::{RequestLog, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// let service = TraceLayer::new().requests(RequestLog::Single).trusted_proxies(1).layer(handler);
    /// let request = http::Request::get("http://shop/").header("x-forwarded-for", "6.6.6.6, 10.1.2.3").body(()).unwrap();
    /// let (_, lines) = capture_async(service.oneshot(request)).await;
    /// assert_eq!(lines[0]["httpRequest"]["remoteIp"], "10.1.2.3");
    /// # });
    /// ```
    #[must_use]
    pub fn trusted_proxies(self, count: usize) -> Self {
        self.with(|options| options.log.trusted_proxies = count)
    }

    /// States the time limit of the server, so that a request that it ends is an error of the server.
    ///
    /// The layer sets no limit itself. A limit *outside* of this layer drops the request, and gives no more reason
    /// than a caller that goes away: tonic's `Server::timeout`, whose layers are all within it, and tower's and tower-http's
    /// `TimeoutLayer` if they are outside. If a request is dropped at its limit, it is logged as an `ERROR` with the
    /// status 504 or the code `DEADLINE_EXCEEDED`. The caller's `grpc-timeout` is such a limit, too, without this
    /// option.
    ///
    /// A limit *within* this layer needs no option if its response has a 5xx status, such as 504. With this option a
    /// 408 after that time is an error of the server as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use logtracer_sdk::server::{RequestLog, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let limit = Duration::from_millis(20);
    /// let service = ServiceBuilder::new()
    ///     .timeout(limit)
    ///     .layer(TraceLayer::new().requests(RequestLog::Single).timeout(limit))
    ///     .service(service_fn(async |_: http::Request<()>| {
    ///         std::future::pending::<Result<http::Response<String>, std::convert::Infallible>>().await
    ///     }));
    /// let request = http::Request::get("http://shop/").body(()).unwrap();
    /// let (_, lines) = capture_async(async { service.oneshot(request).await }).await;
    /// assert_eq!(lines[0]["severity"], "ERROR");
    /// assert_eq!(lines[0]["message"], "test - GET - http://shop/ - 504 Gateway Timeout");
    /// # });
    /// ```
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        self.with(|options| options.log.timeout = Some(limit))
    }

    /// Makes the causes of errors of this type known.
    ///
    /// The error of a service need not implement [`Error`] (a boxed error does not), so that the layer reads the
    /// causes of known types only: boxed errors, `std::io::Error`, and the errors of the frameworks whose features
    /// are enabled.
    ///
    /// ```
    /// use std::fmt;
    /// use logtracer_sdk::server::TraceLayer;
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// #[derive(Debug)]
    /// struct NoDatabase(std::io::Error);
    /// # impl fmt::Display for NoDatabase {
    /// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("no database") }
    /// # }
    /// # impl std::error::Error for NoDatabase {
    /// #     fn source(&self) -> Option<&(dyn std::error::Error + 'static)> { Some(&self.0) }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let fails = service_fn(async |_: http::Request<()>| {
    ///     Err::<http::Response<String>, _>(NoDatabase(std::io::Error::other("refused")))
    /// });
    /// let service = TraceLayer::new().causes_of::<NoDatabase>().layer(fails);
    /// let (_, lines) = capture_async(service.oneshot(http::Request::new(()))).await;
    /// assert_eq!(lines[0]["message"], "test - failed: no database: refused");
    /// # });
    /// ```
    #[must_use]
    pub fn causes_of<E: Error + 'static>(self) -> Self {
        self.with(|options| options.known_errors.add::<E>())
    }

    /// Makes the causes of errors of this type known in Actix, whose own error type hides them.
    ///
    /// ```
    /// use logtracer_sdk::server::TraceLayer;
    ///
    /// // `std::io::Error` is known already; in a service this is the type that the handlers return.
    /// let layer = TraceLayer::new().causes_of_response_error::<std::io::Error>();
    /// assert!(format!("{layer:?}").starts_with("ServerTraceLayer"));
    /// ```
    #[cfg(feature = "actix")]
    #[must_use]
    pub fn causes_of_response_error<E: actix_web::ResponseError + Error + 'static>(self) -> Self {
        self.with(|options| options.known_errors.add_response_error::<E>())
    }

    /// Adds this header with the trace id to every response.
    ///
    /// In Actix a response that is made from a handler's error does not have the header.
    #[must_use]
    pub fn response_header(self, name: HeaderName) -> Self {
        self.with(|options| options.response_header = Some(name))
    }

    /// Logs the first message of each gRPC request, without the fields that [`Messages`](super::Messages) redacts.
    ///
    /// It is the field `request` of the line `received gRPC call` ([`RequestLog::Pair`]) or of the single line
    /// ([`RequestLog::Single`]).
    /// The message is copied while the handler reads it; no request waits for it.
    /// Call this last: it returns two layers.
    /// Within another layer of this crate that logs the request, no message is logged: the outer layer writes the
    /// lines. Enable it on the outermost layer.
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
    pub fn messages(
        self,
        messages: super::Messages,
    ) -> tower_layer::Stack<super::MessageLayer, ServerTraceLayer> {
        let outer = self.with(|options| options.reads_messages = true);
        tower_layer::Stack::new(super::MessageLayer(messages), outer)
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(Arc::make_mut(&mut self.options));
        self
    }
}

impl<S> Layer<S> for ServerTraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> TraceService<S> {
        TraceService { inner, layer: self.clone() }
    }
}
