//! `.with_trace()` and `.send_traced()` for requests of `reqwest`.

use std::future::Future;

use http::Uri;
use reqwest::{Request, RequestBuilder, Response};

use super::outer_call::OuterCall;
use super::{ClientTraceLayer, RequestLog, ServiceError};
use crate::current::current_trace;
use crate::targets;

/// Injects the current trace into a request of [`reqwest`].
///
/// The methods are on reqwest's own builder, so that they work with any `reqwest::Client`.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::TraceContext;
///
/// let client = reqwest::Client::new();
/// let context = TraceContext::new_root();
/// let request = context.run(|| client.get("http://next.hop/").with_trace()).build()?;
/// assert_eq!(request.headers()["x-b3-spanid"], context.span_id.to_string());
/// # Ok::<(), reqwest::Error>(())
/// ```
pub trait WithTrace {
    /// Adds the headers of [`trace_headers`](super::trace_headers); does nothing without a current trace.
    ///
    /// Trace headers that were set before are replaced or removed, as by [`inject`](super::inject).
    /// If the request is invalid, its error is logged here, and sending it fails with another builder error.
    ///
    /// ```
    /// use logtracer_sdk::TraceContext;
    /// use logtracer_sdk::prelude::*;
    ///
    /// let client = reqwest::Client::new();
    /// let outside = client.get("http://next.hop/").with_trace().build()?;
    /// assert!(outside.headers().is_empty());
    /// let inside = TraceContext::new_root().run(|| client.get("http://next.hop/").with_trace().build())?;
    /// assert!(inside.headers().contains_key("traceparent"));
    /// # Ok::<(), reqwest::Error>(())
    /// ```
    #[must_use]
    fn with_trace(self) -> Self;

    /// Sends the request with the trace, and logs two lines as `tracer.requests` of bbc/logtracer does:
    /// `OUTBOUND GET - <url>` and `200 OK - <url>`.
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::testing::capture_async;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// // Nothing listens on this port.
    /// let call = reqwest::Client::new().get("http://127.0.0.1:1/stock?key=7").send_traced();
    /// let (response, lines) = capture_async(call).await;
    /// assert!(response.is_err());
    /// let messages: Vec<_> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    /// assert_eq!(messages[0], "test - OUTBOUND GET - http://127.0.0.1:1/stock?key=REDACTED");
    /// assert_eq!(messages.last(), Some(&"test - no response - http://127.0.0.1:1/stock?key=REDACTED"));
    /// # });
    /// ```
    fn send_traced(self) -> impl Future<Output = reqwest::Result<Response>> + Send;

    /// Adds the headers that a layer sends to the host of the request, or removes them:
    /// [`TraceLayer::hosts`](super::TraceLayer::hosts) and the other options apply.
    ///
    /// ```
    /// use logtracer_sdk::TraceContext;
    /// use logtracer_sdk::client::{Hosts, TraceLayer};
    /// use logtracer_sdk::prelude::*;
    ///
    /// let layer = TraceLayer::new().hosts(Hosts::new(["next.hop"])?);
    /// let client = reqwest::Client::new();
    /// TraceContext::new_root().run(|| {
    ///     let request = client.get("http://next.hop/").with_trace_of(&layer).build()?;
    ///     assert!(request.headers().contains_key("traceparent"));
    ///     let request = client.get("https://api.example.com/").with_trace_of(&layer).build()?;
    ///     assert!(request.headers().is_empty());
    ///     Ok::<(), reqwest::Error>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    fn with_trace_of(self, layer: &ClientTraceLayer) -> Self;

    /// Sends the request through a layer: with its headers, its lines and its span.
    ///
    /// With [`Hosts::none`](super::Hosts::none) it does what `tracer.unsupported_requests` of bbc/logtracer does: the
    /// peer gets no headers, and the lines have its URL and status.
    ///
    /// ```
    /// use logtracer_sdk::client::{Hosts, RequestLog, TraceLayer};
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::testing::capture_async;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let layer = TraceLayer::new().requests(RequestLog::Single).hosts(Hosts::none());
    /// // Nothing listens on this port.
    /// let call = reqwest::Client::new().get("http://127.0.0.1:1/").send_through(&layer);
    /// let (response, lines) = capture_async(call).await;
    /// assert!(response.is_err());
    /// assert_eq!(lines.last().unwrap()["error.type"], "connection_refused");
    /// # });
    /// ```
    fn send_through(self, layer: &ClientTraceLayer)
    -> impl Future<Output = reqwest::Result<Response>> + Send;
}

impl WithTrace for RequestBuilder {
    fn with_trace(self) -> Self {
        self.with_trace_of(&ClientTraceLayer::new())
    }

    async fn send_traced(self) -> reqwest::Result<Response> {
        self.send_through(&ClientTraceLayer::new().requests(RequestLog::Pair)).await
    }

    fn with_trace_of(self, layer: &ClientTraceLayer) -> Self {
        // Without a trace, only what must not leave is removed.
        let removes_headers = layer.options.hosts.is_some() || layer.options.baggage_keys.is_some();
        if current_trace().is_none() && !removes_headers {
            return self;
        }
        let (client, request) = self.build_split();
        match request {
            Ok(mut request) => {
                let uri = uri_of(&request);
                layer.inject(&uri, request.headers_mut());
                Self::from_parts(client, request)
            }
            // A builder cannot be made from an error; an empty URL gives an error of the same kind.
            Err(error) => {
                tracing::warn!(target: targets::CLIENT, "cannot build a request: {}", error.without_url());
                client.get("")
            }
        }
    }

    async fn send_through(self, layer: &ClientTraceLayer) -> reqwest::Result<Response> {
        let (client, request) = self.build_split();
        layer.send(request?, "", OuterCall::default(), |request, _| client.execute(request)).await
    }
}

fn uri_of(request: &Request) -> Uri {
    request.url().as_str().parse().unwrap_or_default()
}

impl ClientTraceLayer {
    /// Sends a request with the trace; `send` also takes what the layers within this one need to know.
    ///
    /// It is complete once its headers are there, because the body has reqwest's own type.
    pub(super) async fn send<F, E>(
        &self,
        mut request: Request,
        template: &str,
        outer: OuterCall,
        send: impl FnOnce(Request, Option<OuterCall>) -> F,
    ) -> Result<Response, E>
    where
        F: Future<Output = Result<Response, E>>,
        E: ServiceError,
    {
        let method = request.method().clone();
        let uri = uri_of(&request);
        let version = request.version();
        let headers = request.headers_mut();
        let (pending, call) = self.start_call(&method, &uri, version, headers, template, outer);
        let (output, mut pending) = pending.call(|| send(request, call)).output().await;
        match &output {
            Ok(response) => pending.record_head(response.status(), response.headers(), false),
            Err(error) => pending.fail(error),
        }
        output
    }
}
