//! `reqwest-middleware`: [`TraceMiddleware`].

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};

use super::{RequestLog, reqwest as calls};
use crate::exchange::{Side, Telling};
use crate::future::InTrace;

/// Hands the current trace on with every request of a `reqwest_middleware` client.
///
/// ```
/// use logtracer_sdk::client::TraceMiddleware;
///
/// let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
///     .with(TraceMiddleware::new())
///     .build();
/// # let _ = client;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TraceMiddleware {
    telling: Telling,
}

impl TraceMiddleware {
    /// A middleware that writes no line.
    pub const fn new() -> Self {
        Self { telling: Telling::of(Side::Client) }
    }

    /// Which lines are written for a request; none by default.
    #[must_use]
    pub const fn requests(mut self, requests: RequestLog) -> Self {
        self.telling.requests = requests;
        self
    }
}

impl Default for TraceMiddleware {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Middleware for TraceMiddleware {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let (scope, mut seen) = calls::start(self.telling, &mut request);
        let response = InTrace::new(scope, next.run(request, extensions)).await;
        calls::end(seen.as_deref_mut(), response.as_ref().ok());
        response
    }
}
