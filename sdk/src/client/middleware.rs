//! [`ClientTraceLayer`] as a middleware of `reqwest-middleware`.

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};

use super::{ClientTraceLayer, UrlTemplate};

#[async_trait]
impl Middleware for ClientTraceLayer {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let template = UrlTemplate::of(extensions);
        self.send(request, template, |request| next.run(request, extensions)).await
    }
}
