//! reqwest: `.with_trace()`.

use reqwest::RequestBuilder;

use super::trace_headers;

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
}

impl WithTrace for RequestBuilder {
    fn with_trace(self) -> Self {
        self.headers(trace_headers())
    }
}
