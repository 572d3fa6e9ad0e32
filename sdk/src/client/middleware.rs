//! [`TraceLayer`] as a middleware of `reqwest-middleware`.

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};

use super::TraceLayer;

#[async_trait]
impl Middleware for TraceLayer {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        self.send(request, |request| next.run(request, extensions)).await
    }
}
