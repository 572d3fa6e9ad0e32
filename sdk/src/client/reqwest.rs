//! reqwest: `.with_trace()` and `.send_traced()`.

use std::future::Future;

use http::Uri;
use reqwest::{Request, RequestBuilder, Response};

use super::{RequestLog, call, trace_headers};
use crate::current::Scope;
use crate::exchange::{Seen, Side, Telling};
use crate::future::InTrace;

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
    /// Adds the headers of [`trace_headers`]; without a current trace the request stays as it is.
    ///
    /// A header of the same name that was set before is replaced.
    #[must_use]
    fn with_trace(self) -> Self;

    /// Sends the request with the trace, and logs it as the original's `tracer.requests` did: `OUTBOUND GET - <url>`
    /// and `200 OK - <url>`.
    fn send_traced(self) -> impl Future<Output = reqwest::Result<Response>> + Send;
}

impl WithTrace for RequestBuilder {
    fn with_trace(self) -> Self {
        self.headers(trace_headers())
    }

    async fn send_traced(self) -> reqwest::Result<Response> {
        let (client, request) = self.build_split();
        let mut request = request?;
        let telling = Telling { requests: RequestLog::Pair, ..Telling::of(Side::Client) };
        let (scope, mut seen) = start(telling, &mut request);
        let response = InTrace::new(scope, client.execute(request)).await;
        end(seen.as_deref_mut(), response.as_ref().ok());
        response
    }
}

pub(super) fn start(telling: Telling, request: &mut Request) -> (Option<Scope>, Option<Box<Seen>>) {
    let method = request.method().clone();
    let uri = request.url().as_str().parse::<Uri>().unwrap_or_default();
    let version = request.version();
    call::start(telling, &method, &uri, version, request.headers_mut())
}

/// The call counts as over when the headers are there: the body is reqwest's own.
pub(super) fn end(seen: Option<&mut Seen>, response: Option<&Response>) {
    match (seen, response) {
        (Some(seen), Some(response)) => {
            seen.response(response.status(), response.headers());
            seen.is_complete();
        }
        (Some(seen), None) => seen.failed(),
        (None, _) => {}
    }
}
