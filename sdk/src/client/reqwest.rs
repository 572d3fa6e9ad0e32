//! reqwest: `.with_trace()` and `.send_traced()`.

use std::future::Future;

use http::Uri;
use reqwest::{Request, RequestBuilder, Response};

use super::{RequestLog, TraceLayer, call, inject};
use crate::current::current_trace;
use crate::future::InTrace;
use crate::targets;

/// Hands the current trace on with a request of [`reqwest`].
///
/// It is a method of reqwest's own builder, so that it works with a client that someone else has made.
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
    /// Adds the headers of [`trace_headers`](super::trace_headers); without a current trace the request stays as it
    /// is.
    ///
    /// Trace headers that were set before are replaced or removed, as [`inject`](super::inject) does.
    /// What is wrong with a request is told in a line then, and sending it fails with another error of the builder.
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

    /// Sends the request with the trace, and logs it as the original's `tracer.requests` did: `OUTBOUND GET - <url>`
    /// and `200 OK - <url>`.
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::testing::capture_async;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// // Nobody listens there.
    /// let call = reqwest::Client::new().get("http://127.0.0.1:1/stock?key=7").send_traced();
    /// let (answer, lines) = capture_async(call).await;
    /// assert!(answer.is_err());
    /// let messages: Vec<_> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    /// assert_eq!(messages[0], "test - OUTBOUND GET - http://127.0.0.1:1/stock?key=REDACTED");
    /// assert_eq!(messages.last(), Some(&"test - no response - http://127.0.0.1:1/stock?key=REDACTED"));
    /// # });
    /// ```
    fn send_traced(self) -> impl Future<Output = reqwest::Result<Response>> + Send;
}

impl WithTrace for RequestBuilder {
    fn with_trace(self) -> Self {
        if current_trace().is_none() {
            return self;
        }
        let (client, request) = self.build_split();
        match request {
            Ok(mut request) => {
                inject(request.headers_mut());
                Self::from_parts(client, request)
            }
            // A builder cannot be given its error back; the one of this URL is of the same kind.
            Err(error) => {
                tracing::warn!(target: targets::CLIENT, "cannot build a request: {}", error.without_url());
                client.get("")
            }
        }
    }

    async fn send_traced(self) -> reqwest::Result<Response> {
        let (client, request) = self.build_split();
        let layer = TraceLayer::new().requests(RequestLog::Pair);
        exchange(&layer, request?, |request| client.execute(request)).await
    }
}

/// Sends a request with the trace. It counts as over when the headers are there: the body is reqwest's own.
pub(super) async fn exchange<F, E>(
    layer: &TraceLayer,
    mut request: Request,
    send: impl FnOnce(Request) -> F,
) -> Result<Response, E>
where
    F: Future<Output = Result<Response, E>>,
{
    let method = request.method().clone();
    let uri = request.url().as_str().parse::<Uri>().unwrap_or_default();
    let version = request.version();
    let begun = call::start(layer, &method, &uri, version, request.headers_mut());
    // Kept here, so that the line of a call that is given up is written when this future is dropped.
    let mut seen = begun.seen;
    let response = InTrace::new(begun.scope, send(request)).await;
    if let Some(seen) = &mut seen {
        match &response {
            Ok(response) => {
                seen.response(response.status(), response.headers());
                seen.is_complete();
            }
            Err(_) => seen.failed(),
        }
    }
    response
}
