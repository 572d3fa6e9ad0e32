//! `reqwest-middleware`: [`TraceLayer`] is one.

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};

use super::{TraceLayer, reqwest as calls};

#[async_trait]
impl Middleware for TraceLayer {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        calls::exchange(self, request, |request| next.run(request, extensions)).await
    }
}
