//! [`ClientTraceLayer`]: the layer of a client, and its options.

use std::error::Error;
use std::sync::Arc;

use http::{HeaderMap, Uri};
use logtracer_core::propagation::Propagator;
use logtracer_core::request::url::Query;
use tower_layer::Layer;

use super::{Hosts, RequestLog, TraceService};
use crate::errors::KnownErrors;
use crate::request::{LogOptions, ReadyLog, Side};

/// The name of [`ClientTraceLayer`] for code that uses the path: `client::TraceLayer`.
///
/// ```
/// use logtracer_sdk::client::{self, ClientTraceLayer};
///
/// let layer: ClientTraceLayer = client::TraceLayer::new();
/// assert!(format!("{layer:?}").starts_with("ClientTraceLayer"));
/// ```
pub type TraceLayer = ClientTraceLayer;

/// Injects the current trace into every request: a layer for hyper, tonic and every other tower client, and a
/// middleware for `reqwest-middleware`.
///
/// Without a current trace nothing is sent.
/// A layer within another one adds neither a second line nor a second span to a call.
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
#[derive(Debug, Clone, Default)]
pub struct ClientTraceLayer {
    pub(super) options: Arc<Options>,
}

#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) log: LogOptions,
    pub(super) propagator: Propagator,
    /// The hosts to which the trace is sent; `None` for all.
    pub(super) hosts: Option<Hosts>,
    /// The keys of baggage that is sent; `None` for all.
    pub(super) baggage_keys: Option<Vec<String>>,
    /// The server, for requests whose URL is only a path.
    pub(super) peer: Option<Uri>,
    pub(super) known_errors: KnownErrors,
    pub(super) ready: Arc<ReadyLog>,
    pub(super) writes_b3_values: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log: LogOptions::new(Side::Client),
            propagator: Propagator::default(),
            hosts: None,
            baggage_keys: None,
            peer: None,
            known_errors: KnownErrors::default(),
            ready: Arc::default(),
            writes_b3_values: false,
        }
    }
}

impl ClientTraceLayer {
    /// Returns a layer that sends the trace to all hosts and logs no requests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the formats to inject; by default B3 in several headers, W3C's and Google's.
    #[must_use]
    pub fn propagator(self, propagator: Propagator) -> Self {
        self.with(|options| options.propagator = propagator)
    }

    /// Sends the trace only to these hosts, and nothing to others: no trace header, no `baggage`, and no `x-request-id`
    /// of the request that is being served.
    ///
    /// A trace header or `baggage` of the request itself is removed for other hosts as well. An `x-request-id` that the
    /// caller of the client has set stays: it is an id of that request.
    /// A request whose URL is only a path, such as those to tonic's `Channel`, is sent to the host of
    /// [`peer`](Self::peer); without it, its host is unknown and nothing is sent.
    ///
    /// The lines and spans of the client are the same for all hosts.
    /// A redirect that the client itself follows, as reqwest does, takes the headers of the first request with it.
    ///
    /// ```
    /// use logtracer_sdk::client::{Hosts, TraceLayer};
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::TraceContext;
    ///
    /// let layer = TraceLayer::new().hosts(Hosts::new(["stock", "*.shop.svc.cluster.local"])?);
    /// TraceContext::new_root().run(|| {
    ///     let mut headers = http::HeaderMap::new();
    ///     layer.inject(&"https://api.example.com/".parse()?, &mut headers);
    ///     assert!(headers.is_empty());
    ///     layer.inject(&"http://stock:8080/items".parse()?, &mut headers);
    ///     assert!(headers.contains_key("traceparent"));
    ///     Ok::<(), http::uri::InvalidUri>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn hosts(self, hosts: Hosts) -> Self {
        self.with(|options| options.hosts = Some(hosts))
    }

    /// Sends only the members of `baggage` with these keys; by default all of them.
    ///
    /// Keys are compared exactly, as W3C Baggage requires.
    ///
    /// ```
    /// use logtracer_sdk::client::TraceLayer;
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::TraceContext;
    ///
    /// let layer = TraceLayer::new().baggage_keys(["tenant"]);
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("baggage", "user=ada, tenant=7;ttl=1".parse()?);
    /// TraceContext::new_root().run(|| layer.inject(&http::Uri::from_static("http://stock/"), &mut headers));
    /// assert_eq!(headers["baggage"], "tenant=7;ttl=1");
    /// # Ok::<(), http::header::InvalidHeaderValue>(())
    /// ```
    #[must_use]
    pub fn baggage_keys<K: Into<String>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys = keys.into_iter().map(Into::into).collect();
        self.with(|options| options.baggage_keys = Some(keys))
    }

    /// Names the server of requests whose URL is only a path: tonic's `Channel` adds the host below this layer.
    ///
    /// The host is in lines and spans (`server.address`), and decides with [`hosts`](Self::hosts) whether the trace is
    /// sent. The URL of a tonic `Endpoint` is `endpoint.uri().clone()`.
    ///
    /// ```
    /// use logtracer_sdk::client::{RequestLog, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let channel = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    /// let layer = TraceLayer::new().peer(http::Uri::from_static("http://stock:9000"));
    /// let client = layer.requests(RequestLog::Single).layer(channel);
    /// let call = client.oneshot(http::Request::post("/demo.Stock/Get").body(()).unwrap());
    /// let (_, lines) = capture_async(call).await;
    /// assert_eq!(lines[0]["httpRequest"]["requestUrl"], "http://stock:9000/demo.Stock/Get");
    /// # });
    /// ```
    #[must_use]
    pub fn peer(self, peer: Uri) -> Self {
        self.with(|options| options.peer = Some(peer))
    }

    /// Also sends the metadata `b3-values` of bbc/logtracer with gRPC calls, to servers that are not migrated yet.
    ///
    /// [`server::TraceLayer`](crate::server::TraceLayer) reads it if a request has no standard trace header.
    #[must_use]
    pub fn write_b3_values(self) -> Self {
        self.with(|options| options.writes_b3_values = true)
    }

    /// Sets the lines to log for each request; none by default.
    ///
    /// They are events of `tracing` with the target `logtracer::client` and the level `INFO`, or `WARN` for a call that
    /// failed. The field `error` of a call without a response is its error with the causes.
    #[must_use]
    pub fn requests(self, requests: RequestLog) -> Self {
        self.with(|options| options.log.requests = requests)
    }

    /// Sets how query strings appear in lines and spans; their values are redacted by default.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        self.with(|options| options.log.query = query)
    }

    /// Makes the causes of errors of this type known.
    ///
    /// The error of a client need not implement [`Error`] (a boxed error does not), so that the layer reads the causes
    /// of known types only: boxed errors, `std::io::Error`, and the errors of the clients whose features are enabled.
    ///
    /// ```
    /// use logtracer_sdk::client::TraceLayer;
    ///
    /// // In a service this is the error type of its client.
    /// let layer = TraceLayer::new().causes_of::<std::fmt::Error>();
    /// assert!(format!("{layer:?}").starts_with("ClientTraceLayer"));
    /// ```
    #[must_use]
    pub fn causes_of<E: Error + 'static>(self) -> Self {
        self.with(|options| options.known_errors.add::<E>())
    }

    /// Writes the current trace into the headers of a request to this URL, as the layer does, for a client that takes
    /// no layer.
    pub fn inject(&self, uri: &Uri, headers: &mut HeaderMap) {
        self.options.inject(uri, headers);
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(Arc::make_mut(&mut self.options));
        self
    }
}

impl<S> Layer<S> for ClientTraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> TraceService<S> {
        TraceService { inner, layer: self.clone() }
    }
}
